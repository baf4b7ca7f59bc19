package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

// rowsPerRead is how many rows one read transaction looks at. While one is open no
// page it can see is used again, and the file grows under those who write.
const rowsPerRead = 1000

// Begin writes the row of a call that has come in, in state calling. The row is on
// disk when it returns.
func (s *Store) Begin(row Row) error {
	row = row.Clone()
	row.inUTC()
	if row.State == "" {
		row.State = StateCalling
	}
	if err := checkBegin(&row); err != nil {
		return fmt.Errorf("begin row %s: %w", row.ID, err)
	}
	err := s.commit(func(tx table.Tx) (refusal, err error) {
		if tx.Table(rowsTable).Get([]byte(row.ID)) != nil {
			return ErrExists, nil
		}
		if err := s.seal(tx, &row); err != nil {
			return nil, err
		}
		return nil, put(tx, nil, &row)
	})
	if err != nil {
		return fmt.Errorf("begin row %s: %w", row.ID, err)
	}
	return nil
}

func checkBegin(row *Row) error {
	if row.State != StateCalling {
		return fmt.Errorf("begins in state %s, want %s", row.State, StateCalling)
	}
	return row.check()
}

// Update changes a row and returns it as it then is on disk. An error of change is
// returned and leaves the row as it was. Change must do nothing but change the row:
// it is called again where a commit that it shares with others has to be repeated.
func (s *Store) Update(id string, change func(*Row) error) (Row, error) {
	return s.update(id, change, func(table.Tx, *Row) error { return nil })
}

// update is Update with something else done in the same commit, before the row is put.
func (s *Store) update(id string, change func(*Row) error, also func(table.Tx, *Row) error) (Row, error) {
	var updated Row
	err := s.commit(func(tx table.Tx) (refusal, err error) {
		old, err := get(tx, id)
		if err != nil {
			return err, nil
		}
		if updated, refusal, err = s.changed(tx, &old, change); refusal != nil || err != nil {
			return refusal, err
		}
		if err := also(tx, &updated); err != nil {
			return nil, err
		}
		return nil, errors.Join(noteKept(tx, &old, &updated), put(tx, &old, &updated))
	})
	if err != nil {
		return Row{}, fmt.Errorf("update row %s: %w", id, err)
	}
	if s.keys.Sealed() { // what could be read to be changed is shown to nobody
		updated.Personal, updated.Sealed = Personal{}, updated.part != nil
	}
	return updated, nil
}

// noteKept journals that a recording is kept from now on, or for something else: who takes its
// row away, or moves its expiry, cannot take that away.
func noteKept(tx table.Tx, old, row *Row) error {
	if row.State != StateKept || old.State == StateKept && old.keeping() == row.keeping() {
		return nil
	}
	_, err := note(tx, journal.Keep, row.ID, Act{Daemon, row.keeping()})
	return err
}

// changed returns a row as a change makes it, sealed, to be put.
func (s *Store) changed(tx table.Tx, old *Row, change func(*Row) error) (updated Row, refusal, err error) {
	updated = old.Clone()
	s.reopen(tx, &updated)
	sealed := updated.Sealed
	if err := change(&updated); err != nil {
		return Row{}, err, nil
	}
	switch updated.Sealed = sealed; {
	case sealed && updated.part == nil: // replaced as a whole
		updated.part, updated.tokens = old.part, old.tokens
	case !sealed && updated.Personal.empty():
		updated.clearPersonal()
	}
	// What change was given or has put in may still be used by its owner.
	updated = updated.Clone()
	updated.inUTC()
	if err := checkUpdate(old, &updated); err != nil {
		return Row{}, err, nil
	}
	return updated, nil, s.seal(tx, &updated)
}

func checkUpdate(old, updated *Row) error {
	if updated.ID != old.ID {
		return fmt.Errorf("its id became %q", updated.ID)
	}
	if err := checkArrow(old.State, updated.State); err != nil {
		return err
	}
	if !slices.Equal(updated.Holds, old.Holds) {
		return errors.New("its legal holds were changed")
	}
	if updated.State == StateExpired || updated.State == StateDestroyed {
		return fmt.Errorf("a row is %s by the sweep alone", updated.State)
	}
	return updated.check()
}

// Get returns a row.
func (s *Store) Get(id string) (Row, error) {
	var row Row
	err := s.db.View(func(tx table.Tx) (err error) {
		if row, err = get(tx, id); err == nil {
			s.open(tx, &row)
		}
		return err
	})
	if err != nil {
		return Row{}, fmt.Errorf("get row %s: %w", id, err)
	}
	return row, nil
}

// Unfinished returns the rows in calling, recording and finalizing, the oldest
// first. At start these are what a crash left; later, what goes on.
func (s *Store) Unfinished() ([]Row, error) {
	var rows []Row
	for row, err := range s.walk(unfinished, nil) {
		if err != nil {
			return nil, fmt.Errorf("read unfinished rows: %w", err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Due returns at most limit rows whose time is over at the given instant, the one
// longest overdue first.
func (s *Store) Due(now time.Time, limit int) ([]Row, error) {
	var rows []Row
	for row, err := range s.walk(byExpiry, dueEnd(now)) {
		if err != nil {
			return nil, fmt.Errorf("read due rows: %w", err)
		}
		if len(rows) >= limit {
			break
		}
		if row.due(now) {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// dueEnd is the first key by expiry that cannot be due: one of the next millisecond.
func dueEnd(now time.Time) []byte { return instantKey(now.Add(time.Millisecond)) }

// walk yields the rows of an index up to the end, nil for all. It reads them in short
// transactions and yields outside of them. A row that cannot be read is logged,
// counted and passed over: it must not hide the others.
func (s *Store) walk(x index, end []byte) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var after []byte
		for {
			rows, keys, err := s.walkPage(x, after, end)
			if err != nil {
				yield(Row{}, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if len(keys) < rowsPerRead {
				return
			}
			after = keys[len(keys)-1]
		}
	}
}

func (s *Store) walkPage(x index, after, end []byte) (rows []Row, keys [][]byte, err error) {
	err = s.db.View(func(tx table.Tx) error {
		keys = x.page(tx, after, end, rowsPerRead)
		for _, key := range keys {
			if row, err := get(tx, keyID(key)); err != nil {
				s.unreadable(keyID(key), err)
			} else {
				s.open(tx, &row)
				rows = append(rows, row)
			}
		}
		return nil
	})
	return rows, keys, err
}

// unreadable counts and logs a row that the database has and that is none.
func (s *Store) unreadable(id string, err error) {
	s.metrics.unreadable.Inc()
	s.log.Error("row not readable", "call_id", id, "error", err)
}

// get reads a row within a transaction, without opening its personal part.
func get(tx table.Tx, id string) (Row, error) {
	if id == "" {
		return Row{}, ErrNotFound
	}
	value := tx.Table(rowsTable).Get([]byte(id))
	if value == nil {
		return Row{}, ErrNotFound
	}
	return decodeRow([]byte(id), value)
}

// put writes a row, whose personal part is sealed, and brings the indexes and counts along
// from what it was, nil for a new one. After an error the transaction must not be committed.
func put(tx table.Tx, old, row *Row) error {
	value, err := encodeRow(row)
	if err != nil {
		return err
	}
	if err := tx.Table(rowsTable).Put([]byte(row.ID), value); err != nil {
		return err
	}
	for _, x := range indexes {
		if err := x.follow(tx, old, row); err != nil {
			return fmt.Errorf("index row %s: %w", row.ID, err)
		}
	}
	if old == nil {
		return addCount(tx, row.State, +1)
	}
	if change := countHeld(row) - countHeld(old); change != 0 {
		if err := addCount(tx, heldCount, change); err != nil {
			return err
		}
	}
	if old.State == row.State {
		return nil
	}
	return errors.Join(addCount(tx, old.State, -1), addCount(tx, row.State, +1))
}

// removeRow takes a row away, with what the indexes and counts have of it.
func removeRow(tx table.Tx, row *Row) error {
	for _, x := range indexes {
		for _, key := range x.keys(row) {
			if err := tx.Table(x.table).Delete(key); err != nil {
				return fmt.Errorf("index row %s: %w", row.ID, err)
			}
		}
	}
	return errors.Join(tx.Table(rowsTable).Delete([]byte(row.ID)), addCount(tx, row.State, -1))
}

// heldCount is where the counts have the rows under legal hold, whatever their state.
const heldCount State = "held"

func countHeld(r *Row) int64 {
	if r.held() {
		return 1
	}
	return 0
}

// addCount changes how many rows are in a state. Counting them would be a walk.
func addCount(tx table.Tx, state State, change int64) error {
	sum := binary.BigEndian.AppendUint64(nil, uint64(readCount(tx, state)+change))
	return tx.Table(countsTable).Put([]byte(state), sum)
}

func readCount(tx table.Tx, state State) int64 {
	value := tx.Table(countsTable).Get([]byte(state))
	if len(value) != 8 {
		return 0 // no row has been in it
	}
	return int64(binary.BigEndian.Uint64(value))
}

// commit runs a change as part of a group that shares one commit. The change tells
// a refusal, found before it wrote anything, from an error of the database: bbolt
// repeats a whole group for one member's error, and need not for a refusal.
func (s *Store) commit(change func(table.Tx) (refusal, err error)) error {
	began := time.Now()
	defer func() { s.metrics.commit.Observe(time.Since(began).Seconds()) }()
	var refused error
	err := s.db.Batch(func(tx table.Tx) (err error) {
		refused, err = change(tx)
		return err
	})
	if err != nil {
		return err
	}
	return refused
}
