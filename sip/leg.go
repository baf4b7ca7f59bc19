package sip

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// Leg is one dialog seen from us. Its owner, the call's goroutine, reads Events and
// calls the methods; none of them waits for the peer.
//
//	caller leg: proceeding ─Answer─▶ answered ─ACK─▶ confirmed ─Hangup, BYE─▶ over
//	                  └──────Hangup (a rejection), CANCEL──────────────────────▲
//	callee leg: calling ─2xx─▶ confirmed ─Hangup, BYE─▶ over
//	                  └─Hangup (CANCEL)─▶ cancelling ─487, 2xx then BYE─▶ over
type Leg struct {
	// Immutable after new…
	ua       *UA
	peer     Peer
	bound    netip.AddrPort
	contact  netip.AddrPort // the address the peer knows us by
	trunk    string
	callID   string
	localTag string
	invite   *stack.Request  // theirs on a caller leg, ours on a callee leg
	server   *stack.ServerTx // of a caller leg
	events   chan Event

	mu        sync.Mutex
	state     legState
	client    *stack.ClientTx // of a callee leg, once it is sent
	hangUp    *hangup         // asked for while the peer's ACK is awaited
	remoteTag string
	target    stack.Uri // the peer's Contact
	routes    []stack.Uri
	localSeq  uint32
	remoteSeq uint32
	counted   bool           // remoteSeq is known: on a callee leg, from the peer's first request on
	repeat    *time.Timer    // our 2xx, until its ACK
	ack       *stack.Request // ours to their 2xx, sent again when that is
	provoked  bool           // a provisional response came: a CANCEL may go (RFC 3261 §9.1)

	theirs, ours *reoffer // INVITEs in the dialog that are not done with
}

type legState uint8

const (
	proceeding legState = iota // the INVITE has no final response
	cancelling                 // a callee leg whose INVITE we gave up
	answered                   // our 2xx awaits its ACK
	confirmed
	over
)

// hangup is how a leg is to be ended: with which status if it was not answered yet.
type hangup struct {
	code   int
	reason string
}

// eventsQueue is how many events a leg holds for its call. A peer that causes more
// than the call takes waits: its transactions are not answered meanwhile.
const eventsQueue = 16

func newTag() string { return strings.ToLower(rand.Text()) }

func (ua *UA) register(l *Leg) {
	ua.mu.Lock()
	defer ua.mu.Unlock()
	ua.legs[l.localTag] = l
}

// forget ends the leg for good: what comes for it from now on gets a 481.
func (l *Leg) forget() {
	l.ua.mu.Lock()
	defer l.ua.mu.Unlock()
	delete(l.ua.legs, l.localTag)
}

// Events is what the peer does. The channel is never closed; after Hangup nothing
// that matters comes.
func (l *Leg) Events() <-chan Event { return l.events }

// Trunk returns the name of the trunk that the leg leads to.
func (l *Leg) Trunk() string { return l.trunk }

// CallID returns the dialog's Call-ID.
func (l *Leg) CallID() string { return l.callID }

// Peer returns where the leg's requests go.
func (l *Leg) Peer() Peer { return l.peer }

// LocalAddr returns the address that the peer knows us by.
func (l *Leg) LocalAddr() netip.Addr { return l.contact.Addr() }

// post hands an event to the call. It waits only when the queue is full, and not
// beyond the user agent's end.
func (l *Leg) post(e Event) {
	select {
	case l.events <- e:
	case <-l.ua.done:
	}
}

// matches reports whether a request belongs to this dialog (RFC 3261 §12.2.2). On a
// callee leg whose peer has no tag yet, the Call-ID and our tag decide.
func (l *Leg) matches(req *stack.Request) bool {
	from, _ := req.From().Params.Get("tag")
	l.mu.Lock()
	defer l.mu.Unlock()
	return req.CallID().Value() == l.callID && (l.remoteTag == "" || from == l.remoteTag)
}

// handle answers a request in the dialog.
func (l *Leg) handle(req *stack.Request, tx *stack.ServerTx) {
	if req.IsAck() {
		l.acked(req)
		return
	}
	if req.Method != stack.BYE && l.isOver() {
		l.ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
		return
	}
	if !l.inOrder(req.CSeq().SeqNo) && req.Method != stack.BYE {
		l.ua.respond(tx, req, 500, "CSeq Out Of Order")
		return
	}
	switch req.Method {
	case stack.BYE:
		l.ua.respond(tx, req, 200, "OK")
		early := l.isProceeding()
		if !l.end() {
			return
		}
		if early && l.server != nil { // a BYE in the early dialog: RFC 3261 §15
			l.reject(487, "Request Terminated")
		}
		l.post(Event{Kind: Ended, Reason: header(req, "Reason")})
	case stack.INVITE:
		l.handleReoffer(req, tx)
	case stack.OPTIONS:
		l.ua.respond(tx, req, 200, "OK", stack.NewHeader("Accept", "application/sdp"))
	case stack.CANCEL:
		l.ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
	default:
		l.ua.respond(tx, req, 405, "Method Not Allowed")
	}
}

// inOrder notes a request's number and reports whether it is newer than the last
// one's (RFC 3261 §12.2.2).
func (l *Leg) inOrder(seq uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counted && seq <= l.remoteSeq {
		return false
	}
	l.counted, l.remoteSeq = true, seq
	return true
}

// acked takes an ACK of one of our 2xx.
func (l *Leg) acked(ack *stack.Request) {
	if !l.confirmReoffer(ack) {
		l.confirm()
	}
}

func (l *Leg) isProceeding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == proceeding
}

func (l *Leg) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == over
}

// end moves the leg to over and reports whether this call did.
func (l *Leg) end() bool {
	l.mu.Lock()
	was := l.state
	l.state = over
	l.stopRepeating()
	l.mu.Unlock()
	l.RejectReoffer(487, "Request Terminated")
	l.forget()
	return was != over
}

// Hangup ends the leg whatever its state: an INVITE that has no final response is
// rejected with the code or cancelled, an answered one gets a BYE. It does not wait;
// what must still happen on the wire happens by itself. A second call does nothing.
func (l *Leg) Hangup(code int, reason string) {
	l.mu.Lock()
	switch was := l.state; {
	case was == over || was == cancelling || l.hangUp != nil:
		l.mu.Unlock()
	case was == answered:
		// The UAS MUST NOT send a BYE before the ACK: RFC 3261 §15.
		l.hangUp = &hangup{code, reason}
		l.mu.Unlock()
	case was == confirmed:
		l.state = over
		l.mu.Unlock()
		l.RejectReoffer(487, "Request Terminated")
		l.bye(code, reason)
	case l.server != nil:
		l.state = over
		l.mu.Unlock()
		l.reject(code, reason)
	default:
		l.state = cancelling
		provoked := l.provoked
		l.mu.Unlock()
		if provoked {
			l.cancel()
		}
	}
}

// bye sends our BYE. The leg is forgotten when it is answered, so that a BYE of the
// peer's that crosses ours is still answered; nobody waits for it.
func (l *Leg) bye(code int, reason string) {
	req := l.request(stack.BYE)
	if code >= 300 {
		// Why the call ended, for the peer's records: RFC 3326.
		req.AppendHeader(stack.NewHeader("Reason", fmt.Sprintf("SIP;cause=%d;text=%q", code, reason)))
	}
	l.ua.send(req, l.forget)
}

// request makes a request in the dialog (RFC 3261 §12.2.1.1).
func (l *Leg) request(method stack.RequestMethod) *stack.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if method != stack.ACK {
		l.localSeq++
	}
	req := stack.NewRequest(method, *l.target.Clone())
	l.route(req)
	local, remote := l.ends()
	local.Params = stack.HeaderParams{{K: "tag", V: l.localTag}}
	remote.Params = nil
	if l.remoteTag != "" {
		remote.Params = stack.HeaderParams{{K: "tag", V: l.remoteTag}}
	}
	callID := stack.CallIDHeader(l.callID)
	hops := stack.MaxForwardsHeader(70)
	req.AppendHeader(&local)
	req.AppendHeader(&remote)
	req.AppendHeader(&callID)
	req.AppendHeader(&stack.CSeqHeader{SeqNo: l.localSeq, MethodName: method})
	req.AppendHeader(&hops)
	l.ua.sign(req)
	l.ua.address(req, l.peer, l.bound, l.contact)
	req.SetBody(nil)
	return req
}

// ends returns who is who in a request of ours: From and To. The caller holds mu.
func (l *Leg) ends() (local stack.FromHeader, remote stack.ToHeader) {
	if l.server != nil {
		return l.invite.To().AsFrom(), l.invite.From().AsTo()
	}
	return *l.invite.From(), *l.invite.To()
}

// route sets the request's Route headers and where it goes. The caller holds mu.
//
// The next hop is the first route or the target; a host name there is not looked
// up: the request goes to the peer it is configured for.
func (l *Leg) route(req *stack.Request) {
	for _, r := range l.routes {
		req.AppendHeader(&stack.RouteHeader{Address: r})
	}
	hop := req.Recipient
	if len(l.routes) > 0 {
		hop = l.routes[0]
	}
	to := l.peer.Addr
	if addr, err := netip.ParseAddr(strings.Trim(hop.Host, "[]")); err == nil {
		port := uint16(5060)
		if hop.Port > 0 && hop.Port < 1<<16 {
			port = uint16(hop.Port)
		}
		to = netip.AddrPortFrom(addr.Unmap(), port)
	}
	req.SetDestination(to.String())
}

// learn takes the peer's tag, target and routes from the message that sets up the
// dialog (RFC 3261 §12.1). The caller holds mu.
func (l *Leg) learn(tag string, contact *stack.ContactHeader, recorded []stack.Header) {
	l.remoteTag = tag
	if contact != nil {
		l.target = *contact.Address.Clone()
	}
	l.routes = l.routes[:0]
	for _, h := range recorded {
		if r, ok := h.(*stack.RecordRouteHeader); ok {
			l.routes = append(l.routes, *r.Address.Clone())
		}
	}
}

// address gives a request its top Via, its socket and its transport.
func (ua *UA) address(req *stack.Request, p Peer, bound, known netip.AddrPort) {
	transport := strings.ToUpper(p.Transport)
	via := &stack.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: transport, Host: known.Addr().String(), Port: int(known.Port())}
	via.Params.Add("branch", stack.GenerateBranch())
	via.Params.Add("rport", "") // RFC 3581
	req.PrependHeader(via)
	req.SetTransport(transport)
	if p.Transport == "udp" {
		// Out by the socket that the peer answers to.
		req.Laddr = stack.Addr{IP: bound.Addr().AsSlice(), Port: int(bound.Port())}
	}
}

// send sends a request whose response changes nothing, and then does what is left.
func (ua *UA) send(req *stack.Request, then func()) {
	ua.running.Go(func() { // ends with its transaction, 64·T1 at most
		defer then()
		tx, err := ua.transactions.Request(ua.context(), req)
		if err != nil {
			ua.log.Debug("request not sent", "method", req.Method, "error", notSent(err))
			return
		}
		for {
			select {
			case res := <-tx.Responses():
				if !res.IsProvisional() {
					return
				}
			case <-tx.Done():
				return
			case <-ua.done:
				return
			}
		}
	})
}

func header(msg interface {
	GetHeader(string) stack.Header
}, name string) string {
	if h := msg.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}
