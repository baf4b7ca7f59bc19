package call

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/finalize"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/seal"
)

// newKeeper makes a keeper and a store with one row, which is being recorded.
func newKeeper(t *testing.T) (*Keeper, *store.Store, store.Row) {
	t.Helper()
	s, err := store.Open(store.Config{Directory: t.TempDir()}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKeeper(RecordingConfig{Formats: []string{"wav"}}, s, NewMetrics(nil), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	now := time.Now().UTC()
	row := store.Row{
		ID: store.NewID(), State: store.StateCalling, Began: now, Expires: now.AddDate(0, 0, 90), Purpose: "quality", Basis: "contract", Retention: "P14D",
		Announcement: &store.Announcement{Leg: "caller", Complete: true, LastAt: now},
	}
	if err := s.Begin(row); err != nil {
		t.Fatal(err)
	}
	return k, s, change(t, s, row.ID, store.StateRecording, time.Time{})
}

func change(t *testing.T, s *store.Store, id string, state store.State, expires time.Time) store.Row {
	t.Helper()
	row, err := s.Update(id, func(r *store.Row) error {
		r.State = state
		if !expires.IsZero() {
			r.Expires = expires
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// record begins the row's recording and stops it at once.
func record(t *testing.T, k *Keeper, row store.Row) Recording {
	t.Helper()
	grant, err := spool.NewGrant(spool.Terms{
		Recording: row.ID, Purpose: row.Purpose, Basis: row.Basis, Retention: row.Retention, Rule: "all", Policy: "x", NotBefore: row.Announcement.LastAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	codecs := []rtp.Codec{{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1}}
	r := k.Record(grant, spool.Header{Began: time.Now(), Legs: [2]spool.Leg{
		{Channel: 0, Side: "external", Codecs: codecs}, {Channel: 1, Side: "internal", Codecs: codecs},
	}}, media.NewTap(4096))
	r.Stop()
	return r
}

// recordings returns the files that are under the recordings' directory.
func recordings(t *testing.T, s *store.Store) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Directory(), "recordings/*/*/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A recording that is made when its row is destroyed already does not stay.
func TestRecordingMadeTooLate(t *testing.T) {
	k, s, row := newKeeper(t)
	if err := record(t, k, row).Close("hung_up"); err != nil {
		t.Fatal(err)
	}
	change(t, s, row.ID, store.StateFinalizing, time.Now().Add(-time.Second))
	kept, err := os.ReadFile(k.spoolPath(row.ID)) // as a job that goes on has it open
	if err != nil {
		t.Fatal(err)
	}
	if r, err := store.NewSweeper(s, store.SweepConfig{}).Sweep(t.Context()); err != nil || r.Destroyed != 1 {
		t.Fatalf("got %+v, %v, want one destroyed", r, err)
	}
	if err := os.WriteFile(k.spoolPath(row.ID), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	k.Finalize(row.ID)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if files := recordings(t, s); len(files) > 0 {
		t.Errorf("got %v, want nothing", files)
	}
	if _, err := os.Stat(k.spoolPath(row.ID)); !os.IsNotExist(err) {
		t.Errorf("got %v of the spool, want that it is gone", err)
	}
}

// What a recording is kept for may change while it is made: it opens then, and is sealed for
// as long as it is kept.
func TestSelectedWhileFinalized(t *testing.T) {
	k, s, row := newKeeper(t)
	if err := record(t, k, row).Close("hung_up"); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	if _, err := s.Update(row.ID, func(r *store.Row) error {
		r.State, r.Ended, r.Expires = store.StateFinalizing, ended, ended.AddDate(0, 0, 14)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	job, err := k.job(k.spoolPath(row.ID))
	if err != nil {
		t.Fatal(err)
	}
	result, err := finalize.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reassign(row.ID, "select", "complaint", store.Act{Actor: "anna", Reason: "case 7"}, func(r *store.Row) error {
		return Select(r, policy.Term{Purpose: "complaint", Basis: policy.Contract, Retention: policy.Period{Years: 1}})
	}); err != nil {
		t.Fatal(err)
	}
	k.done(k.spoolPath(row.ID), result, nil)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(row.ID)
	if err != nil || got.State != store.StateKept || len(got.Files) != 1 || got.Files[0].Epoch != seal.EpochOf(got.Expires) {
		t.Fatalf("got %s with %+v, %v, want it sealed until %s", got.State, got.Files, err, got.Expires)
	}
	content, err := s.OpenFile(got.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if b, err := io.ReadAll(content); err != nil || int64(len(b)) != got.Files[0].ContentBytes {
		t.Errorf("got %d bytes, %v, want %d", len(b), err, got.Files[0].ContentBytes)
	}
}

// Nothing is made of a spool whose row is not there.
func TestRecordingWithoutRow(t *testing.T) {
	k, s, row := newKeeper(t)
	row.ID = store.NewID()
	if err := record(t, k, row).Close("hung_up"); err != nil {
		t.Fatal(err)
	}
	k.Finalize(row.ID)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if files := recordings(t, s); len(files) > 0 {
		t.Errorf("got %v, want nothing", files)
	}
	if loose, _ := filepath.Glob(filepath.Join(s.Directory(), "*.wav*")); len(loose) > 0 {
		t.Errorf("got %v in the store's directory, want nothing", loose)
	}
}

// A call that the daemon did not live to see the end of is closed at the next start: its
// recording is made, its retention counts from the last packet.
func TestResume(t *testing.T) {
	k, s, row := newKeeper(t)
	record(t, k, row) // never closed
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	before := store.Row{ID: store.NewID(), State: store.StateCalling, Began: row.Began, Expires: row.Expires}
	if err := s.Begin(before); err != nil {
		t.Fatal(err)
	}
	again, err := NewKeeper(RecordingConfig{Formats: []string{"wav"}}, s, NewMetrics(nil), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := again.Resume(); n != 1 || err != nil {
		t.Errorf("got %d, %v, want one recording queued", n, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(row.ID)
	if err != nil || got.State != store.StateKept || !got.Recording.Torn || got.Outcome != string(OutcomeInterrupted) || !got.Expires.Equal(got.Ended.AddDate(0, 0, 14)) {
		t.Errorf("got %+v, %v, want it kept and torn, for 14 days from its end", got, err)
	}
	if got, err := s.Get(before.ID); err != nil || got.State != store.StateNotRecorded || got.Reason != "daemon_died" {
		t.Errorf("got %s %q, %v, want it closed as not recorded", got.State, got.Reason, err)
	}
}

// A spool of which no recording can be made is tried three times, those before a
// restart included; then its row is failed and says so, and the spool stays.
func TestPoisonSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, s, row := newKeeper(t)
		if err := record(t, k, row).Close("hung_up"); err != nil {
			t.Fatal(err)
		}
		change(t, s, row.ID, store.StateFinalizing, time.Now().AddDate(0, 0, 14))
		if err := os.WriteFile(k.spoolPath(row.ID), []byte("not a spool"), 0o600); err != nil {
			t.Fatal(err)
		}
		k.Finalize(row.ID)
		time.Sleep(30 * time.Second) // the first try
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(row.ID); err != nil || got.State != store.StateFinalizing || got.Tries != 1 {
			t.Errorf("got %s after %d tries, %v, want it finalizing after 1", got.State, got.Tries, err)
		}

		again, err := NewKeeper(RecordingConfig{Formats: []string{"wav"}}, s, NewMetrics(nil), slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		again.Finalize(row.ID)
		time.Sleep(time.Hour)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(row.ID)
		if err != nil || got.State != store.StateFailed || got.Reason != "finalize" || got.Tries != 3 {
			t.Errorf("got %s (%s) after %d tries, %v, want it failed after 3", got.State, got.Reason, got.Tries, err)
		}
		if _, err := os.Stat(k.spoolPath(row.ID)); err != nil {
			t.Errorf("got %v of the spool, want that it is there", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What watches over the promise sees each way in which a far party would be recorded untold.
func TestUnannounced(t *testing.T) {
	began := time.Now()
	told := store.Announcement{Leg: "caller", Complete: true, LastAt: began.Add(-time.Second)}
	for name, test := range map[string]struct {
		change func(*store.Row)
		want   bool
	}{
		"told":               {func(r *store.Row) {}, false},
		"exempt":             {func(r *store.Row) { r.Announcement = &store.Announcement{Exempt: "by contract"} }, false},
		"nothing":            {func(r *store.Row) { r.Announcement = nil }, true},
		"not whole":          {func(r *store.Row) { r.Announcement.Complete = false }, true},
		"too late":           {func(r *store.Row) { r.Announcement.LastAt = began.Add(time.Second) }, true},
		"ours alone":         {func(r *store.Row) { r.Announcement.Leg = "callee" }, true},
		"ours, outbound":     {func(r *store.Row) { r.Direction = "outbound" }, true},
		"far, outbound":      {func(r *store.Row) { r.Direction, r.Announcement.Leg = "outbound", "callee" }, false},
		"ours, alone kept":   {func(r *store.Row) { r.Announcement.Leg, r.Recording.Parties = "callee", "near" }, false},
		"ours, the far kept": {func(r *store.Row) { r.Announcement.Leg, r.Recording.Parties = "callee", "far" }, true},
		"ours alone, not whole": {func(r *store.Row) {
			r.Announcement.Leg, r.Announcement.Complete, r.Recording.Parties = "callee", false, "near"
		}, true},
	} {
		a := told
		r := store.Row{Direction: "inbound", Announcement: &a, Recording: &store.Recording{}}
		test.change(&r)
		if got := unannounced(&r, began); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
