package call

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/store"
)

// Config is what the manager takes of the file: its trunks section.
type Config struct {
	Trunks map[string]Trunk
	SIP    sip.Config
}

// Rows is what calls need of the store.
type Rows interface {
	Begin(store.Row) error
	Update(id string, change func(*store.Row) error) (store.Row, error)
}

// Parts are what a manager connects; all are needed except Registry.
type Parts struct {
	Policy   *policy.Policy
	Prompts  Prompts
	Media    Media
	Recorder Recorder
	Rows     Rows
	Metrics  *Metrics
	Log      *slog.Logger
	Registry prometheus.Registerer // for SIP's metrics; may be nil
}

// Manager takes INVITEs and starts a call for each. It is the sip.Handler.
type Manager struct {
	// Immutable after New.
	cfg       Config
	parts     Parts
	log       *slog.Logger
	metrics   *Metrics
	directory *directory
	ua        *sip.UA
	ringing   ringingTone
	policy    atomic.Pointer[policy.Policy]

	calls   sync.WaitGroup // every call's run, and what it still writes
	stop    context.CancelFunc
	stopped context.Context // ends the calls that are left when the drain is over

	mu       sync.Mutex
	active   map[string]*Call
	draining bool
	drained  chan struct{} // closed when draining and no call is left
}

// New makes a manager. Start makes it take calls.
func New(cfg Config, parts Parts) *Manager {
	m := &Manager{cfg: cfg, parts: parts, log: parts.Log, ringing: newRingingTone(), active: map[string]*Call{}, drained: make(chan struct{})}
	m.stopped, m.stop = context.WithCancel(context.Background())
	m.metrics = parts.Metrics
	m.directory = newDirectory(cfg.Trunks, parts.Log)
	m.policy.Store(parts.Policy)
	m.ua = sip.New(cfg.SIP, m, parts.Log, parts.Registry)
	return m
}

// Start looks up the trunks' peers and opens the SIP sockets. A peer that cannot be
// found is logged and looked for again; it does not keep the others out.
func (m *Manager) Start(ctx context.Context) error {
	m.directory.refresh(ctx)
	if err := m.ua.Listen(ctx); err != nil {
		return err
	}
	m.calls.Go(func() { m.directory.run(m.stopped) }) // ends with Close
	return nil
}

// Addrs returns where SIP is listened on.
func (m *Manager) Addrs() []sip.Listen { return m.ua.Addrs() }

// Policy returns the policy that new calls begin with.
func (m *Manager) Policy() *policy.Policy { return m.policy.Load() }

// Trunk names the trunk of a source: sip.Handler.
func (m *Manager) Trunk(source netip.AddrPort) (string, bool) { return m.directory.trunk(source) }

// Ready reports whether new calls are taken: sip.Handler.
func (m *Manager) Ready() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.draining
}

// Active returns how many calls there are.
func (m *Manager) Active() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.active)
}

// Invite starts a call: sip.Handler.
func (m *Manager) Invite(leg *sip.Leg) {
	c := newCall(m, leg)
	m.mu.Lock()
	if m.draining {
		m.mu.Unlock()
		leg.Hangup(503, "Service Unavailable")
		return
	}
	m.active[c.id] = c
	m.metrics.active.Inc()
	m.calls.Add(1) // before Drain can wait
	m.mu.Unlock()
	go func() { // Close waits for it
		defer m.calls.Done()
		defer m.forget(c)
		c.run(m.stopped)
	}()
}

func newCall(m *Manager, leg *sip.Leg) *Call {
	c := &Call{manager: m, id: store.NewID(), began: time.Now().UTC(), log: m.log, version: [2]uint64{1, 1}}
	c.legs[rtp.Caller] = leg
	c.trunks[rtp.Caller] = leg.Trunk()
	c.session = [2]uint64{newSession(), newSession()}
	return c
}

func (m *Manager) forget(c *Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.active, c.id)
	m.metrics.active.Dec()
	if m.draining && len(m.active) == 0 {
		close(m.drained)
	}
}

// Close takes no new calls, waits until those there are have ended, or until the
// context has, then hangs up what is left; it returns when every row is written.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.draining = true
	if len(m.active) == 0 {
		close(m.drained)
	}
	m.mu.Unlock()
	select {
	case <-m.drained:
	case <-ctx.Done():
	}
	m.stop()
	m.calls.Wait()
	return m.ua.Close()
}
