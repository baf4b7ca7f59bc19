package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

// audited is a store with some of everything, and what an auditor has of it.
type audited struct {
	*Store
	snapshot              string
	destroyed, held, kept Row
	hold                  LegalHold
	earlier               journal.Head
}

// newAudited makes one; between is done to the database before its snapshot is made.
func newAudited(t *testing.T, between func(*audited)) *audited {
	t.Helper()
	a := &audited{Store: open(t, t.TempDir()), snapshot: filepath.Join(t.TempDir(), "audit.db")}
	hashed := func(row Row) Row {
		sum := sha256.Sum256([]byte("sound"))
		return update(t, a.Store, row.ID, func(r *Row) { r.Files[0].SHA256 = hex.EncodeToString(sum[:]) })
	}
	a.destroyed = hashed(keep(t, a.Store, time.Now().Add(-time.Second)))
	a.held = hashed(keep(t, a.Store, time.Now().Add(time.Hour)))
	a.kept = hashed(keep(t, a.Store, time.Now().Add(day)))
	unrecorded(t, a.Store, time.Now().Add(-time.Second))
	a.hold = hold(t, a.Store, Held{IDs: []string{a.held.ID}}, time.Time{})
	sweep(t, NewSweeper(a.Store, SweepConfig{}))
	var err error
	if a.earlier, err = a.Head(); err != nil {
		t.Fatal(err)
	}
	if between != nil {
		between(a)
	}
	a.take(t)
	return a
}

// take makes the snapshot.
func (a *audited) take(t testing.TB) {
	t.Helper()
	file, err := os.Create(a.snapshot)
	if err == nil {
		err = a.Snapshot(anna, func(journal.Head, int64) io.Writer { return file })
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// change does something to the database behind the store's back.
func (a *audited) change(t testing.TB, f func(tx table.Tx) error) {
	t.Helper()
	if err := a.db.Update(f); err != nil {
		t.Fatal(err)
	}
}

// audit returns what verifying the snapshot finds.
func (a *audited) audit(t testing.TB, change ...func(*VerifyConfig)) (found []string, v Verification) {
	t.Helper()
	c := VerifyConfig{Snapshot: a.snapshot, Blobs: a.Directory(), Keys: []certificate.Key{a.PublicKey()}, Heads: []journal.Head{a.earlier}}
	for _, f := range change {
		f(&c)
	}
	v, err := Verify(t.Context(), c, func(f Finding) { found = append(found, f.String()) })
	if err != nil {
		t.Fatal(err)
	}
	if v.Findings != len(found) {
		t.Errorf("got %d findings told, %d counted", len(found), v.Findings)
	}
	return found, v
}

// A store that nobody touched has no findings, whatever an auditor brings.
func TestVerify(t *testing.T) {
	a := newAudited(t, nil)
	for name, change := range map[string]func(*VerifyConfig){
		"all":       func(*VerifyConfig) {},
		"no key":    func(c *VerifyConfig) { c.Keys = nil },
		"no blobs":  func(c *VerifyConfig) { c.Blobs = "" },
		"by a hash": func(c *VerifyConfig) { c.Heads, c.Hashes = nil, []journal.Hash{a.earlier.Hash} },
	} {
		found, v := a.audit(t, change)
		if found != nil {
			t.Errorf("%s: got %q, want no findings", name, found)
		}
		if v.Rows != 4 || v.Certificates != 1 || v.Entries < 7 || name != "no blobs" && v.Files != 2 {
			t.Errorf("%s: got %+v", name, v)
		}
	}
}

// Each thing that is not as it should be is found, and said for what it is.
func TestVerifyFinds(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *testing.T, a *audited)    // done to the store before the snapshot
		with    func(a *audited, c *VerifyConfig) // what the auditor brings
		want    []string
	}{
		"entry changed": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				line := bytes.Replace(tx.Table(journalTable).Get(numberKey(5)), []byte("anna"), []byte("bert"), 1)
				return tx.Table(journalTable).Put(numberKey(5), line)
			})
		}, want: []string{"journal entry 6: it names"}},
		"entry removed": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return tx.Table(journalTable).Delete(numberKey(2)) })
		}, want: []string{"journal entry 3: entries 2 to 2 are missing"}},
		"rolled back": {with: func(a *audited, c *VerifyConfig) { c.Heads = []journal.Head{{Number: 1000}} },
			want: []string{"journal entry 1000: it was told before and is not there"}},
		"written anew": {with: func(a *audited, c *VerifyConfig) { c.Hashes = []journal.Hash{{1}} }, want: []string{"journal: no entry has the hash 01"}},
		"other key": {with: func(a *audited, c *VerifyConfig) { c.Keys = []certificate.Key{{PublicKey: make([]byte, 32)}} },
			want: []string{"journal entry 1: the node signs with key", "certificate of DESTROYED: it proves nothing"}},
		"certificate gone": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return tx.Table(certificatesTable).Delete([]byte(a.destroyed.ID)) })
		}, want: []string{"certificate of DESTROYED: the journal says that it was made, and it is not there", "row DESTROYED: it is destroyed, and has no certificate"}},
		"certificate of another": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				return tx.Table(certificatesTable).Put([]byte(a.kept.ID), tx.Table(certificatesTable).Get([]byte(a.destroyed.ID)))
			})
		}, want: []string{"certificate of KEPT: it is that of DESTROYED"}},
		"certificate forged": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				signed := bytes.Replace(tx.Table(certificatesTable).Get([]byte(a.destroyed.ID)), []byte(`"quality"`), []byte(`"qualitx"`), 1)
				return tx.Table(certificatesTable).Put([]byte(a.destroyed.ID), signed)
			})
		}, want: []string{"certificate of DESTROYED: it has the hash", "certificate of DESTROYED: it proves nothing"}},
		"destroyed and named": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				return a.rewrite(tx, a.destroyed.ID, func(r *Row) { r.part = &sealedPart{Epoch: "2026-11-28"} })
			})
		}, want: []string{"row DESTROYED: it is destroyed, and still says who called"}},
		"brought back": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				return a.rewrite(tx, a.destroyed.ID, func(r *Row) { r.State, r.Destroyed, r.Expires = StateKept, time.Time{}, time.Now().Add(day) })
			})
		}, want: []string{"certificate of DESTROYED: it says that the recording is gone, and the row says that it is kept", "row DESTROYED: it is kept, and no entry of the journal says so", "row DESTROYED: it is kept until"}},
		"not in the index": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return tx.Table(byExpiry.table).Delete(byExpiry.keys(&a.kept)[0]) })
		}, want: []string{"row KEPT: the index by_expiry does not have it"}},
		"index of nothing": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return tx.Table(byExpiry.table).Put(indexKey(time.Now(), NewID()), nil) })
		}, want: []string{"index by_expiry: it has"}},
		"row gone": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return tx.Table(rowsTable).Delete([]byte(a.kept.ID)) })
		}, want: []string{"rows: 1 are kept, and the database counts 2", "row KEPT: entry 4 of the journal says that it is kept for quality for P14D", "index by_expiry: it has KEPT", "index by_began: it has KEPT",
			"index by_number: it has KEPT", "index by_number: it has KEPT", "index by_number: it has KEPT", "index by_number: it has KEPT", "index by_number: it has KEPT", "index by_purpose: it has KEPT", "index by_state: it has KEPT", "index by_epoch: it has KEPT", "no row knows it"}},
		"recording made to vanish": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				var errs []error
				for _, forged := range []struct {
					action journal.Action
					reason string
				}{{journal.Expire, "expired"}, {journal.Destroy, "certificate " + strings.Repeat("0", 64)}, {journal.Remove, "kept until 2026-01-01T00:00:00Z"}} {
					_, err := note(tx, forged.action, a.kept.ID, Act{Daemon, forged.reason})
					errs = append(errs, err)
				}
				row, err := get(tx, a.kept.ID)
				return errors.Join(append(errs, err, removeRow(tx, &row), os.Remove(filepath.Join(a.Directory(), a.kept.Files[0].Path)))...)
			})
		}, want: []string{"row KEPT: entry 11 of the journal has it expired on", "certificate of KEPT: entry 13 of the journal has it taken away, and is not signed"}},
		"unreadable row": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return tx.Table(rowsTable).Put([]byte(a.kept.ID), []byte("{")) })
		}, want: []string{`row "KEPT": it cannot be read`, "rows: 1 are kept"}},
		"hold gone": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return tx.Table(holdsTable).Delete([]byte(a.hold.ID)) })
		}, want: []string{"legal hold HOLD: entry 5 of the journal lays it", "row HELD: it is under legal hold HOLD, which there is not"}},
		"hold gone, and the row with it": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				return errors.Join(tx.Table(holdsTable).Delete([]byte(a.hold.ID)), tx.Table(heldTable).Delete(heldKey(a.hold.ID, a.held.ID)),
					a.rewrite(tx, a.held.ID, func(r *Row) { r.Holds, r.Expires = nil, time.Now().Add(-time.Second) }))
			})
			sweep(t, NewSweeper(a.Store, SweepConfig{}))
		}, want: []string{"row HELD: entry 11 of the journal has it expired on", "row HELD: entry 11 of the journal has it destroyed, and entry 6 put it under legal hold HOLD, which nobody had released",
			"legal hold HOLD: entry 5 of the journal lays it, no entry releases it, and it is not there"}},
		"row let go": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error { return a.rewrite(tx, a.held.ID, func(r *Row) { r.Holds = nil }) })
		}, want: []string{"row HELD: entry 6 of the journal put it under legal hold HOLD, which nobody released"}},
		"row and all of it gone": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				row, err := get(tx, a.kept.ID)
				if err != nil {
					return err
				}
				return removeRow(tx, &row)
			})
			os.Remove(filepath.Join(a.Directory(), a.kept.Files[0].Path))
		}, want: []string{"row KEPT: entry 4 of the journal says that it is kept for quality for P14D"}},
		"expiry moved": {between: func(t *testing.T, a *audited) {
			a.change(t, func(tx table.Tx) error {
				return a.rewrite(tx, a.kept.ID, func(r *Row) { r.Expires = r.Expires.AddDate(50, 0, 0) })
			})
		}, want: []string{"row KEPT: it is kept for quality for P14D, until 20"}},
		"file changed": {between: func(t *testing.T, a *audited) { write(t, a.Store, a.kept.Files[0].Path, "SOUND") },
			want: []string{"its SHA-256 is"}},
		"file cut": {between: func(t *testing.T, a *audited) { write(t, a.Store, a.kept.Files[0].Path, "sou") },
			want: []string{"it has 3 bytes, its row says 5"}},
		"file gone": {between: func(t *testing.T, a *audited) { os.Remove(filepath.Join(a.Directory(), a.kept.Files[0].Path)) },
			want: []string{"row KEPT: it is kept until"}},
		"file of a destroyed row": {between: func(t *testing.T, a *audited) { write(t, a.Store, a.destroyed.Files[0].Path, "sound") },
			want: []string{"its row says that it was destroyed on"}},
		"spool of a destroyed row": {between: func(t *testing.T, a *audited) { write(t, a.Store, "spool/"+a.destroyed.ID+".spool", "packets") },
			want: []string{"its row says that it was destroyed on"}},
		"file of nobody": {between: func(t *testing.T, a *audited) { write(t, a.Store, "recordings/stray.wav", "sound") }, want: []string{"file recordings/stray.wav: no row knows it"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAudited(t, func(a *audited) {
				if c.between != nil {
					c.between(t, a)
				}
			})
			found, _ := a.audit(t, func(v *VerifyConfig) {
				if c.with != nil {
					c.with(a, v)
				}
			})
			names := strings.NewReplacer(a.destroyed.ID, "DESTROYED", a.kept.ID, "KEPT", a.held.ID, "HELD", a.hold.ID, "HOLD")
			for i := range found {
				found[i] = names.Replace(found[i])
			}
			if len(found) != len(c.want) {
				t.Fatalf("got %s, want %d findings", strings.Join(found, "\n"), len(c.want))
			}
			for i, want := range c.want {
				if !strings.Contains(found[i], want) {
					t.Errorf("got %q, want %q in it", found[i], want)
				}
			}
		})
	}
}

// rewrite puts a row as no way of the store's leads to it, counts and indexes included.
func (a *audited) rewrite(tx table.Tx, id string, change func(*Row)) error {
	old, err := get(tx, id)
	if err != nil {
		return err
	}
	row := old.Clone()
	change(&row)
	row.inUTC()
	return put(tx, &old, &row)
}

// What was selected, withdrawn, held and let go by its own ways is as it should be, before it is
// destroyed and after.
func TestVerifyReassigned(t *testing.T) {
	longer := func(r *Row) error {
		r.Purpose, r.Retention, r.Expires = "complaint", "P1Y", r.Expires.AddDate(1, 0, 0)
		return nil
	}
	withdrawn := func(r *Row) error {
		r.Terms = []Term{{Purpose: r.Purpose, Basis: r.Basis, Retention: r.Retention, Withdrawn: true}}
		r.Expires = time.Now().Add(-time.Second)
		return nil
	}
	a := newAudited(t, func(a *audited) {
		for _, id := range []string{a.kept.ID, a.held.ID} {
			if _, err := a.Reassign(id, journal.Select, "complaint", anna, longer); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, step := range []func() error{
		func() error { return nil },
		func() error {
			_, err := a.Reassign(a.held.ID, journal.Withdraw, "complaint", anna, withdrawn)
			return err
		},
		func() error { _, err := a.ReleaseHold(a.hold.ID, bert); return err },
		func() error { sweep(t, NewSweeper(a.Store, SweepConfig{})); return nil },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		a.take(t)
		if found, _ := a.audit(t); found != nil {
			t.Errorf("got findings %q, want none", found)
		}
	}
	if got := mustGet(t, a.Store, a.held.ID).State; got != StateDestroyed {
		t.Errorf("got state %s of what was withdrawn and let go, want %s", got, StateDestroyed)
	}
}

// A recording that expires at another time than its retention comes to is found, whatever the
// journal says; one of which the purpose was withdrawn is not.
func TestVerifyExpiry(t *testing.T) {
	a := newAudited(t, func(a *audited) {
		for _, row := range []Row{a.kept, a.held} {
			update(t, a.Store, row.ID, func(r *Row) { r.Ended, r.Retention = r.Expires.Add(-day), "P1D" })
		}
	})
	expires := func(c *VerifyConfig) {
		c.Expires = func(retention string, ended time.Time) (time.Time, error) {
			if retention != "P1D" {
				return time.Time{}, fmt.Errorf("got retention %q", retention)
			}
			return ended.AddDate(0, 0, 1), nil
		}
	}
	if found, _ := a.audit(t, expires); found != nil {
		t.Errorf("got findings %q, want none", found)
	}
	update(t, a.Store, a.kept.ID, func(r *Row) { r.Expires = r.Expires.AddDate(50, 0, 0) })
	update(t, a.Store, a.held.ID, func(r *Row) {
		r.Expires, r.Terms = r.Expires.Add(-time.Minute), []Term{{Purpose: r.Purpose, Basis: r.Basis, Retention: r.Retention, Withdrawn: true, Entry: 1}}
	})
	a.take(t)
	if found, _ := a.audit(t, expires); len(found) != 1 || !strings.Contains(found[0], a.kept.ID+": it expires on") {
		t.Errorf("got findings %q, want that %s expires too late", found, a.kept.ID)
	}
}

// A database that a daemon has open is not waited for.
func TestVerifyLocked(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := Verify(t.Context(), VerifyConfig{Snapshot: s.databasePath()}, func(Finding) {}); !errors.Is(err, ErrLocked) {
		t.Errorf("got error %v, want %v", err, ErrLocked)
	}
}

// What is overdue by more than a sweep takes is found; what is held is not overdue.
func TestVerifyOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAudited(t, func(a *audited) { time.Sleep(2 * day) })
		found, _ := a.audit(t)
		if len(found) != 1 || !strings.Contains(found[0], a.kept.ID+": overdue: it is kept, and expired on") {
			t.Errorf("got %q, want that %s is overdue", found, a.kept.ID)
		}
	})
}

// A snapshot that was cut, or of which a page was overwritten, is an error or has
// findings, or is one of which nothing was lost; it never takes the auditor's program down.
func TestVerifyDamaged(t *testing.T) {
	a := newAudited(t, nil)
	whole, err := os.ReadFile(a.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	try := func(content []byte) error {
		name := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		findings := 0
		_, err := Verify(t.Context(), VerifyConfig{Snapshot: name}, func(Finding) { findings++ })
		if err == nil && findings > 0 {
			err = fmt.Errorf("%d findings", findings)
		}
		return err
	}
	page := os.Getpagesize()
	for length := 0; length < len(whole); length += page {
		if err := try(whole[:length]); err == nil {
			t.Errorf("got no error for the first %d of %d bytes", length, len(whole))
		}
	}
	damaged := 0
	for at := 2 * page; at < len(whole); at += page {
		content := bytes.Clone(whole)
		copy(content[at:], bytes.Repeat([]byte{0xff}, page))
		if try(content) != nil {
			damaged++
		}
	}
	if damaged < 2 { // the rows and the journal at least; small buckets share a page
		t.Errorf("got %d pages whose loss is noticed, want more", damaged)
	}
}

// A snapshot that is made while calls come and go is whole.
func TestSnapshotUnderLoad(t *testing.T) {
	a := newAudited(t, nil)
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { // ends with done
		for {
			select {
			case <-done:
				return
			default:
				unrecorded(t, a.Store, time.Now().Add(time.Hour))
			}
		}
	})
	for range 5 {
		a.take(t)
		if found, _ := a.audit(t, func(c *VerifyConfig) { c.Blobs = "" }); found != nil {
			t.Errorf("got %q, want no findings", found)
		}
	}
	close(done)
	writing.Wait()
}
