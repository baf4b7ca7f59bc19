package media

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// sockets are a session's way to the network: what an engine has of its own. Datagrams
// that come in go to the session's step and control; what these return goes out.
type sockets interface {
	// serve begins to read. It is called once.
	serve(*Session)
	// send sends a packet from a leg's RTP socket, sendRTCP one from its other. Any
	// goroutine may call them.
	send(leg rtp.Leg, packet []byte, to netip.AddrPort) error
	sendRTCP(leg rtp.Leg, packet []byte, to netip.AddrPort) error
	// close ends the reading and waits for it.
	close()
}

// maxDatagram is more than any RTP packet on an Ethernet.
const maxDatagram = 2048

// portable is a goroutine a socket on the Go runtime's poller: plain, and good on every
// system. It reads and writes without allocating.
type portable struct {
	rtp, rtcp [2]*net.UDPConn
	readers   sync.WaitGroup
}

// listenPair opens the sockets of one leg.
func (p *portable) listenPair(leg rtp.Leg, addr netip.Addr, port uint16) (err error) {
	if p.rtp[leg], err = listenUDP(netip.AddrPortFrom(addr, port)); err != nil {
		return err
	}
	if p.rtcp[leg], err = listenUDP(netip.AddrPortFrom(addr, port+1)); err != nil {
		p.rtp[leg].Close()
		p.rtp[leg] = nil
	}
	return err
}

func listenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	return net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
}

func (p *portable) serve(s *Session) {
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		p.readers.Go(func() { p.readRTP(s, leg) })  // both end with
		p.readers.Go(func() { p.readRTCP(s, leg) }) // close
	}
}

func (p *portable) readRTP(s *Session, leg rtp.Leg) {
	b := make([]byte, maxDatagram)
	in, out := p.rtp[leg], p.rtp[leg.Other()]
	for {
		n, from, err := in.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of what we sent: nothing to read
		}
		packet, to := s.step(leg, unmap(from), time.Now().UnixNano(), b[:n])
		if !to.IsValid() {
			continue
		}
		if _, err := out.WriteToUDPAddrPort(packet, to); err != nil {
			s.legs[leg.Other()].errors.Add(1)
		}
	}
}

func (p *portable) readRTCP(s *Session, leg rtp.Leg) {
	b := make([]byte, maxDatagram)
	in, out := p.rtcp[leg], p.rtcp[leg.Other()]
	for {
		n, from, err := in.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if packet, to := s.control(leg, unmap(from), b[:n]); packet != nil {
			out.WriteToUDPAddrPort(packet, to) // a lost report is followed by another
		}
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
