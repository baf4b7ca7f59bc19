package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// replay decides anew about calls that there were.
type replay struct {
	Config string `short:"c" required:"" type:"path" placeholder:"FILE" help:"The changed configuration. Its store's daemon is asked for the calls, unless --store names another's."`
	Store  string `type:"path" placeholder:"DIR" help:"The store of the daemon that has the calls."`
	Since  since  `required:"" placeholder:"TIME" help:"Calls that began then or later: 2026-11-01, or 2026-11-01T09:00:00+01:00."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// since is an instant on the command line, or the beginning of a day in UTC.
type since struct{ time.Time }

// UnmarshalText reads either.
func (s *since) UnmarshalText(text []byte) error {
	var d day
	if d.UnmarshalText(text) == nil {
		s.Time = d.Time
		return nil
	}
	var m moment
	if m.UnmarshalText(text) != nil {
		return fmt.Errorf("got %.40q, want a day such as 2026-11-01 or a time such as 2026-11-01T09:00:00+01:00", text)
	}
	s.Time = m.Time
	return nil
}

func (r *replay) Run(ctx context.Context) error {
	cfg, err := load(r.Config, time.Now())
	if err != nil {
		return err
	}
	client, err := where{Store: cmp.Or(r.Store, cfg.Store.Directory)}.client()
	if err != nil {
		return err
	}
	q := store.Query{From: r.Since.Time, Limit: 1000}
	var rows []store.Row
	for {
		page, err := client.Calls(ctx, q)
		if err != nil {
			return err
		}
		rows = append(rows, page.Rows...)
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	e := effectOn(rows, cfg)
	e.Since = r.Since.UTC()
	if r.Output == "json" {
		return writeObject(os.Stdout, e)
	}
	return e.write(os.Stdout)
}

// effect is what a policy would have made of calls that there were.
type effect struct {
	Since   time.Time `json:"since,omitzero"`
	Policy  string    `json:"policy"` // version
	Calls   int       `json:"calls"`
	Changed int       `json:"changed"` // decided otherwise
	Unknown int       `json:"unknown"` // cannot be decided: their numbers are gone, or sealed
	// Recorded is how many were to be recorded, and would be.
	Recorded struct {
		Was     int `json:"was"`
		WouldBe int `json:"would_be"`
	} `json:"recorded"`
	Changes []change `json:"changes"` // the most frequent first
	Notes   []string `json:"notes"`   // what rows do not tell
}

// change is one way in which calls would be decided otherwise.
type change struct {
	Calls   int    `json:"calls"`
	Was     ruling `json:"was"`
	WouldBe ruling `json:"would_be"`
	Example string `json:"example"` // id of the latest
}

// ruling is what a policy said of a call, as far as rows keep it.
type ruling struct {
	Rule      string `json:"rule"`
	Purpose   string `json:"purpose"` // or several, by a comma; empty: not to be recorded
	Basis     string `json:"basis"`   // of the one that lasts longest, as is its retention
	Retention string `json:"retention"`
	Untold    bool   `json:"untold"` // for a reason that is written down
	Reason    string `json:"reason"`
}

func (r ruling) String() string {
	rule := "no rule"
	if r.Rule != "" {
		rule = fmt.Sprintf("rule %q", r.Rule)
	}
	if r.Purpose != "" {
		told := ""
		if r.Untold {
			told = ", untold"
		}
		return fmt.Sprintf("%s: recorded for %s (%s), %s%s", rule, r.Purpose, r.Basis, r.Retention, told)
	}
	return fmt.Sprintf("%s: not recorded (%s)", rule, r.Reason)
}

// ruled is what was said of a row's call.
func ruled(r *store.Row) ruling {
	if terms := r.AllTerms(); len(terms) > 0 {
		names := make([]string, len(terms))
		for i, t := range terms {
			names[i] = t.Purpose
		}
		return recordedFor(r.Rule, names, r.Basis, r.Retention, r.Announcement != nil && r.Announcement.Exempt != "")
	}
	return ruling{Rule: r.Rule, Reason: r.Reason}
}

func recordedFor(rule string, purposes []string, basis, retention string, untold bool) ruling {
	slices.Sort(purposes)
	return ruling{Rule: rule, Purpose: strings.Join(purposes, ", "), Basis: basis, Retention: retention, Untold: untold}
}

func rulingOf(d policy.Decision) ruling {
	if d.Record {
		names := make([]string, len(d.Terms))
		for i, t := range d.Terms {
			names[i] = t.Purpose
		}
		return recordedFor(d.Rule, names, string(d.Basis), d.Retention.String(), d.Exempt != "")
	}
	return ruling{Rule: d.Rule, Reason: d.Reason}
}

// effectOn decides about rows' calls, the newest first, by another policy. What it knows of
// them is what rows keep; recordings are counted as that policy would have made them.
func effectOn(rows []store.Row, cfg *loaded) effect {
	e := effect{Policy: cfg.rules.Version(), Calls: len(rows), Changes: []change{}, Notes: notes(cfg.rules, cfg.Policy)}
	changes := map[[2]ruling]*change{}
	recorded := map[string]int{} // by number of ours and month
	for i := len(rows) - 1; i >= 0; i-- {
		r := &rows[i]
		if r.Callee == "" {
			e.Unknown++
			continue
		}
		f := factsOf(r, cfg.Config)
		month := cfg.rules.Near(f) + call.MonthOf(f.Time).Format(" 2006-01")
		f.RecordedThisMonth = recorded[month]
		was := ruled(r)
		would := was
		if r.Policy != e.Policy { // else it decided so already, by what rows do not keep as well
			would = rulingOf(cfg.rules.Decide(f))
		}
		if was.Purpose != "" {
			e.Recorded.Was++
		}
		if would.Purpose != "" {
			e.Recorded.WouldBe++
			recorded[month]++
		}
		if was == would || was.Purpose == "" && would.Purpose == "" && was.Rule == would.Rule && r.Ended.IsZero() {
			continue // of a call that goes on the row has no reason yet
		}
		e.Changed++
		pair := [2]ruling{was, would}
		if changes[pair] == nil {
			changes[pair] = &change{Was: was, WouldBe: would}
		}
		changes[pair].Calls++
		changes[pair].Example = r.ID
	}
	for _, c := range changes {
		e.Changes = append(e.Changes, *c)
	}
	slices.SortFunc(e.Changes, func(a, b change) int {
		return cmp.Or(b.Calls-a.Calls, strings.Compare(a.Was.String(), b.Was.String()), strings.Compare(a.WouldBe.String(), b.WouldBe.String()))
	})
	return e
}

// factsOf are what a row tells of its call's INVITE.
func factsOf(r *store.Row, cfg *config.Config) policy.Facts {
	from, to := trunk.Internal, trunk.External
	if r.Direction == string(policy.Inbound) {
		from, to = to, from
	}
	if t, ok := cfg.Trunks[r.CallerTrunk]; ok {
		from = t.Side
	}
	if t, ok := cfg.Trunks[r.CalleeTrunk]; ok {
		to = t.Side
	}
	return policy.Facts{
		Direction: policy.Direction(r.Direction), FromTrunk: r.CallerTrunk, ToTrunk: r.CalleeTrunk, FromSide: string(from), ToSide: string(to),
		Caller: r.Caller, Callee: r.Callee, Time: r.Began, ID: r.ID,
		Forwarded: r.Purpose == "" && (r.Reason == policy.IsForwarded || r.Reason == policy.IsClaimed), Claimed: r.Reason == policy.IsClaimed,
	}
}

// notes say what rules ask for that rows do not keep.
func notes(rules *policy.Policy, cfg policy.Config) []string {
	all := []string{}
	for _, r := range cfg.Rules {
		if len(r.Match.Header) > 0 {
			all = append(all, fmt.Sprintf("rule %q asks for header %s, which rows do not keep: no call is taken to have it", r.Name, strings.Join(slices.Sorted(maps.Keys(r.Match.Header)), " and ")))
		}
		if r.Match.Forwarded != nil || r.Forwarded != "" {
			all = append(all, fmt.Sprintf("rule %q asks whether calls are forwarded, which rows tell only of those that were not recorded for that", r.Name))
		}
	}
	if slices.ContainsFunc(cfg.Rules, func(r policy.Rule) bool { return r.Announce != nil }) {
		all = append(all, "rows do not keep when parties were to be told, nor which keys they had: changes of those do not show")
	}
	if rules.Counts() {
		all = append(all, "ceilings count what this policy would have recorded since the first of these calls")
	}
	return all
}

// write tells it in words, and a table.
func (e effect) write(w io.Writer) error {
	of := ""
	if !e.Since.IsZero() {
		of = " since " + instant(e.Since)
	}
	fmt.Fprintf(w, "%d calls%s: %d would be decided otherwise; %d were to be recorded, %d would be\n", e.Calls, of, e.Changed, e.Recorded.Was, e.Recorded.WouldBe)
	if e.Unknown > 0 {
		fmt.Fprintf(w, "%d of them cannot be decided: their numbers are gone, or sealed\n", e.Unknown)
	}
	if len(e.Changes) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CALLS\tWAS\tWOULD BE\tSUCH AS")
		for _, c := range e.Changes {
			fmt.Fprintf(t, "%d\t%v\t%v\t%s\n", c.Calls, c.Was, c.WouldBe, c.Example)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, note := range e.Notes {
		if _, err := fmt.Fprintln(w, "note: "+note); err != nil {
			return err
		}
	}
	return nil
}
