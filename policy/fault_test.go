package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every fault is reported, each at its key.
func TestValidate(t *testing.T) {
	quality := func(change func(*Purpose)) func(*Config) {
		return func(c *Config) {
			p := c.Purposes["quality"]
			change(&p)
			c.Purposes["quality"] = p
		}
	}
	orders := func(change func(*Purpose)) func(*Config) {
		return func(c *Config) {
			p := c.Purposes["orders"]
			change(&p)
			c.Purposes["orders"] = p
		}
	}
	english := func(change func(*Rule)) func(*Config) { return func(c *Config) { change(&c.Rules[5]) } }
	window := func(w Window) func(*Config) { return func(c *Config) { c.Rules[3].Match.Time = &w } }
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"nothing", func(*Config) {}, nil},
		{"nothing at all", func(c *Config) { *c = Config{} }, nil},

		{"no text", quality(func(p *Purpose) { p.Text = nil }), []string{`purposes.quality.text: missing: by language, such as {nl: …, en: …}`}},
		{"empty text", quality(func(p *Purpose) { p.Text = map[string]string{"nl": " "} }), []string{`purposes.quality.text.nl: missing`}},
		{"no language", quality(func(p *Purpose) { p.Text = map[string]string{"dutch!": "x"} }), []string{`purposes.quality.text.dutch!: is not a language such as nl or en (RFC 5646)`}},
		{"no basis", orders(func(p *Purpose) { p.Basis, p.Law = "", "" }), []string{`purposes.orders.basis: missing: one of consent, contract, legal_obligation, vital_interests, public_task, legitimate_interest`}},
		{"unknown basis", orders(func(p *Purpose) { p.Basis, p.Law = "because", "" }), []string{`purposes.orders.basis: "because" is not a lawful basis; it is one of consent, contract, legal_obligation, vital_interests, public_task, legitimate_interest`}},
		{"legitimate interest without balancing", quality(func(p *Purpose) { p.Balancing = nil }), []string{`purposes.quality.balancing: missing: basis legitimate_interest needs the record of the balancing: by, on, outcome, review`}},
		{"empty balancing", quality(func(p *Purpose) { p.Balancing = &Balancing{} }), []string{
			`purposes.quality.balancing.by: missing`,
			`purposes.quality.balancing.outcome: missing`,
			`purposes.quality.balancing.on: missing`,
			`purposes.quality.balancing.review: missing`,
		}},
		{"review before the balancing", quality(func(p *Purpose) { p.Balancing.Review = p.Balancing.On }), []string{`purposes.quality.balancing.review: 2026-11-01 is not later than 2026-11-01, when it was made`}},
		{"balancing of another basis", orders(func(p *Purpose) { p.Balancing = &Balancing{} }), []string{`purposes.orders.balancing: belongs to basis legitimate_interest`}},
		{"legal obligation without law", orders(func(p *Purpose) { p.Law = "" }), []string{`purposes.orders.law: missing: basis legal_obligation needs the law that obliges`}},
		{"public task without statute", orders(func(p *Purpose) { p.Basis, p.Law = PublicTask, "" }), []string{`purposes.orders.statute: missing: basis public_task needs the statute that gives the task`}},
		{"consent without its evidence", orders(func(p *Purpose) { p.Basis, p.Law = Consent, "" }), []string{`purposes.orders.consent: missing: basis consent needs how it is given and can be shown (AVG art. 7(1)); or opt_in in every rule's announce`}},
		{"law of another basis", orders(func(p *Purpose) { p.Basis = Contract }), []string{`purposes.orders.law: belongs to basis legal_obligation`}},
		{"no retention", quality(func(p *Purpose) { p.Retention.Audio = Period{} }), []string{`purposes.quality.retention: missing: a period such as P14D`}},
		{"negative retention", quality(func(p *Purpose) { p.Retention.Audio = Period{Days: -14} }), []string{`purposes.quality.retention: P-14D is not longer than nothing, in whole seconds, and at most 100 years`}},
		{"split second", quality(func(p *Purpose) { p.Retention.Audio = Period{Clock: time.Millisecond} }), []string{`purposes.quality.retention: PT is not longer than nothing, in whole seconds, and at most 100 years`}},
		{"unknown on_failure", quality(func(p *Purpose) { p.OnFailure = "stop" }), []string{`purposes.quality.on_failure: "stop" is neither continue nor refuse`}},
		{"bad name of a purpose", func(c *Config) { c.Purposes["a b"] = c.Purposes["orders"] }, []string{`purposes.a b: the name is to be made of letters, digits, - and _, 64 at most`}},

		{"announcement without files", func(c *Config) { c.Announcements["x"] = Announcement{Text: map[string]string{"nl": "x"}} }, []string{`announcements.x.files: missing: the prompt's file by language, such as {nl: prompts/nl.wav}`}},
		{"announcement without text", func(c *Config) { c.Announcements["x"] = Announcement{Files: map[string]string{"nl": "x"}} }, []string{`announcements.x.text: missing: by language, such as {nl: …, en: …}`}},
		{"text and files apart", func(c *Config) {
			c.Announcements["x"] = Announcement{Text: map[string]string{"nl": "x"}, Files: map[string]string{"en": ""}}
		}, []string{
			`announcements.x.files.en: missing`,
			`announcements.x.files.en: text has no en: what is said is kept in writing`,
			`announcements.x.text.nl: files has no nl`,
		}},
		{"bad name of an announcement", func(c *Config) { c.Announcements[""] = c.Announcements["recorded"] }, []string{`announcements.: the name is to be made of letters, digits, - and _, 64 at most`}},

		{"rule without name", english(func(r *Rule) { r.Name = "" }), []string{`rules[5].name: missing`}},
		{"names twice", english(func(r *Rule) { r.Name = "withheld" }), []string{`rules[5].name: "withheld" is the name of rules[2] too`}},
		{"unknown direction", english(func(r *Rule) { r.Match.Direction = "in" }), []string{
			`rules[5].match.direction: "in" is neither inbound nor outbound`,
		}},
		{"bad patterns", english(func(r *Rule) { r.Match.From, r.Match.To = []string{"+44*", "alice"}, []string{"020*"} }), []string{
			`rules[5].match.from[1]: pattern "alice": neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous`,
			`rules[5].match.to[0]: pattern "020*": the beginning of a number is written with its country code, such as +3120*`,
		}},
		{"empty trunk", english(func(r *Rule) { r.Match.Trunk = []string{""} }), []string{`rules[5].match.trunk[0]: missing`}},
		{"bad window", window(Window{Days: []string{"mon", "Friday"}, From: "9:00", To: "25:00", Zone: "Europe/Amsterdm"}), []string{
			`rules[3].match.time.days[1]: "Friday" is none of sun, mon, tue, wed, thu, fri, sat`,
			`rules[3].match.time.from: "9:00" is not a time of day such as 09:00`,
			`rules[3].match.time.to: "25:00" is not a time of day such as 09:00`,
			`rules[3].match.time.zone: no time zone "Europe/Amsterdm" is known here`,
		}},
		{"window without zone", window(Window{From: "09:00"}), []string{`rules[3].match.time.zone: missing: say whose clock it is, such as Europe/Amsterdam`}},
		{"window in the machine's zone", window(Window{Zone: "Local"}), []string{`rules[3].match.time.zone: missing: say whose clock it is, such as Europe/Amsterdam`}},
		{"window without length", window(Window{From: "09:00", To: "09:00", Zone: "UTC"}), []string{`rules[3].match.time.to: the window begins and ends at the same time; leave both out for the whole day`}},

		{"empty record", english(func(r *Rule) { r.Record = &Record{} }), []string{`rules[5].record.purpose: missing`}},
		{"unknown purpose", english(func(r *Rule) { r.Record.Purpose = "qualty" }), []string{`rules[5].record.purpose: there is no purpose "qualty"; there is orders, quality`}},
		{"unknown prompt", english(func(r *Rule) { r.Announce.Prompt = "record" }), []string{`rules[5].announce.prompt: there is no announcement "record"; there is recorded`}},
		{"no prompt", english(func(r *Rule) { r.Announce.Prompt = "" }), []string{`rules[5].announce.prompt: missing`}},
		{"recorded untold", english(func(r *Rule) { r.Announce = nil }), []string{`rules[5].announce: missing: what is recorded is announced, or exempt gives the written reason why not`}},
		{"blank exemption", english(func(r *Rule) { r.Announce, r.Exempt = nil, "  " }), []string{`rules[5].announce: missing: what is recorded is announced, or exempt gives the written reason why not`}},
		{"told and exempt", english(func(r *Rule) { r.Exempt = "told in writing" }), []string{`rules[5].exempt: the calls are announced: give either announce or exempt`}},
		{"blank reason for forwarded calls", english(func(r *Rule) { r.Forwarded = " " }), []string{`rules[5].forwarded: missing`}},
		{"told of nothing", english(func(r *Rule) { r.Record, r.Exempt, r.Forwarded = nil, "x", "y" }), []string{
			`rules[5].announce: there is nothing to say it of: the rule does not record; give record: {purpose: …}`,
			`rules[5].exempt: there is nothing to say it of: the rule does not record; give record: {purpose: …}`,
			`rules[5].forwarded: there is nothing to say it of: the rule does not record; give record: {purpose: …}`,
		}},
		{"unknown language", english(func(r *Rule) { r.Announce.Language = "fy" }), []string{`rules[5].announce.language: the prompt has no "fy"; it has en, nl`}},
		{"language open", func(c *Config) { c.Country = "BE"; c.Rules = c.Rules[6:] }, []string{`rules[0].announce.language: missing: the prompt has en, nl`}},
		{"early and outbound", english(func(r *Rule) { r.Match.Direction, r.Announce.When = Outbound, Early }), []string{`rules[5].announce.when: early plays to the caller before the PBX has answered: match direction: inbound, or leave when out`}},
		{"early and any direction", english(func(r *Rule) { r.Match.Direction, r.Announce.When = "", Early }), []string{`rules[5].announce.when: early plays to the caller before the PBX has answered: match direction: inbound, or leave when out`}},
		{"while it rings", english(func(r *Rule) { r.Announce.When = "ringing" }), nil},
		{"on connect", english(func(r *Rule) { r.Announce.When = "connect" }), nil},
		{"unknown when", english(func(r *Rule) { r.Announce.When = "late" }), []string{`rules[5].announce.when: "late" is none of early, ringing, connect, answered`}},
		{"no key", english(func(r *Rule) { r.Announce.OptOut = "10" }), []string{`rules[5].announce.opt_out: "10" is not a key: 0 to 9, * or #`}},

		{"staff without anything", func(c *Config) { c.Staff = &Staff{} }, []string{`staff: gives nothing: works_council (the reference of its consent) and notified (when the staff were told), or the reason why neither is needed`}},
		{"staff by half", func(c *Config) { c.Staff = &Staff{WorksCouncil: "OR 2026-14"} }, []string{`staff.notified: missing: the day on which the staff were told, such as 2026-10-01`}},
		{"staff of a purpose, twice", quality(func(p *Purpose) { p.Staff = &Staff{WorksCouncil: "x", Notified: Date{2026, 1, 1}, Reason: "y"} }), []string{`purposes.quality.staff.reason: is in place of works_council and notified: give either`}},
		{"grace", func(c *Config) { c.ReviewGrace = Period{Days: -1} }, []string{`review_grace: P-1D is not longer than nothing, in whole seconds, and at most 100 years`}},
		{"purpose and purposes", english(func(r *Rule) { r.Record.Purposes = []string{"orders"} }), []string{`rules[5].record.purposes: is in place of purpose: give either`}},
		{"no purposes", english(func(r *Rule) { r.Record = &Record{Purposes: []string{}} }), []string{`rules[5].record.purposes: is empty: name what is recorded for, or give record: none`}},
		{"unknown purposes", english(func(r *Rule) { r.Record = &Record{Purposes: []string{"orders", "order", "", "orders"}} }), []string{
			`rules[5].record.purposes[1]: there is no purpose "order"; there is orders, quality`,
			`rules[5].record.purposes[2]: missing`,
			`rules[5].record.purposes[3]: "orders" is there twice`,
		}},

		{"no list", func(c *Config) {
			c.Lists = map[string]List{"lawyers": {Numbers: []string{"298"}}}
			c.Rules[5].Match.To = []string{"lawyer", "lawyers"}
		}, []string{`rules[5].match.to[0]: pattern "lawyer": neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous; nor is it a list; there is lawyers`}},
		{"lists", func(c *Config) {
			c.Lists = map[string]List{
				"299": {Numbers: []string{"298"}}, "a b": {Numbers: []string{"298"}}, "anonymous": {Numbers: []string{"298"}},
				"empty": {}, "file": {File: "x", Read: []Entry{{3, "020*"}}}, "none": {File: "y", Read: []Entry{}}, "unread": {File: "z"}, "wrong": {Numbers: []string{"298", "x"}},
			}
		}, []string{
			`lists.299: the name of a list is not to be a number, nor anonymous`,
			`lists.a b: the name is to be made of letters, digits, - and _, 64 at most`,
			`lists.anonymous: the name of a list is not to be a number, nor anonymous`,
			`lists.empty: is empty: numbers, or the file that has them`,
			`lists.file.file: line 3: pattern "020*": the beginning of a number is written with its country code, such as +3120*`,
			`lists.none.file: has no numbers`,
			`lists.wrong[1]: pattern "x": neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous`,
		}},
		{"never", func(c *Config) { c.NeverRecord = []string{"298", "lawyers"} }, []string{`never_record[1]: pattern "lawyers": neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous`}},
		{"holidays", func(c *Config) { c.Holidays = []Date{{}} }, []string{`holidays[0]: missing: a day such as 2026-12-25`}},
		{"no holidays", window(Window{Zone: "UTC", Holidays: "except"}), []string{`rules[3].match.time.holidays: there are none: name the days in holidays, such as [2026-12-25]`}},
		{"unknown holidays", window(Window{Zone: "UTC", Holidays: "also"}), []string{`rules[3].match.time.holidays: "also" is neither except nor only`}},
		{"match country", english(func(r *Rule) { r.Match.Country = []string{"NL", "UK", "nl", "unknown"} }), []string{
			`rules[5].match.country[1]: "UK" is neither a country in two capitals (ISO 3166-1), such as NL, nor unknown`,
			`rules[5].match.country[2]: "nl" is neither a country in two capitals (ISO 3166-1), such as NL, nor unknown`,
		}},
		{"no country to match", english(func(r *Rule) { r.Match.Country = []string{} }), []string{`rules[5].match.country: is empty; leave it out for every country`}},
		{"headers", english(func(r *Rule) {
			r.Match.Header = map[string][]string{"X Y": {"a"}, "X-A": {"", "a*b", "*"}, "X-B": nil, "x-a": {"b"}}
		}), []string{
			`rules[5].match.header.X Y: is not the name of a header (RFC 3261 §25.1)`,
			`rules[5].match.header.X-A[0]: missing: a value such as gold, or the beginning of one such as gold*; * is any`,
			`rules[5].match.header.X-A[1]: "a*b": the * for what follows stands at the end only`,
			`rules[5].match.header.X-B: is empty: a value such as gold, or the beginning of one such as gold*; * is any`,
			`rules[5].match.header.x-a: is the same header as X-A`,
		}},
		{"ceiling", english(func(r *Rule) { r.Record.Ceiling = -1 }), []string{`rules[5].record.ceiling: -1 is below nothing; give record: none for no recording`}},
		{"sample", english(func(r *Rule) { r.Record.Sample = 101_00 }), []string{`rules[5].record.sample: 101% is not a share above 0% and at most 100%`}},

		{"country", func(c *Config) { c.Country = "nl" }, []string{`country: "nl" is not a country in two capitals (ISO 3166-1), such as NL`}},
		{"emergency", func(c *Config) { c.Emergency[1] = "police" }, []string{`emergency[1]: "police" is not a number`}},
		{"calls", func(c *Config) { c.Calls.Retention = Period{Years: 200} }, []string{`calls.retention: P200Y is not longer than nothing, in whole seconds, and at most 100 years`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := office()
			c.change(&cfg)
			var got []string
			for _, f := range cfg.Validate() {
				got = append(got, f.Error())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("got other faults than wanted (-want +got):\n%s", diff)
			}
			if _, err := Compile(cfg); (err == nil) != (len(c.want) == 0) || err != nil && err.Error() != strings.Join(c.want, "\n") {
				t.Errorf("got %v from Compile, want the same faults", err)
			}
		})
	}
}

// A faulty country does not keep the other faults from being seen.
func TestValidateAll(t *testing.T) {
	cfg := office()
	cfg.Country = "Netherlands"
	cfg.Rules[5].Match.To = []string{"x"}
	cfg.Rules[6].Name = ""
	if got := len(cfg.Validate()); got != 3 {
		t.Errorf("got %d faults, want 3: %v", got, cfg.Validate())
	}
}
