package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/goccy/go-yaml/parser"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/sip/trunk"
)

// section has a field of every type that a section may have.
type section struct {
	Text  string         `yaml:"text"`
	Whole int            `yaml:"whole"`
	Small uint8          `yaml:"small"`
	Share float64        `yaml:"share"`
	Truth bool           `yaml:"truth"`
	Maybe *bool          `yaml:"maybe"`
	Span  time.Duration  `yaml:"span"`
	List  []string       `yaml:"list"`
	Named map[string]int `yaml:"named"`
	Inner `yaml:",inline"`
	Other *Inner `yaml:"other"`
	Never string `yaml:"-"`
	Mine  string
}

// Inner is part of section.
type Inner struct {
	Ports media.Ports `yaml:"ports"`
}

func decodeSection(t *testing.T, text string) (section, Faults) {
	t.Helper()
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	var got section
	d := decoder{file: "f", at: positions{}, bad: map[string]bool{}}
	d.value("", position{1, 1}, file.Docs[0].Body, reflect.ValueOf(&got).Elem())
	return got, d.faults
}

func TestDecode(t *testing.T) {
	yes := true
	for text, want := range map[string]section{
		"text: a b":                       {Text: "a b"},
		"text: \"a: \\\"b\\\"\"":          {Text: `a: "b"`},
		"text: 'it''s'":                   {Text: "it's"},
		"text: |\n  a\n  b\n":             {Text: "a\nb\n"},
		"text: >-\n  a\n  b\n":            {Text: "a b"},
		"text: 0x1F":                      {Text: "0x1F"},
		"text: 1.50":                      {Text: "1.50"},
		"text: +31201234567":              {Text: "+31201234567"},
		"text: 2026-11-01":                {Text: "2026-11-01"},
		"text: no":                        {Text: "no"},
		"text: ''":                        {},
		"whole: -12":                      {Whole: -12},
		"small: 255":                      {Small: 255},
		"share: 0.5":                      {Share: 0.5},
		"share: 1":                        {Share: 1},
		"truth: true":                     {Truth: true},
		"maybe: True":                     {Maybe: &yes},
		"span: 1m30s":                     {Span: 90 * time.Second},
		"list: [a, b]":                    {List: []string{"a", "b"}},
		"list: a":                         {List: []string{"a"}},
		"list: []":                        {List: []string{}},
		"list:\n- a\n- b\n":               {List: []string{"a", "b"}},
		"named: {a: 1, 2: 3}":             {Named: map[string]int{"a": 1, "2": 3}},
		"ports: 20000-20003":              {Inner: Inner{media.Ports{First: 20000, Last: 20003}}},
		"other: {ports: '20000 - 20003'}": {Other: &Inner{media.Ports{First: 20000, Last: 20003}}},
		"named:":                          {},
	} {
		got, faults := decodeSection(t, text)
		if diff := cmp.Diff(want, got); diff != "" || len(faults) > 0 {
			t.Errorf("%q: got faults %v and (-want +got)\n%s", text, faults, diff)
		}
	}
}

func TestDecodeFaults(t *testing.T) {
	for text, want := range map[string]string{
		"whole: 1.5":       `f:1:1: whole: got "1.5", want a whole number`,
		"whole: one":       `f:1:1: whole: got "one", want a whole number`,
		"small: 256":       `f:1:1: small: got "256", want a whole number, not below 0`,
		"small: -1":        `f:1:1: small: got "-1", want a whole number, not below 0`,
		"small: [1]":       `f:1:1: small: got a list, want a whole number, not below 0`,
		"share: much":      `f:1:1: share: got "much", want a number`,
		"truth: 'true'":    `f:1:1: truth: got "true", want true or false`,
		"maybe:":           `f:1:1: maybe: has no value`,
		"span: 90":         `f:1:1: span: got "90", want a time span such as 500ms or 8s`,
		"span: {s: 90}":    `f:1:1: span: got a mapping, want a time span such as 500ms or 8s`,
		"list: [a, [b]]":   `f:1:11: list[1]: got a list, want text`,
		"list: [a, null]":  `f:1:11: list[1]: has no value`,
		"named: {a: b}":    `f:1:9: named.a: got "b", want a whole number`,
		"other: none":      `f:1:1: other: got "none", want a mapping of keys to values`,
		"Never: x":         `f:1:1: Never: unknown key; known here: list, maybe, named, other, ports, share, small, span, text, truth, whole`,
		"Mine: x":          `f:1:1: Mine: unknown key; known here: list, maybe, named, other, ports, share, small, span, text, truth, whole`,
		"inner: {ports: }": `f:1:1: inner: unknown key; known here: list, maybe, named, other, ports, share, small, span, text, truth, whole`,
	} {
		if _, faults := decodeSection(t, text); faults.Error() != want {
			t.Errorf("%q: got %v, want %s", text, faults, want)
		}
	}
}

// Within {} as well as elsewhere, a colon without a space behind it is text.
func TestColons(t *testing.T) {
	for _, text := range []string{
		"trunks:\n  a:\n    side: internal\n    peers:\n      - sip:h:5070;transport=tcp\n      - sip:i\n",
		"trunks:\n  a:\n    side: internal\n    peers: [sip:h:5070;transport=tcp, sip:i]\n",
		"trunks: {a: {side: internal, peers: [sip:h:5070;transport=tcp, sip:i]}}\n",
		"trunks: {a: {peers: [ \"sip:h:5070;transport=tcp\" , sip:i ], side: internal}}\n",
		"{trunks: {a: {peers: [sip:h:5070;transport=tcp,\n  sip:i], side: internal}}}\n",
	} {
		d := decoder{file: "f", at: positions{}, bad: map[string]bool{}}
		var c Config
		d.document([]byte(text), &c)
		want := trunk.Config{Side: trunk.Internal, Peers: []trunk.PeerURI{{Host: "h", Port: 5070, Transport: "tcp"}, {Host: "i"}}}
		if diff := cmp.Diff(want, c.Trunks["a"], cmpopts.EquateComparable(netip.Addr{})); diff != "" || len(d.faults) > 0 {
			t.Errorf("%s: got faults %v and (-want +got)\n%s", text, d.faults, diff)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"listen", "advertise", "name", "to", "time"}
	for word, want := range map[string]string{
		"listne": "listen", "lisen": "listen", "listenn": "listen", "adverties": "advertise", "advertize": "advertise", "nmae": "name",
		"names": "name", "mane": "", "t": "", "from": "", "": "", "advertisements": "", "tme": "time",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}
