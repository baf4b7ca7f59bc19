package store

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
)

// pair returns keys for a machine without the master identity and for one that has it.
func pair(t *testing.T) (sealed, opening seal.Config) {
	t.Helper()
	identity := filepath.Join(t.TempDir(), "master.key")
	recipient, err := seal.Generate(identity)
	if err != nil {
		t.Fatal(err)
	}
	return seal.Config{Recipients: []string{recipient}, Sealed: true}, seal.Config{Identity: identity}
}

func openWith(t *testing.T, directory string, keys seal.Config) *Store {
	t.Helper()
	s, err := Open(Config{Directory: directory, Keys: keys}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// unseen fails for every file below a directory that has one of the texts in it.
func unseen(t *testing.T, directory string, texts ...string) {
	t.Helper()
	err := filepath.WalkDir(directory, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s: has %q in the clear", name, text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// No number or Call-ID of a row is ever in the database in the clear, through all of its life.
func TestNothingInTheClear(t *testing.T) {
	s := open(t, t.TempDir())
	row := keep(t, s, time.Now().Add(time.Hour))
	joined := []Joined{{At: time.Now(), Leg: "callee", Trunk: "pbx", Number: "+31201234999"}}
	update(t, s, row.ID, func(r *Row) { r.Joined = joined })
	secrets := []string{"1201234567", "1687654321", "a84b4c76e66710", "f81d4fae7dec", "1201234999"}
	unseen(t, s.Directory(), secrets...)
	update(t, s, row.ID, func(r *Row) { r.Expires = time.Now().Add(-time.Second) })
	sweep(t, NewSweeper(s, SweepConfig{}))
	unseen(t, s.Directory(), secrets...)
	if got := mustGet(t, s, row.ID); !got.Personal.empty() || got.Sealed {
		t.Errorf("got %+v of a destroyed row, want nothing personal", got.Personal)
	}
}

// A machine without the master identity shows no number, today's neither, and still finds
// rows by them; what it changes keeps them for who has the identity.
func TestSealedRows(t *testing.T) {
	directory := t.TempDir()
	sealed, opening := pair(t)
	s := openWith(t, directory, sealed)
	want := begin(t, s)
	for _, restarted := range []bool{false, true} {
		if restarted {
			s.Close()
			s = openWith(t, directory, sealed)
		}
		if got := mustGet(t, s, want.ID); !got.Sealed || !got.Personal.empty() {
			t.Errorf("restarted %v: got %+v, sealed %v, want it sealed", restarted, got.Personal, got.Sealed)
		}
		got := update(t, s, want.ID, func(r *Row) { r.Outcome, r.Expires = "answered", want.Began.Add(200*day) })
		if !got.Sealed || !got.Personal.empty() {
			t.Errorf("restarted %v: update returned %+v, want it sealed", restarted, got.Personal)
		}
		for number, rows := range map[string]int{want.Caller: 1, want.Callee: 1, "+31201234": 0} {
			if got := list(t, s, Query{Number: number}); len(got) != rows {
				t.Errorf("restarted %v: got %d rows of %s, want %d", restarted, len(got), number, rows)
			}
		}
	}
	checkIndexes(t, s)
	s.Close()
	got := mustGet(t, openWith(t, directory, opening), want.ID)
	if diff := cmp.Diff(want.Personal, got.Personal); diff != "" || got.Sealed {
		t.Errorf("with the identity, -want +got:\n%s", diff)
	}
}

// The personal part follows the expiry to another epoch: by today's key without the master
// identity, with it always.
func TestPersonalFollowsTheExpiry(t *testing.T) {
	sealed, opening := pair(t)
	for name, keys := range map[string]seal.Config{"sealed": sealed, "opening": opening} {
		s := openWith(t, t.TempDir(), keys)
		row := begin(t, s)
		later := row.Began.Add(200 * day)
		update(t, s, row.ID, func(r *Row) { r.Expires = later })
		err := s.db.View(func(tx table.Tx) error {
			got, err := get(tx, row.ID)
			if err == nil && got.part.Epoch != seal.EpochOf(later) {
				t.Errorf("%s: sealed to %s, want %s", name, got.part.Epoch, seal.EpochOf(later))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// When the day on which rows expired is over its key goes, but not while something is sealed
// with it that is not due; then nothing of it can be opened, not even from a copy of all that
// there was but the key.
func TestEpochsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		w := NewSweeper(s, SweepConfig{MaxShare: 1})
		expires := time.Now().Add(time.Hour)
		epoch := seal.EpochOf(expires)
		kept := keep(t, s, expires)
		up := begin(t, s) // a call that goes on for days
		update(t, s, up.ID, func(r *Row) { r.Expires = expires })
		var copied bytes.Buffer
		if err := s.db.Snapshot(func(table.Tx, int64) (io.Writer, error) { return &copied, nil }); err != nil {
			t.Fatal(err)
		}
		destroyed := func() bool {
			t.Helper()
			epochs, err := s.keys.Epochs()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range epochs {
				if e.Epoch == epoch {
					return !e.Destroyed.IsZero()
				}
			}
			t.Fatalf("no epoch %s among %+v", epoch, epochs)
			return false
		}
		sleep := func(d time.Duration) { // a sweep a day, as the clock guard wants it
			t.Helper()
			for ; d > 0; d -= 12 * time.Hour {
				time.Sleep(12 * time.Hour)
				sweep(t, w)
			}
		}
		sleep(36 * time.Hour)
		if got := mustGet(t, s, kept.ID); got.State != StateDestroyed {
			t.Errorf("got %s, want %s", got.State, StateDestroyed)
		}
		if destroyed() {
			t.Fatal("the key of a call that goes on was destroyed")
		}
		update(t, s, up.ID, func(r *Row) { r.State, r.Reason, r.Expires = StateNotRecorded, "no_rule", time.Now().Add(40*day) })
		sweep(t, w)
		if !destroyed() {
			t.Fatal("nothing needs the key, and it is there")
		}
		if got := mustGet(t, s, up.ID); got.Caller != up.Caller {
			t.Errorf("got caller %q of the call that went on, want %q", got.Caller, up.Caller)
		}

		// The copy, put back beside the keys that there are now.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.databasePath(), copied.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{kept.ID} {
			if got := mustGet(t, open(t, s.Directory()), id); !got.Sealed || !got.Personal.empty() {
				t.Errorf("got %+v from a copy, want that it cannot be opened", got.Personal)
			}
		}
	})
}

// The clock guard keeps keys, too: a wrong clock destroys none.
func TestGuardKeepsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		keep(t, s, time.Now().Add(time.Hour))
		time.Sleep(40 * day) // without a sweep
		if _, err := NewSweeper(s, SweepConfig{}).Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Fatalf("got %v, want ErrClockGuard", err)
		}
		epochs, err := s.keys.Epochs()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range epochs {
			if !e.Destroyed.IsZero() {
				t.Errorf("epoch %s was destroyed", e.Epoch)
			}
		}
	})
}

// schema1 puts a database that was written before rows were sealed into a directory.
func schema1(t *testing.T) (directory string) {
	t.Helper()
	directory = t.TempDir()
	packed, err := os.Open("testdata/schema1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, databaseFile), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return directory
}

// A database of schema 1 says the same when its rows are sealed, and none of it in the clear
// any more, free pages included. A migration that was cut short goes on.
func TestMigrate(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	id := func(n int) string { return fmt.Sprintf("019ab5f0-7c00-7000-8000-%012d", n) }
	for _, half := range []bool{false, true} {
		directory := schema1(t)
		if half {
			halfMigrated(t, directory)
		}
		s := open(t, directory)
		for n, want := range map[int]struct {
			state    State
			personal bool
			joined   int
		}{1: {StateCalling, true, 0}, 2: {StateKept, true, 1}, 3: {StateDestroyed, false, 0}} {
			got := mustGet(t, s, id(n))
			if got.State != want.state || got.Personal.empty() == want.personal || len(got.Joined) != want.joined {
				t.Errorf("half %v, row %d: got %+v, want %+v", half, n, got, want)
			}
			if want.personal && (got.Caller != "+31201234567" || got.CallerCallID != "a84b4c76e66710@10.0.0.7") {
				t.Errorf("half %v, row %d: got %+v", half, n, got.Personal)
			}
		}
		if got := list(t, s, Query{Number: "+31201234999"}); len(got) != 1 || got[0] != id(2) {
			t.Errorf("half %v: got %v for a number, want %s", half, got, id(2))
		}
		if c, err := s.clock(); err != nil || !c.Mark.Equal(at) {
			t.Errorf("half %v: got mark %v, %v, want %v", half, c.Mark, err, at)
		}
		checkIndexes(t, s)
		unseen(t, directory, "1201234567", "1687654321", "1201234999", "a84b4c76e66710", "f81d4fae7dec")
		s.Close()
		open(t, directory) // as any other
	}
}

// halfMigrated leaves a database as a crash within its migration would.
func halfMigrated(t *testing.T, directory string) {
	t.Helper()
	s := &Store{directory: directory, log: slog.New(slog.DiscardHandler)}
	err := s.openFiles()
	if err != nil {
		t.Fatal(err)
	}
	defer s.closeFiles()
	if err := s.openDatabase(); err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	if s.keys, err = seal.Open(filepath.Join(directory, keysDirectory), seal.Config{}, s.log); err != nil {
		t.Fatal(err)
	}
	defer s.keys.Close()
	err = s.db.Update(func(tx table.Tx) error {
		sealed := 0
		_, err := s.sealSome(tx, nil, &sealed)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
