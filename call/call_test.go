package call

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/store"
)

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// talk places a call, lets both parties hear a second of each other after the
// announcement, and hangs up. It returns both lines and the row.
func (w *world) talk(ctx context.Context, from, to *sim.Phone, caller, callee string) (near, far *sim.Line, row store.Row) {
	w.Helper()
	near, err := from.Call(ctx, caller, callee)
	if err != nil {
		w.Fatal(err)
	}
	far = <-to.Lines()
	for _, l := range []*sim.Line{near, far} {
		if err := l.Wait(ctx, l.Packets()+60); err != nil {
			w.Fatal(err)
		}
	}
	near.Hangup()
	<-far.Over()
	w.end()
	return near, far, w.only()
}

// An inbound call: the caller hears the whole prompt before the PBX rings, and the
// recording holds nothing from before its end; left is the carrier, right the PBX.
func TestInboundIsAnnouncedEarly(t *testing.T) {
	w := newWorld(t, options{})
	near, _, row := w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31209876543")
	if row.State != store.StateKept || row.Outcome != string(OutcomeAnswered) {
		t.Fatalf("got row %s %s %s, want kept and answered", row.State, row.Reason, row.Outcome)
	}
	if a := row.Announcement; !a.Complete || a.Packets != 25 || a.Leg != rtp.Caller.String() || a.Codec != "PCMA" {
		t.Errorf("got announcement %+v, want 25 packets to the caller, complete", a)
	}
	if got := share(near.Heard()[:4000], promptHz); got < 0.95 {
		t.Errorf("got %.2f of the first half second at the prompt's frequency, want all", got)
	}
	left, right := w.channels(row)
	if got := share(left, farHz); got < 0.9 {
		t.Errorf("got %.2f of the left channel at the carrier's frequency, want nearly all", got)
	}
	if got := share(right, pbxHz); got < 0.9 {
		t.Errorf("got %.2f of the right channel at the PBX's frequency, want nearly all", got)
	}
	if !row.Recording.Began.After(row.Announcement.LastAt) {
		t.Errorf("got capture from %v, want it after the prompt's end at %v", row.Recording.Began, row.Announcement.LastAt)
	}
	if want := row.Ended.AddDate(0, 0, 14); !row.Expires.Equal(want) {
		t.Errorf("got expiry %v, want %v", row.Expires, want)
	}
}

// Where the carrier has no early media, the caller is told after the answer.
func TestInboundFallsBackToAnswered(t *testing.T) {
	w := newWorld(t, options{noEarly: true})
	near, _, row := w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31209876543")
	if row.State != store.StateKept || !row.Announcement.Complete {
		t.Fatalf("got row %s %s, announcement %+v", row.State, row.Reason, row.Announcement)
	}
	if got := share(near.Heard()[:4000], promptHz); got < 0.95 {
		t.Errorf("got %.2f of the first half second at the prompt's frequency, want all", got)
	}
}

// An outbound call: the callee is told after he answered, before the caller is connected.
func TestOutboundIsAnnouncedToCallee(t *testing.T) {
	w := newWorld(t, options{})
	near, far, row := w.talk(bounded(t), w.pbx, w.carrier, "+31209876543", "+31201234567")
	if row.State != store.StateKept || row.Announcement.Leg != rtp.Callee.String() {
		t.Fatalf("got row %s %s, announcement %+v", row.State, row.Reason, row.Announcement)
	}
	if got := share(far.Heard()[:4000], promptHz); got < 0.95 {
		t.Errorf("got %.2f of what the callee heard first at the prompt's frequency, want all", got)
	}
	if got := share(near.Heard(), promptHz); got > 0.01 {
		t.Errorf("got %.2f of what the caller heard at the prompt's frequency, want none", got)
	}
	left, right := w.channels(row)
	if l, r := share(left, farHz), share(right, pbxHz); l < 0.9 || r < 0.9 {
		t.Errorf("got %.2f and %.2f of left and right at their parties' frequencies, want nearly all", l, r)
	}
}

// A call that a rule excepts passes, is not announced and leaves a row without files.
func TestNotRecorded(t *testing.T) {
	w := newWorld(t, options{})
	near, _, row := w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31881234567")
	if row.State != store.StateNotRecorded || row.Reason != "rule" || row.Rule != "private" || row.Outcome != "answered" {
		t.Errorf("got row %s, reason %q, rule %q, outcome %q", row.State, row.Reason, row.Rule, row.Outcome)
	}
	if got := share(near.Heard(), promptHz); got > 0.01 {
		t.Errorf("got %.2f of what was heard at the prompt's frequency, want none", got)
	}
}

// A rejection passes with its meaning, and the row says so.
func TestRejected(t *testing.T) {
	w := newWorld(t, options{pbx: sim.Config{Reject: 486}})
	_, err := w.carrier.Call(bounded(t), "+31201234567", "+31209876543")
	if !errors.Is(err, sim.ErrRejected) || err.Error() != "call rejected: 486 Rejected" {
		t.Errorf("got %v, want 486 Rejected", err)
	}
	w.end()
	if row := w.only(); row.Outcome != string(OutcomeBusy) || row.SIPStatus != 486 || row.State != store.StateNotRecorded {
		t.Errorf("got row %s, outcome %q, status %d", row.State, row.Outcome, row.SIPStatus)
	}
}

// A caller who hangs up during the prompt was not told: nothing is recorded.
func TestCancelledDuringPrompt(t *testing.T) {
	w := newWorld(t, options{promptMS: 5000})
	ctx, cancel := context.WithTimeout(bounded(t), 500*time.Millisecond)
	defer cancel()
	if _, err := w.carrier.Call(ctx, "+31201234567", "+31209876543"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	w.end()
	row := w.only()
	if row.Outcome != string(OutcomeCancelled) || row.State != store.StateNotRecorded || row.Recording != nil {
		t.Errorf("got row %s, outcome %q, recording %v", row.State, row.Outcome, row.Recording)
	}
	if row.Announcement == nil || row.Announcement.Complete {
		t.Errorf("got announcement %+v, want one that is not complete", row.Announcement)
	}
}
