package store

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/blob/directory"
	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
	"github.com/bewaard/bewaard/store/timestamp"
)

// overdueGrace is how long after its expiry a row may still be there: sweeps come at
// intervals, and a large one takes its time.
const overdueGrace = time.Hour

// VerifyConfig says what is verified, and against what.
type VerifyConfig struct {
	Snapshot string            // a file that Snapshot wrote, or a copy of a database nobody writes to
	Blobs    string            // a directory with recordings/ and spool/, or a copy; "": files are not looked at
	Keys     []certificate.Key // whose certificates are believed; none: those that the journal names
	Heads    []journal.Head    // that were told earlier
	Hashes   []journal.Hash    // the same, where the number is not known
	// Anchors are time stamps of entries, Roots whose are believed; nil: anybody's.
	Anchors  []Anchored
	Roots    *x509.CertPool
	Progress func(what string, done int)
	// Expires works out when a call's retention is over that ended then; nil: expiries are held
	// against the journal alone.
	Expires func(retention string, ended time.Time) (time.Time, error)
}

// Finding is something that is not as it should be.
type Finding struct {
	Object string // what it is about: an entry, a row, a certificate, a file
	What   string // what is wrong with it, and what that means
}

func (f Finding) String() string { return f.Object + ": " + f.What }

// Verification is what was looked at.
type Verification struct {
	Head         journal.Head
	At           time.Time // of the journal's last entry
	Judged       time.Time // what is overdue is so at that instant: At, or a trusted time stamp after it
	Keys         []certificate.Key
	Entries      int
	Certificates int
	Rows         int
	Files        int
	Later        int // files of calls that came after the snapshot, and rows that have expired since
	Findings     int
	Anchors      int             // time stamps that hold
	LaterAnchors int             // that came after the snapshot
	Unanchored   int             // entries after the last that was stamped
	Anchor       timestamp.Stamp // the latest of them
}

// Verify reads a snapshot, and the files that belong to it, and tells of everything that
// is not as it should be, one finding at a time. It needs nothing else, and changes
// nothing. An error is that it could not go on.
func Verify(ctx context.Context, c VerifyConfig, tell func(Finding)) (v Verification, err error) {
	if c.Progress == nil {
		c.Progress = func(string, int) {}
	}
	vf := &verifier{cfg: c, ctx: ctx, tell: tell, indexed: map[string]int{}, laid: map[string]*laid{}, promised: map[seal.Epoch]bool{}, destroyed: map[seal.Epoch]bool{}}
	if vf.last, err = newScratch(); err != nil {
		return v, fmt.Errorf("verify %s: %w", c.Snapshot, err)
	}
	err = errors.Join(bolt.Read(c.Snapshot, vf.database), vf.last.close())
	if errors.Is(err, ErrLocked) {
		err = fmt.Errorf("%w: a snapshot can be read beside it", err)
	}
	if err != nil {
		return vf.v, fmt.Errorf("verify %s: %w", c.Snapshot, err)
	}
	return vf.v, nil
}

// verifier is one run of Verify.
type verifier struct {
	cfg  VerifyConfig
	ctx  context.Context // of the one call of Verify
	tell func(Finding)
	v    Verification

	holds     map[string]bool
	laid      map[string]*laid    // the legal holds that the journal has, by id, until their release
	indexed   map[string]int      // how many keys of an index are some row's
	promised  map[seal.Epoch]bool // which certificates name: their keys have to go
	destroyed map[seal.Epoch]bool // whose keys are, as the journal has it

	// last is the number of the last entry that says of a recording that it is kept, under kept
	// and its id, until it is destroyed; that it is destroyed, under gone; and of a row whose
	// certificate is not there, though the journal has its hash, under undocumented.
	last *scratch
}

// laid is a legal hold as the journal has it: the entries by which it and what is under it are.
type laid struct {
	entry uint64
	rows  map[string]uint64
}

const (
	kept         = "kept "
	gone         = "gone "
	undocumented = "undocumented "
)

func (vf *verifier) found(object, format string, args ...any) {
	vf.v.Findings++
	vf.tell(Finding{object, fmt.Sprintf(format, args...)})
}

// database reads all of it in one transaction: nobody writes to a snapshot.
func (vf *verifier) database(tx table.Tx) error {
	for _, step := range []func(table.Tx) error{vf.schema, vf.journal, vf.legalHolds, vf.heldRows, vf.certificates, vf.rows, vf.keptRows, vf.epochs, vf.indexes, vf.files} {
		if err := step(tx); err != nil {
			return err
		}
	}
	return nil
}

func (vf *verifier) schema(tx table.Tx) error {
	switch found := tx.Table(metaTable).Get(schemaKey); {
	case found == nil:
		return errors.New("it is no database of bewaard")
	case string(found) != schema:
		return fmt.Errorf("schema %q, this bewaard reads %q", found, schema)
	}
	return nil
}

// each calls f with every key of a table, until it returns an error.
func each(t table.Table, f func(key, value []byte) error) error {
	for key, value := range t.Ascend(nil) {
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// step is called now and then on the way through something long.
func (vf *verifier) step(what string, done int) error {
	if done%10_000 == 0 {
		vf.cfg.Progress(what, done)
		return context.Cause(vf.ctx)
	}
	return nil
}

// journal checks the chain, and what it says of keys and certificates.
func (vf *verifier) journal(tx table.Tx) error {
	chain := journal.NewChain(vf.cfg.Heads...)
	wanted := map[journal.Hash]bool{}
	for _, hash := range vf.cfg.Hashes {
		wanted[hash] = true
	}
	vf.v.Keys = vf.cfg.Keys
	anchors := map[uint64][]Anchored{}
	for _, a := range vf.cfg.Anchors {
		anchors[a.Number] = append(anchors[a.Number], a)
	}
	var stamped stamped // the entry before
	var last journal.Action
	err := each(tx.Table(journalTable), func(key, line []byte) error {
		e, defects := chain.Add(keyNumber(key), line)
		for _, d := range defects {
			vf.found(fmt.Sprintf("journal entry %d", d.Number), "%s", d.What)
		}
		delete(wanted, chain.Head().Hash)
		vf.between(stamped, &e)
		stamped.number, stamped.at = keyNumber(key), time.Time{}
		vf.v.Unanchored++
		for _, a := range anchors[keyNumber(key)] {
			vf.anchor(&e, journal.HashOf(line), a, &stamped)
		}
		delete(anchors, keyNumber(key))
		last = e.Action
		vf.v.Entries++
		if err := vf.entry(tx, &e); err != nil {
			return err
		}
		return vf.step("journal", vf.v.Entries)
	})
	for _, d := range chain.End() {
		vf.found(fmt.Sprintf("journal entry %d", d.Number), "%s", d.What)
	}
	for hash := range wanted {
		vf.found("journal", "no entry has the hash %s, which was told before: it was rolled back, or written anew", hash)
	}
	for _, some := range anchors {
		for _, a := range some {
			vf.beyond(a, last == journal.Snapshot)
		}
	}
	if vf.v.Judged = vf.v.At; vf.v.Anchor.Trusted && vf.v.Anchor.At.After(vf.v.At) {
		vf.v.Judged = vf.v.Anchor.At // whatever the clock of the machine says
	}
	if vf.v.Head = chain.Head(); vf.v.Entries == 0 {
		vf.found("journal", "it is empty: a store has an entry from its first start on")
	}
	return err
}

// anchorGrace is how much later than an entry its time stamp may seem to be earlier: clocks differ.
const anchorGrace = 5 * time.Minute

// stamped is an entry and the earliest instant at which it was the last one, as an authority
// says; zero where none does.
type stamped struct {
	number uint64
	at     time.Time
}

// anchor holds an entry against a time stamp of it.
func (vf *verifier) anchor(e *journal.Entry, hash journal.Hash, a Anchored, s *stamped) {
	stamp, err := timestamp.Verify(a.Response, hash, vf.cfg.Roots)
	switch {
	case err != nil:
		vf.found(a.object(), "it is not of that entry as it is now, or proves nothing: %v", err)
		return
	case stamp.At.Add(stamp.Accuracy + anchorGrace).Before(e.At):
		vf.found(a.object(), "it is of %s, and the entry says that it was made later, on %s", stamp.At.Format(time.RFC3339), e.At.Format(time.RFC3339))
	}
	vf.v.Anchors++
	vf.v.Unanchored = 0
	if at := stamp.At.Add(-stamp.Accuracy); at.After(s.at) {
		s.at = at
	}
	if stamp.At.After(vf.v.Anchor.At) {
		vf.v.Anchor = stamp
	}
}

// between holds an entry against the time stamp of the one before, which was the last one then.
func (vf *verifier) between(before stamped, e *journal.Entry) {
	if !before.at.IsZero() && !e.At.IsZero() && before.at.Add(-anchorGrace).After(e.At) {
		vf.found(fmt.Sprintf("journal entry %d", e.Number), "it says that it was made on %s, and entry %d was the last one on %s, as its time stamp says: the clock was wrong, or it was written later",
			e.At.Format(time.RFC3339), before.number, before.at.Format(time.RFC3339))
	}
}

// beyond looks at a time stamp of an entry that is not there: the journal was rolled back, unless
// it ends with a snapshot that is older.
func (vf *verifier) beyond(a Anchored, snapshot bool) {
	at, err := timestamp.Read(a.Response)
	switch {
	case err != nil:
		vf.found(a.object(), "the journal has no such entry, and it cannot be read: %v", err)
	case snapshot && at.Add(anchorGrace).After(vf.v.At):
		vf.v.LaterAnchors++
	default:
		vf.found(a.object(), "it is of %s, and the journal has no such entry: it was rolled back", at.Format(time.RFC3339))
	}
}

// entry looks at what an entry says.
func (vf *verifier) entry(tx table.Tx, e *journal.Entry) error {
	if !e.At.IsZero() {
		vf.v.At = e.At
	}
	switch e.Action {
	case journal.NodeKey:
		vf.nodeKey(e)
	case journal.Hold:
		vf.held(e)
	case journal.Release:
		delete(vf.laid, e.Object)
	case journal.Keep:
		return vf.last.put(kept+e.Object, numberKey(e.Number))
	case journal.EpochKey:
		vf.destroyed[seal.Epoch(e.Object)] = vf.destroyed[seal.Epoch(e.Object)] || e.Reason == epochDestroyed
	case journal.Expire:
		vf.expired(tx, e)
		for id, l := range vf.laid {
			if by, held := l.rows[e.Object]; held {
				vf.found("row "+e.Object, "entry %d of the journal has it destroyed, and entry %d put it under legal hold %s, which nobody had released", e.Number, by, id)
			}
		}
	case journal.Destroy:
		for _, l := range vf.laid {
			delete(l.rows, e.Object) // told with the entry before; a party's objection may
		}
		hash, _ := strings.CutPrefix(e.Reason, "certificate ")
		signed := tx.Table(certificatesTable).Get([]byte(e.Object))
		if signed == nil {
			err := vf.last.put(undocumented+e.Object, numberKey(e.Number)) // until an entry says that it was removed
			if err != nil {
				return err
			}
		} else if got := certificate.Hash(signed); got != hash {
			vf.found("certificate of "+e.Object, "it has the hash %s, and entry %d of the journal says %s: it was replaced", got, e.Number, hash)
		}
		return errors.Join(vf.last.put(gone+e.Object, numberKey(e.Number)), vf.last.delete(kept+e.Object))
	case journal.Remove:
		vf.removed(tx, e)
		return errors.Join(vf.last.delete(gone+e.Object), vf.last.delete(undocumented+e.Object))
	}
	return nil
}

// said returns the entry that the scratch has under a key.
func (vf *verifier) said(tx table.Tx, key string) (journal.Entry, bool) {
	number := vf.last.get(key)
	if number == nil {
		return journal.Entry{}, false
	}
	e, err := journal.Decode(tx.Table(journalTable).Get(number))
	return e, err == nil
}

// expired holds the end of a recording against what was said last of its time.
func (vf *verifier) expired(tx table.Tx, e *journal.Entry) {
	k, ok := vf.said(tx, kept+e.Object)
	if !ok {
		return
	}
	_, text, _ := strings.Cut(k.Reason, ", until ")
	until, err := time.Parse(time.RFC3339Nano, text)
	if err == nil && e.At.Before(until) {
		vf.found("row "+e.Object, "entry %d of the journal has it expired on %s, and by entry %d it is kept until %s", e.Number, e.At.Format(time.RFC3339), k.Number, until.Format(time.RFC3339))
	}
}

// removed looks whether a certificate was there before it was taken away, and was taken away by
// who could sign it, when its time was over.
func (vf *verifier) removed(tx table.Tx, e *journal.Entry) {
	object := "certificate of " + e.Object
	destroyed, ok := vf.said(tx, gone+e.Object)
	if !ok {
		vf.found(object, "entry %d of the journal has it taken away, and no entry says that it was made", e.Number)
		return
	}
	hash, _ := strings.CutPrefix(destroyed.Reason, "certificate ")
	text, signature, _ := strings.Cut(strings.TrimPrefix(e.Reason, keptUntil), signedBy)
	until, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil || !certificate.VerifyRemoval(signature, e.Object, hash, until, vf.v.Keys...):
		vf.found(object, "entry %d of the journal has it taken away, and is not signed: nobody knows whether there ever was one", e.Number)
	case e.At.Before(until):
		vf.found(object, "entry %d of the journal has it taken away on %s, and it was to be kept until %s", e.Number, e.At.Format(time.RFC3339), text)
	}
}

// held notes that a legal hold is laid, or that a row came under it.
func (vf *verifier) held(e *journal.Entry) {
	id, row := strings.CutPrefix(e.Reason, rowHeld)
	if !row {
		vf.laid[e.Object] = &laid{e.Number, map[string]uint64{}}
	} else if l := vf.laid[id]; l != nil { // else the chain has told that entries are missing
		l.rows[e.Object] = e.Number
	}
}

// heldRows holds the legal holds that the journal has against those that there are.
func (vf *verifier) heldRows(tx table.Tx) error {
	for id, l := range vf.laid {
		if !vf.holds[id] {
			vf.found("legal hold "+id, "entry %d of the journal lays it, no entry releases it, and it is not there: what it kept may be gone", l.entry)
		}
		for object, entry := range l.rows {
			row, err := get(tx, object)
			if err == nil && !slices.Contains(row.Holds, id) {
				vf.found("row "+object, "entry %d of the journal put it under legal hold %s, which nobody released, and the row is not under it", entry, id)
			}
		}
	}
	return nil
}

// keptRows looks for the rows of recordings that are kept, and not destroyed, as the journal has
// it.
func (vf *verifier) keptRows(tx table.Tx) error {
	return vf.last.each(kept, func(id string, number []byte) error {
		e, err := journal.Decode(tx.Table(journalTable).Get(number))
		if err != nil {
			return nil // told with the chain
		}
		row, err := get(tx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			vf.found("row "+id, "entry %d of the journal says that it is kept %s, and it is not there, nor destroyed: it was taken away", e.Number, e.Reason)
		case err != nil: // told with the row
		case row.State == StateDestroyed:
			vf.found("row "+id, "it is destroyed, and the journal does not say so: by entry %d it is kept %s", e.Number, e.Reason)
		case row.keeping() != e.Reason:
			vf.found("row "+id, "it is kept %s, and entry %d of the journal says %s: that was moved", row.keeping(), e.Number, e.Reason)
		}
		return nil
	})
}

// epochs looks for days that are over, that certificates name, and whose keys the journal does
// not have destroyed although nothing needs them: copies of what was destroyed could be opened.
func (vf *verifier) epochs(tx table.Tx) error {
	deadline := vf.v.Judged.AddDate(0, 0, -1) // a sweep may be at it
	for e := range vf.promised {
		if vf.destroyed[e] || e.End().After(deadline) {
			continue
		}
		needed := false
		for key := range byEpoch.between(tx, label(string(e)), append(label(string(e)), bytes.Repeat([]byte{0xff}, instantBytes)...)) {
			if needed = needsEpoch(tx, keyID(key[byEpoch.sought:]), vf.v.Judged); needed {
				break
			}
		}
		if !needed {
			vf.found("epoch "+string(e), "it ended on %s, nothing needs its key, and the journal does not say that it is destroyed: copies of what was deleted can be opened", e.End().Format(time.RFC3339))
		}
	}
	return nil
}

// nodeKey takes a key from the journal where nobody brought any, or holds it against those.
func (vf *verifier) nodeKey(e *journal.Entry) {
	key, err := certificate.ParseKey(e.Object)
	if err != nil {
		vf.found(fmt.Sprintf("journal entry %d", e.Number), "the node's key: %v", err)
		return
	}
	if len(vf.cfg.Keys) == 0 {
		vf.v.Keys = append(vf.v.Keys, key)
		return
	}
	if !slices.ContainsFunc(vf.cfg.Keys, key.Is) {
		vf.found(fmt.Sprintf("journal entry %d", e.Number), "the node signs with key %s from %s on, which is none of those given: ask who changed it, and why", key, e.At.Format(time.RFC3339))
	}
}

func (vf *verifier) legalHolds(tx table.Tx) error {
	vf.holds = map[string]bool{}
	return each(tx.Table(holdsTable), func(id, value []byte) error {
		h, err := decodeHold(id, value)
		switch {
		case err != nil:
			vf.found(fmt.Sprintf("legal hold %q", id), "it cannot be read: %v", err)
		case !h.Until.IsZero() && h.Until.Add(overdueGrace).Before(vf.v.Judged):
			vf.found("legal hold "+h.ID, "it should have ended on %s and keeps %d rows", h.Until.Format(time.RFC3339), h.Rows)
		}
		vf.holds[string(id)] = true
		return nil
	})
}

func (vf *verifier) certificates(tx table.Tx) error {
	err := vf.last.each(undocumented, func(id string, _ []byte) error {
		vf.found("certificate of "+id, "the journal says that it was made, and it is not there")
		return nil
	})
	if err != nil {
		return err
	}
	return each(tx.Table(certificatesTable), func(id, signed []byte) error {
		vf.certificate(tx, string(id), signed)
		vf.v.Certificates++
		return vf.step("certificates", vf.v.Certificates)
	})
}

func (vf *verifier) certificate(tx table.Tx, id string, signed []byte) {
	object := "certificate of " + id
	c, err := certificate.Verify(signed, vf.v.Keys...)
	if err != nil {
		vf.found(object, "it proves nothing: %v", err)
		if c.Recording == "" {
			return
		}
	}
	if c.Recording != id {
		vf.found(object, "it is that of %s", c.Recording)
		return
	}
	if c.Epoch != nil {
		vf.promised[seal.Epoch(c.Epoch.Name)] = true
	}
	if c.Destroyed.Before(c.Expired) {
		vf.found(object, "destroyed on %s, before it expired on %s", c.Destroyed.Format(time.RFC3339), c.Expired.Format(time.RFC3339))
	}
	line := tx.Table(journalTable).Get(numberKey(c.Entry))
	if e, err := journal.Decode(line); err != nil || journal.HashOf(line).String() != c.EntryHash || e.Object != id || !allowed(e.Action) {
		vf.found(object, "entry %d of the journal does not say that its files were to be deleted, with the hash %s", c.Entry, c.EntryHash)
	}
	row, err := get(tx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		vf.found(object, "there is no row of it")
	case err == nil && row.says(&c):
	case err == nil && row.State != StateDestroyed:
		vf.found(object, "it says that the recording is gone, and the row says that it is %s", row.State)
	case err == nil && !c.Destroyed.Equal(row.Destroyed):
		vf.found(object, "destroyed on %s, and the row says %s", c.Destroyed.Format(time.RFC3339), row.Destroyed.Format(time.RFC3339))
	}
}

func (vf *verifier) rows(tx table.Tx) error {
	counts := map[State]int64{}
	err := each(tx.Table(rowsTable), func(id, value []byte) error {
		vf.v.Rows++
		row, err := decodeRow(id, value)
		if err != nil {
			vf.found(fmt.Sprintf("row %q", id), "it cannot be read, and so will not be destroyed: %v", err)
		} else {
			counts[row.State]++
			counts[heldCount] += countHeld(&row)
			vf.row(tx, &row)
		}
		return vf.step("rows", vf.v.Rows)
	})
	for _, state := range append(States(), heldCount) {
		if said := readCount(tx, state); said != counts[state] {
			vf.found("rows", "%d are %s, and the database counts %d", counts[state], state, said)
		}
	}
	return err
}

func (vf *verifier) row(tx table.Tx, row *Row) {
	object := "row " + row.ID
	if row.due(vf.v.Judged.Add(-overdueGrace)) {
		vf.found(object, "overdue: it is %s, and expired on %s, %v before", row.State, row.Expires.Format(time.RFC3339), vf.v.Judged.Sub(row.Expires).Round(time.Minute))
	}
	if vf.cfg.Expires != nil && (row.State == StateKept || row.State == StateExpired) && !row.Ended.IsZero() && row.withdrawn() == 0 {
		if want, err := vf.cfg.Expires(row.Retention, row.Ended); err != nil {
			vf.found(object, "its retention cannot be read: %v", err)
		} else if !want.Equal(row.Expires) {
			vf.found(object, "it expires on %s, and %s from the call's end is %s", row.Expires.Format(time.RFC3339), row.Retention, want.Format(time.RFC3339))
		}
	}
	if row.State == StateKept && vf.last.get(kept+row.ID) == nil {
		vf.found(object, "it is kept, and no entry of the journal says so: it was put there")
	}
	if row.State == StateDestroyed {
		switch deadline := vf.v.Judged.Add(-overdueGrace); {
		case row.personal() && !row.named():
			vf.found(object, "it is destroyed, and still says who called")
		case row.named() && !row.held() && row.RowExpires.Before(deadline):
			vf.found(object, "overdue: it says who called, and should not have since %s", row.RowExpires.Format(time.RFC3339))
		case !row.named() && !row.CertificateExpires.IsZero() && row.CertificateExpires.Before(deadline):
			vf.found(object, "overdue: what is left of it should have been removed on %s", row.CertificateExpires.Format(time.RFC3339))
		}
		if (row.captured() || !row.Discarded.IsZero()) && row.Entry != 0 && tx.Table(certificatesTable).Get([]byte(row.ID)) == nil {
			vf.found(object, "it is destroyed, and has no certificate")
		}
	}
	if row.discarding() && notedIn(tx, row.Entry).Before(vf.v.Judged.Add(-overdueGrace)) {
		vf.found(object, "what was captured of it was to be destroyed at once, by entry %d of the journal, and nothing says that it is", row.Entry)
	}
	for _, id := range row.Holds {
		if !vf.holds[id] {
			vf.found(object, "it is under legal hold %s, which there is not: it would never be destroyed", id)
		} else if tx.Table(heldTable).Get(heldKey(id, row.ID)) == nil {
			vf.found(object, "it is under legal hold %s, which does not know: it would never be destroyed", id)
		}
	}
	for _, x := range indexes {
		for _, key := range x.keys(row) {
			if tx.Table(x.table).Get(key) == nil {
				vf.found(object, "the index %s does not have it: it would not be found, nor destroyed in time", x.table)
			} else {
				vf.indexed[x.table]++
			}
		}
	}
}

// indexes looks for keys that no row has, where there are more than rows have.
func (vf *verifier) indexes(tx table.Tx) error {
	done := 0
	for _, x := range indexes {
		n := 0
		for range x.between(tx, nil, nil) {
			if n++; n > vf.indexed[x.table] {
				break
			}
		}
		if n == vf.indexed[x.table] {
			continue
		}
		for key := range x.between(tx, nil, nil) {
			if len(key) < x.sought+instantBytes {
				vf.found("index "+x.table, "a key of %d bytes", len(key))
				continue
			}
			at := key[x.sought:]
			row, err := get(tx, keyID(at))
			if errors.Is(err, ErrNotFound) || err == nil && !has(x.keys(&row), key) {
				vf.found("index "+x.table, "it has %s at %s, and the row is not like that", keyID(at), keyInstant(at).Format(time.RFC3339))
			}
			done++
			if err := vf.step("indexes", done); err != nil {
				return err
			}
		}
	}
	return nil
}

// files holds the files against the rows, both ways.
func (vf *verifier) files(tx table.Tx) error {
	if vf.cfg.Blobs == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(vf.cfg.Blobs, recordingsDirectory)); err != nil {
		return fmt.Errorf("%s is not the store's directory, which recordings is in: %w", vf.cfg.Blobs, err)
	}
	blobs, err := directory.Open(vf.cfg.Blobs)
	if err != nil {
		return err
	}
	defer blobs.Close()                                                       // it was only read
	for _, directory := range []string{recordingsDirectory, spoolDirectory} { // a copy may have no spools
		for info, err := range blobs.Walk(directory) {
			if err != nil {
				vf.found("file "+info.Name, "it cannot be looked at: %v", err)
				continue
			}
			vf.v.Files++
			vf.file(tx, info.Name)
			if err := vf.step("files", vf.v.Files); err != nil {
				return err
			}
		}
	}
	return vf.recordings(tx, blobs)
}

// file looks for the row of a file.
func (vf *verifier) file(tx table.Tx, name string) {
	id := ownerOf(name)
	row, err := get(tx, id)
	object := "file " + name
	switch {
	case errors.Is(err, ErrNotFound):
		if vf.later(id) {
			vf.v.Later++
			return
		}
		vf.found(object, "no row knows it: nothing says for what it is kept, or until when")
	case err != nil: // told with the row
	case row.State == StateDestroyed:
		vf.found(object, "its row says that it was destroyed on %s", row.Destroyed.Format(time.RFC3339))
	case row.State == StateNotRecorded:
		vf.found(object, "its row says that the call was not recorded")
	case row.State == StateKept && strings.HasPrefix(name, recordingsDirectory+"/") && !blob.Unfinished(name) &&
		!slices.ContainsFunc(row.Files, func(f File) bool { return f.Path == name }):
		vf.found(object, "its row does not know it")
	}
}

// later reports whether an id was made after the snapshot: a file beside it that the
// snapshot cannot know.
func (vf *verifier) later(id string) bool {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 {
		return false
	}
	seconds, nanoseconds := parsed.Time().UnixTime()
	return time.Unix(seconds, nanoseconds).After(vf.v.Judged)
}

// recordings looks for the files of rows, and reads them.
func (vf *verifier) recordings(tx table.Tx, blobs blob.Store) error {
	done := 0
	return each(tx.Table(rowsTable), func(id, value []byte) error {
		row, err := decodeRow(id, value)
		if err != nil || row.State != StateKept {
			return nil
		}
		for _, f := range row.Files {
			err := hashFile(blobs.Open, &f)
			switch {
			case errors.Is(err, fs.ErrNotExist) && row.due(time.Now()):
				vf.v.Later++ // it expired between the snapshot and now
			case errors.Is(err, fs.ErrNotExist):
				vf.found("row "+row.ID, "it is kept until %s, and its file %s is not there", row.Expires.Format(time.RFC3339), f.Path)
			case err != nil:
				vf.found("file "+f.Path, "%v", err)
			}
			done++
			if done%100 == 0 { // reading takes longer than looking
				vf.cfg.Progress("recordings", done)
			}
		}
		return context.Cause(vf.ctx)
	})
}

// errChanged is wrapped where a file is not what its row says.
var errChanged = errors.New("it was changed")

// hashFile reads a file and holds it against what its row says.
func hashFile(open func(name string) (blob.Reader, error), f *File) error {
	if !belowRecordings(f.Path) {
		return errors.New("it is not below " + recordingsDirectory)
	}
	file, err := open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close() // it was only read
	got, n, err := sumOf(file)
	if err != nil {
		return err
	}
	if n != f.Bytes {
		return fmt.Errorf("it has %d bytes, its row says %d: %w, or not written to its end", n, f.Bytes, errChanged)
	}
	if got != f.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, its row says %s: %w", got, f.SHA256, errChanged)
	}
	return nil
}
