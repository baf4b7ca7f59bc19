package sip

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bewaard/bewaard/sip/siptest"
)

// established answers a call of the peer's and returns its dialog, leg and our 200.
func (w *world) established(more string) (*peerDialog, *Leg, siptest.Message) {
	w.Helper()
	invite, leg := w.incoming(more)
	if err := leg.Answer([]byte(otherSDP)); err != nil {
		w.Fatal(err)
	}
	ok := w.pbx.Expect("SIP/2.0 200")
	d := calling(w.pbx, invite, ok)
	d.send("ACK", "", "")
	w.event(leg, Confirmed)
	return d, leg, ok
}

func (w *world) hangup(leg *Leg) {
	w.Helper()
	leg.Hangup(0, "")
	w.pbx.Reply(w.pbx.Expect("BYE "), "200 OK", "")
}

// The peer refreshes the session where it can; when it does not, the call is over 32
// seconds before the time is.
func TestSessionOfCaller(t *testing.T) {
	inBubble(t, func(w *world) {
		d, leg, ok := w.established("Supported: timer\r\nSession-Expires: 3600\r\n")
		w.header(ok, "Session-Expires", "1800;refresher=uac")
		w.header(ok, "Require", "timer")
		time.Sleep(1700 * time.Second) // of the bubble's
		d.send("UPDATE", "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n", "")
		w.header(w.pbx.Expect("SIP/2.0 200"), "Session-Expires", "1800;refresher=uac")
		refreshed := time.Now()
		w.pbx.Silent(1700 * time.Second)
		w.event(leg, Expired)
		if after := time.Since(refreshed); after != 1768*time.Second {
			w.Errorf("got the end after %v, want 1768s", after)
		}
		leg.Hangup(408, "Session Expired")
		bye := w.pbx.Expect("BYE ")
		w.header(bye, "Reason", `SIP;cause=408;text="Session Expired"`)
		w.pbx.Reply(bye, "200 OK", "")
	})
}

// We refresh where the peer wants us to, by UPDATE if it takes that, else by an INVITE
// with the description that stands.
func TestSessionRefreshedByUs(t *testing.T) {
	for allow, method := range map[string]string{"Allow: INVITE, ACK, BYE, UPDATE\r\n": "UPDATE", "Allow: INVITE, ACK, BYE\r\n": "INVITE"} {
		inBubble(t, func(w *world) {
			_, leg, ok := w.established("Supported: timer\r\nSession-Expires: 200;refresher=uas\r\n" + allow)
			w.header(ok, "Session-Expires", "200;refresher=uas")
			began := time.Now()
			for n := range 3 {
				time.Sleep(time.Until(began.Add(time.Duration(n+1)*100*time.Second)) - time.Second)
				refresh := w.pbx.Expect(method + " ")
				if after := time.Since(began); after.Round(time.Second) != time.Duration(n+1)*100*time.Second {
					w.Errorf("got the refresh after %v, want it at half the time", after)
				}
				w.header(refresh, "Session-Expires", "200;refresher=uac")
				if method == "INVITE" && refresh.Body() != otherSDP {
					w.Errorf("got description %q, want the one that stands", refresh.Body())
				}
				body := ""
				if method == "INVITE" {
					body = someSDP
				}
				reply(w.pbx, refresh, "", "200 OK", "Session-Expires: 200;refresher=uac\r\n", body)
				if method == "INVITE" {
					w.pbx.Expect("ACK ")
					w.event(leg, Refreshed)
				}
			}
			w.hangup(leg)
		})
	}
}

// A refresh that meets one of the peer's is made again after a while; one that nobody
// knows the dialog of ends the call.
func TestSessionRefreshRefused(t *testing.T) {
	inBubble(t, func(w *world) {
		_, leg, _ := w.established("Supported: timer\r\nSession-Expires: 200;refresher=uas\r\nAllow: UPDATE\r\n")
		time.Sleep(99 * time.Second)
		w.pbx.Reply(w.pbx.Expect("UPDATE "), "491 Request Pending", "")
		met := time.Now()
		again := w.pbx.Expect("UPDATE ")
		if after := time.Since(met); after > 2*time.Second {
			w.Errorf("got it again after %v, want 2s at most: the Call-ID is the peer's", after)
		}
		w.pbx.Reply(again, "481 Call/Transaction Does Not Exist", "")
		w.event(leg, Ended)
	})
}

// A session that is too short is refused with what we take.
func TestSessionTooShort(t *testing.T) {
	inBubble(t, func(w *world) {
		invite := w.pbx.Invite("100", someSDP, "Supported: timer\r\nSession-Expires: 30\r\n")
		short := w.pbx.Expect("SIP/2.0 422")
		w.header(short, "Min-SE", "90")
		w.pbx.Transaction("ACK", invite, short.Header("To"))
		d, leg, _ := w.established("Supported: timer\r\n")
		d.send("UPDATE", "Supported: timer\r\nSession-Expires: 10\r\n", "")
		w.pbx.Expect("SIP/2.0 422")
		w.hangup(leg)
	})
}

// Our INVITE offers a session timer, and makes it longer where the peer wants that; who
// refreshes is as the peer says.
func TestSessionOfCallee(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.header(invite, "Session-Expires", "1800")
		w.header(invite, "Min-SE", "90")
		reply(w.pbx, invite, "a", "422 Session Interval Too Small", "Min-SE: 3600\r\n", "")
		w.pbx.Expect("ACK ")
		again := w.pbx.Expect("INVITE ")
		w.header(again, "Session-Expires", "3600")
		w.header(again, "Min-SE", "3600")
		w.header(again, "CSeq", "2 INVITE")
		w.header(again, "Call-ID", invite.Header("Call-ID"))
		reply(w.pbx, again, "b", "200 OK", "Session-Expires: 3600;refresher=uac\r\nAllow: UPDATE\r\n", someSDP)
		w.pbx.Expect("ACK ")
		w.event(leg, Answered)
		answered := time.Now()
		time.Sleep(1799 * time.Second)
		update := w.pbx.Expect("UPDATE ")
		if after := update.At.Sub(answered); after != 1800*time.Second {
			w.Errorf("got the refresh after %v, want 30m", after)
		}
		w.pbx.Reply(update, "200 OK", "")
		w.hangup(leg)
	})
}

// A peer without session timers is asked from time to time whether it still has the call.
func TestDialogInquiry(t *testing.T) {
	inBubble(t, func(w *world) {
		_, leg, ok := w.established("")
		w.header(ok, "Session-Expires", "")
		time.Sleep(900 * time.Second)
		inquiry := w.pbx.Expect("OPTIONS ")
		if !strings.Contains(inquiry.Header("To"), "tag=") {
			w.Errorf("got To %q, want it in the dialog", inquiry.Header("To"))
		}
		w.pbx.Reply(inquiry, "405 Method Not Allowed", "") // it is there
		time.Sleep(900 * time.Second)
		w.pbx.Reply(w.pbx.Expect("OPTIONS "), "481 Call/Transaction Does Not Exist", "")
		w.event(leg, Ended)
	})
}

// Session timers can be turned off; what a peer asks for is kept all the same.
func TestSessionOff(t *testing.T) {
	inBubble(t, func(w *world) {
		off := time.Duration(0)
		w.ua.cfg.SessionExpires = &off
		_, leg, ok := w.established("Supported: timer\r\n")
		w.header(ok, "Session-Expires", "")
		w.pbx.Silent(3 * time.Hour)
		w.hangup(leg)
		_, leg, ok = w.established("Supported: timer\r\nSession-Expires: 600\r\n")
		w.header(ok, "Session-Expires", "600;refresher=uac")
		w.hangup(leg)
	})
}

// A peer that finds the session of a refresh, or of an offer, too short gets the same again
// with one that is long enough (RFC 4028 §7.4), and not for ever.
func TestSessionLengthened(t *testing.T) {
	for allow, method := range map[string]string{"Allow: UPDATE\r\n": "UPDATE ", "": "INVITE "} {
		inBubble(t, func(w *world) {
			_, leg, _ := w.established("Supported: timer\r\nSession-Expires: 200;refresher=uas\r\n" + allow)
			refused := w.pbx.ExpectWithin(101*time.Second, method)
			reply(w.pbx, refused, "", "422 Session Interval Too Small", "Min-SE: 300\r\n", "")
			if method == "INVITE " {
				w.pbx.Expect("ACK ")
			}
			again := w.pbx.ExpectWithin(time.Second, method)
			w.header(again, "Session-Expires", "300;refresher=uac")
			w.header(again, "Min-SE", "300")
			if again.Body() != refused.Body() {
				w.Errorf("got description %q, want the same again", again.Body())
			}
			body := ""
			if method == "INVITE " {
				body = someSDP
			}
			reply(w.pbx, again, "", "200 OK", "Session-Expires: 300;refresher=uac\r\n", body)
			if method == "INVITE " {
				w.pbx.Expect("ACK ")
				w.event(leg, Refreshed)
			}
			refreshed := time.Now()
			next := w.pbx.ExpectWithin(10*time.Minute, method)
			if after := next.At.Sub(refreshed); after != 150*time.Second {
				w.Errorf("got the next refresh after %v, want 150s", after)
			}
			w.pbx.Reply(next, "481 Call/Transaction Does Not Exist", "")
			if method == "INVITE " {
				w.pbx.Expect("ACK ")
			}
			w.event(leg, Ended)
		})
	}
	inBubble(t, func(w *world) {
		_, leg, _ := w.established("Supported: timer\r\nSession-Expires: 200;refresher=uac\r\n")
		leg.Reoffer([]byte(otherSDP))
		for n := range maxAttempts {
			reply(w.pbx, w.pbx.ExpectWithin(time.Second, "INVITE "), "", "422 Session Interval Too Small", fmt.Sprintf("Min-SE: %d\r\n", 300+n), "")
			w.pbx.Expect("ACK ")
		}
		if e := w.event(leg, ReofferRejected); e.Code != 422 {
			w.Errorf("got %d, want 422", e.Code)
		}
		w.hangUp(leg)
	})
}

// We keep to the peer's refresher where we are the ones that are not to refresh: who does
// not hear of the session in time ends it.
func TestSessionOfCalleeExpires(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		answer := reply(w.pbx, invite, "a", "200 OK", "Require: timer\r\nSession-Expires: 600;refresher=uas\r\n", someSDP)
		w.pbx.Expect("ACK ")
		w.event(leg, Answered)
		d := called(w.pbx, invite, answer)
		time.Sleep(500 * time.Second)
		d.send("UPDATE", "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n", "")
		w.header(w.pbx.Expect("SIP/2.0 200"), "Session-Expires", "600;refresher=uac")
		refreshed := time.Now()
		w.pbx.Silent(560 * time.Second)
		w.event(leg, Expired)
		if after := time.Since(refreshed); after != 568*time.Second {
			w.Errorf("got the end after %v, want 568s", after)
		}
		leg.Hangup(408, "Session Expired")
		w.pbx.Reply(w.pbx.Expect("BYE "), "200 OK", "")
	})
}

// What we take at least must not be more than what we ask for, also by default.
func TestSessionConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"": {MinSE: 30 * time.Minute},
		"session_expires: 30m0s is less than min_se, 1h0m0s": {MinSE: time.Hour},
		"session_expires: 1m0s is less than min_se, 1m30s":   {SessionExpires: new(time.Minute)},
	} {
		got := ""
		if faults := cfg.Validate(); len(faults) > 0 {
			got = faults[0].Error()
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if faults := (Config{MinSE: time.Hour, SessionExpires: new(time.Duration)}).Validate(); len(faults) > 0 {
		t.Errorf("got %v where no session is asked for", faults)
	}
}

// A peer that cannot be sent to for a moment keeps its calls (RFC 3261 §8.1.3.1): a refresh
// is made again until the session expires, an OPTIONS a few times.
func TestPeerOutForAMoment(t *testing.T) {
	refused := func(w *world, leg *Leg) { w.ua.routes.lost(leg.Peer().Addr, syscall.ECONNREFUSED) }
	t.Run("refresh", func(t *testing.T) {
		inBubble(t, func(w *world) {
			_, leg, _ := w.established("Supported: timer\r\nSession-Expires: 1800;refresher=uas\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n")
			time.Sleep(890 * time.Second)
			w.pbx.Within(20*time.Second, "UPDATE ")
			refused(w, leg)
			again := w.pbx.Within(12*time.Second, "UPDATE ")
			w.pbx.Respond(again, siptest.Response{Status: "200 OK", More: "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n"})
			w.pbx.Silent(5 * time.Minute)
			w.hangup(leg)
		})
	})
	t.Run("OPTIONS", func(t *testing.T) {
		inBubble(t, func(w *world) {
			_, leg, _ := w.established("")
			time.Sleep(890 * time.Second)
			for range 3 {
				w.pbx.Within(40*time.Second, "OPTIONS ")
				refused(w, leg)
			}
			w.pbx.Reply(w.pbx.Within(40*time.Second, "OPTIONS "), "200 OK", "")
			time.Sleep(890 * time.Second)
			for range maxMissed + 1 {
				w.pbx.Within(40*time.Second, "OPTIONS ")
				refused(w, leg)
			}
			w.event(leg, Ended)
			w.pbx.Reply(w.pbx.Expect("BYE "), "200 OK", "")
		})
	})
}
