package call

import (
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

// pending is an offer that waits for its answer. Nothing of it holds before that: a
// session that cannot be changed stays as it was (RFC 3264 §8).
type pending struct {
	to    rtp.Leg          // who is asked
	offer *sdp.Description // the other party's, who waits; nil where we ask by ourselves
	stood []byte           // our description towards who is asked, should he refuse
	was   sdp.Direction    // and the direction in it
}

// retry is an offer of ours that met one of the peer's, and is made again.
type retry struct {
	timer *time.Timer
	times int
}

// maxRetries is how often an offer of ours is made again.
const maxRetries = 4

func (r retry) due() <-chan time.Time {
	if r.timer == nil {
		return nil
	}
	return r.timer.C
}

// passReoffer takes a new offer in a dialog to the other party: hold and resume, another
// codec, another address, fax. One that says nothing new only refreshes the session. One
// without a description gets an offer of ours: what the other party can.
func (c *Call) passReoffer(leg rtp.Leg, e sip.Event) {
	from, to := c.parties[leg], c.parties[leg.Other()]
	if len(e.Body) == 0 {
		c.offerTo(leg)
		return
	}
	offer, err := sdp.Parse(e.Body)
	if err != nil {
		from.leg.RejectReoffer(400, "Bad Session Description")
		return
	}
	if from.said(offer) {
		c.answerReoffer(leg, from.ours)
		return
	}
	if c.prefers(from, offer) { // that is between it and us
		from.described = offer
		c.answerReoffer(leg, from.ours)
		c.heed(leg, offer.RecordPref(offer.Media[c.main]))
		return
	}
	if err := c.acceptable(leg, offer); err != nil {
		from.leg.RejectReoffer(488, "Not Acceptable Here", warning(err))
		return
	}
	passed, err := c.towards(offer, c.mayUse)
	if err == nil && offer.Media[c.main].Port != 0 && !c.passes(c.main, offer.Media[c.main]) {
		err = sdp.ErrNoAudio // what would be left is no stream at all
	}
	if err != nil {
		from.leg.RejectReoffer(488, "Not Acceptable Here")
		return
	}
	switch {
	case c.pending != nil && to.answered:
		from.leg.RejectReoffer(491, "Request Pending")
		return
	case c.pending != nil || to.leg == nil:
		c.answerLocally(leg, offer)
		return
	}
	p := &pending{to: leg.Other(), offer: offer, stood: to.ours, was: to.offered}
	if err := to.leg.Reoffer(c.describe(leg.Other(), passed, nil), c.forward(leg, e.Headers)...); err != nil {
		to.ours, to.offered = p.stood, p.was
		if to.answered {
			from.leg.RejectReoffer(491, "Request Pending")
			return
		}
		c.answerLocally(leg, offer)
		return
	}
	c.pending = p
}

// putOff answers an offer that comes while the call cannot change: a refresh is none, and
// all else is to be tried again (RFC 3261 §14.1).
func (c *Call) putOff(leg rtp.Leg, e sip.Event) {
	if offer, err := sdp.Parse(e.Body); err == nil && c.parties[leg].said(offer) {
		c.answerReoffer(leg, c.parties[leg].ours)
		return
	}
	c.parties[leg].leg.RejectReoffer(491, "Request Pending")
}

// refreshes reports whether an offer says nothing new.
func (c *Call) refreshes(h happening) bool {
	offer, err := sdp.Parse(h.sip.Body)
	return err == nil && c.parties[h.leg].said(offer)
}

// answerLocally answers an offer that the other party cannot be asked about: before his
// answer, with what he is to be able to.
func (c *Call) answerLocally(leg rtp.Leg, offer *sdp.Description) {
	p, other := c.parties[leg], c.parties[leg.Other()]
	wanted := func(codec sdp.Codec) bool {
		return c.wanted(codec) && (codec.Event() || len(other.codecs) == 0 || other.has(codecOf(codec)))
	}
	answer, err := sdp.Answer(offer, wanted)
	if err != nil || c.take(leg, offer, asOffer) != nil {
		p.leg.RejectReoffer(488, "Not Acceptable Here")
		return
	}
	if c.answerReoffer(leg, c.describe(leg, answer, offer)) {
		c.unlock(leg)
	}
}

// replaceOffer answers an offer that comes while a party is told, as far as the other can be
// asked; the other is told of it once both are connected.
func (c *Call) replaceOffer(leg rtp.Leg, e sip.Event) {
	p := c.parties[leg]
	offer, err := sdp.Parse(e.Body)
	if err != nil {
		p.leg.RejectReoffer(400, "Bad Session Description")
		return
	}
	if err := c.acceptable(leg, offer); err != nil {
		p.leg.RejectReoffer(488, "Not Acceptable Here", warning(err))
		return
	}
	c.answerLocally(leg, offer)
	switch other := c.parties[leg.Other()]; {
	case p.described == nil || !sdp.Same(offer, p.described): // it was not taken
	case other.leg == nil && leg == rtp.Caller:
		c.offer = offer // the callee is offered this
	default:
		c.untold[leg.Other()], c.restate = true, true
	}
}

// mayUse says which codecs of a new offer may be passed on: those that can be recorded,
// while the call is, or is to be.
func (c *Call) mayUse(codec sdp.Codec) bool { return c.silent != "" || holdable(codec) }

// offerTo answers an INVITE without an offer with one (RFC 3261 §14.2): what the other
// party can, and its own hold. Who resumes a call so is heard again when the ACK says so.
func (c *Call) offerTo(leg rtp.Leg) {
	offer, err := c.proposal(leg)
	if err != nil {
		c.answerReoffer(leg, c.parties[leg].ours)
		return
	}
	c.answerReoffer(leg, c.describe(leg, offer, nil))
}

// proposal is an offer of ours to a party: what the other can and wishes, in as many streams
// as there have been (RFC 3264 §8).
func (c *Call) proposal(leg rtp.Leg) (*sdp.Description, error) {
	p, other := c.parties[leg], c.parties[leg.Other()]
	if other.described == nil {
		return nil, sdp.ErrNoAudio
	}
	offer, err := c.towards(other.described, c.mayUse)
	if err != nil {
		return nil, err
	}
	c.wishing(offer, other)
	if said, err := sdp.Parse(p.ours); err == nil {
		offer.Fill(said)
	}
	return offer, nil
}

// wishing has a description, made of a party's, say how that party wants to send and
// receive: what it said last may have been what the other's hold made of it.
func (c *Call) wishing(d *sdp.Description, p *party) {
	if m := d.Media[c.main]; m.Type == "audio" && d.Direction(m) != p.wish {
		m.SetDirection(p.wish)
	}
}

// reofferAcknowledged takes the answer to an offer of ours that an ACK brought, and tells
// the other party what is new in it.
func (c *Call) reofferAcknowledged(leg rtp.Leg, e sip.Event) {
	if len(e.Body) == 0 {
		return
	}
	answer, err := c.answerOf(leg, e.Body)
	if err == nil {
		err = c.takes(c.parties[leg], answer)
	}
	if err != nil {
		c.log.Warn("answer of no use", "call_id", c.id, "leg", leg, "error", err)
		return
	}
	c.wished(leg, answer)
	c.hold(leg, answer, asAnswer)
	c.untold[leg.Other()] = true
	c.settle()
}

// settle tells the parties of each other what is new, one at a time: after a transfer, and
// where an answer that was given early, or one to an offer of ours, left a party with a
// codec that the other has not.
func (c *Call) settle() {
	if c.bridged.IsZero() || !c.confirmed || c.pending != nil || c.retry.timer != nil {
		return
	}
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		lacks := func(codec rtp.Codec) bool { return !c.parties[leg.Other()].has(codec) }
		if c.untold[leg] || slices.ContainsFunc(c.parties[leg].sends(), lacks) {
			c.untold[leg] = false
			if c.propose(leg) {
				return
			}
		}
	}
}

// propose offers a party what the other says of itself, and reports whether an answer is
// awaited: not if it knows already.
func (c *Call) propose(leg rtp.Leg) bool {
	p := c.parties[leg]
	passed, err := c.proposal(leg)
	if err != nil {
		return false
	}
	stood, was, version := p.ours, p.offered, p.version
	body := c.describe(leg, passed, nil)
	if known, err := sdp.Parse(stood); err == nil && sdp.Equivalent(passed, known) && c.saysRecord(passed) == c.saysRecord(known) {
		p.ours, p.version = stood, version
		return false
	}
	if err := p.leg.Reoffer(body); err != nil {
		p.ours, p.offered, p.version = stood, was, version
		c.untold[leg] = true
		c.again(p.leg)
		return true
	}
	c.pending = &pending{to: leg, stood: stood, was: was}
	return true
}

// again has an offer of ours made again after a while.
func (c *Call) again(leg *sip.Leg) {
	if c.retry.times++; c.retry.times <= maxRetries {
		c.retry.timer = time.NewTimer(leg.Backoff())
	}
}

// reofferAnswered takes the answer of who was asked back to who offered, and then lets
// both hold.
func (c *Call) reofferAnswered(leg rtp.Leg, e sip.Event) {
	p := c.pending
	if p == nil || leg != p.to {
		return
	}
	c.pending, c.retry.times = nil, 0
	answer, err := c.answerOf(leg, e.Body)
	if err == nil {
		err = c.takes(c.parties[leg], answer)
	}
	if err != nil {
		c.log.Warn("answer of no use", "call_id", c.id, "leg", leg, "error", err)
		if p.offer != nil { // acknowledged, and of no use: the old session stays towards who offered
			c.parties[leg.Other()].leg.RejectReoffer(488, "Not Acceptable Here")
		}
		return
	}
	c.wished(leg, answer)
	if p.offer == nil {
		c.hold(leg, answer, asAnswer)
		c.settle()
		return
	}
	from := leg.Other()
	if m := p.offer.Media[c.main]; m.Port != 0 {
		c.parties[from].wish = p.offer.Direction(m)
	}
	c.hold(from, p.offer, asOffer)
	c.hold(leg, answer, asAnswer)
	passed, err := c.answering(p.offer, answer, c.mayUse)
	if err != nil {
		passed = answer.Clone()
	}
	if c.answerReoffer(from, c.describe(from, passed, p.offer)) {
		c.unlock(from)
	}
}

// wished takes from an answer how a party wants to send and receive: where it says less
// than the offer would have it, that is its own wish.
func (c *Call) wished(leg rtp.Leg, answer *sdp.Description) {
	p := c.parties[leg]
	if c.main >= len(answer.Media) {
		return
	}
	if said := answer.Direction(answer.Media[c.main]); said != p.offered.Reverse() {
		p.wish = said
	} else if p.offered == sdp.SendRecv {
		p.wish = sdp.SendRecv
	}
}

// hold lets a description hold from now on, as far as it can.
func (c *Call) hold(leg rtp.Leg, d *sdp.Description, how said) {
	if end := c.take(leg, d, how); end != nil {
		c.log.Warn("new description not taken", "call_id", c.id, "leg", leg, "error", end)
	}
}

// reofferRejected takes the refusal of who was asked back, with its meaning: 491 makes who
// offered try again. An offer of our own is made again by ourselves.
func (c *Call) reofferRejected(leg rtp.Leg, e sip.Event) {
	p := c.pending
	if p == nil || leg != p.to {
		return
	}
	c.pending = nil
	asked := c.parties[leg]
	asked.ours, asked.offered = p.stood, p.was // the version stays up: it was said
	switch {
	case p.offer != nil:
		c.parties[leg.Other()].leg.RejectReoffer(e.Code, e.Reason)
	case e.Code == 491:
		c.untold[leg] = true
		c.again(asked.leg)
	}
}

func (c *Call) answerReoffer(leg rtp.Leg, body []byte) (sent bool) {
	err := c.parties[leg].leg.AnswerReoffer(body)
	if err != nil {
		c.log.Debug("new offer not answered", "call_id", c.id, "leg", leg, "error", err)
	}
	return err == nil
}
