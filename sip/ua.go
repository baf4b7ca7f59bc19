package sip

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	stack "github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// allowed is our Allow header (RFC 3261 §20.5).
const allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, MESSAGE"

// supported is our Supported header (RFC 3261 §20.37).
const supported = "100rel, timer, replaces, record-aware"

// UA is the user agent: its sockets, its transactions and its legs.
type UA struct {
	// Immutable after New.
	cfg          Config
	handler      Handler
	log          *slog.Logger
	metrics      *metrics
	parser       *stack.Parser
	transport    *stack.TransportLayer
	transactions *stack.TransactionLayer
	done         chan struct{} // closed by Close
	running      crew          // every goroutine that the UA started
	sending      atomic.Int64  // requests of legs that have not left us yet

	routes          routes
	strangers       strangers
	hops            hops
	dropped, banned seldom // what is said of them
	complaints      seldom // about messages that cannot be read
	handshakes      seldom // those that failed
	streams         streams
	handOvers       map[string]*handOver // by transport

	mu         sync.Mutex
	dialling   map[netip.AddrPort]chan struct{}
	identities map[TLS]*identity
	small      map[netip.AddrPort]time.Time // peers that have no TCP, until then
	legs       map[string]*Leg              // by local tag
	invites    map[string]*Leg              // caller legs by mergeKey
	listeners  []listener
	sources    map[netip.Addr]netip.Addr // our address on the route to a peer
	known      map[netip.AddrPort]bool   // the addresses that peers know us by
	closers    []func() error
}

// settle sets what sipgo has for all user agents at once. Its limit of 1,300 bytes a
// datagram goes: an INVITE with a long offer is fragmented by the kernel, where it cannot
// go by TCP, instead of failing the call. What it logs beside its layers' own logs is how it
// counts references to connections.
var settle = sync.OnceFunc(func() {
	stack.UDPMTUSize = 65507 + 200
	stack.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// New makes a user agent. It has no socket before Listen. A nil registry keeps its
// metrics to itself.
func New(cfg Config, handler Handler, log *slog.Logger, registry prometheus.Registerer) *UA {
	settle()
	ua := &UA{
		cfg: cfg.withDefaults(), handler: handler, log: log,
		done: make(chan struct{}), legs: map[string]*Leg{}, invites: map[string]*Leg{}, sources: map[netip.Addr]netip.Addr{}, known: map[netip.AddrPort]bool{},
		dialling: map[netip.AddrPort]chan struct{}{}, identities: map[TLS]*identity{}, small: map[netip.AddrPort]time.Time{},
		routes: routes{waiting: map[netip.AddrPort]map[chan error]bool{}}, streams: streams{of: map[netip.Addr]int{}},
	}
	ua.hops.legs = map[hop]*lead{}
	ua.strangers = strangers{cfg: ua.cfg.Ban, known: map[netip.Addr]*stranger{}}
	ua.handOvers = map[string]*handOver{"tcp": newHandOver(ua.done), "tls": newHandOver(ua.done)}
	ua.metrics = newMetrics(registry, ua.Legs, ua.strangers.count)
	stackLog := slog.New(newQuiet(log.Handler()))
	ua.parser = stack.NewParser(stack.WithHeadersParsers(parsed()))
	ua.transport = stack.NewTransportLayer(net.DefaultResolver, ua.parser, nil,
		stack.WithTransportLayerLogger(stackLog),
		stack.WithTransportLayerTransports(stack.TransportsConfig{
			TCP: &stack.TransportTCP{DialerCreate: nowhere}, TLS: &stack.TransportTLS{TransportTCP: &stack.TransportTCP{DialerCreate: nowhere}},
		}))
	// Registered before the transaction layer's own: see stamp.
	ua.transport.OnMessage(ua.stamp)
	ua.transactions = stack.NewTransactionLayer(ua.transport,
		stack.WithTransactionLayerLogger(stackLog),
		stack.WithTransactionLayerUnhandledResponseHandler(func(*stack.Response) {}))
	ua.transactions.OnRequest(ua.handle)
	return ua
}

// nowhere makes dialers that do not dial. Connections are opened by connect, within its
// limits. sipgo would dial for an answer whose connection is gone, to the port in the Via:
// RFC 3261 §18.2.2 has that so, but who asked and left is not worth a connection.
func nowhere(net.Addr) net.Dialer {
	return net.Dialer{Control: func(string, string, syscall.RawConn) error { return errNotOurs }}
}

var errNotOurs = errors.New("sip stack opens no connections")

// parsed are the headers that sipgo reads as it reads a message, and drops the message if
// it cannot. Those of REFER are read where they are used, so that a bad one gets an answer,
// and a good one passes byte for byte.
func parsed() map[string]stack.HeaderParser {
	headers := maps.Clone(stack.DefaultHeadersParser())
	delete(headers, "refer-to")
	delete(headers, "referred-by")
	return headers
}

// Legs returns how many legs there are.
func (ua *UA) Legs() int {
	ua.mu.Lock()
	defer ua.mu.Unlock()
	return len(ua.legs)
}

// Close closes the sockets and waits for what the user agent started. Legs that
// are left are forgotten, not hung up: that is for their calls to do before.
func (ua *UA) Close() error {
	ua.settleDown()
	close(ua.done)
	ua.mu.Lock()
	closers := ua.closers
	ua.mu.Unlock()
	var errs []error
	for _, closer := range closers {
		errs = append(errs, closer())
	}
	// The transaction layer's own Close is not called: it walks its table
	// without a lock. Its transactions end with their timers.
	errs = append(errs, ua.transport.Close())
	ua.running.Wait()
	return errors.Join(errs...)
}

// sendTime is how long Close waits for what is still to be sent: the BYEs of the calls
// that it ends, mostly.
const sendTime = 2 * time.Second

// settleDown looks rather than waits: a leg may begin to send at any time.
func (ua *UA) settleDown() {
	for late := time.Now().Add(sendTime); ua.sending.Load() > 0 && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
	}
}

// initial marks a request that began no dialog before it came, in a field that
// sipgo keeps for requests that go out.
const initial = "initial"

// stamp gives an INVITE from outside any dialog our tag while nobody else holds the
// request yet: sipgo answers a CANCEL from its own goroutine with a response made
// of this request, and that response must carry the tag of the ones before it.
func (ua *UA) stamp(msg stack.Message) {
	standardize(msg)
	req, ok := msg.(*stack.Request)
	if !ok || req.To() == nil {
		return
	}
	received(req)
	to := req.To()
	if tag, has := to.Params.Get("tag"); has {
		if leg := ua.leg(tag); leg != nil && req.CSeq() != nil && leg.isFrom(req) {
			leg.order.arrive(req, req.IsAck() && leg.awaits(req))
		}
		return
	}
	if req.IsInvite() {
		to.Params.Add("tag", newTag())
		req.Laddr.Hostname = initial
	}
}

// received says in the top Via where a request really came from, if the Via says something
// else (RFC 3261 §18.2.1). What the sender wrote there himself goes: an answer, or a
// connection for it, would go to an address of his choosing.
func received(req *stack.Request) {
	source, err := netip.ParseAddrPort(req.Source())
	via := req.Via()
	if err != nil || via == nil {
		return
	}
	via.Params.Remove("received")
	if via.Params.Has("rport") {
		via.Params.Remove("rport")
		via.Params.Add("rport", "") // the answer has ours (RFC 3581 §4)
	}
	if addr, err := netip.ParseAddr(via.Host); err != nil || addr.Unmap() != source.Addr().Unmap() {
		via.Params.Add("received", source.Addr().Unmap().String())
	}
}

// handle takes every request that begins a transaction, each in its own goroutine.
func (ua *UA) handle(req *stack.Request, tx *stack.ServerTx) {
	if req.IsAck() || req.IsCancel() {
		defer tx.Terminate() // sipgo would keep it for ever: no response ends it
	}
	fault := ua.faultOf(req)
	switch {
	case fault != nil && req.IsAck():
	case fault != nil:
		ua.respond(tx, req, fault.code, fault.reason, fault.headers...)
		if req.IsInvite() {
			ua.await(tx, nil)
		}
	case req.Laddr.Hostname == initial:
		ua.handleInvite(req, tx)
	case req.To().Params.Has("tag"):
		ua.handleInDialog(req, tx)
	case req.IsAck():
		// Nothing to acknowledge, and an ACK is never answered.
	case req.IsCancel():
		ua.handleCancel(req, tx)
	case req.Method == stack.OPTIONS && ua.handler.Ready():
		ua.respond(tx, req, 200, "OK", stack.NewHeader("Accept", "application/sdp"))
	case req.Method == stack.OPTIONS:
		ua.respond(tx, req, 503, "Service Unavailable", stack.NewHeader("Retry-After", "30"))
	default: // a method that we do not know, too: RFC 3261 §8.2.1
		ua.respond(tx, req, 405, "Method Not Allowed")
	}
}

// origin returns where a request came from, and the trunk of that, if it is of one.
func (ua *UA) origin(req *stack.Request) (source netip.AddrPort, trunk string, ok bool) {
	source, _ = netip.ParseAddrPort(req.Source())
	source = unmap(source)
	trunk, ok = ua.handler.Trunk(source, stack.NetworkToLower(req.Transport()))
	return source, trunk, ok
}

func (ua *UA) handleInvite(req *stack.Request, tx *stack.ServerTx) {
	source, trunk, ok := ua.origin(req)
	if !ok { // reloaded meanwhile
		ua.respond(tx, req, 403, "Forbidden")
		ua.await(tx, nil)
		return
	}
	refused := ua.faultOfInvite(req)
	if refused == nil {
		leg := ua.newCallerLeg(req, tx, source, trunk)
		if ua.register(leg) {
			ua.respond(tx, req, 100, "Trying")
			leg.heedCancel()
			ua.handler.Invite(leg)
			ua.await(tx, leg)
			return
		}
		refused = &fault{482, "Merged Request", nil}
	}
	ua.respond(tx, req, refused.code, refused.reason, refused.headers...)
	ua.metrics.response("INVITE", refused.code, trunk)
	ua.await(tx, nil)
}

// overtaken is how long an INVITE may take to become a leg.
const overtaken = 100 * time.Millisecond

// handleCancel takes a CANCEL of which sipgo knows no INVITE. It may have overtaken it:
// sipgo gives each a goroutine of its own.
func (ua *UA) handleCancel(req *stack.Request, tx *stack.ServerTx) {
	late := time.NewTimer(overtaken)
	defer late.Stop()
	select {
	case <-late.C:
	case <-ua.done:
	}
	leg := ua.invitedBy(strings.TrimSuffix(tx.Key(), string(stack.CANCEL)) + string(stack.INVITE))
	if leg == nil {
		ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
		return
	}
	ua.respond(tx, req, 200, "OK")
	if err := leg.server.Receive(req); err != nil {
		ua.log.Debug("CANCEL not taken", "error", err)
	}
}

// await stays with an INVITE until its transaction ends: sipgo ends it when its
// handler returns, and blocks without a reader of the ACKs in it. An ACK of a 2xx
// has a branch of its own, but not from every peer.
func (ua *UA) await(tx *stack.ServerTx, leg *Leg) {
	for {
		select {
		case ack := <-tx.Acks():
			if leg != nil {
				leg.acked(ack)
				leg.order.came(ack.CSeq().SeqNo)
			}
		case <-tx.Done():
			return
		case <-ua.done:
			return
		}
	}
}

// mergeKey is the same for copies of one INVITE that came by several ways (RFC 3261
// §8.2.2.2). A proxy may also fork it to two numbers that we lead to: those are two calls.
func mergeKey(req *stack.Request) string {
	tag, _ := req.From().Params.Get("tag")
	return strings.Join([]string{req.CallID().Value(), tag, strconv.FormatUint(uint64(req.CSeq().SeqNo), 10), user(&req.Recipient)}, "\n")
}

func (ua *UA) handleInDialog(req *stack.Request, tx *stack.ServerTx) {
	tag, _ := req.To().Params.Get("tag")
	leg := ua.leg(tag)
	if leg != nil && leg.isFrom(req) && leg.matches(req) {
		leg.handle(req, tx)
		return
	}
	if !req.IsAck() {
		ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
	}
	if req.IsInvite() {
		ua.await(tx, nil)
	}
}

// respond answers a request that no leg answers, or a leg's request at once.
func (ua *UA) respond(tx *stack.ServerTx, req *stack.Request, code int, reason string, headers ...stack.Header) {
	res := stack.NewResponseFromRequest(req, code, reason, nil)
	res.SipVersion = version // whatever the request's is
	ua.sign(res)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	if err := deliver(tx, res); err != nil && !errors.Is(err, stack.ErrTransactionCanceled) {
		ua.log.Debug("response not sent", "method", req.Method, "code", code, "error", err)
	}
}

// deliver sends a response. Where a CANCEL came before it sipgo has sent the 487 and does
// not send this one, but would repeat it in the 487's place: so the 487 is put back.
func deliver(tx *stack.ServerTx, res *stack.Response) error {
	err := tx.Respond(res)
	if errors.Is(err, stack.ErrTransactionCanceled) {
		tx.Respond(stack.NewResponseFromRequest(tx.Origin(), 487, "Request Terminated", nil)) // says the same again
	}
	return err
}

// sign adds who we are and what we take.
func (ua *UA) sign(msg stack.Message) {
	name := "Server"
	if _, ok := msg.(*stack.Request); ok {
		name = "User-Agent"
	}
	msg.AppendHeader(stack.NewHeader("Allow", allowed))
	msg.AppendHeader(stack.NewHeader("Supported", supported))
	msg.AppendHeader(stack.NewHeader(name, ua.cfg.UserAgent))
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
