package store

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
)

// scratch keeps values by keys while something is verified: some in memory, and the rest in a
// file that goes with it, so that a journal of years takes no more memory than one of a day.
type scratch struct {
	directory string
	db        *bolt.DB
	recent    map[string][]byte // nil: deleted
}

// scratchKeys is how many are in memory.
const scratchKeys = 100_000

const scratchTable = "scratch"

func newScratch() (*scratch, error) {
	directory, err := os.MkdirTemp("", "bewaard-verify-")
	if err != nil {
		return nil, err
	}
	db, err := bolt.Open(directory, "scratch.db")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(directory))
	}
	db.NoSync(true)
	return &scratch{directory, db, map[string][]byte{}}, nil
}

func (s *scratch) close() error { return errors.Join(s.db.Close(), os.RemoveAll(s.directory)) }

// put keeps a value, delete forgets it.
func (s *scratch) put(key string, value []byte) error {
	s.recent[key] = value
	if len(s.recent) < scratchKeys {
		return nil
	}
	return s.flush()
}

func (s *scratch) delete(key string) error { return s.put(key, nil) }

func (s *scratch) flush() error {
	err := s.db.Update(func(tx table.Tx) error {
		t := tx.Table(scratchTable)
		for _, key := range slices.Sorted(maps.Keys(s.recent)) {
			err, value := error(nil), s.recent[key]
			if value == nil {
				err = t.Delete([]byte(key))
			} else {
				err = t.Put([]byte(key), value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	clear(s.recent)
	return err
}

// has reports whether there is a value.
func (s *scratch) has(key string) (there bool) {
	if value, recent := s.recent[key]; recent {
		return value != nil
	}
	s.db.View(func(tx table.Tx) error { there = tx.Table(scratchTable).Get([]byte(key)) != nil; return nil }) // it fails only when closed
	return there
}

// each calls f with what is kept under keys that begin so, in their order, and the rest of
// the key.
func (s *scratch) each(prefix string, f func(rest string, value []byte) error) error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.db.View(func(tx table.Tx) error {
		for key, value := range tx.Table(scratchTable).Ascend([]byte(prefix)) {
			rest, of := strings.CutPrefix(string(key), prefix)
			if !of {
				break
			}
			if err := f(rest, value); err != nil {
				return err
			}
		}
		return nil
	})
}
