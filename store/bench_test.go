package store

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
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

var benchStore = flag.String("store", "", "a directory to keep the store in that the benchmarks of pages and starts look at; what is there is used again")

// populated is a store with as many rows as the flag says, its master identity, and its
// recipient.
func populated(b *testing.B) (directory, identity, recipient string) {
	b.Helper()
	directory = *benchStore
	if directory == "" {
		directory = b.TempDir()
	}
	identity = filepath.Join(directory, "master.key")
	config := Config{Directory: filepath.Join(directory, "store"), Keys: seal.Config{Identity: identity}}
	if text, err := os.ReadFile(filepath.Join(directory, "recipient")); err == nil {
		return directory, identity, string(text)
	}
	recipient, err := seal.Generate(identity)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, "recipient"), []byte(recipient), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := Open(config, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	populate(b, s, *benchRows)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return directory, identity, recipient
}

// entry is a key of an index.
type entry struct {
	key  [seal.TokenBytes + instantBytes + 36]byte
	size uint8
}

// populate puts n rows into the store, as the calls of ninety days: one in two recorded, one
// in a thousand for a purpose of its own, one in a thousand failed, each with numbers, an agent
// and Call-IDs of its own. What is kept is in the journal. Keys are put in their order, a table
// after the other, for 10 million rows put as calls come would take an hour; the
// database is then as a compaction leaves it.
func populate(b *testing.B, s *Store, n int) {
	b.Helper()
	s.db.(*bolt.DB).NoSync(true)
	s.db.(*bolt.DB).Filled()
	keys := map[string][256][]entry{} // of indexes, by their first byte
	counts := map[State]int64{}
	for done := 0; done < n; {
		err := s.db.Update(func(tx table.Tx) error {
			for range min(20_000, n-done) {
				row := calling()
				row.Began = noon.Add(time.Duration(float64(90*day) * float64(done) / float64(n)))
				row.Caller, row.Callee = fmt.Sprintf("+316%08d", done), fmt.Sprintf("+3120%07d", done%1000)
				row.Agents, row.CallerCallID, row.CalleeCallID = []string{row.Callee}, fmt.Sprintf("a%d@carrier.example", done), fmt.Sprintf("b%d@10.0.0.7", done)
				row.Ended, row.Expires = row.Began.Add(time.Minute), row.Began.AddDate(0, 0, 90)
				granted(&row)
				row.Began, row.State = row.Began.UTC(), []State{StateKept, StateNotRecorded}[done%2]
				if done%1000 == 7 {
					row.State, row.Purpose = StateFailed, "rare"
				}
				done++
				counts[row.State]++
				if err := s.seal(tx, &row); err != nil {
					return err
				}
				value, err := encodeRow(&row)
				if err == nil {
					err = errors.Join(tx.Table(rowsTable).Put([]byte(row.ID), value), noteKept(tx, &Row{}, &row))
				}
				if err != nil {
					return err
				}
				for _, x := range indexes {
					some := keys[x.table]
					for _, key := range x.keys(&row) {
						e := entry{size: uint8(len(key))}
						copy(e.key[:], key)
						some[key[0]] = append(some[key[0]], e)
					}
					keys[x.table] = some
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, parts := range keys {
		for at := range parts {
			slices.SortFunc(parts[at], func(a, b entry) int { return bytes.Compare(a.key[:a.size], b.key[:b.size]) })
			for some := range slices.Chunk(parts[at], 50_000) {
				err := s.db.Update(func(tx table.Tx) error {
					for i := range some {
						if err := tx.Table(name).Put(some[i].key[:some[i].size], nil); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			parts[at] = nil
		}
	}
	err := s.db.Update(func(tx table.Tx) error {
		for state, n := range counts {
			if err := addCount(tx, state, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	s.db.(*bolt.DB).NoSync(false)
}

// slowest reports the time that one in a hundred took longer than.
func slowest(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// A page of a hundred rows: the newest, those before any instant, those of a purpose and a state
// that few have, of any agent, and the one of any Call-ID and any number; with the master
// identity, which shows numbers, and without.
func BenchmarkList(b *testing.B) {
	directory, identity, recipient := populated(b)
	c := Config{Directory: filepath.Join(directory, "store"), Keys: seal.Config{Identity: identity}}
	for _, sealed := range []bool{false, true} {
		if sealed {
			c.Keys = seal.Config{Recipients: []string{recipient}, Sealed: true}
		}
		s, err := Open(c, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for name, ask := range map[string]func() Query{
			"newest":  func() Query { return Query{} },
			"any day": func() Query { return Query{To: noon.Add(time.Duration(random.Int64N(int64(89*day))) + day)} },
			"purpose": func() Query { return Query{Purpose: "rare"} },
			"state":   func() Query { return Query{State: StateFailed} },
			"agent":   func() Query { return Query{Agent: fmt.Sprintf("+3120%07d", random.IntN(1000))} },
			"call":    func() Query { return Query{SIPCall: fmt.Sprintf("b%d@10.0.0.7", random.IntN(*benchRows))} },
			"number":  func() Query { return Query{Number: fmt.Sprintf("+316%08d", random.IntN(*benchRows))} },
		} {
			b.Run(fmt.Sprintf("%s/sealed=%v", name, sealed), func(b *testing.B) {
				b.ReportAllocs()
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					rows, _, err := s.List(b.Context(), ask())
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

// A database written anew: how long, and how long everybody waited.
func BenchmarkCompact(b *testing.B) {
	directory, identity, _ := populated(b)
	s, err := Open(Config{Directory: filepath.Join(directory, "store"), Keys: seal.Config{Identity: identity}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		c, err := s.Compact(Act{Actor: "bench", Reason: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(c.Blocked.Microseconds())/1000, "blocked-ms")
		b.ReportMetric(float64(c.After)/(1<<20), "MiB")
	}
}

// A start of a daemon: open, see to what a crash left, find what is unfinished and due.
func BenchmarkStart(b *testing.B) {
	directory, identity, _ := populated(b)
	c := Config{Directory: filepath.Join(directory, "store"), Keys: seal.Config{Identity: identity}}
	for b.Loop() {
		s, err := Open(c, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Recover(b.Context()); err != nil {
			b.Fatal(err)
		}
		if rows, err := s.Unfinished(); err != nil || len(rows) > 0 {
			b.Fatalf("got %d unfinished, %v", len(rows), err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// All rows listed a page after the other, and the database verified: how much memory the heap
// has at most meanwhile.
func BenchmarkWhole(b *testing.B) {
	directory, identity, _ := populated(b)
	c := Config{Directory: filepath.Join(directory, "store"), Keys: seal.Config{Identity: identity}}
	b.Run("list", func(b *testing.B) {
		s, err := Open(c, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		for b.Loop() {
			peak := heap(b, func(look func()) {
				q := Query{Limit: maxLimit}
				for rows, seen := 0, 0; ; {
					page, next, err := s.List(b.Context(), q)
					if err != nil {
						b.Fatal(err)
					}
					if rows += len(page); rows/100_000 > seen {
						seen++
						look()
					}
					if q.After = next; next == "" {
						break
					}
				}
			})
			b.ReportMetric(peak, "peak-MiB")
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			peak := heap(b, func(look func()) {
				found := 0
				_, err := Verify(b.Context(), VerifyConfig{Snapshot: filepath.Join(c.Directory, databaseFile), Progress: func(_ string, done int) {
					if done%100_000 == 0 {
						look()
					}
				}}, func(f Finding) {
					if found++; found < 5 {
						b.Log(f)
					}
				})
				if err != nil {
					b.Fatal(err)
				}
			})
			b.ReportMetric(peak, "peak-MiB")
		}
	})
}

// heap returns how many MiB the heap has at most, when f looks, garbage aside.
func heap(b *testing.B, f func(look func())) (peak float64) {
	b.Helper()
	f(func() {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, float64(m.HeapAlloc)/(1<<20))
	})
	return peak
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

// A sweep of 10,000 due rows, each with a file, among those that are kept.
func BenchmarkSweep(b *testing.B) {
	const due = 10_000
	directory, identity, _ := populated(b)
	s, err := Open(Config{Directory: filepath.Join(directory, "store"), Keys: seal.Config{Identity: identity}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	w := NewSweeper(s, SweepConfig{})
	if err := w.ConfirmClock(Act{Actor: "bench", Reason: "bench"}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range due / 1000 {
			recordings(b, s, 1000, time.Now())
		}
		b.StartTimer()
		if result, err := w.Sweep(b.Context()); err != nil || result.Destroyed != due {
			b.Fatalf("got %+v, %v, want %d destroyed", result, err, due)
		}
	}
	b.ReportMetric(due*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
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
