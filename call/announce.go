package call

import (
	"context"
	"strings"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

// Prompt is one announcement in one language.
type Prompt struct {
	*prompt.Prompt
	Text string
}

// Prompts are the announcements by id and language.
type Prompts map[string]map[string]Prompt

// told is an announcement that was heard out, on which recording rests.
type told struct {
	leg    rtp.Leg
	played media.Played
}

// playing is a playback that goes on; nil is none.
type playing struct {
	Playback
	leg rtp.Leg
}

func (p *playing) done() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.Done()
}

// announcedEarly reports whether the announcement goes before the answer: the rule says
// so, the far party is the caller, and his trunk carries early media.
func (c *Call) announcedEarly() bool {
	a := c.decision.Announce
	return c.silent == "" && !c.delayed && a != nil && a.When == policy.Early && c.direction == policy.Inbound &&
		c.manager.cfg.Trunks[c.parties[rtp.Caller].trunk].CarriesEarlyMedia()
}

// forewarn tells the caller in early media, before the PBX rings: nobody pays for it.
func (c *Call) forewarn(ctx context.Context) *End {
	if !c.announcedEarly() {
		return nil
	}
	// One codec for the prompt. The callee is offered all that the caller has, and where he
	// takes another, the caller is told once both are connected (settle).
	caller := c.parties[rtp.Caller]
	chosen := caller.firstRecordable()
	answer, err := sdp.Answer(c.offer, func(codec sdp.Codec) bool { return codec.PayloadType == chosen.PayloadType || codec.Event() })
	if err != nil {
		return &End{Cause: NoCodec, Leg: rtp.Caller, Err: err}
	}
	c.describe(rtp.Caller, answer, c.offer)
	caller.bound = true
	if err := caller.leg.Progress(183, "Session Progress", caller.ours, c.earlyHeaders()...); err != nil {
		return &End{Cause: SignallingFailed, Leg: rtp.Caller, Err: err}
	}
	return c.tell(ctx, rtp.Caller)
}

// earlyHeaders authorise our early media where the network asks for that (RFC 5009 §8).
func (c *Call) earlyHeaders() []sip.Header {
	for _, h := range c.parties[rtp.Caller].leg.Passed() {
		if h.Name == "P-Early-Media" && strings.Contains(h.Value, "supported") {
			return []sip.Header{{Name: "P-Early-Media", Value: "sendrecv"}}
		}
	}
	return nil
}

// announce tells the far party after the answer, where he was not told before.
func (c *Call) announce(ctx context.Context) *End {
	if c.silent != "" || c.told != nil || c.decision.Announce == nil {
		return nil
	}
	c.media.Relay(rtp.Callee, false) // the callee's early media ends here
	if c.direction == policy.Outbound {
		return c.tell(ctx, rtp.Callee)
	}
	if end := c.answerCaller(); end != nil {
		return end
	}
	for {
		h, end := c.next(ctx, nil)
		if end != nil {
			return end
		}
		if end := c.attend(h); end != nil {
			return end
		}
		if h.kind == acknowledged {
			return c.tell(ctx, rtp.Caller)
		}
	}
}

// tell plays the announcement to a leg and waits for its end. Whatever interrupts
// it, the call is not recorded.
func (c *Call) tell(ctx context.Context, leg rtp.Leg) *End {
	announce := c.decision.Announce
	voice, codec := c.manager.parts.Prompts[announce.Prompt][announce.Language], c.parties[leg].firstRecordable()
	if voice.Prompt == nil { // LoadPrompts saw to it that every rule has its own
		return c.cannotRecord("announcement_failed")
	}
	frames, ok := voice.Frames(codec.Name, codec.ClockHz)
	if !ok {
		return c.cannotRecord("announcement_failed")
	}
	if !c.parties[leg].listens { // on hold, or a call set up by a third: what is played is not heard
		return c.cannotRecord("not_listening")
	}
	if err := c.play(leg, framesOf(codec, frames)); err != nil {
		c.log.Warn("announcement not played", "call_id", c.id, "leg", leg, "error", err)
		return c.cannotRecord("announcement_failed")
	}
	for {
		h, end := c.next(ctx, nil)
		switch {
		case end != nil:
			c.evidence(leg, codec, voice, c.quiet())
			return end
		case h.kind == played:
			result := c.quiet()
			c.evidence(leg, codec, voice, result)
			if !result.Complete {
				return c.cannotRecord("announcement_interrupted")
			}
			c.told = &told{leg, result}
			return nil
		case h.key != 0 && h.leg == leg && string(h.key) == announce.OptOut:
			if h.kind == requested {
				h.sip.Request.Reply(200, "OK")
			}
			c.evidence(leg, codec, voice, c.quiet())
			c.silent = "opted_out"
			return nil
		case h.kind == reoffered && h.leg == leg && !c.refreshes(h):
			c.evidence(leg, codec, voice, c.quiet())
			c.putOff(leg, h.sip) // it comes again when both are connected
			return c.cannotRecord("announcement_interrupted")
		}
		if end := c.attend(h); end != nil {
			return end
		}
	}
}

// play begins a playback towards a leg, in place of any that goes on.
func (c *Call) play(leg rtp.Leg, frames media.Frames) error {
	c.quiet()
	playback, err := c.media.Play(leg, frames)
	if err != nil {
		return err
	}
	c.playing = &playing{playback, leg}
	return nil
}

func framesOf(codec rtp.Codec, f prompt.Frames) media.Frames {
	return media.Frames{PayloadType: codec.PayloadType, Samples: f.Samples, Interval: f.Interval, Payloads: f.Payloads}
}

// quiet ends the playback that goes on, if any, and returns what came of it.
func (c *Call) quiet() media.Played {
	if c.playing == nil {
		return media.Played{}
	}
	p := c.playing
	c.playing = nil
	p.Stop()
	return p.Result()
}
