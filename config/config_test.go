package config

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
)

var update = flag.Bool("update", false, "rewrite what testdata expects")

// base is a valid section of every name that a file must have.
var base = []struct{ key, text string }{
	{"organisation", "organisation: {name: Voorbeeld BV, contact: privacy@voorbeeld.example}\n"},
	{"trunks", "trunks:\n  pbx: {side: internal, peers: [sip:10.0.0.5]}\n  carrier: {side: external, peers: [sip:10.0.0.1]}\n"},
	{"purposes", "purposes:\n  quality: {text: {nl: Kwaliteit}, basis: contract, retention: P14D}\n"},
	{"announcements", "announcements:\n  recorded: {text: {nl: Opgenomen}, files: {nl: embedded:nl}}\n"},
}

// complete appends the sections of base that a text has not; its lines stay where they are.
func complete(text string) string {
	for _, section := range base {
		if !strings.Contains("\n"+text, "\n"+section.key+":") {
			text += section.text
		}
	}
	return text
}

// Every fault is reported at once, by line, with column and key. What a case leaves
// out of a file is valid.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			cases, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i+1 < len(cases.Files); i += 2 {
				text, report := cases.Files[i], &cases.Files[i+1]
				got := "good\n"
				if _, err := Parse("bewaard.yaml", []byte(complete(string(text.Data)))); err != nil {
					got = err.Error() + "\n"
				}
				if !strings.Contains(path, "syntax") {
					crlf := strings.ReplaceAll(complete(string(text.Data)), "\n", "\r\n")
					if _, err := Parse("bewaard.yaml", []byte(crlf)); err != nil && err.Error()+"\n" != got {
						t.Errorf("%s: got another report with CRLF:\n%v\nwant\n%s", text.Name, err, got)
					}
				}
				if *update {
					report.Data = []byte(got)
				} else if diff := cmp.Diff(string(report.Data), got); diff != "" {
					t.Errorf("%s: got another report than wanted (-want +got):\n%s", text.Name, diff)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(cases), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// The example is valid, and has every key that there is.
func TestExample(t *testing.T) {
	c, err := Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Compile(c.Policy); err != nil {
		t.Errorf("compile: %v", err)
	}
	keys := map[key]bool{}
	documented(t, c.at, reflect.TypeFor[Config](), "", []string{""}, keys)
	for k, explained := range keys {
		if !explained {
			t.Errorf("%v: got no %s in the example, want the key explained", k.of, k.name)
		}
	}
}

// key is one of a section's type; what is in two places of the file needs its keys explained
// in one.
type key struct {
	of   reflect.Type
	name string
}

// documented notes which keys of a type are at one of the paths.
func documented(t *testing.T, at positions, typ reflect.Type, name string, paths []string, keys map[key]bool) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ.Kind() {
	case reflect.Map, reflect.Slice:
		var items []string
		for path := range at {
			for _, above := range paths {
				if rest, ok := strings.CutPrefix(path, above); ok && rest != "" && strings.LastIndexAny(rest, ".[") == 0 {
					items = append(items, path)
				}
			}
		}
		if len(items) == 0 {
			t.Errorf("%s: got nothing in the example, want an item", name)
		}
		documented(t, at, typ.Elem(), name, items, keys)
	case reflect.Struct:
		for i := range typ.NumField() {
			field := typ.Field(i)
			tag, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if options == "inline" {
				documented(t, at, field.Type, name, paths, keys)
			}
			if tag == "" || tag == "-" {
				continue
			}
			below := strings.TrimPrefix(name+"."+tag, ".")
			var found []string
			for _, path := range paths {
				path = strings.TrimPrefix(path+"."+tag, ".")
				if _, ok := at[path]; ok {
					found = append(found, path)
				}
			}
			k := key{typ, below[strings.LastIndex(below, ".")+1:]}
			keys[k] = keys[k] || len(found) > 0
			if len(found) > 0 {
				documented(t, at, field.Type, below, found, keys)
			}
		}
	}
}

// What the file says arrives in the sections.
func TestParse(t *testing.T) {
	c, err := Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.SIP.Advertise, netip.MustParseAddr("192.0.2.10"); got != want {
		t.Errorf("got sip.advertise %v, want %v", got, want)
	}
	if got := c.SIP.TryTimeout; got != 8*time.Second {
		t.Errorf("got sip.try_timeout %v, want 8s", got)
	}
	carrier := c.Trunks["carrier"]
	if want := []trunk.PeerURI{{Host: "trunk.carrier.example", Transport: "tcp"}, {Host: "198.51.100.7"}, {Host: "198.51.100.8", Priority: 3, Weight: 10}}; !cmp.Equal(carrier.Peers, want) {
		t.Errorf("got peers %v, want %v", carrier.Peers, want)
	}
	if carrier.EarlyMedia == nil || !*carrier.EarlyMedia || c.Trunks["pbx"].EarlyMedia != nil {
		t.Errorf("got early_media %v and %v, want true and nothing", carrier.EarlyMedia, c.Trunks["pbx"].EarlyMedia)
	}
	if want := (media.Ports{First: 20000, Last: 29999}); c.Media.Ports != want {
		t.Errorf("got media.ports %v, want %v", c.Media.Ports, want)
	}
	if got, want := c.Policy.Purposes["interviews"].Retention.Audio, (policy.Period{Years: 1, Months: 6}); got != want {
		t.Errorf("got retention %v, want %v", got, want)
	}
	if got, want := c.Policy.Purposes["quality"].Balancing.On, (policy.Date{Year: 2026, Month: 11, Day: 1}); got != want {
		t.Errorf("got balancing.on %v, want %v", got, want)
	}
	if got := c.Policy.Rules[0].Record; got == nil || !got.None {
		t.Errorf("got record %+v, want none", got)
	}
	if got := c.Policy.Rules[2].Announce.OptOut; got != "9" {
		t.Errorf("got opt_out %q, want 9", got)
	}
	if got := c.Store.Sweep.MaxShare; got != 0.5 {
		t.Errorf("got max_share %v, want 0.5", got)
	}
}

// The smallest file that the design promises to work works.
func TestSmallest(t *testing.T) {
	const text = `organisation: {name: Voorbeeld BV, contact: privacy@voorbeeld.example}
sip:
  listen: [udp://0.0.0.0:5060, tcp://0.0.0.0:5060]
trunks:
  pbx:     {side: internal, peers: [sip:10.0.0.5:5060]}
  carrier: {side: external, peers: [sip:trunk.carrier.example], early_media: true}
purposes:
  quality:
    text: {nl: "Training en kwaliteit", en: "Training and quality"}
    basis: legitimate_interest
    balancing: {by: "privacy officer", on: 2026-11-01, review: 2027-11-01, outcome: "Training outweighs; opt-out offered"}
    retention: P14D
announcements:
  recorded: {text: {nl: "…", en: "…"}, files: {nl: prompts/nl.wav, en: prompts/en.wav}}
rules:
  - {name: customers, match: {direction: inbound}, record: {purpose: quality}, announce: {prompt: recorded, when: early, opt_out: "9"}}
store: {directory: /var/lib/bewaard}
http:  {listen: 127.0.0.1:8080}
`
	if _, err := Parse("bewaard.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
	if _, err := Parse("bewaard.yaml", []byte("\ufeff"+strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		t.Errorf("with a byte order mark and CRLF: %v", err)
	}
}

// The same file in another place is the same policy; its prompts are looked for there.
func TestPlace(t *testing.T) {
	text := []byte(complete(""))
	here, err := Parse("/etc/bewaard/bewaard.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	there, err := Parse("bewaard.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(here.Policy, there.Policy) {
		t.Errorf("got another policy: %s", cmp.Diff(here.Policy, there.Policy))
	}
	for _, c := range []struct {
		config              *Config
		name, path, builtIn string
	}{
		{here, "prompts/nl.wav", "/etc/bewaard/prompts/nl.wav", ""},
		{there, "prompts/nl.wav", "prompts/nl.wav", ""},
		{there, "/srv/nl.wav", "/srv/nl.wav", ""},
		{here, "embedded:nl", "", "nl"},
	} {
		if path, builtIn := c.config.PromptFile(c.name); path != c.path || builtIn != c.builtIn {
			t.Errorf("%s: got %q, %q, want %q, %q", c.name, path, builtIn, c.path, c.builtIn)
		}
	}
}

// What is found wrong later is told by line and column too.
func TestLaterFault(t *testing.T) {
	c, err := Parse("bewaard.yaml", []byte(complete("announcements:\n  recorded:\n    text: {nl: x}\n    files:\n      nl: nl.wav\n")))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Fault("announcements.recorded.files.nl", "nl.wav is silent").Error()
	if want := "bewaard.yaml:5:7: announcements.recorded.files.nl: nl.wav is silent"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A file that cannot be read is no Faults.
func TestLoadNothing(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "bewaard.yaml"))
	if _, ok := errors.AsType[Faults](err); ok || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that it does not exist", err)
	}
}

// What is no mapping is no configuration, and nothing is said of what it lacks.
func TestNoMapping(t *testing.T) {
	for text, want := range map[string]string{
		"- country: NL": `bewaard.yaml:1:1: got a list, want a mapping of keys to values`,
		"bewaard":       `bewaard.yaml:1:1: got "bewaard", want a mapping of keys to values`,
		"&a {}":         `bewaard.yaml:1:1: anchors, aliases, tags and directives are not understood here`,
	} {
		if _, err := Parse("bewaard.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// A file without end is not read to its end.
func TestTooLong(t *testing.T) {
	_, err := Parse("bewaard.yaml", bytes.Repeat([]byte{'#'}, maxBytes+1))
	if err == nil || err.Error() != "bewaard.yaml:1:1: the file is longer than 1 MiB" {
		t.Errorf("got %v, want that it is too long", err)
	}
}

// The zero section logs as documented: info and above, as text.
func TestLogger(t *testing.T) {
	var plain bytes.Buffer
	Log{}.Logger(&plain).Debug("x")
	Log{}.Logger(&plain).Info("call over")
	if got := plain.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="call over"`) {
		t.Errorf("got %s, want one line of text", got)
	}
	var out bytes.Buffer
	log := Log{Level: "warn", Format: "json"}.Logger(&out)
	log.Info("call over")
	log.Warn("disk full")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, `{"time":`) || !strings.Contains(got, `"msg":"disk full"`) {
		t.Errorf("got %s, want the warning alone, as JSON", got)
	}
}

// Whatever the file says, it is read or refused with faults that have their place, one
// a line, in order.
func FuzzParse(f *testing.F) {
	for _, section := range base {
		f.Add([]byte(section.text))
	}
	f.Add([]byte(complete("")))
	for _, text := range []string{"", "a: &x 1\nb: *x", "? a\n: b", "- 1", "a: [1", "%YAML 1.2\n---\na: 1\n---\n", "a: |\n b\n", "<<: {}", "\"\\x", "a: !!binary x"} {
		f.Add([]byte(text))
	}
	if example, err := os.ReadFile("example.yaml"); err != nil {
		f.Fatal(err)
	} else {
		f.Add(example)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("bewaard.yaml", text)
		if err == nil {
			rules, err := policy.Compile(c.Policy)
			if err != nil {
				t.Errorf("got a good file, and from its policy %v", err)
				return
			}
			if _, err := c.Prove(rules, time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)); err != nil && strings.Contains(err.Error(), "cannot be proved") {
				t.Error(err)
			}
			return
		}
		faults, ok := errors.AsType[Faults](err)
		if !ok || len(faults) == 0 || strings.Count(err.Error(), "\n") != len(faults)-1 {
			t.Fatalf("got %T %v, want faults, one a line", err, err)
		}
		lines := bytes.Count(text, []byte{'\n'}) + bytes.Count(text, []byte{'\r'}) + 1
		for i, fault := range faults {
			if fault.Line < 1 || fault.Line > lines || fault.Column < 1 || fault.Message == "" || i > 0 && fault.Line < faults[i-1].Line {
				t.Errorf("got fault %v of a file of %d lines", fault, lines)
			}
		}
	})
}

// What was found in several rounds is one list in the order of the lines, without what
// follows from what is known.
func TestJoin(t *testing.T) {
	at := func(line int, path string) Fault { return Fault{"f", line, 1, path, "wrong"} }
	other := errors.New("other")
	err := Join(Faults{at(9, "sip.tls"), at(2, "rules[0]")}, nil, other, Faults{at(10, "sip.tls.key"), at(3, "rules[1]"), at(2, "rules[0]")})
	if want := "f:2:1: rules[0]: wrong\nf:3:1: rules[1]: wrong\nf:9:1: sip.tls: wrong\nother"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !errors.Is(err, other) {
		t.Error("got no error that is the other one")
	}
	if err := Join(nil, nil); err != nil {
		t.Errorf("got %v of nothing, want nil", err)
	}
}

// A list is its numbers, alone or beside those of a file; a pack alone is for always.
func TestShorthands(t *testing.T) {
	c, err := Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Policy.Lists["lawyers"].Numbers, []string{"+31201234590", "+3120765*"}; !cmp.Equal(got, want) {
		t.Errorf("got lawyers %q, want %q", got, want)
	}
	doctors := c.Policy.Lists["doctors"]
	if want := []policy.Entry{{Line: 2, Text: "+31201234592"}, {Line: 3, Text: "+31201234593"}}; !cmp.Equal(doctors.Read, want) || doctors.File != filepath.Join("lists", "doctors.txt") {
		t.Errorf("got doctors %v from %s, want %v", doctors.Read, doctors.File, want)
	}
	for text, want := range map[string]*policy.Packs{
		"packs: nl\n":        {Always: []string{"nl"}},
		"packs: [nl, pci]\n": {Always: []string{"nl", "pci"}},
		"packs: {always: nl, by_country: {DE: de}}\n": {Always: []string{"nl"}, ByCountry: map[string]string{"DE": "de"}},
	} {
		c, err := Parse("bewaard.yaml", []byte(complete(text)))
		if err != nil || !cmp.Equal(c.Policy.Packs, want) {
			t.Errorf("%s: got %+v, %v, want %+v", text, c.Policy.Packs, err, want)
		}
	}
	for text, want := range map[string]string{
		"packs: {always: nl, by_contry: {}}\n": "bewaard.yaml:1:21: packs.by_contry: unknown key; did you mean by_country?",
		"lists: {a: {}}\n":                     "bewaard.yaml:1:9: lists.a: is empty: numbers, or the file that has them",
		"lists: {a: []}\n":                     "bewaard.yaml:1:9: lists.a: is empty: numbers, or the file that has them",
		"lists: {a: [b]}\n":                    `bewaard.yaml:1:13: lists.a[0]: pattern "b": neither a number such as +31201234567, the beginning of one such as +31*, nor anonymous`,
		"never_record: {}\n":                   "bewaard.yaml:1:1: never_record: got a mapping, want a list",
		"review_grace: 90\n":                   `bewaard.yaml:1:1: review_grace: period "90": not an ISO 8601 period such as P14D, P6M or P1Y6M`,
	} {
		if _, err := Parse("bewaard.yaml", []byte(complete(text))); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// What is read at the start only is told by its section; the policy is not.
func TestFixed(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse("bewaard.yaml", []byte(complete(text)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := parse("")
	after := parse("rules: [{name: all, record: none}]\nlog: {level: debug}\nmedia: {ports: 30000-39999}\ntrunks:\n  pbx: {side: internal, peers: [sip:10.0.0.6]}\n  carrier: {side: external, peers: [sip:10.0.0.1]}\n")
	if got, want := before.Fixed(after), []string{"trunks", "media", "log"}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := before.Fixed(parse("rules: [{name: all, record: none}]\n")); len(got) > 0 {
		t.Errorf("got %q, want nothing: the policy alone changed", got)
	}
	both := before.With(after)
	if got := both.Fixed(before); len(got) > 0 || len(both.Policy.Rules) != 1 {
		t.Errorf("got %q and %d rules, want the old sections and the new policy", got, len(both.Policy.Rules))
	}
}
