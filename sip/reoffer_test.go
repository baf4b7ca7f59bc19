package sip

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	stack "github.com/emiago/sipgo/sip"

	"github.com/bewaard/bewaard/sip/siptest"
)

// An offer of ours that gets a 100 and nothing more is given up after three minutes. If
// that is answered the call goes on as it was; if not, the peer is gone.
func TestReofferPends(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, _, _ := w.talking()
		leg.Reoffer([]byte(otherSDP))
		began := time.Now()
		offer := w.pbx.Expect("INVITE ")
		w.pbx.Reply(offer, "100 Trying", "")
		time.Sleep(time.Minute)
		w.pbx.Reply(offer, "183 Session Progress", "") // the user is asked
		cancel := w.pbx.ExpectWithin(5*time.Minute, "CANCEL ")
		if after := time.Since(began); after < 4*time.Minute || after > 4*time.Minute+2*time.Second {
			w.Errorf("got it cancelled after %v, want 3m after the 183", after)
		}
		w.pbx.Reply(cancel, "200 OK", "")
		w.pbx.Reply(offer, "487 Request Terminated", "")
		w.pbx.Expect("ACK ")
		if e := w.event(leg, ReofferRejected); e.Code != 487 {
			w.Errorf("got %d, want 487", e.Code)
		}
		if err := leg.Reoffer([]byte(otherSDP)); err != nil {
			w.Errorf("got %v for the next offer", err)
		}
		w.pbx.Reply(w.pbx.Expect("INVITE "), "200 OK", someSDP)
		w.pbx.Expect("ACK ")
		w.event(leg, ReofferAnswered)
		w.hangUp(leg)
	})
	inBubble(t, func(w *world) {
		leg, _, _ := w.talking()
		leg.Reoffer([]byte(otherSDP))
		w.pbx.Reply(w.pbx.Expect("INVITE "), "100 Trying", "")
		w.pbx.Reply(w.pbx.ExpectWithin(4*time.Minute, "CANCEL "), "200 OK", "")
		if e := w.event(leg, ReofferRejected); e.Code != 408 {
			w.Errorf("got %d, want 408", e.Code)
		}
		w.pbx.Reply(w.pbx.Expect("BYE "), "200 OK", "")
		w.event(leg, Ended)
		time.Sleep(2 * confirmTimeout)
		synctest.Wait()
		w.noTransactions()
	})
}

// An offer that comes as the leg ends gets a 481, and is none for the call.
func TestReofferAtTheEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		d, leg, _ := w.established("")
		w.ua.transactions.OnRequest(func(req *stack.Request, tx *stack.ServerTx) {
			leg.Hangup(0, "") // between looking at the leg's state and at the offer
			leg.handleFresh(leg.dialog, req, tx)
		})
		update := d.send("UPDATE", "", someSDP)
		w.header(w.pbx.Within(time.Second, "SIP/2.0 481"), "CSeq", update.Header("CSeq"))
		w.pbx.Reply(w.pbx.Within(time.Second, "BYE "), "200 OK", "")
		synctest.Wait()
		select {
		case e := <-leg.Events():
			w.Errorf("got event %v on a leg that was hung up", e.Kind)
		default:
		}
	})
}

// An UPDATE's offer that meets the one in our INVITE, or in our response to an INVITE
// without, gets a 491; one that comes before we answer the peer's, a 500 (RFC 3311 §5.2).
func TestUpdateMeetsFirstOffer(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		d := called(w.pbx, invite, w.pbx.Reply(invite, "180 Ringing", ""))
		w.event(leg, Progressed)
		d.send("UPDATE", "", someSDP)
		w.pbx.Expect("SIP/2.0 491")
		answer := w.pbx.Reply(invite, "200 OK", someSDP)
		w.pbx.Expect("ACK ")
		w.event(leg, Answered)
		d = called(w.pbx, invite, answer)
		d.seq = 1
		d.send("UPDATE", "", someSDP)
		w.event(leg, Reoffered)
		leg.AnswerReoffer([]byte(otherSDP))
		w.pbx.Expect("SIP/2.0 200")
		w.hangUp(leg)
	})
	inBubble(t, func(w *world) {
		invite := w.pbx.Invite("100", "", "Supported: 100rel\r\n")
		w.pbx.Expect("SIP/2.0 100")
		leg := <-w.legs
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		calling(w.pbx, invite, w.pbx.Expect("SIP/2.0 183")).send("UPDATE", "", someSDP)
		w.pbx.Expect("SIP/2.0 491")
		leg.Hangup(486, "Busy Here")
		w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 486"))
	})
}

// Our offer meets the peer's: both are refused, and each is made again when its time has
// come, ours by who asked for it. A refused offer changes nothing.
func TestReofferGlare(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite, answer := w.talking()
		d := called(w.pbx, invite, answer)
		leg.Reoffer([]byte("v=0\r\nrefused"))
		ours := w.pbx.Expect("INVITE ")
		theirs := d.send("INVITE", "", someSDP)
		w.pbx.Acknowledge(theirs, w.pbx.Expect("SIP/2.0 491"))
		w.pbx.Reply(ours, "491 Request Pending", "")
		w.pbx.Expect("ACK ")
		if e := w.event(leg, ReofferRejected); e.Code != 491 {
			w.Errorf("got %d, want 491", e.Code)
		}
		if string(leg.sent) != otherSDP {
			w.Errorf("got description %q standing, want the one before", leg.sent)
		}
		for range 50 { // the Call-ID is ours: RFC 3261 §14.1
			if b := leg.Backoff(); b < 2100*time.Millisecond || b > 4*time.Second || b%(10*time.Millisecond) != 0 {
				w.Errorf("got back-off %v, want 2.1s to 4s in steps of 10ms", b)
			}
		}
		time.Sleep(leg.Backoff())
		d.send("INVITE", "", someSDP) // theirs is sooner
		w.pbx.Expect("SIP/2.0 100")
		w.event(leg, Reoffered)
		leg.AnswerReoffer([]byte(otherSDP))
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Request(d.Dialog, "ACK", d.seq, "", "")
		w.event(leg, Acknowledged)
		if err := leg.Reoffer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		w.pbx.Reply(w.pbx.Expect("INVITE "), "200 OK", someSDP)
		w.pbx.Expect("ACK ")
		w.event(leg, ReofferAnswered)
		w.hangUp(leg)
	})
	inBubble(t, func(w *world) {
		_, leg, _ := w.established("")
		for range 50 {
			if b := leg.Backoff(); b < 0 || b > 2*time.Second {
				w.Errorf("got back-off %v, want 2s at most: the Call-ID is the peer's", b)
			}
		}
		w.hangUp(leg)
	})
}

// An offer that the peer cancels has its 487 whatever the call
// says to it, and changes nothing.
func TestReofferWithdrawn(t *testing.T) {
	for _, settle := range []func(l *Leg){
		func(l *Leg) {
			if err := l.AnswerReoffer([]byte("v=0")); !errors.Is(err, ErrOver) {
				t.Errorf("got %v for an answer after the CANCEL, want ErrOver", err)
			}
		},
		func(l *Leg) { l.RejectReoffer(488, "Not Acceptable Here") },
	} {
		inBubble(t, func(w *world) {
			leg, invite, answer := w.talking()
			d := called(w.pbx, invite, answer)
			offer := d.send("INVITE", "", someSDP)
			w.pbx.Expect("SIP/2.0 100")
			w.event(leg, Reoffered)
			w.pbx.Transaction("CANCEL", offer, offer.Header("To"))
			w.pbx.Expect("SIP/2.0 200")
			w.pbx.Expect("SIP/2.0 487")
			settle(leg)
			if string(leg.sent) != otherSDP {
				w.Errorf("got description %q standing, want the one before", leg.sent)
			}
			w.pbx.Acknowledge(offer, w.pbx.Expect("SIP/2.0 487")) // as often as it takes
			w.pbx.Silent(time.Minute)
			d.send("INVITE", "", someSDP) // may be another
			w.pbx.Expect("SIP/2.0 100")
			w.event(leg, Reoffered)
			w.hangUpPending(leg, invite)
		})
	}
}

// The ACK of a re-INVITE that we refused is none of our 200, which is repeated.
func TestRefusedReofferConfirmsNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		d := w.pbx.CallerDialog(invite, answer)
		tooEarly := w.pbx.Request(d, "INVITE", 2, "", someSDP)
		w.pbx.Acknowledge(tooEarly, w.pbx.Expect("SIP/2.0 500"))
		w.header(w.pbx.Expect("SIP/2.0 200"), "CSeq", "1 INVITE")
		w.pbx.Request(d, "ACK", 1, "", "")
		w.event(leg, Confirmed)
		w.pbx.Silent(time.Minute)
		w.hangUp(leg)
	})
}

// An offer of ours to a branch that does not answer in the end has no say in the call.
func TestReofferOfOtherBranch(t *testing.T) {
	for name, settle := range map[string]func(w *world, update siptest.Message){
		"unknown": func(w *world, update siptest.Message) {
			w.pbx.Reply(update, "481 Call/Transaction Does Not Exist", "")
		},
		"silent": func(*world, siptest.Message) {},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				leg, invite := w.outgoing()
				reply(w.pbx, invite, "a", "183 Session Progress", "Allow: UPDATE\r\nRequire: 100rel\r\nRSeq: 1\r\n", someSDP)
				w.pbx.Reply(w.pbx.Expect("PRACK "), "200 OK", "")
				w.event(leg, Progressed)
				if err := leg.Reoffer([]byte(otherSDP)); err != nil {
					w.Fatal(err)
				}
				update := w.pbx.Expect("UPDATE sip:a@")
				reply(w.pbx, invite, "b", "200 OK", "", someSDP)
				w.event(leg, Answered)
				w.pbx.Expect("ACK sip:b@")
				settle(w, update)
				w.event(leg, ReofferRejected)
				leg.Hangup(0, "")
				w.pbx.Reply(w.pbx.Within(time.Second, "BYE sip:b@"), "200 OK", "")
				synctest.Wait()
				select {
				case e := <-leg.Events():
					w.Errorf("got event %v", e.Kind)
				default:
				}
			})
		})
	}
}
