package media

import (
	"fmt"
	"net/netip"

	"github.com/bewaard/bewaard/media/rtp"
)

// sockets are a session's way to the network. Datagrams that come in go to the session's
// step and control; what step returns goes out of the other leg's socket. All else that
// an engine does, it does behind these: a session is data to it.
type sockets interface {
	// listen opens the two sockets of one leg, RTCP's at the port above.
	listen(leg rtp.Leg, addr netip.Addr, port uint16) error
	// serve begins to read. It is called once.
	serve(*Session)
	// send sends a packet from a leg's RTP socket, sendRTCP one from its other. Any
	// goroutine may call them; after close they return ErrClosed.
	send(leg rtp.Leg, packet []byte, to netip.AddrPort) error
	sendRTCP(leg rtp.Leg, packet []byte, to netip.AddrPort) error
	// close ends the reading, waits for it, and closes what listen opened.
	close()
}

// driver makes the sockets of sessions. There are two, and one suite of tests for both.
type driver interface {
	open() sockets
	close()
}

// What Config.Engine can be.
const (
	EngineEpoll    = "epoll"
	EnginePortable = "portable"
)

func newDriver(cfg Config) (driver, error) {
	switch cfg.Engine {
	case EngineEpoll:
		return newEpoll(cfg)
	case EnginePortable:
		return portableDriver{cfg}, nil
	}
	return nil, fmt.Errorf("engine: %q is neither %s nor %s", cfg.Engine, EngineEpoll, EnginePortable)
}

// maxDatagram is more than any RTP packet on an Ethernet.
const maxDatagram = 2048
