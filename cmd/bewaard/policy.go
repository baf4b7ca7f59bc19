package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
)

// policyTree is what can be asked of the rules.
type policyTree struct {
	Explain explain `cmd:"" help:"Say what would become of a call, rule by rule."`
}

// explain decides about a call that nobody made.
type explain struct {
	Config    string    `short:"c" required:"" type:"path" placeholder:"FILE" help:"The configuration."`
	Direction string    `required:"" enum:"inbound,outbound" help:"inbound (from a carrier) or outbound."`
	From      string    `required:"" help:"The caller's number; anonymous where it is withheld."`
	To        string    `required:"" help:"The number called."`
	Trunk     string    `help:"The trunk that the call comes from. Default: the only one of its side."`
	At        time.Time `placeholder:"TIME" format:"2006-01-02T15:04:05Z07:00" help:"When the call comes, such as 2026-11-24T09:00:00+01:00. Default: now."`
	Forwarded bool      `help:"Another number was called first."`
	Output    string    `short:"o" enum:"text,json" default:"text" help:"text or json."`
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
	steps, decision := rules.Explain(facts)
	if e.Output == "json" {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(struct {
			Steps    []policy.Step   `json:"steps"`
			Decision policy.Decision `json:"decision"`
		}{steps, decision})
	}
	for _, s := range steps {
		fmt.Printf("rule %-20q %s\n", s.Rule, s.Why)
	}
	fmt.Println(verdict(decision))
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
		return policy.Facts{}, fmt.Errorf("--trunk: there is no trunk %q", from)
	case origin.Side != side:
		return policy.Facts{}, fmt.Errorf("--trunk: %s is %s: no %s call comes from it", from, origin.Side, e.Direction)
	}
	to, _ := trunk.Route(cfg.Trunks, from)
	if e.At.IsZero() {
		e.At = time.Now()
	}
	return policy.Facts{
		Direction: policy.Direction(e.Direction), FromTrunk: from, ToTrunk: to, FromSide: string(side), ToSide: string(cfg.Trunks[to].Side),
		Caller: e.From, Callee: e.To, Time: e.At, Forwarded: e.Forwarded, Claimed: e.Forwarded && !origin.Trusts(),
	}, nil
}

func verdict(d policy.Decision) string {
	if !d.Record && d.OnFailure == policy.Refuse {
		return fmt.Sprintf("refused: %s; its row is kept for %s", whys[d.Reason], d.KeepRow)
	}
	if !d.Record {
		return fmt.Sprintf("not recorded: %s; its row is kept for %s", whys[d.Reason], d.KeepRow)
	}
	s := fmt.Sprintf("recorded for %s on the basis of %s, kept for %s after the call; if it cannot be: %s\n", d.Purpose, d.Basis, d.Retention, d.OnFailure)
	if d.Announce == nil {
		return s + "not announced: " + d.Exempt
	}
	s += fmt.Sprintf("announced: %s in %s, %s", d.Announce.Prompt, d.Announce.Language, d.Announce.When)
	if d.Announce.OptOut != "" {
		s += fmt.Sprintf("; key %s refuses", d.Announce.OptOut)
	}
	return s
}
