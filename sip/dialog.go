package sip

import (
	"net/netip"
	"slices"
	"strings"

	stack "github.com/emiago/sipgo/sip"
)

// dialog is a dialog (RFC 3261 §12), less what all dialogs of one leg share: Call-ID,
// our tag and our numbers. A caller leg has one. A callee leg has one for each branch
// that answers our INVITE, and in the end the one whose 2xx came first.
type dialog struct {
	remoteTag string
	target    stack.Uri // the peer's Contact
	routes    []stack.Uri
	remoteSeq uint32
	counted   bool   // remoteSeq is known: on a callee leg, from the peer's first request on
	allow     string // the peer's Allow; empty for not said
	rseq      uint32 // the last reliable provisional response of the branch; 0 for none yet
	agreed    bool   // offer and answer have met reliably: an UPDATE may bring a new offer (RFC 3311 §5.1)
}

// set takes the peer's target, routes and methods from the message that sets up the
// dialog (RFC 3261 §12.1).
func (d *dialog) set(contact *stack.ContactHeader, recorded []stack.Header, allow string) {
	if contact != nil {
		d.target = *contact.Address.Clone()
	}
	d.routes = d.routes[:0]
	for _, h := range recorded {
		if r, ok := h.(*stack.RecordRouteHeader); ok {
			d.routes = append(d.routes, *r.Address.Clone())
		}
	}
	d.noteAllow(allow)
}

func (d *dialog) noteAllow(allow string) {
	if allow != "" {
		d.allow = allow
	}
}

// refresh takes a new target from a request or response that may bring one (RFC 3261
// §12.2).
func (d *dialog) refresh(contact *stack.ContactHeader, allow string) {
	if contact != nil {
		d.target = *contact.Address.Clone()
	}
	d.noteAllow(allow)
}

// refresh takes a new target of a dialog: see dialog.refresh. The caller holds mu.
func (l *Leg) refresh(d *dialog, contact *stack.ContactHeader, allow string) {
	d.refresh(contact, allow)
	l.letIn(d)
}

// allows reports whether the peer said that it takes a method.
func (d *dialog) allows(method stack.RequestMethod) bool { return hasToken(d.allow, string(method)) }

// inOrder notes a request's number and reports whether it is newer than the last
// one's (RFC 3261 §12.2.2).
func (d *dialog) inOrder(seq uint32) bool {
	if d.counted && seq <= d.remoteSeq {
		return false
	}
	d.counted, d.remoteSeq = true, seq
	return true
}

// hop returns where the dialog's requests go: the first route or the target. A host
// name there is not looked up: the request goes to the peer it is configured for. They go
// by the leg's transport, so where no port is written it is that one's (RFC 3261 §19.1.2).
func (d *dialog) hop(peer Peer) netip.AddrPort {
	hop := d.target
	if len(d.routes) > 0 {
		hop = d.routes[0]
	}
	addr, err := netip.ParseAddr(strings.Trim(hop.Host, "[]"))
	if err != nil {
		return peer.Addr
	}
	port := peer.defaultPort()
	if hop.Port > 0 && hop.Port < 1<<16 {
		port = uint16(hop.Port)
	}
	return netip.AddrPortFrom(addr.Unmap(), port)
}

// dialogOf returns the dialog that the peer's tag names, nil for none. The caller
// holds mu.
func (l *Leg) dialogOf(remoteTag string) *dialog {
	if l.dialog.remoteTag == remoteTag {
		return l.dialog
	}
	for _, d := range l.branches {
		if d.remoteTag == remoteTag {
			return d
		}
	}
	return nil
}

// branch returns the dialog of a response to our INVITE and its place among the
// branches, in the order in which they first answered. The caller holds mu.
func (l *Leg) branch(res *stack.Response) (*dialog, int) {
	tag, _ := res.To().Params.Get("tag")
	i := slices.IndexFunc(l.branches, func(d *dialog) bool { return d.remoteTag == tag })
	if i < 0 {
		i = len(l.branches)
		l.branches = append(l.branches, &dialog{remoteTag: tag, target: *l.dialog.target.Clone()})
		l.branches[i].set(res.Contact(), reversed(res.GetHeaders("Record-Route")), header(res, "Allow"))
	} else {
		l.branches[i].refresh(res.Contact(), header(res, "Allow"))
	}
	l.letIn(l.branches[i])
	return l.branches[i], i
}

// request makes a request in a dialog (RFC 3261 §12.2.1.1).
func (l *Leg) request(d *dialog, method stack.RequestMethod) *stack.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if method != stack.ACK {
		l.localSeq++
	}
	req := stack.NewRequest(method, *d.target.Clone())
	for _, r := range d.routes {
		req.AppendHeader(&stack.RouteHeader{Address: r})
	}
	req.SetDestination(l.destination(d))
	l.letIn(d) // who answers it
	local, remote := l.ends()
	local.Params = stack.HeaderParams{{K: "tag", V: l.localTag}}
	remote.Params = nil
	if d.remoteTag != "" {
		remote.Params = stack.HeaderParams{{K: "tag", V: d.remoteTag}}
	}
	callID := stack.CallIDHeader(l.callID)
	hops := stack.MaxForwardsHeader(70)
	req.AppendHeader(&local)
	req.AppendHeader(&remote)
	req.AppendHeader(&callID)
	req.AppendHeader(&stack.CSeqHeader{SeqNo: l.localSeq, MethodName: method})
	req.AppendHeader(&hops)
	l.ua.sign(req)
	l.identify(req)
	l.ua.address(req, l.peer, l.bound, l.contact)
	req.SetBody(nil)
	return req
}

// ends returns who is who in a request of ours: From and To.
func (l *Leg) ends() (local stack.FromHeader, remote stack.ToHeader) {
	if l.isCaller {
		return l.invite.To().AsFrom(), l.invite.From().AsTo()
	}
	return *l.invite.From(), *l.invite.To()
}

func reversed(headers []stack.Header) []stack.Header {
	r := slices.Clone(headers)
	slices.Reverse(r)
	return r
}
