package call

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/trunk"
)

// transfer is a party's place being taken: by a new leg that is dialled (RFC 5589 §6), or
// by a party of another call that is asked for (§7). The call, its row and its recording
// go on.
//
//	REFER ─ 202 ─ NOTIFY 100 ─┬─ dial ── answered ─┬─ NOTIFY 200 ─ the party leaves ─ the other is told
//	                          └─ ask ─── given ────┘
//	                             fails ─ NOTIFY, and the party stays
type transfer struct {
	leg    rtp.Leg // whose place
	party  *party  // who is dialled; nil while another call is asked
	event  string  // of the NOTIFYs to it
	silent bool    // the party wants no NOTIFY (RFC 4488)
	gone   bool    // it hung up meanwhile
	timer  *time.Timer
}

// overdue is when whoever is to come has been waited for long enough.
func (t *transfer) overdue() <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.timer.C
}

// release gives back what a transfer that came to nothing took.
func (t *transfer) release() {
	if t == nil {
		return
	}
	t.timer.Stop()
	if t.party != nil {
		t.party.place.Release()
	}
}

func (t *transfer) events() <-chan sip.Event {
	if t == nil {
		return nil
	}
	return t.party.events()
}

func (t *transfer) hangup(code int, reason string) {
	if t != nil && t.party != nil && t.party.leg != nil {
		t.party.leg.Hangup(code, reason)
	}
}

// refer takes a party's wish to be replaced, as its trunk's refer says.
func (c *Call) refer(leg rtp.Leg, r *sip.Request) {
	mode := c.manager.cfg.Trunks[c.parties[leg].trunk].Refer
	switch {
	case mode != trunk.Pass && mode != trunk.Terminate:
		r.Reply(603, "Decline")
	case c.bridged.IsZero() || c.transfer != nil || c.pending != nil:
		r.Reply(491, "Request Pending")
	case mode == trunk.Pass:
		c.passRefer(leg, r)
	default:
		c.terminateRefer(leg, r)
	}
}

// passRefer has the other party call who it is referred to, at its own side's address.
func (c *Call) passRefer(leg rtp.Leg, r *sip.Request) {
	to := c.parties[leg.Other()]
	headers := c.forward(leg, r.Headers)
	for i, h := range headers {
		if h.Name != "Refer-To" {
			continue
		}
		value, err := c.manager.ua.ReferTo(c.parties[leg].trunk, h.Value, to.leg)
		switch {
		case errors.Is(err, sip.ErrNoDialog):
			r.Reply(404, "No Such Dialog")
			return
		case err != nil:
			r.Reply(400, "Bad Refer-To")
			return
		}
		headers[i].Value = value
	}
	to.leg.Ask(&sip.Request{Method: r.Method, Headers: headers, ContentType: r.ContentType, Body: r.Body, For: r})
}

// terminateRefer calls by ourselves who the party refers to.
func (c *Call) terminateRefer(leg rtp.Leg, r *sip.Request) {
	target, err := sip.ParseReferTo(r.Header("Refer-To"))
	if err != nil {
		r.Reply(400, "Bad Refer-To")
		return
	}
	asked := target.Replaces != "" && c.ask(c.parties[leg].trunk, target.Replaces)
	if _, own := c.wayTo(leg, target); target.Replaces != "" && !asked && !own { // a dialog of ours, and it is gone
		r.Reply(404, "No Such Dialog")
		return
	}
	r.Reply(202, "Accepted")
	c.transfer = &transfer{leg: leg, event: r.Event, silent: strings.EqualFold(r.Header("Refer-Sub"), "false"), timer: time.NewTimer(ringTimeout)}
	c.notify("SIP/2.0 100 Trying", false)
	if asked {
		return
	}
	if err := c.dialTransfer(target, r.Header("Referred-By")); err != nil {
		c.log.Warn("transfer not begun", "call_id", c.id, "leg", leg, "error", err)
		c.stay("SIP/2.0 503 Service Unavailable")
	}
}

// ask asks the call that has the dialog which a trunk's Replaces names for the party at its
// other end, and reports whether there is such a call.
func (c *Call) ask(name, replaces string) bool {
	named := c.manager.ua.Named(name, replaces)
	owner := c.manager.owner(named)
	return owner != nil && owner != c && owner.letters.send(letter{kind: asked, from: c, leg: named})
}

// wayTo names the trunk by which who a party refers to is called: the party's own, where
// the address is one of that, else the one that its calls go by.
func (c *Call) wayTo(leg rtp.Leg, target sip.ReferTarget) (name string, own bool) {
	trunks, from := c.manager.trunks, c.parties[leg].trunk
	if addr, err := netip.ParseAddr(target.Host); err == nil {
		// By TLS, as by nothing else, every trunk's address is known.
		if name, _ := trunks.Trunk(netip.AddrPortFrom(addr, target.Port), "tls"); name == from {
			return from, true
		}
	}
	name, _ = trunks.Route(from)
	return name, false
}

// dialTransfer calls who is to take the place, also in a dialog between others, which only
// who is called knows (RFC 5589 §7).
func (c *Call) dialTransfer(target sip.ReferTarget, referredBy string) error {
	t := c.transfer
	trunks, other := c.manager.trunks, c.parties[t.leg.Other()]
	name, _ := c.wayTo(t.leg, target)
	peers := trunks.Targets(name)
	if len(peers) == 0 {
		return errNoPeer
	}
	t.party = newParty(name, sip.Party{User: target.User})
	offer, err := c.towards(other.described, c.mayUse)
	if err != nil {
		return err
	}
	c.wishing(offer, other)
	emergency := c.emergency(t.leg, t.party)
	if err := trunks.Admit(c.parties[t.leg].trunk, c.parties[t.leg].leg.Peer().Addr.Addr(), emergency); err != nil {
		return err
	}
	if t.party.place, err = trunks.Take(name, emergency); err != nil {
		return err
	}
	known, err := c.manager.ua.LocalAddr(peers[0])
	if err != nil {
		return err
	}
	if t.party.address = c.manager.parts.Media.Address(media.Where{Known: known, Advertise: c.manager.cfg.Trunks[name].Advertise}); t.party.address.Is4() != c.media.Local(t.leg).Addr().Is4() {
		return fmt.Errorf("call %s over %v: the call's media is of the other IP version", name, t.party.address)
	}
	from, headers := other.shown(c.manager.cfg.Trunks[name].Trusts() || emergency)
	if referredBy != "" {
		headers = append(headers, c.manager.pass(border{c.parties[t.leg].trunk, name, known}, []sip.Header{{Name: "Referred-By", Value: referredBy}})...)
	}
	if target.Replaces != "" {
		headers = append(headers, sip.Header{Name: "Replaces", Value: target.Replaces})
	}
	t.party.leg, err = c.manager.ua.Invite(sip.Invite{
		Peer: peers[0], Trunk: name, Called: target.User, From: from, Headers: headers, MaxForwards: 69,
		Body: c.describeTo(t.party, t.leg, offer, nil), Credentials: c.manager.credentials(name),
	})
	return err
}

// part ends what is under way between a party that goes and the one that stays. What that
// one asked it may ask again; what it is asked is our own offer from here on.
func (c *Call) part(leg rtp.Leg) {
	switch p := c.pending; {
	case p == nil:
	case p.to != leg:
		p.offer = nil
	default:
		if p.offer != nil {
			c.parties[leg.Other()].leg.RejectReoffer(491, "Request Pending")
		}
		c.pending = nil
	}
}

// emergency reports whether who is dialled for a leg's party is to be reached whatever the
// limits.
func (c *Call) emergency(leg rtp.Leg, p *party) bool {
	f := c.facts()
	if f.Callee = p.identity.User; leg == rtp.Caller {
		f.Caller, f.Vouched = c.parties[rtp.Callee].identity.User, false
	}
	return c.rules.Decide(f).Unlimited
}

// notify tells the party that is to be replaced how far that is (RFC 3515 §2.4.4).
func (c *Call) notify(status string, final bool) {
	t := c.transfer
	if t.silent || t.gone {
		return
	}
	state := "active;expires=60"
	if final {
		state = "terminated;reason=noresource"
	}
	c.parties[t.leg].leg.Ask(&sip.Request{
		Method: "NOTIFY", ContentType: "message/sipfrag;version=2.0", Body: []byte(status + "\r\n"),
		Headers: []sip.Header{{Name: "Event", Value: t.event}, {Name: "Subscription-State", Value: state}},
	})
}

// leaves reports whether a party's BYE only makes room for who takes its place.
func (c *Call) leaves(leg rtp.Leg) bool {
	if c.transfer == nil || c.transfer.leg != leg {
		return false
	}
	c.transfer.gone = true
	c.media.Relay(leg.Other(), false) // nobody is there to hear it
	c.media.Capture(nil)
	return true
}

// replace takes what happens to the leg that is dialled for a transfer, or that the party
// which is to be replaced has hung up.
func (c *Call) replace(e sip.Event) *End {
	t := c.transfer
	if t == nil {
		return nil
	}
	switch e.Kind {
	case sip.Progressed:
		c.notify(fmt.Sprintf("SIP/2.0 %d %s", e.Code, e.Reason), false)
	case sip.Answered:
		answer, err := sdp.Parse(e.Body)
		if err == nil {
			var offer *sdp.Description
			if offer, err = sdp.Parse(t.party.ours); err == nil {
				err = sdp.Accepts(offer, answer)
			}
			if err == nil {
				err = c.takes(t.party, answer)
			}
		}
		if err != nil {
			t.hangup(488, "Not Acceptable Here")
			return c.stay("SIP/2.0 488 Not Acceptable Here")
		}
		t.party.answered, t.party.described, t.party.privacy = true, answer, privacyOf(e.Headers)
		return c.adopt(t.party, "", asAnswer)
	case sip.Rejected:
		return c.stay(fmt.Sprintf("SIP/2.0 %d %s", e.Code, e.Reason))
	case sip.Failed:
		return c.stay("SIP/2.0 503 Service Unavailable")
	case sip.Requested:
		e.Request.Reply(491, "Request Pending")
	case sip.Reoffered:
		t.party.leg.RejectReoffer(491, "Request Pending")
	}
	return nil
}

// stay ends a transfer that came to nothing: the party stays, unless it has left already.
func (c *Call) stay(status string) *End {
	t := c.transfer
	c.notify(status, true)
	t.release()
	c.transfer = nil
	if t.gone {
		return &End{Cause: HungUp, Leg: t.leg}
	}
	return nil
}

// adopt puts a party in the place of the one that goes, from another call or from none.
func (c *Call) adopt(p *party, from string, how said) *End {
	t := c.transfer
	old, other := c.parties[t.leg], c.parties[t.leg.Other()]
	c.notify("SIP/2.0 200 OK", true)
	c.transfer = nil
	c.part(t.leg)
	t.timer.Stop()
	old.leg.Hangup(0, "")
	old.place.Release()
	c.manager.own(p.leg, c)
	sip.Bridge(p.leg, other.leg)
	c.parties[t.leg] = p
	c.joined(t.leg, from)
	p.recorded = old.recorded
	c.untold = [2]bool{true, true}
	if end := c.untell(t.leg); end != nil { // before it is heard
		return end
	}
	if end := c.take(t.leg, p.described, how); end != nil {
		return end
	}
	if t.gone {
		c.media.Relay(t.leg.Other(), true)
		if c.capturing {
			c.media.Capture(c.tap)
		} else if c.recorded() {
			c.follow(nil)
		}
	}
	if c.retelling {
		if end := c.speak(t.leg); end != nil {
			return end
		}
	}
	c.settle()
	return nil
}

// untell stops the recording where somebody took a place in it with whom it may not go on:
// the policy says so, or it is somebody outside who was not told, or it was the one told
// who left.
func (c *Call) untell(leg rtp.Leg) *End {
	c.came[leg], c.apart[leg] = time.Time{}, false
	if c.recording == nil {
		return nil
	}
	c.came[leg] = c.media.Now()
	c.single()
	if c.silent != "" {
		c.apart[leg] = true
		return nil
	}
	reason := c.unfit(leg)
	fits := reason == ""
	if retells := c.decision.Announce != nil && c.decision.Announce.Transfers; (reason == "" || reason == policy.IsForwarded && !retells) && (c.told[leg] != nil || c.decision.Exempt == "" && c.manager.cfg.Trunks[c.parties[leg].trunk].Side == trunk.External) {
		reason = "transferred"
	}
	c.told[leg] = nil
	switch a := c.decision.Announce; {
	case reason == "":
		return nil
	case fits && a != nil && a.Transfers: // who came is told as the other was
		c.retelling, c.apart[leg] = true, true
		c.follow(nil)
		return nil
	}
	c.apart[leg] = true
	c.halt()
	c.silent = reason
	if refuses := reason == "transferred" || policy.Fails(reason); refuses && c.decision.OnFailure == policy.Refuse {
		return &End{Cause: RecordingRefused, Leg: rtp.Caller}
	}
	return nil
}

// read takes a letter of another call.
func (c *Call) read(l letter) *End {
	switch l.kind {
	case commanded:
		c.obey(*l.command, l.answer)
	case asked:
		return c.give(l)
	case given:
		if c.transfer == nil || c.transfer.party != nil {
			l.refuse()
			return nil
		}
		return c.adopt(l.gift, l.call, asBefore)
	case refused:
		if c.transfer != nil && c.transfer.party == nil {
			return c.stay("SIP/2.0 481 Call/Transaction Does Not Exist")
		}
	}
	return nil
}

// give hands a party over to the call that asks for it, and ends this one. A call in which
// something is under way keeps its parties.
func (c *Call) give(l letter) *End {
	for i, p := range c.parties {
		stays := rtp.Leg(i).Other()
		if p.leg != l.leg || c.bridged.IsZero() || c.pending != nil || c.transfer != nil {
			continue
		}
		gift := c.parties[stays]
		if !l.from.letters.send(letter{kind: given, gift: gift, call: c.id}) {
			return nil
		}
		c.parties[stays], c.row.ContinuedIn = &party{trunk: gift.trunk}, l.from.id
		return &End{Cause: Transferred, Leg: rtp.Leg(i)}
	}
	l.refuse()
	return nil
}
