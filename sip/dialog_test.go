package sip

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	stack "github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/sip/siptest"
)

// A dialog's requests go to its first route, or else to its target; where that has no port, to
// the one of the transport (RFC 3261 §19.1.2).
func TestHop(t *testing.T) {
	for _, test := range []struct{ transport, route, target, want string }{
		{"udp", "", "sip:a@203.0.113.5", "203.0.113.5:5060"},
		{"udp", "", "sip:a@203.0.113.5:5070", "203.0.113.5:5070"},
		{"tls", "sip:203.0.113.5;transport=tls;lr", "sip:a@203.0.113.6:5080", "203.0.113.5:5061"},
		{"tls", "", "sips:a@203.0.113.5", "203.0.113.5:5061"},
		{"tls", "", "sip:a@[2001:db8::5];transport=tls", "[2001:db8::5]:5061"},
		{"tls", "sip:203.0.113.5:5063;transport=tls;lr", "sip:a@203.0.113.6", "203.0.113.5:5063"},
		{"tls", "", "sip:a@gateway.example", "192.0.2.5:5063"},
	} {
		d := &dialog{}
		if err := stack.ParseUri(test.target, &d.target); err != nil {
			t.Fatal(err)
		}
		if test.route != "" {
			d.routes = make([]stack.Uri, 1)
			if err := stack.ParseUri(test.route, &d.routes[0]); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.hop(Peer{Transport: test.transport, Addr: netip.MustParseAddrPort("192.0.2.5:5063")}).String(); got != test.want {
			t.Errorf("%s, route %q, target %q: got %s, want %s", test.transport, test.route, test.target, got, test.want)
		}
	}
}

// What a URI of ours leaves out is what its reader takes it for.
func TestPortInTarget(t *testing.T) {
	for peer, want := range map[Peer]string{
		{Transport: "tls", Host: "a", Addr: netip.MustParseAddrPort("192.0.2.5:5061")}: "sip:100@a;transport=tls",
		{Transport: "tls", Host: "a", Addr: netip.MustParseAddrPort("192.0.2.5:5060")}: "sip:100@a:5060;transport=tls",
		{Transport: "udp", Host: "a", Addr: netip.MustParseAddrPort("192.0.2.5:5061")}: "sip:100@a:5061",
		{Transport: "tcp", Host: "a", Addr: netip.MustParseAddrPort("192.0.2.5:5060")}: "sip:100@a;transport=tcp",
	} {
		target := targetOf(Invite{Called: "100", Peer: peer})
		if got := target.String(); got != want {
			t.Errorf("%v: got %q, want %q", peer, got, want)
		}
	}
}

// UPDATE with an offer comes as one, early and later; one without is answered at once, and
// one that comes too early is put off.
func TestUpdateOfPeer(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Supported: 100rel\r\n")
		leg.Progress(180, "Ringing", nil)
		d := calling(w.pbx, invite, w.pbx.Expect("SIP/2.0 180"))
		d.send("UPDATE", "", someSDP)
		w.header(w.pbx.Expect("SIP/2.0 500"), "Retry-After", "3")
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		d.send("PRACK", "RAck: "+w.pbx.Expect("SIP/2.0 183").Header("RSeq")+" 1 INVITE\r\n", "")
		w.pbx.Expect("SIP/2.0 200")
		d.send("UPDATE", "", someSDP)
		if e := w.event(leg, Reoffered); string(e.Body) != someSDP {
			w.Errorf("got offer %q", e.Body)
		}
		d.send("UPDATE", "", someSDP) // while the first is not answered
		w.pbx.Expect("SIP/2.0 500")
		leg.AnswerReoffer([]byte(otherSDP))
		if ok := w.pbx.Expect("SIP/2.0 200"); ok.Body() != otherSDP || ok.Method() != "UPDATE" {
			w.Errorf("got %q with %q", ok.Header("CSeq"), ok.Body())
		}
		leg.Answer([]byte(otherSDP))
		w.pbx.Expect("SIP/2.0 200")
		seq := d.seq
		d.seq = 1
		d.send("ACK", "", "")
		d.seq = seq
		w.event(leg, Confirmed)
		d.send("UPDATE", "", "")
		w.pbx.Expect("SIP/2.0 200")
		d.send("UPDATE", "", someSDP)
		w.event(leg, Reoffered)
		leg.RejectReoffer(488, "Not Acceptable Here")
		w.pbx.Expect("SIP/2.0 488")
		w.hangup(leg)
	})
}

// Our offer goes by UPDATE before the answer, where the peer takes that, and by INVITE
// after it; the peer's own is put off meanwhile.
func TestReofferOfOurs(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		reply(w.pbx, invite, "a", "183 Session Progress", "Allow: UPDATE\r\nRequire: 100rel\r\nRSeq: 1\r\n", someSDP)
		w.pbx.Reply(w.pbx.Expect("PRACK "), "200 OK", "")
		w.event(leg, Progressed)
		if err := leg.Reoffer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		update := w.pbx.Expect("UPDATE sip:a@")
		if err := leg.Reoffer([]byte(otherSDP)); err == nil {
			w.Error("got two offers at once")
		}
		w.pbx.Reply(update, "200 OK", someSDP)
		w.event(leg, ReofferAnswered)
		answer := reply(w.pbx, invite, "a", "200 OK", "", someSDP)
		w.pbx.Expect("ACK ")
		w.event(leg, Answered)
		leg.Reoffer([]byte(otherSDP))
		again := w.pbx.Expect("INVITE ")
		d := called(w.pbx, invite, answer)
		theirs := d.send("INVITE", "", someSDP)
		w.pbx.Acknowledge(theirs, w.pbx.Expect("SIP/2.0 491"))
		w.pbx.Reply(again, "491 Request Pending", "")
		w.pbx.Expect("ACK ")
		w.event(leg, ReofferRejected)
		if b := leg.Backoff(); b < 2100*time.Millisecond || b > 4*time.Second {
			w.Errorf("got back-off %v, want 2.1s to 4s: the Call-ID is ours", b)
		}
		w.hangup(leg)
	})
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "183 Session Progress", someSDP)
		w.event(leg, Progressed)
		if err := leg.Reoffer([]byte(otherSDP)); err == nil {
			w.Error("got an offer to a peer that has not agreed to the first one reliably")
		}
		leg.Hangup(487, "")
		w.pbx.Reply(w.pbx.Expect("CANCEL "), "200 OK", "")
		w.pbx.Reply(invite, "487 Request Terminated", "")
		w.pbx.Expect("ACK ")
	})
}

// Requests of one dialog are handled in the order in which they came, though sipgo gives
// each a goroutine of its own; one that is late is refused.
func TestOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		for range 50 {
			invite, leg := w.incoming("")
			leg.Answer([]byte(otherSDP))
			d := calling(w.pbx, invite, w.pbx.Expect("SIP/2.0 200"))
			d.send("ACK", "", "")
			d.send("INFO", "Content-Type: application/dtmf\r\n", "1")
			d.send("INFO", "Content-Type: application/dtmf\r\n", "2")
			d.send("INVITE", "", someSDP)
			w.event(leg, Confirmed)
			for _, key := range []byte{'1', '2'} {
				e := w.event(leg, Requested)
				if got, ok := e.Request.Key(); !ok || got != key {
					w.Fatalf("got key %q, want %q", got, key)
				}
				e.Request.Reply(200, "OK")
			}
			w.event(leg, Reoffered)
			leg.AnswerReoffer([]byte(otherSDP))
			synctest.Wait()
			d.send("ACK", "", "")
			d.send("INVITE", "", someSDP) // must not overtake the ACK
			d.send("BYE", "", "")
			w.event(leg, Acknowledged)
			w.event(leg, Reoffered)
			w.event(leg, Ended)
			for got := map[string]int{}; got["BYE"] == 0; {
				m := w.pbx.Expect("SIP/2.0 ")
				if strings.HasPrefix(m.Start(), "SIP/2.0 500") {
					w.Fatalf("got %q to %s", m.Start(), m.Header("CSeq"))
				}
				got[m.Method()]++
			}
			synctest.Wait()
			for drained := false; !drained; {
				select {
				case <-leg.Events():
				default:
					drained = true
				}
			}
			w.drain()
		}
		d, leg, _ := w.established("")
		d.seq = 7
		d.send("INFO", "", "")
		e := w.event(leg, Requested)
		e.Request.Reply(200, "OK")
		w.pbx.Expect("SIP/2.0 200")
		d.seq = 4
		d.send("INFO", "", "")
		w.pbx.Expect("SIP/2.0 500")
		w.hangup(leg)
	})
}

// drain takes what the peer still gets in the next minute.
func (w *world) drain() {
	time.Sleep(40 * time.Second)
	synctest.Wait()
	for {
		if !w.pbx.Pending() {
			return
		}
		w.pbx.Expect("")
	}
}

// What the call does not answer in time is answered for it.
func TestRequestUnanswered(t *testing.T) {
	inBubble(t, func(w *world) {
		d, leg, _ := w.established("")
		d.send("REFER", "Refer-To: <sip:200@192.0.2.5>\r\nReferred-By: <sip:100@192.0.2.5>\r\n", "")
		e := w.event(leg, Requested)
		if got := e.Request.Header("refer-to"); got != "<sip:200@192.0.2.5>" {
			w.Errorf("got Refer-To %q", got)
		}
		asked := time.Now()
		w.pbx.Expect("SIP/2.0 500")
		if after := time.Since(asked); after != 32*time.Second {
			w.Errorf("got the answer after %v, want 32s", after)
		}
		e.Request.Reply(202, "Accepted") // too late, and harmless
		w.pbx.Silent(time.Second)
		w.hangup(leg)
	})
}

// A request of ours is answered, or not; a peer that does not know the dialog any more
// ends the leg.
func TestAsk(t *testing.T) {
	inBubble(t, func(w *world) {
		_, leg, _ := w.established("")
		r := &Request{Method: "INFO", ContentType: "application/dtmf", Body: []byte("5"), Headers: []Header{{"Info-Package", "x"}}}
		leg.Ask(r)
		info := w.pbx.Expect("INFO ")
		w.header(info, "Info-Package", "x")
		w.pbx.Reply(info, "415 Unsupported Media Type", "")
		if e := w.event(leg, Replied); e.Code != 415 || e.Request != r {
			w.Errorf("got %d", e.Code)
		}
		leg.Ask(&Request{Method: "NOTIFY", Headers: []Header{{"Event", "refer"}}})
		w.pbx.Reply(w.pbx.Expect("NOTIFY "), "481 Subscription Does Not Exist", "")
		w.event(leg, Replied) // and the call goes on
		leg.Ask(r)
		w.pbx.Reply(w.pbx.Expect("INFO "), "481 Call/Transaction Does Not Exist", "")
		w.event(leg, Replied)
		w.event(leg, Ended)
		leg.Ask(r)
		if e := w.event(leg, Replied); e.Code != 481 {
			w.Errorf("got %d on a leg that is over, want 481", e.Code)
		}
	})
}

// A peer that answers neither an offer in the dialog nor whether it is there is taken for
// gone. It may have lost packets only: its call is ended with a BYE (RFC 3261 §12.2.1.2).
func TestGone(t *testing.T) {
	for method, ask := range map[string]func(l *Leg){
		"INVITE ":  func(l *Leg) { l.Reoffer([]byte(otherSDP)) },
		"OPTIONS ": func(*Leg) {}, // comes by itself
	} {
		inBubble(t, func(w *world) {
			_, leg, _ := w.established("")
			ask(leg)
			w.pbx.ExpectWithin(time.Hour, method)
			bye := w.pbx.Within(time.Minute, "BYE ")
			w.header(bye, "Reason", `SIP;cause=408;text="Request Timeout"`)
			w.pbx.Reply(bye, "200 OK", "")
			if method == "INVITE " {
				w.event(leg, ReofferRejected)
			}
			if e := w.event(leg, Ended); e.Reason != "SIP;cause=408" {
				w.Errorf("got reason %q", e.Reason)
			}
			leg.Hangup(0, "") // what release does: nothing more is sent
			w.pbx.Silent(time.Minute)
		})
	}
}

// Each party's Session-ID reaches the other unchanged, and one is made for who has none.
func TestSessionID(t *testing.T) {
	inBubble(t, func(w *world) {
		a := strings.Repeat("ab", 16)
		invite, caller := w.incoming("Session-ID: " + strings.ToUpper(a) + ";remote=" + nobody + "\r\n")
		callee, err := w.ua.Invite(Invite{Peer: pbxPeer(), Trunk: "pbx", Called: "100", MaxForwards: 69, Body: []byte(otherSDP), Partner: caller})
		if err != nil {
			w.Fatal(err)
		}
		out := w.pbx.Expect("INVITE ")
		w.header(out, "Session-ID", a+";remote="+nobody)
		b := strings.Repeat("cd", 16)
		reply(w.pbx, out, "b", "200 OK", "Session-ID: "+b+";remote="+a+"\r\n", someSDP)
		w.header(w.pbx.Expect("ACK "), "Session-ID", a+";remote="+b)
		w.event(callee, Answered)
		caller.Answer([]byte(otherSDP))
		ok := w.pbx.Expect("SIP/2.0 200")
		w.header(ok, "Session-ID", b+";remote="+a)
		calling(w.pbx, invite, ok).send("ACK", "", "")
		w.event(caller, Confirmed)
		w.hangup(caller)
		w.hangup(callee)

		_, silent := w.incoming("")
		out2, _ := w.ua.Invite(Invite{Peer: pbxPeer(), Trunk: "pbx", Called: "100", MaxForwards: 69, Body: []byte(otherSDP), Partner: silent})
		made, _, _ := strings.Cut(w.pbx.Expect("INVITE ").Header("Session-ID"), ";")
		if raw, err := hex.DecodeString(made); err != nil || len(raw) != 16 {
			w.Errorf("got %q made for a party without a Session-ID", made)
		}
		out2.Hangup(0, "")
		silent.Hangup(486, "Busy Here")
		time.Sleep(40 * time.Second)
	})
}

// What passes from leg to leg passes word for word and in order; compact names are known.
func TestPassing(t *testing.T) {
	inBubble(t, func(w *world) {
		w.ua.cfg.Headers = []string{"X-Customer", "X-Tenant-*"}
		identity := "eyJhbGciOiJFUzI1NiJ9..sig;info=<https://a.example/c.pem>;alg=ES256;ppt=\"shaken\""
		_, leg := w.incoming("P-Asserted-Identity: \"A\" <sip:+31201234567@c.example>\r\nDiversion: <sip:1@x>\r\nDiversion: <sip:2@x>\r\n" +
			"History-Info: <sip:1@x>;index=1\r\nHistory-Info: <sip:2@x>;index=1.1;cause=302\r\ny: " + identity + "\r\nDate: Wed, 25 Nov 2026 08:00:00 GMT\r\n" +
			"x-customer: 7\r\nX-Tenant-Name: t\r\nX-Other: no\r\nPriority: emergency\r\n")
		want := []Header{
			{"P-Asserted-Identity", "\"A\" <sip:+31201234567@c.example>"}, {"Diversion", "<sip:1@x>"}, {"Diversion", "<sip:2@x>"},
			{"History-Info", "<sip:1@x>;index=1"}, {"History-Info", "<sip:2@x>;index=1.1;cause=302"}, {"Identity", identity},
			{"x-customer", "7"}, {"X-Tenant-Name", "t"}, {"Priority", "emergency"}, {"Date", "Wed, 25 Nov 2026 08:00:00 GMT"},
		}
		if diff := cmp.Diff(want, leg.Passed()); diff != "" {
			w.Errorf("passed (-want +got):\n%s", diff)
		}
		if !leg.Forwarded() {
			w.Error("got a call that was not forwarded")
		}
		leg.Hangup(486, "Busy Here")
		time.Sleep(time.Minute)
	})
}

// The same INVITE by two ways is one call (RFC 3261 §8.2.2.2).
func TestMergedInvite(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		other := strings.Replace(invite.Text, ";branch=z9hG4bK", ";branch=z9hG4bKother", 1)
		w.pbx.Send(other)
		merged := w.pbx.Expect("SIP/2.0 482")
		w.pbx.Transaction("ACK", siptest.Message{Text: other}, merged.Header("To"))
		leg.Hangup(486, "Busy Here")
		w.pbx.Transaction("ACK", invite, w.pbx.Expect("SIP/2.0 486").Header("To"))
	})
}
