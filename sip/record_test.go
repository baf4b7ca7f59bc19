package sip

import (
	"strings"
	"testing"
)

// Whether a peer is told of a recording goes by its last INVITE, or its 2xx to ours; we say
// that we understand it, and take a request that requires it.
func TestRecordAware(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("Supported: timer, Record-Aware\r\n")
		if !leg.RecordAware() {
			w.Error("the caller's support is not known")
		}
		leg.Answer([]byte(otherSDP))
		ok := w.pbx.Expect("SIP/2.0 200")
		if got := ok.Header("Supported"); !strings.Contains(got, "record-aware") {
			w.Errorf("got Supported: %s in our 200", got)
		}
		d := calling(w.pbx, invite, ok)
		d.send("ACK", "", "")
		w.event(leg, Confirmed)
		d.send("OPTIONS", "", "")
		w.pbx.Expect("SIP/2.0 200")
		if !leg.RecordAware() {
			w.Error("a request that says nothing of it has taken the caller's support away")
		}
		d.send("INVITE", "Supported: timer\r\n", someSDP) // another party has come to that end
		w.pbx.Expect("SIP/2.0 100")
		w.event(leg, Reoffered)
		if leg.RecordAware() {
			w.Error("the support of who was there before is taken for his")
		}
		leg.AnswerReoffer([]byte(otherSDP))
		w.pbx.Expect("SIP/2.0 200")
		d.send("ACK", "", "")
		w.hangup(leg)
	})
	inBubble(t, func(w *world) {
		_, leg := w.incoming("Require: record-aware\r\n")
		if !leg.RecordAware() {
			w.Error("who requires it does not understand it")
		}
		leg.Hangup(486, "Busy Here")
		w.pbx.Expect("SIP/2.0 486")
	})
	for _, more := range []string{"", "Supported: record-aware\r\n"} {
		inBubble(t, func(w *world) {
			leg, invite := w.outgoing()
			if got := invite.Header("Supported"); !strings.Contains(got, "record-aware") {
				w.Errorf("got Supported: %s in our INVITE", got)
			}
			reply(w.pbx, invite, "a", "180 Ringing", "Supported: record-aware\r\n", "")
			w.event(leg, Progressed)
			if leg.RecordAware() {
				w.Error("a branch that has not answered is not the peer yet")
			}
			reply(w.pbx, invite, "a", "200 OK", more, someSDP)
			w.pbx.Expect("ACK ")
			w.event(leg, Answered)
			if got := leg.RecordAware(); got != (more != "") {
				w.Errorf("got %v with %q in the 200", got, more)
			}
			w.hangup(leg)
		})
	}
}
