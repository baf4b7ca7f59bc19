package sip

import (
	"errors"
	"strings"
	"testing"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// A header is as sipgo reads it, or it is not read at all.
func TestTidy(t *testing.T) {
	for _, test := range []struct {
		head, want string
		length     int
		err        error
	}{
		{"OPTIONS sip:a SIP/2.0\r\nX: y \r\n\r\n", "OPTIONS sip:a SIP/2.0\r\nX: y \r\n\r\n", -1, nil},
		{"OPTIONS sip:a SIP/2.0\r\n\r\n", "OPTIONS sip:a SIP/2.0\r\n\r\n", -1, nil},
		{"A\r\nl: \t 4\t\r\n\r\n", "A\r\nl: \t 4\t\r\n\r\n", 4, nil},
		{"A\r\nContent-Length :\r\n \r\n\t 12\r\n\r\n", "A\r\nContent-Length : 12\r\n\r\n", 12, nil},
		{"A\r\nSubject: a\r\n Content-Length: 5\r\nL: 7\r\n\r\n", "A\r\nSubject: a Content-Length: 5\r\nL: 7\r\n\r\n", 7, nil},
		{"A\r\nl:" + strings.Repeat(" ", 100) + "3\r\n\r\n", "A\r\nl:" + strings.Repeat(" ", 100) + "3\r\n\r\n", 3, nil},
		{"A\r\nv: SIP / 2.0\t/ UDP  h : 5060 ; branch = \"a ; b\" , SIP/2.0/UDP i\r\n\r\n", "A\r\nv:SIP/2.0/UDP  h:5060;branch=\"a ; b\",SIP/2.0/UDP i\r\n\r\n", -1, nil},
		{"A\r\nFrom: \"A ; \\\" = B\" <sip:a@b ; c> ; tag = 1\r\n\r\n", "A\r\nFrom:\"A ; \\\" = B\" <sip:a@b ; c>;tag=1\r\n\r\n", -1, nil},
		{"A\r\nm: \"a ; b\" <sip:c> ; Expires = 60 , <sip:d>\r\n\r\n", "A\r\nm:\"a ; b\" <sip:c>;Expires=60 , <sip:d>\r\n\r\n", -1, nil},
		{"A\r\nl: 1\r\nContent-Length: 1\r\n\r\n", "A\r\nl: 1\r\nContent-Length: 1\r\n\r\n", 1, errLength},
		{"A\r\nl: -1\r\n\r\n", "A\r\nl: -1\r\n\r\n", 0, errLength},
		{"A\r\nl: +1\r\n\r\n", "A\r\nl: +1\r\n\r\n", 0, errLength},
		{"A\r\nX: a\nY: b\r\n\r\n", "", -1, errUnclean},
		{"A\r\nX: a\rY: b\r\n\r\n", "", -1, errUnclean},
		{"A\r\nX: a\x00\r\n\r\n", "", -1, errUnclean},
		{"A\r\nX: a\x7f\r\n\r\n", "", -1, errUnclean},
		{"A\r\nX: \"a\\\x00\"\r\n\r\n", "", -1, errUnclean},
		{"A\r\nt: \"a\\\x00\" <sip:a@b>\r\n\r\n", "A\r\nt:\"a\\\x00\" <sip:a@b>\r\n\r\n", -1, nil},
		{"A\r\nt: <sip:a@b>;tag=a\\\x00\r\n\r\n", "", -1, errUnclean},
		{"A\x01\r\n\r\n", "", -1, errUnclean},
		{"A\r\n l: 5\r\n\r\n", "", -1, errUnclean},
		{" A\r\n\r\n", "", -1, errUnclean},
		{"\r\n", "", -1, errUnclean},
		{"A\r\n", "", -1, errUnclean},
		{"", "", -1, errUnclean},
	} {
		head, length, err := tidy([]byte(test.head))
		if string(head) != test.want || length != test.length && err == nil || !errors.Is(err, test.err) {
			t.Errorf("%q: got %q, %d, %v, want %q, %d, %v", test.head, head, length, err, test.want, test.length, test.err)
		}
	}
}

// A registrar's Contact is read in whatever case and with whatever blanks it is written.
func TestContactParameters(t *testing.T) {
	ua := &UA{parser: stack.NewParser(stack.WithHeadersParsers(parsed()))}
	for _, params := range []string{";expires=60", ";Expires=60", " ; EXPIRES = 60", ";q=0.5\r\n ;expires\r\n =60"} {
		message, err := ua.untangle([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n" +
			"Contact: \"us, ourselves\" <sip:us@192.0.2.1>" + params + ", <sip:other@192.0.2.9>;expires=7\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			t.Fatalf("%q: %v", params, err)
		}
		msg, _ := ua.parser.ParseSIP(message)
		standardize(msg)
		if got := grantedBy(msg.(*stack.Response), stack.Uri{User: "us", Host: "192.0.2.1"}, time.Hour); got != time.Minute {
			t.Errorf("%q: got %v, want a minute", params, got)
		}
	}
}

// BenchmarkUntangle is what the door costs a datagram, beside sipgo's own reading of it.
func BenchmarkUntangle(b *testing.B) {
	invite := []byte("INVITE sip:+31201234567@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKx;rport\r\nMax-Forwards: 70\r\nFrom: \"A\" <sip:+31209876543@192.0.2.5>;tag=1\r\nTo: <sip:+31201234567@192.0.2.1>\r\n" +
		"Call-ID: x@192.0.2.5\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.5>\r\nAllow: INVITE, ACK, BYE\r\nSupported: timer\r\nP-Asserted-Identity: <sip:+31209876543@x>\r\nContent-Type: application/sdp\r\n\r\n" + someSDP)
	ua := &UA{parser: stack.NewParser(stack.WithHeadersParsers(parsed()))}
	b.Run("door", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ua.untangle(invite); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sipgo", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ua.parser.ParseSIP(invite)
		}
	})
}
