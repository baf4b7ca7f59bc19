package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/bewaard/bewaard/store"
)

// legalHold keeps calls from being destroyed.
type legalHold struct {
	Add    legalHoldAdd    `cmd:"" help:"Keep calls, whatever their expiry says, until it is removed."`
	Remove legalHoldRemove `cmd:"" help:"Let go what a legal hold keeps: what has expired meanwhile is destroyed at the next sweep."`
	List   legalHoldList   `cmd:"" help:"List the legal holds that there are."`
}

type legalHoldAdd struct {
	where
	because
	IDs       []string `arg:"" name:"id" optional:"" help:"The calls' ids. Without any: those that the flags ask for, all of them together."`
	Until     day      `placeholder:"DATE" help:"Ends by itself on that day (UTC). Default: not before it is removed."`
	Number    string   `help:"Calls of that number, as caller or callee, such as +31201234567 or 020-1234567."`
	Agent     string   `help:"Calls of whoever of ours has that number."`
	From      day      `placeholder:"DATE" help:"Calls that began on that day (UTC) or later."`
	To        day      `placeholder:"DATE" help:"Calls that began before that day."`
	Purpose   string   `help:"Calls recorded for that purpose."`
	Direction string   `help:"inbound or outbound."`
}

// Help is kong's.
func (legalHoldAdd) Help() string {
	return `It holds the calls that there are now, those that are going on included; of calls that come later it knows nothing.
The number that was asked for is not kept. What is held keeps its numbers and its recording, and can be listed and exported as before.

    bewaard legal-hold add --number 020-1234567 --until 2027-06-01 --reason 'case 2026-17'`
}

// Validate is kong's.
func (c *legalHoldAdd) Validate() error {
	asked := c.held().Query != (store.Query{})
	switch {
	case len(c.IDs) == 0 && !asked:
		return errors.New("which calls? Give ids, or one of --number, --agent, --from, --to, --purpose and --direction")
	case len(c.IDs) > 0 && asked:
		return errors.New("ids are calls already: leave out --number, --agent, --from, --to, --purpose and --direction")
	}
	return ordered("--from", c.From, "--to", c.To)
}

func (c *legalHoldAdd) held() store.Held {
	return store.Held{IDs: c.IDs, Query: store.Query{Number: c.Number, Agent: c.Agent, From: c.From.Time, To: c.To.Time, Purpose: c.Purpose, Direction: c.Direction}}
}

func (c *legalHoldAdd) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	h, err := client.LayHold(ctx, c.held(), c.Until.Time, c.Reason)
	if err != nil {
		return err
	}
	fmt.Printf("legal hold %s: %s\n", h.ID, count(h.Rows, "call"))
	if h.TooLate > 0 {
		fmt.Printf("%d more had been destroyed, or were about to be\n", h.TooLate)
	}
	return nil
}

type legalHoldRemove struct {
	where
	because
	ID string `arg:"" help:"The legal hold's id, as list has it."`
}

func (c *legalHoldRemove) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	h, err := client.ReleaseHold(ctx, c.ID, c.Reason)
	if err != nil {
		return err
	}
	fmt.Printf("legal hold %s is removed: it held %s\n", h.ID, count(h.Rows, "call"))
	return nil
}

type legalHoldList struct {
	where
	Output string `short:"o" enum:"table,json,csv" default:"table" help:"table, json or csv."`
}

func (c *legalHoldList) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	holds, err := client.Holds(ctx)
	if err != nil {
		return err
	}
	return writeHolds(os.Stdout, c.Output, holds)
}

func writeHolds(w io.Writer, format string, holds []store.LegalHold) error {
	line := func(h *store.LegalHold) []string {
		return []string{h.ID, instant(h.Laid), h.By, instant(h.Until), strconv.Itoa(h.Rows), h.Reason}
	}
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(holds)
	case "csv":
		c := csv.NewWriter(w)
		c.Write([]string{"id", "laid", "by", "until", "calls", "reason"})
		for i := range holds {
			c.Write(line(&holds[i]))
		}
		c.Flush()
		return c.Error()
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tLAID\tBY\tUNTIL\tCALLS\tREASON")
	for i := range holds {
		for _, cell := range line(&holds[i]) {
			fmt.Fprint(t, cell, "\t")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
