package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
)

// filter says which rows are wanted. What no row can be is an error: an empty answer would
// read as if nothing were kept.
type filter struct {
	Number        string `help:"Of the caller or the callee, such as +31201234567 or 020-1234567; anonymous for callers without one."`
	Agent         string `help:"Of whoever of ours was in the call, such as +31201234567 or 204."`
	SIPCall       string `name:"sip-call" placeholder:"CALL-ID" help:"The Call-ID of either SIP dialog: what the PBX or the carrier has in its log."`
	Purpose       string `help:"Recorded for that purpose."`
	Outcome       string `help:"${outcomes}."`
	State         string `help:"${states}."`
	Direction     string `help:"inbound or outbound."`
	Held          bool   `help:"Under legal hold."`
	From          day    `placeholder:"DATE" help:"Began on that day (UTC) or later."`
	To            day    `placeholder:"DATE" help:"Began before that day."`
	ExpiresBefore day    `placeholder:"DATE" help:"Expires before that day; a recording that goes on is taken as if it ended now."`
	ExpiresAfter  day    `placeholder:"DATE" help:"Expires on that day or later."`
	Limit         int    `short:"n" default:"100" help:"Rows at most; 0 for all."`
	Output        string `short:"o" enum:"table,json,csv" default:"table" help:"table, json or csv."`
}

// words are the values that filters have, for the help.
func words() map[string]string {
	return map[string]string{"outcomes": orOf(call.Outcomes()), "states": orOf(store.States()), "actions": orOf(journal.Actions())}
}

// Validate is kong's.
func (f *filter) Validate() error {
	return errors.Join(
		oneOf("--outcome", f.Outcome, call.Outcomes()),
		oneOf("--state", f.State, store.States()),
		oneOf("--direction", f.Direction, []policy.Direction{policy.Inbound, policy.Outbound}),
		ordered("--from", f.From, "--to", f.To),
		ordered("--expires-after", f.ExpiresAfter, "--expires-before", f.ExpiresBefore),
	)
}

func oneOf[T ~string](flag, value string, values []T) error {
	if value == "" || slices.Contains(values, T(value)) {
		return nil
	}
	return fmt.Errorf("%s: %q is not %s", flag, value, orOf(values))
}

func ordered(first string, from day, second string, to day) error {
	if from.IsZero() || to.IsZero() || from.Before(to.Time) {
		return nil
	}
	return fmt.Errorf("%s %v is not before %s %v", first, from, second, to)
}

// orOf writes values as "a, b or c".
func orOf[T ~string](values []T) string {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = string(v)
	}
	last := len(text) - 1
	return strings.Join(text[:last], ", ") + " or " + text[last]
}

// day is the beginning of a day in UTC.
type day struct{ time.Time }

// UnmarshalText reads a day as ISO 8601 has it.
func (d *day) UnmarshalText(text []byte) (err error) {
	if d.Time, err = time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("%q: want a day such as 2026-11-01", text)
	}
	return nil
}

func (d day) String() string { return d.Format(time.DateOnly) }

func (f filter) query(recorded bool) store.Query {
	return store.Query{
		Number: f.Number, Agent: f.Agent, SIPCall: f.SIPCall, Purpose: f.Purpose, Outcome: f.Outcome, State: store.State(f.State), Direction: f.Direction, Held: f.Held, Recorded: recorded,
		From: f.From.Time, To: f.To.Time, ExpiresBefore: f.ExpiresBefore.Time, ExpiresAfter: f.ExpiresAfter.Time,
	}
}

// list writes the rows that are wanted, asking for as many pages as it takes.
func (f filter) list(ctx context.Context, w where, recorded bool) error {
	client, err := w.client()
	if err != nil {
		return err
	}
	q := f.query(recorded)
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
