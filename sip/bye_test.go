package sip

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// A BYE before the ACK of our 200 ends the call, and the 200 is not repeated; the ACK may
// still come.
func TestByeBeforeAck(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		d := w.pbx.CallerDialog(invite, w.pbx.Expect("SIP/2.0 200"))
		w.pbx.Request(d, "BYE", 2, "", "")
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Ended)
		w.pbx.Request(d, "ACK", 1, "", "")
		w.pbx.Silent(time.Minute)
		if len(leg.Events()) != 0 {
			w.Errorf("got event %v after the end", (<-leg.Events()).Kind)
		}
		w.noTransactions()
	})
}

// The same where the call was to be hung up as soon as the ACK came: no BYE of ours follows.
func TestByeBeforeAckOfHangup(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		d := w.pbx.CallerDialog(invite, w.pbx.Expect("SIP/2.0 200"))
		leg.Hangup(503, "Service Unavailable")
		w.pbx.Request(d, "BYE", 2, "", "")
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Request(d, "ACK", 1, "", "")
		w.pbx.Silent(time.Minute)
	})
}

// BYEs that cross are both answered, and the call hears of no end that it made itself.
func TestByesCross(t *testing.T) {
	for _, answer := range []string{"200 OK", "481 Call/Transaction Does Not Exist"} {
		inBubble(t, func(w *world) {
			leg, invite, reply := w.talking()
			d := called(w.pbx, invite, reply)
			leg.Hangup(0, "")
			d.send("BYE", "", "")
			first, second := w.pbx.Expect(""), w.pbx.Expect("")
			if !strings.HasPrefix(first.Start(), "BYE ") {
				first, second = second, first
			}
			if !strings.HasPrefix(first.Start(), "BYE ") || !strings.HasPrefix(second.Start(), "SIP/2.0 200") {
				w.Errorf("got %q and %q, want our BYE and the answer to theirs", first.Start(), second.Start())
			}
			w.pbx.Reply(first, answer, "")
			synctest.Wait()
			if len(leg.Events()) != 0 {
				w.Errorf("got event %v", (<-leg.Events()).Kind)
			}
		})
	}
}

// Who hangs up for want of an ACK does so after 64·T1 (RFC 3261 §13.3.1.4), once.
func TestAckIsLost(t *testing.T) {
	inBubble(t, func(w *world) {
		_, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		leg.Hangup(480, "Temporarily Unavailable")
		began := time.Now()
		bye := w.pbx.Within(time.Minute, "BYE ")
		if after := time.Since(began); after < confirmTimeout || after > confirmTimeout+T2 {
			w.Errorf("got the BYE after %v, want 64·T1", after)
		}
		w.pbx.Reply(bye, "200 OK", "")
		w.pbx.Silent(time.Minute)
	})
}

// Each leg of a call says in its requests whose call it is without waiting for the other:
// both may be making one.
func TestIdentifyingWaitsForNoLeg(t *testing.T) {
	inBubble(t, func(w *world) {
		_, a, _ := w.established("")
		_, b, _ := w.established("")
		Bridge(a, b)
		a.mu.Lock()
		b.mu.Lock()
		for _, l := range []*Leg{a, b} {
			req, res := stack.NewRequest(stack.INFO, stack.Uri{}), &stack.Response{}
			l.identify(req)
			l.identify(res)
			if req.GetHeader("Session-ID") == nil || res.GetHeader("Session-ID") == nil {
				w.Error("got a message without Session-ID")
			}
		}
		b.mu.Unlock()
		a.mu.Unlock()
		w.hangUp(a)
		w.hangUp(b)
	})
}
