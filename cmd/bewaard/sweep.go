package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/bewaard/bewaard/api"
)

// sweep tells what is due, and destroys it.
type sweep struct {
	where
	DryRun  bool   `xor:"what" help:"Tell what would be destroyed, and destroy nothing."`
	Confirm bool   `xor:"what" help:"The clock guard stopped the sweep: say that the clock is right and that what is due may go; with --reason."`
	Reason  string `short:"r" placeholder:"TEXT" help:"How you know, for the journal."`
}

// Validate is kong's.
func (s *sweep) Validate() error {
	if s.Confirm && strings.TrimSpace(s.Reason) == "" {
		return errors.New("--confirm: give a --reason: how you know that the clock is right")
	}
	return nil
}

func (s *sweep) Run(ctx context.Context) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	if s.Confirm || s.DryRun {
		f, err := client.Forecast(ctx)
		if err != nil {
			return err
		}
		if s.Confirm {
			return confirm(ctx, client, f.Doubt, s.Reason)
		}
		fmt.Printf("%d of %d rows are due, with %d bytes of recordings\n", f.Due, f.Of, f.Bytes)
		if f.Clear > 0 {
			fmt.Printf("%d destroyed before would lose their numbers\n", f.Clear)
		}
		if f.Gone > 0 {
			fmt.Printf("%d destroyed before would be removed, with their certificates\n", f.Gone)
		}
		if f.Doubt != "" {
			fmt.Printf("nothing goes until bewaard sweep --confirm --reason TEXT: %s\n", f.Doubt)
		}
		return writeRows(os.Stdout, "table", f.Rows)
	}
	return destroy(ctx, client)
}

// confirm lets go what the clock guard holds, if it does.
func confirm(ctx context.Context, client *api.Client, doubt, reason string) error {
	if doubt == "" {
		fmt.Println("nothing to confirm: the clock guard has not stopped the sweep")
		return destroy(ctx, client)
	}
	if err := client.ConfirmClock(ctx, reason); err != nil {
		return err
	}
	fmt.Printf("confirmed, though %s\n", doubt)
	return destroy(ctx, client)
}

func destroy(ctx context.Context, client *api.Client) error {
	r, err := client.Sweep(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d destroyed, %d failed, %d bytes freed\n", r.Destroyed, r.Failed, r.Bytes)
	if r.Cleared > 0 || r.Removed > 0 {
		fmt.Printf("of those destroyed before, %d lost their numbers, %d were removed\n", r.Cleared, r.Removed)
	}
	return nil
}
