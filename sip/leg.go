package sip

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
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
	isCaller bool // they called us: else we called them
	bound    netip.AddrPort
	contact  netip.AddrPort // the address the peer knows us by
	trunk    string
	callID   string
	localTag string
	merges   string          // names the INVITE among those that may be copies of it
	server   *stack.ServerTx // of a caller leg's INVITE
	auth     *authorizer     // meets the challenges of the peer; nil for none
	events   chan Event
	deaf     chan struct{} // closed by Hangup: nobody may be there to take events
	unheard  sync.Once
	order    order
	partner  atomic.Pointer[Leg]
	ids      sessionID
	aware    atomic.Bool // see RecordAware

	mu       sync.Mutex
	peer     Peer
	state    legState
	invite   *stack.Request  // theirs on a caller leg, our last one on a callee leg
	client   *stack.ClientTx // of it, once it is sent
	hangUp   *hangup         // asked for while the peer's ACK, or its first response, is awaited
	dialog   *dialog
	branches []*dialog // early dialogs of a callee leg
	localSeq uint32
	rejected *stack.Response           // our final response that is no success, once it is to go
	repeat   *time.Timer               // our 2xx, until its ACK
	acks     map[string]*stack.Request // ours to their 2xx by the branch's tag, sent again when that is; nil while it is made
	provoked bool                      // a provisional response came: a CANCEL may go (RFC 3261 §9.1)
	sent     []byte                    // the last session description that the peer got of us

	reliable     reliable // our provisional responses
	session      session  // its timer
	theirs, ours *reoffer // offers in the dialog that are not done with
	hops         []hop    // where the dialogs lead, first to the peer itself
	forgotten    bool     // they are not let in for this leg any more
	referrals    referrals
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
	code    int
	reason  string
	headers []Header
}

// eventsQueue is how many events a leg holds for its call. A peer that causes more
// than the call takes waits: its transactions are not answered meanwhile.
const eventsQueue = 8

func newTag() string { return strings.ToLower(rand.Text()) }

// register enters a leg, unless its INVITE is a copy of one that has a leg already.
func (ua *UA) register(l *Leg) (fresh bool) {
	ua.mu.Lock()
	defer ua.mu.Unlock()
	if _, merged := ua.invites[l.merges]; merged {
		return false
	}
	l.admit(hop{l.peer.Addr.Addr(), l.peer.Transport == "tls"}) // nobody else has the leg yet
	l.letIn(l.dialog)
	ua.legs[l.localTag] = l
	if l.merges != "" {
		ua.invites[l.merges] = l
	}
	return true
}

// leg returns the leg with one of our tags, nil for none.
func (ua *UA) leg(localTag string) *Leg {
	ua.mu.Lock()
	defer ua.mu.Unlock()
	return ua.legs[localTag]
}

// invitedBy returns the caller leg whose INVITE has that transaction, nil for none.
func (ua *UA) invitedBy(key string) *Leg {
	ua.mu.Lock()
	defer ua.mu.Unlock()
	for _, l := range ua.invites {
		if l.server.Key() == key {
			return l
		}
	}
	return nil
}

// forget ends the leg for good: what comes for it from now on gets a 481.
func (l *Leg) forget() {
	l.mu.Lock()
	if !l.forgotten {
		l.forgotten = true
		l.ua.hops.leave(l.hops...)
	}
	l.mu.Unlock()
	l.ua.mu.Lock()
	defer l.ua.mu.Unlock()
	delete(l.ua.legs, l.localTag)
	if l.ua.invites[l.merges] == l {
		delete(l.ua.invites, l.merges)
	}
}

// Events is what the peer does. The channel is never closed; after Hangup nothing
// that matters comes.
func (l *Leg) Events() <-chan Event { return l.events }

// Trunk returns the name of the trunk that the leg leads to.
func (l *Leg) Trunk() string { return l.trunk }

// CallID returns the dialog's Call-ID.
func (l *Leg) CallID() string { return l.callID }

// Peer returns where the leg's requests go.
func (l *Leg) Peer() Peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer
}

// LocalAddr returns the address that the peer knows us by.
func (l *Leg) LocalAddr() netip.Addr { return l.contact.Addr() }

// Bridge tells of each other the two legs that are one call's.
func Bridge(a, b *Leg) {
	a.partner.Store(b)
	b.partner.Store(a)
}

// post hands an event to the call. It waits only when the queue is full, and not
// beyond the leg's hanging up or the user agent's end.
func (l *Leg) post(e Event) {
	select {
	case l.events <- e:
		return
	default:
	}
	select {
	case l.events <- e:
	case <-l.deaf:
	case <-l.ua.done:
	}
}

// matches reports whether a request belongs to this leg (RFC 3261 §12.2.2). On a
// callee leg whose peer has no tag yet, the Call-ID and our tag decide.
func (l *Leg) matches(req *stack.Request) bool {
	from, _ := req.From().Params.Get("tag")
	l.mu.Lock()
	defer l.mu.Unlock()
	if req.CallID().Value() != l.callID {
		return false
	}
	return l.dialogOf(from) != nil || l.dialog.remoteTag == "" && !l.isCaller
}

// handle takes a request in the dialog, in its turn.
func (l *Leg) handle(req *stack.Request, tx *stack.ServerTx) {
	done := l.order.turn(req, l.ua.done)
	l.dispatch(req, tx)
	done()
	if req.Method == stack.INVITE {
		l.ua.await(tx, l)
	}
}

func (l *Leg) dispatch(req *stack.Request, tx *stack.ServerTx) {
	from, _ := req.From().Params.Get("tag")
	l.mu.Lock()
	d := l.dialogOf(from)
	if d == nil {
		d = l.dialog
	}
	fresh := req.IsAck() || d.inOrder(req.CSeq().SeqNo)
	gone := l.state == over || l.state == cancelling
	l.mu.Unlock()
	l.learn(req)
	switch {
	case req.IsAck():
		l.acked(req)
	case req.Method == stack.BYE:
		l.handleBye(req, tx)
	case gone:
		l.ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
	case !fresh:
		l.ua.respond(tx, req, 500, "CSeq Out Of Order")
	default:
		l.handleFresh(d, req, tx)
	}
}

// handleFresh takes a request of a dialog that goes on.
func (l *Leg) handleFresh(d *dialog, req *stack.Request, tx *stack.ServerTx) {
	switch req.Method {
	case stack.INVITE, stack.UPDATE:
		l.handleReoffer(d, req, tx)
	case stack.PRACK:
		l.handlePrack(d, req, tx)
	case stack.INFO, stack.REFER, stack.NOTIFY, stack.MESSAGE:
		l.handleRequest(req, tx)
	case stack.OPTIONS:
		l.ua.respond(tx, req, 200, "OK", stack.NewHeader("Accept", "application/sdp"))
	case stack.CANCEL:
		l.ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
	default:
		l.ua.respond(tx, req, 405, "Method Not Allowed")
	}
}

func (l *Leg) handleBye(req *stack.Request, tx *stack.ServerTx) {
	l.ua.respond(tx, req, 200, "OK")
	l.mu.Lock()
	was := l.state
	l.mu.Unlock()
	switch {
	case was == cancelling: // the INVITE is still to be ended
		return
	case was == proceeding && !l.isCaller: // which a callee must not (RFC 3261 §15), but means
		l.Hangup(0, "")
	case !l.end():
		return
	case was == proceeding:
		l.reject(hangup{code: 487, reason: "Request Terminated"})
	}
	l.post(Event{Kind: Ended, Reason: header(req, "Reason"), Headers: l.ua.passing(req)})
}

// acked takes an ACK of one of our 2xx.
func (l *Leg) acked(ack *stack.Request) {
	if !l.confirmReoffer(ack) {
		l.confirm(ack)
	}
}

// awaits reports whether an ACK of that number is one of our 2xx's, and not come yet.
func (l *Leg) awaits(ack *stack.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch seq := ack.CSeq().SeqNo; {
	case l.theirs != nil && l.theirs.isAnswered && l.theirs.request.IsInvite():
		return seq == l.theirs.request.CSeq().SeqNo
	case l.isCaller && l.state == answered:
		return seq == l.invite.CSeq().SeqNo
	}
	return false
}

// end moves the leg to over and reports whether this call did.
func (l *Leg) end() bool {
	l.mu.Lock()
	was := l.state
	l.state = over
	l.stopTimers()
	l.mu.Unlock()
	l.RejectReoffer(487, "Request Terminated")
	l.forget()
	return was != over
}

// stopTimers stops what would still happen by itself. The caller holds mu.
func (l *Leg) stopTimers() {
	stop(l.repeat)
	if l.theirs != nil {
		stop(l.theirs.repeat)
	}
	l.reliable.stop()
	l.session.stop()
}

// stop stops a timer that may not have been set.
func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

// Hangup ends the leg whatever its state: an INVITE that has no final response is
// rejected with the code or cancelled, an answered one gets a BYE. It does not wait;
// what must still happen on the wire happens by itself. A second call does nothing.
func (l *Leg) Hangup(code int, reason string, headers ...Header) {
	l.unheard.Do(func() { close(l.deaf) })
	h := hangup{code, reason, headers}
	l.mu.Lock()
	switch was := l.state; {
	case was == over || was == cancelling || l.hangUp != nil:
		l.mu.Unlock()
	case was == answered:
		// The UAS MUST NOT send a BYE before the ACK: RFC 3261 §15.
		l.hangUp = &h
		l.mu.Unlock()
	case was == confirmed:
		l.state = over
		l.stopTimers()
		l.mu.Unlock()
		l.RejectReoffer(487, "Request Terminated")
		l.bye(h)
	case l.isCaller:
		l.state = over
		l.stopTimers()
		l.mu.Unlock()
		l.RejectReoffer(487, "Request Terminated")
		l.reject(h)
	default:
		l.state, l.hangUp = cancelling, &h
		provoked := l.provoked
		l.mu.Unlock()
		l.RejectReoffer(487, "Request Terminated")
		if provoked {
			l.cancel()
		}
	}
}

// bye sends our BYE. The leg is forgotten when it is answered, so that a BYE of the
// peer's that crosses ours is still answered; nobody waits for it.
func (l *Leg) bye(h hangup) { l.byeTo(l.dialog, h, l.forget) }

func (l *Leg) byeTo(d *dialog, h hangup, then func()) {
	req := l.request(d, stack.BYE)
	h.explain(req)
	l.exchange(req, func(*stack.Response) { then() })
}

// explain adds why, for the peer's records (RFC 3326), unless the other party said so.
func (h hangup) explain(req *stack.Request) {
	told := false
	for _, header := range h.headers {
		req.AppendHeader(stack.NewHeader(header.Name, header.Value))
		told = told || strings.EqualFold(header.Name, "Reason")
	}
	if h.code >= 300 && !told {
		req.AppendHeader(stack.NewHeader("Reason", fmt.Sprintf("SIP;cause=%d;text=%q", h.code, h.reason)))
	}
}

// gone ends a leg whose peer does not know the dialog any more, or is not there (RFC
// 3261 §12.2.1.2), and tells the call. A peer that merely lost packets still has its call,
// so it is sent a BYE. What becomes of a branch that did not answer ends no call.
func (l *Leg) gone(d *dialog, code int) {
	l.mu.Lock()
	alive := l.state == confirmed && l.dialog == d
	l.mu.Unlock()
	if !alive || !l.end() {
		return
	}
	if code == 408 {
		l.bye(hangup{code: 408, reason: "Request Timeout"})
	}
	l.post(Event{Kind: Ended, Reason: fmt.Sprintf("SIP;cause=%d", code)})
}

func header(msg interface {
	GetHeader(string) stack.Header
}, name string) string {
	if h := msg.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}
