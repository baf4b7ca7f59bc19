package call

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/siptest"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// announced is a bubble whose rules announce as the test says, both ways.
func announced(t *testing.T, change func(*policy.Rule), test func(b *bubble)) {
	t.Helper()
	inBubbleOf(t, func(c *policy.Config) {
		for i := range c.Rules {
			if r := &c.Rules[i]; r.Announce != nil {
				a := *r.Announce
				r.Announce = &a
				change(r)
				if r.Match.Direction == policy.Outbound {
					r.Announce.When = policy.Answered
				}
			}
		}
	}, nil, test)
}

// when announces at a moment.
func when(w policy.When) func(*policy.Rule) {
	return func(r *policy.Rule) { r.Announce.When = w }
}

// calls sends a call of the carrier's, with that offer.
func (b *bubble) calls(offer string) siptest.Message {
	b.Helper()
	invite := b.carrier.Invite("+31205550100", offer, "")
	b.carrier.Expect("SIP/2.0 100")
	return invite
}

// outbound brings a call of the PBX's to where the callee has answered.
func (b *bubble) outbound() (invite, answer siptest.Message) {
	b.Helper()
	invite = b.pbx.Invite("+31301234567", answeredWith, "")
	b.pbx.Expect("SIP/2.0 100")
	toCarrier := b.carrier.Expect("INVITE ")
	answer = b.carrier.Reply(toCarrier, "200 OK", offered)
	b.carrier.Expect("ACK ")
	return invite, answer
}

// answer answers the PBX's INVITE, and acknowledges what the caller gets of it.
func (b *bubble) connect(invite, toPBX siptest.Message) (answer, answered siptest.Message) {
	b.Helper()
	answer = b.pbx.Reply(toPBX, "200 OK", answeredWith)
	b.pbx.Expect("ACK ")
	answered = b.carrier.Expect("SIP/2.0 200")
	b.carrier.InDialog("ACK", invite, answered, 1)
	return answer, answered
}

// ends hangs up an inbound call.
func (b *bubble) ends(toPBX, answer siptest.Message) {
	b.Helper()
	b.pbx.DialogRequest("BYE", toPBX, answer, 1)
	b.pbx.Expect("SIP/2.0 200")
	b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
	synctest.Wait()
}

var recorded = []string{"relay caller true", "relay callee true", "record quality by in, caller's channel 0", "capture true"}

// While the PBX rings the caller is told; both wait for the end, and nothing is recorded
// before it.
func TestAnnouncedWhileRinging(t *testing.T) {
	announced(t, when(policy.Ringing), func(b *bubble) {
		began := time.Now()
		invite := b.calls(offered)
		b.carrier.Expect("SIP/2.0 183")
		toPBX := b.pbx.Expect("INVITE ")
		if waited := toPBX.At.Sub(began); waited > 100*time.Millisecond {
			t.Errorf("got the PBX's INVITE after %v, want it at once", waited)
		}
		b.pbx.Reply(toPBX, "183 Session Progress", answeredWith)
		b.carrier.Expect("SIP/2.0 183")
		b.did("connect caller to 203.0.113.3:4000", "play 25 frames to caller")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		b.did("connect callee to 10.0.0.5:6000", "relay callee false")
		answered := b.carrier.Expect("SIP/2.0 200")
		if waited := answered.At.Sub(began); waited != 500*time.Millisecond {
			t.Errorf("got the answer after %v, want it at the end of the prompt", waited)
		}
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.did(recorded...)
		b.ends(toPBX, answer)
		if a := b.latest().Announcement; a == nil || !a.Complete || a.Leg != "caller" {
			t.Errorf("got announcement %+v, want it whole, to the caller", a)
		}
	})
}

// Early media that breaks off carries no announcement: the caller is told after the answer,
// whether the PBX rings meanwhile or not.
func TestToldAfterAllWhereEarlyMediaBreaks(t *testing.T) {
	for _, moment := range []policy.When{policy.Early, policy.Ringing} {
		for _, answers := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond} {
			announced(t, when(moment), func(b *bubble) {
				invite := b.calls(offered)
				b.carrier.Expect("SIP/2.0 183")
				breaks := time.AfterFunc(200*time.Millisecond, func() { // of the bubble's
					b.mu.Lock()
					p := b.playback
					b.mu.Unlock()
					p.Stop()
				})
				defer breaks.Stop()
				toPBX := b.pbx.Expect("INVITE ")
				time.Sleep(answers) // of the bubble's
				answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
				b.pbx.Expect("ACK ")
				answered := b.carrier.Expect("SIP/2.0 200")
				b.carrier.InDialog("ACK", invite, answered, 1)
				time.Sleep(time.Second) // of the bubble's
				b.ends(toPBX, answer)
				if r := b.latest(); r.State != store.StateFinalizing || !r.Announcement.Complete {
					t.Errorf("%s, answered after %v: got row %s %q, announcement %+v", moment, answers, r.State, r.Reason, r.Announcement)
				}
			})
		}
	}
}

// A PBX that rings on after the prompt is heard: its own early media, or our ringing tone.
func TestRingingAfterPrompt(t *testing.T) {
	for _, test := range []struct {
		status, body string
		want         []string
	}{
		{"180 Ringing", "", []string{"play 250 frames to caller"}},
		{"183 Session Progress", answeredWith, []string{"connect callee to 10.0.0.5:6000", "relay callee true", "relay caller true"}},
	} {
		announced(t, when(policy.Ringing), func(b *bubble) {
			invite := b.calls(offered)
			b.carrier.Expect("SIP/2.0 183")
			toPBX := b.pbx.Expect("INVITE ")
			b.pbx.Reply(toPBX, test.status, test.body)
			b.did("connect caller to 203.0.113.3:4000", "play 25 frames to caller")
			time.Sleep(time.Second) // of the bubble's
			b.did(test.want...)
			b.carrier.Transaction("CANCEL", invite, invite.Header("To"))
			b.pbx.Reply(b.pbx.Expect("CANCEL "), "200 OK", "")
			b.pbx.Reply(toPBX, "487 Request Terminated", "")
			b.pbx.Expect("ACK ")
		})
	}
}

// The caller is answered, told, and then the PBX rings. One who is refused then hears why by
// a BYE.
func TestAnnouncedAfterConnecting(t *testing.T) {
	announced(t, when(policy.Connect), func(b *bubble) {
		invite := b.calls(offered)
		answered := b.carrier.Expect("SIP/2.0 200")
		b.did("connect caller to 203.0.113.3:4000")
		b.pbx.Silent(100 * time.Millisecond)
		b.carrier.InDialog("ACK", invite, answered, 1)
		began := time.Now()
		toPBX := b.pbx.Expect("INVITE ")
		if waited := toPBX.At.Sub(began); waited != 500*time.Millisecond {
			t.Errorf("got the PBX's INVITE after %v, want it at the end of the prompt", waited)
		}
		b.did("play 25 frames to caller")
		b.pbx.Reply(toPBX, "180 Ringing", "")
		b.did("play 250 frames to caller")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		b.did(append([]string{"interrupt", "connect callee to 10.0.0.5:6000"}, recorded...)...)
		b.ends(toPBX, answer)
	})
	announced(t, when(policy.Connect), func(b *bubble) {
		invite := b.calls(offered)
		answered := b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, answered, 1)
		toPBX := b.pbx.Expect("INVITE ")
		b.pbx.Reply(toPBX, "486 Busy Here", "")
		b.pbx.Expect("ACK ")
		bye := b.carrier.Expect("BYE ")
		b.carrier.Reply(bye, "200 OK", "")
		b.wrote("calling", "not_recorded busy not_connected")
	})
}

// Without an offer there is nothing to play to before the answer: he is told after it, at
// whatever moment the rule names.
func TestMomentsFallBack(t *testing.T) {
	for _, moment := range []policy.When{policy.Early, policy.Ringing, policy.Connect} {
		announced(t, when(moment), func(b *bubble) {
			invite := b.calls("")
			toPBX := b.pbx.Expect("INVITE ")
			answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
			b.pbx.Expect("ACK ")
			answered := b.carrier.Expect("SIP/2.0 200")
			b.did("connect callee to 10.0.0.5:6000", "relay callee false")
			b.carrier.Request(b.carrier.CallerDialog(invite, answered), "ACK", 1, "", offered)
			b.did("connect caller to 203.0.113.3:4000", "play 25 frames to caller")
			time.Sleep(time.Second) // of the bubble's
			b.did(recorded...)
			b.ends(toPBX, answer)
		})
	}
}

// Both parties are told: nothing is recorded before both have heard it out.
func TestBothAreTold(t *testing.T) {
	both := func(r *policy.Rule) { r.Announce.To = policy.Both }
	announced(t, both, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		b.did("connect callee to 10.0.0.5:6000", "relay callee false", "play 25 frames to callee")
		answered := b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.did(recorded...)
		b.ends(toPBX, answer)
		if a, further := b.latest().Announcement, b.latest().Further; a.Leg != "caller" || !a.Complete || len(further) != 1 || further[0].Leg != "callee" || !further[0].Complete {
			t.Errorf("got %+v and %+v, want both whole", a, further)
		}
	})
	announced(t, both, func(b *bubble) { // at once, where neither has been told
		invite, _ := b.outbound()
		answered := b.pbx.Expect("SIP/2.0 200")
		b.did("connect caller to 10.0.0.5:6000", "connect callee to 203.0.113.3:4000", "relay callee false")
		b.pbx.InDialog("ACK", invite, answered, 1)
		b.did("play 25 frames to caller", "play 25 frames to callee")
		time.Sleep(time.Second) // of the bubble's
		b.did("relay caller true", "relay callee true", "record quality by out, caller's channel 1", "capture true")
	})
	announced(t, func(r *policy.Rule) { r.Announce.To, r.Record.Parties = policy.Near, policy.Near }, func(b *bubble) {
		invite := b.calls(offered)
		toPBX := b.pbx.Expect("INVITE ")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay callee false", "play 25 frames to callee")
		b.pbx.Expect("ACK ")
		answered := b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.did(recorded...)
		b.ends(toPBX, answer)
		if r := b.latest(); r.Announcement.Leg != "callee" || r.Recording.Parties != "near" {
			t.Errorf("got announcement %+v and recording %+v, want those of who is told alone", r.Announcement, r.Recording)
		}
	})
	announced(t, func(r *policy.Rule) { r.Announce.To = policy.Near }, func(b *bubble) { // check refuses such a rule
		invite := b.calls(offered)
		toPBX := b.pbx.Expect("INVITE ")
		answer, _ := b.connect(invite, toPBX)
		b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay callee false", "play 25 frames to callee", "relay caller true", "relay callee true")
		b.ends(toPBX, answer)
		if r := b.latest(); r.State != store.StateFailed || r.Reason != "no_grant" {
			t.Errorf("got row %s %q of a far party who was not told", r.State, r.Reason)
		}
	})
}

// What our party hears meanwhile is the rule's to say.
func TestMeanwhile(t *testing.T) {
	announced(t, func(r *policy.Rule) { r.Announce.When, r.Announce.Meanwhile = policy.Answered, policy.RingingTone }, func(b *bubble) {
		invite := b.calls(offered)
		toPBX := b.pbx.Expect("INVITE ")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		answered := b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay callee false", "play 25 frames to caller", "play 250 frames to callee")
		time.Sleep(time.Second) // of the bubble's
		b.did(append([]string{"interrupt"}, recorded...)...)
		b.ends(toPBX, answer)
	})
}

// key has a party press keys.
func (b *bubble) key(leg rtp.Leg, keys string) {
	b.Helper()
	for _, k := range []byte(keys) {
		b.pressed <- media.Key{Leg: leg, Digit: k}
		synctest.Wait()
	}
}

// Who has to agree is recorded if he presses the key, in the prompt or soon after it, and
// only he can.
func TestOptIn(t *testing.T) {
	optIn := func(r *policy.Rule) { r.Announce.OptIn, r.Announce.OptOut, r.Announce.Within = "1", "9", 2*time.Second }
	for name, test := range map[string]struct {
		at   time.Duration // after the INVITE
		leg  rtp.Leg
		key  string
		want string // reason of a row that is not recorded
	}{
		"in the prompt":    {100 * time.Millisecond, rtp.Caller, "1", ""},
		"after it":         {1500 * time.Millisecond, rtp.Caller, "1", ""},
		"never":            {time.Second, rtp.Caller, "", "not_opted_in"},
		"too late":         {2600 * time.Millisecond, rtp.Caller, "1", "not_opted_in"},
		"another key":      {time.Second, rtp.Caller, "2", "not_opted_in"},
		"the wrong side":   {time.Second, rtp.Callee, "1", "not_opted_in"},
		"refused":          {time.Second, rtp.Caller, "9", "opted_out"},
		"refused at first": {100 * time.Millisecond, rtp.Caller, "9", "opted_out"},
	} {
		t.Run(name, func(t *testing.T) {
			announced(t, optIn, func(b *bubble) {
				invite := b.inbound()
				time.Sleep(test.at) // of the bubble's
				b.key(test.leg, test.key)
				toPBX := b.pbx.Expect("INVITE ")
				if name == "refused at first" {
					b.did("interrupt")
				}
				b.did()
				answer, _ := b.connect(invite, toPBX)
				want := append([]string{"connect callee to 10.0.0.5:6000"}, recorded...)
				if test.want != "" {
					want = want[:3]
				}
				b.did(want...)
				b.ends(toPBX, answer)
				r := b.latest()
				if r.Reason != test.want || (test.want == "") != (r.State == store.StateFinalizing) {
					t.Errorf("got row %s %q, want reason %q", r.State, r.Reason, test.want)
				}
				if agreed := !r.Announcement.OptedIn.IsZero(); agreed != (test.want == "") {
					t.Errorf("got announcement %+v, want that it says whether he agreed", r.Announcement)
				}
			})
		})
	}
}

// Nobody agrees to a prompt that he does not hear out: what he pressed then does not count when it
// is played anew.
func TestOptInAnew(t *testing.T) {
	announced(t, func(r *policy.Rule) {
		r.Announce.When, r.Announce.Replays, r.Announce.OptIn, r.Announce.Within = policy.Answered, 1, "1", 2*time.Second
	}, func(b *bubble) {
		invite := b.calls(offered)
		toPBX := b.pbx.Expect("INVITE ")
		answer, answered := b.connect(invite, toPBX)
		synctest.Wait()
		b.key(rtp.Caller, "1")
		far := calling(b.carrier, invite, answered)
		far.offer(strings.Replace(strings.Replace(offered, "4000", "4444", 1), "o=- 1 1", "o=- 1 2", 1))
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.Expect("SIP/2.0 200")
		far.ack("")
		time.Sleep(5 * time.Second) // of the bubble's
		b.ends(toPBX, answer)
		if r := b.latest(); r.State != store.StateNotRecorded || r.Reason != "not_opted_in" || !r.Announcement.OptedIn.IsZero() {
			t.Errorf("got row %s %q, announcement %+v", r.State, r.Reason, r.Announcement)
		}
	})
}

// A prompt that a new offer interrupts is played from its start again, as often as the rule
// says; who is put on hold is waited for, but not for ever.
func TestReplay(t *testing.T) {
	replays := func(n int) func(*policy.Rule) {
		return func(r *policy.Rule) { r.Announce.When, r.Announce.Replays = policy.Answered, n }
	}
	moved := strings.Replace(strings.Replace(offered, "4000", "4444", 1), "o=- 1 1", "o=- 1 2", 1)
	held := strings.Replace(offered, "o=- 1 1", "o=- 1 2", 1) + "a=sendonly\r\n"
	resumed := strings.Replace(offered, "o=- 1 1", "o=- 1 3", 1)
	begin := func(b *bubble) (invite, toPBX, answer, answered siptest.Message) {
		invite = b.calls(offered)
		toPBX = b.pbx.Expect("INVITE ")
		answer = b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		answered = b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay callee false", "play 25 frames to caller")
		time.Sleep(300 * time.Millisecond) // of the bubble's
		return invite, toPBX, answer, answered
	}
	reinvite := func(b *bubble, invite, answered siptest.Message, seq int, body string) {
		d := b.carrier.CallerDialog(invite, answered)
		b.carrier.Request(d, "INVITE", seq, "", body)
		b.carrier.Expect("SIP/2.0 100")
		ok := b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, ok, seq)
	}
	announced(t, replays(1), func(b *bubble) {
		invite, toPBX, answer, answered := begin(b)
		reinvite(b, invite, answered, 2, moved)
		b.did("interrupt", "connect caller to 203.0.113.3:4444", "play 25 frames to caller")
		time.Sleep(time.Second) // of the bubble's
		b.did(recorded...)
		b.ends(toPBX, answer)
		if a := b.latest().Announcement; !a.Complete || a.Interruptions != 1 {
			t.Errorf("got announcement %+v, want it whole after one interruption", a)
		}
	})
	announced(t, replays(1), func(b *bubble) {
		invite, toPBX, answer, answered := begin(b)
		reinvite(b, invite, answered, 2, held)
		b.did("interrupt", "connect caller to 203.0.113.3:4000")
		time.Sleep(10 * time.Second) // of the bubble's
		reinvite(b, invite, answered, 3, resumed)
		b.did("connect caller to 203.0.113.3:4000", "play 25 frames to caller")
		time.Sleep(time.Second) // of the bubble's
		b.did(recorded...)
		b.ends(toPBX, answer)
	})
	announced(t, replays(1), func(b *bubble) { // he never comes back
		invite, toPBX, answer, answered := begin(b)
		reinvite(b, invite, answered, 2, held)
		b.did("interrupt", "connect caller to 203.0.113.3:4000")
		time.Sleep(absence + time.Second) // of the bubble's
		b.did("relay caller true", "relay callee true")
		b.ends(toPBX, answer)
		if b.latest().Reason != "announcement_interrupted" {
			t.Errorf("got reason %q", b.latest().Reason)
		}
	})
	announced(t, replays(0), func(b *bubble) {
		invite, toPBX, answer, answered := begin(b)
		b.carrier.Request(b.carrier.CallerDialog(invite, answered), "INVITE", 2, "", moved)
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.Expect("SIP/2.0 491")
		b.did("interrupt", "relay caller true", "relay callee true")
		b.ends(toPBX, answer)
		if b.latest().Reason != "announcement_interrupted" {
			t.Errorf("got reason %q", b.latest().Reason)
		}
	})
}

// talking brings an inbound call, with rules of the test's, to where it is recorded.
func talking(t *testing.T, change func(*policy.Rule), test func(b *bubble, over func())) {
	t.Helper()
	announced(t, change, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		answer, _ := b.connect(invite, toPBX)
		b.did(append([]string{"connect callee to 10.0.0.5:6000"}, recorded...)...)
		test(b, func() { b.ends(toPBX, answer) })
	})
}

func keys(r *policy.Rule) {
	r.Keys = &policy.Keys{Object: "*9", Pause: "*1", Resume: "*2", PauseLimit: time.Minute}
}

func kinds(events []store.Event) string {
	var words []string
	for _, e := range events {
		words = append(words, e.Kind+" by "+e.By)
	}
	return strings.Join(words, ", ")
}

// The far party, and nobody else, objects at any time: what was captured is destroyed, and
// the call goes on.
func TestObjection(t *testing.T) {
	talking(t, keys, func(b *bubble, over func()) {
		time.Sleep(refusal)     // of the bubble's: the announcement's key counts no more
		b.key(rtp.Callee, "*9") // our own may not
		b.key(rtp.Caller, "*8")
		b.key(rtp.Caller, "*")
		time.Sleep(slowest + time.Second) // of the bubble's: too slow
		b.key(rtp.Caller, "9")
		b.did()
		b.key(rtp.Caller, "**9")
		b.did("stop of the caller", "capture false", "stop recording", "discard spool, row not_recorded objected", "beep 20 frames to caller")
		b.key(rtp.Caller, "*9") // once
		b.key(rtp.Callee, "*1")
		b.did()
		over()
		b.did("close media")
		if r := b.latest(); r.State != store.StateNotRecorded || r.Reason != "objected" || r.Outcome != "answered" || r.Recording != nil || kinds(r.Events) != "objected by far" {
			t.Errorf("got row %s %q %q, recording %v, events %s", r.State, r.Reason, r.Outcome, r.Recording, kinds(r.Events))
		}
	})
}

// Our party pauses and resumes; it hears so when the writer has it.
func TestPause(t *testing.T) {
	talking(t, keys, func(b *bubble, over func()) {
		b.key(rtp.Caller, "*1") // the far party may not
		b.did()
		b.key(rtp.Callee, "*1")
		b.did("capture false", "stop of the caller")
		time.Sleep(200 * time.Millisecond) // of the bubble's: the writer takes 100 ms
		b.did("beep 20 frames to callee")
		b.key(rtp.Callee, "*1") // twice changes nothing
		b.did("beep 20 frames to callee")
		time.Sleep(time.Second) // of the bubble's
		b.key(rtp.Callee, "*2")
		b.did("capture true", "start of the caller")
		time.Sleep(time.Second) // of the bubble's
		b.did("beep 15 frames to callee")
		b.key(rtp.Callee, "*2")
		b.did("beep 15 frames to callee")
		b.key(rtp.Callee, "*1")
		b.did("capture false", "stop of the caller")
		time.Sleep(time.Minute + time.Second) // of the bubble's: the limit
		b.did("beep 20 frames to callee", "capture true", "start of the caller", "beep 15 frames to callee")
		over()
		if got, want := kinds(b.latest().Events), "paused by near, pause_ignored by near, resumed by near, resume_ignored by near, paused by near, resumed by limit"; got != want {
			t.Errorf("got events %s, want %s", got, want)
		}
	})
}

// What comes over HTTP is done if the rule allows it and there is something to do.
func TestSteer(t *testing.T) {
	steer := func(b *bubble, kind CommandKind) error {
		id := ""
		b.manager.mu.Lock()
		for id = range b.manager.active {
		}
		b.manager.mu.Unlock()
		return b.manager.Steer(context.Background(), id, Command{Kind: kind, By: "ops", Tag: [2]string{"case", "4711"}})
	}
	all := func(r *policy.Rule) {
		keys(r)
		r.Control = []policy.Control{policy.ControlPause, policy.ControlStop, policy.ControlDiscard, policy.ControlTag}
	}
	talking(t, all, func(b *bubble, over func()) {
		for _, step := range []struct {
			kind CommandKind
			want error
		}{{Resume, ErrConflict}, {Pause, nil}, {Pause, ErrConflict}, {Resume, nil}, {Tag, nil}, {"sing", ErrForbidden}, {Discard, nil}, {Pause, ErrNotRecorded}, {Stop, ErrNotRecorded}} {
			if got := steer(b, step.kind); !errors.Is(got, step.want) || step.want == nil && got != nil {
				t.Errorf("got %v for %s, want %v", got, step.kind, step.want)
			}
		}
		over()
		r := b.latest()
		if r.Reason != "discarded" || r.State != store.StateNotRecorded || r.Tags["case"] != "4711" {
			t.Errorf("got row %s %q, tags %v", r.State, r.Reason, r.Tags)
		}
		if err := steer(b, Pause); !errors.Is(err, ErrNoCall) {
			t.Errorf("got %v for a call that is over, want %v", err, ErrNoCall)
		}
	})
	talking(t, all, func(b *bubble, over func()) {
		if err := steer(b, Stop); err != nil {
			t.Error(err)
		}
		b.did("capture false", "stop recording")
		over()
		b.did("capture false", "stop recording", "close media", "close spool", "finalize")
		if r := b.latest(); r.State != store.StateFinalizing || r.Reason != "stopped" || kinds(r.Events) != "stopped by ops" {
			t.Errorf("got row %s %q, events %s", r.State, r.Reason, kinds(r.Events))
		}
	})
	talking(t, keys, func(b *bubble, over func()) {
		for _, kind := range []CommandKind{Pause, Resume, Stop, Discard, Tag} {
			if err := steer(b, kind); !errors.Is(err, ErrForbidden) {
				t.Errorf("got %v for %s without control, want %v", err, kind, ErrForbidden)
			}
		}
		b.did()
		over()
	})
}

// A recording makes itself known, but not in a pause, nor once it is over.
func TestBeep(t *testing.T) {
	beeping := func(r *policy.Rule) {
		keys(r)
		r.Beep = &policy.Beep{Every: 10 * time.Second, To: policy.Far}
	}
	announced(t, beeping, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		answer, _ := b.connect(invite, toPBX)
		b.did(append([]string{"connect callee to 10.0.0.5:6000"}, append(recorded, "beep 10 frames to caller")...)...)
		time.Sleep(21 * time.Second) // of the bubble's
		b.did("beep 10 frames to caller", "beep 10 frames to caller")
		b.key(rtp.Callee, "*1")
		time.Sleep(20 * time.Second) // of the bubble's
		b.did("capture false", "stop of the caller", "beep 20 frames to callee")
		b.key(rtp.Caller, "*9")
		time.Sleep(20 * time.Second) // of the bubble's
		b.did("stop of the caller", "capture false", "stop recording", "discard spool, row not_recorded objected", "beep 20 frames to caller")
		b.ends(toPBX, answer)
	})
}

// The PBX says by headers that a call is not to be recorded, if the rule lets it; what it
// says to us goes no further.
func TestHeadersOfPBX(t *testing.T) {
	with := func(control ...policy.Control) func(*policy.Rule) {
		return func(r *policy.Rule) { r.Control = control }
	}
	for _, test := range []struct {
		control []policy.Control
		want    string
		tags    int
	}{{[]policy.Control{policy.ControlOff, policy.ControlTag}, "off", 1}, {nil, "", 0}} {
		announced(t, with(test.control...), func(b *bubble) {
			invite := b.pbx.Invite("+31301234567", answeredWith, "X-Bewaard-Record: off\r\nX-Bewaard-Tag: case = 4711\r\n")
			b.pbx.Expect("SIP/2.0 100")
			toCarrier := b.carrier.Expect("INVITE ")
			if strings.Contains(toCarrier.Text, "Bewaard") {
				t.Errorf("got %s at the carrier, want nothing of what the PBX said to us", toCarrier.Text)
			}
			b.carrier.Reply(toCarrier, "200 OK", offered)
			b.carrier.Expect("ACK ")
			answered := b.pbx.Expect("SIP/2.0 200")
			b.pbx.InDialog("ACK", invite, answered, 1)
			b.pbx.InDialog("BYE", invite, answered, 2)
			b.pbx.Expect("SIP/2.0 200")
			b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
			synctest.Wait()
			if r := b.latest(); r.Reason != test.want || (r.State == store.StateFinalizing) != (test.want == "") || len(r.Tags) != test.tags {
				t.Errorf("got row %s %q, tags %v", r.State, r.Reason, r.Tags)
			}
		})
	}
}

// A far party who comes in by a transfer is told too, where the rule has it so, and is not
// recorded before he has heard it out.
func TestNewFarPartyIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		key  string
		want []string
	}{
		"hears it out": {"", []string{"capture true", "start of the caller"}},
		"refuses":      {"9", []string{"interrupt", "capture false", "stop recording"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleOf(t, func(c *policy.Config) {
				a := *c.Rules[1].Announce
				a.Transfers = true
				c.Rules[1].Announce = &a
			}, func(_, carrier *trunk.Config) { carrier.Refer = trunk.Terminate }, func(b *bubble) {
				invite, _, _, ok := b.connected()
				far := calling(b.carrier, invite, ok)
				far.send("REFER", "Refer-To: <sip:+31612340000@203.0.113.3>\r\nRefer-Sub: false\r\n", "")
				b.carrier.Expect("SIP/2.0 202")
				out := b.carrier.Expect("INVITE sip:+31612340000")
				synctest.Wait()
				b.did()
				reply(b.carrier, out, "third", "200 OK", "", strings.Replace(offered, "4000", elsewhere, 1))
				b.carrier.Expect("ACK ")
				b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
				b.did("capture false", "stop of the caller", "connect caller to 203.0.113.3:"+elsewhere, "play 25 frames to caller")
				time.Sleep(100 * time.Millisecond) // of the bubble's
				b.key(rtp.Caller, test.key)
				time.Sleep(time.Second) // of the bubble's
				b.did(test.want...)
				if test.key == "" && (b.latest().State != store.StateRecording || len(b.latest().Joined) != 1) {
					t.Errorf("got row %+v", b.latest())
				}
			})
		})
	}
}

// Who comes into a recording by a transfer has no say about what was recorded before: a key of
// his does nothing where he is not recorded, and takes out what there is of him where he is.
func TestNewFarPartyObjects(t *testing.T) {
	for name, test := range map[string]struct {
		transfers, refuses bool
		after              time.Duration // of the bubble's
		want               []string
		events             string
		reason             string
	}{
		"not recorded":                {false, false, time.Second, nil, "", "transferred"},
		"while he is told, by object": {true, false, 100 * time.Millisecond, []string{"interrupt", "capture false", "stop recording"}, "objected by far", "objected"},
		"once he is recorded":         {true, false, 10 * time.Second, []string{"capture true", "start of the caller", "excise of the caller", "capture false", "stop recording", "beep 20 frames to caller"}, "objected by far", "objected"},
		"soon after he was told":      {true, true, time.Second, []string{"capture true", "start of the caller", "excise of the caller", "capture false", "stop recording", "beep 20 frames to caller"}, "opted_out by far", "opted_out"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleOf(t, func(c *policy.Config) {
				a := *c.Rules[1].Announce
				a.Transfers = test.transfers
				c.Rules[1].Announce = &a
				c.Rules[1].Keys = &policy.Keys{Object: "*7"}
			}, func(_, carrier *trunk.Config) { carrier.Refer = trunk.Terminate }, func(b *bubble) {
				invite, toPBX, answer, ok := b.connected()
				far := calling(b.carrier, invite, ok)
				far.send("REFER", "Refer-To: <sip:+31612340000@203.0.113.3>\r\nRefer-Sub: false\r\n", "")
				b.carrier.Expect("SIP/2.0 202")
				out := b.carrier.Expect("INVITE sip:+31612340000")
				reply(b.carrier, out, "third", "200 OK", "", strings.Replace(offered, "4000", elsewhere, 1))
				b.carrier.Expect("ACK ")
				b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
				synctest.Wait()
				b.mu.Lock()
				b.effects = nil
				b.mu.Unlock()
				time.Sleep(test.after)
				key := "*7"
				if test.refuses {
					key = "9"
				}
				b.key(rtp.Caller, key)
				b.did(test.want...)
				b.pbx.DialogRequest("BYE", toPBX, answer, 1)
				b.pbx.Expect("SIP/2.0 200")
				b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
				synctest.Wait()
				if r := b.latest(); r.State != store.StateFinalizing || r.Reason != test.reason || kinds(r.Events) != test.events || r.Recording == nil {
					t.Errorf("got row %s %q, events %s, recording %v", r.State, r.Reason, kinds(r.Events), r.Recording)
				}
			})
		})
	}
}

// Who stops to listen while he is told was not told, by whichever offer that came about.
func TestHeldWhileTold(t *testing.T) {
	again := func(description string) string { return strings.Replace(description, "o=- 1 1", "o=- 1 2", 1) }
	inBubbleOf(t, func(c *policy.Config) {
		a := *c.Rules[1].Announce
		a.Transfers = true
		c.Rules[1].Announce = &a
	}, func(_, carrier *trunk.Config) { carrier.Refer = trunk.Terminate }, func(b *bubble) {
		invite, toPBX, answer, ok := b.connected()
		far, pbx := calling(b.carrier, invite, ok), called(b.pbx, toPBX, answer)
		far.send("REFER", "Refer-To: <sip:+31612340000@203.0.113.3>\r\nRefer-Sub: false\r\n", "")
		b.carrier.Expect("SIP/2.0 202")
		out := b.carrier.Expect("INVITE sip:+31612340000")
		reply(b.carrier, out, "third", "200 OK", "", strings.Replace(offered, "4000", elsewhere, 1))
		b.carrier.Expect("ACK ")
		b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
		time.Sleep(100 * time.Millisecond) // of the bubble's
		pbx.offer(again(answeredWith) + "a=inactive\r\n")
		b.pbx.Expect("SIP/2.0 100")
		b.carrier.Reply(b.carrier.Expect("INVITE "), "200 OK", strings.Replace(again(offered), "4000", elsewhere, 1)+"a=inactive\r\n")
		b.carrier.Expect("ACK ")
		b.pbx.Expect("SIP/2.0 200")
		pbx.ack("")
		time.Sleep(2 * time.Second) // of the bubble's
		b.mu.Lock()
		defer b.mu.Unlock()
		if slices.Contains(b.effects, "start of the caller") || !slices.Contains(b.effects, "stop recording") {
			t.Errorf("got %q, want the recording ended, and nothing captured of him", b.effects)
		}
	})
}

// That the far party wants a pause counts though ours has paused already: ours cannot end it.
func TestFarPartyPausesToo(t *testing.T) {
	announced(t, keys, func(b *bubble) {
		invite := b.inbound()
		toPBX := b.pbx.Expect("INVITE ")
		_, answered := b.connect(invite, toPBX)
		far := calling(b.carrier, invite, answered)
		b.key(rtp.Callee, "*1")
		time.Sleep(time.Second) // of the bubble's
		far.offer(strings.Replace(offered, "o=- 1 1", "o=- 1 2", 1) + "a=recordpref:pause\r\n")
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.Expect("SIP/2.0 200")
		far.ack("")
		b.key(rtp.Callee, "*2")
		time.Sleep(2 * time.Minute) // of the bubble's: longer than the limit
		b.mu.Lock()
		defer b.mu.Unlock()
		if slices.Contains(b.effects, "start of the caller") {
			t.Errorf("got %q, want the pause to go on", b.effects)
		}
	})
}
