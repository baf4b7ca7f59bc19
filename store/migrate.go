package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

const (
	// rowsPerMigration is how many rows one transaction of a migration changes.
	rowsPerMigration = 1000

	// compactBytes is how much one transaction of a compaction copies.
	compactBytes = 16 << 20
)

// sealRows brings a database of schema 1, whose rows are in the clear, to this one. It can be
// cut short at any instant: the next start begins anew, and passes over what is done.
//
//	rows sealed, indexed ─ copied into a fresh file, which takes the name ─ old file overwritten
func (s *Store) sealRows() error {
	if err := s.db.Update(makeIndexes); err != nil {
		return err
	}
	sealed := 0
	for after := []byte(nil); ; {
		var last []byte
		err := s.db.Update(func(tx *bbolt.Tx) (err error) {
			last, err = s.sealSome(tx, after, &sealed)
			return err
		})
		if err != nil {
			return fmt.Errorf("seal rows of schema %s: %w", schemaInClear, err)
		}
		if last == nil {
			break
		}
		after = last
	}
	if err := s.renew(); err != nil {
		return fmt.Errorf("copy the database into a fresh file: %w", err)
	}
	s.log.Info("rows of an earlier version are sealed", "rows", sealed)
	return nil
}

// sealSome seals the next rows and returns the id of the last it looked at, nil when there are
// no more.
func (s *Store) sealSome(tx *bbolt.Tx, after []byte, sealed *int) ([]byte, error) {
	type entry struct{ id, value []byte }
	var entries []entry
	cursor := tx.Bucket(rowsBucket).Cursor()
	id, value := cursor.Seek(after)
	if after != nil && bytes.Equal(id, after) {
		id, value = cursor.Next()
	}
	for ; id != nil && len(entries) < rowsPerMigration; id, value = cursor.Next() {
		entries = append(entries, entry{bytes.Clone(id), bytes.Clone(value)})
	}
	if entries == nil {
		return nil, nil
	}
	for _, e := range entries {
		row, err := decodeClear(e.id, e.value)
		if err != nil { // sealed already, or none: then it stays as it is
			if _, decoded := decodeRow(e.id, e.value); decoded != nil {
				s.log.Error("row not readable", "call_id", string(e.id), "error", err)
			}
			continue
		}
		if err := s.seal(tx, &row); err != nil {
			return nil, err
		}
		value, err := encodeRow(&row)
		if err != nil {
			return nil, err
		}
		if err := tx.Bucket(rowsBucket).Put(e.id, value); err != nil {
			return nil, err
		}
		for _, x := range indexes {
			if err := x.follow(tx, nil, &row); err != nil {
				return nil, fmt.Errorf("index row %s: %w", row.ID, err)
			}
		}
		*sealed++
	}
	return entries[len(entries)-1].id, nil
}

// decodeClear reads a row of schema 1.
func decodeClear(id, value []byte) (Row, error) {
	var probe struct {
		Part json.RawMessage `json:"personal"`
	}
	var r Row
	if err := errors.Join(json.Unmarshal(value, &probe), json.Unmarshal(value, &r)); err != nil {
		return Row{}, err
	}
	if probe.Part != nil || r.ID != string(id) {
		return Row{}, errors.New("not a row of schema " + schemaInClear)
	}
	if err := r.check(); err != nil {
		return Row{}, err
	}
	r.inUTC()
	return r, nil
}

// renew copies the database into a fresh file, which says that it is of this schema, and
// overwrites the old one: its free pages have what rows said before.
func (s *Store) renew() error {
	path := s.databasePath()
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(fresh, 0o600, databaseOptions)
	if err != nil {
		return err
	}
	err = bbolt.Compact(db, s.db, compactBytes)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(schemaKey, []byte(schema)) })
	}
	if err == nil {
		err = db.Sync()
	}
	if err != nil {
		return errors.Join(err, db.Close(), os.Remove(fresh))
	}
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	defer old.Close() // what was written was synced
	if err := errors.Join(s.blobs.sync("."), s.db.Close()); err != nil {
		return errors.Join(err, db.Close())
	}
	db.MaxBatchDelay = groupDelay
	s.db = db
	info, err := old.Stat()
	if err != nil {
		return err
	}
	_, err = io.CopyN(old, zeroes{}, info.Size())
	return errors.Join(err, old.Sync())
}

// zeroes reads as zeros without end.
type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }
