package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/bewaard/bewaard/store/table"
)

// rowsPerMigration is how many rows one transaction of a migration changes.
const rowsPerMigration = 1000

// sealRows brings a database of schema 1, whose rows are in the clear, to this one. It can be
// cut short at any instant: the next start begins anew, and passes over what is done.
//
//	rows sealed, indexed ─ the database written anew ─ schema noted
func (s *Store) sealRows() error {
	sealed := 0
	for after := []byte(nil); ; {
		var last []byte
		err := s.db.Update(func(tx table.Tx) (err error) {
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
	if _, err := s.compact(); err != nil { // free pages have what rows said before
		return fmt.Errorf("write the database anew: %w", err)
	}
	err := s.db.Update(func(tx table.Tx) error { return tx.Table(metaTable).Put(schemaKey, []byte(schema)) })
	if err != nil {
		return err
	}
	s.log.Info("rows of an earlier version are sealed", "rows", sealed)
	return nil
}

// sealSome seals the next rows and returns the id of the last it looked at, nil when there are
// no more.
func (s *Store) sealSome(tx table.Tx, after []byte, sealed *int) ([]byte, error) {
	type entry struct{ id, value []byte }
	var entries []entry
	for id, value := range tx.Table(rowsTable).Ascend(after) {
		if bytes.Equal(id, after) {
			continue
		}
		if len(entries) == rowsPerMigration {
			break
		}
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
		if err := tx.Table(rowsTable).Put(e.id, value); err != nil {
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

// indexed is what indexAnew leaves: "" had every purpose of a row, and those to be discarded;
// "2" has agents and SIP Call-IDs.
const indexed = "2"

// indexAnew has rows found by all that they can be: an earlier version had them by their longest
// term alone, and by numbers alone; and it has the journal say what is kept. It can be cut short
// and begins anew then. What is sealed, and cannot be opened here, stays as it is.
func (s *Store) indexAnew() error {
	done := false
	for after := []byte(nil); !done; {
		err := s.db.Update(func(tx table.Tx) error {
			had := tx.Table(metaTable).Get(indexedKey)
			if done = string(had) == indexed; done {
				return nil
			}
			keys := byBegan.page(tx, after, nil, rowsPerMigration)
			for _, key := range keys {
				row, err := get(tx, keyID(key))
				if err != nil {
					continue // who lists it tells
				}
				if had == nil {
					before := Row{} // one of which the journal has nothing yet
					if err := errors.Join(byPurpose.follow(tx, nil, &row), discarding.follow(tx, nil, &row), noteKept(tx, &before, &row)); err != nil {
						return err
					}
				}
				if err := s.findAnew(tx, &row); err != nil {
					return err
				}
			}
			if len(keys) > 0 {
				after = keys[len(keys)-1]
				return nil
			}
			done = true
			return tx.Table(metaTable).Put(indexedKey, []byte(indexed))
		})
		if err != nil {
			return fmt.Errorf("index rows anew: %w", err)
		}
	}
	return nil
}

// findAnew has a row found by all that its personal part says.
func (s *Store) findAnew(tx table.Tx, row *Row) error {
	opened := row.Clone()
	if s.open(tx, &opened); opened.Sealed || opened.Personal.empty() {
		return nil
	}
	tokens := s.tokens(&opened)
	if slices.Equal(tokens, row.tokens) {
		return nil
	}
	found := row.Clone()
	found.tokens = tokens
	value, err := encodeRow(&found)
	if err != nil {
		return err
	}
	return errors.Join(tx.Table(rowsTable).Put([]byte(row.ID), value), byNumber.follow(tx, row, &found))
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
