package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var officeTrunks = []Trunk{
	{Name: "carrier", Side: "external", Route: "pbx", EarlyMedia: true, Trusted: true},
	{Name: "pbx", Side: "internal", Route: "carrier", EarlyMedia: true, Trusted: true},
	{Name: "trading", Side: "internal", Route: "carrier", EarlyMedia: true, Trusted: true},
}

func messages(faults []Fault) (all []string) {
	for _, f := range faults {
		all = append(all, f.Error())
	}
	return all
}

// Every rule of the office has a call, which comes to it and to no other.
func TestProve(t *testing.T) {
	p := compile(t, office())
	proof := p.Prove(officeTrunks, called("2026-11-24").Time)
	if len(proof.Faults) > 0 || len(proof.Warnings) > 0 {
		t.Errorf("got %q and %q, want nothing", messages(proof.Faults), messages(proof.Warnings))
	}
	reached := map[string]bool{}
	for _, path := range proof.Paths {
		reached[path.Rule] = true
		if d := p.Decide(path.Facts); d.Rule != path.Rule || len(path.Outcomes) == 0 {
			t.Errorf("%s: got %s by rule %q and outcomes %v", path.Rule, Sample(path.Facts), d.Rule, path.Outcomes)
		}
	}
	for _, r := range office().Rules {
		if !reached[r.Name] {
			t.Errorf("%s: got no call", r.Name)
		}
	}
}

// A rule that no call comes to is told of, with the rules that take its calls.
func TestProveShadowed(t *testing.T) {
	rule := func(name string, m Match) Rule { return Rule{Name: name, Match: m} }
	yes, no := true, false
	for _, c := range []struct {
		name  string
		rules []Rule
		want  string
	}{
		{"by one", []Rule{rule("all", Match{}), rule("x", Match{From: []string{"+31*"}})}, `rules[1]: no call comes to it: each that matches is taken before by rule "all"`},
		{"by two", []Rule{rule("in", Match{Direction: Inbound}), rule("out", Match{Direction: Outbound}), rule("x", Match{})}, `rules[2]: no call comes to it: each that matches is taken before by rule "in", "out"`},
		{"by numbers that fill a longer one", []Rule{rule("a", Match{From: []string{"+3120*"}}), rule("b", Match{From: []string{"+3120123*"}})}, `rules[1]: no call comes to it: each that matches is taken before by rule "a"`},
		{"by half of it", []Rule{rule("a", Match{From: []string{"+3120123*"}}), rule("b", Match{From: []string{"+3120*"}})}, ""},
		{"by every digit but one", []Rule{rule("a", Match{To: []string{"20*", "21*", "22*", "23*", "24*", "25*", "26*", "27*", "28*"}}), rule("b", Match{To: []string{"2*"}})}, ""},
		{"by day and by night", []Rule{
			rule("day", Match{Time: &Window{From: "08:00", To: "20:00", Zone: "Europe/Amsterdam"}}),
			rule("night", Match{Time: &Window{From: "20:00", To: "08:00", Zone: "Europe/Amsterdam"}}), rule("x", Match{}),
		}, `rules[2]: no call comes to it: each that matches is taken before by rule "day", "night"`},
		{"by day and most of the night", []Rule{
			rule("day", Match{Time: &Window{From: "08:00", To: "20:00", Zone: "Europe/Amsterdam"}}),
			rule("night", Match{Time: &Window{From: "20:01", To: "08:00", Zone: "Europe/Amsterdam"}}), rule("x", Match{}),
		}, ""},
		{"by holidays", []Rule{
			rule("work", Match{Time: &Window{Zone: "UTC", Holidays: "except"}}), rule("x", Match{}),
		}, ""},
		{"by forwarded or not", []Rule{rule("a", Match{Forwarded: &yes}), rule("b", Match{Forwarded: &no}), rule("x", Match{})}, `rules[2]: no call comes to it: each that matches is taken before by rule "a", "b"`},
		{"by a header's beginning", []Rule{rule("a", Match{Header: map[string][]string{"X-A": {"gold*"}}}), rule("b", Match{Header: map[string][]string{"x-a": {"golden"}}})}, `rules[1]: no call comes to it: each that matches is taken before by rule "a"`},
		{"by another header", []Rule{rule("a", Match{Header: map[string][]string{"X-B": {"*"}}}), rule("b", Match{Header: map[string][]string{"x-a": {"golden"}}})}, ""},
		{"by country", []Rule{rule("a", Match{Country: []string{"NL"}}), rule("b", Match{Direction: Inbound, From: []string{"+31*"}})}, `rules[1]: no call comes to it: each that matches is taken before by rule "a"`},
		{"by another country of one code", []Rule{rule("a", Match{Country: []string{"US"}}), rule("b", Match{Country: []string{"CA"}})}, ""},
		{"of no trunk", []Rule{rule("x", Match{Trunk: []string{"other"}})}, `rules[0]: no call that these trunks can bring matches it, but for emergency calls and numbers that are never recorded`},
		{"an emergency number", []Rule{rule("x", Match{Direction: Outbound, To: []string{"112"}})}, `rules[0]: no call that these trunks can bring matches it, but for emergency calls and numbers that are never recorded`},
	} {
		cfg := office()
		cfg.Rules, cfg.Holidays = c.rules, []Date{{2026, 12, 25}}
		proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time)
		if got := strings.Join(messages(proof.Warnings), "\n"); got != c.want || len(proof.Faults) > 0 {
			t.Errorf("%s: got %q and faults %q, want %q", c.name, got, messages(proof.Faults), c.want)
		}
	}
}

// Numbers that are never recorded take some of a rule's calls, or all.
func TestProveNeverRecorded(t *testing.T) {
	for never, want := range map[string]string{
		"+31202*": "",
		"+3120*":  `rules[0]: no call that these trunks can bring matches it, but for emergency calls and numbers that are never recorded`,
		"+31*":    `rules[0]: no call that these trunks can bring matches it, but for emergency calls and numbers that are never recorded`,
	} {
		cfg := office()
		cfg.Rules, cfg.NeverRecord = []Rule{{Name: "x", Match: Match{From: []string{"+3120*"}}}}, []string{never}
		proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time)
		if got := strings.Join(messages(proof.Warnings), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", never, got, want)
		}
	}
}

// A far party who is recorded and not told is a fault, with a call that shows it.
func TestProveUnannounced(t *testing.T) {
	cfg := office()
	cfg.Rules[customers].Announce.To = Near
	proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time)
	if len(proof.Faults) == 0 {
		t.Fatal("got no fault of a rule that tells the near party alone")
	}
	for _, f := range proof.Faults {
		if f.Path != "rules[6].announce.to" || !strings.HasPrefix(f.Message, "records a far party who was not told: ") || !strings.Contains(f.Message, "bound, from ") {
			t.Errorf("got %v", f)
		}
	}
}

// A rule that would is a fault though no call that comes to it is found; one that records our
// party alone may tell that one alone.
func TestProveUnannouncedUnreached(t *testing.T) {
	cfg := front(Match{})
	cfg.Rules = append(cfg.Rules, cfg.Rules[0])
	cfg.Rules[1].Name, cfg.Rules[1].Exempt = "shadowed", ""
	cfg.Rules[1].Announce = &Announce{Prompt: "recorded", To: Near}
	proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time)
	if len(proof.Faults) != 1 || !strings.HasPrefix(proof.Faults[0].Error(), "rules[1].announce.to: would record a far party") {
		t.Errorf("got %q", messages(proof.Faults))
	}
	for _, rule := range cfg.Rules {
		rule.Forwarded, rule.Exempt, rule.Announce, rule.Record = "", "", &Announce{Prompt: "recorded", To: Near}, &Record{Purpose: rule.Record.Purpose, Parties: Near}
		cfg.Rules = []Rule{rule}
		if proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time); len(proof.Faults) > 0 {
			t.Errorf("got %q, want nothing where only our party is recorded", messages(proof.Faults))
		}
	}
}

// Between two carriers both parties are outside: both are told, or it is written why not.
func TestProveThrough(t *testing.T) {
	trunks := []Trunk{
		{Name: "one", Side: "external", Route: "two", EarlyMedia: true, Trusted: true},
		{Name: "two", Side: "external", Route: "one", EarlyMedia: true, Trusted: true},
	}
	const fault = "rules[0].announce.to: records two parties outside, not both of whom were told: inbound, from "
	for _, c := range []struct {
		to                Audience
		exempt, forwarded string
		want              string
	}{
		{"", "", "by agreement", fault}, {Far, "", "by agreement", fault}, {Near, "", "by agreement", fault},
		{Both, "", "by agreement", ""}, {"", "told in writing", "by agreement", ""},
		{"", "", "", ""}, // not recorded
	} {
		cfg := front(Match{})
		r := &cfg.Rules[0]
		r.Forwarded, r.Exempt, r.Announce = c.forwarded, c.exempt, nil
		if c.exempt == "" {
			r.Announce = &Announce{Prompt: "recorded", To: c.to}
		}
		proof := compile(t, cfg).Prove(trunks, called("2026-11-24").Time)
		if len(proof.Paths) != 2 || (len(proof.Faults) > 0) != (c.want != "") {
			t.Errorf("%+v: got %d paths and %q, want %q", c, len(proof.Paths), messages(proof.Faults), c.want)
		}
		for _, f := range proof.Faults {
			if !strings.HasPrefix(f.Error(), c.want) || !strings.Contains(f.Message, "(to: both)") {
				t.Errorf("%+v: got %v, want %s", c, f, c.want)
			}
		}
	}
}

// Where no early media is carried, the announcement waits; what the paths say is what may be.
func TestProveOutcomes(t *testing.T) {
	cfg := front(Match{})
	cfg.Rules[0].Exempt = ""
	cfg.Rules[0].Match.Direction = Inbound
	cfg.Rules[0].Announce = &Announce{Prompt: "recorded", When: Early, OptIn: "1", Transfers: true}
	late := Trunk{Name: "late", Side: "external", Route: "pbx"}
	proof := compile(t, cfg).Prove(append([]Trunk{late}, officeTrunks...), called("2026-11-24").Time)
	if len(proof.Paths) != 2 || len(proof.Faults) > 0 {
		t.Fatalf("got %d paths and %q, want one of each carrier", len(proof.Paths), messages(proof.Faults))
	}
	for i, want := range []string{
		"recorded for orders; far told of recorded in nl, answered|nobody presses 1: is refused, or ended|the far party is transferred: who comes is told, and recorded from then on|our party refers it to somebody outside: the recording ends: nobody of ours is left (forwarded)",
		"recorded for orders; far told of recorded in nl, early|the INVITE has no offer: told after the answer",
	} {
		var all []string
		for _, o := range proof.Paths[i].Outcomes {
			all = append(all, strings.TrimPrefix(o.Case+": "+o.Then, ": "))
		}
		for part := range strings.SplitSeq(want, "|") {
			if !strings.Contains(strings.Join(all, "\n"), part) {
				t.Errorf("%s: got %q, want %q among them", proof.Paths[i].Facts.FromTrunk, all, part)
			}
		}
	}
}

// A rule breaks the pack of a country if calls with that country can come to it, and not if
// another rule takes them first.
func TestProvePacks(t *testing.T) {
	cfg := careful("nl")
	cfg.Packs = &Packs{ByCountry: map[string]string{"NL": "nl", "DE": "de"}, Unknown: "nl"}
	cfg.Purposes["quality"] = Purpose{Text: map[string]string{"nl": "Training"}, Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}}
	cfg.Rules[0].Announce = &Announce{Prompt: "recorded"}
	proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time)
	if len(proof.Faults) != 2 || proof.Faults[0].Path != "rules[0].announce.to" || !strings.Contains(proof.Faults[0].Message, "pack de (StGB § 201(1)") || !strings.Contains(proof.Faults[0].Message, "+49") {
		t.Errorf("got %q, want what the German pack demands, with a German number", messages(proof.Faults))
	}
	cfg.Rules = append([]Rule{{Name: "Germany", Match: Match{Country: []string{"DE"}}}}, cfg.Rules...)
	if proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time); len(proof.Faults) > 0 {
		t.Errorf("got %q: no call with Germany comes to the rule", messages(proof.Faults))
	}
	cfg.Packs.Unknown = ""
	if proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time); len(proof.Faults) != 2 {
		t.Errorf("got %q, want the strictest for calls with other countries", messages(proof.Faults))
	}
}

// Where the pack of a country that comes into a buffer has a purpose otherwise, that is told: it
// is no fault, since from other calls it can be selected for.
func TestProveUnselectable(t *testing.T) {
	for _, c := range []struct {
		match Match
		keep  Period
		want  int
	}{
		{Match{}, Period{Years: 10}, 1},
		{Match{}, Period{Months: 6}, 0},
		{Match{Country: []string{"NL"}}, Period{Years: 10}, 0},
		{Match{Country: []string{"FR"}}, Period{Years: 10}, 1},
	} {
		cfg := buffered("nl", Purpose{Basis: Contract, Retention: Retention{Audio: c.keep}})
		cfg.Packs = &Packs{ByCountry: map[string]string{"NL": "nl", "FR": "fr"}, Unknown: "nl"}
		cfg.Rules = cfg.Rules[1:]
		cfg.Rules[0].Match = c.match
		proof := compile(t, cfg).Prove(officeTrunks, called("2026-11-24").Time)
		if len(proof.Faults) > 0 || len(proof.Warnings) != c.want {
			t.Errorf("%+v: got faults %q and warnings %q, want %d warnings", c, messages(proof.Faults), messages(proof.Warnings), c.want)
		}
		for _, w := range messages(proof.Warnings) {
			if !strings.HasPrefix(w, "purposes.quality.retention: P10Y is longer than P6M: pack fr") || !strings.Contains(w, "; nothing is selected for it from a call such as this: ") || !strings.Contains(w, "+33") {
				t.Errorf("%+v: got %s", c, w)
			}
		}
	}
}

// Whatever the rules, a call of which Decide says that it comes to a rule means that Prove finds
// one for it; and what Prove finds comes to the rule.
func TestProveFindsWhatThereIs(t *testing.T) {
	numbers := []string{"+31*", "+3120*", "+31201*", "+31201234567", "2*", "20*", "201", "anonymous", "+1*", "*", "+49*"}
	dialled := []string{"+31612345678", "+31201234567", "+31209999999", "201", "299", "3", "", "+4930123456", "+14165550123", "+12125550123"}
	zones := []string{"UTC", "Europe/Amsterdam", "America/New_York"}
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string, of []string) []string {
			list := rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, 3, rapid.ID[string]).Draw(t, name)
			if len(list) == 0 {
				return nil
			}
			return list
		}
		cfg := office()
		cfg.Holidays = []Date{{2026, 12, 25}}
		cfg.Rules = nil
		cfg.NeverRecord = some("never", []string{"+31612345678", "+3120*", "20*", "299", "+1416*"})
		for i := range rapid.IntRange(1, 6).Draw(t, "rules") {
			m := Match{From: some("from", numbers), To: some("to", numbers), Country: some("country", []string{"NL", "CA", "DE", "unknown"})}
			m.Direction = rapid.SampledFrom([]Direction{"", "", Inbound, Outbound}).Draw(t, "direction")
			m.Trunk = some("trunk", []string{"carrier", "pbx", "trading"})
			if rapid.Bool().Draw(t, "window") {
				hours := []string{"", "00:00", "08:00", "18:00", "24:00"}
				w := Window{Days: some("days", weekdays[:]), From: rapid.SampledFrom(hours[:4]).Draw(t, "from"), To: rapid.SampledFrom(hours).Draw(t, "to"), Zone: rapid.SampledFrom(zones).Draw(t, "zone")}
				w.Holidays = rapid.SampledFrom([]string{"", "", "except", "only"}).Draw(t, "holidays")
				m.Time = &w
			}
			if rapid.Bool().Draw(t, "header") {
				m.Header = map[string][]string{"X-A": some("values", []string{"gold", "gold*", "*", "golden"})}
				if m.Header["X-A"] == nil {
					m.Header = nil
				}
			}
			if rapid.Bool().Draw(t, "asks forwarded") {
				forwarded := rapid.Bool().Draw(t, "forwarded")
				m.Forwarded = &forwarded
			}
			cfg.Rules = append(cfg.Rules, Rule{Name: fmt.Sprint(i), Match: m})
		}
		p, err := Compile(cfg)
		if err != nil {
			return // a window without time
		}
		reached := map[string]bool{}
		proof := p.Prove(officeTrunks, called("2026-11-24").Time)
		for _, path := range proof.Paths {
			reached[path.Rule] = true
			if d := p.Decide(path.Facts); d.Rule != path.Rule {
				t.Errorf("got %s for rule %s, which comes to %q", Sample(path.Facts), path.Rule, d.Rule)
			}
		}
		if len(proof.Faults) > 0 {
			t.Errorf("got %q", messages(proof.Faults))
		}
		for range 50 {
			trunk := rapid.SampledFrom(officeTrunks).Draw(t, "trunk")
			f := Facts{
				Direction: Outbound, FromTrunk: trunk.Name, ToTrunk: trunk.Route, FromSide: trunk.Side, ToSide: "external",
				Caller: rapid.SampledFrom(dialled).Draw(t, "caller"), Callee: rapid.SampledFrom(dialled).Draw(t, "callee"),
				Time:      called("2026-11-24").Time.Add(time.Duration(rapid.IntRange(0, 7*minutesADay).Draw(t, "minute")) * time.Minute),
				Forwarded: rapid.Bool().Draw(t, "is forwarded"),
			}
			if trunk.Side == "external" {
				f.Direction, f.ToSide = Inbound, "internal"
			}
			if f.Callee == "" {
				continue
			}
			if value := rapid.SampledFrom([]string{"", "gold", "golden", "golf"}).Draw(t, "value"); value != "" {
				f.Headers = map[string][]string{"x-a": {value}}
			}
			if d := p.Decide(f); d.Rule != "" && !reached[d.Rule] {
				t.Errorf("%s comes to rule %s, for which there was no call: %q", Sample(f), d.Rule, messages(proof.Warnings))
			}
		}
	})
}

func BenchmarkProve(b *testing.B) {
	for _, rules := range []int{7, 200} {
		b.Run(fmt.Sprint(rules), func(b *testing.B) {
			cfg := office()
			last := cfg.Rules[customers]
			for i := range rules - len(cfg.Rules) {
				m := Match{To: []string{fmt.Sprintf("+3120123%04d", i)}, From: []string{fmt.Sprintf("+316%d*", i%100)}}
				if i%3 == 0 {
					m.Time = &Window{From: "08:00", To: fmt.Sprintf("%02d:%02d", 12+i%12, i%60), Zone: "Europe/Amsterdam"}
				}
				cfg.Rules = append(cfg.Rules[:len(cfg.Rules)-1], Rule{Name: fmt.Sprint(i), Match: m}, last)
			}
			p, err := Compile(cfg)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if proof := p.Prove(officeTrunks, time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)); len(proof.Faults) > 0 {
					b.Fatal(proof.Faults)
				}
			}
		})
	}
	b.Run("a list of 10000", func(b *testing.B) {
		cfg := office()
		var numbers []string
		for i := range 10_000 {
			numbers = append(numbers, fmt.Sprintf("+3120%07d", 2000000+i*7))
		}
		cfg.Lists = map[string]List{"many": {Numbers: numbers}}
		cfg.Rules[0].Match.To = []string{"many"}
		p, err := Compile(cfg)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			p.Prove(officeTrunks, time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
		}
	})
}
