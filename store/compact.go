package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

const (
	// compactEvery is after how long a database is written anew though little of it is
	// free: what was destroyed is not to stand in free pages for ever.
	compactEvery = 7 * 24 * time.Hour
	// compactFree is how much of it is free when it is written anew before that, and
	// compactFloor the size below which that says nothing.
	compactFree  = 0.5
	compactFloor = 64 << 20
)

// compactedKey in meta is when the database was last compacted.
var compactedKey = []byte("compacted")

// Compaction is what Compact did.
type Compaction = table.Compaction

// Compact sees to it that what was destroyed before cannot be read from the database's file
// any more. Calls go on.
func (s *Store) Compact(act Act) (c Compaction, err error) {
	if !s.copying.TryLock() {
		return c, fmt.Errorf("compact the database: %w", ErrCopying)
	}
	defer s.copying.Unlock()
	if err := s.Note(journal.Compact, "", act); err != nil {
		return c, fmt.Errorf("compact the database: %w", err)
	}
	if c, err = s.compact(); err != nil {
		return c, fmt.Errorf("compact the database: %w", err)
	}
	s.log.Info("database compacted", "before", c.Before, "after", c.After, "keys_meanwhile", c.Keys, "blocked", c.Blocked)
	s.metrics.blocked.Set(c.Blocked.Seconds())
	return c, nil
}

func (s *Store) compact() (Compaction, error) {
	c, err := s.db.Compact()
	if err != nil {
		return c, err
	}
	return c, s.noteCompacted(time.Now())
}

func (s *Store) noteCompacted(now time.Time) error {
	return s.db.Update(func(tx table.Tx) error {
		return tx.Table(metaTable).Put(compactedKey, []byte(now.UTC().Format(time.RFC3339)))
	})
}

// compactIfDue compacts a database of which much is free, or that was not for long.
func (s *Store) compactIfDue(now time.Time) error {
	size, free, err := s.db.Size()
	if err != nil {
		return fmt.Errorf("compact the database: %w", err)
	}
	var last time.Time
	err = s.db.View(func(tx table.Tx) (err error) {
		if text := tx.Table(metaTable).Get(compactedKey); text != nil {
			last, err = time.Parse(time.RFC3339, string(text))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("compact the database: %w", err)
	}
	why := ""
	switch {
	case size > compactFloor && float64(free) > compactFree*float64(size):
		why = fmt.Sprintf("%d of %d bytes are free", free, size)
	case last.IsZero(): // a new one: the week begins
		return s.noteCompacted(now)
	case free > 0 && now.Sub(last) > compactEvery:
		why = "a week has passed"
	default:
		return nil
	}
	_, err = s.Compact(Act{Daemon, why})
	if errors.Is(err, ErrCopying) {
		return nil // tomorrow
	}
	return err
}
