package srtp

import (
	"net"
	"os"
	"sync"
	"time"
)

// pipe is the way of a handshake's datagrams, which the socket of the packets brings and
// takes: a connection without one.
type pipe struct {
	send func([]byte) error
	in   chan []byte
	over chan struct{}
	once sync.Once

	mu       sync.Mutex
	deadline time.Time     // of reading
	moved    chan struct{} // closed when the deadline is another
}

// queued is how many datagrams wait for the handshake: two flights. What finds no room is
// lost, as on the network.
const queued = 32

func newPipe(send func([]byte) error) *pipe {
	return &pipe{send: send, in: make(chan []byte, queued), over: make(chan struct{}), moved: make(chan struct{})}
}

func (p *pipe) take(b []byte) bool {
	select {
	case p.in <- append([]byte(nil), b...):
		return true
	default:
		return false
	}
}

// ReadFrom and those below are net.PacketConn's.
func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		p.mu.Lock()
		deadline, moved := p.deadline, p.moved
		p.mu.Unlock()
		var late <-chan time.Time
		var timer *time.Timer
		if !deadline.IsZero() {
			timer = time.NewTimer(time.Until(deadline))
			late = timer.C
		}
		n, done, err := p.read(b, late, moved)
		if timer != nil {
			timer.Stop()
		}
		if done {
			return n, peerAddr{}, err
		}
	}
}

// read waits for a datagram; it is not done when the deadline has moved meanwhile.
func (p *pipe) read(b []byte, late <-chan time.Time, moved <-chan struct{}) (n int, done bool, err error) {
	select {
	case <-p.over:
		return 0, true, net.ErrClosed
	default:
	}
	select {
	case got := <-p.in:
		return copy(b, got), true, nil
	case <-late:
		return 0, true, os.ErrDeadlineExceeded
	case <-moved:
		return 0, false, nil
	case <-p.over:
		return 0, true, net.ErrClosed
	}
}

func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	select {
	case <-p.over:
		return 0, net.ErrClosed
	default:
	}
	p.send(b) // what could not be sent is sent again, as what was lost
	return len(b), nil
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.over) })
	return nil
}

func (p *pipe) LocalAddr() net.Addr            { return peerAddr{} }
func (p *pipe) SetDeadline(t time.Time) error  { return p.SetReadDeadline(t) }
func (*pipe) SetWriteDeadline(time.Time) error { return nil } // writing does not wait
func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	close(p.moved)
	p.moved = make(chan struct{})
	return nil
}

// peerAddr is the peer's address: there is one, and it is the leg's matter.
type peerAddr struct{}

func (peerAddr) Network() string { return "udp" }
func (peerAddr) String() string  { return "peer" }
