package store

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

var bert = Act{Actor: "bert (uid 1001)", Reason: "settled"}

// hold lays a legal hold that must be laid.
func hold(t testing.TB, s *Store, held Held, until time.Time) LegalHold {
	t.Helper()
	h, err := s.LayHold(t.Context(), held, until, anna)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// What is under legal hold is there however long ago it expired, and goes at the next
// sweep after the last hold on it is released. The journal has all of it in that order.
func TestHoldBeatsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		held, other := keep(t, s, time.Now().Add(day)), keep(t, s, time.Now().Add(day))
		first := hold(t, s, Held{IDs: []string{held.ID}}, time.Time{})
		second := hold(t, s, Held{Query: Query{From: held.Began.Add(-time.Second), Recorded: true}}, time.Time{})
		if first.Rows != 1 || second.Rows != 2 {
			t.Errorf("got %d and %d rows held, want 1 and 2", first.Rows, second.Rows)
		}
		w := NewSweeper(s, SweepConfig{Interval: 6 * time.Hour})
		year := func() {
			for range 4 * 365 {
				sweep(t, w)
				time.Sleep(6 * time.Hour)
			}
		}
		year()
		for _, row := range []Row{held, other} {
			if got := mustGet(t, s, row.ID); got.State != StateKept || got.Caller == "" {
				t.Errorf("got %+v after a year, want it kept", got)
			}
		}
		if due, _, err := s.countDue(time.Time{}, time.Now()); due != 0 || err != nil {
			t.Errorf("got %d overdue, %v, want none: they are held", due, err)
		}
		if _, err := s.ReleaseHold(second.ID, bert); err != nil {
			t.Fatal(err)
		}
		sweep(t, w)
		if got := mustGet(t, s, held.ID); got.State != StateKept || !slices.Equal(got.Holds, []string{first.ID}) {
			t.Errorf("got %+v, want it kept by the first hold", got)
		}
		if got := mustGet(t, s, other.ID).State; got != StateDestroyed {
			t.Errorf("got state %s of the row that nothing holds any more, want %s", got, StateDestroyed)
		}
		if _, err := s.ReleaseHold(first.ID, bert); err != nil {
			t.Fatal(err)
		}
		sweep(t, w)
		all := entries(t, s)
		if diff := cmp.Diff([]journal.Action{journal.Hold, journal.Reseal, journal.Hold, journal.Expire, journal.Destroy}, actions(all, held.ID)); diff != "" {
			t.Errorf("journal of the row, -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]journal.Action{journal.Hold, journal.Release}, actions(all, first.ID)); diff != "" {
			t.Errorf("journal of the hold, -want +got:\n%s", diff)
		}
		if holds, err := s.Holds(); len(holds) != 0 || err != nil {
			t.Errorf("got holds %v, %v, want none", holds, err)
		}
		if n := count(t, s, heldCount); n != 0 {
			t.Errorf("got %d rows counted as held, want none", n)
		}
		checkIndexes(t, s)
	})
}

// A hold with an end ends by itself, and what expired under it goes then.
func TestHoldLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		row := keep(t, s, time.Now().Add(time.Hour))
		h := hold(t, s, Held{IDs: []string{row.ID}}, time.Now().Add(12*time.Hour))
		w := NewSweeper(s, SweepConfig{})
		time.Sleep(12*time.Hour - time.Second)
		sweep(t, w)
		if got := mustGet(t, s, row.ID).State; got != StateKept {
			t.Errorf("got state %s before the hold's end, want %s", got, StateKept)
		}
		time.Sleep(time.Second)
		sweep(t, w)
		if got := mustGet(t, s, row.ID).State; got != StateDestroyed {
			t.Errorf("got state %s after the hold's end, want %s", got, StateDestroyed)
		}
		last := entries(t, s)
		i := slices.IndexFunc(last, func(e journal.Entry) bool { return e.Action == journal.Release })
		if i < 0 || last[i].Object != h.ID || last[i].Actor != Daemon {
			t.Errorf("got journal %+v, want a release of %s by the daemon", last, h.ID)
		}
	})
}

// Where the recording is destroyed and the numbers are not, a legal hold keeps these.
func TestHoldKeepsNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		row := keep(t, s, time.Now().Add(time.Hour))
		update(t, s, row.ID, func(r *Row) { r.RowExpires = r.Expires.Add(5 * day) })
		w := NewSweeper(s, SweepConfig{Interval: 6 * time.Hour})
		days := func(n int) {
			for range 4 * n {
				time.Sleep(6 * time.Hour)
				sweep(t, w)
			}
		}
		days(1)
		h := hold(t, s, Held{IDs: []string{row.ID}}, time.Time{})
		days(10)
		if got := mustGet(t, s, row.ID); got.State != StateDestroyed || got.Caller != row.Caller {
			t.Errorf("got %+v, want it destroyed, with its numbers", got)
		}
		a := &audited{Store: s, snapshot: filepath.Join(t.TempDir(), "audit.db")}
		a.take(t)
		if found, _ := a.audit(t, func(c *VerifyConfig) { c.Heads = nil }); found != nil {
			t.Errorf("got %q, want no findings", found)
		}
		if _, err := s.ReleaseHold(h.ID, bert); err != nil {
			t.Fatal(err)
		}
		sweep(t, w)
		if got := mustGet(t, s, row.ID); got.personal() || got.Cleared.IsZero() {
			t.Errorf("got %+v, want it without numbers", got)
		}
		checkIndexes(t, s)
	})
}

// A hold that is released while it is being laid marks no more rows, a row that is named
// twice is marked once, and no row is left under a hold that there is not.
func TestHoldReleasedWhileLaid(t *testing.T) {
	s := open(t, t.TempDir())
	s.db.(*bolt.DB).NoSync(true)
	for range rowsPerCommit + 10 {
		unrecorded(t, s, time.Now().Add(time.Hour))
	}
	s.step = func(what string) {
		if what != "held" {
			return
		}
		s.step = func(string) {}
		holds, err := s.Holds()
		if err != nil || len(holds) != 1 {
			t.Fatalf("got holds %v, %v, want one", holds, err)
		}
		if _, err := s.ReleaseHold(holds[0].ID, bert); err != nil {
			t.Error(err)
		}
	}
	if h, err := s.LayHold(t.Context(), Held{Query: Query{From: time.Now().Add(-time.Hour)}}, time.Time{}, anna); !errors.Is(err, ErrNoHold) {
		t.Errorf("got %+v, %v, want %v", h, err, ErrNoHold)
	}
	if holds, err := s.Holds(); len(holds) != 0 || err != nil {
		t.Errorf("got holds %v, %v, want none", holds, err)
	}
	if n := count(t, s, heldCount); n != 0 {
		t.Errorf("got %d rows held, want none", n)
	}
	row := unrecorded(t, s, time.Now().Add(time.Hour))
	if h := hold(t, s, Held{IDs: []string{row.ID, row.ID}}, time.Time{}); h.Rows != 1 || len(mustGet(t, s, row.ID).Holds) != 1 {
		t.Errorf("got %+v and row %+v, want it held once", h, mustGet(t, s, row.ID))
	}
	checkIndexes(t, s)
}

// With four eyes, who laid a hold does not release it; its own end still ends it.
func TestFourEyes(t *testing.T) {
	s, err := Open(Config{Directory: t.TempDir(), LegalHold: HoldConfig{FourEyes: true}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := keep(t, s, time.Now().Add(time.Hour))
	h := hold(t, s, Held{IDs: []string{row.ID}}, time.Time{})
	if _, err := s.ReleaseHold(h.ID, anna); !errors.Is(err, ErrFourEyes) {
		t.Errorf("got error %v, want %v", err, ErrFourEyes)
	}
	if _, err := s.ReleaseHold(h.ID, bert); err != nil {
		t.Error(err)
	}
	if _, err := s.ReleaseHold(h.ID, bert); !errors.Is(err, ErrNoHold) {
		t.Errorf("got error %v of a second release, want %v", err, ErrNoHold)
	}
}

// What holds nothing is an error: who laid it would think that something is safe.
func TestHoldsNothing(t *testing.T) {
	s := open(t, t.TempDir())
	gone := keep(t, s, time.Now().Add(-time.Second))
	sweep(t, NewSweeper(s, SweepConfig{}))
	stays := keep(t, s, time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		held  Held
		until time.Time
		act   Act
		want  string
	}{
		"destroyed":   {Held{IDs: []string{gone.ID}}, time.Time{}, anna, "had been destroyed"},
		"no such row": {Held{IDs: []string{NewID()}}, time.Time{}, anna, "no such row"},
		"no match":    {Held{Query: Query{Number: "+31301234567"}}, time.Time{}, anna, "no call is like that"},
		"over":        {Held{IDs: []string{stays.ID}}, time.Now().Add(-time.Hour), anna, "not later than now"},
		"no reason":   {Held{IDs: []string{stays.ID}}, time.Time{}, Act{Actor: "anna"}, "say why"},
	} {
		if h, err := s.LayHold(t.Context(), c.held, c.until, c.act); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v, want an error with %q", name, h, err, c.want)
		}
	}
	if holds, err := s.Holds(); len(holds) != 0 || err != nil {
		t.Errorf("got holds %v, %v, want none", holds, err)
	}
}

// Nobody changes a row's holds in passing, and a held row's files are not removed.
func TestHeldRowIsLeftAlone(t *testing.T) {
	s := open(t, t.TempDir())
	row := keep(t, s, time.Now().Add(time.Hour))
	hold(t, s, Held{IDs: []string{row.ID}}, time.Time{})
	if _, err := s.Update(row.ID, func(r *Row) error { r.Holds = nil; return nil }); err == nil {
		t.Error("got no error for a change of a row's legal holds")
	}
	if err := s.RemoveFiles(row.ID); !errors.Is(err, ErrHeld) {
		t.Errorf("got error %v, want %v", err, ErrHeld)
	}
	if got := update(t, s, row.ID, func(r *Row) { r.Expires = time.Now().Add(-time.Hour) }); !got.held() {
		t.Errorf("got %+v, want it held", got)
	}
	sweep(t, NewSweeper(s, SweepConfig{}))
	if diff := cmp.Diff([]string{row.Files[0].Path}, files(t, s)); diff != "" {
		t.Errorf("files, -want +got:\n%s", diff)
	}
}

// A release that is killed at any step goes on at the next sweep.
func TestReleaseKilledAnywhere(t *testing.T) {
	s := open(t, t.TempDir())
	s.db.(*bolt.DB).NoSync(true)
	for range rowsPerCommit + 10 {
		unrecorded(t, s, time.Now().Add(-time.Minute))
	}
	h := hold(t, s, Held{Query: Query{From: time.Now().Add(-time.Hour)}}, time.Time{})
	if h.Rows != rowsPerCommit+10 {
		t.Fatalf("got %d rows held, want %d", h.Rows, rowsPerCommit+10)
	}
	var copies []string
	s.step = func(string) { copies = append(copies, copyStore(t, s.Directory())) }
	if _, err := s.ReleaseHold(h.ID, bert); err != nil {
		t.Fatal(err)
	}
	if len(copies) != 3 {
		t.Errorf("got %d steps, want 3", len(copies))
	}
	for _, directory := range copies {
		s := open(t, directory)
		w := NewSweeper(s, SweepConfig{MaxShare: 1})
		sweep(t, w)
		if got := sweep(t, w); got != (SweepResult{}) {
			t.Errorf("got %+v of a second sweep, want nothing left", got)
		}
		if holds, err := s.Holds(); len(holds) != 0 || err != nil {
			t.Errorf("got holds %v, %v, want none", holds, err)
		}
		if n := count(t, s, StateDestroyed); n != rowsPerCommit+10 {
			t.Errorf("got %d rows destroyed, want %d", n, rowsPerCommit+10)
		}
		checkIndexes(t, s)
	}
}

// count returns how many rows the counts say are in a state.
func count(t testing.TB, s *Store, state State) (n int64) {
	t.Helper()
	err := s.db.View(func(tx table.Tx) error { n = readCount(tx, state); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A recording that is kept for several purposes is found, and held, by each of them; where an
// earlier version had indexed it by the longest alone, too.
func TestHoldByAnyPurpose(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	both, other := keep(t, s, time.Now().Add(time.Hour)), keep(t, s, time.Now().Add(time.Hour))
	update(t, s, both.ID, func(r *Row) {
		r.Terms = []Term{{Purpose: r.Purpose, Basis: "contract", Retention: "P14D"}, {Purpose: "orders", Basis: "contract", Retention: "P7D"}}
	})
	err := s.db.Update(func(tx table.Tx) error { // as it was
		before, err := get(tx, both.ID)
		if err != nil {
			return err
		}
		row := before.Clone()
		s.open(tx, &row)
		row.CallerCallID = "of this one alone"
		if err := s.seal(tx, &row); err != nil {
			return err
		}
		row.tokens = row.tokens[:2] // its numbers
		if err := put(tx, &before, &row); err != nil {
			return err
		}
		return errors.Join(tx.Table(metaTable).Delete(indexedKey), tx.Table(byPurpose.table).Delete(append(label("orders"), indexKey(both.Began, both.ID)...)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, directory)
	said := 0
	for _, e := range entries(t, s) {
		if e.Object == both.ID && e.Action == journal.Keep {
			said++
		}
	}
	if said != 2 {
		t.Errorf("got %d entries that it is kept, want one of the migration beside its own", said)
	}
	if got := list(t, s, Query{Agent: both.Callee, SIPCall: "of this one alone"}); !slices.Equal(got, []string{both.ID}) {
		t.Errorf("got %v found by agent and Call-ID, want %s", got, both.ID)
	}
	if got := list(t, s, Query{Purpose: "orders"}); !slices.Equal(got, []string{both.ID}) {
		t.Errorf("got %v listed, want %s", got, both.ID)
	}
	if h := hold(t, s, Held{Query: Query{Purpose: "orders"}}, time.Time{}); h.Rows != 1 {
		t.Errorf("got %d rows held, want 1", h.Rows)
	}
	if got := mustGet(t, s, other.ID); len(got.Holds) != 0 {
		t.Errorf("got %+v held, which is kept for %s alone", got, got.Purpose)
	}
	checkIndexes(t, s)
}

// A row under legal hold that cannot be read any more keeps its key, and is told of: what is
// sealed may be all that is left, and the row can be mended from a backup.
func TestUnreadableHeldKeepsItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, opening := pair(t)
		s := openWith(t, t.TempDir(), opening)
		expires := time.Now().Add(20 * day)
		held, other := sealedFile(t, s, keep(t, s, expires), "sound"), sealedFile(t, s, keep(t, s, expires.Add(day)), "other")
		hold(t, s, Held{IDs: []string{held.ID}}, time.Time{})
		err := s.db.Update(func(tx table.Tx) error {
			return errors.Join(tx.Table(rowsTable).Put([]byte(held.ID), []byte("{")), tx.Table(rowsTable).Put([]byte(other.ID), []byte("{")))
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := reconcile(t, s); !slices.Contains(r.Unreadable, held.ID) {
			t.Errorf("got %v unreadable, want %s too", r.Unreadable, held.ID)
		}
		w := NewSweeper(s, SweepConfig{MaxShare: 1})
		for range 60 {
			time.Sleep(day / 2)
			if _, err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		epochs, err := s.keys.Epochs()
		if err != nil {
			t.Fatal(err)
		}
		destroyed := map[seal.Epoch]bool{}
		for _, e := range epochs {
			destroyed[e.Epoch] = !e.Destroyed.IsZero()
		}
		if destroyed[held.Files[0].Epoch] || !destroyed[other.Files[0].Epoch] {
			t.Errorf("got destroyed %v, want that of what is held to stay, and the other to go", destroyed)
		}
	})
}
