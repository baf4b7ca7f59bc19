package finalize

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		Tries:   1,
		Job: func(spool string) (Job, error) {
			if strings.Contains(spool, "panic") {
				panic("no such row")
			}
			return Job{Spool: spool, Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}}, nil
		},
	}, reg)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"none", "panic"}
	p.Submit("none", began)
	p.Submit("panic", began)
	for n := range 10 {
		c := &capture{id: fmt.Sprintf("call-%d", n), length: time.Second}
		c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
		path := c.write(t, dir)
		want = append(want, path)
		p.Submit(path, began)
	}
	p.Close()
	p.Submit("after Close", began)

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
		"bewaard_spool_pending":                  0,
		"bewaard_finalize_progress_ratio":        0,
		"bewaard_finalize_recordings_total":      12,
		"bewaard_finalize_retries_total":         0,
		"bewaard_finalize_priority_errors_total": 0,
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
		if strings.HasSuffix(strings.TrimSuffix(f.GetName(), "_total"), "_seconds") {
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
		jobs := 0
		p, err := NewPool(ctx, Config{
			Done: o.done,
			Job: func(spool string) (Job, error) {
				jobs++
				cancel()
				return Job{Spool: spool, Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}}, nil
			},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &capture{length: time.Second}
		path := c.write(t, dir)
		for range 3 {
			p.Submit(path, began)
		}
		synctest.Wait()
		p.Close()
		if jobs != 1 || len(o.errs) != 0 {
			t.Errorf("got %d jobs and outcomes %v, want one job without outcome", jobs, o.errs)
		}
		if got := filesUnder(t, out); got != nil {
			t.Errorf("got files %q, want none", got)
		}
	})
}

// A pool that could do nothing is refused.
func TestPoolConfig(t *testing.T) {
	job, done := func(string) (Job, error) { return Job{}, nil }, func(string, Result, error) {}
	for _, c := range []Config{{Job: job}, {Done: done}, {Job: job, Done: done, Workers: -1}, {Job: job, Done: done, Tries: -1}, {Job: job, Done: done, Backoff: -1}} {
		_, err := NewPool(t.Context(), c, nil)
		wantErr(t, err, errAny)
	}
}

// journal notes, with their times since the beginning, what a pool asks and tells.
type journal struct {
	began time.Time
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(what, spool string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf("%v %s %s", time.Since(j.began), what, spool))
}

// A spool that cannot be finalized is tried again after a minute and after two, is
// then set aside, and keeps none of the others waiting; what was not the spool's fault
// is over with the next try.
func TestPoolTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, out := t.TempDir(), directory(t)
		j := &journal{began: time.Now()}
		reg := prometheus.NewPedanticRegistry()
		good := (&capture{length: time.Second}).write(t, dir)
		later := filepath.Join(dir, "later.spool")
		p, err := NewPool(t.Context(), Config{
			Job: func(spool string) (Job, error) {
				j.note("job", filepath.Base(spool))
				if strings.Contains(spool, "nobody") {
					return Job{}, errors.New("no row")
				}
				return Job{Spool: spool, Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}}, nil
			},
			Retry: func(spool string, _ error) { j.note("retry", filepath.Base(spool)) },
			Done: func(spool string, _ Result, err error) {
				j.note(map[bool]string{false: "kept", true: "set aside"}[err != nil], filepath.Base(spool))
			},
		}, reg)
		if err != nil {
			t.Fatal(err)
		}
		for i, spool := range []string{"poison", later, "nobody"} {
			p.Submit(spool, began.Add(time.Duration(i)))
			time.Sleep(time.Second)
		}
		if err := os.Link(good, later); err != nil {
			t.Fatal(err)
		}
		if b := p.Backlog(); b.Pending != 2 || b.Retrying != 2 || !b.Oldest.Equal(began) || b.Running != nil {
			t.Errorf("got backlog %+v, want two that are to be tried again", b)
		}
		time.Sleep(87 * time.Second)
		p.Submit(good, began)
		time.Sleep(time.Hour)
		if b := p.Backlog(); b.Pending != 0 {
			t.Errorf("got backlog %+v, want none", b)
		}
		p.Close()
		want := []string{
			"0s job poison", "0s retry poison",
			"1s job later.spool", "1s retry later.spool",
			"2s job nobody", "2s set aside nobody",
			"1m0s job poison", "1m0s retry poison",
			"1m1s job later.spool", "1m1s kept later.spool",
			"1m30s job call.spool", "1m30s kept call.spool",
			"3m0s job poison", "3m0s set aside poison",
		}
		if diff := cmp.Diff(want, j.lines); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
		got := gathered(t, reg)
		if got["bewaard_finalize_retries_total"] != 3 || got["bewaard_finalize_recordings_total"] != 4 {
			t.Errorf("got metrics %v, want 3 retries and 4 spools done with", got)
		}
	})
}

// The spool whose call ended first is finalized first, whenever it was submitted; what
// is to be tried again when the pool closes is left for the next start.
func TestPoolOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{began: time.Now()}
		busy := make(chan struct{})
		p, err := NewPool(t.Context(), Config{
			Job: func(spool string) (Job, error) {
				j.note("job", spool)
				<-busy
				if spool == "first" {
					return Job{}, nil // which fails
				}
				return Job{}, errors.New("seen")
			},
			Done: func(string, Result, error) {},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Submit("first", began.Add(9*time.Hour))
		synctest.Wait()
		for _, hour := range []int{5, 3, 8, 1, 4} {
			p.Submit(fmt.Sprintf("of %d h", hour), began.Add(time.Duration(hour)*time.Hour))
		}
		if b := p.Backlog(); b.Pending != 6 || !b.Oldest.Equal(began.Add(time.Hour)) || len(b.Running) != 1 || b.Running[0].Try != 1 {
			t.Errorf("got backlog %+v, want six, the oldest an hour old, one of them running", b)
		}
		close(busy)
		synctest.Wait()
		p.Close()
		want := []string{"0s job first", "0s job of 1 h", "0s job of 3 h", "0s job of 4 h", "0s job of 5 h", "0s job of 8 h"}
		if diff := cmp.Diff(want, j.lines); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
		if b := p.Backlog(); b.Pending != 0 {
			t.Errorf("got backlog %+v after Close, want none", b)
		}
	})
}

// A spool whose tries were begun and never came to an end, as when it takes the
// process with it, is set aside by the next start.
func TestPoolCountsTriesBegun(t *testing.T) {
	var o outcomes
	p, err := NewPool(t.Context(), Config{
		Done: o.done,
		Job:  func(string) (Job, error) { return Job{Spool: "none", Keys: plainly{}, Try: 4}, nil },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Submit("deadly", began)
	p.Close()
	if len(o.errs) != 1 || errors.Is(o.errs[0], os.ErrNotExist) {
		t.Errorf("got %v, want one error, and that the spool was not opened", o.errs)
	}
}

// Progress goes from nothing to all of a spool.
func TestProgress(t *testing.T) {
	c := &capture{length: 20 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	path := c.write(t, t.TempDir())
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var p progress
	if _, err := Run(t.Context(), Job{Spool: path, Keys: plainly{}, Create: into(t, directory(t)), Formats: []string{WAV}, progress: &p}); err != nil {
		t.Fatal(err)
	}
	if read, bytes := p.read.Load(), p.bytes.Load(); read != info.Size() || bytes != info.Size() {
		t.Errorf("got %d of %d bytes read, want %d", read, bytes, info.Size())
	}
}
