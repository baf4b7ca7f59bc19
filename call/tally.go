package call

import (
	"sync"
	"time"
)

// tally counts the recordings of each number of our side's in the calendar month that goes on,
// in UTC. What is not counted yet is not known.
type tally struct {
	mu     sync.Mutex
	month  time.Time // its beginning; zero: nobody has begun to count
	mark   time.Time // calls that began later are counted as they are recorded
	known  bool      // those of before are counted, too
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
	if !t.turn(at) || !t.known {
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
		t.month, t.known, t.counts = month, true, map[string]int{}
	}
	return month.Equal(t.month)
}

// Counting says that somebody is to count this month's recordings. It returns the instant before
// which their calls began: those that come later are counted here. There is nothing to count where
// that was done.
func (m *Manager) Counting(at time.Time) (before time.Time, needed bool) {
	t := &m.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.turn(at) {
		t.month, t.mark, t.counts = MonthOf(at), at, map[string]int{}
	}
	return t.mark, !t.known
}

// Counted says how many these were of each number of our side's, as policy.Policy.Near has them.
func (m *Manager) Counted(at time.Time, counts map[string]int) {
	t := &m.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.turn(at) || t.known { // another month by now, or somebody else was quicker
		return
	}
	for number, n := range counts {
		t.counts[number] += n
	}
	t.known = true
}
