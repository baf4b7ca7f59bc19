package sip

import (
	"net/netip"
	"strings"
	"testing"
)

// An entry that asks for privacy names nobody outside the trust domain; its place, its reason and
// the entries about it stay as they came.
func TestDiscreet(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"Diversion", `<sip:201@pbx>;reason=unconditional;privacy=off, "B, C" <sip:202@pbx>;counter=2`, `<sip:201@pbx>;reason=unconditional;privacy=off, "B, C" <sip:202@pbx>;counter=2`},
		{"Diversion", `"A <x>" <sip:201@pbx>;privacy=full;reason=no-answer,<sip:202@pbx>`, `<sip:anonymous@anonymous.invalid>;privacy=full;reason=no-answer,<sip:202@pbx>`},
		{"Diversion", `"A" <sip:201@pbx>;Privacy="uri", "B" <sip:202@pbx>;privacy=name`, `"A" <sip:anonymous@anonymous.invalid>;Privacy="uri", <sip:202@pbx>;privacy=name`},
		{"Diversion", `sip:201@pbx;privacy=full`, `sip:anonymous@anonymous.invalid;privacy=full`},
		{"Diversion", `<sip:201@pbx;privacy=full>`, `<sip:201@pbx;privacy=full>`},
		{"History-Info", `<sip:1@x?Privacy=none>;index=1, "N" <sip:201@pbx?Privacy=history&Reason=SIP%3Bcause%3D302>;index=1.1;mp=1, <sip:3@x>;index=1.2`,
			`<sip:1@x?Privacy=none>;index=1, <sip:anonymous@anonymous.invalid?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1, <sip:3@x>;index=1.2`},
		{"History-Info", `<sip:201@pbx;cause=486;target=sip%3A9%40x?Privacy%3Dhistory>;index=1`, `<sip:anonymous@anonymous.invalid;cause=486>;index=1`},
		{"History-Info", `sip:201@pbx?privacy=session%3Bid;index=1`, `<sip:anonymous@anonymous.invalid>;index=1`},
		{"History-Info", `<sip:201@pbx?Privacy=none&Privacy=history>;index=1`, `<sip:anonymous@anonymous.invalid>;index=1`},
		{"History-Info", `"Privacy=history" <sip:201@pbx>;index=1`, `"Privacy=history" <sip:201@pbx>;index=1`},
		{"Subject", `<sip:201@pbx>;privacy=full`, `<sip:201@pbx>;privacy=full`},
	} {
		if got := Discreet(Header{test.name, test.value}); got.Value != test.want {
			t.Errorf("%s: %s: got %s, want %s", test.name, test.value, got.Value, test.want)
		}
	}
}

// Wherever an address of the one side stands, the other reads ours, without the port; a name is
// hidden where a host stands, and other hosts, users and names are as they came.
func TestHide(t *testing.T) {
	hidden := func(host string) bool { return host == "10.0.0.5" || host == "fd00::5" || host == "pbx" }
	for value, want := range map[string]string{
		`"pbx" <sip:pbx@pbx:5070;x=pbx>;index=1.10.0.0.5`:   `"pbx" <sip:pbx@192.0.2.1;x=pbx>;index=1.10.0.0.5`,
		`<sip:201@10.0.0.5:5070>, <sip:202@[fd00::5]>`:      `<sip:201@192.0.2.1>, <sip:202@192.0.2.1>`,
		`<sip:10.0.0.5>;x=10.0.0.50;y=%4010.0.0.5%3A5070`:   `<sip:192.0.2.1>;x=10.0.0.50;y=%40192.0.2.1%3A5070`,
		`<sip:+31201234567@carrier.example:5070>;a="1:2:3"`: `<sip:+31201234567@carrier.example:5070>;a="1:2:3"`,
		`399 10.0.0.5:5060 "no 10.0.0.5"`:                   `399 192.0.2.1 "no 192.0.2.1"`,
		`<http://pbx/ring.wav>`:                             `<http://192.0.2.1/ring.wav>`,
		`[`:                                                 `[`, `%`: `%`, ``: ``,
	} {
		if got := Hide(value, hidden, netip.MustParseAddr("192.0.2.1")); got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
	if got := Hide("<sip:1@10.0.0.5>", hidden, netip.MustParseAddr("2001:db8::1")); got != "<sip:1@[2001:db8::1]>" {
		t.Errorf("got %s", got)
	}
}

// FuzzEntries: what is cut makes what came, what asks for nothing is left alone, and nobody who
// asked for privacy is named.
func FuzzEntries(f *testing.F) {
	f.Add(`"A, \"B" <sip:1@x;a=b?c=d>;privacy=full, sip:2@y;z`)
	f.Add(`<sip:1@x?Privacy%3Dhistory>;index=1,,<`)
	f.Fuzz(func(t *testing.T, value string) {
		var made []string
		for _, e := range entries(value) {
			made = append(made, e.before+e.uri+e.after)
		}
		if got := strings.Join(made, ","); got != value {
			t.Fatalf("got %q of %q", got, value)
		}
		for _, name := range []string{"Diversion", "History-Info"} {
			once := Discreet(Header{name, value})
			if twice := Discreet(once); twice != once {
				t.Fatalf("got %q, then %q", once, twice)
			}
			if !strings.Contains(strings.ToLower(value), "privacy") && !strings.Contains(value, "%") && once.Value != value {
				t.Fatalf("got %q of %q", once.Value, value)
			}
		}
		if got := Hide(value, func(string) bool { return false }, netip.MustParseAddr("192.0.2.1")); got != value {
			t.Fatalf("got %q of %q", got, value)
		}
	})
}
