package store

import (
	"testing"
	"time"
)

// The guard believes what an honest clock says, in a process that runs and in one
// that was switched off for less than a day, and doubts everything else.
func TestClockDoubt(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		ahead   time.Duration // of the mark
		gained  time.Duration // on the monotonic clock
		running bool
		doubted bool
	}{
		"a minute later":                          {time.Minute, 0, true, false},
		"NTP steps back":                          {-30 * time.Second, -90 * time.Second, true, false},
		"NTP steps ahead":                         {2 * time.Minute, time.Minute, true, false},
		"set back by an hour":                     {-time.Hour, -time.Hour, true, true},
		"set ahead by two hours":                  {2 * time.Hour, 2 * time.Hour, true, true},
		"set ahead by a year":                     {365 * day, 365 * day, true, true},
		"a sweep of three days, clocks agree":     {3 * day, 0, true, false},
		"restarted":                               {time.Minute, 0, false, false},
		"restarted with the clock set back":       {-time.Hour, 0, false, true},
		"switched off for the night":              {14 * time.Hour, 0, false, false},
		"switched off for a week":                 {7 * day, 0, false, true},
		"restarted with the clock set to 2100":    {74 * 365 * day, 0, false, true},
		"restarted with a clock without battery":  {-56 * 365 * day, 0, false, true},
		"wall clock stands still while time runs": {0, -3 * time.Hour, true, false},
	} {
		guard := clock{Mark: noon}
		doubt := guard.doubt(noon.Add(c.ahead), c.gained, c.running)
		if got := doubt != ""; got != c.doubted {
			t.Errorf("%s: got doubt %q, want doubted %v", name, doubt, c.doubted)
		}
	}
}

// A clock that is set ahead again and again by a little is not believed for long.
func TestClockGainAddsUp(t *testing.T) {
	const step = 10 * time.Minute
	guard := clock{Mark: noon}
	now, gained := noon, time.Duration(0)
	for range 100 {
		now, gained = now.Add(step+time.Minute), gained+step
		if guard.doubt(now, gained, true) != "" {
			if got, most := now.Sub(noon), 2*clockGain; got > most {
				t.Errorf("got %v believed, want at most %v", got, most)
			}
			return
		}
		guard.Mark = now
	}
	t.Errorf("got %v believed in 100 minutes", now.Sub(noon))
}

// The fixed point moves on once a day: steps of one day do not count in the next.
func TestBelievedRenews(t *testing.T) {
	start := time.Now()
	b := believed{}.renewed(start)
	b = b.renewed(start.Add(time.Hour))
	if !b.at.Equal(start) {
		t.Errorf("got fixed point %v after an hour, want %v", b.at, start)
	}
	b = b.renewed(start.Add(clockAhead))
	if want := start.Add(clockAhead); !b.at.Equal(want) {
		t.Errorf("got fixed point %v after a day, want %v", b.at, want)
	}
	if got := b.gained(start.Add(clockAhead + time.Hour)); got != 0 {
		t.Errorf("got a gain of %v while both clocks agree, want none", got)
	}
}
