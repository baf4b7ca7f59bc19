// Package sim plays the parties at bewaard's two sides: phones that place and
// answer calls, say something, and keep what they hear. The demo, callsim and the
// end-to-end tests are made of them.
//
// It knows nothing of what is between its phones.
package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

// Config says what a phone is.
type Config struct {
	Listen netip.AddrPort // SIP over UDP; port 0 for any
	Peer   netip.AddrPort // who it calls and is called by
	Voice  Voice          // what its user says. Default: Silence
	Codec  string         // PCMA, PCMU, G722, L16 (at 16 kHz) or OPUS. Default: PCMA
	Ring   time.Duration  // before a call that comes in is answered
	// Reject answers calls that come in with that status instead, e.g. 486.
	Reject int
	// Press is keys that are pressed as soon as something is heard.
	Press string
	// Acts are what its user does in every call, in their order.
	Acts []Act
	// Early sends ringing as 183 with audio, as carriers do.
	Early bool
	// NoEarly takes no early media: nothing is heard, and nothing said, before the call is
	// answered.
	NoEarly bool
	// NoEvents knows no telephone-events (RFC 4733): keys are tones in the audio, or go by INFO.
	NoEvents bool
	// SRTP is how the phone's audio is protected. Default: it is not.
	SRTP SRTP
	Log  *slog.Logger
}

// Phone is one party. Calls that come in are answered by themselves.
type Phone struct {
	cfg   Config
	peer  atomic.Pointer[netip.AddrPort]
	ua    *sip.UA
	lines chan *Line
	busy  sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context

	mu     sync.Mutex
	closed bool // it takes no more calls
}

// New makes a phone and opens its socket.
func New(ctx context.Context, cfg Config) (*Phone, error) {
	if cfg.Voice == nil {
		cfg.Voice = Silence
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := codecOf(cfg.Codec); err != nil {
		return nil, err
	}
	p := &Phone{cfg: cfg, lines: make(chan *Line, 64)}
	p.SetPeer(cfg.Peer)
	p.ctx, p.stop = context.WithCancel(ctx)
	p.ua = sip.New(sip.Config{Listen: []sip.Listen{{Transport: "udp", Addr: cfg.Listen}}, UserAgent: "callsim"}, p, cfg.Log, nil)
	if err := p.ua.Listen(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Addr returns where the phone takes calls.
func (p *Phone) Addr() netip.AddrPort { return p.ua.Addrs()[0].Addr }

// SetPeer says who the phone calls, where New could not know it yet.
func (p *Phone) SetPeer(peer netip.AddrPort) { p.peer.Store(&peer) }

// Close hangs up and closes the socket.
func (p *Phone) Close() error {
	p.stop()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.busy.Wait()
	return p.ua.Close()
}

// Lines brings the calls that came in, each once it is answered.
func (p *Phone) Lines() <-chan *Line { return p.lines }

// Trunk lets everybody call: sip.Handler.
func (p *Phone) Trunk(netip.AddrPort, string) (string, bool) { return "peer", true }

// Settings are none: sip.Handler.
func (p *Phone) Settings(string) sip.Settings { return sip.Settings{} }

// Ready is always true: sip.Handler.
func (p *Phone) Ready() bool { return true }

// Invite answers a call: sip.Handler.
func (p *Phone) Invite(leg *sip.Leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		leg.Hangup(480, "Temporarily Unavailable")
		return
	}
	p.busy.Go(func() { p.answer(leg) }) // ends with the call; Close waits for it
}

func (p *Phone) answer(leg *sip.Leg) {
	if p.cfg.Reject != 0 {
		leg.Hangup(p.cfg.Reject, "Rejected")
		return
	}
	line, err := newLine(p.cfg, leg)
	if err != nil {
		leg.Hangup(500, "No Socket")
		return
	}
	defer line.close()
	if err := line.hear(leg.Offer()); err != nil {
		leg.Hangup(488, "Not Acceptable Here")
		return
	}
	if p.cfg.Early {
		leg.Progress(183, "Session Progress", line.description(sdp.SendRecv))
		line.speak()
	} else {
		leg.Progress(180, "Ringing", nil)
	}
	ringing := time.NewTimer(p.cfg.Ring)
	defer ringing.Stop()
	for {
		select {
		case e := <-leg.Events():
			switch e.Kind {
			case sip.Cancelled, sip.Ended, sip.Unconfirmed:
				return
			case sip.Confirmed:
				line.speak()
				p.lines <- line
			default:
				line.follow(e)
			}
		case <-ringing.C:
			if err := leg.Answer(line.description(sdp.SendRecv)); err != nil {
				return
			}
		case <-line.hangup:
			leg.Hangup(0, "")
			return
		case <-p.ctx.Done():
			leg.Hangup(503, "Service Unavailable")
			return
		}
	}
}

// ErrRejected is wrapped by Call's error when the other side does not answer.
var ErrRejected = errors.New("call rejected")

// Call calls a number and returns once it is answered. Early media is heard, too.
func (p *Phone) Call(ctx context.Context, from, called string) (*Line, error) {
	line, err := newLine(p.cfg, nil)
	if err != nil {
		return nil, err
	}
	peer := *p.peer.Load()
	leg, err := p.ua.Invite(sip.Invite{
		Peer: sip.Peer{Transport: "udp", Host: peer.Addr().String(), Addr: peer}, Trunk: "peer",
		Called: called, From: sip.Party{User: from}, MaxForwards: 70, Body: line.description(sdp.SendRecv),
	})
	if err != nil {
		line.close()
		return nil, err
	}
	line.leg = leg
	answered := make(chan error, 1)
	p.busy.Go(func() { p.follow(ctx, line, answered) }) // ends with the call; Close waits for it
	if err := <-answered; err != nil {
		return nil, err
	}
	return line, nil
}

// follow lives with a call that was placed, until its end.
func (p *Phone) follow(ctx context.Context, line *Line, answered chan<- error) {
	defer line.close()
	setup := ctx.Done()
	for {
		select {
		case e := <-line.leg.Events():
			switch e.Kind {
			case sip.Progressed:
				if len(e.Body) > 0 && !p.cfg.NoEarly && line.hear(e.Body) == nil {
					line.speak() // opens the way through whatever latches
				}
			case sip.Answered:
				line.open()
				if err := line.hear(e.Body); err != nil {
					answered <- err
					line.leg.Hangup(488, "Not Acceptable Here")
					return
				}
				line.speak()
				setup = nil
				answered <- nil
			case sip.Rejected:
				answered <- fmt.Errorf("%w: %d %s", ErrRejected, e.Code, e.Reason)
				return
			case sip.Failed:
				answered <- e.Err
				return
			case sip.Ended:
				return
			default:
				line.follow(e)
			}
		case <-line.hangup:
			if setup != nil {
				line.leg.Hangup(487, "Request Terminated")
				answered <- fmt.Errorf("%w: the phone's user gave up", ErrRejected)
				return
			}
			line.leg.Hangup(0, "")
			return
		case <-setup:
			line.leg.Hangup(487, "Request Terminated")
			answered <- ctx.Err()
			return
		case <-p.ctx.Done():
			line.leg.Hangup(487, "Request Terminated")
			return
		}
	}
}

func udpAddr(a netip.AddrPort) *net.UDPAddr { return net.UDPAddrFromAddrPort(a) }
