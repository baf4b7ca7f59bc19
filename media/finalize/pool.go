package finalize

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultTries   = 3
	defaultBackoff = time.Minute
	maxDoublings   = 10 // of the backoff
)

// Config is how a Pool works. Its functions are called from the workers.
type Config struct {
	// Workers is how many recordings are made at once, 1 if zero.
	Workers int
	// Tries is how often a spool is tried before it is set aside, 3 if zero.
	Tries int
	// Backoff is the time between a spool's first try and its second, a minute if
	// zero; it doubles with every further one.
	Backoff time.Duration
	// Job says what to make of a spool. With its error the spool is set aside at once.
	Job func(spool string) (Job, error)
	// Retry, if set, is told the error of every try that is to be repeated.
	Retry func(spool string, err error)
	// Done is told what came of every spool: a result, or the error for which it is
	// set aside. The spool is still there.
	Done func(spool string, result Result, err error)
}

// Validate returns every fault of the configuration.
func (c Config) Validate() []error {
	var faults []error
	if c.Job == nil || c.Done == nil {
		faults = append(faults, errors.New("it needs Job and Done"))
	}
	if c.Workers < 0 || c.Tries < 0 || c.Backoff < 0 {
		faults = append(faults, errors.New("workers, tries and backoff are not less than 0"))
	}
	return faults
}

// Pool finalizes spools, those of the calls that ended first before the others.
//
//	Submit ─▶ waiting ─▶ running ─┬─▶ Done
//	             ▲                ├─▶ Done with an error: set aside
//	             └─── backoff ◀───┘
//
// A spool that cannot be finalized gives way to the others until its next try. The
// directory of spools is the queue that lasts; the pool's own is gone with it.
//
// Its workers are threads of low priority: they take what calls leave over.
type Pool struct {
	// Immutable after NewPool.
	config  Config
	metrics *poolMetrics
	workers sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // waiting or closed
	waiting queue
	all     map[*pending]struct{} // waiting, running, and between two tries
	closed  bool
}

// NewPool starts a pool, whose metrics it registers with reg unless that is nil.
// When ctx ends, jobs that run end with its error and the rest of the queue is
// left alone.
func NewPool(ctx context.Context, config Config, reg prometheus.Registerer) (*Pool, error) {
	if faults := config.Validate(); faults != nil {
		return nil, fmt.Errorf("configure finalize pool: %w", errors.Join(faults...))
	}
	if config.Workers == 0 {
		config.Workers = 1
	}
	if config.Tries == 0 {
		config.Tries = defaultTries
	}
	if config.Backoff == 0 {
		config.Backoff = defaultBackoff
	}
	if config.Retry == nil {
		config.Retry = func(string, error) {}
	}
	p := &Pool{config: config, all: map[*pending]struct{}{}}
	p.metrics = newPoolMetrics(p)
	p.changed = sync.NewCond(&p.mu)
	if reg != nil {
		if err := p.metrics.register(reg); err != nil {
			return nil, fmt.Errorf("register finalize metrics: %w", err)
		}
	}
	for range config.Workers {
		p.workers.Go(func() { p.work(ctx) }) // ends at Close, when the queue is empty or ctx has ended
	}
	return p, nil
}

// Submit queues the spool of a call that ended then; it never waits. After Close it
// has no effect.
func (p *Pool) Submit(spool string, ended time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	new := &pending{spool: spool, since: ended}
	p.all[new] = struct{}{}
	p.waiting.add(new)
	p.changed.Signal()
}

// Close waits until all that waits for a worker is done, or, once the pool's context
// has ended, what was running. Spools between two tries are left for the next start.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for item := range p.all {
		if item.timer != nil {
			item.timer.Stop()
			delete(p.all, item)
		}
	}
	p.changed.Broadcast()
	p.mu.Unlock()
	p.workers.Wait()
}

// work makes recordings until the pool is closed.
func (p *Pool) work(ctx context.Context) {
	// The thread's priority is not to be had back, so it ends with this goroutine:
	// the runtime throws away a thread that is still locked then.
	runtime.LockOSThread()
	if err := lowerPriority(); err != nil {
		p.metrics.unlowered.Inc()
	}
	for {
		item, ok := p.next()
		if !ok {
			return
		}
		if ctx.Err() != nil {
			p.forget(item)
			continue
		}
		p.finalize(ctx, item)
	}
}

// next waits for a spool; it returns false when the pool is closed and none is left.
func (p *Pool) next() (*pending, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) == 0 && !p.closed {
		p.changed.Wait()
	}
	if len(p.waiting) == 0 {
		return nil, false
	}
	item := p.waiting.first()
	item.running = true
	return item, true
}

func (p *Pool) finalize(ctx context.Context, item *pending) {
	start := time.Now()
	job, result, err := p.try(ctx, item)
	p.metrics.seconds.Add(time.Since(start).Seconds())
	switch {
	case err == nil:
		p.metrics.jobs.WithLabelValues("ok").Inc()
		p.metrics.audio.Add(result.Ended.Sub(result.Began).Seconds())
	case ctx.Err() != nil: // not the spool's fault: the next start has it again
		p.forget(item)
		return
	case !errors.Is(err, errNoJob) && p.failed(item, job.Try) < p.config.Tries:
		p.config.Retry(item.spool, err)
		p.again(item)
		return
	default:
		p.metrics.jobs.WithLabelValues("set_aside").Inc()
	}
	p.config.Done(item.spool, result, err)
	p.forget(item)
}

// failed notes that a try failed, the so-manieth if that is known, and returns how
// many have.
func (p *Pool) failed(item *pending, try int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	item.tries = max(item.tries+1, try)
	return item.tries
}

// again lets a spool wait for its next try.
func (p *Pool) again(item *pending) {
	p.metrics.retries.Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	item.running = false
	if p.closed {
		delete(p.all, item)
		return
	}
	item.timer = time.AfterFunc(p.config.Backoff<<min(item.tries-1, maxDoublings), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.closed {
			return
		}
		item.timer = nil
		p.waiting.add(item)
		p.changed.Signal()
	})
}

// forget takes a spool off the list.
func (p *Pool) forget(item *pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, item)
}

// errNoJob is wrapped by the error of Config.Job.
var errNoJob = errors.New("no job")

// try runs one job. A panic is its error: one spool that we cannot read must not
// keep the others from being read.
func (p *Pool) try(ctx context.Context, item *pending) (job Job, result Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			result, err = Result{}, fmt.Errorf("finalize %s: panic: %v\n%s", item.spool, v, debug.Stack())
		}
	}()
	if job, err = p.config.Job(item.spool); err != nil {
		return job, Result{}, fmt.Errorf("finalize %s: %w: %w", item.spool, errNoJob, err)
	}
	if job.Try > p.config.Tries {
		return job, Result{}, fmt.Errorf("finalize %s: %w: %d tries were begun and none came to an end", item.spool, errNoJob, job.Try-1)
	}
	job.progress = &item.progress
	result, err = Run(ctx, job)
	return job, result, err
}
