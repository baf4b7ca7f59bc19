// Package siptest is a SIP world in memory, for tests: a network of UDP sockets
// that a synctest bubble can hold, and a peer that says what the test makes it say.
//
// It knows nothing of package sip, so that it can judge it.
package siptest

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Network carries datagrams between its sockets, at once and in order.
type Network struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*conn
	lose  func(from, to netip.AddrPort, datagram []byte) bool
}

// NewNetwork returns a network without sockets.
func NewNetwork() *Network { return &Network{conns: map[netip.AddrPort]*conn{}} }

// Lose makes the network lose the datagrams for which lost says so; nil loses none.
func (n *Network) Lose(lost func(from, to netip.AddrPort, datagram []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = lost
}

// Listen opens a socket at an address such as 192.0.2.1:5060.
func (n *Network) Listen(addr string) net.PacketConn {
	c := &conn{network: n, addr: netip.MustParseAddrPort(addr), in: make(chan datagram, 1024), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[c.addr] = c
	return c
}

func (n *Network) deliver(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.conns[to]
	if c == nil || n.lose != nil && n.lose(from, to, data) {
		return // as UDP does
	}
	select {
	case c.in <- datagram{from, append([]byte(nil), data...)}:
	default:
	}
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

// conn is one socket; it is a net.PacketConn without deadlines.
type conn struct {
	network *Network
	addr    netip.AddrPort
	in      chan datagram
	closed  chan struct{}
	once    sync.Once
}

func (c *conn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *conn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	addr := to.(*net.UDPAddr).AddrPort()
	c.network.deliver(c.addr, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), b)
	return len(b), nil
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *conn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.addr) }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
