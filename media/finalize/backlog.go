package finalize

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/media/spool"
)

// progress is how far a spool has been read. The zero value is ready.
type progress struct{ read, bytes atomic.Int64 }

// note takes how far a spool has been read.
func (p *progress) note(in *spool.Reader) {
	if p == nil {
		return
	}
	read, bytes := in.Progress()
	p.read.Store(read)
	p.bytes.Store(bytes)
}

// Backlog is what a pool has still to do.
type Backlog struct {
	Pending  int       // spools that wait, are being finalized or are to be tried again
	Retrying int       // those of them that have failed before
	Oldest   time.Time // when the first of their calls ended; zero if there is none
	Running  []Running // the oldest first
}

// Running is a spool that is being finalized.
type Running struct {
	Spool    string
	Ended    time.Time // its call
	Try      int       // 1 is the first
	Progress float64   // 0–1
}

// Backlog returns what the pool has still to do.
func (p *Pool) Backlog() Backlog {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := Backlog{Pending: len(p.all)}
	for item := range p.all {
		if b.Oldest.IsZero() || item.since.Before(b.Oldest) {
			b.Oldest = item.since
		}
		if item.tries > 0 {
			b.Retrying++
		}
		if !item.running {
			continue
		}
		running := Running{Spool: item.spool, Ended: item.since, Try: item.tries + 1}
		if bytes := item.progress.bytes.Load(); bytes > 0 {
			running.Progress = min(float64(item.progress.read.Load())/float64(bytes), 1)
		}
		b.Running = append(b.Running, running)
	}
	slices.SortFunc(b.Running, func(a, b Running) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.Spool, b.Spool))
	})
	return b
}

type poolMetrics struct {
	pending   prometheus.GaugeFunc
	oldest    prometheus.GaugeFunc
	progress  prometheus.GaugeFunc
	jobs      *prometheus.CounterVec
	retries   prometheus.Counter
	seconds   prometheus.Counter
	audio     prometheus.Counter
	unlowered prometheus.Counter
}

func newPoolMetrics(p *Pool) *poolMetrics {
	gauge := func(name, help string, value func(Backlog) float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(p.Backlog()) })
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &poolMetrics{
		pending: gauge("bewaard_spool_pending", "Spools that wait to be finalized, are being so or are to be tried again.",
			func(b Backlog) float64 { return float64(b.Pending) }),
		oldest: gauge("bewaard_spool_oldest_pending_seconds", "Time since the end of the first call whose spool is pending; 0 if none is.",
			func(b Backlog) float64 {
				if b.Oldest.IsZero() {
					return 0
				}
				return time.Since(b.Oldest).Seconds()
			}),
		progress: gauge("bewaard_finalize_progress_ratio", "How much of the spools that are being finalized has been read, on average; 0 if none is.",
			func(b Backlog) float64 {
				sum := 0.0
				for _, running := range b.Running {
					sum += running.Progress
				}
				return sum / float64(max(len(b.Running), 1))
			}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_finalize_recordings_total",
			Help: "Spools done with, by result: ok, or set_aside after every try failed.",
		}, []string{"result"}),
		retries:   counter("bewaard_finalize_retries_total", "Tries that failed and are to be repeated."),
		seconds:   counter("bewaard_finalize_seconds_total", "Time spent finalizing."),
		audio:     counter("bewaard_finalize_recorded_seconds_total", "Time that finalized recordings cover."),
		unlowered: counter("bewaard_finalize_priority_errors_total", "Workers that could not give themselves a low priority."),
	}
}

func (m *poolMetrics) register(reg prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{m.pending, m.oldest, m.progress, m.jobs, m.retries, m.seconds, m.audio, m.unlowered} {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}
