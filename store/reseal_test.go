package store

import (
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
)

// sealedFile makes a row's only file a sealed one, with that content.
func sealedFile(t *testing.T, s *Store, row Row, content string) Row {
	t.Helper()
	epoch := seal.EpochOf(row.Expires)
	var sealed bytes.Buffer
	w, err := s.keys.Seal(epoch, &sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Directory(), row.Files[0].Path)); err != nil {
		t.Fatal(err)
	}
	name := row.Files[0].Path + seal.Suffix
	write(t, s, name, sealed.String())
	return update(t, s, row.ID, func(r *Row) {
		r.Files = []File{{Path: name, Format: "opus", Bytes: int64(sealed.Len()), Seconds: 1, SHA256: "00", Epoch: epoch}}
	})
}

// What is held is sealed to a later epoch in time, once, so that the day's key can go with all
// else that expired then; it opens after that as before, numbers included. Where the master
// identity is elsewhere, the key stays.
func TestHeldIsSealedAnew(t *testing.T) {
	sealed, opening := pair(t)
	for name, keys := range map[string]seal.Config{"opening": opening, "sealed": sealed} {
		synctest.Test(t, func(t *testing.T) {
			s := openWith(t, t.TempDir(), keys)
			w := NewSweeper(s, SweepConfig{MaxShare: 1})
			expires := time.Now().Add(20 * day)
			epoch := seal.EpochOf(expires)
			held := sealedFile(t, s, keep(t, s, expires), "sound")
			sealedFile(t, s, keep(t, s, expires), "other")
			if _, err := s.LayHold(t.Context(), Held{IDs: []string{held.ID}}, time.Time{}, anna); err != nil {
				t.Fatal(err)
			}
			if got := mustGet(t, s, held.ID); got.Files[0].Epoch != epoch {
				t.Errorf("%s: sealed anew to %s, weeks before it has to be", name, got.Files[0].Epoch)
			}
			for range 44 { // until the day is over
				time.Sleep(day / 2)
				if err := s.renewHolds(); err != nil {
					t.Fatal(err)
				}
				sweep(t, w)
			}
			destroyed := false
			epochs, err := s.keys.Epochs()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range epochs {
				destroyed = destroyed || e.Epoch == epoch && !e.Destroyed.IsZero()
			}
			if destroyed != (name == "opening") {
				t.Errorf("%s: the day's key is destroyed: %v", name, destroyed)
			}
			if name == "sealed" {
				return
			}
			got := mustGet(t, s, held.ID)
			if got.Caller != held.Caller || got.Sealed {
				t.Errorf("got %+v of what is held, want %+v", got.Personal, held.Personal)
			}
			content, err := s.OpenFile(got.Files[0])
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			if b, err := io.ReadAll(content); err != nil || string(b) != "sound" {
				t.Errorf("got %q, %v, want what was recorded", b, err)
			}
			if base := path.Base(got.Files[0].Path); base != held.ID+"."+string(got.Files[0].Epoch)+".opus.age" {
				t.Errorf("got file %s", base)
			}
			if names := files(t, s); len(names) != 1 {
				t.Errorf("got files %v, want the held one alone", names)
			}
			anew, keys := 0, 0
			for _, e := range entries(t, s) {
				if e.Action == journal.Reseal && e.Object == held.ID {
					anew++
				}
				if e.Action == journal.EpochKey && e.Object == string(epoch) && strings.Contains(e.Reason, "destroyed") {
					keys++
				}
			}
			if anew != 1 || keys != 1 {
				t.Errorf("the journal has %d of sealing anew and %d of the key, want one each", anew, keys)
			}
			checkIndexes(t, s)
		})
	}
}

// Two that would seal the same recording anew do so once, and it opens.
func TestSealedAnewTogether(t *testing.T) {
	s := open(t, t.TempDir())
	row := sealedFile(t, s, keep(t, s, time.Now().Add(time.Hour)), "sound")
	until := time.Now().Add(40 * day)
	update(t, s, row.ID, func(r *Row) { r.Expires = until })
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { // ends when it is sealed
			if err := s.reseal(&row, until, until); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	content, err := s.OpenFile(mustGet(t, s, row.ID).Files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if b, err := io.ReadAll(content); err != nil || string(b) != "sound" {
		t.Errorf("got %q, %v, want what was recorded", b, err)
	}
	if got := actions(entries(t, s), row.ID); !slices.Equal(got, []journal.Action{journal.Reseal}) {
		t.Errorf("got journal %v, want it sealed anew once", got)
	}
}

// What is swept while it is sealed anew leaves nothing; what is released meanwhile stays sealed
// for as long as it is kept, and no longer.
func TestSealedAnewTooLate(t *testing.T) {
	for name, wait := range map[string]time.Duration{"swept": 2 * time.Hour, "released": 0} {
		synctest.Test(t, func(t *testing.T) {
			_, opening := pair(t)
			s := openWith(t, t.TempDir(), opening)
			row := sealedFile(t, s, keep(t, s, time.Now().Add(time.Hour)), "sound")
			s.step = func(what string) {
				if what != "sealed anew" {
					return
				}
				s.step = func(string) {}
				holds, err := s.Holds()
				if err != nil || len(holds) != 1 {
					t.Fatalf("got holds %v, %v, want one", holds, err)
				}
				if _, err := s.ReleaseHold(holds[0].ID, bert); err != nil {
					t.Fatal(err)
				}
				time.Sleep(wait)
				sweep(t, NewSweeper(s, SweepConfig{}))
			}
			hold(t, s, Held{IDs: []string{row.ID}}, time.Now().Add(400*day))
			got := mustGet(t, s, row.ID)
			if got.Files[0] != row.Files[0] {
				t.Errorf("%s: got file %+v, want %+v", name, got.Files[0], row.Files[0])
			}
			want := 1
			if wait > 0 {
				want = 0
				if got.State != StateDestroyed {
					t.Errorf("%s: got state %s", name, got.State)
				}
			}
			if names := files(t, s); len(names) != want {
				t.Errorf("%s: got files %v, want %d", name, names, want)
			}
		})
	}
}

// The numbers of what is held and has no files, or none any more, are sealed anew in time too,
// so that they do not keep the key of what else expired then.
func TestHeldNumbersAreSealedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, opening := pair(t)
		a := &audited{Store: openWith(t, t.TempDir(), opening), snapshot: filepath.Join(t.TempDir(), "audit.db")}
		w := NewSweeper(a.Store, SweepConfig{MaxShare: 1})
		expires := time.Now().Add(20 * day)
		call := unrecorded(t, a.Store, expires)
		other := sealedFile(t, a.Store, keep(t, a.Store, expires), "other")
		h := hold(t, a.Store, Held{IDs: []string{call.ID}}, time.Time{})
		for range 800 { // more than a year: it is sealed anew again
			time.Sleep(day / 2)
			if err := a.renewHolds(); err != nil {
				t.Fatal(err)
			}
			sweep(t, w)
		}
		epochs, err := a.keys.Epochs()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range epochs {
			if e.Epoch == other.Files[0].Epoch && e.Destroyed.IsZero() {
				t.Errorf("epoch %s is not destroyed: what is held keeps it", e.Epoch)
			}
		}
		update(t, a.Store, call.ID, func(r *Row) { r.Cause = "something" }) // keeps what it is sealed to
		if got := mustGet(t, a.Store, call.ID); got.Caller != call.Caller || got.Sealed {
			t.Errorf("got %+v of what is held, want %+v", got.Personal, call.Personal)
		}
		a.take(t)
		if found, _ := a.audit(t, func(c *VerifyConfig) { c.Heads, c.Blobs = nil, "" }); found != nil {
			t.Errorf("got findings %q, want none", found)
		}
		// Without the journal's word on its key, a day that a certificate names is told of.
		var key []byte
		for _, e := range entries(t, a.Store) {
			if e.Action == journal.EpochKey && e.Object == string(other.Files[0].Epoch) {
				key = numberKey(e.Number)
			}
		}
		a.change(t, func(tx table.Tx) error { return tx.Table(journalTable).Delete(key) })
		a.take(t)
		found, _ := a.audit(t, func(c *VerifyConfig) { c.Heads, c.Blobs = nil, "" })
		if !slices.ContainsFunc(found, func(f string) bool {
			return strings.HasPrefix(f, "epoch "+string(other.Files[0].Epoch)+": it ended on")
		}) {
			t.Errorf("got findings %q, want that the key may be there", found)
		}
		if _, err := a.ReleaseHold(h.ID, bert); err != nil {
			t.Fatal(err)
		}
		sweep(t, w)
		if got := mustGet(t, a.Store, call.ID); got.State != StateDestroyed || got.personal() {
			t.Errorf("got %+v after the release, want it destroyed", got)
		}
	})
}
