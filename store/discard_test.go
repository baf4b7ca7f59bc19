package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
)

// objecting is a call that is recorded, with a spool, whose far party has objected.
func objecting(t *testing.T, s *Store) Row {
	t.Helper()
	row := begin(t, s)
	row = update(t, s, row.ID, func(r *Row) { granted(r); r.State, r.Recording = StateRecording, &Recording{Began: r.Began} })
	write(t, s, spoolDirectory+"/"+row.ID+".spool", "what was captured")
	row.part, row.tokens = nil, nil // as the call has it, who knows nothing of seals
	row.Reason, row.Expires = "objected", row.Began.AddDate(0, 0, 90)
	return row
}

// What was captured of a call is destroyed at once: journalled before, certified after, and
// an auditor finds nothing to say of it.
func TestDiscard(t *testing.T) {
	a := newAudited(t, func(a *audited) {
		row := objecting(t, a.Store)
		if err := a.FinishDiscard(row.ID); !errors.Is(err, ErrNotDiscarded) {
			t.Fatalf("got %v before anybody objected, want %v", err, ErrNotDiscarded)
		}
		if err := a.Discard(row, Act{Daemon, "a party objected"}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // once more changes nothing
			if err := a.FinishDiscard(row.ID); err != nil {
				t.Fatal(err)
			}
		}
		got := mustGet(t, a.Store, row.ID)
		if got.State != StateNotRecorded || got.Reason != "objected" || got.Recording != nil || got.Discarded.IsZero() || got.Caller == "" {
			t.Errorf("got row %+v", got)
		}
		signed, err := a.Certificate(row.ID)
		if err != nil {
			t.Fatal(err)
		}
		c, err := certificate.Verify(signed, a.PublicKey())
		if err != nil || len(c.Files) != 1 || c.Files[0].Bytes != int64(len("what was captured")) || !c.Destroyed.Equal(got.Discarded) {
			t.Errorf("got certificate %+v (%v)", c, err)
		}
		entries, _, err := a.Journal(t.Context(), JournalQuery{Object: row.ID})
		if err != nil || len(entries) != 2 || entries[0].Action != journal.Objection || entries[1].Action != journal.Destroy {
			t.Errorf("got journal %+v (%v), want the objection and then the certificate", entries, err)
		}
		// The call's own words later do not take that back.
		row.State, row.Recording, row.Outcome = StateNotRecorded, nil, "answered"
		after := update(t, a.Store, row.ID, func(r *Row) { r.Become(row) })
		if after.Entry == 0 || after.Discarded.IsZero() || after.Outcome != "answered" {
			t.Errorf("got row %+v after the call's end", after)
		}
	})
	if found, v := a.audit(t); found != nil || v.Certificates != 2 {
		t.Errorf("got findings %q and %d certificates, want none and 2", found, v.Certificates)
	}
}

// A crash between the objection and the destruction: the next start ends it, and makes no
// recording.
func TestDiscardAfterCrash(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	row := objecting(t, s)
	if err := s.Discard(row, Act{"uid 1000", "asked for"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Directory: directory}, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if unfinished, err := s.Unfinished(); err != nil || len(unfinished) > 0 {
		t.Errorf("got %v (%v) to be finished, want nothing", unfinished, err)
	}
	if _, err := s.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(directory, spoolDirectory, row.ID+".spool")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the spool gone", err)
	}
	if got := mustGet(t, s, row.ID); got.Discarded.IsZero() {
		t.Errorf("got row %+v, want it to say so", got)
	}
	if _, err := s.Certificate(row.ID); err != nil {
		t.Error(err)
	}
}

// What is under legal hold nobody has destroyed, but a party who objects.
func TestDiscardHeld(t *testing.T) {
	s := open(t, t.TempDir())
	row := objecting(t, s)
	hold(t, s, Held{IDs: []string{row.ID}}, time.Time{})
	if err := s.Discard(row, Act{"carol (uid 1002)", "asked for"}); !errors.Is(err, ErrHeld) {
		t.Errorf("got error %v, want %v", err, ErrHeld)
	}
	if got := mustGet(t, s, row.ID); got.State != StateRecording || got.Entry != 0 {
		t.Errorf("got row %+v, want it as it was", got)
	}
	if got := actions(entries(t, s), row.ID); slices.Contains(got, journal.Delete) {
		t.Errorf("got journal %v, want nothing of what was not done", got)
	}
	if err := s.Discard(row, Act{Daemon, "a party objected"}); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishDiscard(row.ID); err != nil {
		t.Fatal(err)
	}
	if got := mustGet(t, s, row.ID); got.Discarded.IsZero() || len(got.Holds) != 1 || len(files(t, s)) != 0 {
		t.Errorf("got row %+v and files %v", got, files(t, s))
	}
}

// A crash when the spool is gone and nothing says so yet: the next start certifies that it is,
// and so does a round while calls go on, once that can be no discard under way. Until then an
// auditor is told.
func TestDiscardNotCertified(t *testing.T) {
	for _, start := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a := newAudited(t, nil)
			row := objecting(t, a.Store)
			if err := errors.Join(a.Discard(row, Act{Daemon, "a party objected"}), a.RemoveSpool(row.ID)); err != nil {
				t.Fatal(err)
			}
			round := a.Recover
			if !start {
				round = func(ctx context.Context) (Report, error) { return a.inspect(ctx, true) }
				if r, err := round(t.Context()); err != nil || len(r.Undone) != 0 {
					t.Errorf("got %v, %v at once, want nothing: it may be under way", r.Undone, err)
				}
				time.Sleep(2 * time.Hour)
				if err := a.Note(journal.ConfirmClock, "", anna); err != nil { // the audit is of now
					t.Fatal(err)
				}
				a.take(t)
				found, _ := a.audit(t)
				if !slices.ContainsFunc(found, func(f string) bool {
					return strings.Contains(f, row.ID+": what was captured of it was to be destroyed at once")
				}) {
					t.Errorf("got findings %q, want that it is not destroyed", found)
				}
			}
			if r, err := round(t.Context()); err != nil || !slices.Equal(r.Undone, []string{row.ID}) {
				t.Errorf("got %v, %v, want %s", r.Undone, err, row.ID)
			}
			if _, err := a.Certificate(row.ID); err != nil {
				t.Error(err)
			}
			if r, err := round(t.Context()); err != nil || len(r.Undone) != 0 {
				t.Errorf("got %v, %v once more, want nothing", r.Undone, err)
			}
			checkIndexes(t, a.Store)
		})
	}
}
