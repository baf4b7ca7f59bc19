package sip

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

var thePeer = Peer{Transport: "udp", Host: "192.0.2.5", Addr: netip.MustParseAddrPort("192.0.2.5:5060")}

// Who is called is a number at the peer, whatever the caller's request URI says; a urn alone is
// called as it is.
func TestCalled(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:+31201234567@us":                    "sip:+31201234567@192.0.2.5",
		"sip:%2B31201234567@us":                  "sip:+31201234567@192.0.2.5",
		"sip:100;phone-context=x@us":             "sip:100@192.0.2.5",
		"sip:100%3Bphone-context=x@us":           "sip:100%3Bphone-context=x@192.0.2.5",
		"sip:sips%3Auser%40evil@us":              "sip:sips%3Auser%40evil@192.0.2.5",
		"sip:urn%3Aservice%3Asos@us":             "sip:urn%3Aservice%3Asos@192.0.2.5",
		"tel:sips:user@evil":                     "sip:sips%3Auser%40evil@192.0.2.5",
		"tel:+31-20-123;phone-context=+31":       "sip:+31-20-123@192.0.2.5",
		"sip:*21#@us":                            "sip:*21%23@192.0.2.5",
		"sip:*21%23@us":                          "sip:*21%23@192.0.2.5",
		"isbn:2983792873":                        "sip:isbn%3A2983792873@192.0.2.5",
		"sip:a%2541@us":                          "sip:a%2541@192.0.2.5",
		"sip:%00%0d%0aX:@us":                     "sip:%00%0D%0AX@192.0.2.5",
		"sip:a%zz%4@us":                          "sip:a%25zz%254@192.0.2.5",
		"urn:service:sos":                        "urn:service:sos",
		"urn:service:sos>;x=<sip:a@evil":         "sip:urn%3Aservice%3Asos%3E@192.0.2.5",
		"sip:caf%C3%A9@us":                       "sip:caf%C3%A9@192.0.2.5",
		"sip:100;x=<sip:evil>,<sip:evil>@us;a=b": "sip:100@192.0.2.5",
	} {
		var theirs stack.Uri
		if err := stack.ParseUri(uri, &theirs); err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		ours := targetOf(Invite{Called: user(&theirs), Peer: thePeer})
		if got := ours.String(); got != want {
			t.Errorf("%s: got %s, want %s", uri, got, want)
		}
	}
}

// Keys read as they are dialled.
func TestKeysInNumbers(t *testing.T) {
	for _, uri := range []string{"sip:*21#@us", "sip:%2A21%23@us", "tel:*21#"} {
		var theirs stack.Uri
		if err := stack.ParseUri(uri, &theirs); err != nil || user(&theirs) != "*21#" {
			t.Errorf("%s: got %q, %v", uri, user(&theirs), err)
		}
	}
}

// Of a caller's host there passes what says that it is none (RFC 3323 §4.1.1.3).
func TestInvalidHost(t *testing.T) {
	for host, want := range map[string]bool{
		"anonymous.invalid": true, "Anonymous.INVALID": true, "a.b-c.invalid": true, ".invalid": true, "evil.example": false, "invalid": false,
		"x>;tag=1,<sip:a@b.invalid": false, "x\".invalid": false, "é.invalid": false, "a b.invalid": false,
	} {
		if got := isInvalid(host); got != want {
			t.Errorf("%s: got %v", host, got)
		}
	}
}

// A display name reads as one, whatever it ends with.
func TestDisplayName(t *testing.T) {
	for from, want := range map[string]string{
		`Alice\ <sip:a@b>;tag=1`:          `Alice\\`,
		`"Alice \\" <sip:a@b>;tag=1`:      `Alice \\`,
		`"A \"B\" C" <sip:a@b>;tag=1`:     `A \"B\" C`,
		`A\"; B <sip:a@b>;tag=1`:          "",
		"\"a\\\x00b\" <sip:a@b>;tag=1":    "ab",
		`Bell, Alexander <sip:a@b>;tag=1`: "Bell, Alexander",
	} {
		var h stack.FromHeader
		var err error
		if h.DisplayName, err = stack.ParseAddressValue(from, &h.Address, &h.Params); err != nil {
			continue
		}
		h.DisplayName = quotable(h.DisplayName)
		if want != "" && h.DisplayName != want {
			t.Errorf("%s: got %q, want %q", from, h.DisplayName, want)
		}
		var again stack.FromHeader
		if again.DisplayName, err = stack.ParseAddressValue(h.Value(), &again.Address, &again.Params); err != nil || again.Value() != h.Value() {
			t.Errorf("%s: got %s, read as %s, %v", from, h.Value(), again.Value(), err)
		}
	}
}

// A call was diverted if one of the headers says so, in whatever case.
func TestForwarded(t *testing.T) {
	for headers, want := range map[string]bool{
		"":                                    false,
		"History-Info: <sip:1@x>;index=1\r\n": false,
		"History-Info: <sip:1@x>;index=1\r\nHistory-Info: <sip:2@x;cause=302>;index=1.1\r\n":                true,
		"History-Info: <sip:1@x>;index=1, <sip:2@x;Cause=408>;index=1.1\r\n":                                true,
		"history-info: <sip:1@x?Reason=SIP%3Bcause%3D302>;index=1\r\nHistory-Info: <sip:2@x>;index=1.1\r\n": true,
		"History-Info: <sip:1@x?Reason=SIP%3bCAUSE%3d302>;index=1\r\n":                                      true,
		"Diversion: <sip:1@x>;reason=unconditional\r\n":                                                     true,
	} {
		inBubble(t, func(w *world) {
			_, leg := w.incoming(headers)
			if got := leg.Forwarded(); got != want {
				w.Errorf("%q: got %v", headers, got)
			}
			leg.Hangup(486, "Busy Here")
			w.pbx.Expect("SIP/2.0 486")
		})
	}
}

// FuzzNumbers: whoever calls and is called, our INVITE goes to a user at the peer or to a urn,
// its lines are ours, and who reads it reads the same numbers.
func FuzzNumbers(f *testing.F) {
	f.Add("sip:sips%3Auser%40evil@us", `Alice\`, "sip:a@anonymous.invalid")
	f.Add("tel:sips:user@evil", `"A \" B"`, "tel:+31201234567")
	f.Add("urn:service:sos", "", "sip:%2541%00@x>.invalid")
	f.Add("sip:%%25@us", "A, B", "sip:a@[::1].invalid")
	ua := &UA{cfg: Config{}.withDefaults(), parser: stack.NewParser(stack.WithHeadersParsers(parsed()))}
	f.Fuzz(func(t *testing.T, called, display, from string) {
		text := "INVITE " + called + " SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKx\r\nFrom: " + display + " <" + from + ">;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: f\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
		message, err := ua.untangle([]byte(text))
		if err != nil {
			return
		}
		msg, err := ua.parser.ParseSIP(message)
		if err != nil {
			t.Fatal(err)
		}
		standardize(msg)
		req, ok := msg.(*stack.Request)
		if !ok || ua.faultOf(req) != nil {
			return
		}
		theirs := &Leg{ua: ua, invite: req}
		ours := &Leg{ua: ua, peer: thePeer, contact: netip.MustParseAddrPort("192.0.2.1:5060"), callID: "x", localTag: "y", dialog: &dialog{}, localSeq: 1}
		in := Invite{Peer: thePeer, Called: theirs.Called(), From: theirs.From()}
		ours.dialog.target = targetOf(in)
		sent := ours.newInvite(in).String()
		tidied, err := ua.untangle([]byte(sent))
		if err != nil {
			t.Fatalf("got an INVITE that cannot be read, %v: %q", err, sent)
		}
		back, err := ua.parser.ParseSIP(tidied)
		if err != nil {
			t.Fatal(err)
		}
		read := &Leg{ua: ua, invite: back.(*stack.Request)}
		if at := read.invite.Recipient; at.Scheme != "urn" && (at.Scheme != "sip" || at.Host != thePeer.Host) || at.Scheme == "urn" && req.Recipient.Scheme != "urn" {
			t.Fatalf("got a call to %s for %s", at.String(), called)
		}
		if read.Called() != in.Called || read.From().User != in.From.User || read.From().Display != in.From.Display {
			t.Fatalf("got %q, %+v, want %q, %+v", read.Called(), read.From(), in.Called, in.From)
		}
		if len(headersOf(read.invite)) != len(headersOf(ours.newInvite(in))) {
			t.Fatalf("got other headers than ours: %q", sent)
		}
	})
}

// A transfer and a redirection lead to numbers and services, not to whatever a URI can name.
func TestSchemes(t *testing.T) {
	for v, want := range map[string]bool{
		"<sip:1@x>": true, "<SIPS:1@x>": true, "tel:+31201234567": true, "<urn:service:sos>": true, "<http://x/y>": false, "<mailto:a@b>": false, "*": false, "<im:a@b>": false,
		"<sip:1@x?Replaces=a%00b>": false, "<sip:1@x?Replaces=a%0D%0AX:b>": false,
	} {
		if _, err := ParseReferTo(v); (err == nil) != want {
			t.Errorf("%s: got %v", v, err)
		}
	}
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.ReplyWith(invite, "302 Moved", "Contact: <http://x/y>, <tel:+31201234567>, <sip:2%40@x>\r\nContact: *\r\nContact: <mailto:a@b>\r\n")
		w.pbx.Expect("ACK ")
		if e := w.event(leg, Rejected); !slices.Equal(e.Contacts, []string{"+31201234567", "2%40"}) {
			w.Errorf("got %q", e.Contacts)
		}
	})
}

// What a message has of control characters goes nowhere: neither a reason nor a type nor a
// header brings them to the other leg.
func TestNoControlPasses(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		for _, control := range []string{"\x00", "\x01", "\x7f", "\x1b", "\r", "\n"} {
			w.pbx.SendRaw([]byte("SIP/2.0 486 Busy" + control + "Here\r\nVia: " + invite.Header("Via") + "\r\nFrom: " + invite.Header("From") + "\r\nTo: " + invite.Header("To") + ";tag=x\r\nCall-ID: " +
				invite.Header("Call-ID") + "\r\nCSeq: " + invite.Header("CSeq") + "\r\nContent-Length: 0\r\n\r\n"))
		}
		synctest.Wait()
		select {
		case e := <-leg.Events():
			w.Fatalf("got %v %q", e.Kind, e.Reason)
		default:
		}
		w.pbx.Reply(invite, "486 Busy Here", "")
		w.pbx.Expect("ACK ")
		w.event(leg, Rejected)
		for _, more := range []string{"Content-Type: a/b\x00\r\n", "User-to-User: a\x00\r\n", "X: \x1b\r\n", "Reason: SIP;text=\"\\\x01\"\r\n"} {
			w.pbx.SendRaw([]byte(strings.Replace(w.pbx.Message("100", "", more).Text, "Content-Type: application/sdp\r\n", "", 1)))
		}
		w.pbx.SendRaw([]byte(strings.Replace(w.pbx.Message("100", "", "").Text, "INVITE sip:100@", "INVITE urn:service:sos\x01", 1)))
		w.pbx.Silent(time.Minute)
	})
}
