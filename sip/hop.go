package sip

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// hop is an address that a dialog leads to. What comes from there has to come by TLS, if that is
// how it goes there.
type hop struct {
	addr   netip.Addr
	secure bool
}

// hops are where the dialogs of all legs lead. A carrier may have a call answered by another
// node than it is called at, and a name may stand for other addresses by now: what comes from
// there is let in as long as a leg leads there, unless it begins something. A peer can have
// whom he likes let in so, by his Contact: that gets us to read what we would drop, and to send
// there what we would send anyway.
//
//	register, a new target ─▶ enter … Leg.forget ─ 64·T1 ─▶ leave
type hops struct {
	mu   sync.Mutex
	legs map[hop]*lead
}

// lead is how many legs lead to a hop, and of which trunk the first is.
type lead struct {
	legs  int
	trunk string
}

func (h *hops) enter(to hop, trunk string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.legs[to] == nil {
		h.legs[to] = &lead{trunk: trunk}
	}
	h.legs[to].legs++
}

// leave ends it, when nothing of the leg is repeated any more.
func (h *hops) leave(all ...hop) {
	time.AfterFunc(confirmTimeout, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, from := range all {
			if h.legs[from].legs--; h.legs[from].legs == 0 {
				delete(h.legs, from)
			}
		}
	})
}

// trunk returns the trunk of a leg that leads to where a message comes from.
func (h *hops) trunk(source netip.Addr, transport string) (trunk string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.legs[hop{source, false}]; l != nil {
		return l.trunk, true
	}
	if l := h.legs[hop{source, true}]; l != nil && transport == "tls" {
		return l.trunk, true
	}
	return "", false
}

// maxHops is how many addresses one leg has let in: of the oldest nothing comes any more, unless
// the peer moves about to have us remember that.
const maxHops = maxBranches + 1

// letIn has what comes from where a dialog leads let in, until the leg is forgotten, or if it
// is, for what it still sends. The caller holds mu.
func (l *Leg) letIn(d *dialog) { l.admit(hop{d.hop(l.peer).Addr(), l.peer.Transport == "tls"}) }

func (l *Leg) admit(h hop) {
	if !l.forgotten && slices.Contains(l.hops, h) {
		return
	}
	l.ua.hops.enter(h, l.trunk)
	switch {
	case l.forgotten:
		l.ua.hops.leave(h)
		return
	case len(l.hops) == maxHops: // the first is the peer's own
		l.ua.hops.leave(l.hops[1])
		l.hops = slices.Delete(l.hops, 1, 2)
	}
	l.hops = append(l.hops, h)
}

// isFrom reports whether a request comes from the leg's trunk, or from where one of its dialogs
// leads. Another trunk's peer may know what names a dialog; it is not his.
func (l *Leg) isFrom(req *stack.Request) bool {
	source, trunk, _ := l.ua.origin(req)
	if trunk == l.trunk {
		return true
	}
	secure := stack.NetworkToLower(req.Transport()) == "tls"
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.hops, func(h hop) bool { return h.addr == source.Addr() && (secure || !h.secure) })
}

// begins reports whether a message that can be read begins something: a request outside any
// dialog, but a CANCEL.
func (ua *UA) begins(message []byte) bool {
	read, err := ua.parser.ParseSIP(message)
	req, ok := read.(*stack.Request)
	if err != nil || !ok || req.IsCancel() {
		return false
	}
	standardize(req)
	return req.To() == nil || !req.To().Params.Has("tag")
}
