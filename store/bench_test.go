package store

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

// A call's first and second write, of as many calls at once as GOMAXPROCS times the
// parallelism: what they share is the commit.
func BenchmarkBeginUpdate(b *testing.B) {
	for _, calls := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("calls=%d", calls), func(b *testing.B) {
			s := open(b, b.TempDir())
			b.SetParallelism(calls)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					row := calling()
					if err := s.Begin(row); err != nil {
						b.Error(err)
						return
					}
					if _, err := s.Update(row.ID, func(r *Row) error { granted(r); return nil }); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

var benchRows = flag.Int("rows", 100_000, "how many rows the benchmarks of pages look among")

// populate puts n rows into the store, as the calls of ninety days: one in two recorded, one
// in a thousand for a purpose of its own, one in a thousand failed, each with numbers of its own.
func populate(b *testing.B, s *Store, n int) {
	b.Helper()
	s.db.(*bolt.DB).NoSync(true)
	defer func() { s.db.(*bolt.DB).NoSync(false) }()
	for done := 0; done < n; {
		err := s.db.Update(func(tx table.Tx) error {
			for range min(10_000, n-done) {
				row := calling()
				row.Began = noon.Add(time.Duration(float64(90*day) * float64(done) / float64(n)))
				row.Caller, row.Callee = fmt.Sprintf("+316%08d", done), fmt.Sprintf("+3120%07d", done%1000)
				row.Ended, row.Expires = row.Began.Add(time.Minute), row.Began.AddDate(0, 0, 90)
				granted(&row)
				row.State = []State{StateKept, StateNotRecorded}[done%2]
				if done%1000 == 7 {
					row.State, row.Purpose = StateFailed, "rare"
				}
				if err := errors.Join(s.seal(tx, &row), put(tx, nil, &row)); err != nil {
					return err
				}
				done++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// slowest reports the time that one in a hundred took longer than.
func slowest(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// A page of a hundred rows: the newest, ones in the middle, those of a purpose and a state that
// few have, and those of a number; with the master identity, which shows numbers, and without.
func BenchmarkList(b *testing.B) {
	identity := filepath.Join(b.TempDir(), "master.key")
	recipient, err := seal.Generate(identity)
	if err != nil {
		b.Fatal(err)
	}
	c := Config{Directory: b.TempDir(), Keys: seal.Config{Identity: identity}}
	for _, sealed := range []bool{false, true} {
		if sealed {
			c.Keys = seal.Config{Recipients: []string{recipient}, Sealed: true}
		}
		s, err := Open(c, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		if !sealed {
			populate(b, s, *benchRows)
		}
		for name, q := range map[string]Query{
			"newest":  {},
			"middle":  {To: noon.Add(45 * day)},
			"purpose": {Purpose: "rare"},
			"state":   {State: StateFailed},
			"number":  {Number: fmt.Sprintf("+316%08d", *benchRows/2)},
			"switch":  {Number: "+31200000500"},
		} {
			b.Run(fmt.Sprintf("%s/sealed=%v", name, sealed), func(b *testing.B) {
				b.ReportAllocs()
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					rows, _, err := s.List(b.Context(), q)
					if err != nil || len(rows) == 0 {
						b.Fatalf("got %d rows, %v", len(rows), err)
					}
					took = append(took, time.Since(began))
				}
				slowest(b, took)
			})
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// A call's last write, of 128 calls at once: numbers sealed, indexes followed, on the disk.
func BenchmarkClose(b *testing.B) {
	s := open(b, b.TempDir())
	var mu sync.Mutex
	var ids []string
	for range b.N {
		ids = append(ids, NewID())
	}
	err := s.db.Update(func(tx table.Tx) error {
		for _, id := range ids {
			row := calling()
			row.ID, row.State, row.Expires = id, StateCalling, row.Began.AddDate(0, 0, 90)
			if err := errors.Join(s.seal(tx, &row), put(tx, nil, &row)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	b.SetParallelism(128)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			id := ids[len(ids)-1]
			ids = ids[:len(ids)-1]
			mu.Unlock()
			began := time.Now()
			_, err := s.Update(id, func(r *Row) error {
				r.State, r.Reason, r.Ended, r.Outcome = StateNotRecorded, "no_rule", began, "answered"
				r.Personal = calling().Personal
				return nil
			})
			if err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			took = append(took, time.Since(began))
			mu.Unlock()
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "closes/s")
	slowest(b, took)
}

// A sweep of 1,000 due rows, each with a file, among 100,000 that are kept.
func BenchmarkSweep(b *testing.B) {
	s := open(b, b.TempDir())
	later := time.Now().Add(365 * day)
	for range 99 {
		recordings(b, s, 1000, later)
	}
	w := NewSweeper(s, SweepConfig{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		recordings(b, s, 1000, time.Now())
		b.StartTimer()
		if result, err := w.Sweep(b.Context()); err != nil || result.Destroyed != 1000 {
			b.Fatalf("got %+v, %v, want 1000 destroyed", result, err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// recordings puts n kept rows with a file each into the store, in one commit.
func recordings(b *testing.B, s *Store, n int, expires time.Time) {
	b.Helper()
	directory := s.RecordingDirectory(time.Now())
	if err := s.disk.MkdirAll(directory, 0o700); err != nil {
		b.Fatal(err)
	}
	err := s.db.Update(func(tx table.Tx) error {
		for range n {
			row := calling()
			granted(&row)
			row.State, row.Expires = StateKept, expires
			row.Files = []File{{Path: directory + "/" + row.ID + ".opus", Format: "opus", Bytes: 4096}}
			if err := os.WriteFile(filepath.Join(s.Directory(), row.Files[0].Path), make([]byte, 4096), 0o600); err != nil {
				return err
			}
			if err := errors.Join(s.seal(tx, &row), put(tx, nil, &row)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
