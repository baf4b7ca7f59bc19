package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

var anna = Act{Actor: "anna (uid 1000)", Reason: "complaint 2026-17"}

// entries returns the whole journal, and what is wrong with it.
func entries(t testing.TB, s *Store) (all []journal.Entry) {
	t.Helper()
	c := journal.NewChain()
	err := s.db.View(func(tx table.Tx) error {
		return each(tx.Table(journalTable), func(key, line []byte) error {
			e, defects := c.Add(keyNumber(key), line)
			for _, d := range defects {
				t.Error(d)
			}
			all = append(all, e)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// actions returns what was done to an object, but for what every recording begins with: that it
// is kept.
func actions(all []journal.Entry, object string) (of []journal.Action) {
	for _, e := range all {
		if e.Object == object && e.Action != journal.Keep {
			of = append(of, e.Action)
		}
	}
	return of
}

// The journal begins with the node's key, and goes on where it was after a restart. A
// key that somebody replaced is told of.
func TestJournalOutlastsTheProcess(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	first := s.PublicKey()
	if err := s.Note(journal.Export, "id", anna); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, directory)
	if !s.PublicKey().Is(first) {
		t.Errorf("got key %v after a restart, want %v", s.PublicKey(), first)
	}
	s.Close()
	if err := os.Remove(filepath.Join(directory, nodeKeyFile)); err != nil {
		t.Fatal(err)
	}
	s = open(t, directory)
	var got []string
	for _, e := range entries(t, s) {
		got = append(got, string(e.Action)+" "+e.Object+" "+e.Actor+" "+e.Reason)
	}
	want := []string{
		"node_key " + first.String() + " daemon the first key",
		"export id anna (uid 1000) complaint 2026-17",
		"node_key " + s.PublicKey().String() + " daemon instead of " + first.String(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("journal, -want +got:\n%s", diff)
	}
	for _, name := range []string{nodeKeyFile, PublicKeyFile} {
		if info, err := os.Stat(filepath.Join(directory, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v, want mode 0600", name, info, err)
		}
	}
}

// A key that cannot be read is not replaced: certificates would have another signer
// than people were told.
func TestUnreadableNodeKey(t *testing.T) {
	directory := t.TempDir()
	open(t, directory).Close()
	if err := os.WriteFile(filepath.Join(directory, nodeKeyFile), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Directory: directory}, nil, nil); err == nil || !strings.Contains(err.Error(), nodeKeyFile) {
		t.Errorf("got error %v, want one about %s", err, nodeKeyFile)
	}
}

// The chain is whole whoever writes, and however many at once.
func TestNotesShareCommits(t *testing.T) {
	s := open(t, t.TempDir())
	var writing sync.WaitGroup
	for range 50 {
		writing.Go(func() {
			for range 4 {
				if err := s.Note(journal.Listen, NewID(), anna); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	if got, want := len(entries(t, s)), 1+200; got != want {
		t.Errorf("got %d entries, want %d", got, want)
	}
}

// Nobody does something without saying why, and no reason names a party of a call. A
// case, a date and a sum are no numbers of people.
func TestActs(t *testing.T) {
	for reason, good := range map[string]bool{
		"complaint 2026-11-0017": true, "heard on 24-11-2026": true, "police request 12345678": true, "EUR 1000000000": true,
		"": false, "  ": false, "of +31 6 1234 5678": false, "call of 06-12345678": false, "020 123 45 67": false, "anna@example.com asked": false,
		"two\nlines": false, strings.Repeat("x", 2000): false,
	} {
		err := Act{Actor: "anna", Reason: reason}.check()
		if (err == nil) != good || err != nil && !errors.Is(err, ErrAct) {
			t.Errorf("%q: got error %v, want good %v", reason, err, good)
		}
	}
	if err := (Act{Reason: "x"}).check(); !errors.Is(err, ErrAct) {
		t.Errorf("got error %v without an actor, want %v", err, ErrAct)
	}
}

// The journal is read page by page, whatever is asked for.
func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		s.db.(*bolt.DB).NoSync(true)
		for i := range 25 {
			action := journal.Listen
			if i%5 == 0 {
				action = journal.Export
			}
			if err := s.Note(action, "id", anna); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		numbers := func(q JournalQuery) (got []uint64) {
			for {
				page, next, err := s.Journal(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page {
					got = append(got, e.Number)
				}
				if q.After = next; next == 0 {
					return got
				}
			}
		}
		if diff := cmp.Diff([]uint64{2, 7, 12, 17, 22}, numbers(JournalQuery{Action: journal.Export, Limit: 2})); diff != "" {
			t.Errorf("exports, -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]uint64{24, 25, 26}, numbers(JournalQuery{Since: time.Now().Add(-3*time.Hour - time.Minute)})); diff != "" {
			t.Errorf("of the last three hours, -want +got:\n%s", diff)
		}
		if got := numbers(JournalQuery{Object: "id", Limit: 4}); len(got) != 25 {
			t.Errorf("got %d entries about the object, want 25", len(got))
		}
	})
}

// The head is a line a day in a file that is only appended to.
func TestWitness(t *testing.T) {
	s := open(t, t.TempDir())
	var want []journal.Head
	for range 3 {
		if err := s.Note(journal.Export, "id", anna); err != nil {
			t.Fatal(err)
		}
		if err := s.Witness(); err != nil {
			t.Fatal(err)
		}
		head, err := s.Head()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, head)
	}
	text, err := fs.ReadFile(s.disk.FS(), HeadFile)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadHeads(text)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("heads, %v, -want +got:\n%s", err, diff)
	}
}

// A file of heads is read whole or not at all.
func FuzzReadHeads(f *testing.F) {
	f.Add([]byte("2026-11-24T00:00:00Z 7 " + strings.Repeat("ab", 32) + "\n\n"))
	f.Add([]byte("2026-11-24T00:00:00Z x " + strings.Repeat("ab", 32)))
	f.Fuzz(func(t *testing.T, text []byte) {
		heads, err := ReadHeads(text)
		if err != nil && heads != nil {
			t.Errorf("got %v and %v", heads, err)
		}
	})
}
