package sip

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// times are when copies of a message come, in seconds after the first.
func (w *world) times(start string) []float64 {
	w.Helper()
	var at []float64
	first := w.pbx.Expect(start)
	time.Sleep(2 * confirmTimeout)
	for w.pbx.Pending() {
		if m := w.pbx.Expect(""); strings.HasPrefix(m.Start(), start) {
			if m.Text != first.Text {
				w.Errorf("got another %s than before:\n%s\nwant\n%s", start, m.Text, first.Text)
			}
			at = append(at, m.At.Sub(first.At).Seconds())
		}
	}
	return at
}

func (w *world) sameTimes(got []float64, want ...float64) {
	w.Helper()
	if len(got) != len(want) {
		w.Fatalf("got it again after %v s, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			w.Fatalf("got it again after %v s, want %v", got, want)
		}
	}
}

// Over UDP what is not answered is sent again: a request other than INVITE at intervals of
// up to T2 for 64·T1 (RFC 3261 §17.1.2), a rejection as often until its ACK (§17.2.1).
func TestRetransmissions(t *testing.T) {
	capped := []float64{0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5}
	inBubble(t, func(w *world) { // BYE
		_, leg, _ := w.established("")
		leg.Hangup(0, "")
		w.sameTimes(w.times("BYE "), capped...)
	})
	inBubble(t, func(w *world) { // INFO
		_, leg, _ := w.established("")
		leg.Ask(&Request{Method: "INFO"})
		w.sameTimes(w.times("INFO "), capped...)
		w.event(leg, Replied)
		w.hangUp(leg)
	})
	inBubble(t, func(w *world) { // PRACK
		leg, invite := w.outgoing()
		reply(w.pbx, invite, "a", "183 Session Progress", "Require: 100rel\r\nRSeq: 1\r\n", someSDP)
		w.sameTimes(w.times("PRACK "), capped...)
		w.pbx.Reply(invite, "486 Busy Here", "")
		w.event(leg, Progressed)
		w.event(leg, Rejected)
	})
	inBubble(t, func(w *world) { // CANCEL
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "180 Ringing", "")
		w.event(leg, Progressed)
		leg.Hangup(487, "")
		w.sameTimes(w.times("CANCEL "), capped...)
	})
	inBubble(t, func(w *world) { // re-INVITE: doubled for ever, until 64·T1
		leg, _, _ := w.talking()
		leg.Reoffer([]byte(otherSDP))
		w.sameTimes(w.times("INVITE "), 0.5, 1.5, 3.5, 7.5, 15.5, 31.5)
		w.event(leg, ReofferRejected)
		w.event(leg, Ended)
	})
	inBubble(t, func(w *world) { // a rejection
		_, leg := w.incoming("")
		leg.Hangup(486, "Busy Here")
		w.sameTimes(w.times("SIP/2.0 486"), capped...)
	})
}

// A copy of a request gets a copy of its response, and is heard of once.
func TestCopiesOfRequests(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Progress(180, "Ringing", nil)
		ringing := w.pbx.Expect("SIP/2.0 180")
		w.pbx.Send(invite.Text)
		if again := w.pbx.Expect("SIP/2.0 180"); again.Text != ringing.Text {
			w.Errorf("got %s, want the last provisional response", again.Text)
		}
		leg.Answer([]byte(otherSDP))
		d := calling(w.pbx, invite, w.pbx.Expect("SIP/2.0 200"))
		w.pbx.Send(invite.Text) // absorbed: RFC 6026 §7.1
		w.pbx.Silent(T1 - time.Millisecond)
		w.pbx.Expect("SIP/2.0 200")
		ack := w.pbx.Request(d.Dialog, "ACK", 1, "", "")
		w.pbx.Send(ack.Text)
		w.event(leg, Confirmed)
		for _, c := range []struct{ method, body string }{{"INFO", ""}, {"UPDATE", ""}, {"OPTIONS", ""}, {"REFER", ""}, {"INVITE", someSDP}} {
			request := d.send(c.method, "", c.body)
			w.pbx.Send(request.Text)
			synctest.Wait()
			switch c.method {
			case "INFO", "REFER":
				w.event(leg, Requested).Request.Reply(200, "OK")
			case "INVITE":
				w.event(leg, Reoffered)
				leg.RejectReoffer(488, "Not Acceptable Here")
			}
			want := map[string]string{"INVITE": "SIP/2.0 488"}[c.method]
			if want == "" {
				want = "SIP/2.0 200"
			}
			answer := w.pbx.Within(time.Second, want)
			w.pbx.Send(request.Text)
			if again := w.pbx.Within(time.Second, want); again.Header("CSeq") != answer.Header("CSeq") {
				w.Errorf("got the answer to %q for a copy of %q", again.Header("CSeq"), answer.Header("CSeq"))
			}
			if c.method == "INVITE" {
				w.pbx.Acknowledge(request, answer)
			}
			for synctest.Wait(); w.pbx.Pending(); {
				w.pbx.Expect(want)
			}
			if len(leg.Events()) != 0 {
				w.Errorf("got event %v for a copy of %s", (<-leg.Events()).Kind, c.method)
			}
		}
		bye := d.send("BYE", "", "")
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Ended)
		w.pbx.Send(bye.Text)
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Silent(time.Minute)
	})
}

// With every third datagram lost a call comes about and ends all the same.
func TestLoss(t *testing.T) {
	for seed := range uint64(10) {
		inBubble(t, func(w *world) {
			chance := rand.New(rand.NewPCG(seed, seed))
			w.network.Lose(func(_, _ netip.AddrPort, _ []byte) bool { return chance.IntN(3) == 0 })
			leg, invite := w.outgoing()
			answer := reply(w.pbx, invite, "a", "200 OK", "", someSDP)
			for acked := false; !acked; {
				time.Sleep(T1)
				synctest.Wait()
				for w.pbx.Pending() {
					acked = acked || w.pbx.Expect("").Method() == "ACK"
				}
				if !acked {
					w.pbx.Send(answer.Text)
				}
			}
			w.event(leg, Answered)
			leg.Hangup(0, "")
			bye := w.pbx.Within(time.Minute, "BYE ")
			for w.ua.Legs() > 0 { // each copy gets its answer
				w.pbx.Reply(bye, "200 OK", "")
				time.Sleep(T1)
			}
			w.network.Lose(nil)
		})
	}
}
