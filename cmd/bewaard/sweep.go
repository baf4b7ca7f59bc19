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
		fmt.Printf("%d of %d rows are due\n", f.Due, f.Of)
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
	return nil
}
