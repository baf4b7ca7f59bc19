package sip

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// without returns a message's text without some of its header lines: the bits of mask say
// which.
func without(text string, mask uint16) string {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	var kept []string
	for i, line := range strings.Split(head, "\r\n") {
		if i == 0 || mask&(1<<(i-1)) == 0 {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\r\n") + "\r\n\r\n" + body
}

// survive lets time pass in which a call does what the last message makes it do, and ends it.
func (w *world) survive(leg *Leg) {
	w.Helper()
	over := make(chan struct{})
	go func() { // ends with the test
		for {
			select {
			case e := <-leg.Events():
				if e.Request != nil {
					e.Request.Key()
					e.Request.Reply(200, "OK")
				}
				if e.Kind == Reoffered {
					leg.RejectReoffer(488, "Not Acceptable Here")
				}
			case <-over:
				return
			}
		}
	}()
	synctest.Wait()
	leg.Hangup(503, "Service Unavailable")
	for range 10 {
		time.Sleep(time.Minute) // of the bubble's: every transaction is over
		for w.pbx.Pending() {
			w.pbx.Expect("")
		}
	}
	close(over)
}

// FuzzRefusal: what cannot be read gets one 400, of the lines that it has and a few of ours, or
// nothing; an ACK and a response get nothing.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte(strings.Replace(options("x", empty, ""), "sip:us@", "<sip:us@", 1)))
	f.Add([]byte(strings.Replace(options("x", "v: SIP/2.0/UDP h\r\n"+empty, ""), "CSeq: 1", "CSeq : x", 1)))
	f.Add([]byte(strings.ReplaceAll(options("x", "l: -1\r\n", ""), "OPTIONS", "ACK")))
	f.Add([]byte("SIP/2.0 x OK\r\nVia: a\r\nf: b\r\nt: c\r\ni: d\r\nCSeq: 1 e\r\n\r\n"))
	ua := &UA{parser: stack.NewParser(stack.WithHeadersParsers(parsed()))}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		head, err := ua.untangle(datagram)
		answer := string(badRequest(head, "us"))
		if err == nil || answer == "" {
			return
		}
		vias := 0
		for _, line := range strings.Split(string(head), "\r\n") {
			if name, _, found := strings.Cut(line, ":"); found && canonical(name) == "via" {
				vias++
			}
		}
		lines, ok := strings.CutSuffix(answer, "\r\n\r\n")
		if !ok || strings.Count(lines, "\r\n") > 6+vias || strings.Count(lines, "\n") != strings.Count(lines, "\r") || len(answer) > len(datagram)+200 {
			t.Fatalf("got %q for %q", answer, datagram)
		}
		if !strings.HasPrefix(answer, "SIP/2.0 400 ") || strings.HasPrefix(strings.ToUpper(string(head)), "ACK ") || strings.HasPrefix(strings.ToUpper(string(head)), "SIP/") {
			t.Fatalf("got %q for %q", answer, datagram)
		}
	})
}

// FuzzResponse: whatever is answered to an INVITE of ours, the user agent goes on and nothing is
// left. The peer says nothing more.
func FuzzResponse(f *testing.F) {
	f.Add("180 Ringing", "Require: 100rel\r\nRSeq: 1\r\n", someSDP, uint16(0))
	f.Add("200 OK", "Record-Route: <sip:a;lr>, <sip:b>\r\n", someSDP, uint16(0))
	f.Add("200 OK", "", "", uint16(1<<5))
	f.Add("486 Busy Here", "", "", uint16(1<<2))
	f.Add("401 Unauthorized", "WWW-Authenticate: Digest realm=\"a\"\r\n", "", uint16(1<<5))
	f.Add("422 x", "Min-SE: 4294967296\r\n", "", uint16(0))
	f.Add("302 Moved", "Contact: *\r\nContact: <http://x>, <sip:a@b>\r\n", "", uint16(0))
	f.Add("99 x", "", "", uint16(0))
	f.Add("700 x", "", "", uint16(1<<3))
	f.Fuzz(func(t *testing.T, status, more, body string, mask uint16) {
		inBubble(t, func(w *world) {
			leg, invite := w.outgoing()
			text := "SIP/2.0 " + status + "\r\nVia: " + invite.Header("Via") + "\r\nFrom: " + invite.Header("From") + "\r\nTo: " + invite.Header("To") + ";tag=x\r\nCall-ID: " + invite.Header("Call-ID") + "\r\nCSeq: " + invite.Header("CSeq") +
				"\r\nContact: <sip:peer@" + pbxAddr + ">\r\nContent-Type: application/sdp\r\n" + more + "\r\n" + body
			w.pbx.SendRaw([]byte(without(text, mask)))
			synctest.Wait()
			w.pbx.SendRaw([]byte(without(text, mask))) // again: a copy, or another branch's
			w.survive(leg)
		})
	})
}

// FuzzInDialog: whatever a peer sends in a dialog, the user agent goes on and nothing is left.
func FuzzInDialog(f *testing.F) {
	f.Add("INVITE", "CSeq: 2 INVITE\r\n", someSDP, uint16(0))
	f.Add("UPDATE", "CSeq: 2 UPDATE\r\nSession-Expires: 90;refresher=uac\r\n", "", uint16(0))
	f.Add("INFO", "CSeq: 2 INFO\r\nContent-Type: application/dtmf\r\n", "1", uint16(1<<4))
	f.Add("PRACK", "CSeq: 2 PRACK\r\nRAck: 1 1 INVITE\r\n", "", uint16(0))
	f.Add("REFER", "CSeq: 4294967295 REFER\r\nRefer-To: <sip:a@b?Replaces=%00>\r\n", "", uint16(0))
	f.Add("NOTIFY", "CSeq: 2 NOTIFY\r\nEvent: refer\r\nSubscription-State: terminated\r\n", "SIP/2.0 200 OK", uint16(0))
	f.Add("BYE", "CSeq: 0 BYE\r\n", "", uint16(0))
	f.Add("CANCEL", "CSeq: 1 CANCEL\r\n", "", uint16(0))
	f.Add("ACK", "CSeq: 1 ACK\r\n", otherSDP, uint16(1))
	f.Add("OPTIONS", "", "", uint16(1<<1))
	f.Fuzz(func(t *testing.T, method, more, body string, mask uint16) {
		for _, answered := range []bool{false, true} {
			inBubble(t, func(w *world) {
				invite, leg := w.incoming("Supported: 100rel, timer\r\nAllow: INVITE, UPDATE\r\n")
				if answered {
					leg.Answer([]byte(otherSDP))
				} else {
					leg.Progress(183, "Session Progress", []byte(otherSDP))
				}
				res := w.pbx.Expect("SIP/2.0 ")
				if answered {
					w.pbx.InDialog("ACK", invite, res, 1)
				}
				text := method + " " + strings.Trim(res.Header("Contact"), "<>") + " SIP/2.0\r\nVia: SIP/2.0/UDP " + pbxAddr + ";branch=z9hG4bKfuzz\r\nFrom: " + invite.Header("From") + "\r\nTo: " + res.Header("To") +
					"\r\nCall-ID: " + invite.Header("Call-ID") + "\r\nContact: <sip:peer@" + pbxAddr + ">\r\n" + more + "\r\n" + body
				w.pbx.SendRaw([]byte(without(text, mask)))
				synctest.Wait()
				w.pbx.SendRaw([]byte(strings.Replace(without(text, mask), "z9hG4bKfuzz", "z9hG4bKagain", 1)))
				w.survive(leg)
			})
		}
	})
}
