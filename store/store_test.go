package store

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

// open opens a store in a directory until the test ends.
func open(t testing.TB, directory string) *Store {
	t.Helper()
	s, err := Open(Config{Directory: directory}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A directory that others can look into is known as such; one that is not there yet will not
// be so.
func TestExposed(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "store")
	if mode, exposed := (Config{Directory: directory}).Exposed(); exposed {
		t.Errorf("got %v exposed of what is not there", mode)
	}
	open(t, directory)
	for mode, want := range map[os.FileMode]bool{0o700: false, 0o750: true, 0o701: true, 0o777: true} {
		if err := os.Chmod(directory, mode); err != nil {
			t.Fatal(err)
		}
		if got, exposed := (Config{Directory: directory}).Exposed(); got != mode || exposed != want {
			t.Errorf("got %v, %v of mode %v, want %v", got, exposed, mode, want)
		}
	}
}

var ids atomic.Uint64

// nextID returns an id of now, in their order. Those of NewID never go back in time, so that
// they are of the future once another test has been there.
func nextID() string {
	id := uuid.UUID{6: 0x70, 8: 0x80}
	for i, ms := 0, time.Now().UnixMilli(); i < 6; i++ {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	binary.BigEndian.PutUint32(id[12:], uint32(ids.Add(1)))
	return id.String()
}

// calling returns the row of a call that comes in now.
func calling() Row {
	return Row{
		ID: nextID(), Direction: "inbound", CallerTrunk: "carrier", CalleeTrunk: "pbx",
		Personal: Personal{Caller: "+31201234567", Callee: "+31687654321", CallerCallID: "a84b4c76e66710", CalleeCallID: "f81d4fae7dec"},
		Began:    time.Now(),
	}
}

// begin puts the row of a call that comes in now into the store.
func begin(t testing.TB, s *Store) Row {
	t.Helper()
	row := calling()
	if err := s.Begin(row); err != nil {
		t.Fatal(err)
	}
	row.State = StateCalling
	row.inUTC()
	return row
}

// update changes a row that must take the change.
func update(t testing.TB, s *Store, id string, change func(*Row)) Row {
	t.Helper()
	row, err := s.Update(id, func(r *Row) error { change(r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func granted(r *Row) {
	r.State = StateRecording
	r.Rule, r.Purpose, r.Basis, r.Retention = "customers", "quality", "legitimate_interest", "P14D"
	r.Recording = &Recording{Began: time.Now()}
}

// keep brings a new row to kept, with a file of that content on disk.
func keep(t testing.TB, s *Store, expires time.Time) Row {
	t.Helper()
	row := begin(t, s)
	update(t, s, row.ID, granted)
	update(t, s, row.ID, func(r *Row) { r.State, r.Ended = StateFinalizing, time.Now() })
	name := path.Join(s.RecordingDirectory(row.Began), row.ID+".opus")
	write(t, s, name, "sound")
	return update(t, s, row.ID, func(r *Row) {
		r.State, r.Expires = StateKept, expires
		r.Files = []File{{Path: name, Format: "opus", Bytes: 5, Seconds: 1, SHA256: "00"}}
	})
}

// unrecorded brings a new row to not_recorded.
func unrecorded(t testing.TB, s *Store, expires time.Time) Row {
	t.Helper()
	row := begin(t, s)
	return update(t, s, row.ID, func(r *Row) { r.State, r.Reason, r.Expires = StateNotRecorded, "no_rule", expires })
}

// write puts a file below the store's directory.
func write(t testing.TB, s *Store, name, content string) {
	t.Helper()
	if err := s.disk.MkdirAll(path.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Directory(), name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ofCalls reports whether a file below the store's directory is of recordings or spools.
func ofCalls(name string) bool {
	return strings.HasPrefix(name, recordingsDirectory) || strings.HasPrefix(name, spoolDirectory)
}

// files lists the files of recordings and spools.
func files(t testing.TB, s *Store) []string {
	t.Helper()
	names := []string{}
	err := filepath.WalkDir(s.Directory(), func(name string, entry os.DirEntry, err error) error {
		relative, _ := filepath.Rel(s.Directory(), name)
		if err == nil && !entry.IsDir() && ofCalls(relative) {
			names = append(names, relative)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func mustGet(t testing.TB, s *Store, id string) Row {
	t.Helper()
	row, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// checkIndexes compares every index and count with what the rows call for.
func checkIndexes(t testing.TB, s *Store) {
	t.Helper()
	want, got := map[string][]string{}, map[string][]string{}
	wantCounts, gotCounts := map[State]int64{}, map[State]int64{}
	err := s.db.View(func(tx table.Tx) error {
		err := each(tx.Table(rowsTable), func(id, value []byte) error {
			row, err := decodeRow(id, value)
			if err != nil {
				return err
			}
			wantCounts[row.State]++
			for _, x := range indexes {
				for _, key := range x.keys(&row) {
					want[x.table] = append(want[x.table], string(key))
				}
			}
			return nil
		})
		for _, x := range indexes {
			slices.Sort(want[x.table])
			for key := range x.between(tx, nil, nil) {
				got[x.table] = append(got[x.table], string(key))
			}
		}
		for _, state := range states {
			if n := readCount(tx, state); n != 0 {
				gotCounts[state] = n
			}
		}
		return err
	})
	if err := errors.Join(err, s.db.(*bolt.DB).Check()); err != nil {
		t.Fatal(err)
	}
	for _, x := range indexes {
		if diff := cmp.Diff(want[x.table], got[x.table]); diff != "" {
			t.Errorf("index %s, -want +got:\n%s", x.table, diff)
		}
	}
	if diff := cmp.Diff(wantCounts, gotCounts); diff != "" {
		t.Errorf("counts by state, -want +got:\n%s", diff)
	}
}

// A new directory is made with what belongs in it, closed to everyone else.
func TestOpenMakesTheDirectory(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "var", "bewaard")
	s := open(t, directory)
	for name, want := range map[string]os.FileMode{".": 0o700, "recordings": 0o700, "spool": 0o700, databaseFile: 0o600} {
		info, err := os.Stat(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s: got %v, want %v", name, got, want)
		}
	}
	if got := files(t, s); len(got) != 0 {
		t.Errorf("got files %v in a new store, want none", got)
	}
}

// What cannot be written to is named, every such directory at once.
func TestOpenNamesWhatItCannotWriteTo(t *testing.T) {
	directory := t.TempDir()
	for _, name := range []string{"recordings", "spool"} {
		if err := os.WriteFile(filepath.Join(directory, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(Config{Directory: directory}, nil, slog.New(slog.DiscardHandler))
	for _, name := range []string{"recordings", "spool"} {
		if want := filepath.Join(directory, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that names %s", err, want)
		}
	}
}

// A second daemon on the same directory is turned away, and told why.
func TestOpenRefusesASecondProcess(t *testing.T) {
	directory := t.TempDir()
	open(t, directory)
	if _, err := Open(Config{Directory: directory}, nil, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrLocked) {
		t.Errorf("got error %v, want %v", err, ErrLocked)
	}
}

// A database of a later bewaard is not touched.
func TestOpenRefusesAnotherSchema(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	err := s.db.Update(func(tx table.Tx) error { return tx.Table(metaTable).Put(schemaKey, []byte("3")) })
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, err = Open(Config{Directory: directory}, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), `schema "3"`) {
		t.Errorf("got error %v, want one about schema \"3\"", err)
	}
}

// Every fault of the section is reported at once, with its key.
func TestValidate(t *testing.T) {
	faults := Config{Sweep: SweepConfig{Interval: -1, MaxShare: 1.5}}.Validate()
	var got []string
	for _, fault := range faults {
		got = append(got, fault.Error())
	}
	want := []string{"sweep.interval: is negative", "sweep.max_share: is not between 0 and 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults, -want +got:\n%s", diff)
	}
	if faults := (Config{}).Validate(); len(faults) != 0 {
		t.Errorf("got faults %v in the defaults, want none", faults)
	}
}

// Ids sort in the order in which they were made.
func TestNewID(t *testing.T) {
	var ids []string
	for range 1000 {
		ids = append(ids, NewID())
	}
	if !slices.IsSorted(ids) {
		t.Error("got ids out of order")
	}
	if err := checkID(ids[0]); err != nil {
		t.Errorf("got %v for an id of our own", err)
	}
	for _, id := range []string{"", "x", "../../etc/passwd", strings.ToUpper(ids[0]), "{" + ids[0] + "}", "f47ac10b-58cc-4372-8567-0e02b2c3d479"} {
		if checkID(id) == nil {
			t.Errorf("got no error for id %q", id)
		}
	}
}
