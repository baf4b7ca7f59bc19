package main

import (
	"context"
	"fmt"
	"os"
)

// sweep tells what is due, and destroys it.
type sweep struct {
	where
	DryRun  bool `xor:"what" help:"Tell what would be destroyed, and destroy nothing."`
	Confirm bool `xor:"what" help:"The clock guard stopped the sweep: say that the clock is right and that what is due may go."`
}

func (s *sweep) Run(ctx context.Context) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	if s.Confirm {
		if err := client.ConfirmClock(ctx); err != nil {
			return err
		}
		fmt.Println("clock confirmed")
	}
	if s.DryRun {
		f, err := client.Forecast(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%d of %d rows are due\n", f.Due, f.Of)
		if f.Doubt != "" {
			fmt.Printf("nothing goes until bewaard sweep --confirm: %s\n", f.Doubt)
		}
		return writeRows(os.Stdout, "table", f.Rows)
	}
	r, err := client.Sweep(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d destroyed, %d failed, %d bytes freed\n", r.Destroyed, r.Failed, r.Bytes)
	return nil
}
