package store

import (
	"fmt"
	"io"

	"go.etcd.io/bbolt"

	"github.com/bewaard/bewaard/store/journal"
)

// Snapshot writes the database as it is at one instant, while calls go on, and journals
// that first. Begin is told the journal's head and how many bytes will come; its writer
// gets them. As long as they are being written the database grows where it would have
// used pages again: whoever takes them should take them fast.
func (s *Store) Snapshot(act Act, begin func(head journal.Head, bytes int64) io.Writer) error {
	if !s.copying.TryLock() {
		return fmt.Errorf("make a snapshot: %w", ErrCopying)
	}
	defer s.copying.Unlock()
	if err := s.Note(journal.Snapshot, "", act); err != nil {
		return fmt.Errorf("make a snapshot: %w", err)
	}
	// Not through s.db: it is for short transactions, and only Compact changes the database.
	err := s.db.DB.View(func(tx *bbolt.Tx) error {
		head, err := readHead(tx)
		if err != nil {
			return err
		}
		_, err = tx.WriteTo(begin(head, tx.Size()))
		return err
	})
	if err != nil {
		return fmt.Errorf("make a snapshot: %w", err)
	}
	return nil
}
