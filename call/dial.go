package call

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/trunk"
)

var errNoPeer = errors.New("no peer of the trunk has a known address")

// route is where the callee is looked for: at one peer of his trunk after the other, and
// where they redirect the call to.
type route struct {
	called    string     // the number
	peer      sip.Peer   // that is tried
	targets   []sip.Peer // the number is still to be tried at
	all       []sip.Peer
	redirects []string // numbers that the call was redirected to
	tried     int      // of these
}

func newRoute(called string, peers []sip.Peer) route {
	r := route{called: called, targets: peers, all: peers}
	r.advance()
	return r
}

// advance takes the next peer, or the next number at the first, and reports whether there
// is one.
func (r *route) advance() bool {
	if len(r.targets) == 0 {
		if r.tried == len(r.redirects) {
			return false
		}
		r.called, r.targets = r.redirects[r.tried], r.all
		r.tried++
	}
	if len(r.targets) == 0 {
		return false
	}
	r.peer, r.targets = r.targets[0], r.targets[1:]
	return true
}

// maxRedirects is how many numbers a call may be redirected to: as many as sip's own
// forking would, and no ring of them goes on for ever.
const maxRedirects = 5

// redirect notes the numbers that a 3xx names, and reports whether there is a new one.
func (r *route) redirect(numbers []string) bool {
	found := false
	for _, n := range numbers {
		if n != "" && n != r.called && !slices.Contains(r.redirects, n) && len(r.redirects) < maxRedirects {
			r.redirects, found = append(r.redirects, n), true
		}
	}
	if found {
		r.targets = nil // the number as it was is known to be wrong
	}
	return found
}

// dial calls the callee, at one target after the other, and waits until he answers.
func (c *Call) dial(ctx context.Context) *End {
	ringing := time.NewTimer(ringTimeout)
	defer ringing.Stop()
	for {
		end := c.invite()
		if end == nil {
			end = c.ringing(ctx, ringing.C)
		}
		if end == nil || !c.reroute(end) {
			return end
		}
		if c.ending != nil {
			return c.ending
		}
	}
}

// ringing follows one INVITE until it is answered.
func (c *Call) ringing(ctx context.Context, deadline <-chan time.Time) *End {
	for {
		h, end := c.next(ctx, deadline)
		if end != nil {
			return end
		}
		taken, end := c.hear(h)
		switch {
		case taken:
		case h.kind == progressed:
			end = c.ring(h.sip)
		case h.kind == callAnswered:
			if !c.telling.going() {
				c.quiet(rtp.Caller)
			}
			return c.connected(h.sip)
		case h.kind == reoffered:
			c.passReoffer(h.leg, h.sip)
		case h.kind == timeUp:
			return &End{Cause: NoAnswer, Leg: rtp.Callee}
		default:
			end = c.attend(h)
		}
		if end == nil {
			end = c.untie()
		}
		if end != nil {
			return end
		}
	}
}

// reroute reports whether the call goes on elsewhere after one try ended so.
func (c *Call) reroute(end *End) bool {
	if end.Leg != rtp.Callee {
		return false
	}
	trunks := c.manager.trunks
	switch {
	case end.Cause == Unreachable:
		trunks.Failed(c.parties[rtp.Callee].trunk, c.route.peer)
	case end.Cause == Rejected && end.Code == 503: // RFC 3263 §4.3
	case end.Cause == Rejected && end.Code/100 == 3 && c.calleeTrunk().FollowsRedirects():
		if !c.route.redirect(end.Contacts) {
			return false
		}
	default:
		return false
	}
	if !c.route.advance() {
		return false
	}
	was := c.parties[rtp.Callee]
	callee := newParty(was.trunk, sip.Party{User: c.route.called})
	callee.place, callee.address = was.place, was.address
	c.parties[rtp.Callee], c.early, c.pending = callee, false, nil
	c.media.Relay(rtp.Callee, false)
	c.media.Relay(rtp.Caller, false)
	if callee.identity != was.identity {
		c.redirected()
	}
	return true
}

// redirected asks the policy about the number that the call goes to instead of the one
// dialled. What was not to be recorded stays so.
func (c *Call) redirected() {
	if c.silent != "" {
		return
	}
	d := c.rules.Decide(c.countedFacts())
	switch {
	case d.Record && c.told == [2]*told{} && !c.telling.going(): // by whichever rule: it is told as that one says
		c.decision = d
		c.decided()
		return
	case d.Record:
		c.silent = c.unfit(rtp.Callee)
	default:
		c.silent = d.Reason
		if d.Reason == policy.NoRule {
			c.silent = c.unfit(rtp.Callee)
		}
	}
	if policy.Fails(c.silent) && d.OnFailure == policy.Refuse {
		c.ending = &End{Cause: RecordingRefused, Leg: rtp.Caller, Err: errors.New(c.silent)}
	}
}

func (c *Call) calleeTrunk() trunk.Config { return c.manager.cfg.Trunks[c.parties[rtp.Callee].trunk] }

// invite sends the callee the caller's offer with our address in it.
func (c *Call) invite() *End {
	caller, callee := c.parties[rtp.Caller], c.parties[rtp.Callee]
	offer, err := c.towards(c.offer, c.wanted)
	if err != nil {
		return &End{Cause: NoCodec, Leg: rtp.Caller, Err: err}
	}
	if c.silent == "" {
		c.recordableFirst(offer)
	}
	if chosen, err := sdp.Parse(caller.ours); err == nil { // the caller has an answer of ours: its codec first
		offer.Media[c.main].Prefer(chosen.Media[c.main].Codecs())
	}
	headers, err := c.replaces(c.forward(rtp.Caller, caller.leg.Passed()))
	if err != nil {
		return &End{Cause: NoDialog, Leg: rtp.Caller, Err: err}
	}
	cfg := c.calleeTrunk()
	if cfg.PassesChallenges() {
		headers = append(headers, caller.leg.Authorization()...)
	}
	callee.leg, err = c.manager.ua.Invite(sip.Invite{
		Peer: c.route.peer, Trunk: callee.trunk, Called: c.route.called, From: caller.leg.From(),
		Headers: headers, MaxForwards: caller.leg.MaxForwards(), Body: c.describe(rtp.Callee, offer, nil),
		Credentials: c.manager.credentials(callee.trunk), Partner: caller.leg,
	})
	if err != nil {
		return &End{Cause: Unreachable, Leg: rtp.Callee, Err: err}
	}
	c.manager.own(callee.leg, c)
	c.row.CalleeCallID = callee.leg.CallID()
	return nil
}

// credentials meet a trunk's challenges; nil where these are for who calls.
func (m *Manager) credentials(name string) *sip.Credentials {
	if m.cfg.Trunks[name].PassesChallenges() {
		return nil
	}
	return m.trunks.Credentials(name)
}

// ring passes a provisional response on, with early media where it brings some and
// the caller's trunk carries it.
func (c *Call) ring(e sip.Event) *End {
	headers := c.forward(rtp.Callee, e.Headers)
	answer := c.branch(e)
	if c.telling.going() { // he hears what he is told: a 180 would have his phone ring over it
		c.rung = true
		return c.progress(183, "Session Progress", nil, headers)
	}
	if answer != nil && c.carriesEarly() {
		if body, ok := c.earlyMedia(answer); ok {
			return c.progress(e.Code, e.Reason, body, headers)
		}
	}
	c.ringback()
	return c.progress(e.Code, e.Reason, nil, headers)
}

// carriesEarly reports whether the callee's early media may go to the caller.
func (c *Call) carriesEarly() bool {
	caller := c.parties[rtp.Caller]
	return !c.delayed && (caller.answered || c.manager.cfg.Trunks[caller.trunk].CarriesEarlyMedia())
}

// untie lets the caller, once he is told, hear what there was of the callee meanwhile.
func (c *Call) untie() *End {
	if !c.rung || c.telling.going() {
		return nil
	}
	c.rung = false
	callee := c.parties[rtp.Callee]
	if answer := callee.branches[callee.branch]; answer != nil && c.carriesEarly() {
		if _, ok := c.earlyMedia(answer); ok {
			return nil
		}
	}
	c.ringback()
	return c.progress(180, "Ringing", nil, nil)
}

// ringback plays the ringing tone to a caller who listens to us since the announcement:
// silence is no ringing.
func (c *Call) ringback() {
	if c.parties[rtp.Caller].bound && c.playing[rtp.Caller] == nil && !c.early {
		c.tone(rtp.Caller, c.manager.tones.ringing)
	}
}

// branch reads what a branch of the callee's says of itself, nil for nothing of use: the
// answer may not say it again.
func (c *Call) branch(e sip.Event) *sdp.Description {
	if len(e.Body) == 0 {
		return nil
	}
	answer, err := c.answerOf(rtp.Callee, e.Body)
	if err != nil {
		return nil
	}
	callee := c.parties[rtp.Callee]
	if callee.branches == nil {
		callee.branches = map[int]*sdp.Description{}
	}
	callee.branch, callee.branches[e.Branch] = e.Branch, answer
	return answer
}

// earlyMedia relays what a branch of the callee's says before the answer, in place of any
// branch before it, and returns what the caller is to be told. It is no matter if it
// cannot: the answer will tell.
func (c *Call) earlyMedia(answer *sdp.Description) (description []byte, ok bool) {
	if c.take(rtp.Callee, answer, asAnswer) != nil {
		return nil, false
	}
	c.quiet(rtp.Caller)
	c.early = true
	body := c.bind(answer)
	c.media.Relay(rtp.Callee, true)
	c.media.Relay(rtp.Caller, true) // gateways wait for his first packet, menus for his keys
	return body, true
}

func (c *Call) progress(code int, reason string, body []byte, headers []sip.Header) *End {
	if c.parties[rtp.Caller].answered { // by us, to tell him
		return nil
	}
	if err := c.parties[rtp.Caller].leg.Progress(code, reason, body, headers...); err != nil {
		return &End{Cause: SignallingFailed, Leg: rtp.Caller, Err: err}
	}
	if body != nil {
		c.unlock(rtp.Caller)
	}
	return nil
}

// connected takes the callee's answer.
func (c *Call) connected(e sip.Event) *End {
	callee := c.parties[rtp.Callee]
	callee.answered, callee.privacy = true, privacyOf(e.Headers)
	if callee.identity.User != c.parties[rtp.Caller].leg.Called() {
		c.joined(rtp.Callee, "")
	}
	c.manager.trunks.Alive(c.parties[rtp.Callee].trunk, c.route.peer)
	c.instruct(rtp.Callee, e.Headers)
	c.greeting = c.forward(rtp.Callee, e.Headers)
	answer := callee.branches[e.Branch]
	if callee.branch == e.Branch && callee.described != nil { // it may have changed by UPDATE
		answer = callee.described
	}
	if len(e.Body) > 0 || answer == nil { // gateways answer the offer in the 183 alone
		var err error
		if answer, err = c.answerOf(rtp.Callee, e.Body); err != nil {
			return &End{Cause: NoCodec, Leg: rtp.Callee, Err: err}
		}
	}
	callee.branches = nil
	if answer != callee.described {
		if end := c.take(rtp.Callee, answer, asAnswer); end != nil {
			return end
		}
	}
	if end := c.settled(); end != nil {
		return end
	}
	if c.delayed { // what he may have is an offer, and the ACK will answer it
		c.describe(rtp.Caller, answer.Clone(), nil)
		return nil
	}
	c.bind(answer)
	return nil
}

// answerOf reads a party's answer to our last description (RFC 3264 §6).
func (c *Call) answerOf(leg rtp.Leg, body []byte) (*sdp.Description, error) {
	answer, err := sdp.Parse(body)
	if err != nil {
		return nil, err
	}
	offer, err := sdp.Parse(c.parties[leg].ours)
	if err != nil {
		return nil, err
	}
	return answer, sdp.Accepts(offer, answer)
}

// bind makes the callee's answer the caller's, unless he has one of ours already, which
// then stands: there is one answer to one offer. It returns it.
func (c *Call) bind(answer *sdp.Description) []byte {
	caller := c.parties[rtp.Caller]
	if !caller.bound {
		if passed, err := c.answering(c.offer, answer, c.wanted); err == nil {
			c.describe(rtp.Caller, passed, c.offer)
			caller.bound = true
		}
	}
	return caller.ours
}

// answerCaller answers the caller with what he is to know of the callee's answer.
func (c *Call) answerCaller() *End {
	caller := c.parties[rtp.Caller]
	if caller.answered {
		return nil
	}
	switch err := caller.leg.Answer(caller.ours, c.greeting...); {
	case errors.Is(err, sip.ErrOver): // his CANCEL is on its way to us from the leg
		return &End{Cause: Cancelled, Leg: rtp.Caller}
	case err != nil:
		return &End{Cause: SignallingFailed, Leg: rtp.Caller, Err: err}
	}
	caller.answered = true
	c.unlock(rtp.Caller)
	return nil
}
