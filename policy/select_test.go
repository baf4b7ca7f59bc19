package policy

import (
	"errors"
	"testing"
	"time"
)

// Recordings are selected from a buffer, for a purpose that is none and whose balancing
// still holds.
func TestSelect(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	old := &Balancing{By: "anna", On: Date{2020, 1, 1}, Review: Date{2021, 1, 1}, Outcome: "fine"}
	p := &Policy{cfg: Config{Purposes: map[string]Purpose{
		"window":    {Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}, Buffer: true},
		"other":     {Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}, Buffer: true},
		"complaint": {Basis: Contract, Retention: Retention{Audio: Period{Months: 6}, Row: Period{Years: 1}}},
		"quality":   {Basis: LegitimateInterest, Balancing: old, Retention: Retention{Audio: Period{Days: 30}}},
	}}}
	for _, c := range []struct {
		made string
		to   string
		want error
	}{
		{"window", "complaint", nil}, {"window", "other", ErrNotSelectable}, {"window", "gone", ErrNotSelectable},
		{"window", "quality", ErrNotSelectable}, {"complaint", "complaint", ErrNotBuffered}, {"gone", "complaint", ErrNotBuffered},
	} {
		term, err := p.Select([]string{c.made}, c.to, now)
		if !errors.Is(err, c.want) || err == nil && (term.Purpose != c.to || term.Retention != (Period{Months: 6}) || term.Numbers != (Period{Years: 1})) {
			t.Errorf("from %s for %s: got %+v, %v, want error %v", c.made, c.to, term, err, c.want)
		}
	}
}
