package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/store"
)

// where says which daemon to ask: the one that has this store.
type where struct {
	Config string `short:"c" type:"path" placeholder:"FILE" xor:"where" help:"The daemon's configuration, for its store."`
	Store  string `type:"path" placeholder:"DIR" xor:"where" help:"The daemon's store. Default: /var/lib/bewaard."`
}

func (w where) client() (*api.Client, error) {
	directory := w.Store
	if w.Config != "" {
		cfg, err := config.Load(w.Config)
		if err != nil {
			return nil, err
		}
		directory = cfg.Store.Directory
	}
	if directory == "" {
		directory = store.DefaultDirectory
	}
	return api.Dial(directory), nil
}

// filter says which rows are wanted.
type filter struct {
	Number        string    `help:"Of the caller or the callee, such as +31201234567."`
	Purpose       string    `help:"Recorded for that purpose."`
	Outcome       string    `help:"answered, cancelled, busy, rejected, no_answer, unreachable, refused, failed or interrupted."`
	State         string    `help:"calling, recording, finalizing, kept, not_recorded, failed, expired or destroyed."`
	Direction     string    `help:"inbound or outbound."`
	From          time.Time `format:"2006-01-02" placeholder:"DATE" help:"Began on that day (UTC) or later."`
	To            time.Time `format:"2006-01-02" placeholder:"DATE" help:"Began before that day."`
	ExpiresBefore time.Time `format:"2006-01-02" placeholder:"DATE" help:"Expires before that day."`
	ExpiresAfter  time.Time `format:"2006-01-02" placeholder:"DATE" help:"Expires on that day or later."`
	Limit         int       `short:"n" default:"100" help:"Rows at most; 0 for all."`
	Output        string    `short:"o" enum:"table,json,csv" default:"table" help:"table, json or csv."`
}

// list writes the rows that are wanted, asking for as many pages as it takes.
func (f filter) list(ctx context.Context, w where, recorded bool) error {
	client, err := w.client()
	if err != nil {
		return err
	}
	q := store.Query{
		Number: f.Number, Purpose: f.Purpose, Outcome: f.Outcome, State: store.State(f.State), Direction: f.Direction, Recorded: recorded,
		From: f.From, To: f.To, ExpiresBefore: f.ExpiresBefore, ExpiresAfter: f.ExpiresAfter,
	}
	var rows []store.Row
	for {
		if f.Limit > 0 {
			q.Limit = min(f.Limit-len(rows), 1000)
		} else {
			q.Limit = 1000
		}
		page, err := client.Calls(ctx, q)
		if err != nil {
			return err
		}
		rows = append(rows, page.Rows...)
		if page.Next == "" || f.Limit > 0 && len(rows) >= f.Limit {
			break
		}
		q.After = page.Next
	}
	return writeRows(os.Stdout, f.Output, rows)
}

// calls lists calls.
type calls struct {
	where
	filter
}

func (c *calls) Run(ctx context.Context) error { return c.list(ctx, c.where, false) }

// recordings lists, shows and exports what was recorded.
type recordings struct {
	List   recordingsList   `cmd:"" help:"List calls that were to be recorded, the newest first."`
	Show   recordingsShow   `cmd:"" help:"Tell all that is known of one call."`
	Export recordingsExport `cmd:"" help:"Copy a recording's file."`
}

type recordingsList struct {
	where
	filter
}

func (c *recordingsList) Run(ctx context.Context) error { return c.list(ctx, c.where, true) }

type recordingsShow struct {
	where
	ID     string `arg:"" help:"The call's id."`
	Output string `short:"o" enum:"text,json,csv" default:"text" help:"text, json or csv."`
}

func (c *recordingsShow) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	row, err := client.Call(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.Output != "text" {
		return writeRows(os.Stdout, c.Output, []store.Row{row})
	}
	return tell(os.Stdout, &row)
}

type recordingsExport struct {
	where
	ID     string `arg:"" help:"The call's id."`
	Format string `short:"f" enum:"opus,wav" default:"opus" help:"opus or wav."`
	To     string `short:"t" type:"path" placeholder:"FILE" help:"Where to; - for the standard output. Default: the id with the format as its suffix."`
}

func (c *recordingsExport) Run(ctx context.Context) (err error) {
	client, err := c.client()
	if err != nil {
		return err
	}
	file, err := client.Recording(ctx, c.ID, c.Format)
	if err != nil {
		return err
	}
	defer file.Close()
	if c.To == "-" {
		_, err := io.Copy(os.Stdout, file)
		return err
	}
	to := c.To
	if to == "" {
		to = c.ID + "." + c.Format
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, file)
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("export to %s: %w", to, err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d bytes\n", to, n)
	return nil
}
