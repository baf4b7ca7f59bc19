package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/table"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// fill puts n rows into the store that began a minute apart from noon on, a
// thousand a commit. Every tenth has the number +3110 and its place.
func fill(t testing.TB, s *Store, n int) (ids []string) {
	t.Helper()
	for len(ids) < n {
		err := s.db.Update(func(tx table.Tx) error {
			for range min(1000, n-len(ids)) {
				row := calling()
				row.State, row.Began = StateCalling, noon.Add(time.Duration(len(ids))*time.Minute)
				if len(ids)%10 == 0 {
					row.Callee = fmt.Sprintf("+3110%07d", len(ids))
				}
				if err := errors.Join(s.seal(tx, &row), put(tx, nil, &row)); err != nil {
					return err
				}
				ids = append(ids, row.ID)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// list asks for every page and returns the ids of all rows.
func list(t testing.TB, s *Store, q Query) (ids []string) {
	t.Helper()
	for {
		rows, next, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			ids = append(ids, row.ID)
		}
		if next == "" {
			return ids
		}
		if len(rows) == 0 {
			t.Fatalf("got an empty page with %s to come after", next)
		}
		q.After = next
	}
}

// Pages of any size, put together, are all rows, the newest first, each once. More
// rows than one read transaction looks at make no difference.
func TestListPages(t *testing.T) {
	s := open(t, t.TempDir())
	want := fill(t, s, 2*rowsPerRead+rowsPerRead/2)
	slices.Reverse(want)
	for _, limit := range []int{0, 7, 999, maxLimit} {
		if diff := cmp.Diff(want, list(t, s, Query{Limit: limit})); diff != "" {
			t.Errorf("pages of %d, -want +got:\n%s", limit, diff)
		}
		if diff := cmp.Diff(want, list(t, s, Query{Limit: limit, To: noon.AddDate(1, 0, 0)})); diff != "" {
			t.Errorf("pages of %d before next year, -want +got:\n%s", limit, diff)
		}
	}
}

// A call that began before another comes after it in the list, whatever their ids say.
func TestListFollowsTheClockNotTheIDs(t *testing.T) {
	s := open(t, t.TempDir())
	var want []string
	for i := range 3 {
		row := calling()
		row.Began = noon.Add(-time.Duration(i) * time.Hour) // the clock is set back
		if err := s.Begin(row); err != nil {
			t.Fatal(err)
		}
		want = append(want, row.ID)
	}
	if diff := cmp.Diff(want, list(t, s, Query{})); diff != "" {
		t.Errorf("rows, -want +got:\n%s", diff)
	}
}

// Of a query's fields each leaves out the rows that it should, and no others.
func TestListSelects(t *testing.T) {
	s := open(t, t.TempDir())
	row := keep(t, s, noon.Add(time.Hour))
	update(t, s, row.ID, func(r *Row) {
		r.Began, r.Outcome, r.Agents = noon, "answered", []string{"204", "+31687654321"}
	})
	other := begin(t, s)
	update(t, s, other.ID, func(r *Row) {
		r.Began, r.Direction, r.Caller, r.Callee = noon.Add(-24*time.Hour), "outbound", "+49301234567", ""
		r.CallerCallID, r.CalleeCallID, r.Agents = "204", "", []string{"+31201234567"}
	})
	for name, c := range map[string]struct {
		query Query
		want  bool
	}{
		"caller":                    {Query{Number: "+31201234567"}, true},
		"callee":                    {Query{Number: "+31687654321"}, true},
		"agent":                     {Query{Agent: "204"}, true},
		"second agent":              {Query{Agent: "+31687654321"}, true},
		"no agent":                  {Query{Agent: "a84b4c76e66710"}, false},
		"an agent is no number":     {Query{Number: "204"}, false},
		"Call-ID":                   {Query{SIPCall: "a84b4c76e66710"}, true},
		"the callee's Call-ID":      {Query{SIPCall: "f81d4fae7dec"}, true},
		"no Call-ID":                {Query{SIPCall: "+31201234567"}, false},
		"number and agent":          {Query{Number: "+31201234567", Agent: "204"}, true},
		"number and other agent":    {Query{Number: "+31201234567", Agent: "205"}, false},
		"a number's beginning":      {Query{Number: "+3120"}, false},
		"purpose":                   {Query{Purpose: "quality"}, true},
		"other purpose":             {Query{Purpose: "contract"}, false},
		"outcome":                   {Query{Outcome: "answered"}, true},
		"other outcome":             {Query{Outcome: "busy"}, false},
		"state":                     {Query{State: StateKept}, true},
		"other state":               {Query{State: StateFailed}, false},
		"direction":                 {Query{Direction: "inbound"}, true},
		"from its beginning":        {Query{From: noon}, true},
		"from later":                {Query{From: noon.Add(1)}, false},
		"to its beginning":          {Query{To: noon, From: noon.Add(-time.Hour)}, false},
		"to later":                  {Query{To: noon.Add(1), From: noon.Add(-time.Hour)}, true},
		"expires after":             {Query{ExpiresAfter: noon.Add(time.Hour)}, true},
		"expires later":             {Query{ExpiresAfter: noon.Add(time.Hour + 1)}, false},
		"expires before":            {Query{ExpiresBefore: noon.Add(time.Hour + 1)}, true},
		"expires earlier":           {Query{ExpiresBefore: noon.Add(time.Hour)}, false},
		"all of it":                 {Query{Number: "+31201234567", Purpose: "quality", State: StateKept, From: noon}, true},
		"all of it but the purpose": {Query{Number: "+31201234567", Purpose: "x", State: StateKept, From: noon}, false},
	} {
		var want []string
		if c.want {
			want = []string{row.ID}
		}
		if diff := cmp.Diff(want, list(t, s, c.query)); diff != "" {
			t.Errorf("%s, -want +got:\n%s", name, diff)
		}
	}
}

// A rare answer is found behind more rows than one read transaction looks at.
func TestListFindsARareRow(t *testing.T) {
	s := open(t, t.TempDir())
	ids := fill(t, s, 3*rowsPerRead)
	want := []string{ids[10]}
	if diff := cmp.Diff(want, list(t, s, Query{Number: "+31100000010"})); diff != "" {
		t.Errorf("rows, -want +got:\n%s", diff)
	}
}

// A list ends with its context, and one after a row that is none is an error.
func TestListErrors(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.List(ctx, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	if _, _, err := s.List(t.Context(), Query{After: NewID()}); !errors.Is(err, ErrNotFound) {
		t.Errorf("got error %v, want %v", err, ErrNotFound)
	}
}

// An empty store has an empty list, also of a time.
func TestListNothing(t *testing.T) {
	s := open(t, t.TempDir())
	for _, q := range []Query{{}, {From: noon}, {To: noon}, {From: noon, To: noon}} {
		if got := list(t, s, q); len(got) != 0 {
			t.Errorf("got %v, want no rows", got)
		}
	}
}
