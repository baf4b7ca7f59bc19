package store

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

// A row is on disk when Begin returns, as it was given.
func TestBeginOutlastsTheProcess(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	want := begin(t, s)
	s.Close()
	got := mustGet(t, open(t, directory), want.ID)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row after a restart, -want +got:\n%s", diff)
	}
}

// One id has one row.
func TestBeginTwice(t *testing.T) {
	s := open(t, t.TempDir())
	row := begin(t, s)
	if err := s.Begin(row); !errors.Is(err, ErrExists) {
		t.Errorf("got error %v, want %v", err, ErrExists)
	}
	checkIndexes(t, s)
}

// A row that could not be swept or found again is not begun.
func TestBeginRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	for name, change := range map[string]func(*Row){
		"no id":        func(r *Row) { r.ID = "" },
		"path as id":   func(r *Row) { r.ID = "../bewaard" },
		"no beginning": func(r *Row) { r.Began = time.Time{} },
		"kept":         func(r *Row) { granted(r); r.State, r.Expires = StateKept, time.Now() },
		"destroyed":    func(r *Row) { r.State, r.Expires, r.Destroyed = StateDestroyed, time.Now(), time.Now() },
		"other's file": func(r *Row) { r.Files = []File{{Path: "recordings/" + NewID() + ".opus"}} },
		"the database": func(r *Row) { r.Files = []File{{Path: databaseFile}} },
		"way out":      func(r *Row) { r.Files = []File{{Path: "recordings/../" + r.ID + ".opus"}} },
		"year 10000":   func(r *Row) { r.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		row := calling()
		change(&row)
		if err := s.Begin(row); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// The table has the arrows of State's comment and no others.
func TestTransitions(t *testing.T) {
	want := map[State]string{
		StateCalling:     "calling recording not_recorded failed",
		StateRecording:   "recording finalizing not_recorded failed",
		StateFinalizing:  "finalizing kept failed expired",
		StateKept:        "kept expired",
		StateNotRecorded: "not_recorded expired",
		StateFailed:      "failed expired",
		StateExpired:     "destroyed",
		StateDestroyed:   "",
	}
	for _, from := range states {
		for _, to := range states {
			got := checkArrow(from, to) == nil
			if want := slices.Contains(strings.Fields(want[from]), string(to)); got != want {
				t.Errorf("from %s to %s: got %v, want %v", from, to, got, want)
			}
		}
	}
}

// A way that has no arrow is refused with its two ends, and the row stays as it was.
func TestUpdateRefusesATransition(t *testing.T) {
	s := open(t, t.TempDir())
	before := begin(t, s)
	_, err := s.Update(before.ID, func(r *Row) error {
		granted(r)
		r.State, r.Expires = StateKept, time.Now()
		return nil
	})
	var transition *TransitionError
	if !errors.As(err, &transition) || *transition != (TransitionError{StateCalling, StateKept}) {
		t.Errorf("got error %v, want one about calling and kept", err)
	}
	if diff := cmp.Diff(before, mustGet(t, s, before.ID)); diff != "" {
		t.Errorf("row after a refused change, -want +got:\n%s", diff)
	}
}

// What would let a recording outlive its purpose, or say that it is gone when it is
// not, is refused.
func TestUpdateRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	kept := keep(t, s, time.Now().Add(time.Hour))
	up := begin(t, s)
	expired := keep(t, s, time.Now())
	if _, _, err := s.expire([]string{expired.ID}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id     string
		change func(*Row)
	}{
		"kept without expiry":       {kept.ID, func(r *Row) { r.Expires = time.Time{} }},
		"kept without purpose":      {kept.ID, func(r *Row) { r.Purpose = "" }},
		"expired by hand":           {kept.ID, func(r *Row) { r.State = StateExpired }},
		"destroyed by hand":         {kept.ID, func(r *Row) { r.State, r.Destroyed = StateDestroyed, time.Now() }},
		"destroyed with its files":  {expired.ID, func(r *Row) { r.State, r.Destroyed = StateDestroyed, time.Now() }},
		"kept again":                {expired.ID, func(r *Row) { r.State, r.Expires = StateKept, time.Now().Add(time.Hour) }},
		"destroyed, still kept":     {kept.ID, func(r *Row) { r.Destroyed = time.Now() }},
		"another's file":            {kept.ID, func(r *Row) { r.Files[0].Path = "recordings/" + up.ID + ".opus" }},
		"another id":                {kept.ID, func(r *Row) { r.ID = NewID() }},
		"recording without a grant": {up.ID, func(r *Row) { r.State = StateRecording }},
		"not recorded, no expiry":   {up.ID, func(r *Row) { r.State = StateNotRecorded }},
		"failed, no expiry":         {up.ID, func(r *Row) { r.State = StateFailed }},
		"not recorded, with files": {up.ID, func(r *Row) {
			r.State, r.Expires, r.Files = StateNotRecorded, time.Now(), []File{{Path: "recordings/" + r.ID + ".wav"}}
		}},
		"unknown state": {up.ID, func(r *Row) { r.State = "lost" }},
	} {
		before := mustGet(t, s, c.id)
		if _, err := s.Update(c.id, func(r *Row) error { c.change(r); return nil }); err == nil {
			t.Errorf("%s: got no error", name)
		}
		if diff := cmp.Diff(before, mustGet(t, s, c.id)); diff != "" {
			t.Errorf("%s: row after a refused change, -want +got:\n%s", name, diff)
		}
	}
	checkIndexes(t, s)
}

// A change that fails, or panics, leaves the row as it was and those that share its
// commit unharmed.
func TestUpdateFails(t *testing.T) {
	s := open(t, t.TempDir())
	row := begin(t, s)
	var others sync.WaitGroup
	for range 20 {
		others.Go(func() {
			if err := s.Begin(calling()); err != nil {
				t.Error(err)
			}
		})
	}
	broken := errors.New("broken")
	runs := 0
	if _, err := s.Update(row.ID, func(r *Row) error { r.Caller = "x"; runs++; return broken }); !errors.Is(err, broken) || runs != 1 {
		t.Errorf("got error %v after %d runs, want %v after one", err, runs, broken)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("got no panic of a change that panics")
			}
		}()
		_, _ = s.Update(row.ID, func(r *Row) error { r.Caller = "x"; panic("broken") })
	}()
	if _, err := s.Update(NewID(), func(*Row) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("got error %v, want %v", err, ErrNotFound)
	}
	others.Wait()
	if diff := cmp.Diff(row, mustGet(t, s, row.ID)); diff != "" {
		t.Errorf("row after failed changes, -want +got:\n%s", diff)
	}
	checkIndexes(t, s)
}

// What a row shares with whoever gave or got it can be changed without changing it.
func TestRowsShareNoMemory(t *testing.T) {
	s := open(t, t.TempDir())
	row := calling()
	announcement := Announcement{Prompt: "recorded", FirstAt: time.Now()}
	row.Announcement = &announcement
	if err := s.Begin(row); err != nil {
		t.Fatal(err)
	}
	if announcement.FirstAt.Location() == time.UTC {
		t.Error("Begin changed the announcement it was given")
	}
	got := update(t, s, row.ID, func(r *Row) { r.Announcement = &announcement })
	announcement.Prompt = "changed"
	if got.Announcement.Prompt != "recorded" {
		t.Errorf("got prompt %q after its owner changed it, want %q", got.Announcement.Prompt, "recorded")
	}
}

// Instants are UTC, whatever zone they were given in.
func TestRowsAreUTC(t *testing.T) {
	s := open(t, t.TempDir())
	row := calling()
	row.Began = time.Date(2026, 3, 29, 3, 30, 0, 0, time.FixedZone("CEST", 2*3600))
	if err := s.Begin(row); err != nil {
		t.Fatal(err)
	}
	want := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)
	if got := mustGet(t, s, row.ID).Began; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// After a crash the next start gets every call and job that was cut off, the oldest
// first, and nothing else.
func TestUnfinished(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	up := begin(t, s)
	recording := begin(t, s)
	update(t, s, recording.ID, granted)
	finalizing := begin(t, s)
	update(t, s, finalizing.ID, granted)
	update(t, s, finalizing.ID, func(r *Row) { r.State = StateFinalizing })
	keep(t, s, time.Now().Add(time.Hour))
	unrecorded(t, s, time.Now().Add(time.Hour))
	s.Close()
	rows, err := open(t, directory).Unfinished()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range rows {
		got = append(got, row.ID)
	}
	if diff := cmp.Diff([]string{up.ID, recording.ID, finalizing.ID}, got); diff != "" {
		t.Errorf("unfinished rows, -want +got:\n%s", diff)
	}
}

// A row that cannot be read is an error where it is asked for and hides no other.
func TestUnreadableRow(t *testing.T) {
	s := open(t, t.TempDir())
	bad, good := begin(t, s), begin(t, s)
	err := s.db.Update(func(tx table.Tx) error { return tx.Table(rowsTable).Put([]byte(bad.ID), []byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(bad.ID); !errors.Is(err, ErrUnreadable) {
		t.Errorf("got error %v, want %v", err, ErrUnreadable)
	}
	rows, err := s.Unfinished()
	if err != nil || len(rows) != 1 || rows[0].ID != good.ID {
		t.Errorf("got %v, %v, want the good row", rows, err)
	}
}

// personal are the fields that must be gone when a row is destroyed; lasting are
// those that may be read ever after. A new field has to be put into one of them.
var (
	personal = []string{"Personal", "Sealed", "part", "tokens"}
	lasting  = []string{
		"ID", "State", "Reason", "Direction", "CallerTrunk", "CalleeTrunk", "Began", "Answered", "Ended",
		"Outcome", "Cause", "EndedBy", "SIPStatus", "ContinuedIn", "Rule", "Policy", "Purpose", "Basis", "Retention", "Expires",
		"Terms", "RowRetention", "RowExpires", "CertificateRetention", "CertificateExpires", "Cleared",
		"Announcement", "Further", "Events", "Recording", "Tries", "Files", "Audio", "Holds", "Entry", "Discarded", "Destroyed",
	}
)

// Each field of a row is either personal, and cleared, or meant to last.
func TestClearPersonal(t *testing.T) {
	row := Row{Personal: Personal{"a", "b", []string{"b"}, "c", "d", []Joined{{Number: "e"}}, map[string]string{"f": "g"}}, Sealed: true, part: &sealedPart{}, tokens: []token{{}}}
	row.clearPersonal()
	for i := range reflect.TypeFor[Row]().NumField() {
		name := reflect.TypeFor[Row]().Field(i).Name
		switch {
		case slices.Contains(lasting, name):
		case !slices.Contains(personal, name):
			t.Errorf("field %s is neither personal nor lasting", name)
		case !reflect.ValueOf(row).Field(i).IsZero():
			t.Errorf("field %s is personal and not cleared", name)
		}
	}
}

// A row that has any one of the personal fields is known to, and so is one whose are sealed.
func TestPersonal(t *testing.T) {
	for i := range reflect.TypeFor[Personal]().NumField() {
		row := Row{}
		field := reflect.ValueOf(&row.Personal).Elem().Field(i)
		switch field.Interface().(type) {
		case string:
			field.SetString("a")
		case []string:
			row.Agents = []string{"a"}
		case []Joined:
			row.Joined = []Joined{{Number: "a"}}
		case map[string]string:
			row.Tags = map[string]string{"a": "b"}
		}
		if !row.personal() {
			t.Errorf("a row with %s has nothing personal", reflect.TypeFor[Personal]().Field(i).Name)
		}
	}
	if !(&Row{part: &sealedPart{}}).personal() {
		t.Error("a row with a sealed part has nothing personal")
	}
	if (&Row{ID: "a", Purpose: "quality"}).personal() {
		t.Error("a row with an id and a purpose has something personal")
	}
}

// Whatever is done to rows, in whatever order, indexes and counts follow.
func TestIndexesFollowRows(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := open(t, t.TempDir())
		defer s.Close()
		s.db.(*bolt.DB).NoSync(true) // thousands of commits, one at a time, none of which has to outlast a crash
		var ids []string
		now := time.Now()
		expiry := rapid.Custom(func(r *rapid.T) time.Time {
			return now.Add(time.Duration(rapid.IntRange(-3, 3).Draw(r, "hours")) * time.Hour)
		})
		r.Repeat(map[string]func(*rapid.T){
			"begin": func(r *rapid.T) {
				row := calling()
				row.Began = expiry.Draw(r, "began")
				row.Expires = rapid.OneOf(rapid.Just(time.Time{}), expiry).Draw(r, "expires")
				if err := s.Begin(row); err != nil {
					r.Fatal(err)
				}
				ids = append(ids, row.ID)
			},
			"update": func(r *rapid.T) {
				if len(ids) == 0 {
					r.Skip()
				}
				// Many of these are refused, as they should be: indexes follow all the same.
				_, _ = s.Update(rapid.SampledFrom(ids).Draw(r, "id"), func(row *Row) error {
					granted(row)
					row.State = rapid.SampledFrom(states).Draw(r, "state")
					row.Expires = expiry.Draw(r, "expires")
					return nil
				})
			},
			"expire and destroy": func(r *rapid.T) {
				doomed, _, err := s.expire(ids, now)
				if err != nil {
					r.Fatal(err)
				}
				var gone []string
				for _, d := range doomed {
					if rapid.Bool().Draw(r, "gone") {
						gone = append(gone, d.ID)
					}
				}
				if err := s.destroy(gone, now); err != nil {
					r.Fatal(err)
				}
			},
		})
		checkIndexes(t, s)
		if t.Failed() {
			r.Fatal("see above")
		}
	})
}

// Rows that many calls write at once share commits and lose nothing.
func TestGroupCommit(t *testing.T) {
	s := open(t, t.TempDir())
	var calls sync.WaitGroup
	const n = 200
	for i := range n {
		calls.Go(func() {
			row := calling()
			if err := s.Begin(row); err != nil {
				t.Error(err)
			}
			_, err := s.Update(row.ID, func(r *Row) error { r.Outcome = fmt.Sprint(i); return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	checkIndexes(t, s)
	rows, err := s.Unfinished()
	if err != nil || len(rows) != n {
		t.Fatalf("got %d rows, %v, want %d", len(rows), err, n)
	}
	outcomes := map[string]bool{}
	for _, row := range rows {
		outcomes[row.Outcome] = true
	}
	if len(outcomes) != n {
		t.Errorf("got %d different outcomes, want %d", len(outcomes), n)
	}
}
