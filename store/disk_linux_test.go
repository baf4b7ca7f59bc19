package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/bewaard/bewaard/store/blob/blobtest"
	"github.com/bewaard/bewaard/store/journal"
)

// mount mounts a small file system in memory.
func mount(t *testing.T, directory string, bytes int) {
	t.Helper()
	blobtest.Mount(t, directory, fmt.Sprintf("size=%d", bytes))
}

// On a full disk what cannot be written is refused, by an error, and nothing that was there
// is lost: not a row, not an entry of the journal, not a recording. Nothing is deleted to
// make room. With room again all goes on.
func TestDiskFull(t *testing.T) {
	directory, inside := blobtest.Mounted(t)
	if !inside {
		return
	}
	mount(t, directory, 8<<20)
	a := &audited{Store: open(t, filepath.Join(directory, "store")), snapshot: filepath.Join(t.TempDir(), "audit.db")}
	a.kept = keep(t, a.Store, time.Now().Add(day))
	due, other := keep(t, a.Store, time.Now().Add(time.Minute)), keep(t, a.Store, time.Now().Add(day))
	held := hold(t, a.Store, Held{IDs: []string{a.kept.ID}}, time.Time{})
	if _, err := a.ReleaseHold(held.ID, bert); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(directory, "ballast")
	occupy(t, ballast)

	begun := map[string]bool{}
	refused := 0
	for range 3000 { // what is free within the database is used up first
		row := calling()
		err := a.Begin(row)
		if err == nil {
			begun[row.ID] = true
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("got error %v, want %v", err, syscall.ENOSPC)
		}
		if refused++; refused == 3 {
			break
		}
	}
	if refused < 3 {
		t.Fatalf("got %d rows and %d refusals on a full disk", len(begun), refused)
	}
	for what, err := range map[string]error{
		"note":     a.Note(journal.Export, a.kept.ID, anna),
		"snapshot": a.Snapshot(anna, func(journal.Head, int64) io.Writer { return io.Discard }),
		"witness":  a.Witness(),
	} {
		if err != nil && !errors.Is(err, syscall.ENOSPC) { // what is small may find room in a free page
			t.Errorf("%s: got error %v, want %v or none", what, err, syscall.ENOSPC)
		}
	}
	if c, err := a.Compact(anna); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %+v, %v, want %v", c, err, syscall.ENOSPC)
	}
	h, err := a.LayHold(t.Context(), Held{IDs: []string{other.ID}}, time.Time{}, anna)
	if got := mustGet(t, a.Store, other.ID); got.held() != (err == nil) || err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got error %v of a legal hold, and the row %+v", err, got)
	}
	for id := range begun {
		mustGet(t, a.Store, id)
	}
	if got := mustGet(t, a.Store, a.kept.ID); got.State != StateKept || len(files(t, a.Store)) != 3 {
		t.Errorf("got %+v, files %v, want all recordings", got, files(t, a.Store))
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		if _, err := a.ReleaseHold(h.ID, bert); err != nil {
			t.Fatal(err)
		}
	}
	update(t, a.Store, due.ID, func(r *Row) { r.Expires = time.Now().Add(-time.Second) })
	sweep(t, NewSweeper(a.Store, SweepConfig{}))
	checkDestroyed(t, a.Store, mustGetExpired(t, a.Store, due))
	if _, err := a.Compact(anna); err != nil {
		t.Error(err)
	}
	a.take(t)
	if found, _ := a.audit(t, func(c *VerifyConfig) { c.Heads, c.Blobs = nil, "" }); found != nil {
		t.Errorf("got %q, want no findings", found)
	}
	checkIndexes(t, a.Store)
}

// mustGetExpired returns a row as it was, with the expiry that it has got since.
func mustGetExpired(t *testing.T, s *Store, row Row) Row {
	t.Helper()
	row.Expires = mustGet(t, s, row.ID).Expires
	return row
}

// occupy takes all room that there is.
func occupy(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

// A store on a file system that became one to read from is not opened, and says where.
func TestDiskReadOnly(t *testing.T) {
	directory, inside := blobtest.Mounted(t)
	if !inside {
		return
	}
	mount(t, directory, 8<<20)
	s := open(t, directory)
	row := keep(t, s, time.Now().Add(day))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", directory, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("not remounted: %v", err)
	}
	if _, err := Open(Config{Directory: directory}, nil, nil); !errors.Is(err, syscall.EROFS) || !bytes.Contains([]byte(err.Error()), []byte(directory)) {
		t.Errorf("got error %v, want %v at %s", err, syscall.EROFS, directory)
	}
	// Somebody may still look.
	found := 0
	v, err := Verify(t.Context(), VerifyConfig{Snapshot: filepath.Join(directory, databaseFile)}, func(f Finding) { found++; t.Log(f) })
	if err != nil || found > 0 || v.Rows != 1 {
		t.Errorf("got %+v, %v, want the row %s and no findings", v, err, row.ID)
	}
	if err := syscall.Mount("", directory, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	mustGet(t, open(t, directory), row.ID)
}

// A page of the database's head that was torn costs the last commit at most, and the
// journal is whole to there.
func TestTornHead(t *testing.T) {
	a := newAudited(t, nil)
	last := unrecorded(t, a.Store, time.Now().Add(day))
	directory := copyStore(t, a.Directory())
	page := os.Getpagesize()
	name := filepath.Join(directory, databaseFile)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for head := range 2 {
		torn := bytes.Clone(whole)
		copy(torn[head*page+page/64:], bytes.Repeat([]byte{0xa5}, page/2))
		if err := os.WriteFile(name, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, directory)
		for _, row := range []Row{a.kept, a.held, a.destroyed} {
			mustGet(t, s, row.ID)
		}
		if got := mustGet(t, s, last.ID).State; got != StateNotRecorded && got != StateCalling {
			t.Errorf("got state %s of the last row", got)
		}
		entries(t, s)
		checkIndexes(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
