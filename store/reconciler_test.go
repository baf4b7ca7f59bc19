package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/blob/blobtest"
	"github.com/bewaard/bewaard/store/table"
)

func reconcile(t testing.TB, s *Store) Report {
	t.Helper()
	report, err := s.Reconcile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Where files and rows agree there is nothing to report, whatever state rows are in.
func TestReconcileNothing(t *testing.T) {
	s := open(t, t.TempDir())
	hour := time.Now().Add(time.Hour)
	keep(t, s, hour)
	unrecorded(t, s, hour)
	gone := keep(t, s, time.Now().Add(-time.Second))
	sweep(t, NewSweeper(s, SweepConfig{}))
	checkDestroyed(t, s, gone)
	up := begin(t, s)
	update(t, s, up.ID, granted)
	write(t, s, "spool/"+up.ID+".spool", "packets")
	before := files(t, s)
	if diff := cmp.Diff(Report{}, reconcile(t, s)); diff != "" {
		t.Errorf("report, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(before, files(t, s)); diff != "" {
		t.Errorf("files, -want +got:\n%s", diff)
	}
}

// Each thing that does not agree is reported under its name; what must not be there
// is removed, what someone has to decide about stays.
func TestReconcile(t *testing.T) {
	s := open(t, t.TempDir())
	hour := time.Now().Add(time.Hour)
	lost, short, whole := keep(t, s, hour), keep(t, s, hour), keep(t, s, hour)
	destroyed := keep(t, s, time.Now().Add(-time.Second))
	sweep(t, NewSweeper(s, SweepConfig{}))
	silent := unrecorded(t, s, hour)
	finalizing := begin(t, s)
	update(t, s, finalizing.ID, granted)
	update(t, s, finalizing.ID, func(r *Row) { r.State = StateFinalizing })
	unreadable := begin(t, s)
	err := s.db.Update(func(tx table.Tx) error { return tx.Table(rowsTable).Put([]byte(unreadable.ID), nil) })
	if err != nil {
		t.Fatal(err)
	}
	stranger := NewID()
	today := dayDirectory(whole.Began)

	if err := os.Remove(filepath.Join(s.Directory(), lost.Files[0].Path)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		short.Files[0].Path:                     "sou",
		today + "/" + whole.ID + ".wav":         "no row names it",
		today + "/" + stranger + ".opus":        "no row has its id",
		today + "/notes.part":                   "not ours",
		today + "/" + finalizing.ID + ".opus":   "is made again",
		today + "/" + finalizing.ID + ".x.part": "half",
		destroyed.Files[0].Path:                 "back from a backup",
		"spool/" + destroyed.ID + ".spool":      "back from a backup",
		"spool/" + silent.ID + ".spool":         "objected to",
		"spool/" + whole.ID + ".spool":          "finalized",
		"spool/" + lost.ID + ".spool":           "all that is left",
		"spool/" + finalizing.ID + ".spool":     "to be finalized",
		"spool/" + stranger + ".spool":          "no row has its id",
		"spool/" + unreadable.ID + ".spool":     "whose row cannot be read",
	} {
		write(t, s, name, content)
	}
	want := Report{
		FilesWithoutRow: []string{
			today + "/" + whole.ID + ".wav", today + "/" + stranger + ".opus", today + "/notes.part", "spool/" + stranger + ".spool",
		},
		RowsWithoutFile:  []string{lost.ID},
		FilesOfOtherSize: []string{short.Files[0].Path},
		Unreadable:       []string{"spool/" + unreadable.ID + ".spool"},
		SpoolsLeft:       []string{"spool/" + whole.ID + ".spool"},
		PartFiles:        []string{today + "/" + finalizing.ID + ".x.part"},
		Outlived:         []string{destroyed.Files[0].Path, "spool/" + destroyed.ID + ".spool", "spool/" + silent.ID + ".spool"},
	}
	if diff := cmp.Diff(want, reconcile(t, s)); diff != "" {
		t.Errorf("report, -want +got:\n%s", diff)
	}
	for _, name := range append(want.PartFiles, want.Outlived...) {
		if _, err := os.Lstat(filepath.Join(s.Directory(), name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want it removed", name, err)
		}
	}
	want.PartFiles, want.Outlived = nil, nil
	if diff := cmp.Diff(want, reconcile(t, s)); diff != "" {
		t.Errorf("second report, -want +got:\n%s", diff)
	}
}

// A directory that cannot be read, as a file system's lost+found, is reported and
// does not end the run.
func TestReconcileUnreadableDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read every directory")
	}
	s := open(t, t.TempDir())
	if err := os.Mkdir(filepath.Join(s.Directory(), "recordings", "lost+found"), 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Report{Unreadable: []string{"recordings/lost+found"}}, reconcile(t, s)); diff != "" {
		t.Errorf("report, -want +got:\n%s", diff)
	}
}

// What cannot be looked at is not called gone, nor changed.
func TestReconcileUnreadableFile(t *testing.T) {
	for _, failing := range []string{blobtest.Stat, blobtest.Open, blobtest.Read} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, t.TempDir())
			row := keep(t, s, time.Now().Add(400*day))
			s.recordings = blobtest.Faulty(s.recordings, func(op, _ string) error {
				if op == failing {
					return syscall.EIO
				}
				return nil
			})
			times := 0
			for range readEvery {
				time.Sleep(day)
				report, err := s.inspect(t.Context(), true)
				if err != nil {
					t.Fatal(err)
				}
				times += len(report.Unreadable)
				if len(report.RowsWithoutFile)+len(report.FilesChanged) > 0 {
					t.Errorf("%s: got %+v", failing, report)
				}
			}
			want := 1
			if failing == blobtest.Stat {
				want = readEvery
			}
			if times != want {
				t.Errorf("%s: got %s unreadable %d times, want %d", failing, row.Files[0].Path, times, want)
			}
		})
	}
}
