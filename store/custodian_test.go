package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
)

// The head is told at the start and every day; a file that was changed is found within a
// month; what is found stands in the journal, by kinds and numbers.
func TestCustodian(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		sum := sha256.Sum256([]byte("sound"))
		changed, whole := keep(t, s, time.Now().Add(365*day)), keep(t, s, time.Now().Add(365*day))
		for _, row := range []Row{changed, whole} {
			update(t, s, row.ID, func(r *Row) { r.Files[0].SHA256 = hex.EncodeToString(sum[:]) })
		}
		write(t, s, changed.Files[0].Path, "SOUND")
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup // ends with the context
		running.Go(func() { NewCustodian(s).Run(ctx) })
		running.Go(func() { NewSweeper(s, SweepConfig{Interval: 6 * time.Hour}).Run(ctx) })
		time.Sleep(readEvery*day + time.Hour)
		synctest.Wait()
		cancel()
		running.Wait()
		text, err := fs.ReadFile(s.disk.FS(), HeadFile)
		if err != nil {
			t.Fatal(err)
		}
		heads, err := ReadHeads(text)
		if err != nil || len(heads) != readEvery+1 {
			t.Errorf("got %d heads, %v, want %d", len(heads), err, readEvery+1)
		}
		var told []string
		for _, e := range entries(t, s) {
			if e.Action == journal.Reconcile {
				told = append(told, e.Reason)
			}
		}
		if diff := cmp.Diff([]string{"file_changed: 1"}, told); diff != "" {
			t.Errorf("findings in the journal, -want +got:\n%s", diff)
		}
	})
}

// While calls go on, what is being made is left alone; what no job can be at goes, and
// what should have been destroyed is told of.
func TestInspect(t *testing.T) {
	s := open(t, t.TempDir())
	overdue, kept := keep(t, s, time.Now().Add(-2*time.Hour)), keep(t, s, time.Now().Add(time.Hour))
	making := begin(t, s)
	update(t, s, making.ID, granted)
	update(t, s, making.ID, func(r *Row) { r.State = StateFinalizing })
	today := dayDirectory(kept.Began)
	write(t, s, today+"/"+making.ID+".opus.part", "half")
	write(t, s, today+"/"+kept.ID+".wav.part", "left")
	write(t, s, today+"/"+NewID()+".wav.part", "begun, and its row not yet written")
	old := "01900000-0000-7000-8000-000000000000" // of 2024
	write(t, s, today+"/"+old+".wav.part", "of nobody")
	got, err := s.inspect(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{PartFiles: []string{today + "/" + old + ".wav.part", today + "/" + kept.ID + ".wav.part"}, Overdue: []string{overdue.ID}}
	got.FilesChanged = nil // it may be their day: their hash is none
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report, -want +got:\n%s", diff)
	}
	all := entries(t, s)
	if last := all[len(all)-1]; last.Action != journal.Reconcile || !strings.Contains(last.Reason, "overdue: 1, part_file: 2") {
		t.Errorf("got %+v, want the findings", last)
	}
}

// A recording whose key is gone, and a key that outlives its day, are found: the one can be
// opened by nobody, the other by too many.
func TestReconcileKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		lost, due := keep(t, s, time.Now().Add(20*day)), keep(t, s, time.Now().Add(2*day))
		for _, row := range []Row{lost, due} {
			epoch := seal.EpochOf(row.Expires)
			if _, err := s.Keys().Seal(epoch, io.Discard); err != nil { // makes the epoch
				t.Fatal(err)
			}
			update(t, s, row.ID, func(r *Row) { r.Files[0].Epoch = epoch })
		}
		if diff := cmp.Diff(Report{}, reconcile(t, s)); diff != "" {
			t.Errorf("report of what is in order, -want +got:\n%s", diff)
		}
		if err := s.Keys().Destroy(seal.EpochOf(lost.Expires)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * day)                                                                      // and nobody sweeps
		outlived := []string{string(seal.EpochOf(due.Began)), string(seal.EpochOf(due.Expires))} // the first while it had no expiry
		want := Report{KeysMissing: []string{lost.ID}, KeysOutlived: outlived, Overdue: []string{due.ID}}
		if diff := cmp.Diff(want, reconcile(t, s)); diff != "" {
			t.Errorf("report, -want +got:\n%s", diff)
		}
	})
}
