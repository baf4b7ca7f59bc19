package media

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/srtp"
)

// Engine opens sessions.
type Engine struct {
	// Immutable after New.
	cfg      Config
	ports    *ports
	driver   driver
	pacer    *pacer
	desk     *desk
	ears     *ears
	metrics  *metrics
	identity *srtp.Identity

	keysDropped atomic.Uint64
	deaf        atomic.Uint64 // sockets that the system would not watch

	mu       sync.Mutex
	sessions map[*Session]struct{}
	past     Stats // summed over sessions that are gone
}

// New makes an engine. A nil registry keeps its metrics to itself.
func New(cfg Config, registry prometheus.Registerer) (*Engine, error) {
	if faults := cfg.Validate(); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	cfg = cfg.withDefaults()
	identity, err := srtp.NewIdentity()
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, ports: newPorts(cfg.Ports), identity: identity, sessions: map[*Session]struct{}{}}
	if e.driver, err = newDriver(cfg); err != nil {
		return nil, err
	}
	e.pacer, e.desk, e.ears = newPacer(), newDesk(cfg.Silence), newEars()
	e.metrics = newMetrics(e, registry)
	return e, nil
}

// Threads is how many of the processors that the Go runtime has (GOMAXPROCS) the engine
// keeps to itself while calls are up: whoever runs one adds so many.
func (e *Engine) Threads() int {
	if e.cfg.Engine == EngineEpoll {
		return e.cfg.Loops + pacerThreads
	}
	return pacerThreads
}

// Close closes the sessions that are left and stops what the engine runs.
func (e *Engine) Close() error {
	e.mu.Lock()
	var left []*Session
	for s := range e.sessions {
		left = append(left, s)
	}
	e.mu.Unlock()
	for _, s := range left {
		s.Close()
	}
	e.pacer.close()
	e.desk.close()
	e.ears.close()
	e.driver.close()
	return nil
}

// bindTries is how many pairs of ports are tried that somebody else has bound.
const bindTries = 16

// Open opens a session: one stream of a call. At says by which address each leg's peer
// knows us: see Address.
func (e *Engine) Open(at [2]Where) (*Session, error) {
	p, now := e.driver.open(), time.Now()
	s := &Session{
		engine: e, began: now, beganAt: now.UnixNano(), sockets: p, keys: make(chan Key, keysQueue), broken: make(chan Broken, 2), silences: make(chan rtp.Leg, 2),
	}
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		port, err := e.bind(p, leg, at[leg].Known)
		if err != nil {
			p.close()
			e.giveBack(s)
			return nil, fmt.Errorf("open RTP sockets: %w", err)
		}
		s.local[leg] = netip.AddrPortFrom(e.Address(at[leg]), port)
		s.legs[leg].out.init()
		s.Clock(leg, 8000)
		s.legs[leg].reporting.name = rand.Text()
	}
	p.serve(s)
	e.desk.add(s)
	e.mu.Lock()
	e.sessions[s] = struct{}{}
	e.mu.Unlock()
	return s, nil
}

func (e *Engine) bind(p sockets, leg rtp.Leg, known netip.Addr) (uint16, error) {
	addr := e.cfg.Address
	if !addr.IsValid() || addr.Is4() != known.Is4() {
		addr = netip.IPv4Unspecified()
		if known.Is6() {
			addr = netip.IPv6Unspecified()
		}
	}
	var busy error
	for range bindTries {
		port, ok := e.ports.take()
		if !ok {
			return 0, errors.Join(ErrNoPorts, busy)
		}
		err := p.listen(leg, addr, port)
		if err == nil {
			return port, nil
		}
		e.ports.giveBack(port)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, err
		}
		busy = err
	}
	return 0, busy
}

// Address is what a peer is told of where we are: its own Advertise, else the
// configuration's, else Known, each where it is of Known's IP version.
func (e *Engine) Address(at Where) netip.Addr {
	for _, addr := range []netip.Addr{at.Advertise, e.cfg.Advertise, e.cfg.Address} {
		if addr.IsValid() && !addr.IsUnspecified() && addr.Is4() == at.Known.Is4() {
			return addr
		}
	}
	return at.Known
}

// Fingerprint is of the certificate that we show in handshakes, which session descriptions
// are to tell.
func (e *Engine) Fingerprint() srtp.Fingerprint { return e.identity.Fingerprint() }

// forget takes a closed session off the books, its ports and its counts.
func (e *Engine) forget(s *Session) {
	e.giveBack(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
	for leg, stats := range s.stats.Legs {
		e.past.Legs[leg].add(stats)
	}
	e.metrics.observe(s.stats)
}

func (e *Engine) giveBack(s *Session) {
	for _, local := range s.local {
		if local.IsValid() {
			e.ports.giveBack(local.Port())
		}
	}
}

// total sums what all sessions did, past and present.
func (e *Engine) total() LegStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	var sum LegStats
	for _, stats := range e.past.Legs {
		sum.add(stats)
	}
	for s := range e.sessions {
		for _, stats := range s.live().Legs {
			sum.add(stats)
		}
	}
	return sum
}

// add adds another's counts.
func (s *LegStats) add(o LegStats) {
	s.Received += o.Received
	s.Bytes += o.Bytes
	s.Lost += o.Lost
	s.Rejected += o.Rejected
	s.Invalid += o.Invalid
	s.Forged += o.Forged
	s.Replayed += o.Replayed
	s.Unkeyed += o.Unkeyed
	s.Relayed += o.Relayed
	s.Played += o.Played
	s.Errors += o.Errors
	s.Dropped += o.Dropped
}
