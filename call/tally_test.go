package call

import (
	"testing"
	"time"
)

// Recordings are counted by number and month; before anybody said how many there were, and of
// a month that is over, it is not known.
func TestTally(t *testing.T) {
	var m Manager
	november := time.Date(2026, 11, 30, 23, 59, 0, 0, time.UTC)
	december := november.Add(time.Minute)
	want := func(what, number string, at time.Time, want int) {
		t.Helper()
		if got := m.tally.recorded(number, at); got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	m.tally.count("201", november)
	want("before anybody counts", "201", november, -1)
	early := november.Add(-time.Hour)
	for _, at := range []time.Time{early, november} { // the first time it failed
		if before, needed := m.Counting(at); !needed || !before.Equal(early) {
			t.Errorf("got that what began before %v is to be counted: %v, want %v", before, needed, early)
		}
	}
	m.tally.count("201", november)
	want("before it was filled in", "201", november, -1)
	m.Counted(november, map[string]int{"201": 19})
	m.Counted(november, map[string]int{"201": 19})
	if _, needed := m.Counting(november); needed {
		t.Error("it is counted, and to be counted again")
	}
	m.tally.count("202", november)
	want("after one more", "201", november, 20)
	want("of another", "202", november, 1)
	want("of a third", "203", november, 0)
	want("the next month", "201", december, 0)
	m.tally.count("201", december)
	want("the next month, after one", "201", december, 1)
	want("the month before", "201", november, -1)
}
