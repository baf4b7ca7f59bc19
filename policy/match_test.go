package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// front is a configuration of one rule that records what matches.
func front(m Match) Config {
	cfg := office()
	cfg.Rules = []Rule{{Name: "front", Match: m, Record: &Record{Purpose: "orders"}, Exempt: "told in writing", Forwarded: "by agreement"}}
	cfg.Lists = map[string]List{
		"lawyers": {Numbers: []string{"+31201234590", "+3120765*"}},
		"doctors": {File: "doctors.txt", Read: ReadList([]byte("# all of them\n+31201234592\n\n+3120777* # the clinic\n"))},
	}
	cfg.Holidays = []Date{{2026, 12, 25}}
	return cfg
}

// Each condition takes the calls that it names and no other, and says why.
func TestMatch(t *testing.T) {
	yes, no := true, false
	in := func(caller string) Facts {
		return Facts{Direction: Inbound, FromTrunk: "carrier", ToTrunk: "pbx", FromSide: "external", ToSide: "internal", Caller: caller, Callee: "+31205550100", Time: called("2026-11-24").Time}
	}
	out := func(callee string) Facts {
		return Facts{Direction: Outbound, FromTrunk: "pbx", ToTrunk: "carrier", FromSide: "internal", ToSide: "external", Caller: "201", Callee: callee, Time: called("2026-11-24").Time}
	}
	with := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	headers := func(values ...string) Facts {
		return with(in("+31612345678"), func(f *Facts) { f.Headers = map[string][]string{"x-customer": values} })
	}
	xmas := &Window{From: "22:00", To: "06:00", Zone: "Europe/Amsterdam", Holidays: "only"}
	others := &Window{Zone: "Europe/Amsterdam", Holidays: "except"}
	at := func(text string) Facts {
		return with(in("+31612345678"), func(f *Facts) {
			var err error
			if f.Time, err = time.Parse(time.RFC3339, text); err != nil {
				t.Fatal(err)
			}
		})
	}
	gold := Match{Header: map[string][]string{"X-Customer": {"gold*", "board"}}}
	for _, c := range []struct {
		name  string
		match Match
		facts Facts
		want  string
	}{
		{"a list's number", Match{From: []string{"lawyers"}}, in("+31201234590"), "matches"},
		{"a list's prefix", Match{From: []string{"lawyers"}}, in("020 765 0000"), "matches"},
		{"none of a list", Match{From: []string{"lawyers"}}, in("+31201234591"), "caller +31201234591 is not among from"},
		{"a list and a number", Match{From: []string{"lawyers", "+31201234591"}}, in("+31201234591"), "matches"},
		{"a list's file", Match{To: []string{"doctors"}}, out("+31201234592"), "matches"},
		{"a list's file, by the beginning", Match{To: []string{"doctors"}}, out("+31207770000"), "matches"},

		{"country of the caller", Match{Country: []string{"DE", "AT"}}, in("+4930123456"), "matches"},
		{"country of the callee", Match{Country: []string{"DE", "AT"}}, out("+43112345"), "matches"},
		{"country of our own", Match{Country: []string{"NL"}}, out("0612345678"), "matches"},
		{"one code, two countries", Match{Country: []string{"CA"}}, in("+14165550123"), "matches"},
		{"the other of them", Match{Country: []string{"CA"}}, in("+12125550123"), "the far party's country is US, not CA"},
		{"no country", Match{Country: []string{"unknown"}}, in(""), "matches"},
		{"of no country", Match{Country: []string{"unknown"}}, in("+80012345678"), "matches"},
		{"unknown is no other", Match{Country: []string{"NL"}}, in("anonymous"), "the far party's country is unknown, not NL"},
		{"known otherwise", Match{Country: []string{"DE"}}, with(in(""), func(f *Facts) { f.Country = "DE" }), "matches"},

		{"header", gold, headers("board"), "matches"},
		{"header, any case", gold, headers("GOLD-7"), "matches"},
		{"header, a second value", gold, headers("silver", "gold"), "matches"},
		{"header, another value", gold, headers("silver"), `header x-customer is "silver", which does not fit`},
		{"header, more than the value", gold, headers("boards"), `header x-customer is "boards", which does not fit`},
		{"no header", gold, in("+31612345678"), "header x-customer is not there"},
		{"any header", Match{Header: map[string][]string{"X-Customer": {"*"}}}, headers(""), "matches"},

		{"forwarded", Match{Forwarded: &yes}, with(in("+31612345678"), func(f *Facts) { f.Forwarded = true }), "matches"},
		{"from carrier to carrier", Match{Forwarded: &yes}, with(in("+31612345678"), func(f *Facts) { f.ToSide = "external" }), "matches"},
		{"not forwarded", Match{Forwarded: &yes}, in("+31612345678"), "the call is not forwarded"},
		{"forwarded, which is not asked for", Match{Forwarded: &no}, with(in("+31612345678"), func(f *Facts) { f.Forwarded = true }), "the call is forwarded"},

		{"a holiday", Match{Time: others}, at("2026-12-25T10:00:00+01:00"), "2026-12-25 10:00 CET is a holiday"},
		{"no holiday", Match{Time: others}, at("2026-12-24T10:00:00+01:00"), "matches"},
		{"a holiday's night", Match{Time: xmas}, at("2026-12-26T05:00:00+01:00"), "matches"},
		{"the night before", Match{Time: xmas}, at("2026-12-25T05:00:00+01:00"), "Fri 05:00 CET is outside the window"},
	} {
		p := compile(t, front(c.match))
		steps, d := p.Explain(c.facts)
		if len(steps) != 1 || steps[0].Why != c.want || d.Record != (c.want == "matches") {
			t.Errorf("%s: got %v and record %v (%s), want %q", c.name, steps, d.Record, d.Reason, c.want)
		}
	}
	if got := compile(t, front(gold)).Headers(); !cmp.Equal(got, []string{"x-customer"}) {
		t.Errorf("got headers %v, want x-customer", got)
	}
}

// What a list's file has is part of the policy's version, where it stands and what is said of
// it is not.
func TestListVersion(t *testing.T) {
	version := func(list List) string {
		cfg := office()
		cfg.Lists = map[string]List{"lawyers": list}
		return compile(t, cfg).Version()
	}
	want := version(List{Numbers: []string{"299", "298"}})
	if got := version(List{Numbers: []string{"299"}, File: "a.txt", Read: []Entry{{7, "298"}}}); got != want {
		t.Errorf("from a file: got version %s, want %s", got, want)
	}
	if got := version(List{Numbers: []string{"299"}, File: "a.txt", Read: []Entry{{7, "297"}}}); got == want {
		t.Error("another number in the file: got the same version")
	}
}

// Numbers that are never recorded beat every rule, whichever party has them; helplines of the
// country are among them, but no extension of ours that has the digits of one.
func TestNeverRecorded(t *testing.T) {
	cfg := front(Match{})
	cfg.NeverRecord = []string{"lawyers", "298"}
	p := compile(t, cfg)
	for _, c := range []struct {
		direction      Direction
		caller, callee string
		want           string
	}{
		{Outbound, "201", "+31116111", IsSpecial},
		{Outbound, "201", "0116111", IsSpecial},
		{Outbound, "201", "0031116123", IsSpecial},
		{Outbound, "201", "+31116123", IsSpecial},
		{Outbound, "201", "+31113123456", ""},
		{Inbound, "+31612345678", "+31205550100", ""},
		{Inbound, "+31207650000", "+31205550100", IsSpecial},
		{Outbound, "201", "020-7650000", IsSpecial},
		{Inbound, "+31612345678", "298", IsSpecial},
		{Outbound, "298", "+31612345678", IsSpecial},
		{Outbound, "201", "0800-0432", IsSpecial},
		{Outbound, "201", "0800-0113", IsSpecial},
		{Outbound, "201", "+318000113", IsSpecial},
		{Outbound, "201", "116123", IsSpecial},
		{Inbound, "+31612345678", "116123", ""},
		{Outbound, "201", "112", IsEmergency},
	} {
		steps, d := p.Explain(Facts{Direction: c.direction, Caller: c.caller, Callee: c.callee, Time: called("2026-11-24").Time})
		if d.Reason != c.want || d.Record != (c.want == "") || c.want != "" && steps != nil {
			t.Errorf("%s from %s to %s: got %q after %v, want %q before any rule", c.direction, c.caller, c.callee, d.Reason, steps, c.want)
		}
	}
}

// From one carrier to another both parties are outside. What a trusted trunk says of who calls
// counts as well as what he says.
func TestNeverRecordedOutside(t *testing.T) {
	cfg := front(Match{})
	cfg.Rules[0].Forwarded = "by agreement"
	cfg.NeverRecord = []string{"lawyers"}
	p := compile(t, cfg)
	for _, c := range []struct {
		change func(*Facts)
		want   string
	}{
		{func(f *Facts) {}, ""},
		{func(f *Facts) { f.ToSide, f.Callee = "external", "116123" }, IsSpecial},
		{func(f *Facts) { f.Callee = "116123" }, ""}, // an extension
		{func(f *Facts) { f.Caller, f.Asserted = "", []string{"0207650000"} }, IsSpecial},
		{func(f *Facts) { f.Caller, f.Asserted = "", []string{"+31612345600"} }, ""},
	} {
		f := Facts{Direction: Inbound, FromSide: "external", ToSide: "internal", Caller: "+31612345678", Callee: "+31205550100", Time: called("2026-11-24").Time}
		c.change(&f)
		if d := p.Decide(f); d.Reason != c.want {
			t.Errorf("%+v: got %q, want %q", f, d.Reason, c.want)
		}
	}
}

// Every helpline is read as the one number that it is dialled by, or as it is dialled.
func TestHelplines(t *testing.T) {
	for country, lines := range helplines {
		n := newNumbering(country, nil)
		for _, line := range lines {
			p := Policy{numbers: n, help: helplinesOf(n)}
			v := p.view(Facts{Direction: Outbound, Callee: line.number})
			if !p.special(&v) || line.source == "" {
				t.Errorf("%s: %s (%s) is not taken for a helpline, or has no source", country, line.number, line.source)
			}
		}
	}
}

// A sample takes of many calls its share, of one call always the same.
func TestSample(t *testing.T) {
	for _, share := range []Share{50, 10_00, 50_00, 99_99} {
		cfg := front(Match{})
		cfg.Rules[0].Record.Sample = share
		p := compile(t, cfg)
		const calls = 2000
		recorded := 0
		for i := range calls {
			f := called("2026-11-24")
			f.ID = fmt.Sprintf("01J%08d", i)
			d := p.Decide(f)
			if d.Record {
				recorded++
			} else if d.Reason != SampledOut || d.OnFailure != "" || d.Rule != "front" {
				t.Fatalf("got %+v, want it sampled out", d)
			}
			if i%100 == 0 && p.Decide(f).Record != d.Record {
				t.Fatalf("%s: got another decision of the same call", f.ID)
			}
		}
		if want := calls * int(share) / int(everyCall); recorded < want-calls/25 || recorded > want+calls/25 {
			t.Errorf("%v of %d: got %d, want about %d", share, calls, recorded, want)
		}
		if d := p.Decide(called("2026-11-24")); d.Record {
			t.Errorf("%v of a call without an id: got it recorded", share)
		}
	}
}

func TestShare(t *testing.T) {
	for text, want := range map[string]Share{"10%": 10_00, "0.5%": 50, "33.33%": 33_33, "100%": 100_00, "0.01%": 1, "5 %": 5_00} {
		if got, err := ParseShare(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "%", "10", "0%", "0.00%", "100.01%", "-1%", "1.%", "1.234%", ".5%", "1e1%", "1000%"} {
		if got, err := ParseShare(text); err == nil {
			t.Errorf("%q: got %v, want a fault", text, got)
		}
	}
}

// A ceiling is reached by so many recordings, and by not knowing how many there are.
func TestCeiling(t *testing.T) {
	cfg := front(Match{})
	if compile(t, cfg).Counts() {
		t.Error("got recordings counted for no ceiling")
	}
	cfg.Rules[0].Record.Ceiling = 20
	p := compile(t, cfg)
	if !p.Counts() {
		t.Error("got recordings not counted")
	}
	for n, want := range map[int]string{-1: IsCeiling, 0: "", 19: "", 20: IsCeiling, 21: IsCeiling} {
		f := called("2026-11-24")
		f.RecordedThisMonth = n
		if d := p.Decide(f); d.Reason != want {
			t.Errorf("after %d: got %q, want %q", n, d.Reason, want)
		}
	}
}

// A list's file is its numbers, each with its line, whatever else is in it.
func FuzzReadList(f *testing.F) {
	for _, seed := range []string{"", "+31201234567\n298 # works council\n", "\ufeff+31*\r\n\r\n#\n", "#", "a b\x00"} {
		f.Add(seed)
	}
	n := newNumbering("NL", nil)
	f.Fuzz(func(t *testing.T, text string) {
		entries := ReadList([]byte(text))
		if entries == nil {
			t.Error("got nil: it was read")
		}
		lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
		for _, e := range entries {
			if e.Line < 1 || e.Line > len(lines) || e.Text == "" || !strings.Contains(lines[e.Line-1], e.Text) {
				t.Errorf("got %+v of %q", e, lines)
			}
		}
		var all []Fault
		List{File: "x", Read: entries}.validate(faults{"lists.x", &all}, n)
		if len(entries) > 0 && len(all) > len(entries) {
			t.Errorf("got %d faults of %d numbers", len(all), len(entries))
		}
	})
}

// Numbers are among patterns where one of these is the number or begins it, however the
// patterns are kept.
func FuzzNumbers(f *testing.F) {
	f.Add("+31*,299,anonymous", "+31612345678")
	f.Add("*", "")
	f.Add("2*,29*,299", "29")
	f.Fuzz(func(t *testing.T, texts, number string) {
		var patterns []pattern
		for text := range strings.SplitSeq(texts, ",") {
			start, prefix := strings.CutSuffix(text, "*")
			patterns = append(patterns, pattern{start, prefix})
		}
		want := slices.ContainsFunc(patterns, func(p pattern) bool {
			return number == p.text || p.prefix && strings.HasPrefix(number, p.text)
		})
		if got := newNumbers(patterns).has(number); got != want {
			t.Errorf("%q among %q: got %v, want %v", number, texts, got, want)
		}
	})
}
