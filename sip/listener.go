package sip

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// listener is a socket that requests come in on and UDP requests go out by.
type listener struct {
	transport string
	bound     netip.AddrPort
}

// Listen opens the configured sockets and serves them until Close.
func (ua *UA) Listen(ctx context.Context) error {
	for _, l := range ua.cfg.Listen {
		packets, streams, err := l.open(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("listen on %v: %w", l, err)
		case packets != nil:
			ua.ServePacket(packets)
		default:
			ua.serveStream(l.Transport, streams)
		}
	}
	return nil
}

// open opens the socket: the one for its transport.
func (l Listen) open(ctx context.Context) (packets net.PacketConn, streams net.Listener, err error) {
	var lc net.ListenConfig
	family := "4"
	if l.Addr.Addr().Is6() {
		family = "6"
	}
	if l.Transport == "udp" {
		packets, err = lc.ListenPacket(ctx, "udp"+family, l.Addr.String())
	} else {
		streams, err = lc.Listen(ctx, "tcp"+family, l.Addr.String())
	}
	return packets, streams, err
}

// Try opens and closes the section's sockets and reports those that this machine does not
// give, each with its key below sip.
func (c Config) Try(ctx context.Context) []error {
	var faults []error
	for i, l := range c.withDefaults().Listen {
		packets, streams, err := l.open(ctx)
		switch {
		case err != nil:
			if errno, ok := errors.AsType[syscall.Errno](err); ok {
				err = errno // without the address, in other words, once more
			}
			faults = append(faults, fmt.Errorf("listen[%d]: %v: %w", i, l, err))
		case packets != nil:
			packets.Close()
		default:
			streams.Close()
		}
	}
	return faults
}

// ServePacket serves an open UDP socket, or what looks like one, until Close. When
// it returns, requests can go out by that socket.
func (ua *UA) ServePacket(conn net.PacketConn) {
	ua.add("udp", conn.LocalAddr(), conn.Close)
	widen(conn)
	reading := make(chan struct{})
	steady := &steady{PacketConn: conn, ua: ua, errors: newErrorQueue(conn), lost: ua.routes.lost, reading: sync.OnceFunc(func() { close(reading) })}
	ua.running.Go(func() { // ends when Close closes the socket
		if err := ua.transport.ServeUDP(steady); err != nil {
			ua.log.Error("sip listener stopped", "transport", "udp", "error", err)
		}
	})
	<-reading
}

// receiveBytes is what a UDP socket holds of messages that are not read yet: a second of
// them in a busy hour. What finds no room comes again half a second later, and late.
const receiveBytes = 8 << 20

// serveStream serves an open TCP listener, with TLS over it or without, until Close.
func (ua *UA) serveStream(transport string, conn net.Listener) {
	ua.add(transport, conn.Addr(), conn.Close)
	gate := &gate{Listener: conn, ua: ua, transport: transport}
	serve := ua.transport.ServeTCP
	if transport == "tls" {
		serve = ua.transport.ServeTLS
	}
	ua.running.Go(func() { // ends when Close closes the socket
		if err := serve(gate); !errors.Is(err, net.ErrClosed) { // it ends with an error only
			ua.log.Error("sip listener stopped", "transport", transport, "error", err)
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

// steady keeps a UDP listener going over errors that pass: sipgo would end it at the
// first one that is not ErrClosed. It tells when sipgo begins to read: then the socket
// stands in its table.
//
// Whoever reads it gets messages of peers that can be read.
type steady struct {
	net.PacketConn
	ua      *UA
	errors  *errorQueue
	lost    func(netip.AddrPort, error)
	reading func()
}

func (s *steady) ReadFrom(b []byte) (int, net.Addr, error) {
	s.reading()
	for {
		n, addr, err := s.PacketConn.ReadFrom(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return n, addr, err
		case err != nil:
			s.errors.drain(s.lost)
		default:
			if message := s.receive(b[:n], addr, n == len(b)); len(message) > 0 {
				return copy(b, message), addr, nil // it has not grown
			}
		}
	}
}

// receive returns the message of a datagram, whose end may have been cut off; nil for none that
// is read. What strangers send is dropped before sipgo notes their address in a table that it
// never clears.
func (s *steady) receive(datagram []byte, from net.Addr, cut bool) []byte {
	source, ok := addrPort(from)
	if !ok || !s.ua.admits(source, "udp") || len(bytes.Trim(datagram, "\r\n\x00")) == 0 { // the last keeps a NAT open
		return nil
	}
	message, err := s.ua.untangle(datagram)
	switch {
	case err == nil && cut:
		err = errLarge
	case err == nil && s.ua.intrudes(message, source, "udp"):
		return nil
	case err == nil:
		return message
	}
	s.ua.malformed(source.Addr(), "udp", err)
	if answer := badRequest(message, s.ua.cfg.UserAgent); answer != nil {
		s.WriteTo(answer, from) // where that fails, it is lost as on the way
	}
	return nil
}

// WriteTo sends a datagram. The kernel hands an ICMP error to whoever uses the socket next:
// it is not about this datagram, which is sent again.
func (s *steady) WriteTo(b []byte, addr net.Addr) (int, error) {
	n, err := s.PacketConn.WriteTo(b, addr)
	if err != nil && s.errors.drain(s.lost) {
		n, err = s.PacketConn.WriteTo(b, addr)
	}
	return n, err
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

// LocalAddr returns the address by which a peer knows us.
func (ua *UA) LocalAddr(p Peer) (netip.Addr, error) {
	_, known, err := ua.local(p)
	return known.Addr(), err
}

// local returns the socket for a peer and the address he is to know us by.
func (ua *UA) local(p Peer) (bound, known netip.AddrPort, err error) {
	advertise := ua.advertise(p)
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
	if advertise.IsValid() && advertise.Is4() == p.Addr.Addr().Is4() {
		host = advertise
	}
	known = netip.AddrPortFrom(host, l.bound.Port())
	ua.known[known] = true
	return l.bound, known, nil
}

// advertise returns the address that a peer is told: its trunk's, else everybody's, if
// there is one.
func (ua *UA) advertise(p Peer) netip.Addr {
	if trunk, ok := ua.handler.Trunk(p.Addr, p.Transport); ok {
		if own := ua.handler.Settings(trunk).Advertise; own.IsValid() {
			return own
		}
	}
	return ua.cfg.Advertise
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

// routes tells who waits for an answer from an address that the network says cannot be
// reached.
type routes struct {
	mu      sync.Mutex
	waiting map[netip.AddrPort]map[chan error]bool // a set: a busy peer has thousands
}

// watch returns what brings the network's word about an address, and how to end that.
func (r *routes) watch(to string) (lost <-chan error, stop func()) {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil, func() {}
	}
	addr = unmap(addr)
	c := make(chan error, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[addr] == nil {
		r.waiting[addr] = map[chan error]bool{}
	}
	r.waiting[addr][c] = true
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting[addr], c)
		if len(r.waiting[addr]) == 0 {
			delete(r.waiting, addr)
		}
	}
}

func (r *routes) lost(addr netip.AddrPort, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.waiting[unmap(addr)] {
		select {
		case c <- fmt.Errorf("%w: %w", ErrUnreachable, cmp.Or(cause, errors.New("refused"))):
		default:
		}
	}
}

// ErrUnreachable is wrapped by a Failed event's error when the network said that the peer
// cannot be reached (ICMP).
var ErrUnreachable = errors.New("unreachable")
