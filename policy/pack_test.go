package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// careful has one rule and one purpose that meet every demand of the packs that do not
// contradict each other: all but mifid.
func careful(pack string) Config {
	return Config{
		Packs: &Packs{Always: []string{pack}},
		Staff: &Staff{WorksCouncil: "OR 2026-14", Notified: Date{2026, 10, 1}},
		Purposes: map[string]Purpose{"quality": {
			Text: map[string]string{"nl": "Training"}, Basis: Consent, Retention: Retention{Audio: Period{Months: 6}},
		}},
		Announcements: map[string]Announcement{"recorded": {Text: map[string]string{"nl": "Opgenomen."}, Files: map[string]string{"nl": "nl.wav"}}},
		Rules: []Rule{{
			Name: "all", Record: &Record{Purpose: "quality"},
			Announce: &Announce{Prompt: "recorded", To: Both, OptIn: "1", Notice: true},
			Keys:     &Keys{Object: "9", Pause: "*"},
			Beep:     &Beep{Every: 15 * time.Second},
		}},
	}
}

// orders is a desk that meets what mifid demands.
func orders() Config {
	cfg := careful("mifid")
	cfg.Purposes["quality"] = Purpose{Text: map[string]string{"nl": "Orders"}, Basis: LegalObligation, Law: "MiFID II art. 16(7)"}
	cfg.Rules[0].Announce.OptIn, cfg.Rules[0].Keys = "", nil
	return cfg
}

// Every demand of every pack is met by a configuration that meets it, and a fault, with its
// source, of one that does not.
func TestPacks(t *testing.T) {
	purpose := func(change func(*Purpose)) func(*Config) {
		return func(c *Config) {
			p := c.Purposes["quality"]
			change(&p)
			c.Purposes["quality"] = p
		}
	}
	rule := func(change func(*Rule)) func(*Config) { return func(c *Config) { change(&c.Rules[0]) } }
	noStaff := func(c *Config) { c.Staff = nil }
	noObjection := rule(func(r *Rule) { r.Announce.OptIn, r.Keys.Object = "", "" })
	inWriting := purpose(func(p *Purpose) { p.Consent = "in writing" })
	publicTask := purpose(func(p *Purpose) { p.Basis, p.Statute = PublicTask, "Gemeentewet art. 172" })
	unannounced := func(c *Config) {
		inWriting(c)
		c.Rules[0].Announce, c.Rules[0].Exempt = nil, "told in writing"
	}
	seen := map[string]bool{}
	for _, c := range []struct {
		pack   string
		change func(*Config)
		want   []string // how each fault begins, and what it cites
	}{
		{"nl", func(c *Config) { inWriting(c); noObjection(c) }, []string{`rules[0].keys.object: missing|AVG art. 21(1)`}},
		{"nl", rule(func(r *Rule) { r.Announce.OptOut, r.Keys.Object = "2", "" }), []string{`rules[0].keys.object: missing: a key by which to withdraw consent|7(3)`}},
		{"nl", func(c *Config) { publicTask(c); noObjection(c) }, []string{`rules[0].keys.object: missing: a key by which to object|AVG art. 21(1)`}},
		{"nl", func(c *Config) { publicTask(c); noObjection(c); c.Rules[0].Announce.OptOut = "9" }, nil},
		{"nl", noStaff, []string{`purposes.quality.staff: missing|WOR art. 27(1)`}},
		{"nl", func(c *Config) {
			purpose(func(p *Purpose) { p.Basis = Contract })(c)
			noObjection(c)
		}, nil},
		{"de", unannounced, []string{`rules[0].announce: missing: calls have to be announced, to: both|StGB § 201(1)`, `rules[0].announce.opt_in: missing|StGB § 201(1)`}},
		{"de", rule(func(r *Rule) { r.Announce.To = "" }), []string{`rules[0].announce.to: has to be both|StGB § 201(1)`}},
		{"de", func(c *Config) { inWriting(c); c.Rules[0].Announce.OptIn = "" }, []string{`rules[0].announce.opt_in: missing|StGB § 201(1)`}},
		{"de", noStaff, []string{`purposes.quality.staff: missing|BetrVG § 87(1)`}},
		{"de", rule(func(r *Rule) { r.Beep, r.Keys = nil, nil }), []string{`rules[0].keys.object: missing|DSGVO art. 21(1)`}},
		{"fr", unannounced, []string{`rules[0].announce: missing|Code pénal art. 226-1`}},
		{"fr", func(c *Config) { inWriting(c); noObjection(c) }, []string{`rules[0].keys.object: missing|RGPD art. 21(1)`}},
		{"fr", purpose(func(p *Purpose) { p.Retention.Audio = Period{Months: 6, Days: 1} }), []string{`purposes.quality.retention: P6M1D is longer than P6M|CNIL`}},
		{"fr", noStaff, []string{`purposes.quality.staff: missing|L1222-4`}},
		{"fr", func(c *Config) { inWriting(c); c.Rules[0].Announce = &Announce{Prompt: "recorded"} }, nil},
		{"uk", func(c *Config) { inWriting(c); noObjection(c) }, []string{`rules[0].keys.object: missing|UK GDPR art. 21(1)`}},
		{"uk", noStaff, []string{`purposes.quality.staff: missing|SI 2018/356`}},
		{"us-all-party", func(c *Config) { unannounced(c); c.Rules[0].Beep = nil }, []string{`rules[0].announce: missing: the far party has to be told, or to hear a beep every 15s|General Order 107-B`}},
		{"us-all-party", func(c *Config) { unannounced(c); c.Rules[0].Beep.Every = 16 * time.Second }, []string{`rules[0].announce: missing|General Order 107-B`}},
		{"us-all-party", func(c *Config) { unannounced(c); c.Rules[0].Beep.To = Near }, []string{`rules[0].announce: missing|General Order 107-B`}},
		{"us-all-party", unannounced, nil},
		{"us-all-party", rule(func(r *Rule) { r.Beep = nil }), nil},
		{"us-all-party", rule(func(r *Rule) { r.Announce.Notice = false }), []string{`rules[0].announce.notice: missing|RCW 9.73.030(3)`}},
		{"us-all-party", noStaff, []string{`purposes.quality.staff: missing|§ 632`}},
		{"pci", rule(func(r *Rule) { r.Keys.Pause = "" }), []string{`rules[0].keys.pause: missing|PCI DSS 3.3.1`}},
		{"pci", rule(func(r *Rule) { r.Keys = nil; r.Control = []Control{ControlPause} }), nil},
		{"mifid", purpose(func(p *Purpose) { p.OnFailure = Continue }), []string{`purposes.quality.on_failure: has to be refuse|MiFID II art. 16(7)`}},
		{"mifid", purpose(func(p *Purpose) { p.Retention.Audio = Period{Years: 4, Months: 11} }), []string{`purposes.quality.retention: P4Y11M is shorter than P5Y|MiFID II art. 16(7)`}},
		{"mifid", purpose(func(p *Purpose) { p.Retention.Audio = Period{Years: 7} }), nil},
		{"mifid", rule(func(r *Rule) {
			r.Record = &Record{Purpose: "quality", Sample: 10_00, Ceiling: 5}
			r.Announce.OptOut, r.Keys = "9", &Keys{Object: "8", Pause: "7"}
			r.Control = []Control{ControlPause, ControlDiscard, ControlOff, ControlStop, ControlPurpose, ControlTag, ControlSelect}
		}), []string{
			`rules[0].record.sample: every call|art. 76(10)`, `rules[0].record.ceiling: every call|art. 76(10)`,
			`rules[0].announce.opt_out: nobody may refuse|art. 76(10)`, `rules[0].keys.object: no recording|art. 76(10)`,
			`rules[0].keys.pause: every call|art. 76(10)`,
			`rules[0].control[0]: every call|art. 76(10)`, `rules[0].control[1]: every call|art. 76(10)`, `rules[0].control[2]: every call|art. 76(10)`,
			`rules[0].control[3]: every call|art. 76(10)`, `rules[0].control[4]: every call|art. 76(10)`,
		}},
	} {
		cfg := careful(c.pack)
		if c.pack == "mifid" {
			cfg = orders()
		}
		if faults := cfg.Validate(); len(faults) > 0 {
			t.Errorf("%s: got %v of a configuration that meets it", c.pack, faults)
		}
		c.change(&cfg)
		got := cfg.Validate()
		if len(got) != len(c.want) {
			t.Errorf("%s: got %v, want %q", c.pack, got, c.want)
			continue
		}
		for i, want := range c.want {
			begins, cites, _ := strings.Cut(want, "|")
			if text := got[i].Error(); !strings.HasPrefix(text, begins) || !strings.Contains(text, "pack "+c.pack+" (") || !strings.Contains(text, cites) {
				t.Errorf("%s: got %s, want %s, citing %s", c.pack, text, begins, cites)
			}
			seen[c.pack+" "+got[i].Message[strings.LastIndex(got[i].Message, ": pack ")+7:]] = true
		}
	}
	for name, p := range packs {
		for _, d := range p.demands {
			if !seen[name+" "+name+" ("+d.source+")"] {
				t.Errorf("no case breaks pack %s: %s", name, d.source)
			}
		}
	}
}

// A pack fills in what a purpose leaves out, of all purposes or of one alone.
func TestPackDefaults(t *testing.T) {
	cfg := orders()
	p := compile(t, cfg)
	if d := p.Decide(called("2026-11-24")); d.Retention != (Period{Years: 5}) || d.OnFailure != Refuse {
		t.Errorf("got %v, on failure %s, want P5Y and refuse", d.Retention, d.OnFailure)
	}
	cfg.Packs = nil
	own := cfg.Purposes["quality"]
	own.Packs = []string{"mifid"}
	cfg.Purposes["quality"] = own
	other := own
	other.Packs, other.Retention = nil, Retention{Audio: Period{Days: 1}}
	cfg.Purposes["other"] = other
	cfg.Rules = append(cfg.Rules, Rule{Name: "other", Record: &Record{Purpose: "other", Sample: 50_00}, Exempt: "told in writing"})
	if faults := cfg.Validate(); faults != nil {
		t.Errorf("got %v: the pack is the other purpose's", faults)
	}
	if d := compile(t, cfg).Decide(called("2026-11-24")); d.Retention != (Period{Years: 5}) || d.OnFailure != Refuse {
		t.Errorf("got %v, on failure %s, want P5Y and refuse", d.Retention, d.OnFailure)
	}
}

// The far party's country says which pack counts; one that nobody named has the strictest.
func TestPackByCountry(t *testing.T) {
	cfg := careful("nl")
	cfg.Packs = &Packs{ByCountry: map[string]string{"NL": "nl", "DE": "de", "AT": "de"}}
	cfg.Purposes["quality"] = Purpose{Text: map[string]string{"nl": "Training"}, Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}}
	cfg.Rules[0].Announce = &Announce{Prompt: "recorded"}
	german := careful("de").Rules[0]
	german.Name, german.Match.Country = "german", []string{"AT"}
	cfg.Rules = append([]Rule{german}, cfg.Rules...)
	for unknown, wants := range map[string]map[string]string{
		"":   {"+31612345678": "", "+4930123456": BreaksPack, "+43112345": "", "+3212345678": BreaksPack, "": BreaksPack},
		"nl": {"+31612345678": "", "+4930123456": BreaksPack, "+43112345": "", "+3212345678": "", "": ""},
	} {
		cfg.Packs.Unknown = unknown
		p := compile(t, cfg)
		for caller, want := range wants {
			f := called("2026-11-24")
			f.Caller = caller
			if d := p.Decide(f); d.Reason != want || d.Record != (want == "") {
				t.Errorf("unknown %q, from %q: got %q, want %q", unknown, caller, d.Reason, want)
			}
		}
	}
}

// Where nobody of ours is in the call the packs of both countries count.
func TestPackByBothCountries(t *testing.T) {
	cfg := careful("nl")
	cfg.Packs = &Packs{ByCountry: map[string]string{"NL": "nl", "DE": "de"}}
	cfg.Purposes["quality"] = Purpose{Text: map[string]string{"nl": "Training"}, Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}}
	cfg.Rules[0].Announce, cfg.Rules[0].Forwarded = &Announce{Prompt: "recorded", To: Both}, "by agreement"
	p := compile(t, cfg)
	for _, c := range []struct{ toSide, callee, want string }{
		{"external", "+4930123456", BreaksPack}, {"external", "+31201234567", ""}, {"internal", "+4930123456", ""},
	} {
		f := called("2026-11-24")
		f.Direction, f.FromSide, f.ToSide, f.Caller, f.Callee = Inbound, "external", c.toSide, "+31612345678", c.callee
		if d := p.Decide(f); d.Reason != c.want || c.want != "" && len(p.Unmet(f)) == 0 {
			t.Errorf("to %s, %s: got %q, unmet %v", c.callee, c.toSide, d.Reason, p.Unmet(f))
		}
	}
}

func TestPackFaults(t *testing.T) {
	cfg := careful("nl")
	cfg.Packs = &Packs{Always: []string{"be"}, ByCountry: map[string]string{"NL": "x", "XX": "nl"}, Unknown: "loosest"}
	own := cfg.Purposes["quality"]
	own.Packs = []string{"fr", "iso"}
	cfg.Purposes["quality"] = own
	const there = `; there is de, fr, mifid, nl, pci, uk, us-all-party`
	var got []string
	for _, f := range cfg.Validate() {
		got = append(got, f.Error())
	}
	if diff := cmp.Diff([]string{
		`purposes.quality.packs[1]: there is no pack "iso"` + there,
		`packs.always[0]: there is no pack "be"` + there,
		`packs.by_country.NL: there is no pack "x"` + there,
		`packs.by_country.XX: is not a country in two capitals (ISO 3166-1), such as NL`,
		`packs.unknown: there is no pack "loosest"` + there,
	}, got); diff != "" {
		t.Error(diff)
	}
	cfg = careful("nl")
	cfg.Packs.Unknown = "strictest"
	if faults := cfg.Validate(); len(faults) != 1 || faults[0].Error() != "packs.unknown: says nothing without by_country" {
		t.Errorf("got %v", faults)
	}
}
