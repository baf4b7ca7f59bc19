package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

const day = 24 * time.Hour

// perStep is how many rows take a step in tests of sweeps of several steps.
const perStep = 20

// sweep runs one sweep that must not fail.
func sweep(t testing.TB, w *Sweeper) SweepResult {
	t.Helper()
	result, err := w.Sweep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// checkDestroyed looks whether of a row is left what may be left.
func checkDestroyed(t testing.TB, s *Store, before Row) {
	t.Helper()
	got := mustGet(t, s, before.ID)
	want := before
	want.State, want.Destroyed, want.Entry = StateDestroyed, got.Destroyed, got.Entry
	want.CertificateExpires = got.Destroyed.AddDate(10, 0, 0)
	want.Caller, want.Callee, want.CallerCallID, want.CalleeCallID = "", "", "", ""
	if diff := cmp.Diff(want, got); diff != "" || got.Destroyed.IsZero() {
		t.Errorf("destroyed row, -want +got:\n%s", diff)
	}
	checkProof(t, s, got, entries(t, s))
}

// checkProof looks whether journal and certificate say of a row what it says itself.
func checkProof(t testing.TB, s *Store, row Row, all []journal.Entry) {
	t.Helper()
	var want []journal.Action
	if row.captured() && (row.State == StateExpired || row.State == StateDestroyed) {
		want = append(want, journal.Expire)
	}
	if row.captured() && row.State == StateDestroyed {
		want = append(want, journal.Destroy)
	}
	if diff := cmp.Diff(want, actions(all, row.ID)); diff != "" {
		t.Errorf("journal of row %s, which is %s, -want +got:\n%s", row.ID, row.State, diff)
	}
	signed, err := s.Certificate(row.ID)
	if len(want) < 2 {
		if !errors.Is(err, ErrNoCertificate) {
			t.Errorf("got certificate %s, %v of a row that is %s, want %v", signed, err, row.State, ErrNoCertificate)
		}
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	c, err := certificate.Verify(signed, s.PublicKey())
	if err != nil {
		t.Error(err)
	}
	if c.Recording != row.ID || c.Entry != row.Entry || !c.Destroyed.Equal(row.Destroyed) || len(c.Files) != len(row.Files) {
		t.Errorf("got certificate %+v of row %+v", c, row)
	}
	for _, e := range all {
		if e.Object == row.ID && e.Action == journal.Destroy && e.Reason != "certificate "+certificate.Hash(signed) {
			t.Errorf("got reason %q in the journal, want the hash of %s", e.Reason, signed)
		}
	}
}

// What is due goes, with every file that bears its id; what is not due stays.
func TestSweepDestroys(t *testing.T) {
	s := open(t, t.TempDir())
	past := time.Now().Add(-time.Second)
	kept, silent, later := keep(t, s, past), unrecorded(t, s, past), keep(t, s, past.Add(time.Hour))
	failed, finalizing := begin(t, s), begin(t, s)
	update(t, s, failed.ID, granted)
	failed = update(t, s, failed.ID, func(r *Row) { r.State, r.Reason, r.Expires = StateFailed, "disk", past })
	update(t, s, finalizing.ID, granted)
	finalizing = update(t, s, finalizing.ID, func(r *Row) { r.State, r.Expires = StateFinalizing, past })
	today := dayDirectory(kept.Began)
	write(t, s, today+"/"+kept.ID+".wav", "not in the row")
	write(t, s, today+"/"+finalizing.ID+".opus.part", "half")
	for _, row := range []Row{kept, failed, finalizing, later} {
		write(t, s, "spool/"+row.ID+".spool", "packets")
	}

	got := sweep(t, NewSweeper(s, SweepConfig{}))
	if want := (SweepResult{Destroyed: 4, Bytes: int64(len("sound" + "not in the row" + "half" + strings.Repeat("packets", 3)))}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, row := range []Row{kept, silent, failed, finalizing} {
		checkDestroyed(t, s, row)
	}
	if diff := cmp.Diff([]string{later.Files[0].Path, "spool/" + later.ID + ".spool"}, files(t, s)); diff != "" {
		t.Errorf("files left, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(later, mustGet(t, s, later.ID)); diff != "" {
		t.Errorf("row that is not due, -want +got:\n%s", diff)
	}
	checkIndexes(t, s)
}

// A recording of P14D is there to its last second and gone at the sweep after it.
func TestRunSweepsAtExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		row := keep(t, s, time.Now().Add(14*day))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { // ends with the context
			defer close(done)
			NewSweeper(s, SweepConfig{Interval: 6 * time.Hour}).Run(ctx)
		}()
		time.Sleep(14*day - time.Second)
		synctest.Wait()
		if got := mustGet(t, s, row.ID).State; got != StateKept {
			t.Errorf("got state %s a second before expiry, want %s", got, StateKept)
		}
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		checkDestroyed(t, s, row)
		cancel()
		<-done
	})
}

// Shortening a row's time, as an objection does, makes it due; giving it more time
// keeps it, even when a sweep has already seen it due.
func TestExpiryMoves(t *testing.T) {
	s := open(t, t.TempDir())
	now := time.Now()
	shortened := keep(t, s, now.Add(time.Hour))
	extended := keep(t, s, now.Add(-time.Hour))
	shortened = update(t, s, shortened.ID, func(r *Row) { r.Expires = now.Add(-time.Second) })
	seen, err := s.keysDue(nil, now, 10)
	if err != nil || len(seen) != 2 {
		t.Fatalf("got %d keys, %v, want 2", len(seen), err)
	}
	update(t, s, extended.ID, func(r *Row) { r.Expires = now.Add(time.Hour) })
	var result SweepResult
	if err := NewSweeper(s, SweepConfig{}).step(seen, now, &result); err != nil {
		t.Fatal(err)
	}
	if want := (SweepResult{Destroyed: 1, Bytes: 5}); result != want {
		t.Errorf("got %+v, want %+v", result, want)
	}
	checkDestroyed(t, s, shortened)
	if got := mustGet(t, s, extended.ID).State; got != StateKept {
		t.Errorf("got state %s of the row that was extended, want %s", got, StateKept)
	}
}

// A job that finishes after its row expired cannot bring the row back.
func TestFinalizeAfterExpiry(t *testing.T) {
	s := open(t, t.TempDir())
	row := begin(t, s)
	update(t, s, row.ID, granted)
	update(t, s, row.ID, func(r *Row) { r.State, r.Expires = StateFinalizing, time.Now().Add(-time.Second) })
	sweep(t, NewSweeper(s, SweepConfig{}))
	_, err := s.Update(row.ID, func(r *Row) error { r.State, r.Caller = StateKept, "+31201234567"; return nil })
	var transition *TransitionError
	if !errors.As(err, &transition) {
		t.Errorf("got error %v, want a transition error", err)
	}
	if _, err := s.Update(row.ID, func(r *Row) error { r.Caller = "+31201234567"; return nil }); !errors.As(err, &transition) {
		t.Errorf("got error %v for a change of a destroyed row, want a transition error", err)
	}
}

// A file that was gone before its time does not keep the row, and is told apart.
func TestSweepMissingFile(t *testing.T) {
	s := open(t, t.TempDir())
	row := keep(t, s, time.Now().Add(-time.Second))
	if err := os.Remove(filepath.Join(s.Directory(), row.Files[0].Path)); err != nil {
		t.Fatal(err)
	}
	if got, want := sweep(t, NewSweeper(s, SweepConfig{})), (SweepResult{Destroyed: 1, Missing: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	checkDestroyed(t, s, row)
}

// A row whose file cannot be deleted is not called destroyed, keeps nobody else, and
// is tried again, later and later, until it goes.
func TestSweepRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		time.Sleep(time.Hour) // from midnight: the day's key stays
		stuck, other := keep(t, s, time.Now().Add(-time.Second)), keep(t, s, time.Now().Add(-time.Second))
		file := filepath.Join(s.Directory(), stuck.Files[0].Path)
		// A directory with something in it cannot be removed, not even by root.
		for _, err := range []error{os.Remove(file), os.Mkdir(file, 0o700), os.WriteFile(filepath.Join(file, "x"), nil, 0o600)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		w := NewSweeper(s, SweepConfig{Interval: time.Minute})
		if got, want := sweep(t, w), (SweepResult{Destroyed: 1, Failed: 1, Bytes: 5}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		checkDestroyed(t, s, other)
		if row := mustGet(t, s, stuck.ID); row.State != StateExpired || row.Caller == "" {
			t.Errorf("got %+v, want it expired and whole", row)
		}
		// Tried again after 1, 2, 4, 8, 16, 32 minutes, then every hour.
		var tried []int
		for minute := range 200 {
			if sweep(t, w).Failed == 1 {
				tried = append(tried, minute)
			}
			time.Sleep(time.Minute)
		}
		if diff := cmp.Diff([]int{1, 3, 7, 15, 31, 63, 123, 183}, tried); diff != "" {
			t.Errorf("minutes at which it was tried, -want +got:\n%s", diff)
		}
		if err := os.Remove(filepath.Join(file, "x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(longestRetry)
		if got := sweep(t, w); got.Destroyed != 1 || len(w.retries) != 0 {
			t.Errorf("got %+v and %d retries, want it destroyed and none", got, len(w.retries))
		}
		checkDestroyed(t, s, stuck)
	})
}

// The recording, the numbers and what is left each have their own time: they go one after
// the other, each when its time is over and not before, and verifying agrees all the way.
func TestEachHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		row := keep(t, s, time.Now().Add(2*day))
		row = update(t, s, row.ID, func(r *Row) {
			r.RowRetention, r.RowExpires = "P9D", r.Expires.Add(7*day)
			r.CertificateRetention, r.CertificateExpires = "P30D", r.Expires.Add(30*day)
		})
		plain := unrecorded(t, s, time.Now().Add(day)) // nobody said for how long
		w := NewSweeper(s, SweepConfig{Interval: 6 * time.Hour})
		a := &audited{Store: s, snapshot: filepath.Join(t.TempDir(), "audit.db")}
		until := func(when time.Time) SweepResult {
			var sum SweepResult
			for !time.Now().After(when) {
				time.Sleep(min(6*time.Hour, time.Until(when)+time.Second))
				got := sweep(t, w)
				sum.Destroyed, sum.Cleared, sum.Removed = sum.Destroyed+got.Destroyed, sum.Cleared+got.Cleared, sum.Removed+got.Removed
			}
			a.take(t)
			if found, _ := a.audit(t, func(c *VerifyConfig) { c.Heads = nil }); found != nil {
				t.Errorf("got %q, want no findings", found)
			}
			return sum
		}
		if got := until(row.RowExpires.Add(-6 * time.Hour)); got.Destroyed != 2 || got.Cleared != 0 {
			t.Errorf("got %+v, want two rows destroyed and none cleared", got)
		}
		if got := mustGet(t, s, row.ID); got.State != StateDestroyed || got.Caller != row.Caller || len(files(t, s)) != 0 {
			t.Errorf("got %+v and files %v, want it destroyed, with its numbers", got, files(t, s))
		}
		if got := until(row.RowExpires); got.Cleared != 1 {
			t.Errorf("got %+v, want one row cleared", got)
		}
		if got := mustGet(t, s, row.ID); got.personal() || got.Cleared.IsZero() {
			t.Errorf("got %+v, want it without numbers", got)
		}
		if got := until(row.CertificateExpires.Add(-6 * time.Hour)); got.Removed != 0 {
			t.Errorf("got %+v, want nothing removed", got)
		}
		if got := until(row.CertificateExpires); got.Removed != 1 {
			t.Errorf("got %+v, want one row removed", got)
		}
		if _, err := s.Get(row.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("got error %v, want %v", err, ErrNotFound)
		}
		if diff := cmp.Diff([]journal.Action{journal.Expire, journal.Destroy, journal.Remove}, actions(entries(t, s), row.ID)); diff != "" {
			t.Errorf("journal, -want +got:\n%s", diff)
		}
		if got := mustGet(t, s, plain.ID); !got.CertificateExpires.Equal(got.Destroyed.AddDate(10, 0, 0)) {
			t.Errorf("got %+v, want what is left of it kept for ten years", got)
		}
		checkIndexes(t, s)
	})
}

// Calls of which nothing was captured are counted in the journal, not named, and have no
// certificate: they would be most of both.
func TestSweepCountsOthers(t *testing.T) {
	s := open(t, t.TempDir())
	for range 3 {
		unrecorded(t, s, time.Now().Add(-time.Second))
	}
	sweep(t, NewSweeper(s, SweepConfig{}))
	all := entries(t, s)
	last := all[len(all)-1]
	if len(all) != 2 || last.Action != journal.Sweep || !strings.HasSuffix(last.Reason, ": 3") {
		t.Errorf("got %+v, want one entry about three calls", all)
	}
}

// A row that an earlier version had expired, before there was a journal, gets its entry
// before its files go.
func TestSweepOfAnOlderRow(t *testing.T) {
	s := open(t, t.TempDir())
	row := keep(t, s, time.Now().Add(-time.Second))
	err := s.db.Update(func(tx table.Tx) error {
		expired := row.Clone()
		expired.State = StateExpired
		return put(tx, &row, &expired)
	})
	if err != nil {
		t.Fatal(err)
	}
	sweep(t, NewSweeper(s, SweepConfig{}))
	checkDestroyed(t, s, row)
}

// A due row that cannot be read is counted and keeps nobody else.
func TestSweepUnreadableRow(t *testing.T) {
	s := open(t, t.TempDir())
	bad, good := unrecorded(t, s, time.Now().Add(-time.Second)), unrecorded(t, s, time.Now().Add(-time.Second))
	err := s.db.Update(func(tx table.Tx) error { return tx.Table(rowsTable).Put([]byte(bad.ID), []byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sweep(t, NewSweeper(s, SweepConfig{})), (SweepResult{Destroyed: 1, Failed: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	checkDestroyed(t, s, good)
}

// More due rows than one step takes all go, and rows that fail do not stand in
// their way.
func TestSweepManySteps(t *testing.T) {
	s := open(t, t.TempDir())
	s.db.(*bolt.DB).NoSync(true)
	var rows []Row
	for range 2*perStep + 1 {
		rows = append(rows, unrecorded(t, s, time.Now().Add(-time.Minute)))
	}
	w := NewSweeper(s, SweepConfig{MaxShare: 1})
	w.rows = perStep
	for _, row := range rows[:perStep] {
		w.retries[row.ID] = retry{at: time.Now().Add(time.Hour)}
	}
	if got, want := sweep(t, w), (SweepResult{Destroyed: perStep + 1, Waiting: perStep}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	checkIndexes(t, s)
}

// A sweep stops between two steps when its context ends.
func TestSweepStops(t *testing.T) {
	s := open(t, t.TempDir())
	s.db.(*bolt.DB).NoSync(true)
	for range 2 * perStep {
		unrecorded(t, s, time.Now().Add(-time.Minute))
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.step = func(what string) {
		if what == "destroyed" {
			cancel()
		}
	}
	w := NewSweeper(s, SweepConfig{MaxShare: 1})
	w.rows = perStep
	result, err := w.Sweep(ctx)
	if !errors.Is(err, context.Canceled) || result.Destroyed != perStep {
		t.Errorf("got %+v, %v, want the first step and %v", result, err, context.Canceled)
	}
	checkIndexes(t, s)
}

// A dry run tells what would go, and touches nothing.
func TestDryRun(t *testing.T) {
	s := open(t, t.TempDir())
	w := NewSweeper(s, SweepConfig{})
	first, second := keep(t, s, time.Now().Add(-time.Hour)), keep(t, s, time.Now().Add(-time.Minute))
	keep(t, s, time.Now().Add(time.Hour))
	got, err := w.DryRun(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Forecast{Rows: []Row{first}, Due: 2, Of: 3, Bytes: 10}, got); diff != "" {
		t.Errorf("forecast, -want +got:\n%s", diff)
	}
	for _, row := range []Row{first, second} {
		if diff := cmp.Diff(row, mustGet(t, s, row.ID)); diff != "" {
			t.Errorf("row after a dry run, -want +got:\n%s", diff)
		}
	}
}

// A daemon that was switched off for a week destroys nothing until an operator
// confirms the clock, over any number of restarts; then it goes on.
func TestClockGuardAfterAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		s := open(t, directory)
		due, later := keep(t, s, time.Now().Add(3*day)), keep(t, s, time.Now().Add(30*day))
		sweep(t, NewSweeper(s, SweepConfig{}))
		for range 3 {
			s.Close()
			time.Sleep(7 * day)
			s = open(t, directory)
			w := NewSweeper(s, SweepConfig{})
			for range 2 {
				if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
					t.Fatalf("got error %v, want %v", err, ErrClockGuard)
				}
			}
			if f, err := w.DryRun(t.Context(), 10); err != nil || f.Doubt == "" || f.Due != 1 {
				t.Errorf("got forecast %+v, %v, want a doubt about one row", f, err)
			}
			if diff := cmp.Diff(due, mustGet(t, s, due.ID)); diff != "" {
				t.Errorf("row while the guard is tripped, -want +got:\n%s", diff)
			}
		}
		w := NewSweeper(s, SweepConfig{})
		if err := w.ConfirmClock(anna); err != nil {
			t.Fatal(err)
		}
		if got := sweep(t, w); got.Destroyed != 1 {
			t.Errorf("got %+v, want one row destroyed", got)
		}
		checkDestroyed(t, s, due)
		if got := mustGet(t, s, later.ID).State; got != StateKept {
			t.Errorf("got state %s of the row that is not due, want %s", got, StateKept)
		}
		// The doubt is gone for good, not only in this process.
		s.Close()
		sweep(t, NewSweeper(open(t, directory), SweepConfig{}))
	})
}

// A clock that jumps while the daemon runs destroys nothing, and a restart does not
// make it believed, though a daemon that was off for as long would be.
func TestClockGuardWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		s := open(t, directory)
		row := keep(t, s, time.Now().Add(time.Hour))
		w := NewSweeper(s, SweepConfig{})
		sweep(t, w)
		w.believed.wall = w.believed.wall.Add(-clockGain) // as if the wall clock had gained that much since
		time.Sleep(time.Hour)
		sweep(t, w)
		checkDestroyed(t, s, row)

		row = keep(t, s, time.Now().Add(time.Hour))
		w.believed.wall = w.believed.wall.Add(-time.Second)
		time.Sleep(time.Hour)
		if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Errorf("got error %v, want %v", err, ErrClockGuard)
		}
		s.Close()
		s = open(t, directory)
		if _, err := NewSweeper(s, SweepConfig{}).Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Errorf("got error %v after a restart, want %v", err, ErrClockGuard)
		}
		if got := mustGet(t, s, row.ID).State; got != StateKept {
			t.Errorf("got state %s, want %s", got, StateKept)
		}
	})
}

// A clock that is back where it was years ago, as one without a battery, destroys
// nothing, and neither does it when it is put right again unconfirmed.
func TestClockGuardBack(t *testing.T) {
	directory := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, directory)
		keep(t, s, time.Now().Add(day))
		w := NewSweeper(s, SweepConfig{})
		if err := w.ConfirmClock(anna); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Hour)
		sweep(t, w)
	})
	synctest.Test(t, func(t *testing.T) { // begins ten hours before the other one ended
		s := open(t, directory)
		w := NewSweeper(s, SweepConfig{})
		if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Errorf("got error %v, want %v", err, ErrClockGuard)
		}
		time.Sleep(25 * time.Hour)
		if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Errorf("got error %v once the clock is right, want %v", err, ErrClockGuard)
		}
		if err := w.ConfirmClock(anna); err != nil {
			t.Fatal(err)
		}
		if got := sweep(t, w); got.Destroyed != 1 {
			t.Errorf("got %+v, want one row destroyed", got)
		}
	})
}

// A lost mark stops every sweep: without it no clock can be believed.
func TestClockGuardWithoutMark(t *testing.T) {
	s := open(t, t.TempDir())
	row := keep(t, s, time.Now().Add(-time.Second))
	for _, mark := range []string{"", "{", "{}"} {
		err := s.db.Update(func(tx table.Tx) error { return tx.Table(metaTable).Put(clockKey, []byte(mark)) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewSweeper(s, SweepConfig{}).Sweep(t.Context()); err == nil {
			t.Errorf("got no error with mark %q", mark)
		}
	}
	if got := mustGet(t, s, row.ID).State; got != StateKept {
		t.Errorf("got state %s, want %s", got, StateKept)
	}
}

// More than the share that may go at once waits for an operator; what he confirmed
// goes, also when the daemon is killed on the way, and what becomes due after that
// is held against the share again. A hundred rows always go.
func TestMaxShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		s.db.(*bolt.DB).NoSync(true)
		keepMany := func(n int, expires time.Duration) {
			at := time.Now().Add(expires)
			for range n {
				unrecorded(t, s, at)
			}
		}
		w := NewSweeper(s, SweepConfig{MaxShare: 0.6})
		w.rows = perStep
		keepMany(shareFloor, -time.Second)
		if got := sweep(t, w); got.Destroyed != shareFloor {
			t.Errorf("got %+v, want all %d destroyed", got, shareFloor)
		}
		keepMany(180, time.Hour)
		keepMany(120, 10*time.Hour)
		time.Sleep(time.Hour)
		if got := sweep(t, w); got.Destroyed != 180 { // 0.6 of 300
			t.Errorf("got %+v, want 180 destroyed", got)
		}
		keepMany(60, 10*time.Hour)
		time.Sleep(10 * time.Hour)
		if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) || !strings.Contains(err.Error(), "180 of 180 rows") {
			t.Errorf("got error %v, want %v about 180 of 180 rows", err, ErrClockGuard)
		}
		if err := w.ConfirmClock(anna); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.step = func(what string) {
			if what == "destroyed" {
				cancel()
			}
		}
		if _, err := w.Sweep(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want %v", err, context.Canceled)
		}
		s.step = func(string) {}
		keepMany(150, time.Hour)
		w = NewSweeper(s, SweepConfig{MaxShare: 0.6})
		if got := sweep(t, w); got.Destroyed != 180-perStep {
			t.Errorf("got %+v, want the other %d destroyed", got, 180-perStep)
		}
		time.Sleep(time.Hour)
		if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Errorf("got error %v for rows nobody has confirmed, want %v", err, ErrClockGuard)
		}
	})
}

// Killed between any two steps, a sweep leaves nothing half: no row that says its
// files are gone while they are not, none that has lost its personal fields before.
// The next start finishes it. That also holds where a loss of power takes back every
// deletion that was not synced.
func TestSweepKilledAnywhere(t *testing.T) {
	s := open(t, t.TempDir())
	past := time.Now().Add(-time.Minute)
	due := map[string]bool{}
	for i := range perStep + 4 { // two steps
		var row Row
		switch {
		case i < perStep-4:
			row = unrecorded(t, s, past)
		case i%2 == 0:
			row = keep(t, s, past.Add(time.Second))
			write(t, s, "spool/"+row.ID+".spool", "packets")
		default:
			row = begin(t, s)
			update(t, s, row.ID, granted)
			update(t, s, row.ID, func(r *Row) { r.State, r.Expires = StateFinalizing, past.Add(time.Second) })
			write(t, s, dayDirectory(row.Began)+"/"+row.ID+".opus.part", "half")
			write(t, s, "spool/"+row.ID+".spool", "packets")
		}
		due[row.ID] = true
	}
	stays := keep(t, s, time.Now().Add(day))
	whole := copyStore(t, s.Directory())

	var journal, copies []string
	s.step = func(what string) {
		journal = append(journal, what)
		copies = append(copies, copyStore(t, s.Directory()))
	}
	w := NewSweeper(s, SweepConfig{MaxShare: 1})
	w.rows = perStep
	if got, want := sweep(t, w), len(due); got.Destroyed != want {
		t.Fatalf("got %+v, want %d destroyed", got, want)
	}
	checkJournal(t, journal)
	for i, directory := range copies {
		after := journal[i]
		lost := copyStore(t, directory)
		checkCrash(t, directory, after, due, stays)
		finish(t, directory, after, stays)

		after += ", power lost"
		takeBackDeletions(t, whole, lost)
		checkCrash(t, lost, after, due, stays)
		finish(t, lost, after, stays)
	}
}

// checkJournal holds the steps of a sweep against their order: nothing is removed
// before it is marked on disk, nothing called destroyed before its removal is.
func checkJournal(t *testing.T, journal []string) {
	t.Helper()
	var kinds []string
	for _, what := range journal {
		kind, _, _ := strings.Cut(what, " ")
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
	}
	step := []string{"expired", "removed", "synced", "removed", "synced", "destroyed"} // two directories
	if diff := cmp.Diff(slices.Concat(step, step), kinds); diff != "" {
		t.Errorf("kinds of steps, -want +got:\n%s", diff)
	}
}

// checkCrash opens what a crash left and looks for anything that is half.
func checkCrash(t *testing.T, directory, after string, due map[string]bool, stays Row) {
	t.Helper()
	s := open(t, directory)
	defer s.Close()
	left := map[string]bool{}
	for _, name := range files(t, s) {
		left[ownerOf(name)] = true
	}
	all := entries(t, s)
	for id := range due {
		row := mustGet(t, s, id)
		switch {
		case row.State == StateDestroyed && left[id]:
			t.Errorf("after %q: row %s is destroyed, its files are there", after, id)
		case (row.Caller == "") != (row.State == StateDestroyed):
			t.Errorf("after %q: row %s is %s, its caller %q", after, id, row.State, row.Caller)
		}
		checkProof(t, s, row, all)
	}
	if diff := cmp.Diff(stays, mustGet(t, s, stays.ID)); diff != "" || !left[stays.ID] {
		t.Errorf("after %q: row that is not due, -want +got:\n%s", after, diff)
	}
	checkIndexes(t, s)
}

// finish starts again on what a crash left and sweeps to the end.
func finish(t *testing.T, directory, after string, stays Row) {
	t.Helper()
	s := open(t, directory)
	defer s.Close()
	if _, err := s.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := NewSweeper(s, SweepConfig{MaxShare: 1})
	if got := sweep(t, w); got.Failed != 0 || got.Missing != 0 {
		t.Errorf("after %q: got %+v, want none to fail and no file missed", after, got)
	}
	if got := sweep(t, w); got != (SweepResult{}) {
		t.Errorf("after %q: got %+v of a second sweep, want nothing left to do", after, got)
	}
	if diff := cmp.Diff([]string{stays.Files[0].Path}, files(t, s)); diff != "" {
		t.Errorf("after %q: files, -want +got:\n%s", after, diff)
	}
	if due, of, err := s.countDue(time.Time{}, time.Now()); due != 0 || of != 1 || err != nil {
		t.Errorf("after %q: got %d due of %d, %v, want none of 1", after, due, of, err)
	}
}

func copyStore(t *testing.T, directory string) string {
	t.Helper()
	to := t.TempDir()
	err := errors.Join(os.CopyFS(to, os.DirFS(directory)), closeKeys(to))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// takeBackDeletions brings back the files of rows that are not destroyed: all that a
// loss of power can bring back.
func takeBackDeletions(t *testing.T, whole, directory string) {
	t.Helper()
	s := open(t, directory)
	defer s.Close()
	err := fs.WalkDir(os.DirFS(whole), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !ofCalls(name) {
			return err
		}
		if mustGet(t, s, ownerOf(name)).State == StateDestroyed {
			return nil
		}
		content, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(directory, name), content, 0o600)
	})
	if err != nil {
		t.Fatal(fmt.Errorf("bring files back: %w", err))
	}
}

// closeKeys gives the keys of a copy the mode that copying took from them.
func closeKeys(directory string) error {
	return filepath.WalkDir(filepath.Join(directory, keysDirectory), func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chmod(name, 0o600)
	})
}

// Many recordings of which none is there are on a disk that is not mounted: nothing is certified
// until somebody has looked. Where some are there, or few are due, the sweep goes on.
func TestSweepOfWhatIsNotThere(t *testing.T) {
	for name, c := range map[string]struct{ due, there, destroyed int }{
		"none of many": {missingFloor, 0, 0},
		"one of many":  {missingFloor + 1, 1, missingFloor + 1},
		"none of few":  {missingFloor - 1, 0, missingFloor - 1},
	} {
		s := open(t, t.TempDir())
		for i := range c.due {
			row := keep(t, s, time.Now().Add(-time.Second))
			if i >= c.there {
				if err := os.Remove(filepath.Join(s.Directory(), row.Files[0].Path)); err != nil {
					t.Fatal(err)
				}
			}
		}
		w := NewSweeper(s, SweepConfig{})
		result, err := w.Sweep(t.Context())
		if errors.Is(err, ErrClockGuard) != (c.destroyed == 0) || result.Destroyed != c.destroyed {
			t.Errorf("%s: got %+v, %v, want %d destroyed", name, result, err, c.destroyed)
		}
		if c.destroyed > 0 {
			continue
		}
		if err := w.ConfirmClock(anna); err != nil {
			t.Fatal(err)
		}
		if result, err := w.Sweep(t.Context()); err != nil || result.Destroyed != c.due || result.Missing != c.due {
			t.Errorf("%s: got %+v, %v once it was confirmed, want all destroyed", name, result, err)
		}
	}
}
