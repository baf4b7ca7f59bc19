package store

import (
	"context"
	"errors"
	"time"
)

// Custodian does once a day what keeps a store in order: the journal's head is told,
// files are held against rows, and what is held is sealed for longer before its key dies.
type Custodian struct {
	// Immutable after NewCustodian.
	store *Store
}

// custody is the time between two rounds.
const custody = 24 * time.Hour

// NewCustodian makes the store's custodian.
func NewCustodian(s *Store) *Custodian { return &Custodian{store: s} }

// Run tells the head at once and every day, and makes a round then, until the context ends.
func (c *Custodian) Run(ctx context.Context) {
	tick, again := time.NewTicker(custody), time.NewTicker(anchorTries)
	defer tick.Stop()
	defer again.Stop()
	anchored := c.tell(ctx)
	err := c.round(ctx, false) // a daemon that is started again and again does not read the same files each time
	for {
		if err != nil && ctx.Err() == nil {
			c.store.log.Error("store not in order", "error", err)
		}
		select {
		case <-tick.C:
			anchored = c.tell(ctx)
			err = c.Round(ctx)
		case <-again.C:
			err = nil
			if !anchored {
				anchored = c.tell(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

// tell tells the head, and reports whether somebody outside has stamped it, or nobody is to.
func (c *Custodian) tell(ctx context.Context) bool {
	if c.store.tsa == nil {
		if err := c.store.Witness(); err != nil {
			c.store.log.Error("journal head not told", "error", err)
		}
		return true
	}
	err := c.store.Anchor(ctx)
	if err != nil && ctx.Err() == nil {
		c.store.log.Warn("journal head not stamped, to be tried again", "in", anchorTries, "error", err)
	}
	return err == nil
}

// Round does what is due every day. What goes wrong with one thing does not stop the
// others.
func (c *Custodian) Round(ctx context.Context) error { return c.round(ctx, true) }

func (c *Custodian) round(ctx context.Context, read bool) error {
	renewed := c.store.renewHolds()
	report, err := c.store.inspect(ctx, read)
	report.Log(c.store.log)
	err = errors.Join(renewed, err)
	if ctx.Err() != nil { // what follows does not ask
		return err
	}
	return errors.Join(err, c.store.compactIfDue(time.Now()))
}

// renewHolds seals anew what is held until somebody says otherwise.
func (s *Store) renewHolds() error {
	holds, err := s.Holds()
	if err != nil {
		return err
	}
	var errs []error
	for i := range holds {
		ids, err := s.rowsOf(holds[i].ID)
		if err == nil {
			err = s.resealHeld(&holds[i], ids)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
