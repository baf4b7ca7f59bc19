package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
)

// journalCommand lists the journal.
type journalCommand struct {
	where
	Since  day    `placeholder:"DATE" help:"Of that day (UTC) or later."`
	Action string `help:"${actions}."`
	Object string `placeholder:"ID" help:"About that call or legal hold."`
	Limit  int    `short:"n" default:"0" help:"Entries at most, the first of those asked for; 0 for all."`
	Output string `short:"o" enum:"table,json,csv" default:"table" help:"table, json or csv."`
}

// Help is kong's.
func (journalCommand) Help() string {
	return `Who listened, exported, held, released or destroyed what, when and why, the first first. Each entry
has the hash of the one before: bewaard verify checks them all, in a snapshot. No entry names a party of a call.`
}

// Validate is kong's.
func (c *journalCommand) Validate() error {
	return oneOf("--action", c.Action, journal.Actions())
}

func (c *journalCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	q := store.JournalQuery{Since: c.Since.Time, Action: journal.Action(c.Action), Object: c.Object}
	entries, err := c.read(ctx, client, q)
	if err != nil {
		return err
	}
	return writeEntries(os.Stdout, c.Output, entries)
}

func (c *journalCommand) read(ctx context.Context, client *api.Client, q store.JournalQuery) (entries []journal.Entry, err error) {
	for {
		if q.Limit = 1000; c.Limit > 0 {
			q.Limit = min(c.Limit-len(entries), q.Limit)
		}
		page, err := client.Journal(ctx, q)
		if err != nil {
			return nil, err
		}
		entries = append(entries, page.Entries...)
		if page.Next == 0 || c.Limit > 0 && len(entries) >= c.Limit {
			return entries, nil
		}
		q.After = page.Next
	}
}

// writeEntries writes entries as table, json or csv.
func writeEntries(w io.Writer, format string, entries []journal.Entry) error {
	names := []string{"number", "at", "actor", "action", "object", "reason", "previous"}
	line := func(e *journal.Entry) []string {
		return []string{strconv.FormatUint(e.Number, 10), instant(e.At), e.Actor, string(e.Action), e.Object, e.Reason, e.Previous.String()}
	}
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if entries == nil {
			entries = []journal.Entry{}
		}
		return e.Encode(entries)
	case "csv":
		c := csv.NewWriter(w)
		c.Write(names)
		for i := range entries {
			c.Write(line(&entries[i]))
		}
		c.Flush()
		return c.Error()
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tAT\tACTOR\tACTION\tOBJECT\tREASON")
	for i := range entries {
		cells := line(&entries[i])
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", cells[0], cells[1], cells[2], cells[3], cells[4], cells[5])
	}
	return t.Flush()
}

type keysPublic struct{ where }

func (c *keysPublic) Run() error {
	directory, err := c.directory()
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(directory, store.PublicKeyFile))
	if err != nil {
		return fmt.Errorf("%w (the daemon makes it at its first start)", err)
	}
	_, err = os.Stdout.Write(key)
	return err
}
