package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
)

// policyTree is what can be asked of the rules.
type policyTree struct {
	Explain explain `cmd:"" help:"Say what would become of a call, rule by rule."`
	Replay  replay  `cmd:"" help:"Say which calls of the past a configuration would decide otherwise."`
}

// explain decides about a call that nobody made.
type explain struct {
	Config    string `short:"c" required:"" type:"path" placeholder:"FILE" help:"The configuration."`
	Direction string `required:"" enum:"inbound,outbound" help:"inbound (from a carrier) or outbound."`
	From      string `required:"" help:"The caller's number; anonymous where it is withheld."`
	To        string `required:"" help:"The number called."`
	Trunk     string `help:"The trunk that the call comes from. Default: the only one of its side."`
	At        moment `placeholder:"TIME" help:"When the call comes, such as 2026-11-24T09:00:00+01:00. Default: now."`
	Forwarded bool   `help:"Another number was called first."`

	Header   []headerFlag `placeholder:"NAME:VALUE" sep:"none" help:"A header of the INVITE; as often as there are."`
	Country  string       `help:"Of the far party (ISO 3166-1, or unknown). Default: by his number."`
	ID       string       `help:"The call's id, which samples go by. Default: one that is in them."`
	Recorded int          `help:"How many recordings there are of our number this month, for ceilings."`
	Output   string       `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// headerFlag is a header on the command line.
type headerFlag struct{ name, value string }

// UnmarshalText reads NAME:VALUE.
func (h *headerFlag) UnmarshalText(text []byte) error {
	name, value, ok := strings.Cut(string(text), ":")
	if h.name, h.value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value); !ok || h.name == "" {
		return fmt.Errorf("got %.40q, want NAME:VALUE such as X-Customer:gold", text)
	}
	return nil
}

// moment is an instant on the command line.
type moment struct{ time.Time }

// UnmarshalText reads an instant with its zone, with seconds or without.
func (m *moment) UnmarshalText(text []byte) (err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if m.Time, err = time.Parse(layout, string(text)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("got %.40q, want a time such as 2026-11-24T09:00:00+01:00", text)
}

func (e *explain) Run() error {
	cfg, err := config.Load(e.Config)
	if err != nil {
		return err
	}
	rules, err := policy.Compile(cfg.Policy)
	if err != nil {
		return err
	}
	facts, err := e.facts(cfg)
	if err != nil {
		return err
	}
	if err := e.asksOfNumbers(rules); err != nil {
		return err
	}
	steps, decision := rules.Explain(facts)
	sampled := ""
	if decision.Reason == policy.SampledOut && e.ID == "" {
		for n := 1; decision.Reason == policy.SampledOut; n++ {
			facts.ID = strconv.Itoa(n)
			steps, decision = rules.Explain(facts)
		}
		for _, r := range cfg.Policy.Rules {
			if r.Name == decision.Rule {
				sampled = fmt.Sprintf("of the rule's calls %v are recorded; whether one is, --id tells\n", r.Record.Sample)
			}
		}
	}
	late := ""
	if a := decision.Announce; a != nil && (a.When == policy.Early || a.When == policy.Ringing) && !cfg.Trunks[facts.FromTrunk].CarriesEarlyMedia() {
		late = fmt.Sprintf(" (%s carries no early media)", facts.FromTrunk)
		told := *a
		told.When = policy.Answered // the call puts it off
		decision.Announce = &told
	}
	if e.Output == "json" {
		return writeObject(os.Stdout, struct {
			Steps    []policy.Step   `json:"steps"`
			Decision policy.Decision `json:"decision"`
		}{steps, decision})
	}
	for _, s := range steps {
		fmt.Printf("rule %-20q %s\n", s.Rule, s.Why)
	}
	if decision.Reason == policy.BreaksPack {
		for _, fault := range rules.Unmet(facts) {
			fmt.Println(fault)
		}
	}
	fmt.Println(sampled + verdict(decision, late))
	return nil
}

// asksOfNumbers refuses what stands for no party of a call: no rule for numbers would be tried.
func (e *explain) asksOfNumbers(rules *policy.Policy) error {
	if _, err := rules.Sought(e.From); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if strings.HasPrefix(strings.ToLower(e.To), "urn:service:") {
		return nil
	}
	switch number, err := rules.Sought(e.To); {
	case err != nil:
		return fmt.Errorf("--to: %w", err)
	case number == policy.Withheld:
		return errors.New("--to: nobody is called anonymous: give the number called")
	}
	return nil
}

// facts fills in what the flags leave out.
func (e *explain) facts(cfg *config.Config) (policy.Facts, error) {
	side := trunk.External
	if e.Direction == string(policy.Outbound) {
		side = trunk.Internal
	}
	from := e.Trunk
	for name, t := range cfg.Trunks {
		if e.Trunk != "" || t.Side != side {
			continue
		}
		if from != "" {
			return policy.Facts{}, fmt.Errorf("--trunk: which one? there is more than one %s trunk", side)
		}
		from = name
	}
	origin, ok := cfg.Trunks[from]
	switch {
	case !ok:
		return policy.Facts{}, fmt.Errorf("--trunk: there is no trunk %.40q; there is %s", from, strings.Join(slices.Sorted(maps.Keys(cfg.Trunks)), ", "))
	case origin.Side != side:
		return policy.Facts{}, fmt.Errorf("--trunk: %s is %s: no %s call comes from it", from, origin.Side, e.Direction)
	}
	to, _ := trunk.Route(cfg.Trunks, from)
	if e.At.IsZero() {
		e.At.Time = time.Now()
	}
	if e.Country != "" && e.Country != policy.Elsewhere && !policy.IsCountry(e.Country) {
		return policy.Facts{}, fmt.Errorf("--country: %.40q is neither a country in two capitals (ISO 3166-1), such as NL, nor %s", e.Country, policy.Elsewhere)
	}
	headers := map[string][]string{}
	for _, h := range e.Header {
		if !origin.Trusts() {
			return policy.Facts{}, fmt.Errorf("--header: %s is not trusted: its headers choose no rule", from)
		}
		headers[h.name] = append(headers[h.name], h.value)
	}
	return policy.Facts{
		ID: e.ID, Country: e.Country, Headers: headers, RecordedThisMonth: e.Recorded,
		Direction: policy.Direction(e.Direction), FromTrunk: from, ToTrunk: to, FromSide: string(side), ToSide: string(cfg.Trunks[to].Side),
		Caller: e.From, Callee: e.To, Time: e.At.Time, Forwarded: e.Forwarded, Claimed: e.Forwarded && !origin.Trusts(),
	}, nil
}

// verdict puts a decision in words; late says why the announcement waits for the answer, if
// it would else not.
func verdict(d policy.Decision, late string) string {
	if !d.Record && d.OnFailure == policy.Refuse {
		return fmt.Sprintf("refused: %s; its row is kept for %s", whys[d.Reason], d.KeepRow)
	}
	if !d.Record {
		return fmt.Sprintf("not recorded: %s; its row is kept for %s", whys[d.Reason], d.KeepRow)
	}
	s := ""
	for _, t := range d.Terms {
		s += fmt.Sprintf("recorded for %s on the basis of %s, kept for %s after the call", t.Purpose, t.Basis, t.Retention)
		if len(d.Terms) > 1 {
			s += "\n"
		}
	}
	if len(d.Terms) > 1 {
		s += "until the last of them is over"
	}
	s += numbers(d) + fmt.Sprintf("; if it cannot be: %s\n", d.OnFailure)
	if d.Parties != policy.Both {
		s += fmt.Sprintf("of the %s party alone\n", d.Parties)
	}
	if d.Announce == nil {
		return s + "not announced: " + d.Exempt
	}
	s += fmt.Sprintf("announced: %s in %s, %s%s", d.Announce.Prompt, d.Announce.Language, d.Announce.When, late)
	if d.Announce.To != policy.Far {
		s += fmt.Sprintf(", to %s", d.Announce.To)
	}
	if d.Announce.OptIn != "" {
		s += fmt.Sprintf("; key %s agrees", d.Announce.OptIn)
	}
	if d.Announce.OptOut != "" {
		s += fmt.Sprintf("; key %s refuses", d.Announce.OptOut)
	}
	if d.Announce.Transfers {
		s += "; who comes in by a transfer is told, too"
	}
	return s + pressed(d.Keys)
}

// pressed says what may be pressed in the call.
func pressed(k policy.Keys) string {
	var all []string
	for _, one := range []struct{ keys, does string }{
		{k.Object, "objects"}, {k.Pause, "pauses, by our party"}, {k.Resume, "resumes, by our party"}, {k.Select, "keeps it for " + k.SelectFor + ", by our party"},
	} {
		if one.keys != "" {
			all = append(all, one.keys+" "+one.does)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "\nin the call: " + strings.Join(all, "; ")
}

// numbers says how long it is kept who called, where that is longer.
func numbers(d policy.Decision) string {
	if d.Numbers.IsZero() {
		return ""
	}
	return fmt.Sprintf(", its numbers for %s", d.Numbers)
}

// tellPaths writes of every rule, and every pair of trunks, a call that comes to it and what may
// become of that.
func tellPaths(w io.Writer, paths []policy.Path) {
	for _, p := range paths {
		fmt.Fprintf(w, "rule %q: %s\n", p.Rule, policy.Sample(p.Facts))
		for _, o := range p.Outcomes {
			if o.Case == "" {
				fmt.Fprintf(w, "  %s\n", o.Then)
			} else {
				fmt.Fprintf(w, "  if %s: %s\n", o.Case, o.Then)
			}
		}
	}
}
