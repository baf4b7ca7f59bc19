package sip

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
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
		s := &stream{Conn: conn, released: sync.OnceFunc(func() { g.ua.streams.release(source.Addr()) })}
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
// not, and for what we write.
type stream struct {
	net.Conn
	handshake func() error // before the first byte; nil for none
	framing   framing
	released  func()
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
			return 0, net.ErrClosed // sipgo logs any other error as its own
		}
	}
	now := time.Now()
	deadline := now.Add(streamIdle)
	if began := s.framing.began; !began.IsZero() {
		deadline = began.Add(messageTime)
	}
	if err := s.Conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := s.Conn.Read(b)
	if !s.framing.feed(b[:n], now) {
		s.Conn.Close()
		return 0, net.ErrClosed
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		s.Conn.Close()
		return n, net.ErrClosed
	}
	return n, err
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

// framing follows messages in a stream as far as to know whether one has begun and not
// ended (RFC 3261 §18.3).
type framing struct {
	began  time.Time // of the message; zero between two
	line   []byte    // of the header, its first bytes
	length int       // of the body, as the header says
	body   int       // bytes that are still to come
	last   byte      // of the line so far
}

// longestName is more than any header name that counts here, with its number.
const longestName = 64

// feed takes what came, and reports whether the lines of headers end as they should: see
// wellLined.
func (f *framing) feed(b []byte, now time.Time) bool {
	for len(b) > 0 {
		if f.body > 0 {
			n := min(f.body, len(b))
			b, f.body = b[n:], f.body-n
			if f.body == 0 {
				f.began = time.Time{}
			}
			continue
		}
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		b = rest
		if len(line) > 0 {
			f.last = line[len(line)-1]
		}
		if room := longestName - len(f.line); room > 0 {
			f.line = append(f.line, line[:min(room, len(line))]...)
		}
		if f.began.IsZero() && len(bytes.TrimRight(f.line, "\r")) > 0 {
			f.began = now
		}
		if !ended {
			continue
		}
		if f.last != '\r' {
			return false
		}
		f.last = 0
		f.end()
	}
	return true
}

// end takes a whole line of the header.
func (f *framing) end() {
	line := strings.TrimSpace(string(f.line))
	f.line = f.line[:0]
	switch name, v, _ := strings.Cut(line, ":"); {
	case f.began.IsZero(): // an empty line between messages
	case line == "":
		f.body, f.length = f.length, 0
		if f.body == 0 {
			f.began = time.Time{}
		}
	case strings.EqualFold(strings.TrimSpace(name), "Content-Length") || strings.EqualFold(strings.TrimSpace(name), "l"):
		if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 24); err == nil {
			f.length = int(n)
		}
	}
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
	s := &stream{Conn: conn}
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
