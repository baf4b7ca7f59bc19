package finalize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/media/rtp"
)

// outcomes are what a pool told of its spools.
type outcomes struct {
	mu     sync.Mutex
	spools []string
	errs   []error
}

func (o *outcomes) done(spool string, _ Result, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spools = append(o.spools, spool)
	o.errs = append(o.errs, err)
}

// A pool makes every recording submitted before Close, with as many workers as
// it has, and one that cannot be made costs the others nothing.
func TestPool(t *testing.T) {
	dir, out := t.TempDir(), directory(t)
	var o outcomes
	reg := prometheus.NewPedanticRegistry()
	p, err := NewPool(t.Context(), Config{
		Workers: 3,
		Done:    o.done,
		Job: func(spool string) Job {
			if strings.Contains(spool, "panic") {
				panic("no such row")
			}
			return Job{Spool: spool, Out: out, Formats: []string{WAV}}
		},
	}, reg)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"none", "panic"}
	p.Submit("none")
	p.Submit("panic")
	for n := range 10 {
		c := &capture{id: fmt.Sprintf("call-%d", n), length: time.Second}
		c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
		path := c.write(t, dir)
		want = append(want, path)
		p.Submit(path)
	}
	p.Close()
	p.Submit("after Close")

	for i, spool := range o.spools {
		if bad := spool == "none" || spool == "panic"; bad != (o.errs[i] != nil) {
			t.Errorf("%s: got error %v", spool, o.errs[i])
		}
	}
	slices.Sort(o.spools)
	slices.Sort(want)
	if diff := cmp.Diff(want, o.spools); diff != "" {
		t.Errorf("spools done (-want +got):\n%s", diff)
	}
	if got := len(filesUnder(t, out)); got != 10 {
		t.Errorf("got %d files, want 10", got)
	}
	if diff := cmp.Diff(map[string]float64{
		"bewaard_spool_pending":             0,
		"bewaard_finalize_recordings_total": 12,
	}, gathered(t, reg)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

// gathered returns the sums of all metrics that are not times.
func gathered(t testing.TB, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]float64)
	for _, f := range families {
		if strings.HasSuffix(f.GetName(), "_seconds_total") {
			continue
		}
		for _, m := range f.GetMetric() {
			sums[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sums
}

// When the daemon stops, what runs ends with that, and what waits is left for
// the next start.
func TestPoolStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, out := t.TempDir(), directory(t)
		ctx, cancel := context.WithCancel(t.Context())
		var o outcomes
		p, err := NewPool(ctx, Config{
			Done: o.done,
			Job: func(spool string) Job {
				cancel()
				return Job{Spool: spool, Out: out, Formats: []string{WAV}}
			},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &capture{length: time.Second}
		path := c.write(t, dir)
		for range 3 {
			p.Submit(path)
		}
		synctest.Wait()
		p.Close()
		if len(o.errs) != 1 || !errors.Is(o.errs[0], context.Canceled) {
			t.Errorf("got outcomes %v, want one: %v", o.errs, context.Canceled)
		}
		if got := filesUnder(t, out); got != nil {
			t.Errorf("got files %q, want none", got)
		}
	})
}

// A pool that could do nothing is refused.
func TestPoolConfig(t *testing.T) {
	job, done := func(string) Job { return Job{} }, func(string, Result, error) {}
	for _, c := range []Config{{Job: job}, {Done: done}, {Job: job, Done: done, Workers: -1}} {
		_, err := NewPool(t.Context(), c, nil)
		wantErr(t, err, errAny)
	}
}
