package policy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Recordings are selected from a buffer, for a purpose that is none and whose balancing
// still holds.
func TestSelect(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	old := &Balancing{By: "anna", On: Date{2020, 1, 1}, Review: Date{2021, 1, 1}, Outcome: "fine"}
	p := &Policy{cfg: Config{Purposes: map[string]Purpose{
		"window":    {Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}, Buffer: true},
		"other":     {Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}, Buffer: true},
		"complaint": {Basis: Contract, Retention: Retention{Audio: Period{Months: 6}, Row: Period{Years: 1}}},
		"quality":   {Basis: LegitimateInterest, Balancing: old, Retention: Retention{Audio: Period{Days: 30}}},
	}}}
	for _, c := range []struct {
		made string
		to   string
		want error
	}{
		{"window", "complaint", nil}, {"window", "other", ErrNotSelectable}, {"window", "gone", ErrNotSelectable},
		{"window", "quality", ErrNotSelectable}, {"complaint", "complaint", ErrNotBuffered}, {"gone", "complaint", ErrNotBuffered},
	} {
		term, err := p.Select(Made{Purposes: []string{c.made}}, c.to, now)
		if !errors.Is(err, c.want) || err == nil && (term.Purpose != c.to || term.Retention != (Period{Months: 6}) || term.Numbers != (Period{Years: 1})) {
			t.Errorf("from %s for %s: got %+v, %v, want error %v", c.made, c.to, term, err, c.want)
		}
	}
}

// buffered has a buffer by whose rule only the announcement is given, and a rule that gives a pack
// what it demands for quality.
func buffered(pack string, quality Purpose) Config {
	cfg := careful(pack)
	quality.Text = map[string]string{"nl": "Training"}
	cfg.Purposes["quality"] = quality
	cfg.Purposes["window"] = Purpose{Text: map[string]string{"nl": "Terugluisteren"}, Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}, Buffer: true}
	cfg.Rules = append(cfg.Rules, Rule{Name: "buffer", Match: Match{Direction: Inbound}, Record: &Record{Purpose: "window"}, Announce: &Announce{Prompt: "recorded"}})
	return cfg
}

// Consent by a key is the call's own: another call's is none, and what is written is.
func TestSelectConsent(t *testing.T) {
	now := called("2026-11-24").Time
	for _, c := range []struct {
		written string
		agreed  bool
		want    error
	}{{"", false, ErrNotSelectable}, {"", true, nil}, {"in writing", false, nil}} {
		cfg := buffered("uk", Purpose{Basis: Consent, Consent: c.written, Retention: Retention{Audio: Period{Months: 6}}})
		cfg.Packs = nil
		_, err := compile(t, cfg).Select(Made{Purposes: []string{"window"}, Rule: "buffer", Agreed: c.agreed}, "quality", now)
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), "consent by a key") {
			t.Errorf("written %q, agreed %v: got %v, want %v", c.written, c.agreed, err, c.want)
		}
	}
}

// A key that selects for consent is one of a call in which a key gave it.
func TestSelectKeyConsent(t *testing.T) {
	cfg := buffered("uk", Purpose{Basis: Consent, Retention: Retention{Audio: Period{Months: 6}}})
	cfg.Packs = nil
	cfg.Rules[1].Keys = &Keys{Select: "5", SelectFor: "quality"}
	if got := messages(cfg.Validate()); len(got) != 1 || !strings.HasPrefix(got[0], "purposes.quality.consent: missing") {
		t.Errorf("got %q, want consent's evidence missing", got)
	}
	cfg.Rules[1].Announce.OptIn = "1"
	if got := messages(cfg.Validate()); got != nil {
		t.Errorf("with a key to agree by: got %q", got)
	}
}

// What is selected is held to the packs as what is recorded for it would be: to those by country
// too, and by the rule that made the recording.
func TestSelectPacks(t *testing.T) {
	balanced := Purpose{
		Basis: LegitimateInterest, Retention: Retention{Audio: Period{Months: 6}},
		Balancing: &Balancing{By: "anna", On: Date{2026, 11, 1}, Review: Date{2027, 11, 1}, Outcome: "fine"},
	}
	byCountry := func(cfg *Config) {
		cfg.Packs = &Packs{ByCountry: map[string]string{"FR": "fr", "NL": "nl"}, Unknown: "nl"}
	}
	long := Purpose{Basis: Contract, Retention: Retention{Audio: Period{Years: 10}}}
	made := Made{Purposes: []string{"window"}, Rule: "buffer", Direction: Inbound}
	for _, c := range []struct {
		name    string
		pack    string
		purpose Purpose
		change  func(*Config)
		caller  string
		want    string
	}{
		{"no key to object", "nl", balanced, nil, "", `purpose "quality": nothing is selected for it: rule "buffer".keys.object: missing`},
		{"a key to object", "nl", balanced, func(c *Config) { c.Rules[1].Keys = &Keys{Object: "9"} }, "", ""},
		{"a rule that is no more", "nl", balanced, func(c *Config) { c.Rules = c.Rules[:1] }, "", `rule "buffer".keys.object: missing`},
		{"nothing demanded of one that is no more", "nl", long, func(c *Config) { c.Rules = c.Rules[:1] }, "", ""},
		{"no agreement in Germany", "de", long, nil, "", `rule "buffer".announce.to: has to be both: pack de`},
		{"too long in France", "", long, byCountry, "+33612345678", `purposes.quality.retention: P10Y is longer than P6M: pack fr`},
		{"not in the Netherlands", "", long, byCountry, "+31612345678", ""},
		{"not where it cannot be told", "", long, byCountry, "", ""},
		{"or so where that is the strictest", "", long, func(c *Config) { byCountry(c); c.Packs.Unknown = "" }, "", `P10Y is longer than P6M: pack fr`},
		{"nobody has to be complete", "", Purpose{Basis: LegalObligation, Law: "a law", Packs: []string{"mifid"}}, func(c *Config) {
			c.Packs = nil
			c.Rules[0].Record.Purpose, c.Rules[1].Record.Sample = "window", 10_00
		}, "", ""},
	} {
		cfg := buffered(c.pack, c.purpose)
		if c.pack == "" {
			cfg.Packs = nil
		}
		if c.change != nil {
			c.change(&cfg)
		}
		m := made
		m.Caller = c.caller
		// Not compiled by Compile, which would not have some of them.
		p := &Policy{cfg: cfg.effective(), numbers: newNumbering("NL", nil), countries: true}
		switch _, err := p.Select(m, "quality", called("2026-11-24").Time); {
		case c.want == "" && err != nil:
			t.Errorf("%s: got %v", c.name, err)
		case c.want != "" && (!errors.Is(err, ErrNotSelectable) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// A purpose that nothing is recorded for is held to the packs all the same, where there is a
// buffer that it can be selected from; so is a rule whose key selects for it.
func TestSelectableFaults(t *testing.T) {
	cfg := buffered("fr", Purpose{Basis: Contract, Retention: Retention{Audio: Period{Months: 6}}})
	cfg.Purposes["later"] = Purpose{Text: map[string]string{"nl": "Later"}, Basis: Contract, Retention: Retention{Audio: Period{Years: 10}}}
	const long = "purposes.later.retention: P10Y is longer than P6M: pack fr (CNIL, « L'écoute et l'enregistrement des appels »: six months at most)"
	if diff := cmp.Diff([]string{long}, messages(cfg.Validate())); diff != "" {
		t.Errorf("with a buffer: %s", diff)
	}
	cfg.Rules[1].Keys = &Keys{Select: "5", SelectFor: "later"}
	if diff := cmp.Diff([]string{long}, messages(cfg.Validate())); diff != "" {
		t.Errorf("with a key: %s", diff)
	}
	later := cfg.Purposes["later"]
	later.Basis, later.Statute, later.Retention.Audio = PublicTask, "a statute", Period{Months: 6}
	cfg.Purposes["later"] = later
	if got := messages(cfg.Validate()); len(got) != 1 || !strings.HasPrefix(got[0], "rules[1].keys.object: missing") {
		t.Errorf("with a key, for a public task: got %q, want the key to object by", got)
	}
	cfg.Rules = cfg.Rules[:1]
	later.Retention.Audio = Period{Years: 10}
	cfg.Purposes["later"] = later
	delete(cfg.Purposes, "window")
	if got := messages(cfg.Validate()); got != nil {
		t.Errorf("without a buffer: got %q", got)
	}
}

// What the law obliges to keep, by its basis or by a pack, is not withdrawn.
func TestWithdraw(t *testing.T) {
	p := &Policy{cfg: Config{Purposes: map[string]Purpose{
		"consented": {Basis: Consent}, "law": {Basis: LegalObligation}, "orders": {Basis: Contract, Packs: []string{"mifid"}}, "dutch": {Basis: Contract, Packs: []string{"nl"}},
	}}}
	for purpose, want := range map[string]error{"consented": nil, "law": ErrNotWithdrawn, "orders": ErrNotWithdrawn, "dutch": nil, "gone": nil} {
		if err := p.Withdraw(purpose); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", purpose, err, want)
		}
	}
}
