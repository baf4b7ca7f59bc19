package sip

import (
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bewaard/bewaard/sip/siptest"
)

// A CANCEL that comes while its INVITE's leg is being made, or that sipgo hands over before
// the INVITE, ends the call.
func TestCancelBehindInvite(t *testing.T) {
	for _, name := range []string{"while", "first"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.handler.pause = time.Millisecond
				invite := w.pbx.Message("100", someSDP, "")
				switch name {
				case "first":
					w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
					synctest.Wait()
					w.pbx.Send(invite.Text)
				case "while":
					w.pbx.Send(invite.Text)
					synctest.Wait()
					w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
				}
				leg := <-w.legs
				w.event(leg, Cancelled)
				if err := leg.Answer([]byte(otherSDP)); !errors.Is(err, ErrOver) {
					w.Errorf("got %v for an answer after the CANCEL, want ErrOver", err)
				}
				if m := w.pbx.Within(time.Second, "SIP/2.0 200"); m.Method() != "CANCEL" {
					w.Errorf("got a 200 to %s", m.Header("CSeq"))
				}
				w.pbx.Expect("SIP/2.0 487")
				w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 487")) // as often as it takes, and not the 100
				w.pbx.Silent(time.Minute)
			})
		})
	}
}

// A response that is too late for a CANCEL does not take the place of the 487, which is
// repeated until its ACK.
func TestResponseCrossesCancel(t *testing.T) {
	for name, late := range map[string]func(l *Leg) error{
		"provisional": func(l *Leg) error { return l.provide(l.responseTo(l.invite, 180, "Ringing", nil)) },
		"rejection":   func(l *Leg) error { l.reject(hangup{code: 486, reason: "Busy Here"}); return nil },
		"answer": func(l *Leg) error {
			l.mu.Lock()
			l.state = proceeding // as it was a moment ago
			l.mu.Unlock()
			defer l.end()
			if err := l.answerNow([]byte(otherSDP), nil); !errors.Is(err, ErrOver) {
				return errors.New("answered")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				invite, leg := w.incoming("")
				w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
				w.pbx.Expect("SIP/2.0 200")
				w.pbx.Expect("SIP/2.0 487")
				w.event(leg, Cancelled)
				if err := late(leg); err != nil {
					w.Errorf("got %v, want it to be too late and no more", err)
				}
				w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 487"))
				w.pbx.Silent(time.Minute)
			})
		})
	}
}

// The same for a provisional response that is late for a rejection of ours.
func TestProvisionalCrossesRejection(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Hangup(486, "Busy Here")
		w.pbx.Expect("SIP/2.0 486")
		if err := leg.provide(leg.responseTo(leg.invite, 183, "Session Progress", nil)); err != nil {
			w.Errorf("got %v, want it to be too late and no more", err)
		}
		w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 486"))
		w.pbx.Silent(time.Minute)
	})
}

// Of a CANCEL and our 200 that cross, the one that the transaction saw first decides.
func TestCancelCrossesAnswer(t *testing.T) {
	var during func(m siptest.Message)
	wrap := func(_ *world, c net.PacketConn) net.PacketConn {
		return &seam{PacketConn: c, before: func(m siptest.Message) {
			if during != nil {
				during(m)
			}
		}}
	}
	t.Run("answer first", func(t *testing.T) {
		inBubbleBy(t, Config{}, wrap, func(w *world) {
			invite, leg := w.incoming("")
			during = func(m siptest.Message) {
				if m.Method() == "CANCEL" { // it is read, and its INVITE not ended yet
					during = nil
					if err := leg.Answer([]byte(otherSDP)); err != nil {
						w.Errorf("got %v, want the call answered", err)
					}
				}
			}
			w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
			answer := w.pbx.Expect("SIP/2.0 200")
			w.pbx.Expect("SIP/2.0 200")
			d := w.pbx.CallerDialog(invite, answer)
			w.pbx.Request(d, "ACK", 1, "", "")
			w.event(leg, Confirmed)
			w.pbx.Request(d, "BYE", 2, "", "")
			w.pbx.Expect("SIP/2.0 200")
			w.event(leg, Ended)
			w.pbx.Silent(time.Minute)
		})
	})
	t.Run("cancel first", func(t *testing.T) {
		inBubbleBy(t, Config{}, wrap, func(w *world) {
			invite, leg := w.incoming("")
			during = func(m siptest.Message) {
				if strings.HasPrefix(m.Start(), "SIP/2.0 487") {
					during = nil
					if err := leg.Answer([]byte(otherSDP)); !errors.Is(err, ErrOver) {
						w.Errorf("got %v, want ErrOver", err)
					}
				}
			}
			w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
			w.pbx.Expect("SIP/2.0 200")
			w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 487"))
			w.event(leg, Cancelled)
			w.pbx.Silent(time.Minute)
		})
	})
}

// A CANCEL of nothing gets a 481, and one after the 200 changes nothing.
func TestCancelTooLate(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
		if m := w.pbx.Expect("SIP/2.0 200"); m.Method() != "CANCEL" {
			w.Errorf("got a 200 to %s", m.Header("CSeq"))
		}
		w.pbx.Request(w.pbx.CallerDialog(invite, answer), "ACK", 1, "", "")
		w.event(leg, Confirmed)
		w.hangUp(leg)
		other := w.pbx.Message("100", someSDP, "")
		w.pbx.Transaction("CANCEL", other, other.Header("To"))
		w.pbx.Expect("SIP/2.0 481")
	})
}

// An ACK that comes before Answer has returned is the ACK.
func TestAckIsQuick(t *testing.T) {
	var invite siptest.Message
	inBubbleBy(t, Config{}, func(w *world, c net.PacketConn) net.PacketConn {
		return &seam{PacketConn: c, after: func(m siptest.Message) {
			if strings.HasPrefix(m.Start(), "SIP/2.0 200") && m.Method() == "INVITE" {
				w.pbx.Request(w.pbx.CallerDialog(invite, m), "ACK", 1, "", "")
				time.Sleep(time.Millisecond) // of the bubble's: it is handled
			}
		}}
	}, func(w *world) {
		var leg *Leg
		invite, leg = w.incoming("")
		if err := leg.Answer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Confirmed)
		w.pbx.Silent(time.Minute)
		w.hangUp(leg)
	})
}

// Why a call was given up is said also by a CANCEL that has to wait for a provisional
// response, and by the BYE where the 200 comes instead.
func TestReasonOfCancel(t *testing.T) {
	const reason = `SIP;cause=200;text="Call completed elsewhere"`
	for status, method := range map[string]string{"100 Trying": "CANCEL ", "200 OK": "BYE "} {
		inBubble(t, func(w *world) {
			leg, invite := w.outgoing()
			leg.Hangup(487, "Request Terminated", Header{"Reason", reason})
			w.pbx.Silent(100 * time.Millisecond)
			w.pbx.Reply(invite, status, "")
			last := w.pbx.Within(time.Second, method)
			if got := last.Headers("Reason"); len(got) != 1 || got[0] != reason {
				w.Errorf("got Reason %q in the %s, want %q", got, method, reason)
			}
			w.pbx.Reply(last, "200 OK", "")
			if method == "CANCEL " {
				w.pbx.Reply(invite, "487 Request Terminated", "")
				w.pbx.Expect("ACK ")
			}
			w.pbx.Silent(time.Minute)
		})
	}
}

// A callee that hangs up while it rings, which it should not, has its INVITE cancelled;
// what asks for something in an early dialog that is given up gets a 481.
func TestCalleeHangsUpEarly(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		d := called(w.pbx, invite, w.pbx.Reply(invite, "180 Ringing", ""))
		w.event(leg, Progressed)
		bye := w.pbx.Compose(d.Dialog, "BYE", 1, "Reason: Q.850;cause=17\r\n", "")
		w.pbx.Send(bye.Text)
		if e := w.event(leg, Ended); e.Reason != "Q.850;cause=17" {
			w.Errorf("got reason %q", e.Reason)
		}
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Reply(w.pbx.Expect("CANCEL "), "200 OK", "")
		w.pbx.Request(d.Dialog, "INFO", 2, "", "")
		w.pbx.Expect("SIP/2.0 481")
		leg.Hangup(0, "") // what release does
		w.pbx.Reply(invite, "487 Request Terminated", "")
		w.pbx.Expect("ACK ")
		w.pbx.Silent(time.Minute)
	})
}

// The same where the INVITE never gets a final response: it is forgotten after 64·T1.
func TestCalleeHangsUpEarlyAndIsGone(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		ringing := w.pbx.Reply(invite, "180 Ringing", "")
		w.event(leg, Progressed)
		w.pbx.Request(w.pbx.CalleeDialog(invite, ringing), "BYE", 1, "", "")
		w.event(leg, Ended)
		time.Sleep(2 * confirmTimeout)
		synctest.Wait()
		w.noTransactions()
	})
}

// Copies of an INVITE that come at once are one call; the second is counted as refused.
func TestMergedAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.handler.pause = time.Millisecond
		invite := w.pbx.Message("100", someSDP, "")
		other := siptest.Message{Text: strings.Replace(invite.Text, ";branch=z9hG4bK", ";branch=z9hG4bKother", 1)}
		w.pbx.Send(invite.Text)
		w.pbx.Send(other.Text)
		leg := <-w.legs
		w.pbx.Acknowledge(other, w.pbx.Within(time.Second, "SIP/2.0 482"))
		if len(w.legs) != 0 {
			w.Error("got a leg for each copy, want one")
		}
		if got := testutil.ToFloat64(w.ua.metrics.responses.WithLabelValues("INVITE", "482", "pbx")); got != 1 {
			w.Errorf("got %v refusals counted, want 1", got)
		}
		leg.Hangup(486, "Busy Here")
		w.pbx.Acknowledge(invite, w.pbx.Within(time.Second, "SIP/2.0 486"))
	})
}

// A proxy that forks an INVITE to two of our numbers makes two calls.
func TestForkToTwoNumbers(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, first := w.incoming("")
		other := siptest.Message{Text: strings.NewReplacer("INVITE sip:+31209876543", "INVITE sip:200", ";branch=z9hG4bK", ";branch=z9hG4bKother").Replace(invite.Text)}
		w.pbx.Send(other.Text)
		w.pbx.Expect("SIP/2.0 100")
		second := <-w.legs
		if got := second.Called(); got != "200" {
			w.Errorf("got a call to %q, want 200", got)
		}
		first.Hangup(486, "Busy Here")
		w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 486"))
		second.Hangup(486, "Busy Here")
		w.pbx.Acknowledge(other, w.pbx.Expect("SIP/2.0 486"))
	})
}
