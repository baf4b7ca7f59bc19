package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

const (
	// clockBack is how far the clock may go back: what NTP corrects.
	clockBack = time.Minute

	// clockAhead is how long the daemon may have been switched off without anyone
	// confirming that the clock is right: nothing else tells a clock that was set
	// ahead from time that passed.
	clockAhead = 24 * time.Hour

	// clockGain is how much the wall clock may gain in clockAhead on the monotonic
	// one while the daemon runs: steps of NTP and pauses of a virtual machine.
	clockGain = time.Hour
)

// ErrClockGuard is wrapped by Sweep when nothing is destroyed until an operator has
// confirmed that the clock is right.
var ErrClockGuard = errors.New("clock guard tripped")

// clock is what the guard remembers over restarts. A recording that a wrong clock
// destroyed does not come back when the clock is put right.
//
//	          not believed                     too many due
//	trusted ───────────────▶ tripped ◀──────────────────── trusted
//	   ▲                        │
//	   └────── ConfirmClock ────┘
type clock struct {
	Mark      time.Time `json:"mark"`               // the latest instant that a sweep believed
	Confirmed time.Time `json:"confirmed,omitzero"` // what was due then may go, however much it is
	Tripped   string    `json:"tripped,omitempty"`  // why nothing may go until it is confirmed
}

// doubt says why an instant is not to be believed, or "". Gained is what the wall
// clock gained on the monotonic clock since this process last believed it; running
// is false when it has not yet.
func (c clock) doubt(now time.Time, gained time.Duration, running bool) string {
	const layout = time.RFC3339
	ahead := now.Sub(c.Mark)
	switch {
	case ahead < -clockBack:
		return fmt.Sprintf("the clock says %s, it was %s before", now.Format(layout), c.Mark.Format(layout))
	case running && gained > clockGain:
		return fmt.Sprintf("the clock says %s, %v more than have passed", now.Format(layout), gained.Round(time.Second))
	case !running && ahead > clockAhead:
		return fmt.Sprintf("the clock says %s, %v after the last sweep", now.Format(layout), ahead.Round(time.Second))
	}
	return ""
}

// believed is an instant of both clocks that a sweep believed: the fixed point to
// which the wall clock's gain is measured. Zero before the first sweep.
type believed struct {
	wall time.Time // without a monotonic reading
	at   time.Time // with one
}

func believe(now time.Time) believed { return believed{now.Round(0), now} }

func (b believed) running() bool { return !b.at.IsZero() }

// gained is what the wall clock gained on the monotonic clock since.
func (b believed) gained(now time.Time) time.Duration {
	return now.Round(0).Sub(b.wall) - now.Sub(b.at)
}

// renewed moves the fixed point on once a day, so that a year of small steps is not
// taken for one large one.
func (b believed) renewed(now time.Time) believed {
	if b.running() && now.Sub(b.at) < clockAhead {
		return b
	}
	return believe(now)
}

func getClock(tx table.Tx) (clock, error) {
	var c clock
	if err := json.Unmarshal(tx.Table(metaTable).Get(clockKey), &c); err != nil {
		return clock{}, fmt.Errorf("decode the clock guard's mark: %w", err)
	}
	return c, nil
}

func putClock(tx table.Tx, c clock) error {
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the clock guard's mark: %w", err)
	}
	return tx.Table(metaTable).Put(clockKey, value)
}

func (s *Store) clock() (c clock, err error) {
	err = s.db.View(func(tx table.Tx) error {
		c, err = getClock(tx)
		return err
	})
	return c, err
}

// markClock keeps a mark that a sweep believed.
func (s *Store) markClock(c clock) error {
	return s.db.Update(func(tx table.Tx) error { return putClock(tx, c) })
}

// setClock keeps what the guard, or an operator, says of the clock, and journals it.
func (s *Store) setClock(c clock, action journal.Action, act Act) error {
	return s.db.Update(func(tx table.Tx) error {
		if _, err := note(tx, action, "clock", act); err != nil {
			return err
		}
		return putClock(tx, c)
	})
}
