package sip

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bewaard/bewaard/sip/siptest"
)

// Of several early dialogs one answers; the 2xx of another, late, is acknowledged each time
// that it comes, and ended once (RFC 3261 §13.2.2.4).
func TestLateBranch(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		for branch, tag := range []string{"a", "b", "c"} {
			reply(w.pbx, invite, tag, "180 Ringing", "", "")
			if e := w.event(leg, Progressed); e.Branch != branch {
				w.Errorf("got branch %d, want %d", e.Branch, branch)
			}
		}
		reply(w.pbx, invite, "b", "200 OK", "", someSDP)
		w.event(leg, Answered)
		w.pbx.Expect("ACK sip:b@")
		late := reply(w.pbx, invite, "a", "200 OK", "", someSDP)
		ack := w.pbx.Expect("ACK sip:a@")
		bye := w.pbx.Expect("BYE sip:a@")
		w.pbx.Send(late.Text)
		w.header(w.pbx.Expect("ACK sip:a@"), "Via", ack.Header("Via"))
		w.pbx.Reply(bye, "200 OK", "")
		w.pbx.Send(late.Text)
		w.pbx.Expect("ACK sip:a@")
		w.pbx.Silent(time.Minute) // b is the call, and c never answered
		w.hangUp(leg)
	})
}

// However many branches answer, 64 get a dialog; the rest is dropped and counted.
func TestManyBranches(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		for n := range 3 * maxBranches {
			reply(w.pbx, invite, fmt.Sprintf("early%d", n), "180 Ringing", "", "")
			if n < maxBranches {
				w.event(leg, Progressed)
			}
		}
		synctest.Wait()
		if got := len(leg.branches); got != maxBranches {
			w.Errorf("got %d early dialogs, want %d", got, maxBranches)
		}
		if got := testutil.ToFloat64(w.ua.metrics.branches); got != 2*maxBranches {
			w.Errorf("got %v responses counted, want %d", got, 2*maxBranches)
		}
		reply(w.pbx, invite, "last", "200 OK", "", someSDP) // is the first to answer
		w.event(leg, Answered)
		for n := range 3 * maxBranches {
			reply(w.pbx, invite, fmt.Sprintf("late%d", n), "200 OK", "", someSDP)
		}
		acks, byes := map[string]bool{}, map[string]bool{}
		for synctest.Wait(); w.pbx.Pending(); synctest.Wait() {
			switch m := w.pbx.Expect(""); m.Method() {
			case "ACK":
				acks[m.Header("To")] = true
			case "BYE":
				byes[m.Header("To")] = true
				w.pbx.Reply(m, "200 OK", "")
			}
		}
		if len(acks) != maxBranches || len(byes) != maxBranches-1 {
			w.Errorf("got ACKs to %d branches and BYEs to %d, want %d and one less", len(acks), len(byes), maxBranches)
		}
		if got := testutil.ToFloat64(w.ua.metrics.branches); got != 4*maxBranches+1 {
			w.Errorf("got %v responses counted, want %d", got, 4*maxBranches+1)
		}
		w.hangUp(leg)
	})
}

// A branch of a call that we gave up, which answers all the same, is ended where it is, and
// so is the next one.
func TestForkCrossesCancel(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		reply(w.pbx, invite, "a", "180 Ringing", "", "")
		reply(w.pbx, invite, "b", "180 Ringing", "", "")
		w.event(leg, Progressed)
		w.event(leg, Progressed)
		leg.Hangup(487, "Request Terminated")
		w.pbx.Reply(w.pbx.Expect("CANCEL "), "200 OK", "")
		for _, tag := range []string{"a", "b"} {
			reply(w.pbx, invite, tag, "200 OK", "", someSDP)
			w.pbx.Expect("ACK sip:" + tag + "@")
			w.pbx.Reply(w.pbx.Expect("BYE sip:"+tag+"@"), "200 OK", "")
		}
		w.pbx.Silent(time.Minute)
		w.noTransactions()
	})
}

// A request of each early dialog is of the call; one of a branch that never answered is not.
func TestRequestsOfBranches(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		dialogs := map[string]siptest.Dialog{}
		for _, tag := range []string{"a", "b"} {
			dialogs[tag] = w.pbx.CalleeDialog(invite, reply(w.pbx, invite, tag, "183 Session Progress", "", ""))
			w.event(leg, Progressed)
			w.pbx.Request(dialogs[tag], "OPTIONS", 7, "", "") // each counts for itself
			w.pbx.Expect("SIP/2.0 200")
		}
		reply(w.pbx, invite, "a", "200 OK", "", someSDP)
		w.event(leg, Answered)
		w.pbx.Expect("ACK ")
		w.pbx.Request(dialogs["b"], "OPTIONS", 8, "", "")
		w.pbx.Expect("SIP/2.0 481")
		stray := dialogs["a"]
		stray.Local = strings.Replace(stray.Local, "tag=a", "tag=z", 1)
		w.pbx.Request(stray, "BYE", 9, "", "")
		w.pbx.Expect("SIP/2.0 481")
		w.hangUp(leg)
	})
}
