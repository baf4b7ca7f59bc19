package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
)

// A selected recording outlives the buffer, is sealed for as long, and goes at once when it
// loses what it is kept for. Each stands in the journal; what is refused does not.
func TestReassign(t *testing.T) {
	s := open(t, t.TempDir())
	selected, left := sealedFile(t, s, keep(t, s, time.Now().Add(-time.Second)), "sound"), keep(t, s, time.Now().Add(-time.Second))
	later := time.Now().Add(day).Round(0).UTC()
	got, err := s.Reassign(selected.ID, journal.Select, "complaint", anna, func(r *Row) error { r.Purpose, r.Expires = "complaint", later; return nil })
	if err != nil || got.Purpose != "complaint" || len(got.Events) != 1 || got.Events[0].Kind != "selected" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if epoch := mustGet(t, s, selected.ID).Files[0].Epoch; epoch != seal.EpochOf(later) {
		t.Errorf("got it sealed to epoch %s, want %s", epoch, seal.EpochOf(later))
	}
	w := NewSweeper(s, SweepConfig{})
	sweep(t, w)
	checkDestroyed(t, s, left)
	if got := mustGet(t, s, selected.ID).State; got != StateKept {
		t.Errorf("got state %s of what was selected, want %s", got, StateKept)
	}
	refused := errors.New("no")
	if _, err := s.Reassign(selected.ID, journal.Withdraw, "complaint", anna, func(*Row) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("got error %v, want %v", err, refused)
	}
	if _, err := s.Reassign(left.ID, journal.Select, "complaint", anna, func(*Row) error { return nil }); err == nil || !strings.Contains(err.Error(), "is destroyed") {
		t.Errorf("got error %v for what is destroyed", err)
	}
	got, err = s.Reassign(selected.ID, journal.Withdraw, "complaint", anna, func(r *Row) error {
		r.Expires, r.Terms = time.Now().Add(-time.Second), []Term{{Purpose: "complaint", Basis: "contract", Retention: "P1D", Withdrawn: true}}
		return nil
	})
	if err != nil || got.Terms[0].Entry == 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	sweep(t, w)
	if got := mustGet(t, s, selected.ID).State; got != StateDestroyed {
		t.Errorf("got state %s of what lost its purpose, want %s", got, StateDestroyed)
	}
	signed, err := s.Certificate(selected.ID)
	if err != nil {
		t.Fatal(err)
	}
	c, err := certificate.Verify(signed, s.PublicKey())
	if err != nil || c.Withdrawn != got.Terms[0].Entry {
		t.Errorf("got certificate %+v, %v, want it to name entry %d", c, err, got.Terms[0].Entry)
	}
	all := entries(t, s)
	if e := all[c.Withdrawn-1]; e.Action != journal.Withdraw || e.Object != selected.ID {
		t.Errorf("got entry %+v named by the certificate", e)
	}
	if e := all[c.Entry-1]; e.Reason != fmt.Sprintf("withdrawn, entry %d: kept for complaint no longer", c.Withdrawn) {
		t.Errorf("got reason %q of what was destroyed", e.Reason)
	}
	want := []journal.Action{journal.Select, journal.Reseal, journal.Withdraw, journal.Expire, journal.Destroy}
	if diff := cmp.Diff(want, actions(entries(t, s), selected.ID)); diff != "" {
		t.Errorf("journal, -want +got:\n%s", diff)
	}
}
