package call

import (
	"sync"
	"time"
)

// tally counts the recordings of each number of our side's in the calendar month that goes on,
// in UTC. What is not counted yet is not known.
type tally struct {
	mu     sync.Mutex
	month  time.Time // its beginning; zero: nothing was filled in
	counts map[string]int
}

// MonthOf returns when the month of an instant began, in UTC.
func MonthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// recorded returns how many recordings there are of a number in the month of a call, -1 where
// that is not known.
func (t *tally) recorded(number string, at time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.turn(at) {
		return -1
	}
	return t.counts[number]
}

// count notes a recording of a number.
func (t *tally) count(number string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.turn(at) {
		t.counts[number]++
	}
}

// turn begins a new month, and reports whether the month of an instant is counted.
func (t *tally) turn(at time.Time) bool {
	month := MonthOf(at)
	if !t.month.IsZero() && month.After(t.month) {
		t.month, t.counts = month, map[string]int{}
	}
	return month.Equal(t.month)
}

// Counted says how many recordings there are of each number of our side's, as
// policy.Policy.Near has them, since the month of an instant began.
func (m *Manager) Counted(at time.Time, counts map[string]int) {
	m.tally.mu.Lock()
	defer m.tally.mu.Unlock()
	m.tally.month, m.tally.counts = MonthOf(at), counts
}
