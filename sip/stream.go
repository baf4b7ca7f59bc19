package sip

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of connections that peers open.
const (
	streamsPerSource = 64
	streamsInAll     = 1024
	streamIdle       = 10 * time.Minute // CRLF pings count as traffic (RFC 5626 §3.5.1)
	messageTime      = 30 * time.Second // from a message's first byte to its last
	handshakeTime    = 10 * time.Second
	writeTime        = 5 * time.Second // a peer that does not read holds nobody up for longer
	connectTime      = 5 * time.Second
	lingerTime       = 200 * time.Millisecond // after what cannot be understood
)

// gate is a listener as sipgo sees it: strangers, and who has too many connections, never
// get in, and what gets in cannot dawdle.
type gate struct {
	net.Listener
	ua        *UA
	transport string
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil { // no descriptors left, or the peer is gone already
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-g.ua.done:
				return nil, net.ErrClosed
			}
		}
		source, _ := addrPort(conn.RemoteAddr())
		if !g.ua.admits(source, g.transport) || !g.ua.streams.take(source.Addr()) {
			conn.Close()
			continue
		}
		s := &stream{Conn: conn, ua: g.ua, source: source, transport: g.transport, released: sync.OnceFunc(func() { g.ua.streams.release(source.Addr()) })}
		if g.transport == "tls" {
			s.secure(tls.Server(conn, g.ua.serverTLS()))
		}
		return s, nil
	}
}

// streams counts the connections that peers opened.
type streams struct {
	mu  sync.Mutex
	all int
	of  map[netip.Addr]int
}

func (s *streams) take(source netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= streamsInAll || s.of[source] >= streamsPerSource {
		return false
	}
	s.all++
	s.of[source]++
	return true
}

func (s *streams) release(source netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[source]--; s.of[source] == 0 {
		delete(s.of, source)
	}
}

// stream is a connection with deadlines: for a message that has begun, for one that has
// not, and for what we write. Whoever reads it gets whole messages that can be read.
type stream struct {
	net.Conn
	ua        *UA
	source    netip.AddrPort
	transport string
	handshake func() error // before the first byte; nil for none
	released  func()

	// Owned by its reader.
	framing framing
	ready   []byte // of a message, what is not read yet
}

// secure puts TLS on the connection.
func (s *stream) secure(conn *tls.Conn) {
	s.Conn = conn
	s.handshake = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
		defer cancel()
		return conn.HandshakeContext(ctx)
	})
}

func (s *stream) Read(b []byte) (int, error) {
	if s.handshake != nil {
		if err := s.handshake(); err != nil {
			s.ua.untrusted(s.source.Addr(), err)
			return 0, net.ErrClosed // sipgo logs any other error as its own
		}
	}
	for len(s.ready) == 0 {
		if err := s.next(); err != nil {
			s.Conn.Close()
			return 0, err
		}
	}
	n := copy(b, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// next makes the next message ready, or reads what may make it one. A message whose end is
// known is refused alone; else nothing after it can be understood.
func (s *stream) next() error {
	message, err := s.framing.cut()
	switch {
	case err != nil:
		s.refuse(message, err)
		s.linger()
		return net.ErrClosed
	case message == nil:
		return s.receive()
	case !s.ua.admits(s.source, s.transport): // reloaded meanwhile
		return net.ErrClosed
	case !bytes.Equal(message, ping):
		if err := s.ua.legible(message); err != nil {
			s.refuse(message, err)
			return nil
		}
		if s.ua.intrudes(message, s.source, s.transport) {
			return nil
		}
	}
	s.ready = message
	return nil
}

// receive takes what comes on the connection.
func (s *stream) receive() error {
	deadline := time.Now().Add(streamIdle)
	if began := s.framing.began; !began.IsZero() {
		deadline = began.Add(messageTime)
	}
	if err := s.Conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	n, err := s.Conn.Read(s.framing.room())
	s.framing.took(n, time.Now())
	var late net.Error
	switch {
	case n > 0: // an error comes again
		return nil
	case errors.As(err, &late) && late.Timeout():
		return net.ErrClosed
	}
	return err
}

// refuse answers what cannot be read, if that has an answer.
func (s *stream) refuse(head []byte, err error) {
	s.ua.malformed(s.source.Addr(), s.transport, err)
	if answer := badRequest(head, s.ua.cfg.UserAgent); answer != nil {
		s.Write(answer) // where that fails, so does the next read
	}
}

// linger waits for the answers to what came before, which are under way.
func (s *stream) linger() {
	select {
	case <-time.After(lingerTime):
	case <-s.ua.done:
	}
}

func (s *stream) Write(b []byte) (int, error) {
	if err := s.Conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(b)
	if err != nil { // half a message: nothing after it would be understood
		s.Conn.Close()
	}
	return n, err
}

func (s *stream) Close() error {
	if s.released != nil {
		s.released()
	}
	return s.Conn.Close()
}

// connect sees to it that there is a connection to a peer that wants one. We open it
// ourselves, since sipgo knows neither deadlines nor whom a certificate is to name, and
// hand it over as if it had come in.
func (ua *UA) connect(ctx context.Context, p Peer) error {
	if p.Transport == "udp" {
		return nil
	}
	for {
		if ua.isConnected(p) {
			return nil
		}
		ua.mu.Lock()
		under, busy := ua.dialling[p.Addr]
		if !busy {
			under = make(chan struct{})
			ua.dialling[p.Addr] = under
		}
		ua.mu.Unlock()
		if !busy {
			err := ua.open(ctx, p)
			ua.mu.Lock()
			delete(ua.dialling, p.Addr)
			ua.mu.Unlock()
			close(under)
			return err
		}
		select { // another is at it
		case <-under:
			if !ua.isConnected(p) {
				return fmt.Errorf("%w: connect to %v", ErrNotSent, p)
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: connect to %v: %w", ErrNotSent, p, ctx.Err())
		}
	}
}

// isConnected reports whether there is a connection with a peer.
func (ua *UA) isConnected(p Peer) bool {
	conn := ua.transport.Pool(p.Transport).Get(p.Addr.String())
	if conn == nil {
		return false
	}
	conn.TryClose() // gives back what Get took
	return true
}

func (ua *UA) open(ctx context.Context, p Peer) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	// From the address that the peer knows us by: he may tell us from others by it.
	if bound, _, err := ua.local(p); err == nil && !bound.Addr().IsUnspecified() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(bound.Addr(), 0))
	}
	conn, err := dialer.DialContext(ctx, "tcp", p.Addr.String())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	s := &stream{Conn: conn, ua: ua, source: p.Addr, transport: p.Transport}
	if p.Transport == "tls" {
		cfg, err := ua.clientTLS(p)
		if err == nil {
			s.secure(tls.Client(conn, cfg))
			err = s.handshake()
		}
		if err != nil {
			conn.Close()
			return fmt.Errorf("%w: TLS with %v: %w", ErrNotSent, p, err)
		}
	}
	if !ua.handed(p.Transport).give(s) {
		s.Close()
		return fmt.Errorf("%w: %w", ErrNotSent, net.ErrClosed)
	}
	return nil
}

// handOver is a listener without a socket: it brings sipgo the connections that we open.
type handOver struct {
	conns chan net.Conn
	taken chan struct{} // after each, when it stands in sipgo's table
	first sync.Once
	begun bool
	mu    sync.Mutex // one at a time
	done  <-chan struct{}
}

// handed returns the hand-over of a transport, and has sipgo serve it from the first use on.
func (ua *UA) handed(transport string) *handOver {
	h := ua.handOvers[transport]
	h.first.Do(func() {
		serve := ua.transport.ServeTCP
		if transport == "tls" {
			serve = ua.transport.ServeTLS
		}
		ua.running.Go(func() { serve(h) }) // ends with Close
	})
	return h
}

func newHandOver(done <-chan struct{}) *handOver {
	return &handOver{conns: make(chan net.Conn), taken: make(chan struct{}), done: done}
}

// give hands a connection over and returns when requests can go out by it.
func (h *handOver) give(conn net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case h.conns <- conn:
	case <-h.done:
		return false
	}
	select {
	case <-h.taken:
		return true
	case <-h.done:
		return false
	}
}

// Accept is sipgo's: when it comes again, it is done with the one before.
func (h *handOver) Accept() (net.Conn, error) {
	if h.begun {
		select {
		case h.taken <- struct{}{}:
		case <-h.done:
			return nil, net.ErrClosed
		}
	}
	h.begun = true
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handOver) Close() error   { return nil }
func (h *handOver) Addr() net.Addr { return &net.TCPAddr{} }
