package call

import (
	"context"
	"slices"
	"strings"

	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/trunk"
)

// Prompt is one announcement in one language.
type Prompt struct {
	*prompt.Prompt
	Text string
}

// Prompts are the announcements by id and language.
type Prompts map[string]map[string]Prompt

// Who has to be told hears it at one of two moments: the caller of an inbound call mostly
// before the PBX has answered, in forewarn, and everybody else, or who could not be told
// then, in announce. What happens while he listens stands in tell.go.

// far is the leg of the party outside, whom the policy calls far.
func (c *Call) far() rtp.Leg {
	if c.direction == policy.Outbound {
		return rtp.Callee
	}
	return rtp.Caller
}

// side says who a leg's party is to the policy: where both are outside, both are far.
func (c *Call) side(leg rtp.Leg) policy.Audience {
	if leg == c.far() || c.manager.cfg.Trunks[c.parties[leg].trunk].Side == trunk.External {
		return policy.Far
	}
	return policy.Near
}

// untold are the legs that have to be told and have neither been nor are.
func (c *Call) untoldLegs() (legs []rtp.Leg) {
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		if c.decision.Announce.To.Has(c.side(leg)) && c.told[leg] == nil && c.telling[leg] == nil {
			legs = append(legs, leg)
		}
	}
	return legs
}

// foretold is when the caller is told before the PBX has answered: early, ringing or
// connect; "" where he is not. Without an offer of his there is nothing to play to, and
// early media is his trunk's to carry.
func (c *Call) foretold() policy.When {
	a := c.decision.Announce
	if c.silent != "" || c.delayed || a == nil || c.direction != policy.Inbound || !a.To.Has(policy.Far) {
		return ""
	}
	switch a.When {
	case policy.Connect:
		return a.When
	case policy.Early, policy.Ringing:
		if c.manager.cfg.Trunks[c.parties[rtp.Caller].trunk].CarriesEarlyMedia() {
			return a.When
		}
	}
	return ""
}

// forewarn tells the caller before the PBX has answered: in early media, for which nobody
// pays, or after an answer of ours.
func (c *Call) forewarn(ctx context.Context) *End {
	when := c.foretold()
	if when == "" {
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
	if when == policy.Connect {
		if end := c.pickUp(ctx); end != nil || c.silent != "" {
			return end
		}
		return c.tell(ctx, rtp.Caller)
	}
	if err := caller.leg.Progress(183, "Session Progress", caller.ours, c.earlyHeaders()...); err != nil {
		return &End{Cause: SignallingFailed, Leg: rtp.Caller, Err: err}
	}
	c.unlock(rtp.Caller)
	if when == policy.Ringing {
		return c.speak(rtp.Caller)
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

// announce tells after the answer who was not told before, and waits for whom is told
// still.
func (c *Call) announce(ctx context.Context) *End {
	if c.silent != "" || c.decision.Announce == nil {
		return nil
	}
	legs := c.untoldLegs()
	if len(legs) > 0 || c.telling.going() {
		c.media.Relay(rtp.Callee, false) // the callee's early media ends here
		if c.early {
			c.media.Relay(rtp.Caller, false)
		}
	}
	for c.silent == "" && (len(legs) > 0 || c.telling.going()) {
		if slices.Contains(legs, rtp.Caller) {
			if end := c.pickUp(ctx); end != nil {
				return end
			}
		}
		if end := c.speak(legs...); end != nil {
			return end
		}
		c.comfort()
		if end := c.heardOut(ctx); end != nil {
			return end
		}
		legs = c.untoldLegs() // who was told in early media may not have heard it
	}
	return nil
}

// pickUp answers the caller and waits until he acknowledges it: then he hears us.
func (c *Call) pickUp(ctx context.Context) *End {
	if end := c.answerCaller(); end != nil {
		return end
	}
	return c.until(ctx, func() bool { return c.confirmed })
}

// comfort lets our party hear the ringing tone while the far one alone is told, if the rule
// has it so.
func (c *Call) comfort() {
	near := c.far().Other()
	if c.telling.going() && c.decision.Announce.Meanwhile == policy.RingingTone && c.telling[near] == nil && (c.parties[near].answered || c.parties[near].bound) {
		c.tone(near, c.manager.tones.ringing)
	}
}
