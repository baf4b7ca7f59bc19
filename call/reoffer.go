package call

import (
	"bytes"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

// reoffer is an offer of one party's that waits for the other's answer. Nothing of it
// holds before that: a session that cannot be changed stays as it was (RFC 3264 §8).
type reoffer struct {
	leg   rtp.Leg // who offered
	offer *sdp.Description
	audio *sdp.Media
	stood []byte // our description towards the other party, should he refuse
}

// passReoffer takes a new offer in a dialog to the other party: hold and resume, another
// codec, another address. An INVITE without an offer gets our last description as one;
// the other party is not asked.
func (c *Call) passReoffer(leg rtp.Leg, body []byte) {
	from, to := c.legs[leg], c.legs[leg.Other()]
	if len(body) == 0 {
		c.answerReoffer(leg, c.ours[leg])
		return
	}
	offer, err := sdp.Parse(body)
	if err != nil {
		from.RejectReoffer(400, "Bad Session Description")
		return
	}
	audio, err := offer.Audio()
	if err != nil {
		from.RejectReoffer(488, "Not Acceptable Here")
		return
	}
	passed := offer.Clone()
	stream, _ := passed.Audio()
	if stream.Keep(c.mayUse(stream)) == 0 {
		from.RejectReoffer(488, "Not Acceptable Here")
		return
	}
	stood := c.ours[leg.Other()]
	if err := to.Reoffer(c.describeTo(leg.Other(), passed, stream)); err != nil {
		c.ours[leg.Other()] = stood
		from.RejectReoffer(491, "Request Pending")
		return
	}
	c.pending = &reoffer{leg, offer, audio, stood}
}

// mayUse says which codecs of a new offer may be passed on: those that can be recorded,
// while the call is.
func (c *Call) mayUse(stream *sdp.Media) func(sdp.Codec) bool {
	if c.recording == nil || c.silent != "" {
		return func(sdp.Codec) bool { return true }
	}
	return func(codec sdp.Codec) bool { return recordable(codec) || codec.Event() }
}

// reofferAnswered takes the other party's answer back to who offered, and then lets both
// hold.
func (c *Call) reofferAnswered(leg rtp.Leg, body []byte) {
	p := c.pending
	c.pending = nil
	if p == nil || leg != p.leg.Other() {
		return
	}
	answer, audio, err := c.parseAnswer(body)
	if err != nil {
		// Acknowledged, and of no use: the old session stays towards who offered.
		c.legs[p.leg].RejectReoffer(488, "Not Acceptable Here")
		return
	}
	c.rewire(p.leg, p.offer, p.audio)
	c.rewire(leg, answer, audio)
	c.answerReoffer(p.leg, c.describeTo(p.leg, answer, audio))
}

// reofferRejected takes the other party's refusal back, with its meaning: 491 makes who
// offered try again.
func (c *Call) reofferRejected(e sip.Event) {
	if p := c.pending; p != nil {
		c.pending = nil
		c.ours[p.leg.Other()] = p.stood // the version stays up: it was said
		c.legs[p.leg].RejectReoffer(e.Code, e.Reason)
	}
}

// reofferAcknowledged takes the answer to an offer of ours that an ACK brought.
func (c *Call) reofferAcknowledged(leg rtp.Leg, body []byte) {
	if len(body) == 0 {
		return
	}
	if answer, audio, err := c.parseAnswer(body); err == nil {
		c.rewire(leg, answer, audio)
	}
}

func (c *Call) answerReoffer(leg rtp.Leg, body []byte) {
	if err := c.legs[leg].AnswerReoffer(body); err != nil {
		c.log.Debug("new offer not answered", "call_id", c.id, "leg", leg, "error", err)
	}
}

// rewire tells media and recording what a leg uses from now on.
func (c *Call) rewire(leg rtp.Leg, d *sdp.Description, m *sdp.Media) {
	before := c.codecs[leg]
	if end := c.connect(leg, d, m); end != nil {
		c.log.Warn("new address not taken", "call_id", c.id, "leg", leg, "error", end)
		return
	}
	if c.recording != nil && !sameCodecs(before, c.codecs[leg]) {
		c.recording.Event(spool.Event{Kind: spool.CodecsChanged, Leg: leg, Codecs: c.codecs[leg]})
	}
}

func sameCodecs(a, b []rtp.Codec) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// describeTo makes a description ours towards a leg. Its version goes up when it says
// something else than the last one did (RFC 3264 §8).
func (c *Call) describeTo(leg rtp.Leg, d *sdp.Description, m *sdp.Media) []byte {
	locate := func() []byte {
		d.Locate(m, c.origin(leg), c.media.Local(leg).Port())
		return d.Bytes()
	}
	body := locate()
	if c.ours[leg] != nil && !bytes.Equal(body, c.ours[leg]) {
		c.version[leg]++
		body = locate()
	}
	c.ours[leg] = body
	return body
}
