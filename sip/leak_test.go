package sip

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shapes are the ways in which a call can go. What a shape does not answer is never
// answered.
var shapes = map[string]func(w *world){
	"they hang up": func(w *world) {
		d, _, _ := w.established("")
		d.send("BYE", "", "")
	},
	"we hang up": func(w *world) {
		_, leg, _ := w.established("")
		w.hangUp(leg)
	},
	"nobody answers our BYE": func(w *world) {
		_, leg, _ := w.established("")
		leg.Hangup(0, "")
	},
	"BYEs cross": func(w *world) {
		d, leg, _ := w.established("")
		leg.Hangup(0, "")
		d.send("BYE", "", "")
		w.pbx.Reply(w.pbx.Within(time.Second, "BYE "), "481 Call/Transaction Does Not Exist", "")
	},
	"rejected": func(w *world) {
		invite, leg := w.incoming("")
		leg.Hangup(486, "Busy Here")
		w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 486"))
	},
	"rejected without an ACK": func(w *world) {
		_, leg := w.incoming("")
		leg.Hangup(486, "Busy Here")
	},
	"cancelled": func(w *world) {
		invite, _ := w.incoming("")
		w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
		w.pbx.Acknowledge(invite, w.pbx.Within(time.Second, "SIP/2.0 487"))
	},
	"cancelled without an ACK": func(w *world) {
		invite, _ := w.incoming("")
		w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
	},
	"cancelled at once": func(w *world) {
		invite := w.pbx.Invite("100", someSDP, "")
		w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
		<-w.legs
	},
	"answered without an ACK": func(w *world) {
		_, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		w.event(leg, Unconfirmed)
		leg.Hangup(0, "")
	},
	"hung up without an ACK": func(w *world) {
		_, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		leg.Hangup(0, "")
	},
	"BYE before the ACK": func(w *world) {
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		calling(w.pbx, invite, w.pbx.Expect("SIP/2.0 200")).send("BYE", "", "")
	},
	"BYE in the early dialog": func(w *world) {
		invite, leg := w.incoming("")
		leg.Progress(180, "Ringing", nil)
		calling(w.pbx, invite, w.pbx.Expect("SIP/2.0 180")).send("BYE", "", "")
	},
	"merged": func(w *world) {
		invite, leg := w.incoming("")
		w.pbx.Send(strings.Replace(invite.Text, ";branch=z9hG4bK", ";branch=z9hG4bKother", 1))
		w.pbx.Expect("SIP/2.0 482")
		leg.Hangup(486, "Busy Here")
	},
	"CANCEL of nothing": func(w *world) {
		invite := w.pbx.Message("100", someSDP, "")
		w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
		w.pbx.Transaction("CANCEL", invite, invite.Header("To")+";tag=nobody")
	},
	"ACK of nothing": func(w *world) {
		invite := w.pbx.Message("100", someSDP, "")
		w.pbx.Transaction("ACK", invite, invite.Header("To"))
		w.pbx.Transaction("ACK", invite, invite.Header("To")+";tag=nobody")
	},
	"PRACK": func(w *world) {
		invite, leg := w.incoming("Supported: 100rel\r\n")
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		progress := w.pbx.Expect("SIP/2.0 183")
		leg.Answer(nil)
		d := calling(w.pbx, invite, progress)
		d.send("PRACK", "RAck: "+progress.Header("RSeq")+" 1 INVITE\r\n", "")
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.Request(d.Dialog, "ACK", 1, "", "")
		w.event(leg, Confirmed)
		d.send("BYE", "", "")
	},
	"no PRACK": func(w *world) {
		_, leg := w.incoming("Require: 100rel\r\n")
		leg.Progress(180, "Ringing", nil)
		w.event(leg, Unconfirmed)
		leg.Hangup(503, "Service Unavailable")
	},
	"an offer in the PRACK that the call never answers": func(w *world) {
		invite, leg := w.incoming("Supported: 100rel\r\n")
		leg.Progress(183, "Session Progress", []byte(otherSDP))
		progress := w.pbx.Expect("SIP/2.0 183")
		leg.Answer(nil)
		calling(w.pbx, invite, progress).send("PRACK", "RAck: "+progress.Header("RSeq")+" 1 INVITE\r\n", someSDP)
		w.event(leg, Reoffered)
		leg.Hangup(503, "Service Unavailable")
	},
	"busy": func(w *world) {
		_, invite := w.outgoing()
		w.pbx.Reply(invite, "486 Busy Here", "")
	},
	"silent": func(w *world) {
		leg, _ := w.outgoing()
		w.event(leg, Failed)
	},
	"given up": func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "180 Ringing", "")
		w.event(leg, Progressed)
		leg.Hangup(487, "")
		w.pbx.Reply(w.pbx.Expect("CANCEL "), "200 OK", "")
		w.pbx.Reply(invite, "487 Request Terminated", "")
	},
	"given up, and no word of it": func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "180 Ringing", "")
		w.event(leg, Progressed)
		leg.Hangup(487, "")
	},
	"given up before any word": func(w *world) {
		leg, _ := w.outgoing()
		leg.Hangup(487, "")
	},
	"given up, and answered": func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "180 Ringing", "")
		w.event(leg, Progressed)
		leg.Hangup(487, "")
		w.pbx.Reply(invite, "200 OK", someSDP)
	},
	"the callee hangs up": func(w *world) {
		_, invite, answer := w.talking()
		called(w.pbx, invite, answer).send("BYE", "", "")
	},
	"the callee hangs up early": func(w *world) {
		leg, invite := w.outgoing()
		ringing := w.pbx.Reply(invite, "180 Ringing", "")
		w.event(leg, Progressed)
		called(w.pbx, invite, ringing).send("BYE", "", "")
	},
	"forked": func(w *world) {
		leg, invite := w.outgoing()
		for _, tag := range []string{"a", "b", "c"} {
			reply(w.pbx, invite, tag, "183 Session Progress", "Require: 100rel\r\nRSeq: 1\r\n", someSDP)
			w.event(leg, Progressed)
		}
		for _, tag := range []string{"c", "a", "d"} {
			reply(w.pbx, invite, tag, "200 OK", "", someSDP)
		}
		w.event(leg, Answered)
		leg.Hangup(0, "")
	},
	"our offer pends": func(w *world) {
		leg, _, _ := w.talking()
		leg.Reoffer([]byte(otherSDP))
		w.pbx.Reply(w.pbx.Expect("INVITE "), "100 Trying", "")
		time.Sleep(3 * time.Minute)
		w.event(leg, ReofferRejected)
		w.event(leg, Ended)
	},
	"our offer pends at the end": func(w *world) {
		leg, invite, answer := w.talking()
		leg.Reoffer([]byte(otherSDP))
		w.pbx.Reply(w.pbx.Expect("INVITE "), "100 Trying", "")
		called(w.pbx, invite, answer).send("BYE", "", "")
	},
	"their offer pends at the end": func(w *world) {
		leg, invite, answer := w.talking()
		d := called(w.pbx, invite, answer)
		d.send("INVITE", "", someSDP)
		w.event(leg, Reoffered)
		d.send("BYE", "", "")
	},
	"their offer is answered without an ACK": func(w *world) {
		leg, invite, answer := w.talking()
		called(w.pbx, invite, answer).send("INVITE", "", someSDP)
		w.event(leg, Reoffered)
		leg.AnswerReoffer([]byte(otherSDP))
		w.event(leg, Unconfirmed)
		leg.Hangup(0, "")
	},
	"a request that the call never answers": func(w *world) {
		d, leg, _ := w.established("")
		d.send("INFO", "", "")
		w.event(leg, Requested)
		d.send("BYE", "", "")
	},
	"a session that nobody refreshes": func(w *world) {
		_, leg, _ := w.established("Supported: timer\r\nSession-Expires: 200;refresher=uac\r\n")
		time.Sleep(time.Minute)
		w.event(leg, Expired)
		leg.Hangup(408, "Session Expired")
	},
	"a refresh that nobody answers": func(w *world) {
		_, leg, _ := w.established("Supported: timer\r\nSession-Expires: 200;refresher=uas\r\n")
		time.Sleep(time.Minute)
		w.event(leg, Ended)
	},
}

// goroutines are the stacks of the bubble's. The runtime counts some of its own besides.
func goroutines() []string {
	b := make([]byte, 1<<20)
	all := strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n")
	_, bubble, _ := strings.Cut(all[0], ", ") // ours is the first
	bubble, _, _ = strings.Cut(bubble, ":\n")
	return slices.DeleteFunc(all, func(stack string) bool {
		head, _, _ := strings.Cut(stack, ":\n")
		return !strings.HasSuffix(head, bubble)
	})
}

// After a call of whatever shape, whatever else was answered, nothing is left: no leg, no
// transaction, no goroutine.
func TestNothingLeaks(t *testing.T) {
	inBubble(t, func(w *world) {
		synctest.Wait()
		before := goroutines()
		for range 6 {
			for _, name := range slices.Sorted(maps.Keys(shapes)) {
				shapes[name](w)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				for w.pbx.Pending() {
					w.pbx.Expect("")
				}
				if n := w.ua.Legs(); n != 0 {
					w.Errorf("%s: got %d legs left, want 0", name, n)
				}
				if n := len(w.ua.invites); n != 0 {
					w.Errorf("%s: got %d INVITEs left, want 0", name, n)
				}
				w.noTransactions()
				if after := goroutines(); len(after) > len(before) {
					w.Fatalf("%s: got %d goroutines, had %d before:\n%s", name, len(after), len(before), strings.Join(after, "\n\n"))
				}
			}
		}
	})
}
