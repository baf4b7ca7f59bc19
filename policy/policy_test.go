package policy

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite what testdata expects")

// office is a valid configuration with one rule of every kind.
func office() Config {
	return Config{
		Purposes: map[string]Purpose{
			"quality": {
				Text: map[string]string{"nl": "Training en kwaliteit"}, Basis: LegitimateInterest, Retention: Retention{Audio: Period{Days: 14}},
				Balancing: &Balancing{By: "privacy officer", On: Date{2026, 11, 1}, Outcome: "training outweighs", Review: Date{2027, 11, 1}},
			},
			"orders": {
				Text: map[string]string{"nl": "Orders"}, Basis: LegalObligation, Law: "MiFID II art. 16(7)",
				Retention: Retention{Audio: Period{Years: 5}}, OnFailure: Refuse,
			},
		},
		Announcements: map[string]Announcement{
			"recorded": {
				Text:  map[string]string{"nl": "Dit gesprek wordt opgenomen.", "en": "This call is recorded."},
				Files: map[string]string{"nl": "nl.wav", "en": "en.wav"},
			},
		},
		Rules: []Rule{
			{Name: "confidential adviser", Match: Match{To: []string{"+31201234599", "299"}}, Record: &Record{None: true}},
			{Name: "works council", Match: Match{From: []string{"298"}}},
			{Name: "withheld", Match: Match{Direction: Inbound, From: []string{"anonymous"}}, Record: &Record{Purpose: "quality"}, Announce: &Announce{Prompt: "recorded"}},
			{
				Name:  "night desk",
				Match: Match{Direction: Inbound, Time: &Window{Days: []string{"fri"}, From: "22:00", To: "06:00", Zone: "Europe/Amsterdam"}},
			},
			{
				Name: "trading desk", Match: Match{Trunk: []string{"trading"}}, Record: &Record{Purpose: "orders"},
				Exempt: "told in the client agreement, art. 12", Forwarded: "the desk's own mobiles, MiFID II art. 16(7)",
			},
			{
				Name: "English", Match: Match{Direction: Inbound, From: []string{"+44*", "+1*"}}, Record: &Record{Purpose: "quality"},
				Announce: &Announce{Prompt: "recorded", Language: "en", When: Answered, OptOut: "9"},
			},
			{
				Name: "customers", Match: Match{From: []string{"+*", "2*"}}, Record: &Record{Purpose: "quality"},
				Announce: &Announce{Prompt: "recorded", OptOut: "9"},
			},
		},
		Emergency: []string{"0900-8844", "113"},
	}
}

func compile(t *testing.T, cfg Config) *Policy {
	t.Helper()
	p, err := Compile(cfg)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return p
}

// The first rule that matches decides; every decision not to record has its reason.
func TestDecide(t *testing.T) {
	path := filepath.Join("testdata", "decide.txtar")
	cases, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, office())
	for i, c := range cases.Files {
		t.Run(c.Name, func(t *testing.T) {
			facts, want, _ := strings.Cut(string(c.Data), "\n\n")
			steps, d := p.Explain(readFacts(t, facts))
			got := render(steps, d)
			if *update {
				cases.Files[i].Data = []byte(facts + "\n\n" + got)
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if diff := cmp.Diff(d, p.Decide(readFacts(t, facts))); diff != "" {
				t.Errorf("got another decision from Decide than from Explain: %s", diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(cases), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readFacts(t *testing.T, text string) Facts {
	t.Helper()
	f := Facts{Time: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "in":
			f.Direction, f.FromTrunk, f.FromSide, f.ToTrunk, f.ToSide = Inbound, "carrier", "external", "pbx", "internal"
		case "out":
			f.Direction, f.FromTrunk, f.FromSide, f.ToTrunk, f.ToSide = Outbound, "pbx", "internal", "carrier", "external"
		case "through":
			f.Direction, f.FromTrunk, f.FromSide, f.ToTrunk, f.ToSide = Inbound, "carrier", "external", "carrier", "external"
		case "to-trunk":
			f.ToTrunk = value
		case "caller":
			f.Caller = value
		case "callee":
			f.Callee = value
		case "vouched":
			f.Vouched = true
		case "forwarded":
			f.Forwarded = true
		case "claimed":
			f.Forwarded, f.Claimed = true, true
		case "time":
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				t.Fatal(err)
			}
			f.Time = at
		default:
			t.Fatalf("unknown fact %q", key)
		}
	}
	return f
}

func render(steps []Step, d Decision) string {
	var b bytes.Buffer
	for _, s := range steps {
		fmt.Fprintf(&b, "%s: %s\n", s.Rule, s.Why)
	}
	switch {
	case !d.Record:
		fmt.Fprintf(&b, "=> not recorded: %s", d.Reason)
		if d.OnFailure != "" {
			fmt.Fprintf(&b, ", on failure %s", d.OnFailure)
		}
	case d.Announce != nil:
		fmt.Fprintf(&b, "=> %s by %s for %v, %s %s %s", d.Purpose, d.Basis, d.Retention, d.Announce.Prompt, d.Announce.Language, d.Announce.When)
		if d.Announce.OptOut != "" {
			fmt.Fprintf(&b, ", opt out %s", d.Announce.OptOut)
		}
		fmt.Fprintf(&b, ", on failure %s", d.OnFailure)
	default:
		fmt.Fprintf(&b, "=> %s by %s for %v, exempt (%s), on failure %s", d.Purpose, d.Basis, d.Retention, d.Exempt, d.OnFailure)
	}
	if d.Forwarded != "" {
		fmt.Fprintf(&b, ", forwarded (%s)", d.Forwarded)
	}
	if d.Emergency {
		b.WriteString(", hands off")
	}
	if d.Unlimited {
		b.WriteString(", no limits")
	}
	b.WriteByte('\n')
	return b.String()
}

// Whatever the facts, a recording has purpose, basis, retention, rule and policy, and
// either an announcement or the written reason why not.
func FuzzDecide(f *testing.F) {
	p, err := Compile(office())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("inbound", "carrier", "external", "internal", "+31612345678", "+31201234567", int64(0), false)
	f.Add("outbound", "trading", "internal", "external", "anonymous", "sip:112@pbx", int64(1), true)
	f.Fuzz(func(t *testing.T, direction, trunk, from, to, caller, callee string, at int64, forwarded bool) {
		d := p.Decide(Facts{
			Direction: Direction(direction), FromTrunk: trunk, FromSide: from, ToSide: to,
			Caller: caller, Callee: callee, Time: time.Unix(at%1e10, 0), Forwarded: forwarded,
		})
		if d.Policy != p.Version() || d.KeepRow.IsZero() {
			t.Errorf("got policy %q and row kept %v, want both", d.Policy, d.KeepRow)
		}
		if !d.Record {
			if d.Reason == "" || d.Announce != nil || d.Purpose != "" {
				t.Errorf("got %+v, want a reason and nothing to record with", d)
			}
			return
		}
		if d.Reason != "" || d.Emergency || d.Rule == "" || d.Purpose == "" || d.Basis == "" || d.Retention.IsZero() || d.OnFailure == "" {
			t.Errorf("got %+v, want every field of a recording", d)
		}
		if (d.Announce == nil) == (d.Exempt == "") {
			t.Errorf("got announcement %v and exemption %q, want one of them", d.Announce, d.Exempt)
		}
		if a := d.Announce; a != nil && (a.Prompt == "" || a.Language == "" || a.When == "" || a.When == Early && direction != "inbound") {
			t.Errorf("got announcement %+v of a call %s", a, direction)
		}
		if (forwarded || from == "external" && to == "external") && d.Forwarded == "" {
			t.Errorf("got a forwarded call recorded without a reason")
		}
	})
}

// The version says what the policy does: written-out defaults leave it, a change moves it.
func TestVersion(t *testing.T) {
	version := compile(t, office()).Version()
	same := office()
	same.Country = "NL"
	same.Calls.Retention = Period{Days: 90}
	quality := same.Purposes["quality"]
	quality.OnFailure = Continue
	same.Purposes["quality"] = quality
	same.Rules[6].Announce.Language = "nl"
	if got := compile(t, same).Version(); got != version {
		t.Errorf("with defaults written out: got version %s, want %s", got, version)
	}
	other := office()
	other.Announcements["recorded"].Text["nl"] = "Dit gesprek wordt niet opgenomen."
	if got := compile(t, other).Version(); got == version || len(got) != 64 {
		t.Errorf("with another text: got version %s, want another than %s", got, version)
	}
}

// The version of a given configuration is the same on every machine, for ever.
func TestVersionIsStable(t *testing.T) {
	const want = "f5dacd6f3bd74d932386c1c7b7ff2d62cc09129eb1529b994faf35314343be4d"
	if got := compile(t, office()).Version(); got != want {
		t.Errorf("got version %s, want %s: rows in the field name the old one", got, want)
	}
}

// A compiled policy does not change with what it was compiled from.
func TestCompileCopies(t *testing.T) {
	cfg := office()
	p := compile(t, cfg)
	facts := Facts{Direction: Inbound, Caller: "+31612345678", Callee: "+31201234567"}
	want := p.Decide(facts)
	cfg.Purposes["quality"] = Purpose{}
	cfg.Rules[6].Announce.Prompt = "other"
	cfg.Rules[6].Name = "other"
	if diff := cmp.Diff(want, p.Decide(facts)); diff != "" {
		t.Errorf("the decision changed: %s", diff)
	}
	got := p.Decide(facts)
	got.Announce.Language = "fy"
	if diff := cmp.Diff(want, p.Decide(facts)); diff != "" {
		t.Errorf("the decision changed with one given out before: %s", diff)
	}
}

// Compile names every fault.
func TestCompileFaults(t *testing.T) {
	_, err := Compile(Config{Country: "XX", Rules: []Rule{{}}})
	const want = `country: "XX" is not a country in two capitals (ISO 3166-1), such as NL` + "\nrules[0].name: missing"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func BenchmarkDecide(b *testing.B) {
	cfg := office()
	last := cfg.Rules[len(cfg.Rules)-1]
	cfg.Rules = nil
	for i := range 100 {
		cfg.Rules = append(cfg.Rules, Rule{Name: fmt.Sprint(i), Match: Match{To: []string{fmt.Sprintf("+3120123%04d", i)}}})
	}
	cfg.Rules = append(cfg.Rules, last)
	p, err := Compile(cfg)
	if err != nil {
		b.Fatal(err)
	}
	facts := Facts{Direction: Inbound, Caller: "+31612345678", Callee: "+31209876543"}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(facts).Record {
			b.Fatal("not recorded")
		}
	}
}
