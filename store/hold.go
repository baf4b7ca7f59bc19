package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

var (
	holdsTable = "holds" // id → legal hold
	heldTable  = "held"  // id of the hold, id of the row → nothing
)

var (
	// ErrHeld is wrapped when something that is under a legal hold was to be deleted.
	ErrHeld = errors.New("under legal hold")
	// ErrFourEyes is wrapped when who laid a legal hold would release it by himself.
	ErrFourEyes = errors.New("who laid a legal hold does not release it (store.legal_hold.four_eyes)")
	// ErrNoHold is wrapped when there is no legal hold with the id.
	ErrNoHold = errors.New("no such legal hold")
	// ErrNothingHeld is wrapped when a legal hold would hold nothing.
	ErrNothingHeld = errors.New("nothing to hold")
)

// HoldConfig is the file's store.legal_hold section.
type HoldConfig struct {
	// FourEyes has a legal hold released by another person than the one who laid it.
	FourEyes bool `yaml:"four_eyes"`
}

// LegalHold keeps rows, and all that belongs to them, from being destroyed, whatever
// their expiry says. Which rows it holds was settled when it was laid; of what was asked
// for it remembers nothing: that could be somebody's number.
type LegalHold struct {
	ID     string    `json:"id"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Laid   time.Time `json:"laid"`
	Until  time.Time `json:"until,omitzero"` // released by the daemon then; never where zero
	Rows   int       `json:"rows"`
	// Ending says that it is being released; a crash may have come between.
	Ending bool `json:"ending,omitempty"`

	TooLate int `json:"too_late,omitempty"` // rows that were asked for and whose files were deleted already
}

// Held says what a legal hold is to hold: rows by id, or those that a query finds. Not
// both.
type Held struct {
	IDs   []string
	Query Query
}

// LayHold lays a legal hold on what there is now. Rows are held from when it returns;
// those that a sweep got hold of before are counted, and gone. A call that comes later
// is not held.
func (s *Store) LayHold(ctx context.Context, held Held, until time.Time, act Act) (LegalHold, error) {
	h := LegalHold{ID: NewID(), By: act.Actor, Reason: act.Reason, Laid: time.Now().Round(0).UTC(), Until: until.Round(0).UTC()}
	if err := h.check(act); err != nil {
		return LegalHold{}, fmt.Errorf("lay legal hold: %w", err)
	}
	if err := s.layHold(ctx, &h, held, act); err != nil {
		return LegalHold{}, fmt.Errorf("lay legal hold %s: %w", h.ID, err)
	}
	return h, nil
}

func (h *LegalHold) check(act Act) error {
	if err := act.check(); err != nil {
		return err
	}
	if !h.Until.IsZero() && !h.Until.After(h.Laid) {
		return fmt.Errorf("it would end on %s, which is not later than now", h.Until.Format(time.RFC3339))
	}
	return nil
}

// layHold journals the hold, then each row with its mark. Nothing is destroyed
// meanwhile that was asked for and is looked at: a row is marked or expired, in one
// commit either way.
func (s *Store) layHold(ctx context.Context, h *LegalHold, held Held, act Act) error {
	ids, err := s.sought(ctx, held)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return fmt.Errorf("%w: no call is like that", ErrNothingHeld)
	}
	until := "released by somebody"
	if !h.Until.IsZero() {
		until = h.Until.Format(time.RFC3339)
	}
	err = s.db.Update(func(tx table.Tx) error {
		why := act
		why.Reason = fmt.Sprintf("until %s: %s", until, act.Reason)
		if _, err := note(tx, journal.Hold, h.ID, why); err != nil {
			return err
		}
		return putHold(tx, h)
	})
	if err != nil {
		return err
	}
	if err := s.change("held", ids, func(tx table.Tx, some []string) error { return markHeld(tx, h, some, act) }); err != nil {
		_, undone := s.release(h, Act{Daemon, "it could not be laid"})
		return errors.Join(err, undone)
	}
	if h.Rows == 0 { // nobody needs it: what it was laid for is gone
		_, err := s.release(h, Act{Daemon, "it holds nothing"})
		return errors.Join(fmt.Errorf("%w: all %d calls had been destroyed, or were about to be", ErrNothingHeld, h.TooLate), err)
	}
	s.log.Warn("legal hold laid", "hold", h.ID, "rows", h.Rows, "too_late", h.TooLate)
	if err := s.resealHeld(h, ids); err != nil { // the next round tries again
		return fmt.Errorf("it is laid, and something of it not yet sealed for as long: %w", err)
	}
	return nil
}

// sought returns the ids of the rows that are to be held.
func (s *Store) sought(ctx context.Context, held Held) (ids []string, err error) {
	for _, id := range held.IDs {
		if _, err := s.Get(id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if len(held.IDs) > 0 {
		return ids, nil
	}
	q := held.Query
	q.Limit, q.After = maxLimit, ""
	for {
		rows, next, err := s.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			ids = append(ids, rows[i].ID)
		}
		if q.After = next; next == "" {
			return ids, nil
		}
	}
}

func markHeld(tx table.Tx, h *LegalHold, ids []string, act Act) error {
	// Somebody may have released it meanwhile: what were marked then would be held for ever.
	if current, err := getHold(tx, h.ID); err != nil {
		return err
	} else if current.Ending {
		return ErrNoHold
	}
	for _, id := range ids {
		old, err := get(tx, id)
		if err != nil {
			return fmt.Errorf("row %s: %w", id, err)
		}
		if old.State == StateExpired || old.State == StateDestroyed && !old.named() {
			h.TooLate++
			continue
		}
		if slices.Contains(old.Holds, h.ID) {
			continue // named twice
		}
		row := old.Clone()
		row.Holds = append(row.Holds, h.ID)
		if _, err := note(tx, journal.Hold, id, Act{act.Actor, rowHeld + h.ID}); err != nil {
			return err
		}
		if err := errors.Join(put(tx, &old, &row), tx.Table(heldTable).Put(heldKey(h.ID, id), nil)); err != nil {
			return fmt.Errorf("row %s: %w", id, err)
		}
		h.Rows++
	}
	return putHold(tx, h)
}

// rowHeld is how the reason begins by which the journal has a row under a legal hold; its id
// follows.
const rowHeld = "legal hold "

func heldKey(hold, row string) []byte { return []byte(hold + row) }

func putHold(tx table.Tx, h *LegalHold) error {
	value, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode legal hold: %w", err)
	}
	return tx.Table(holdsTable).Put([]byte(h.ID), value)
}

// Holds returns the legal holds that there are, the oldest first.
func (s *Store) Holds() (holds []LegalHold, err error) {
	err = s.db.View(func(tx table.Tx) error {
		for id, value := range tx.Table(holdsTable).Ascend(nil) {
			h, err := decodeHold(id, value)
			if err != nil {
				return err
			}
			holds = append(holds, h)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read legal holds: %w", err)
	}
	slices.SortFunc(holds, func(a, b LegalHold) int { return cmp.Or(a.Laid.Compare(b.Laid), strings.Compare(a.ID, b.ID)) })
	return holds, nil
}

func decodeHold(id, value []byte) (h LegalHold, err error) {
	if err := json.Unmarshal(value, &h); err != nil {
		return h, fmt.Errorf("legal hold %q: %w", id, err)
	}
	if h.ID != string(id) {
		return h, fmt.Errorf("legal hold %q: it is that of %q", id, h.ID)
	}
	return h, nil
}

// ReleaseHold takes a legal hold away. What has expired meanwhile, and no other legal
// hold is on, the next sweep destroys.
func (s *Store) ReleaseHold(id string, act Act) (LegalHold, error) {
	fail := func(err error) (LegalHold, error) {
		return LegalHold{}, fmt.Errorf("release legal hold %s: %w", id, err)
	}
	if err := act.check(); err != nil {
		return fail(err)
	}
	h, err := s.hold(id)
	if err != nil {
		return fail(err)
	}
	if s.holds.FourEyes && h.By == act.Actor {
		return fail(ErrFourEyes)
	}
	if h, err = s.release(&h, act); err != nil {
		return fail(err)
	}
	s.log.Warn("legal hold released", "hold", h.ID, "rows", h.Rows)
	return h, nil
}

func (s *Store) hold(id string) (h LegalHold, err error) {
	err = s.db.View(func(tx table.Tx) error {
		h, err = getHold(tx, id)
		return err
	})
	return h, err
}

func getHold(tx table.Tx, id string) (LegalHold, error) {
	value := tx.Table(holdsTable).Get([]byte(id))
	if value == nil {
		return LegalHold{}, ErrNoHold
	}
	return decodeHold([]byte(id), value)
}

// release journals that a hold ends, frees its rows, some a commit, and forgets it last:
// after a crash between, it goes on.
func (s *Store) release(h *LegalHold, act Act) (LegalHold, error) {
	if !h.Ending {
		h.Ending = true
		err := s.db.Update(func(tx table.Tx) error {
			if _, err := note(tx, journal.Release, h.ID, act); err != nil {
				return err
			}
			return putHold(tx, h)
		})
		if err != nil {
			return *h, err
		}
		s.step("releasing")
	}
	ids, err := s.rowsOf(h.ID)
	if err != nil {
		return *h, err
	}
	err = s.change("released", ids, func(tx table.Tx, some []string) error {
		for _, id := range some {
			if err := free(tx, h.ID, id); err != nil {
				return fmt.Errorf("row %s: %w", id, err)
			}
		}
		return nil
	})
	if err != nil {
		return *h, err
	}
	return *h, s.db.Update(func(tx table.Tx) error { return tx.Table(holdsTable).Delete([]byte(h.ID)) })
}

func free(tx table.Tx, hold, id string) error {
	old, err := get(tx, id)
	if err != nil {
		return err
	}
	row := old.Clone()
	row.Holds = slices.DeleteFunc(row.Holds, func(h string) bool { return h == hold })
	return errors.Join(put(tx, &old, &row), tx.Table(heldTable).Delete(heldKey(hold, id)))
}

// rowsOf returns the ids of the rows that a hold is on.
func (s *Store) rowsOf(hold string) (ids []string, err error) {
	err = s.db.View(func(tx table.Tx) error {
		for key := range tx.Table(heldTable).Ascend([]byte(hold)) {
			id, of := strings.CutPrefix(string(key), hold)
			if !of {
				break
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// releaseLapsed ends the holds whose time is over, and those whose end a crash cut short.
func (s *Store) releaseLapsed(now time.Time) error {
	holds, err := s.Holds()
	if err != nil {
		return err
	}
	var errs []error
	for i := range holds {
		h := &holds[i]
		if !h.Ending && (h.Until.IsZero() || h.Until.After(now)) {
			continue
		}
		if _, err := s.release(h, Act{Daemon, "its time is over: " + h.Until.Format(time.RFC3339)}); err != nil {
			errs = append(errs, fmt.Errorf("release legal hold %s: %w", h.ID, err))
			continue
		}
		s.log.Warn("legal hold lapsed", "hold", h.ID, "rows", h.Rows)
	}
	return errors.Join(errs...)
}

// unbounded is for how long files are sealed anew that are held until somebody says
// otherwise; before it is over they are sealed anew again.
const unbounded = 366 * 24 * time.Hour

// resealHeld makes that what is held can be opened as long as it is held.
func (s *Store) resealHeld(h *LegalHold, ids []string) error {
	until := h.Until
	if until.IsZero() {
		until = time.Now().Add(unbounded)
	}
	var errs []error
	for _, id := range ids {
		row, err := s.Get(id)
		if err == nil && slices.Contains(row.Holds, h.ID) {
			if row.State != StateDestroyed && until.After(row.Expires) {
				err = s.resealFiles(&row, until)
			}
			err = errors.Join(err, s.resealPersonal(&row, until))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("seal %s anew: %w", id, err))
		}
	}
	return errors.Join(errs...)
}
