package media

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// portableDriver is a goroutine a socket on the Go runtime's poller: plain, good on every
// system, and what the other driver is held against.
type portableDriver struct{ cfg Config }

func (d portableDriver) open() sockets { return &portable{dscp: d.cfg.DSCP.value()} }
func (d portableDriver) close()        {}

// portable are a session's sockets as Go's. It reads and writes without allocating.
type portable struct {
	dscp      int
	rtp, rtcp [2]*net.UDPConn
	readers   sync.WaitGroup
}

func (p *portable) listen(leg rtp.Leg, addr netip.Addr, port uint16) (err error) {
	if p.rtp[leg], err = listenUDP(netip.AddrPortFrom(addr, port), p.dscp); err != nil {
		return err
	}
	if p.rtcp[leg], err = listenUDP(netip.AddrPortFrom(addr, port+1), p.dscp); err != nil {
		p.rtp[leg].Close()
		p.rtp[leg] = nil
	}
	return err
}

func listenUDP(addr netip.AddrPort, dscp int) (*net.UDPConn, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = mark(int(fd), addr.Addr().Is6(), dscp) }), err)
	}}
	conn, err := listen.ListenPacket(context.Background(), network, addr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

func (p *portable) serve(s *Session) {
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		p.readers.Go(func() { p.readRTP(s, leg) })  // both end with
		p.readers.Go(func() { p.readRTCP(s, leg) }) // close
	}
}

func (p *portable) readRTP(s *Session, leg rtp.Leg) {
	p.read(p.rtp[leg], func(from netip.AddrPort, b []byte) {
		b, to := s.step(leg, from, s.at(time.Now()), b)
		if !to.IsValid() {
			return
		}
		if err := p.send(leg.Other(), b, to); err != nil {
			s.legs[leg.Other()].errors.Add(1)
		}
	})
}

func (p *portable) readRTCP(s *Session, leg rtp.Leg) {
	p.read(p.rtcp[leg], func(from netip.AddrPort, b []byte) { s.control(leg, from, b) })
}

// read hands over what comes in until the socket is closed.
func (p *portable) read(conn *net.UDPConn, take func(from netip.AddrPort, b []byte)) {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		switch {
		case err == nil:
			take(unmap(from), b[:n])
		case errors.Is(err, net.ErrClosed):
			return
		} // else an ICMP error of what we sent: nothing to read
	}
}

func (p *portable) send(leg rtp.Leg, packet []byte, to netip.AddrPort) error {
	_, err := p.rtp[leg].WriteToUDPAddrPort(packet, to)
	return err
}

func (p *portable) sendRTCP(leg rtp.Leg, packet []byte, to netip.AddrPort) error {
	_, err := p.rtcp[leg].WriteToUDPAddrPort(packet, to)
	return err
}

func (p *portable) close() {
	for leg := range p.rtp {
		if p.rtp[leg] != nil {
			p.rtp[leg].Close()
			p.rtcp[leg].Close()
		}
	}
	p.readers.Wait()
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
