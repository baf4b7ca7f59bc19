package store

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A scrape shows what is overdue and for how long, what the sweeps did, what the
// guard holds back, and what is kept.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		s, err := Open(Config{Directory: t.TempDir()}, registry, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		keep(t, s, time.Now().Add(time.Hour))
		overdue := unrecorded(t, s, time.Now().Add(2*time.Hour))
		w := NewSweeper(s, SweepConfig{})
		time.Sleep(time.Hour)
		sweep(t, w)
		time.Sleep(3 * time.Hour)
		w.believed.wall = w.believed.wall.Add(-2 * clockGain)
		if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Fatalf("got error %v, want %v", err, ErrClockGuard)
		}
		keep(t, s, time.Now().Add(time.Hour))
		reconcile(t, s)
		err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP bewaard_clock_guard_tripped 1 while nothing is destroyed until an operator confirms that the clock is right.
# TYPE bewaard_clock_guard_tripped gauge
bewaard_clock_guard_tripped 1
# HELP bewaard_retention_overdue Rows whose expiry has passed and that are not destroyed, and destroyed ones with numbers, or left, beyond their time.
# TYPE bewaard_retention_overdue gauge
bewaard_retention_overdue 1
# HELP bewaard_store_rows Rows by state.
# TYPE bewaard_store_rows gauge
bewaard_store_rows{state="calling"} 0
bewaard_store_rows{state="destroyed"} 1
bewaard_store_rows{state="expired"} 0
bewaard_store_rows{state="failed"} 0
bewaard_store_rows{state="finalizing"} 0
bewaard_store_rows{state="kept"} 1
bewaard_store_rows{state="not_recorded"} 1
bewaard_store_rows{state="recording"} 0
# HELP bewaard_swept_total Rows that a sweep took on: destroyed, destroyed with a file missing before, or error.
# TYPE bewaard_swept_total counter
bewaard_swept_total{purpose="quality",result="destroyed"} 1
`), "bewaard_clock_guard_tripped", "bewaard_retention_overdue", "bewaard_store_rows", "bewaard_swept_total")
		if err != nil {
			t.Error(err)
		}
		values, err := (&gauges{s}).read(overdue.Expires.Add(90 * time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if v.desc == oldestGauge && v.value != 5400 {
				t.Errorf("got %v s for the oldest overdue row, want 5400", v.value)
			}
		}
		if got, want := testutil.CollectAndCount(s.metrics.findings), 12; got != want {
			t.Errorf("got %d kinds of findings, want %d", got, want)
		}
	})
}

// A store that cannot be read fails the scrape instead of showing zeros.
func TestMetricsOfAClosedStore(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, err := Open(Config{Directory: t.TempDir()}, registry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := registry.Gather(); err == nil {
		t.Error("got no error")
	}
}
