package trunk

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Why a call is refused.
var (
	ErrFull          = errors.New("trunk has as many calls as it may")
	ErrTooFast       = errors.New("trunk sends more calls than it may")
	ErrSourceTooFast = errors.New("address sends more calls than it may")
)

// reasons are the errors' names in metrics.
var reasons = map[error]string{ErrFull: "full", ErrTooFast: "rate", ErrSourceTooFast: "source_rate"}

// limits count calls. Emergency calls are never refused: they have places like others, so that
// what is left is known, but take nothing of the rates.
type limits struct {
	trunks  map[string]Config
	metrics *metrics

	mu      sync.Mutex
	calls   map[string]int
	rates   map[string]*bucket
	sources map[source]*bucket
}

type source struct {
	trunk string
	addr  netip.Addr
}

func newLimits(trunks map[string]Config, m *metrics) *limits {
	return &limits{trunks: trunks, metrics: m, calls: map[string]int{}, rates: map[string]*bucket{}, sources: map[source]*bucket{}}
}

// Admit takes a new call from a trunk's address into account, and says why it is one too
// many.
func (d *Directory) Admit(trunk string, from netip.Addr, emergency bool) error {
	if emergency {
		return nil
	}
	l := d.limits
	c := l.trunks[trunk]
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	var refused error
	if c.CallsPerSecond > 0 {
		b := l.rates[trunk]
		if b == nil {
			b = newBucket(c.CallsPerSecond, now)
			l.rates[trunk] = b
		}
		if !b.take(now) {
			refused = ErrTooFast
		}
	}
	if c.SourceCallsPerSecond > 0 && !l.source(source{trunk, from}, c.SourceCallsPerSecond, now) {
		refused = ErrSourceTooFast
	}
	if refused == nil {
		return nil
	}
	l.metrics.refused.WithLabelValues(trunk, reasons[refused]).Inc()
	return refused
}

// maxSources is how many addresses are remembered at once. A trunk has few, unless its
// name stands for many.
const maxSources = 1024

func (l *limits) source(s source, perSecond float64, now time.Time) bool {
	b := l.sources[s]
	if b == nil {
		if len(l.sources) >= maxSources {
			for other, b := range l.sources {
				if b.full(now) {
					delete(l.sources, other)
				}
			}
		}
		b = newBucket(perSecond, now)
		if len(l.sources) < maxSources {
			l.sources[s] = b
		}
	}
	return b.take(now)
}

// Place is a call's place on a trunk.
type Place struct {
	limits *limits
	trunk  string
	once   sync.Once
}

// Take takes a place on a trunk, for a call to it or from it.
func (d *Directory) Take(trunk string, emergency bool) (*Place, error) {
	l := d.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if most := l.trunks[trunk].MaxCalls; most > 0 && l.calls[trunk] >= most && !emergency {
		l.metrics.refused.WithLabelValues(trunk, reasons[ErrFull]).Inc()
		return nil, ErrFull
	}
	l.calls[trunk]++
	l.metrics.calls.WithLabelValues(trunk).Set(float64(l.calls[trunk]))
	return &Place{limits: l, trunk: trunk}, nil
}

// Release gives the place back. A second call does nothing, nor one of no place.
func (p *Place) Release() {
	if p == nil {
		return
	}
	p.once.Do(func() {
		l := p.limits
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls[p.trunk]--
		l.metrics.calls.WithLabelValues(p.trunk).Set(float64(l.calls[p.trunk]))
	})
}

// bucket lets through so many a second on average, and at once as many as in one second,
// but one at least.
type bucket struct {
	perSecond, most, tokens float64
	at                      time.Time
}

func newBucket(perSecond float64, now time.Time) *bucket {
	most := max(perSecond, 1)
	return &bucket{perSecond, most, most, now}
}

func (b *bucket) fill(now time.Time) {
	b.tokens = min(b.most, b.tokens+now.Sub(b.at).Seconds()*b.perSecond)
	b.at = now
}

func (b *bucket) take(now time.Time) bool {
	b.fill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *bucket) full(now time.Time) bool {
	b.fill(now)
	return b.tokens >= b.most
}
