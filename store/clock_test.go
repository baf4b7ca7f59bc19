package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/store/journal"
)

// The guard believes what an honest clock says, in a process that runs and in one
// that was switched off for less than a day, and doubts everything else.
func TestClockDoubt(t *testing.T) {
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

// A database that is put back from a backup brings back what was destroyed since. Nothing
// goes until somebody has looked; then it goes again, files or not, and whoever was told the
// journal's head sees that it was rolled back.
func TestRestoredBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := t.TempDir()
		s := open(t, directory)
		row := keep(t, s, time.Now().Add(day))
		sweep(t, NewSweeper(s, SweepConfig{}))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		backup, err := os.ReadFile(filepath.Join(directory, databaseFile))
		if err != nil {
			t.Fatal(err)
		}
		s = open(t, directory)
		w := NewSweeper(s, SweepConfig{Interval: 6 * time.Hour})
		for range 3 * 4 {
			sweep(t, w)
			time.Sleep(6 * time.Hour)
		}
		checkDestroyed(t, s, row)
		told, err := s.Head()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(filepath.Join(directory, databaseFile), backup, 0o600); err != nil {
			t.Fatal(err)
		}
		s = open(t, directory)
		w = NewSweeper(s, SweepConfig{})
		if _, err := w.Sweep(t.Context()); !errors.Is(err, ErrClockGuard) {
			t.Errorf("got error %v, want %v", err, ErrClockGuard)
		}
		a := &audited{Store: s, snapshot: filepath.Join(t.TempDir(), "audit.db")}
		a.take(t)
		found, _ := a.audit(t, func(c *VerifyConfig) { c.Heads, c.Blobs = []journal.Head{told}, "" })
		if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, "it was rolled back") }) {
			t.Errorf("got %q, want that the journal was rolled back", found)
		}
		if err := w.ConfirmClock(anna); err != nil {
			t.Fatal(err)
		}
		if got := sweep(t, w); got.Destroyed != 1 || got.Missing != 1 {
			t.Errorf("got %+v, want the row destroyed again, without its file", got)
		}
	})
}

// The guard and the expiry go by UTC: a day on which clocks are put forward or back, a leap
// day and the end of a year are days like others.
func TestOddDays(t *testing.T) {
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Skip(err)
	}
	for name, first := range map[string]time.Time{
		"summer time begins": time.Date(2027, 3, 28, 1, 30, 0, 0, amsterdam),
		"summer time ends":   time.Date(2027, 10, 31, 2, 30, 0, 0, amsterdam),
		"leap day":           time.Date(2028, 2, 28, 23, 30, 0, 0, amsterdam),
		"end of the year":    time.Date(2027, 12, 31, 23, 30, 0, 0, amsterdam),
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(first))
			s := open(t, t.TempDir())
			row := keep(t, s, first.AddDate(0, 0, 1))
			w := NewSweeper(s, SweepConfig{Interval: time.Hour})
			for time.Now().Before(row.Expires) {
				if got := sweep(t, w); got.Destroyed != 0 {
					t.Errorf("%s: destroyed at %v, expires %v", name, time.Now(), row.Expires)
				}
				time.Sleep(min(time.Hour, time.Until(row.Expires)))
			}
			if got := sweep(t, w); got.Destroyed != 1 {
				t.Errorf("%s: got %+v at the expiry, want it destroyed", name, got)
			}
		})
	}
}
