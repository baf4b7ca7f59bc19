package sip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bewaard/bewaard/sip/siptest"
)

// reply answers a request of ours with a tag and header lines of the test's.
func reply(p *siptest.Peer, request siptest.Message, tag, status, more, body string) siptest.Message {
	return p.Respond(request, siptest.Response{Status: status, Tag: tag, More: more, Body: body})
}

// peerDialog is a dialog of the peer's that counts its requests.
type peerDialog struct {
	siptest.Dialog
	peer *siptest.Peer
	seq  int
}

// calling is the dialog of a peer that sent us an INVITE.
func calling(p *siptest.Peer, invite, response siptest.Message) *peerDialog {
	return &peerDialog{p.CallerDialog(invite, response), p, 1}
}

// called is the dialog of a peer that answered our INVITE so.
func called(p *siptest.Peer, invite, response siptest.Message) *peerDialog {
	return &peerDialog{p.CalleeDialog(invite, response), p, 0}
}

func (d *peerDialog) send(method, more, body string) siptest.Message {
	if method != "ACK" {
		d.seq++
	}
	return d.peer.Request(d.Dialog, method, d.seq, more, body)
}

func (w *world) header(m siptest.Message, name, want string) {
	w.Helper()
	if got := m.Header(name); got != want {
		w.Errorf("got %s %q in %s, want %q", name, got, m.Start(), want)
	}
}

// A description in a provisional response goes reliably to a peer that can: again and
// again until its PRACK, and the 200 waits for that.
func TestReliableDescription(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Supported: 100rel, timer\r\n")
		if err := leg.Progress(180, "Ringing", nil); err != nil {
			w.Fatal(err)
		}
		w.header(w.pbx.Expect("SIP/2.0 180"), "RSeq", "")
		began := time.Now()
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		progress := w.pbx.Expect("SIP/2.0 183")
		w.header(progress, "Require", "100rel")
		leg.Progress(183, "Session Progress", []byte(otherSDP)) // waits for the first's PRACK
		leg.Answer([]byte(otherSDP))                            // and this for both
		for _, after := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond} {
			again := w.pbx.Expect("SIP/2.0 183")
			if got := again.At.Sub(began); got != after || again.Header("RSeq") != progress.Header("RSeq") {
				w.Errorf("got RSeq %s again after %v, want %s after %v", again.Header("RSeq"), got, progress.Header("RSeq"), after)
			}
		}
		d := calling(w.pbx, invite, progress)
		d.send("PRACK", "RAck: 1 1 INVITE\r\n", "")
		w.pbx.Expect("SIP/2.0 481")
		d.send("PRACK", "RAck: "+progress.Header("RSeq")+" 1 INVITE\r\n", "")
		w.pbx.Expect("SIP/2.0 200")
		second := w.pbx.Expect("SIP/2.0 183")
		d.send("PRACK", "RAck: "+second.Header("RSeq")+" 1 INVITE\r\n", "")
		for range 2 { // of the PRACK and of the INVITE
			w.pbx.Expect("SIP/2.0 200")
		}
		d.seq = 1
		d.send("ACK", "", "")
		w.event(leg, Confirmed)
		d.seq = 4
		d.send("BYE", "", "")
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Ended)
	})
}

// A peer that requires 100rel gets every provisional response so; one that never sends
// PRACK is given up after 32 seconds.
func TestReliableRequired(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Require: 100rel\r\n")
		began := time.Now()
		leg.Progress(180, "Ringing", nil)
		w.header(w.pbx.Expect("SIP/2.0 180"), "Require", "100rel")
		w.event(leg, Unconfirmed)
		if waited := time.Since(began); waited != 32*time.Second {
			w.Errorf("got it given up after %v, want 32s", waited)
		}
		leg.Hangup(503, "Service Unavailable")
		for {
			m := w.pbx.Expect("SIP/2.0 ")
			if strings.HasPrefix(m.Start(), "SIP/2.0 503") {
				w.pbx.Transaction("ACK", invite, m.Header("To"))
				return
			}
		}
	})
}

// An INVITE without an offer: a reliable 183 makes it, and the PRACK answers. A PRACK may
// also offer anew.
func TestPrackDescribes(t *testing.T) {
	inBubble(t, func(w *world) {
		invite := w.pbx.Invite("100", "", "Supported: 100rel\r\n")
		w.pbx.Expect("SIP/2.0 100")
		leg := <-w.legs
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		first := w.pbx.Expect("SIP/2.0 183")
		d := calling(w.pbx, invite, first)
		d.send("PRACK", "RAck: "+first.Header("RSeq")+" 1 INVITE\r\n", someSDP)
		w.pbx.Expect("SIP/2.0 200")
		if e := w.event(leg, Acknowledged); string(e.Body) != someSDP {
			w.Errorf("got answer %q", e.Body)
		}
		leg.Hangup(486, "Busy Here")
		w.pbx.Transaction("ACK", invite, w.pbx.Expect("SIP/2.0 486").Header("To"))
	})
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Supported: 100rel\r\n")
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		first := w.pbx.Expect("SIP/2.0 183")
		d := calling(w.pbx, invite, first)
		d.send("PRACK", "RAck: "+first.Header("RSeq")+" 1 INVITE\r\n", someSDP)
		w.event(leg, Reoffered)
		leg.AnswerReoffer([]byte(otherSDP))
		if ok := w.pbx.Expect("SIP/2.0 200"); ok.Body() != otherSDP || ok.Method() != "PRACK" {
			w.Errorf("got %q with %q", ok.Header("CSeq"), ok.Body())
		}
		leg.Hangup(486, "Busy Here")
		w.pbx.Transaction("ACK", invite, w.pbx.Expect("SIP/2.0 486").Header("To"))
	})
}

// The 200 waits for our answer to an offer that a PRACK brought, whatever it is.
func TestAnswerAwaitsOurs(t *testing.T) {
	for want, settle := range map[string]func(l *Leg){
		"SIP/2.0 200": func(l *Leg) { l.AnswerReoffer([]byte(otherSDP)) },
		"SIP/2.0 488": func(l *Leg) { l.RejectReoffer(488, "Not Acceptable Here") },
	} {
		inBubble(t, func(w *world) {
			invite, leg := w.incoming("Supported: 100rel, timer\r\n")
			leg.Progress(183, "Session Progress", []byte(otherSDP))
			progress := w.pbx.Expect("SIP/2.0 183")
			leg.Answer(nil)
			d := calling(w.pbx, invite, progress)
			d.send("PRACK", "RAck: "+progress.Header("RSeq")+" 1 INVITE\r\n", someSDP)
			w.event(leg, Reoffered)
			w.pbx.Silent(time.Second)
			settle(leg)
			if m := w.pbx.Expect(want); m.Method() != "PRACK" {
				w.Errorf("got %s to %s, want the PRACK's answer first", m.Start(), m.Header("CSeq"))
			}
			m := w.pbx.Expect("SIP/2.0 200")
			if m.Method() != "INVITE" {
				w.Errorf("got a 200 to %s, want the INVITE's", m.Header("CSeq"))
			}
			w.header(m, "Session-Expires", "1800;refresher=uac") // of which the PRACK said nothing
			w.pbx.Request(d.Dialog, "ACK", 1, "", "")
			w.event(leg, Confirmed)
			w.hangUp(leg)
		})
	}
}

// An UPDATE's offer that is not answered yet holds the 200 as well.
func TestAnswerAwaitsUpdate(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Supported: 100rel\r\n")
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		progress := w.pbx.Expect("SIP/2.0 183")
		d := calling(w.pbx, invite, progress)
		d.send("PRACK", "RAck: "+progress.Header("RSeq")+" 1 INVITE\r\n", "")
		w.pbx.Expect("SIP/2.0 200")
		d.send("UPDATE", "", someSDP)
		w.event(leg, Reoffered)
		leg.Answer(nil)
		w.pbx.Silent(time.Second)
		leg.AnswerReoffer([]byte(otherSDP))
		for _, method := range []string{"UPDATE", "INVITE"} {
			if m := w.pbx.Expect("SIP/2.0 200"); m.Method() != method {
				w.Errorf("got a 200 to %s, want the %s's", m.Header("CSeq"), method)
			}
		}
		w.pbx.Request(d.Dialog, "ACK", 1, "", "")
		w.event(leg, Confirmed)
		w.hangUp(leg)
	})
}

// A PRACK that comes after the 200 is for a response that we sent: it gets a 200.
func TestPrackAfterAnswer(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Require: 100rel\r\n")
		leg.Progress(180, "Ringing", nil)
		leg.Progress(180, "Ringing", nil) // is never sent
		ringing := w.pbx.Expect("SIP/2.0 180")
		leg.Answer([]byte(otherSDP))
		w.pbx.Expect("SIP/2.0 200")
		d := calling(w.pbx, invite, ringing)
		rack := "RAck: " + ringing.Header("RSeq") + " 1 INVITE\r\n"
		d.send("PRACK", rack, "")
		if m := w.pbx.Expect("SIP/2.0 200"); m.Method() != "PRACK" {
			w.Errorf("got a 200 to %s, want the PRACK's", m.Header("CSeq"))
		}
		d.send("PRACK", rack, "")
		w.pbx.Expect("SIP/2.0 481") // once is enough
		w.pbx.Request(d.Dialog, "ACK", 1, "", "")
		w.event(leg, Confirmed)
		w.pbx.Silent(time.Minute)
		w.hangUp(leg)
	})
}

// A callee has nothing to acknowledge by PRACK, and its call goes on.
func TestPrackOfCallee(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite, answer := w.talking()
		called(w.pbx, invite, answer).send("PRACK", "RAck: 1 1 INVITE\r\n", "")
		w.pbx.Expect("SIP/2.0 481")
		w.hangUp(leg)
	})
}

// A description that went before the 200 stands after it: a refresh by INVITE has it.
func TestEarlyDescriptionStands(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Supported: 100rel, timer\r\nSession-Expires: 200;refresher=uas\r\n")
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		progress := w.pbx.Expect("SIP/2.0 183")
		d := calling(w.pbx, invite, progress)
		d.send("PRACK", "RAck: "+progress.Header("RSeq")+" 1 INVITE\r\n", "")
		w.pbx.Expect("SIP/2.0 200")
		leg.Answer(nil)
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Request(d.Dialog, "ACK", 1, "", "")
		w.event(leg, Confirmed)
		refresh := w.pbx.ExpectWithin(2*time.Minute, "INVITE ")
		if refresh.Body() != otherSDP {
			w.Errorf("got description %q, want the one of the 183", refresh.Body())
		}
		reply(w.pbx, refresh, "", "200 OK", "Session-Expires: 200;refresher=uac\r\n", someSDP)
		w.pbx.Expect("ACK ")
		w.event(leg, Refreshed)
		w.hangUp(leg)
	})
}

// A CANCEL ends what waits for a PRACK.
func TestReliableCancelled(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Supported: 100rel\r\n")
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		w.pbx.Expect("SIP/2.0 183")
		w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Transaction("ACK", invite, w.pbx.Expect("SIP/2.0 487").Header("To"))
		w.event(leg, Cancelled)
		w.pbx.Silent(time.Minute)
	})
}

// A reliable response to our INVITE gets its PRACK at once, in the branch's own dialog and
// along its route; what is repeated or comes before its turn is no news.
func TestPrack(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		reply(w.pbx, invite, "a", "183 Session Progress", "Require: 100rel\r\nRSeq: 7\r\nRecord-Route: <sip:192.0.2.5;lr>\r\nRecord-Route: <sip:192.0.2.5;lr;x=1>\r\n", someSDP)
		prack := w.pbx.Expect("PRACK sip:a@192.0.2.5:5060")
		w.header(prack, "RAck", "7 1 INVITE")
		w.header(prack, "Route", "<sip:192.0.2.5;lr;x=1>")
		w.header(prack, "CSeq", "2 PRACK")
		w.event(leg, Progressed)
		w.pbx.Reply(prack, "200 OK", "")
		reply(w.pbx, invite, "a", "183 Session Progress", "Require: 100rel\r\nRSeq: 7\r\n", someSDP)
		reply(w.pbx, invite, "a", "183 Session Progress", "Require: 100rel\r\nRSeq: 9\r\n", someSDP)
		w.pbx.Silent(time.Second)
		reply(w.pbx, invite, "b", "183 Session Progress", "Require: 100rel\r\nRSeq: 1\r\n", someSDP)
		w.pbx.Reply(w.pbx.Expect("PRACK sip:b@"), "200 OK", "")
		if e := w.event(leg, Progressed); e.Branch != 1 {
			w.Errorf("got branch %d, want 1", e.Branch)
		}
		leg.Hangup(487, "")
		w.pbx.Reply(w.pbx.Expect("CANCEL "), "200 OK", "")
		w.pbx.Reply(invite, "487 Request Terminated", "")
		w.pbx.Expect("ACK ")
	})
}

// Two branches answer: the first is the call, the other is acknowledged and ended where it
// is, and a repeated 200 gets its ACK again.
func TestForkedAnswer(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		reply(w.pbx, invite, "a", "180 Ringing", "", "")
		reply(w.pbx, invite, "b", "180 Ringing", "", "")
		w.event(leg, Progressed)
		w.event(leg, Progressed)
		ok := reply(w.pbx, invite, "b", "200 OK", "", someSDP)
		w.event(leg, Answered)
		w.pbx.Expect("ACK sip:b@")
		w.pbx.Send(ok.Text)
		w.pbx.Expect("ACK sip:b@")
		reply(w.pbx, invite, "a", "200 OK", "", someSDP)
		w.pbx.Expect("ACK sip:a@")
		bye := w.pbx.Expect("BYE sip:a@")
		if !strings.Contains(bye.Header("To"), "tag=a") {
			w.Errorf("got BYE to %q", bye.Header("To"))
		}
		w.pbx.Reply(bye, "200 OK", "")
		leg.Hangup(0, "")
		w.pbx.Reply(w.pbx.Expect("BYE sip:b@"), "200 OK", "")
	})
}

// However many provisional responses a peer sends, each is heard of: sipgo's own dialogs
// stop at ten.
func TestManyProvisionals(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		for i := range 30 {
			reply(w.pbx, invite, "a", fmt.Sprintf("18%d Progress", i%4), "", "")
			w.event(leg, Progressed)
		}
		reply(w.pbx, invite, "a", "486 Busy Here", "", "")
		w.pbx.Expect("ACK ")
		w.event(leg, Rejected)
	})
}
