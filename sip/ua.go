package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	stack "github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// allowed is our Allow header (RFC 3261 §20.5).
const allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS"

// UA is the user agent: its sockets, its transactions and its legs.
type UA struct {
	// Immutable after New.
	cfg          Config
	handler      Handler
	log          *slog.Logger
	metrics      *metrics
	transport    *stack.TransportLayer
	transactions *stack.TransactionLayer
	done         chan struct{}  // closed by Close
	running      sync.WaitGroup // every goroutine that the UA started

	mu        sync.Mutex
	legs      map[string]*Leg // by local tag
	listeners []listener
	sources   map[netip.Addr]netip.Addr // our address on the route to a peer
	closers   []func() error
}

// listener is a socket that requests come in on and UDP requests go out by.
type listener struct {
	transport string
	bound     netip.AddrPort
}

// letBigDatagramsPass lifts sipgo's limit of 1,300 bytes a datagram: an INVITE with
// a long offer is fragmented by the kernel instead of failing the call.
var letBigDatagramsPass = sync.OnceFunc(func() { stack.UDPMTUSize = 65507 + 200 })

// New makes a user agent. It has no socket before Listen. A nil registry keeps its
// metrics to itself.
func New(cfg Config, handler Handler, log *slog.Logger, registry prometheus.Registerer) *UA {
	letBigDatagramsPass()
	ua := &UA{
		cfg: cfg.withDefaults(), handler: handler, log: log,
		done: make(chan struct{}), legs: map[string]*Leg{}, sources: map[netip.Addr]netip.Addr{},
	}
	ua.metrics = newMetrics(registry, ua.Legs)
	stackLog := slog.New(quiet{log.Handler()})
	ua.transport = stack.NewTransportLayer(net.DefaultResolver, stack.NewParser(), nil,
		stack.WithTransportLayerLogger(stackLog),
		stack.WithTransportLayerReadFilter(ua.filter))
	// Registered before the transaction layer's own: see stamp.
	ua.transport.OnMessage(ua.stamp)
	ua.transactions = stack.NewTransactionLayer(ua.transport,
		stack.WithTransactionLayerLogger(stackLog),
		stack.WithTransactionLayerUnhandledResponseHandler(func(*stack.Response) {}))
	ua.transactions.OnRequest(ua.handle)
	return ua
}

// Listen opens the configured sockets and serves them until Close.
func (ua *UA) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, l := range ua.cfg.Listen {
		family := "4"
		if l.Addr.Addr().Is6() {
			family = "6"
		}
		switch l.Transport {
		case "udp":
			conn, err := lc.ListenPacket(ctx, "udp"+family, l.Addr.String())
			if err != nil {
				return fmt.Errorf("listen on %v: %w", l, err)
			}
			ua.ServePacket(conn)
		case "tcp":
			conn, err := lc.Listen(ctx, "tcp"+family, l.Addr.String())
			if err != nil {
				return fmt.Errorf("listen on %v: %w", l, err)
			}
			ua.serveStream(conn)
		}
	}
	return nil
}

// ServePacket serves an open UDP socket, or what looks like one, until Close. When
// it returns, requests can go out by that socket.
func (ua *UA) ServePacket(conn net.PacketConn) {
	ua.add("udp", conn.LocalAddr(), conn.Close)
	reading := make(chan struct{})
	ua.running.Go(func() { // ends when Close closes the socket
		if err := ua.transport.ServeUDP(&steady{PacketConn: conn, reading: sync.OnceFunc(func() { close(reading) })}); err != nil {
			ua.log.Error("sip listener stopped", "transport", "udp", "error", err)
		}
	})
	<-reading
}

func (ua *UA) serveStream(conn net.Listener) {
	ua.add("tcp", conn.Addr(), conn.Close)
	ua.running.Go(func() { // ends when Close closes the socket
		if err := ua.transport.ServeTCP(conn); !errors.Is(err, net.ErrClosed) { // it ends with an error only
			ua.log.Error("sip listener stopped", "transport", "tcp", "error", err)
		}
	})
}

func (ua *UA) add(transport string, addr net.Addr, closer func() error) {
	bound, _ := addrPort(addr)
	ua.mu.Lock()
	defer ua.mu.Unlock()
	ua.listeners = append(ua.listeners, listener{transport, bound})
	ua.closers = append(ua.closers, closer)
}

// steady keeps a listener going over errors that pass: sipgo would end it at the
// first one that is not ErrClosed. It tells when sipgo begins to read: then the
// socket stands in its table.
type steady struct {
	net.PacketConn
	reading func()
}

func (s *steady) ReadFrom(b []byte) (int, net.Addr, error) {
	s.reading()
	for {
		n, addr, err := s.PacketConn.ReadFrom(b)
		if err == nil || errors.Is(err, net.ErrClosed) {
			return n, addr, err
		}
	}
}

// Addrs returns the addresses that are listened on, in the order of the configuration.
func (ua *UA) Addrs() []Listen {
	ua.mu.Lock()
	defer ua.mu.Unlock()
	var addrs []Listen
	for _, l := range ua.listeners {
		addrs = append(addrs, Listen{l.transport, l.bound})
	}
	return addrs
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

// filter drops what strangers send before it is parsed, and before sipgo notes
// their address in a table that it never clears.
func (ua *UA) filter(p stack.TransportReadProps, data []byte) ([]byte, error) {
	source, ok := addrPort(p.RemoteAddr)
	if ok {
		_, ok = ua.handler.Trunk(source)
	}
	if ok {
		return data, nil
	}
	ua.metrics.strangers.Inc()
	ua.log.Debug("dropped a stranger's message", "source", source, "transport", p.Transport)
	if p.Transport == "UDP" {
		return nil, nil // an error would end the listener
	}
	return nil, errStranger // ends the connection
}

var errStranger = errors.New("source belongs to no trunk")

// initial marks a request that began no dialog before it came, in a field that
// sipgo keeps for requests that go out.
const initial = "initial"

// stamp gives an INVITE from outside any dialog our tag while nobody else holds the
// request yet: sipgo answers a CANCEL from its own goroutine with a response made
// of this request, and that response must carry the tag of the ones before it.
func (ua *UA) stamp(msg stack.Message) {
	req, ok := msg.(*stack.Request)
	if !ok || req.Method != stack.INVITE || req.To() == nil {
		return
	}
	if to := req.To(); !to.Params.Has("tag") {
		to.Params.Add("tag", newTag())
		req.Laddr.Hostname = initial
	}
}

// handle takes every request that begins a transaction, each in its own goroutine.
func (ua *UA) handle(req *stack.Request, tx *stack.ServerTx) {
	switch {
	case req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil:
		ua.respond(tx, req, 400, "Missing Header")
	case req.Laddr.Hostname == initial:
		ua.handleInvite(req, tx)
	case req.To().Params.Has("tag"):
		ua.handleInDialog(req, tx)
	case req.IsAck():
		// Nothing to acknowledge, and an ACK is never answered.
	case req.IsCancel():
		ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
	case req.Method == stack.OPTIONS && ua.handler.Ready():
		ua.respond(tx, req, 200, "OK", stack.NewHeader("Accept", "application/sdp"))
	case req.Method == stack.OPTIONS:
		ua.respond(tx, req, 503, "Service Unavailable", stack.NewHeader("Retry-After", "30"))
	default:
		ua.respond(tx, req, 405, "Method Not Allowed")
	}
}

func (ua *UA) handleInvite(req *stack.Request, tx *stack.ServerTx) {
	source, _ := netip.ParseAddrPort(req.Source())
	trunk, ok := ua.handler.Trunk(unmap(source))
	if !ok { // reloaded meanwhile
		ua.respond(tx, req, 403, "Forbidden")
		ua.await(tx, nil)
		return
	}
	if code, reason, headers := refuse(req); code != 0 {
		ua.respond(tx, req, code, reason, headers...)
		ua.metrics.response("INVITE", code, trunk)
		ua.await(tx, nil)
		return
	}
	leg := ua.newCallerLeg(req, tx, source, trunk)
	ua.respond(tx, req, 100, "Trying")
	ua.handler.Invite(leg)
	ua.await(tx, leg)
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
			}
		case <-tx.Done():
			return
		case <-ua.done:
			return
		}
	}
}

// refuse says what is wrong with an INVITE that cannot become a leg (RFC 3261 §8.2).
func refuse(req *stack.Request) (code int, reason string, headers []stack.Header) {
	if req.Contact() == nil {
		return 400, "Missing Contact", nil
	}
	if mf := req.MaxForwards(); mf != nil && mf.Val() == 0 {
		return 483, "Too Many Hops", nil
	}
	if required := req.GetHeaders("Require"); len(required) > 0 {
		for _, h := range required {
			headers = append(headers, stack.NewHeader("Unsupported", h.Value()))
		}
		return 420, "Bad Extension", headers
	}
	if len(req.Body()) > 0 {
		if ct := req.ContentType(); ct == nil || !mayHaveOffer(ct.Value()) {
			return 415, "Unsupported Media Type", []stack.Header{stack.NewHeader("Accept", "application/sdp")}
		}
	}
	return 0, "", nil
}

func mayHaveOffer(contentType string) bool {
	_, ok := offerIn(contentType, nil)
	return ok
}

func (ua *UA) handleInDialog(req *stack.Request, tx *stack.ServerTx) {
	tag, _ := req.To().Params.Get("tag")
	ua.mu.Lock()
	leg := ua.legs[tag]
	ua.mu.Unlock()
	if leg == nil || !leg.matches(req) {
		if !req.IsAck() {
			ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
		}
		return
	}
	leg.handle(req, tx)
}

// respond answers a request that no leg answers, or a leg's request at once.
func (ua *UA) respond(tx *stack.ServerTx, req *stack.Request, code int, reason string, headers ...stack.Header) {
	res := stack.NewResponseFromRequest(req, code, reason, nil)
	ua.sign(res)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	if err := tx.Respond(res); err != nil && !errors.Is(err, stack.ErrTransactionCanceled) {
		ua.log.Debug("response not sent", "method", req.Method, "code", code, "error", err)
	}
}

// sign adds who we are and what we take.
func (ua *UA) sign(msg stack.Message) {
	name := "Server"
	if _, ok := msg.(*stack.Request); ok {
		name = "User-Agent"
	}
	msg.AppendHeader(stack.NewHeader("Allow", allowed))
	msg.AppendHeader(stack.NewHeader(name, ua.cfg.UserAgent))
}

// local returns the socket for a peer and the address he is to know us by.
func (ua *UA) local(p Peer) (bound, known netip.AddrPort, err error) {
	ua.mu.Lock()
	defer ua.mu.Unlock()
	var fit []listener
	for _, l := range ua.listeners {
		if l.transport == p.Transport && l.bound.Addr().Is4() == p.Addr.Addr().Is4() {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return bound, known, fmt.Errorf("no %s listener for %v", p.Transport, p)
	}
	l, host := fit[0], fit[0].bound.Addr()
	if len(fit) > 1 || host.IsUnspecified() {
		source, err := ua.sourceTo(p.Addr)
		if err != nil {
			return bound, known, err
		}
		// With a listener on each of several networks: the one on the way to the peer.
		if i := slices.IndexFunc(fit, func(l listener) bool { return l.bound.Addr() == source }); i >= 0 {
			l, host = fit[i], source
		} else if host.IsUnspecified() {
			host = source
		}
	}
	if ua.cfg.Advertise.IsValid() {
		host = ua.cfg.Advertise
	}
	return l.bound, netip.AddrPortFrom(host, l.bound.Port()), nil
}

// LocalAddr returns the address by which a peer knows us.
func (ua *UA) LocalAddr(p Peer) (netip.Addr, error) {
	_, known, err := ua.local(p)
	return known.Addr(), err
}

// sourceTo returns our address on the route to a peer. The caller holds mu; the
// look-up asks the kernel's table and sends nothing.
func (ua *UA) sourceTo(peer netip.AddrPort) (netip.Addr, error) {
	if source, ok := ua.sources[peer.Addr()]; ok {
		return source, nil
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("route to %v: %w", peer, err)
	}
	defer conn.Close()
	local, _ := addrPort(conn.LocalAddr())
	ua.sources[peer.Addr()] = local.Addr()
	return local.Addr(), nil
}

// addrPort reads a socket's address, IPv4 in its short form.
func addrPort(a net.Addr) (netip.AddrPort, bool) {
	switch a := a.(type) {
	case *net.UDPAddr:
		return unmap(a.AddrPort()), true
	case *net.TCPAddr:
		return unmap(a.AddrPort()), true
	}
	return netip.AddrPort{}, false
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
