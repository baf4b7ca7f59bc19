package call

import (
	"context"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/trunk"
)

// bridge connects both parties, and captures if the far one was told.
func (c *Call) bridge(context.Context) *End {
	if end := c.answerCaller(); end != nil {
		return end
	}
	c.cease() // nobody is told any more what does not hold
	c.quiet(rtp.Caller)
	c.quiet(rtp.Callee)
	c.media.Relay(rtp.Caller, true)
	c.media.Relay(rtp.Callee, true)
	c.bridged = time.Now()
	c.expect()
	return c.capture()
}

// talk lasts until a party hangs up.
func (c *Call) talk(ctx context.Context) *End {
	c.restate = true
	for {
		if c.restate {
			c.restate = false
			c.settle()
		}
		h, end := c.next(ctx, c.transfer.overdue())
		if end != nil {
			return end
		}
		if taken, end := c.hear(h); taken {
			if end != nil {
				return end
			}
			continue
		}
		switch h.kind {
		case recordingFailed:
			end = c.recordingLost()
		case reoffered:
			c.passReoffer(h.leg, h.sip)
		case acknowledged:
			end = c.attend(h)
			c.settle()
		case retryDue:
			c.retry.timer = nil
			c.settle()
		case written:
			end = c.read(h.letter)
		case transferred:
			end = c.replace(h.sip)
		case timeUp:
			c.transfer.hangup(480, "Temporarily Unavailable")
			end = c.stay("SIP/2.0 480 Temporarily Unavailable")
		default:
			end = c.attend(h)
		}
		if end != nil {
			return end
		}
	}
}

// until attends to what happens until that holds.
func (c *Call) until(ctx context.Context, holds func() bool) *End {
	for !holds() {
		h, end := c.next(ctx, nil)
		if end != nil {
			return end
		}
		taken, end := c.hear(h)
		if !taken {
			end = c.attend(h)
		}
		if end != nil {
			return end
		}
	}
	return nil
}

// attend does what is the same at every stage of a call. What does not fit one is put off:
// the peer tries again.
func (c *Call) attend(h happening) *End {
	switch h.kind {
	case played: // a tone has ended; ringing goes on
		c.playing[h.leg] = nil
		switch {
		case !c.bridged.IsZero():
		case c.telling.going():
			c.comfort()
		case h.leg == rtp.Caller:
			c.ringback()
		}
	case acknowledged:
		return c.acknowledged(h.sip)
	case reoffered:
		c.putOff(h.leg, h.sip)
	case reofferAcknowledged:
		c.reofferAcknowledged(h.leg, h.sip)
	case reofferAnswered:
		c.reofferAnswered(h.leg, h.sip)
	case reofferRejected:
		c.reofferRejected(h.leg, h.sip)
	case refreshed:
		if d, err := sdp.Parse(h.sip.Body); err == nil && !c.parties[h.leg].said(d) {
			return c.take(h.leg, d, asAnswer)
		}
	case requested:
		if h.key != 0 {
			c.press(h.leg, h.key)
		}
		c.passRequest(h.leg, h.sip.Request)
	case replied:
		c.passReply(h.sip)
	case written:
		if h.letter.kind == commanded {
			c.obey(*h.letter.command, h.letter.answer)
			return nil
		}
		h.letter.refuse()
	case orderWritten:
		c.obeyed(h.err)
	case pauseOver:
		c.pauseOver()
	case beepDue:
		c.beep()
	case keyPressed:
		c.mute(h)
		c.press(h.leg, h.key)
	case fellSilent:
		return c.silence(h.leg)
	case shaking:
	case transferred: // an old leg's last words
	}
	return nil
}

// expect tells the media which parties should send now: both, unless one says that it will
// not.
func (c *Call) expect() {
	for leg, p := range c.parties {
		c.media.Expect(rtp.Leg(leg), !c.bridged.IsZero() && p.speaks)
	}
}

// silence takes the news that a party's audio has stopped to come.
func (c *Call) silence(leg rtp.Leg) *End {
	c.gone[leg] = true
	c.log.Warn("no audio from a party", "call_id", c.id, "leg", leg)
	if c.manager.cfg.Trunks[c.parties[leg].trunk].Silence == trunk.Hangup {
		return &End{Cause: WentSilent, Leg: leg}
	}
	return nil
}

// acknowledged takes the caller's ACK, and the answer in it where ours was the offer.
func (c *Call) acknowledged(e sip.Event) *End {
	c.confirmed = true
	if !c.delayed {
		return nil
	}
	answer, err := c.answerOf(rtp.Caller, e.Body)
	if err != nil { // RFC 3261 §13.2.2.4: an ACK cannot be refused, so the call ends
		return &End{Cause: NoCodec, Leg: rtp.Caller, Err: err}
	}
	c.parties[rtp.Caller].bound = true
	return c.take(rtp.Caller, answer, asAnswer)
}
