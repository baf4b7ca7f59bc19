package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
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

// A page of a hundred rows among 100,000: the newest ones, ones in the middle, and
// the ones of a number that has one.
func BenchmarkList(b *testing.B) {
	s := open(b, b.TempDir())
	fill(b, s, 100_000)
	for name, q := range map[string]Query{
		"newest": {},
		"middle": {To: noon.Add(50_000 * time.Minute)},
		"number": {Number: "+31100050000"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rows, _, err := s.List(b.Context(), q)
				if err != nil || len(rows) == 0 {
					b.Fatalf("got %d rows, %v", len(rows), err)
				}
			}
		})
	}
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
	directory, err := s.RecordingDirectory(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
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
