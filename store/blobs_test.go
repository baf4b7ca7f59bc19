package store

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Recordings lie under the UTC day on which the call began. Its directory comes with the first.
func TestRecordingDirectory(t *testing.T) {
	s := open(t, t.TempDir())
	began := time.Date(2026, 1, 1, 0, 30, 0, 0, time.FixedZone("CET", 3600))
	got := s.RecordingDirectory(began)
	if want := "recordings/2025/12/31"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 2 {
		w, err := s.CreateFile(got + "/" + NewID() + ".opus.age")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
	}
	info, err := os.Stat(filepath.Join(s.Directory(), "recordings/2025/12/31"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v, want a directory of mode 0700", info, err)
	}
}

// A recording can be opened by its row; what is no recording cannot, by no name and
// by no link.
func TestOpenFile(t *testing.T) {
	s := open(t, t.TempDir())
	row := keep(t, s, time.Now().Add(time.Hour))
	f, err := s.OpenFile(row.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != "sound" {
		t.Errorf("got %q, %v, want %q", got, err, "sound")
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(s.Directory(), "recordings", "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{databaseFile, "recordings/../" + databaseFile, "recordings/../../x", "recordings/link", "/etc/passwd", ""} {
		if f, err := s.OpenFile(File{Path: name}); err == nil {
			t.Errorf("got no error for %q", name)
			f.Close()
		}
		if w, err := s.CreateFile(name); err == nil && name != "recordings/link" {
			t.Errorf("got no error for the creation of %q", name)
			w.Abort()
		}
	}
}

// RemoveSpool takes everything that bears the id, nothing else, and is content where
// there is nothing.
func TestRemoveSpool(t *testing.T) {
	s := open(t, t.TempDir())
	mine, other := NewID(), NewID()
	for _, name := range []string{mine + ".spool", mine + ".spool.part", other + ".spool"} {
		write(t, s, path.Join(spoolDirectory, name), "packets")
	}
	for range 2 {
		if err := s.RemoveSpool(mine); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"spool/" + other + ".spool"}, files(t, s)); diff != "" {
		t.Errorf("files, -want +got:\n%s", diff)
	}
	if err := s.RemoveSpool(""); err == nil {
		t.Error("got no error for no id")
	}
}
