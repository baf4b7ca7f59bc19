package call

import (
	"context"
	"errors"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

var errNoPeer = errors.New("no peer of the trunk has a known address")

// dial calls the callee and waits until he answers.
func (c *Call) dial(ctx context.Context) *End {
	if end := c.invite(); end != nil {
		return end
	}
	ringing := time.NewTimer(ringTimeout)
	defer ringing.Stop()
	for {
		h, end := c.next(ctx, ringing.C)
		if end != nil {
			return end
		}
		switch h.kind {
		case progressed:
			end = c.ring(h.sip)
		case played: // the ringing tone's end: again
			c.ringback()
		case callAnswered:
			c.quiet()
			return c.connected(h.sip)
		case reoffered:
			c.legs[h.leg].RejectReoffer(491, "Request Pending")
		case timeUp:
			return &End{Cause: NoAnswer, Leg: rtp.Callee}
		}
		if end != nil {
			return end
		}
	}
}

// invite sends the callee the caller's offer with our address in it.
func (c *Call) invite() *End {
	caller := c.legs[rtp.Caller]
	offer := c.offer.Clone()
	audio, err := offer.Audio()
	if err != nil {
		return &End{Cause: NoAudio, Leg: rtp.Caller, Err: err}
	}
	if c.silent == "" {
		audio.Keep(c.wanted)
	}
	leg, err := c.manager.ua.Invite(sip.Invite{
		Peer: c.peer, Trunk: c.trunks[rtp.Callee], Called: caller.Called(), From: caller.From(),
		Headers: caller.Passed(), MaxForwards: caller.MaxForwards(), Body: c.describeTo(rtp.Callee, offer, audio),
	})
	if err != nil {
		return &End{Cause: Unreachable, Leg: rtp.Callee, Err: err}
	}
	c.legs[rtp.Callee] = leg
	return nil
}

// ring passes a provisional response on, with early media where it brings some and
// the caller's trunk carries it.
func (c *Call) ring(e sip.Event) *End {
	if len(e.Body) > 0 && c.manager.cfg.Trunks[c.trunks[rtp.Caller]].carriesEarlyMedia() {
		return c.ringWithMedia(e)
	}
	if c.greeted && c.playing == nil && !c.early {
		c.ringback() // the caller listens to us since the announcement: silence is no ringing
	}
	return c.progress(e.Code, e.Reason, nil)
}

func (c *Call) ringWithMedia(e sip.Event) *End {
	answer, audio, err := c.parseAnswer(e.Body)
	if err != nil || c.connect(rtp.Callee, answer, audio) != nil {
		return c.progress(e.Code, e.Reason, nil) // the answer will tell
	}
	c.quiet()
	c.preview = e.Body
	c.early = true
	c.media.Relay(rtp.Callee, true)
	return c.progress(e.Code, e.Reason, c.describe(answer, audio))
}

func (c *Call) progress(code int, reason string, body []byte) *End {
	if err := c.legs[rtp.Caller].Progress(code, reason, body); err != nil {
		return &End{Cause: SignallingFailed, Leg: rtp.Caller, Err: err}
	}
	return nil
}

// ringback plays the ringing tone to a caller whose early media is ours.
func (c *Call) ringback() {
	codec := c.firstRecordable(rtp.Caller)
	frames, ok := c.manager.ringing.Frames(codec.Name)
	if !ok {
		return
	}
	if err := c.play(rtp.Caller, framesOf(codec, frames)); err != nil {
		c.log.Debug("ringing tone not played", "call_id", c.id, "error", err)
	}
}

// connected takes the callee's answer.
func (c *Call) connected(e sip.Event) *End {
	c.isAnswered[rtp.Callee] = true
	body := e.Body
	if len(body) == 0 {
		body = c.preview // gateways that answer the offer in the 183 alone
	}
	answer, audio, err := c.parseAnswer(body)
	if err != nil {
		return &End{Cause: NoAudio, Leg: rtp.Callee, Err: err}
	}
	if end := c.connect(rtp.Callee, answer, audio); end != nil {
		return end
	}
	if !c.shared(audio) {
		return &End{Cause: NoCodec, Leg: rtp.Callee}
	}
	c.describe(answer, audio)
	return nil
}

func (c *Call) parseAnswer(body []byte) (*sdp.Description, *sdp.Media, error) {
	answer, err := sdp.Parse(body)
	if err != nil {
		return nil, nil, err
	}
	audio, err := answer.Audio()
	return answer, audio, err
}

// shared reports whether the answer takes a codec that was offered (RFC 3264 §6.1).
func (c *Call) shared(answer *sdp.Media) bool {
	for _, a := range answer.Codecs() {
		for _, o := range c.audio.Codecs() {
			if !a.Event() && a.Name == o.Name && a.ClockHz == o.ClockHz && c.wanted(o) {
				return true
			}
		}
	}
	return false
}

// describe makes the callee's answer the caller's, unless he has one of ours from
// the announcement, which then stands: one answer to one offer. It returns it.
func (c *Call) describe(answer *sdp.Description, audio *sdp.Media) []byte {
	if !c.greeted {
		c.describeTo(rtp.Caller, answer, audio)
	}
	return c.ours[rtp.Caller]
}

// answerCaller answers the caller with what he is to know of the callee's answer.
func (c *Call) answerCaller() *End {
	if c.isAnswered[rtp.Caller] {
		return nil
	}
	if err := c.legs[rtp.Caller].Answer(c.ours[rtp.Caller]); err != nil {
		return &End{Cause: SignallingFailed, Leg: rtp.Caller, Err: err}
	}
	c.isAnswered[rtp.Caller] = true
	return nil
}

// bridge connects both parties, and captures if the far one was told.
func (c *Call) bridge(context.Context) *End {
	if end := c.answerCaller(); end != nil {
		return end
	}
	c.quiet()
	c.media.Relay(rtp.Caller, true)
	c.media.Relay(rtp.Callee, true)
	c.bridged = time.Now()
	return c.capture()
}

// talk lasts until a party hangs up.
func (c *Call) talk(ctx context.Context) *End {
	for {
		h, end := c.next(ctx, nil)
		if end != nil {
			return end
		}
		switch h.kind {
		case recordingFailed:
			if end := c.recordingLost(); end != nil {
				return end
			}
		case reoffered:
			c.passReoffer(h.leg, h.sip.Body)
		case reofferAcknowledged:
			c.reofferAcknowledged(h.leg, h.sip.Body)
		case reofferAnswered:
			c.reofferAnswered(h.leg, h.sip.Body)
		case reofferRejected:
			c.reofferRejected(h.sip)
		}
	}
}
