package finalize

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is how a Pool works. Job and Done are called from its workers.
type Config struct {
	// Workers is how many recordings are made at once, 1 if zero. A worker takes
	// a whole core from what relays calls.
	Workers int
	// Job says what to make of a spool.
	Job func(spool string) Job
	// Done is told what came of every spool.
	Done func(spool string, result Result, err error)
}

// Pool finalizes spools one after the other, in the order in which they were
// submitted. The directory of spools is the queue that lasts; the pool's own is
// gone with it.
type Pool struct {
	// Immutable after NewPool.
	config  Config
	metrics poolMetrics
	workers sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // queue or closed
	queue   []string
	closed  bool
}

type poolMetrics struct {
	pending prometheus.Gauge
	jobs    *prometheus.CounterVec
	seconds prometheus.Counter
}

// NewPool starts a pool, whose metrics it registers with reg unless that is nil.
// When ctx ends, jobs that run end with its error and the rest of the queue is
// left alone.
func NewPool(ctx context.Context, config Config, reg prometheus.Registerer) (*Pool, error) {
	if config.Job == nil || config.Done == nil || config.Workers < 0 {
		return nil, errors.New("configure finalize pool: it needs Job, Done and no less than 0 workers")
	}
	if config.Workers == 0 {
		config.Workers = 1
	}
	p := &Pool{config: config, metrics: newPoolMetrics()}
	p.changed = sync.NewCond(&p.mu)
	if reg != nil {
		if err := errors.Join(reg.Register(p.metrics.pending), reg.Register(p.metrics.jobs), reg.Register(p.metrics.seconds)); err != nil {
			return nil, fmt.Errorf("register finalize metrics: %w", err)
		}
	}
	for range config.Workers {
		p.workers.Go(func() { p.work(ctx) }) // ends at Close, when the queue is empty or ctx has ended
	}
	return p, nil
}

func newPoolMetrics() poolMetrics {
	return poolMetrics{
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bewaard_spool_pending",
			Help: "Spools that wait to be finalized or are being so.",
		}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_finalize_recordings_total",
			Help: "Spools finalized, by result.",
		}, []string{"result"}),
		seconds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bewaard_finalize_seconds_total",
			Help: "Time spent finalizing.",
		}),
	}
}

// Submit queues a spool; it never waits. After Close it has no effect.
func (p *Pool) Submit(spool string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.queue = append(p.queue, spool)
	p.metrics.pending.Inc()
	p.changed.Signal()
}

// Close waits until all that was submitted is done, or, once the pool's context
// has ended, what was running.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	p.workers.Wait()
}

// work makes recordings until the pool is closed.
func (p *Pool) work(ctx context.Context) {
	for {
		spool, ok := p.next()
		if !ok {
			return
		}
		if ctx.Err() == nil {
			p.finalize(ctx, spool)
		}
		p.metrics.pending.Dec()
	}
}

// next waits for a spool; it returns false when the pool is closed and none is left.
func (p *Pool) next() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.closed {
		p.changed.Wait()
	}
	if len(p.queue) == 0 {
		return "", false
	}
	spool := p.queue[0]
	p.queue = p.queue[1:]
	return spool, true
}

func (p *Pool) finalize(ctx context.Context, spool string) {
	start := time.Now()
	result, err := p.run(ctx, spool)
	p.metrics.seconds.Add(time.Since(start).Seconds())
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	p.metrics.jobs.WithLabelValues(outcome).Inc()
	p.config.Done(spool, result, err)
}

// run runs one job. A panic is its error: one spool that we cannot read must not
// keep the others from being read.
func (p *Pool) run(ctx context.Context, spool string) (result Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			result, err = Result{}, fmt.Errorf("finalize %s: panic: %v\n%s", spool, v, debug.Stack())
		}
	}()
	return Run(ctx, p.config.Job(spool))
}
