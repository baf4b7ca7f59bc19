package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/store"
)

// reassigned is which recording is to be kept for which purpose, or no longer.
type reassigned struct {
	where
	because
	ID      string `arg:"" help:"The call's id."`
	Purpose string `short:"p" required:"" help:"The purpose, as the configuration names it."`
}

// recordingsSelect picks a recording from a buffer.
type recordingsSelect struct{ reassigned }

// Help is kong's.
func (recordingsSelect) Help() string {
	return `Only what was recorded for a purpose with buffer: true can be selected for another one: it is kept as long as that says, counted from the
end of the call. What nobody selects is destroyed when the buffer's time is over. For a purpose that rests on consent by a key only calls in which one was
pressed are selected, and where packs demand something of calls for that purpose, only those whose rule gave it.`
}

func (c *recordingsSelect) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	row, err := client.Select(ctx, c.ID, c.Purpose, c.Reason)
	if err != nil {
		return err
	}
	fmt.Printf("%s: kept for %s, until %s\n", row.ID, c.Purpose, instant(row.Expires))
	return nil
}

// recordingsWithdraw takes a purpose from a recording.
type recordingsWithdraw struct{ reassigned }

// Help is kong's.
func (recordingsWithdraw) Help() string {
	return `It is kept as long as its other purposes last; one that has no other is destroyed at the next sweep, unless it is under legal hold.
What the law obliges to keep (basis legal_obligation, or a pack such as mifid) is not withdrawn. What was withdrawn is not given back.`
}

func (c *recordingsWithdraw) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	row, err := client.Withdraw(ctx, c.ID, c.Purpose, c.Reason)
	if err != nil {
		return err
	}
	switch {
	case len(row.Holds) > 0 && !row.Expires.After(time.Now()):
		fmt.Printf("%s: no longer kept for %s, nor for anything: it goes once it is under no legal hold (%s)\n", row.ID, c.Purpose, strings.Join(row.Holds, ", "))
	case row.Expires.After(time.Now()):
		fmt.Printf("%s: no longer kept for %s, but for %s until %s\n", row.ID, c.Purpose, row.Purpose, instant(row.Expires))
	default:
		fmt.Printf("%s: no longer kept for %s, nor for anything: the next sweep destroys it\n", row.ID, c.Purpose)
	}
	return nil
}

// selectFor has a row kept for a further purpose, by the rules that hold now.
func (d *daemon) selectFor(row *store.Row, purpose string) error {
	term, err := d.calls.Policy().Select(call.Made(row), purpose, time.Now())
	if err == nil {
		err = call.Select(row, term)
	}
	return unfit(err)
}

// withdraw has a row kept for a purpose no longer, if neither the law nor a pack of it is
// against that.
func (d *daemon) withdraw(row *store.Row, purpose string) error {
	err := d.calls.Policy().Withdraw(purpose)
	if err == nil {
		err = call.Withdraw(row, purpose)
	}
	return unfit(err)
}

func unfit(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", api.ErrUnfit, err)
}
