package store

import (
	"errors"
	"fmt"

	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

// certify signs, keeps and journals that a row's files are gone.
func (s *Store) certify(tx table.Tx, row *Row) error {
	intent := tx.Table(journalTable).Get(numberKey(row.Entry))
	if intent == nil {
		return fmt.Errorf("the journal has no entry %d: nothing says that its files were to be deleted", row.Entry)
	}
	c := certificate.Certificate{
		Recording: row.ID, Purpose: row.Purpose, Basis: row.Basis, Retention: row.Retention,
		Made: row.Began, Expired: row.Expires, Destroyed: row.Destroyed,
		Withdrawn: row.withdrawn(), Entry: row.Entry, EntryHash: journal.HashOf(intent).String(),
	}
	for _, t := range row.EveryTerm() {
		if len(row.Terms) > 1 {
			c.Purposes = append(c.Purposes, certificate.Purpose{Purpose: t.Purpose, Basis: t.Basis, Retention: t.Retention, Withdrawn: t.Withdrawn})
		}
	}
	for _, f := range row.Files {
		if f.Epoch != "" && (c.Epoch == nil || string(f.Epoch) > c.Epoch.Name) {
			c.Epoch = &certificate.Epoch{Name: string(f.Epoch), Ends: f.Epoch.End()}
		}
		c.Files = append(c.Files, certificate.File{Format: f.Format, Bytes: f.Bytes, SHA256: f.SHA256})
	}
	signed, err := certificate.Sign(c, s.nodeKey)
	if err != nil {
		return err
	}
	if _, err := note(tx, journal.Destroy, row.ID, Act{Daemon, "certificate " + certificate.Hash(signed)}); err != nil {
		return err
	}
	return tx.Table(certificatesTable).Put([]byte(row.ID), signed)
}

// ErrNoCertificate is wrapped when a row has none: it is not destroyed, or nothing of
// the call was captured.
var ErrNoCertificate = errors.New("no deletion certificate")

// Certificate returns the signed certificate that a recording is gone: the bytes that
// certificate.Verify reads.
func (s *Store) Certificate(id string) (signed []byte, err error) {
	err = s.db.View(func(tx table.Tx) error {
		row, err := get(tx, id)
		if err != nil {
			return err
		}
		value := tx.Table(certificatesTable).Get([]byte(id))
		if value == nil {
			return fmt.Errorf("%w: the call is %s", ErrNoCertificate, row.State)
		}
		signed = append(signed, value...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", id, err)
	}
	return signed, nil
}
