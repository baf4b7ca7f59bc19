package store

import (
	"fmt"
	"io"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
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
	err := s.db.Snapshot(func(tx table.Tx, bytes int64) (io.Writer, error) {
		head, err := readHead(tx)
		if err != nil {
			return nil, err
		}
		return begin(head, bytes), nil
	})
	if err != nil {
		return fmt.Errorf("make a snapshot: %w", err)
	}
	return nil
}
