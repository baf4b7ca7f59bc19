package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bewaard/bewaard/store/table"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Query says which rows List returns. A zero field asks for nothing.
type Query struct {
	Number    string // of a party, as it stands in the row
	Agent     string // a number of ours that was in the call
	SIPCall   string // the SIP Call-ID of a leg
	Purpose   string // of any that it is kept for
	Outcome   string
	State     State
	Direction string
	Held      bool // only what is under legal hold
	Recorded  bool // only calls that a rule has recorded, whatever came of it

	From time.Time // began then or later
	To   time.Time // began before

	ExpiresAfter  time.Time // expires then or later
	ExpiresBefore time.Time // expires before

	Limit int    // rows at most, 1,000 at most. Default: 100
	After string // the next that List returned with the page before
}

// Personal reports whether somebody's calls are asked for.
func (q *Query) Personal() bool { return q.Number != "" || q.Agent != "" || q.SIPCall != "" }

// foundBy returns what the rows have to be found by, that which fewest have first.
func (s *Store) foundBy(q *Query) (tokens []token) {
	for _, by := range []struct{ kind, text string }{{callKind, q.SIPCall}, {"", q.Number}, {agentKind, q.Agent}} {
		if by.text != "" {
			tokens = append(tokens, s.keys.Token(by.kind+by.text))
		}
	}
	return tokens
}

// matches reports whether a row is asked for, and is found by the tokens.
func (q *Query) matches(r *Row, tokens []token) bool {
	return !slices.ContainsFunc(tokens, func(t token) bool { return !slices.Contains(r.tokens, t) }) &&
		(q.Purpose == "" || slices.Contains(r.purposes(), q.Purpose)) &&
		(q.Outcome == "" || q.Outcome == r.Outcome) &&
		(q.State == "" || q.State == r.State) &&
		(q.Direction == "" || q.Direction == r.Direction) &&
		(!q.Held || r.held()) &&
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
// answer looks at many, unless it is for a number, an agent, a SIP Call-ID, a purpose or a
// state; it stops when the context ends.
func (s *Store) List(ctx context.Context, q Query) (rows []Row, next string, err error) {
	tokens := s.foundBy(&q)
	x, sought := listIndex(&q, tokens)
	before, err := s.listStart(&q, sought)
	if err != nil {
		return nil, "", fmt.Errorf("list rows: %w", err)
	}
	for more := true; more; {
		if err := context.Cause(ctx); err != nil {
			return nil, "", fmt.Errorf("list rows: %w", err)
		}
		err := s.db.View(func(tx table.Tx) error {
			before, more = s.listPage(tx, x, sought, &q, tokens, before, &rows)
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

// listIndex returns the index that has the fewest rows for the query, and what is sought
// in it.
func listIndex(q *Query, tokens []token) (index, []byte) {
	switch {
	case len(tokens) > 0:
		return byNumber, tokens[0][:]
	case q.Purpose != "":
		return byPurpose, label(q.Purpose)
	case q.State != "":
		return byState, label(string(q.State))
	}
	return byBegan, nil
}

// listStart returns the key that all rows of the page come before.
func (s *Store) listStart(q *Query, sought []byte) ([]byte, error) {
	switch {
	case q.After != "":
		row, err := s.Get(q.After)
		return slices.Concat(sought, indexKey(row.Began, row.ID)), err
	case !q.To.IsZero():
		// Rows of To's own millisecond may be before it.
		return slices.Concat(sought, instantKey(q.To.Add(time.Millisecond))), nil
	}
	// No instant of a row is that far away.
	return slices.Concat(sought, bytes.Repeat([]byte{0xff}, instantBytes)), nil
}

// listPage looks at rows that come before a key, backwards, and takes those asked
// for. It returns the key of the last one it looked at and whether there are more.
func (s *Store) listPage(tx table.Tx, x index, sought []byte, q *Query, tokens []token, before []byte, rows *[]Row) (last []byte, more bool) {
	oldest := slices.Clone(sought)
	if !q.From.IsZero() {
		oldest = append(oldest, instantKey(q.From)...)
	}
	seen := 0
	for key := range tx.Table(x.table).Descend(before) {
		if bytes.Compare(key, oldest) < 0 {
			break
		}
		if seen++; seen > rowsPerRead || len(*rows) == q.limit() {
			return last, true
		}
		last = bytes.Clone(key)
		id := keyID(key[x.sought:])
		if row, err := get(tx, id); err != nil {
			s.unreadable(id, err)
		} else if q.matches(&row, tokens) {
			s.open(tx, &row)
			*rows = append(*rows, row)
		}
	}
	return last, false
}
