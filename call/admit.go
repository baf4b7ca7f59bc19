package call

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/trunk"
)

// admit has the call's row written, takes its places on the trunks, and reads its offer.
func (c *Call) admit(context.Context) *End {
	caller, callee := c.parties[rtp.Caller], c.parties[rtp.Callee]
	if err := c.begin(); err != nil {
		c.log.Error("row not written: the call is not recorded", "call_id", c.id, "error", err)
		if end := c.cannotRecord("row_not_written"); end != nil {
			return end
		}
	}
	c.instruct(rtp.Caller, caller.leg.Passed())
	if !c.decision.Record && c.decision.OnFailure == policy.Refuse { // somebody says that it may not be
		return &End{Cause: RecordingRefused, Leg: rtp.Caller, Err: errors.New(c.silent)}
	}
	if callee.trunk == "" {
		return &End{Cause: NoRoute, Leg: rtp.Callee}
	}
	if end := c.reserve(); end != nil {
		return end
	}
	c.route = newRoute(caller.leg.Called(), c.manager.trunks.Targets(callee.trunk))
	if end := c.readOffer(caller.leg.Offer()); end != nil {
		return end
	}
	if end := c.openMedia(); end != nil {
		return end
	}
	if c.delayed {
		return nil
	}
	return c.take(rtp.Caller, c.offer, asOffer)
}

// reserve takes the call's places on both trunks. An emergency call is never refused one.
func (c *Call) reserve() *End {
	for _, p := range c.parties {
		place, err := c.manager.trunks.Take(p.trunk, c.decision.Unlimited)
		if err != nil {
			return &End{Cause: TrunkFull, Leg: rtp.Callee, Err: err}
		}
		p.place = place
	}
	return nil
}

// openMedia takes ports for both legs, at the addresses by which their peers know us.
func (c *Call) openMedia() *End {
	if !c.route.peer.Addr.IsValid() {
		return &End{Cause: Unreachable, Leg: rtp.Callee, Err: errNoPeer}
	}
	session, end := c.open()
	if end != nil {
		return end
	}
	c.media = session
	for leg, p := range c.parties {
		p.address = session.Local(rtp.Leg(leg)).Addr()
	}
	return nil
}

// open opens a media session between the parties.
func (c *Call) open() (Session, *End) {
	known, err := c.manager.ua.LocalAddr(c.route.peer)
	if err != nil {
		return nil, &End{Cause: Unreachable, Leg: rtp.Callee, Err: err}
	}
	trunks := c.manager.cfg.Trunks
	session, err := c.manager.parts.Media.Open([2]media.Where{
		rtp.Caller: {Known: c.parties[rtp.Caller].leg.LocalAddr(), Advertise: trunks[c.parties[rtp.Caller].trunk].Advertise},
		rtp.Callee: {Known: known, Advertise: trunks[c.parties[rtp.Callee].trunk].Advertise},
	})
	if err != nil {
		return nil, &End{Cause: NoPorts, Leg: rtp.Caller, Err: err}
	}
	return session, nil
}

// decide asks the policy, with the facts as the INVITE gives them.
func (c *Call) decide() {
	f := c.countedFacts()
	c.decision, c.direction = c.rules.Decide(f), f.Direction
	if !c.decision.Record {
		c.silent = c.decision.Reason
	}
}

// countedFacts are those of a call that is not recorded yet: with how many were before.
func (c *Call) countedFacts() policy.Facts {
	f := c.facts()
	if c.rules.Counts() {
		f.RecordedThisMonth = c.manager.tally.recorded(c.rules.Near(f), f.Time)
	}
	return f
}

// facts are what the policy asks of the parties there are now.
func (c *Call) facts() policy.Facts {
	caller, callee, trunks := c.parties[rtp.Caller], c.parties[rtp.Callee], c.manager.cfg.Trunks
	direction := policy.Outbound
	if trunks[caller.trunk].Side == trunk.External {
		direction = policy.Inbound
	}
	first := c.owned[0] // the leg of the INVITE that the call began with
	trusted := trunks[first.Trunk()].Trusts()
	var asserted []string
	if trusted {
		asserted = first.Asserted()
	}
	return policy.Facts{
		Forwarded: first.Forwarded(), Claimed: first.Forwarded() && !trusted, Asserted: asserted,
		Direction: direction,
		FromTrunk: caller.trunk, ToTrunk: callee.trunk,
		FromSide: string(trunks[caller.trunk].Side), ToSide: string(trunks[callee.trunk].Side),
		Caller: caller.identity.User, Callee: callee.identity.User,
		Vouched: caller.vouched, Time: c.began,
		ID: c.id, Headers: c.headers(),
	}
}

// headers are those that rules ask for, of the INVITE that the call began with, if its trunk is
// trusted: an outsider is not to say by which rule he is recorded.
func (c *Call) headers() map[string][]string {
	names, first := c.rules.Headers(), c.owned[0]
	if len(names) == 0 || !c.manager.cfg.Trunks[first.Trunk()].Trusts() {
		return nil
	}
	headers := map[string][]string{}
	for _, name := range names {
		headers[name] = first.Header(name)
	}
	return headers
}

// vouches reports whether a caller is who his From says by the word of a trunk that we trust:
// it asserts the number (RFC 3325 §9.1), or that an emergency centre calls back (RFC 7090 §4).
func (m *Manager) vouches(caller *sip.Leg) bool {
	if !m.cfg.Trunks[caller.Trunk()].Trusts() {
		return false
	}
	number := m.Policy().Number
	return slices.ContainsFunc(caller.Asserted(), func(n string) bool { return number(n) == number(caller.From().User) }) ||
		slices.ContainsFunc(caller.Passed(), func(h sip.Header) bool {
			return h.Name == "Priority" && strings.EqualFold(h.Value, "psap-callback")
		})
}

// readOffer takes the caller's offer and says which codecs the call may use: all of
// them, or where it is to be recorded, those that a recording can hold. A caller without
// an offer is made one by us, once the callee has said what he can (RFC 3261 §13.2.1).
func (c *Call) readOffer(body []byte) *End {
	c.wanted = anyCodec
	if len(body) == 0 {
		c.delayed = true
		if c.silent == "" {
			c.wanted = holdable
		}
		c.offer = sdp.OfferOf(voiceCodecs)
		return nil
	}
	offer, err := sdp.Parse(body)
	if err != nil {
		return &End{Cause: BadOffer, Leg: rtp.Caller, Err: err}
	}
	audio, err := offer.Audio()
	if err != nil {
		return &End{Cause: NoAudio, Leg: rtp.Caller, Err: err}
	}
	c.offer, c.main = offer, slices.Index(offer.Media, audio)
	if err := c.acceptable(rtp.Caller, offer); err != nil {
		return unprotected(rtp.Caller, err)
	}
	if c.silent != "" {
		return nil
	}
	if !slices.ContainsFunc(audio.Codecs(), recordable) {
		if end := c.cannotRecord("codec"); end != nil {
			return &End{Cause: NoCodec, Leg: rtp.Caller}
		}
		return nil
	}
	c.wanted = c.offerable
	return nil
}

// cannotRecord gives up recording this call for that reason. Whether the call goes
// on without is written with its purpose.
func (c *Call) cannotRecord(reason string) *End {
	if c.silent != "" {
		return nil
	}
	c.cease()
	c.silent = reason
	if c.decision.OnFailure == policy.Refuse {
		return &End{Cause: RecordingRefused, Leg: rtp.Caller, Err: errors.New(reason)}
	}
	return nil
}

// newSession makes the number of a session description (RFC 8866 §5.2).
func newSession() uint64 { return rand.Uint64() >> 2 }
