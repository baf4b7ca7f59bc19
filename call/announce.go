package call

import (
	"context"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
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
	return c.silent == "" && a != nil && a.When == policy.Early && c.direction == policy.Inbound && c.manager.cfg.Trunks[c.trunks[rtp.Caller]].carriesEarlyMedia()
}

// forewarn tells the caller in early media, before the PBX rings: nobody pays for it.
func (c *Call) forewarn(ctx context.Context) *End {
	if !c.announcedEarly() {
		return nil
	}
	// The codec is settled here, so that the callee is offered what the caller has.
	chosen := c.firstRecordable(rtp.Caller)
	c.wanted = func(codec sdp.Codec) bool { return codec.PayloadType == chosen.PayloadType || codec.Event() }
	answer, err := sdp.Answer(c.offer, c.wanted, c.origin(rtp.Caller), c.media.Local(rtp.Caller).Port())
	if err != nil {
		return &End{Cause: NoCodec, Leg: rtp.Caller, Err: err}
	}
	if end := c.connect(rtp.Caller, c.offer, c.audio); end != nil {
		return end
	}
	c.ours[rtp.Caller], c.greeted = answer.Bytes(), true
	if err := c.legs[rtp.Caller].Progress(183, "Session Progress", c.ours[rtp.Caller]); err != nil {
		return &End{Cause: SignallingFailed, Leg: rtp.Caller, Err: err}
	}
	return c.tell(ctx, rtp.Caller)
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
		switch h.kind {
		case acknowledged:
			return c.tell(ctx, rtp.Caller)
		case reoffered:
			c.legs[h.leg].RejectReoffer(491, "Request Pending")
		}
	}
}

// tell plays the announcement to a leg and waits for its end. Whatever interrupts
// it, the call is not recorded.
func (c *Call) tell(ctx context.Context, leg rtp.Leg) *End {
	announce := c.decision.Announce
	voice, codec := c.manager.parts.Prompts[announce.Prompt][announce.Language], c.firstRecordable(leg)
	if voice.Prompt == nil { // LoadPrompts saw to it that every rule has its own
		return c.cannotRecord("announcement_failed")
	}
	frames, ok := voice.Frames(codec.Name)
	if !ok {
		return c.cannotRecord("announcement_failed")
	}
	if !c.listens[leg] { // on hold, or a call set up by a third: what is played is not heard
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
		case h.kind == keyPressed && h.leg == leg && announce.OptOut != "" && string(h.key) == announce.OptOut:
			c.evidence(leg, codec, voice, c.quiet())
			c.silent = "opted_out"
			return nil
		case h.kind == reoffered && h.leg == leg:
			c.evidence(leg, codec, voice, c.quiet())
			c.legs[leg].RejectReoffer(491, "Request Pending") // it comes again when both are connected
			return c.cannotRecord("announcement_interrupted")
		case h.kind == reoffered:
			c.legs[h.leg].RejectReoffer(491, "Request Pending")
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

func framesOf(codec rtp.Codec, payloads [][]byte) media.Frames {
	return media.Frames{PayloadType: codec.PayloadType, Samples: prompt.FrameSamples, Payloads: payloads}
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

// firstRecordable returns the codec that a leg prefers among those a recording holds.
func (c *Call) firstRecordable(leg rtp.Leg) rtp.Codec {
	for _, codec := range c.codecs[leg] {
		if recordable(sdp.Codec{Name: codec.Name, ClockHz: codec.ClockHz, Channels: codec.Channels}) {
			return codec
		}
	}
	return rtp.Codec{}
}
