package directory_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/blob/blobtest"
	"github.com/bewaard/bewaard/store/blob/directory"
)

func open(t testing.TB, path string) *directory.Store {
	t.Helper()
	s, err := directory.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func begin(t testing.TB, s blob.Store, name, content string) blob.Writer {
	t.Helper()
	w, err := s.Create(name)
	check(t, err)
	_, err = w.Write([]byte(content))
	check(t, err)
	return w
}

// all returns what a store has, sorted; directories that cannot be read with a question mark.
func all(s blob.Store) (names []string) {
	for info, err := range s.Walk(".") {
		if err != nil {
			info.Name += "?"
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

// A directory is a store of blobs.
func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		path := t.TempDir()
		return func() blob.Store { return open(t, path) }
	})
}

// A blob is written beside where it ends up; only its owner may read it, or see its name.
func TestFiles(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	w := begin(t, s, "2026/11/24/a.opus.age", "content")
	mode := func(name string, want fs.FileMode) {
		t.Helper()
		info, err := os.Lstat(filepath.Join(path, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want mode %v", name, info, err, want)
		}
	}
	mode("2026/11/24/a.opus.age.part", 0o600)
	check(t, w.Commit())
	mode("2026/11/24/a.opus.age", 0o600)
	mode("2026", fs.ModeDir|0o700)
	mode("2026/11/24", fs.ModeDir|0o700)
	if got, err := os.ReadFile(filepath.Join(path, "2026/11/24/a.opus.age")); err != nil || string(got) != "content" {
		t.Errorf("got %q, %v, want what was written", got, err)
	}
}

// What somebody else put there is listed and can be removed; but for files it is not opened,
// and nothing outside is reached.
func TestStrangers(t *testing.T) {
	outside := t.TempDir()
	check(t, os.WriteFile(filepath.Join(outside, "victim"), []byte("mine"), 0o600))
	path := t.TempDir()
	check(t, os.Symlink(filepath.Join(outside, "victim"), filepath.Join(path, "link")))
	check(t, os.Symlink(outside, filepath.Join(path, "away")))
	check(t, os.WriteFile(filepath.Join(path, "file"), []byte("theirs"), 0o644))
	s := open(t, path)
	if got, want := all(s), []string{"away", "file", "link"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, name := range []string{"link", "away", "away/victim"} {
		if _, err := s.Open(name); err == nil {
			t.Errorf("got no error of opening %s", name)
		}
		if _, err := s.Stat(name); err == nil {
			t.Errorf("got no error of asking for %s", name)
		}
	}
	if _, err := s.Create("away/new"); err == nil {
		t.Error("got no error of a blob outside")
	}
	if _, err := s.Remove("away/victim"); err == nil {
		t.Error("got no error of removing what is outside")
	}
	for info, err := range s.Walk("away") {
		if err == nil || info.Name != "away" {
			t.Errorf("got %+v, %v outside, want an error", info, err)
		}
	}
	for _, name := range []string{"link", "away", "file"} {
		_, err := s.Remove(name)
		check(t, err)
	}
	if got := all(s); got != nil {
		t.Errorf("got %q, want nothing", got)
	}
	if got, err := os.ReadFile(filepath.Join(outside, "victim")); err != nil || string(got) != "mine" {
		t.Errorf("got %q, %v outside, want it untouched", got, err)
	}
}

// A directory that cannot be read is told of, and what is beside it is found.
func TestUnreadable(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	for _, name := range []string{"a/x", "lost+found/x", "z/x"} {
		check(t, begin(t, s, name, "").Commit())
	}
	closed := filepath.Join(path, "lost+found")
	check(t, os.Chmod(closed, 0))
	defer os.Chmod(closed, 0o700) // for the end of the test to remove it
	if _, err := os.ReadDir(closed); err == nil {
		t.Skip("nothing is unreadable here")
	}
	if got, want := all(s), []string{"a/x", "lost+found?", "z/x"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A name that a directory has cannot be committed: that leaves it and nothing else.
func TestNameTaken(t *testing.T) {
	s := open(t, t.TempDir())
	check(t, begin(t, s, "a/b", "").Commit())
	w := begin(t, s, "a", "")
	if err := w.Commit(); err == nil {
		t.Error("got no error")
	}
	check(t, w.Abort())
	if _, err := s.Create("a/b/c"); err == nil {
		t.Error("got no error of a directory whose name a blob has")
	}
	if got, want := all(s), []string{"a/b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A Writer leaves alone what somebody else has begun anew.
func TestTakenOver(t *testing.T) {
	s := open(t, t.TempDir())
	first, second := begin(t, s, "d/a", "first"), begin(t, s, "d/a", "second")
	if err := first.Commit(); err == nil {
		t.Error("got no error of a blob that was begun anew")
	}
	check(t, first.Abort())
	if got, want := all(s), []string{"d/a.part"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	check(t, second.Commit())
}

// An error says what was to be done to which blob, and why it was not: once.
func TestErrors(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	_, absent := s.Open("d/a")
	_, outside := s.Create("../a")
	_, unfinished := s.Open("a.part")
	for want, err := range map[string]error{
		"open blob d/a: no such file or directory":                          absent,
		"create blob ../a: it is no path below the store: invalid argument": outside,
		"open blob a.part: it ends with .part: invalid argument":            unfinished,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
	if _, err := directory.Open(filepath.Join(path, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v of a directory that is not there, want %v", err, fs.ErrNotExist)
	}
}

// A busy day's names.
func BenchmarkList(b *testing.B) {
	const names = 100_000
	path := b.TempDir()
	for n := range names {
		check(b, os.WriteFile(filepath.Join(path, fmt.Sprintf("%08d.opus.age", n)), nil, 0o600))
	}
	s := open(b, path)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range s.List(".") {
			check(b, err)
			n++
		}
		if n != names {
			b.Fatalf("got %d names, want %d", n, names)
		}
	}
}

// A blob of a megabyte, from nothing to the disk.
func BenchmarkCreate(b *testing.B) {
	s := open(b, b.TempDir())
	content := bytes.Repeat([]byte{0xa5}, 1<<20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		w, err := s.Create("2026/11/24/a.opus.age")
		check(b, err)
		_, err = w.Write(content)
		check(b, err)
		check(b, w.Commit())
	}
}
