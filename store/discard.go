package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

// ErrNotDiscarded is wrapped by FinishDiscard where no Discard came before.
var ErrNotDiscarded = errors.New("nothing says that it is to be destroyed")

// Discard says of a call, whose row has become that one, that what was captured of it goes at
// once: somebody wants it so, or, where that is the daemon, a party objected. It stands in the journal and on the row when Discard returns nil;
// FinishDiscard then does it, or the next start. What is under legal hold a party's objection
// alone destroys: else the error wraps ErrHeld.
func (s *Store) Discard(row Row, act Act) error {
	action := journal.Delete
	if act.Actor == Daemon {
		action = journal.Objection
	}
	if err := act.check(); err != nil {
		return fmt.Errorf("discard what was captured of %s: %w", row.ID, err)
	}
	err := s.commit(func(tx table.Tx) (refusal, err error) {
		old, err := get(tx, row.ID)
		if err != nil {
			return err, nil
		}
		if old.held() && action != journal.Objection {
			return ErrHeld, nil
		}
		updated, refusal, err := s.changed(tx, &old, func(r *Row) error {
			r.Become(row)
			r.State, r.Recording, r.Files = StateNotRecorded, nil, nil
			return nil
		})
		if refusal != nil || err != nil {
			return refusal, err
		}
		head, err := note(tx, action, row.ID, act)
		if err != nil {
			return nil, err
		}
		updated.Entry = head.Number
		return nil, put(tx, &old, &updated)
	})
	if err != nil {
		return fmt.Errorf("discard what was captured of %s: %w", row.ID, err)
	}
	return nil
}

// FinishDiscard destroys what the spool has of a call, sees that it is gone, and signs that
// it is. It can be done again after a crash.
func (s *Store) FinishDiscard(id string) error {
	fail := func(err error) error { return fmt.Errorf("discard what was captured of %s: %w", id, err) }
	row, err := s.Get(id)
	if err != nil {
		return fail(err)
	}
	switch {
	case row.State != StateNotRecorded || row.Entry == 0:
		return fail(ErrNotDiscarded)
	case !row.discarding():
		return nil
	}
	spooled, err := s.spooled(id)
	if err != nil {
		return fail(err)
	}
	if err := s.RemoveSpool(id); err != nil {
		return fail(err)
	}
	s.step("discarded " + id)
	err = s.commit(func(tx table.Tx) (refusal, err error) {
		old, err := get(tx, id)
		if err != nil {
			return err, nil
		}
		if !old.discarding() { // somebody else was quicker
			return nil, nil
		}
		row := old.Clone()
		row.Discarded = time.Now().Round(0).UTC()
		if row.CertificateExpires.IsZero() {
			row.CertificateExpires = row.Discarded.AddDate(keepCertificateYears, 0, 0)
		}
		gone := row.Clone()
		gone.Files, gone.Expires, gone.Destroyed = spooled, row.Discarded, row.Discarded
		if err := s.certify(tx, &gone); err != nil {
			return nil, err
		}
		return nil, put(tx, &old, &row)
	})
	if err != nil {
		return fail(err)
	}
	return nil
}

// spooled returns what the spool has of a call, with the hash of what is on disk; nothing
// where it was deleted before.
func (s *Store) spooled(id string) ([]File, error) {
	names, err := s.namesOf(spoolDirectory, map[string]bool{id: true})
	if err != nil {
		return nil, err
	}
	var files []File
	for _, name := range names {
		if blob.Unfinished(name) {
			continue // none of ours; it goes with the others
		}
		f, err := s.spools.Open(path.Base(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sum, n, err := sumOf(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		files = append(files, File{Format: path.Base(spoolDirectory), Bytes: n, SHA256: sum})
	}
	return files, nil
}

func sumOf(f blob.Reader) (sum string, n int64, err error) {
	h := sha256.New()
	n, err = io.Copy(h, io.NewSectionReader(f, 0, f.Size()))
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// allowed reports whether an entry of the journal can stand before a certificate.
func allowed(a journal.Action) bool {
	return a == journal.Expire || a == journal.Delete || a == journal.Objection
}

// says reports whether a row says of its recording what a certificate does: that it is gone
// since then.
func (r *Row) says(c *certificate.Certificate) bool {
	return r.State == StateDestroyed && r.captured() && c.Destroyed.Equal(r.Destroyed) || !r.captured() && c.Destroyed.Equal(r.Discarded)
}
