package call

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// Config is what the manager takes of the file: its trunks section.
type Config struct {
	Trunks map[string]trunk.Config
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
	cfg     Config
	parts   Parts
	log     *slog.Logger
	metrics *Metrics
	trunks  *trunk.Directory
	ua      *sip.UA
	tones   tones
	rules   atomic.Pointer[rules] // that new calls begin with
	tally   tally

	calls   sync.WaitGroup // every call's run, and what it still writes
	stop    context.CancelFunc
	stopped context.Context // ends the calls that are left when the drain is over

	mu       sync.Mutex
	active   map[string]*Call
	owners   map[*sip.Leg]*Call
	draining bool
	drained  chan struct{} // closed when draining and no call is left
}

// New makes a manager. Start makes it take calls.
func New(cfg Config, parts Parts) *Manager {
	m := &Manager{cfg: cfg, parts: parts, log: parts.Log, tones: allTones(), active: map[string]*Call{}, owners: map[*sip.Leg]*Call{}, drained: make(chan struct{})}
	m.stopped, m.stop = context.WithCancel(context.Background())
	m.metrics = parts.Metrics
	m.SetRules(parts.Policy, parts.Prompts)
	m.ua = sip.New(cfg.SIP, m, parts.Log, parts.Registry)
	m.trunks = trunk.New(cfg.Trunks, trunk.Parts{Ping: m.ping, Log: parts.Log, Registry: parts.Registry})
	return m
}

// Start looks up the trunks' peers and opens the SIP sockets. A peer that cannot be
// found is logged and looked for again; it does not keep the others out.
func (m *Manager) Start(ctx context.Context) error {
	m.trunks.Refresh(ctx)
	if err := m.ua.Listen(ctx); err != nil {
		return err
	}
	m.calls.Go(func() { m.trunks.Run(m.stopped) }) // ends with Close
	for name, cfg := range m.cfg.Trunks {
		if cfg.Register != nil {
			m.calls.Go(func() { m.register(name, cfg) }) // ends with Close
		}
	}
	return nil
}

// register keeps us known to a trunk's registrar.
func (m *Manager) register(name string, cfg trunk.Config) {
	r := sip.Registration{
		Peer: func() (sip.Peer, bool) {
			targets := m.trunks.Targets(name)
			if len(targets) == 0 {
				return sip.Peer{}, false
			}
			return targets[0], true
		},
		Registrar: cmp.Or(cfg.Register.Registrar, cfg.Peers[0].Host), User: cfg.Register.User, Expires: cfg.Register.Expires,
	}
	if cfg.Auth != nil {
		r.User = cmp.Or(r.User, cfg.Auth.User)
		r.Credentials = *m.trunks.Credentials(name)
	}
	r.Domain = cmp.Or(cfg.Register.Domain, r.Registrar)
	known := false
	m.ua.Register(m.stopped, r, func(registered bool, until time.Time, err error) {
		m.trunks.Registered(name, registered)
		switch {
		case err != nil:
			m.log.Warn("trunk not registered", "trunk", name, "registered", registered, "error", err)
		case registered && !known:
			m.log.Info("registered", "trunk", name, "until", until)
		}
		known = registered
	})
}

// Addrs returns where SIP is listened on.
func (m *Manager) Addrs() []sip.Listen { return m.ua.Addrs() }

// rules are a policy and what it has played. A call keeps those that it began with.
type rules struct {
	*policy.Policy
	prompts Prompts
}

// SetRules has new calls begin with a policy and its prompts. Those that are up keep theirs.
func (m *Manager) SetRules(p *policy.Policy, prompts Prompts) { m.rules.Store(&rules{p, prompts}) }

// Policy returns the policy that new calls begin with.
func (m *Manager) Policy() *policy.Policy { return m.rules.Load().Policy }

// Trunk names the trunk of a source: sip.Handler.
func (m *Manager) Trunk(source netip.AddrPort, transport string) (string, bool) {
	return m.trunks.Trunk(source, transport)
}

// ping asks a peer whether it is there: any answer says so but that it takes no calls.
func (m *Manager) ping(ctx context.Context, name string, peer sip.Peer) error {
	code, err := m.ua.Options(ctx, peer, sip.Credentials{})
	if err == nil && (code == 503 || code == 408) {
		err = fmt.Errorf("answered %d", code)
	}
	return err
}

// Settings are what a trunk has of its own: sip.Handler.
func (m *Manager) Settings(name string) sip.Settings {
	cfg := m.cfg.Trunks[name]
	return sip.Settings{Advertise: cfg.Advertise, TLS: cfg.TLS, Hosts: cfg.Hosts()}
}

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

// Invite starts a call, unless its trunk sends more than it may: sip.Handler. Emergency
// calls are always taken.
func (m *Manager) Invite(leg *sip.Leg) {
	c := newCall(m, leg)
	c.decide()
	if err := m.trunks.Admit(leg.Trunk(), leg.Peer().Addr.Addr(), c.decision.Unlimited); err != nil {
		leg.Hangup(503, "Too Many Calls")
		return
	}
	m.mu.Lock()
	if m.draining && !(c.decision.Unlimited && len(m.active) > 0) { // an emergency call is taken as long as there is anybody to take it
		m.mu.Unlock()
		leg.Hangup(503, "Service Unavailable", sip.Header{Name: "Retry-After", Value: "10"}) // elsewhere a 503 has none: 112 is still taken
		return
	}
	m.active[c.id] = c
	m.owners[leg] = c
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
	c := &Call{manager: m, rules: m.rules.Load(), id: store.NewID(), began: time.Now().UTC(), log: m.log, letters: newLetters()}
	to, _ := m.trunks.Route(leg.Trunk())
	c.parties = [2]*party{newParty(leg.Trunk(), leg.From()), newParty(to, sip.Party{User: leg.Called()})}
	caller := c.parties[rtp.Caller]
	caller.leg, caller.vouched, caller.privacy = leg, m.vouches(leg), privacyOf(leg.Passed())
	c.owned = append(c.owned, leg)
	return c
}

// own notes whose leg it is, for the calls that ask for its party.
func (m *Manager) own(leg *sip.Leg, c *Call) {
	c.owned = append(c.owned, leg)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owners[leg] = c
}

// owner returns the call of a leg, nil for none.
func (m *Manager) owner(leg *sip.Leg) *Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owners[leg]
}

func (m *Manager) forget(c *Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.active, c.id)
	for _, leg := range c.owned {
		if m.owners[leg] == c { // else it went over to another call
			delete(m.owners, leg)
		}
	}
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
