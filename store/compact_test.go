package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

// content returns all that a database has, by table and key, but for what a compaction
// itself writes.
func content(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.db.View(func(tx table.Tx) error {
		for name := range tx.Tables() {
			for key, value := range tx.Table(name).Ascend(nil) {
				if name != metaTable || string(key) != string(compactedKey) {
					all[name+"/"+string(key)] = string(value)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A compaction loses nothing, of what was there and of what is written while it copies,
// changed and taken away; and what was destroyed is in no file any more.
func TestCompact(t *testing.T) {
	const secret = "+31209876543"
	a := newAudited(t, func(a *audited) {
		row := calling()
		row.Caller = secret
		if err := a.Begin(row); err != nil {
			t.Fatal(err)
		}
		update(t, a.Store, row.ID, func(r *Row) { r.State, r.Reason, r.Expires = StateNotRecorded, "no_rule", time.Now().Add(-time.Second) })
		a.fill(t, 300)
		sweep(t, NewSweeper(a.Store, SweepConfig{MaxShare: 1}))
	})
	a.db.(*bolt.DB).NoSync(true)
	gone := unrecorded(t, a.Store, time.Now().Add(-time.Second))
	var before map[string]string
	a.step = func(what string) {
		if what != "copied" {
			return
		}
		a.step = func(string) {}
		for range 20 {
			keep(t, a.Store, time.Now().Add(day))
		}
		update(t, a.Store, a.kept.ID, func(r *Row) { r.Expires = time.Now().Add(-time.Second) })
		hold(t, a.Store, Held{IDs: []string{a.kept.ID}}, time.Time{})
		if _, err := a.ReleaseHold(a.hold.ID, bert); err != nil {
			t.Error(err)
		}
		sweep(t, NewSweeper(a.Store, SweepConfig{MaxShare: 1}))
		err := a.db.Update(func(tx table.Tx) error { // as when its certificate's time is over
			row, err := get(tx, gone.ID)
			if err != nil {
				return err
			}
			return removeRow(tx, &row)
		})
		if err != nil {
			t.Error(err)
		}
		before = content(t, a.Store)
	}
	c, err := a.Compact(anna)
	if err != nil {
		t.Fatal(err)
	}
	if c.After >= c.Before || c.Keys < 22 || c.Blocked <= 0 {
		t.Errorf("got %+v, want a smaller file, 22 keys at least, and that somebody waited", c)
	}
	if diff := cmp.Diff(before, content(t, a.Store)); diff != "" {
		t.Errorf("content, -before +after:\n%s", diff)
	}
	checkIndexes(t, a.Store)
	a.take(t)
	if found, _ := a.audit(t, func(c *VerifyConfig) { c.Blobs = "" }); found != nil {
		t.Errorf("got %q, want no findings", found)
	}
	names, err := os.ReadDir(a.Directory())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name.Name(), databaseFile) && name.Name() != databaseFile {
			t.Errorf("%s was left", name.Name())
		}
	}
	file, err := os.ReadFile(filepath.Join(a.Directory(), databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(secret)) {
		t.Errorf("the number of a call that is destroyed is still in %s", databaseFile)
	}
}

// fill adds calls of which nothing was captured, and sweeps them away.
func (a *audited) fill(t testing.TB, n int) {
	t.Helper()
	a.db.(*bolt.DB).NoSync(true)
	defer func() { a.db.(*bolt.DB).NoSync(false) }()
	for range n {
		unrecorded(t, a.Store, time.Now().Add(-time.Second))
	}
}

// Killed between any two steps, a compaction leaves a whole database, and the next start
// clears the rest away. So it is where both names are still of one file.
func TestCompactKilledAnywhere(t *testing.T) {
	a := newAudited(t, nil)
	var steps []string
	var copies []string
	a.step = func(what string) {
		directory := copyStore(t, a.Directory())
		if what == "linked" { // copies are files of their own
			if err := errors.Join(os.Remove(filepath.Join(directory, databaseFile+".old")),
				os.Link(filepath.Join(directory, databaseFile), filepath.Join(directory, databaseFile+".old"))); err != nil {
				t.Fatal(err)
			}
		}
		steps, copies = append(steps, what), append(copies, directory)
	}
	if _, err := a.Compact(anna); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"copied", "linked", "swapped"}, steps); diff != "" {
		t.Fatalf("steps, -want +got:\n%s", diff)
	}
	a.step = func(string) {}
	want := content(t, a.Store)
	for i, directory := range copies {
		s := open(t, directory)
		got := content(t, s)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %q, content, -want +got:\n%s", steps[i], diff)
		}
		for _, name := range []string{databaseFile + ".new", databaseFile + ".old"} {
			if _, err := os.Lstat(filepath.Join(directory, name)); !os.IsNotExist(err) {
				t.Errorf("after %q: got %v for %s, want it gone", steps[i], err, name)
			}
		}
	}
}

// Calls come and go while the database is compacted, again and again.
func TestCompactUnderLoad(t *testing.T) {
	a := newAudited(t, nil)
	done := make(chan struct{})
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() { // ends with done
			for {
				select {
				case <-done:
					return
				default:
				}
				row := unrecorded(t, a.Store, time.Now().Add(time.Hour))
				if got := mustGet(t, a.Store, row.ID); got.State != StateNotRecorded {
					t.Errorf("got %+v of the row that was just written", got)
				}
			}
		})
	}
	for range 5 {
		if _, err := a.Compact(anna); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	working.Wait()
	a.take(t)
	if found, _ := a.audit(t); found != nil {
		t.Errorf("got %q, want no findings", found)
	}
	checkIndexes(t, a.Store)
}

// One who copies at a time: who reads a snapshot slowly would hold up everybody.
func TestCompactBesideSnapshot(t *testing.T) {
	a := newAudited(t, nil)
	err := a.Snapshot(anna, func(journal.Head, int64) io.Writer {
		if _, err := a.Compact(anna); !errors.Is(err, ErrCopying) {
			t.Errorf("got error %v, want %v", err, ErrCopying)
		}
		return io.Discard
	})
	if err != nil {
		t.Error(err)
	}
}

// What fails leaves the database as it was, and can be done again.
func TestCompactFails(t *testing.T) {
	a := newAudited(t, nil)
	if err := os.MkdirAll(filepath.Join(a.Directory(), databaseFile+".new", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := len(content(t, a.Store))
	if c, err := a.Compact(anna); err == nil {
		t.Errorf("got %+v, want an error", c)
	}
	keep(t, a.Store, time.Now().Add(day))
	if after := len(content(t, a.Store)); after <= before {
		t.Errorf("got %d keys, want more than %d", after, before)
	}
	if err := os.RemoveAll(filepath.Join(a.Directory(), databaseFile+".new")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Compact(anna); err != nil {
		t.Errorf("got error %v, want that it can be done later", err)
	}
	checkIndexes(t, a.Store)
}

// The daemon compacts by itself once a week, if there is anything free at all.
func TestCompactIfDue(t *testing.T) {
	a := newAudited(t, nil)
	times := func() (n int) {
		for _, e := range entries(t, a.Store) {
			if e.Action == journal.Compact {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		now  time.Time
		want int
	}{{time.Now(), 0}, {time.Now().Add(day), 0}, {time.Now().Add(8 * day), 1}} {
		unrecorded(t, a.Store, time.Now().Add(time.Hour)) // frees pages
		if err := a.compactIfDue(c.now); err != nil {
			t.Fatal(err)
		}
		if got := times(); got != c.want {
			t.Errorf("at %v: compacted %d times, want %d", c.now, got, c.want)
		}
	}
}
