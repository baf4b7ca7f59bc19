package call

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/policy"
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
	if got := sim.Share(near.Heard()[:4000], promptHz); got < 0.95 {
		t.Errorf("got %.2f of the first half second at the prompt's frequency, want all", got)
	}
	left, right := w.channels(row)
	if got := sim.Share(left, farHz); got < 0.9 {
		t.Errorf("got %.2f of the left channel at the carrier's frequency, want nearly all", got)
	}
	if got := sim.Share(right, pbxHz); got < 0.9 {
		t.Errorf("got %.2f of the right channel at the PBX's frequency, want nearly all", got)
	}
	if !row.Recording.Began.After(row.Announcement.LastAt) {
		t.Errorf("got capture from %v, want it after the prompt's end at %v", row.Recording.Began, row.Announcement.LastAt)
	}
	if want := []string{row.Callee}; !slices.Equal(row.Agents, want) {
		t.Errorf("got agents %v, want %v", row.Agents, want)
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
	if got := sim.Share(near.Heard()[:4000], promptHz); got < 0.95 {
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
	if got := sim.Share(far.Heard()[:4000], promptHz); got < 0.95 {
		t.Errorf("got %.2f of what the callee heard first at the prompt's frequency, want all", got)
	}
	if got := sim.Share(near.Heard(), promptHz); got > 0.01 {
		t.Errorf("got %.2f of what the caller heard at the prompt's frequency, want none", got)
	}
	left, right := w.channels(row)
	if l, r := sim.Share(left, farHz), sim.Share(right, pbxHz); l < 0.9 || r < 0.9 {
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
	if got := sim.Share(near.Heard(), promptHz); got > 0.01 {
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

const offerHead = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"

// An offer that cannot become a call is refused with what is wrong with it, and the row
// says so.
func TestBadOffers(t *testing.T) {
	refuse := func(c *policy.Config) {
		p := c.Purposes["quality"]
		p.OnFailure = policy.Refuse
		c.Purposes["quality"] = p
	}
	for name, test := range map[string]struct {
		body   string
		policy func(*policy.Config)
		code   int
		cause  Cause
	}{
		"not a description": {"hello\r\n", nil, 400, BadOffer},
		"no audio":          {offerHead + "m=image 4000 udptl t38\r\n", nil, 488, NoAudio},
		"audio refused":     {offerHead + "m=audio 0 RTP/AVP 8\r\n", nil, 488, NoAudio},
		"protected audio":   {offerHead + "m=audio 4000 RTP/SAVP 8\r\n", nil, 488, NotProtected},
		"no address":        {"v=0\r\nm=audio 4000 RTP/AVP 8\r\n", nil, 400, BadOffer},
		"a host name":       {"v=0\r\nc=IN IP4 phone.example\r\nm=audio 4000 RTP/AVP 8\r\n", nil, 400, BadOffer},
		"no codec to record, and a purpose that insists": {offerHead + "m=audio 4000 RTP/AVP 18\r\n", refuse, 488, NoCodec},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{policy: test.policy})
			code, err := w.raw.offer(bounded(t), test.body)
			if err != nil || code != test.code {
				t.Errorf("got %d, %v, want %d", code, err, test.code)
			}
			w.end()
			row := w.only()
			if row.Cause != string(test.cause) || row.SIPStatus != test.code || row.Outcome != string(OutcomeRefused) {
				t.Errorf("got row with cause %q, status %d, outcome %q, want %q, %d", row.Cause, row.SIPStatus, row.Outcome, test.cause, test.code)
			}
		})
	}
}

// An offer without a codec that can be recorded passes unrecorded where the purpose does
// not insist: the PBX of this test knows PCMA only and says 488 itself.
func TestCodecThatCannotBeRecorded(t *testing.T) {
	w := newWorld(t, options{})
	if code, err := w.raw.offer(bounded(t), offerHead+"m=audio 4000 RTP/AVP 18\r\n"); err != nil || code != 488 {
		t.Errorf("got %d, %v, want the PBX's 488", code, err)
	}
	w.end()
	if row := w.only(); row.Cause != string(Rejected) || row.Reason != "codec" || row.State != store.StateNotRecorded || row.Announcement != nil {
		t.Errorf("got row %s %q, cause %q, announcement %v", row.State, row.Reason, row.Cause, row.Announcement)
	}
}

// portsForOne finds ports for one call that nobody else on this machine has.
func portsForOne(t *testing.T) media.Ports {
	t.Helper()
	for range 100 {
		ports := media.Ports{First: 20000 + 4*rand.N[uint16](2500)}
		ports.Last = ports.First + 3
		taken := false
		for port := ports.First; port <= ports.Last; port++ {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
			if err != nil {
				taken = true
				break
			}
			defer c.Close()
		}
		if !taken {
			return ports
		}
	}
	t.Fatal("no four ports are free")
	panic("unreachable")
}

// Without free ports the caller gets a 503, and the row says why.
func TestPortsExhausted(t *testing.T) {
	w := newWorld(t, options{media: media.Config{Ports: portsForOne(t)}, promptMS: 3000})
	ctx := bounded(t)
	first := make(chan error, 1)
	go func() { // ends with the call
		line, err := w.carrier.Call(ctx, "+31201234567", "+31209876543")
		if err == nil {
			line.Hangup()
		}
		first <- err
	}()
	for w.manager.Active() == 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the first call did not begin")
		}
	}
	if code, err := w.raw.offer(ctx, offerHead+"m=audio 4000 RTP/AVP 8\r\n"); err != nil || code != 503 {
		t.Errorf("got %d, %v, want 503", code, err)
	}
	if err := <-first; err != nil {
		t.Errorf("the first call: %v", err)
	}
	w.end()
	rows, _, err := w.store.List(t.Context(), store.Query{Outcome: string(OutcomeFailed)})
	if err != nil || len(rows) != 1 || rows[0].Cause != string(NoPorts) {
		t.Errorf("got rows %+v, %v, want one that failed for want of ports", rows, err)
	}
}

// The key that refuses, pressed during the prompt: the call goes on and is not recorded.
func TestOptOut(t *testing.T) {
	w := newWorld(t, options{promptMS: 4000, carrier: sim.Config{Press: "9"}})
	_, _, row := w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31209876543")
	if row.State != store.StateNotRecorded || row.Reason != "opted_out" || row.Outcome != "answered" || row.Announcement.Complete {
		t.Errorf("got row %s %q %q, announcement %+v", row.State, row.Reason, row.Outcome, row.Announcement)
	}
}

// brokenRecorder cannot write anything.
type brokenRecorder struct{ failed chan struct{} }

func (b brokenRecorder) Record(spool.Grant, spool.Header, *media.Tap) Recording { return b }
func (b brokenRecorder) Finalize(string)                                        {}
func (b brokenRecorder) Failed() <-chan struct{}                                { return b.failed }
func (b brokenRecorder) Stop()                                                  {}
func (b brokenRecorder) Event(spool.Event)                                      {}
func (b brokenRecorder) Close(string) error                                     { return errors.New("no space left on device") }
func (b brokenRecorder) Discard(store.Row, string) error                        { return nil }

// A disk that fails costs the recording, not the call, unless the purpose insists.
func TestDiskFails(t *testing.T) {
	broken := brokenRecorder{make(chan struct{})}
	close(broken.failed)
	t.Run("continue", func(t *testing.T) {
		w := newWorld(t, options{recorder: broken})
		_, _, row := w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31209876543")
		if row.Outcome != "answered" || row.Reason != "disk" {
			t.Errorf("got row %s, reason %q, outcome %q", row.State, row.Reason, row.Outcome)
		}
	})
	t.Run("refuse", func(t *testing.T) {
		w := newWorld(t, options{recorder: broken, policy: func(c *policy.Config) {
			p := c.Purposes["quality"]
			p.OnFailure = policy.Refuse
			c.Purposes["quality"] = p
		}})
		ctx := bounded(t)
		line, err := w.carrier.Call(ctx, "+31201234567", "+31209876543")
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-line.Over():
		case <-ctx.Done():
			t.Fatal("the call went on")
		}
		w.end()
		if row := w.only(); row.Cause != string(RecordingRefused) || row.Reason != "disk" {
			t.Errorf("got row %s, cause %q, reason %q", row.State, row.Cause, row.Reason)
		}
	})
}

// stuckRows never finishes a write before it is let go.
type stuckRows struct {
	Rows
	letGo chan struct{}
}

func (s stuckRows) Begin(r store.Row) error {
	<-s.letGo
	return s.Rows.Begin(r)
}

// A store that does not answer costs the recording, not the call; the row is written
// when it does.
func TestStoreIsStuck(t *testing.T) {
	letGo := make(chan struct{})
	w := newWorld(t, options{rows: func(s *store.Store) Rows { return stuckRows{s, letGo} }})
	line, err := w.carrier.Call(bounded(t), "+31201234567", "+31209876543")
	if err != nil {
		t.Fatal(err)
	}
	line.Hangup()
	close(letGo)
	w.end()
	if row := w.only(); row.Outcome != "answered" || row.Reason != "row_not_written" || row.State != store.StateFailed {
		t.Errorf("got row %s, reason %q, outcome %q", row.State, row.Reason, row.Outcome)
	}
}
