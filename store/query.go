package store

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Query says which rows List returns. A zero field asks for nothing.
type Query struct {
	Number    string // of a party, as it stands in the row
	Purpose   string
	Outcome   string
	State     State
	Direction string
	Recorded  bool // only calls that a rule has recorded, whatever came of it

	From time.Time // began then or later
	To   time.Time // began before

	ExpiresAfter  time.Time // expires then or later
	ExpiresBefore time.Time // expires before

	Limit int    // rows at most, 1,000 at most. Default: 100
	After string // the next that List returned with the page before
}

// matches reports whether a row is asked for.
func (q *Query) matches(r *Row) bool {
	return (q.Number == "" || r.has(q.Number)) &&
		(q.Purpose == "" || q.Purpose == r.Purpose) &&
		(q.Outcome == "" || q.Outcome == r.Outcome) &&
		(q.State == "" || q.State == r.State) &&
		(q.Direction == "" || q.Direction == r.Direction) &&
		(!q.Recorded || r.Purpose != "") &&
		(q.From.IsZero() || !r.Began.Before(q.From)) &&
		(q.To.IsZero() || r.Began.Before(q.To)) &&
		(q.ExpiresAfter.IsZero() || !r.Expires.Before(q.ExpiresAfter)) &&
		(q.ExpiresBefore.IsZero() || !r.Expires.IsZero() && r.Expires.Before(q.ExpiresBefore))
}

func (q *Query) limit() int {
	if q.Limit <= 0 {
		return defaultLimit
	}
	return min(q.Limit, maxLimit)
}

// List returns a page of rows, the call that began last first, and what to ask for
// After to have the next page: "" when there is none. A question that few rows
// answer looks at many; it stops when the context ends.
func (s *Store) List(ctx context.Context, q Query) (rows []Row, next string, err error) {
	before, err := s.listStart(&q)
	if err != nil {
		return nil, "", fmt.Errorf("list rows: %w", err)
	}
	for more := true; more; {
		if err := context.Cause(ctx); err != nil {
			return nil, "", fmt.Errorf("list rows: %w", err)
		}
		err := s.db.View(func(tx *bbolt.Tx) error {
			before, more = s.listPage(tx, &q, before, &rows)
			return nil
		})
		if err != nil {
			return nil, "", fmt.Errorf("list rows: %w", err)
		}
		if more && len(rows) == q.limit() {
			return rows, rows[len(rows)-1].ID, nil
		}
	}
	return rows, "", nil
}

// listStart returns the key that all rows of the page come before, nil for none.
func (s *Store) listStart(q *Query) ([]byte, error) {
	if q.After == "" {
		if q.To.IsZero() {
			return nil, nil
		}
		return instantKey(q.To.Add(time.Millisecond)), nil // rows of To's own millisecond may be before it
	}
	row, err := s.Get(q.After)
	if err != nil {
		return nil, err
	}
	return byBegan.key(&row), nil
}

// listPage looks at rows that come before a key, backwards, and takes those asked
// for. It returns the key of the last one it looked at and whether there are more.
func (s *Store) listPage(tx *bbolt.Tx, q *Query, before []byte, rows *[]Row) (last []byte, more bool) {
	var oldest []byte
	if !q.From.IsZero() {
		oldest = instantKey(q.From)
	}
	cursor := tx.Bucket(byBegan.bucket).Cursor()
	key, _ := cursor.Last()
	if before != nil {
		cursor.Seek(before)
		key, _ = cursor.Prev()
	}
	for seen := 0; key != nil && bytes.Compare(key, oldest) >= 0; seen++ {
		if seen == rowsPerRead || len(*rows) == q.limit() {
			return last, true
		}
		last = bytes.Clone(key)
		if row, err := get(tx, keyID(key)); err != nil {
			s.unreadable(keyID(key), err)
		} else if q.matches(&row) {
			*rows = append(*rows, row)
		}
		key, _ = cursor.Prev()
	}
	return last, false
}
