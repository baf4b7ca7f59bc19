package sip

import (
	"strings"
	"testing"

	stack "github.com/emiago/sipgo/sip"
)

// A bare LF in a header brings no line into what we send: such a message is dropped.
func TestNoHeaderIsSmuggled(t *testing.T) {
	inBubble(t, func(w *world) {
		invite := w.pbx.Message("100", someSDP, "User-to-User: a\x00SMUGGLED\r\n")
		w.pbx.SendRaw([]byte(strings.Replace(invite.Text, "\x00", "\nX-Smuggled: yes", 1)))
		w.pbx.Silent(1e9)
	})
}

// FuzzPassing: whatever a peer's header says, what we send for it holds the header or not,
// and never a line more; Identity passes byte for byte.
func FuzzPassing(f *testing.F) {
	f.Add("P-Asserted-Identity", "\"A\" <sip:+31201234567@x>, <tel:+31201234567>")
	f.Add("y", "eyJhbGciOiJFUzI1NiJ9..sig;info=<https://a/c.pem>")
	f.Add("History-Info", "<sip:1@x?Reason=SIP%3Bcause%3D302>;index=1")
	f.Add("X-Tenant-A", " spaced\tout ")
	ua := &UA{cfg: Config{Headers: []string{"X-Tenant-*"}}.withDefaults()}
	parser := stack.NewParser(stack.WithHeadersParsers(parsed()))
	f.Fuzz(func(t *testing.T, name, value string) {
		text := "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKx\r\nFrom: <sip:d@e>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: f\r\nCSeq: 1 INVITE\r\n" + name + ": " + value + "\r\nContent-Length: 0\r\n\r\n"
		head, _, err := tidy([]byte(text))
		if err != nil {
			return
		}
		message, err := parser.ParseSIP(head)
		if err != nil {
			return
		}
		out := stack.NewRequest(stack.INVITE, stack.Uri{Scheme: "sip", Host: "x"})
		passing := ua.passing(message)
		for _, h := range passing {
			if !isToken(h.Name) || strings.ContainsFunc(h.Value, isControl) {
				t.Fatalf("got %q", h)
			}
			out.AppendHeader(stack.NewHeader(h.Name, h.Value))
		}
		if lines := strings.Count(out.String(), "\r\n"); lines != len(passing)+2 && len(passing) > 0 {
			t.Fatalf("got %d lines for %d headers: %q", lines, len(passing), out.String())
		}
		if strings.EqualFold(name, "Identity") && !strings.Contains(value, "\r\n") {
			if want := strings.TrimSpace(value); len(passing) == 0 || passing[0].Value != want {
				t.Fatalf("got %q, want %q", passing, want)
			}
		}
	})
}

// Keys in INFO are read as peers write them.
func TestKey(t *testing.T) {
	for _, test := range []struct {
		contentType, body string
		want              byte
	}{
		{"application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", '5'}, {"application/dtmf-relay", "Signal= *\nDuration=100", '*'},
		{"Application/DTMF-Relay", "duration=1\r\nsignal=d\r\n", 'D'}, {"application/dtmf-relay;x=y", "Signal=11", '#'}, {"application/dtmf-relay", "Signal=10", '*'},
		{"application/dtmf", "7", '7'}, {"application/dtmf", "#\r\n", '#'}, {"application/dtmf", "16", 0}, {"application/dtmf-relay", "Signal=", 0},
		{"application/dtmf-relay", "", 0}, {"text/plain", "5", 0}, {"", "5", 0}, {"application/dtmf", "12345", 0},
	} {
		got, ok := (&Request{Method: "INFO", ContentType: test.contentType, Body: []byte(test.body)}).Key()
		if got != test.want || ok != (test.want != 0) {
			t.Errorf("%s %q: got %q, %v, want %q", test.contentType, test.body, got, ok, test.want)
		}
	}
}

// FuzzKey: an INFO says one of the sixteen keys, or none.
func FuzzKey(f *testing.F) {
	f.Add("application/dtmf-relay", "Signal=5\r\nDuration=160")
	f.Add("application/dtmf", "15")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		digit, ok := (&Request{Method: "INFO", ContentType: contentType, Body: []byte(body)}).Key()
		if ok != strings.Contains("0123456789*#ABCD", string(digit)) {
			t.Fatalf("got %q, %v", digit, ok)
		}
	})
}

// FuzzReferTo: whatever a Refer-To says, who is meant has no line end and no blank host.
func FuzzReferTo(f *testing.F) {
	f.Add("<sip:200@192.0.2.5?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>")
	f.Add("sip:200@h;transport=tcp")
	f.Add("\"X\" <tel:+31201234567>")
	f.Fuzz(func(t *testing.T, v string) {
		target, err := ParseReferTo(v)
		if err == nil && (target.User == "" || strings.ContainsAny(target.Replaces, "\r\n")) {
			t.Fatalf("got %+v of %q", target, v)
		}
	})
}
