package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func open(t *testing.T) *Root {
	t.Helper()
	r, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantContent fails if a file has another content.
func wantContent(t *testing.T, r *Root, name, want string) {
	t.Helper()
	if got, err := r.ReadFile(name); err != nil || string(got) != want {
		t.Errorf("%s: got %.40q, %v, want %.40q", name, got, err, want)
	}
}

// wantNone fails if there is a file.
func wantNone(t *testing.T, r *Root, name string) {
	t.Helper()
	if _, err := r.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: got %v, want that it is not there", name, err)
	}
}

// A file is written, and written anew, whatever a crash left of another try; only its owner
// may read it.
func TestWriteWhole(t *testing.T) {
	r := open(t)
	check(t, r.MkdirAll("keys/spool", 0o700))
	check(t, r.WriteFile("keys/spool/a"+PartSuffix, []byte("what a crash left"), 0o600))
	for _, content := range []string{"first", "2", ""} {
		check(t, r.WriteWhole("keys/spool/a", []byte(content)))
		wantContent(t, r, "keys/spool/a", content)
		wantNone(t, r, "keys/spool/a"+PartSuffix)
	}
	check(t, r.WriteWhole("b", []byte("in the root")))
	wantContent(t, r, "b", "in the root")
	if info, err := r.Stat("b"); err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info, err)
	}
}

// What cannot be written leaves what was there, and nothing else.
func TestNotWritten(t *testing.T) {
	r := open(t)
	check(t, r.MkdirAll("taken/x", 0o700))
	if err := r.WriteWhole("taken", []byte("x")); err == nil {
		t.Error("got no error of a name that a directory has")
	}
	wantNone(t, r, "taken"+PartSuffix)
	if err := r.WriteWhole("none/a", []byte("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := r.Stat("taken/x"); err != nil {
		t.Error(err)
	}
}

// What is removed is gone, and its size known; that there is none is not an error, and a
// directory is not removed.
func TestRemove(t *testing.T) {
	r := open(t)
	check(t, r.MkdirAll("d", 0o700))
	check(t, r.WriteFile("d/a", []byte("12345"), 0o600))
	for name, want := range map[string]bool{"d": true, "d/a": true, "d/b": false, "none/a": false} {
		if there, err := r.Exists(name); err != nil || there != want {
			t.Errorf("%s: got %v, %v, want %v", name, there, err, want)
		}
	}
	if _, err := r.Exists("../x"); err == nil {
		t.Error("got no error of what is above")
	}
	for _, want := range []int64{5, 0} {
		if freed, err := r.Remove("d/a"); err != nil || freed != want {
			t.Errorf("got %d bytes, %v, want %d", freed, err, want)
		}
		wantNone(t, r, "d/a")
	}
	if freed, err := r.Remove("none/a"); err != nil || freed != 0 {
		t.Errorf("got %d bytes, %v of a directory that is not there", freed, err)
	}
	if _, err := r.Remove("d"); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("got error %v, want %v", err, syscall.EISDIR)
	}
	check(t, r.Sync("d"))
	check(t, r.SyncUp("d"))
	if err := r.Sync("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
}

// What is erased is overwritten to its last byte before it goes.
func TestErase(t *testing.T) {
	r := open(t)
	for _, size := range []int{0, 1, 100_000} {
		check(t, r.WriteFile("secret", bytes.Repeat([]byte{0xa5}, size), 0o600))
		check(t, r.Link("secret", "witness"))
		check(t, r.Erase("secret"))
		wantNone(t, r, "secret")
		wantContent(t, r, "witness", string(make([]byte, size)))
		check(t, r.Erase("witness"))
		check(t, r.Erase("witness"))
	}
	check(t, r.Mkdir("d", 0o700))
	if err := r.Erase("d"); err == nil {
		t.Error("got no error of a directory")
	}
	if err := r.Erase("none/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
}

// The directory cannot be left, by no name and by no link.
func TestNotLeft(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	check(t, os.WriteFile(victim, []byte("mine"), 0o600))
	r := open(t)
	check(t, r.Symlink(outside, "away"))
	check(t, r.Symlink(victim, "link"))
	for what, err := range map[string]error{
		"write by a name":    r.WriteWhole("../x", nil),
		"write by a link":    r.WriteWhole("away/x", nil),
		"erase by a link":    r.Erase("away/victim"),
		"erase a link":       r.Erase("link"),
		"erase absolutely":   r.Erase(victim),
		"sync what is above": r.Sync(".."),
	} {
		if err == nil {
			t.Errorf("%s: got no error", what)
		}
	}
	if freed, err := r.Remove("away/victim"); err == nil {
		t.Errorf("got %d bytes removed by a link", freed)
	}
	if _, err := r.Remove("link"); err != nil { // the link goes, not what it leads to
		t.Error(err)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "mine" {
		t.Errorf("got %q, %v, want it untouched", got, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v outside, want nothing new", entries, err)
	}
}
