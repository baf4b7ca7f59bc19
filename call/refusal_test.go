package call

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// A refusal counts from the prompt's first packet on, by the announcement's key until soon
// after it, by the rule's key for as long as the call lasts: nothing of the call is kept.
func TestRefusalAtAnyMoment(t *testing.T) {
	const bridged = 600 * time.Millisecond
	for name, test := range map[string]struct {
		at   time.Duration // after the INVITE; the prompt lasts for half a second
		key  string
		want string // reason; "" for recorded
	}{
		"objection in the prompt":          {100 * time.Millisecond, "*7", objected},
		"objection while the PBX rings":    {550 * time.Millisecond, "*7", objected},
		"refusal while the PBX rings":      {550 * time.Millisecond, "9", "opted_out"},
		"refusal soon after":               {2 * time.Second, "9", "opted_out"},
		"the menu's nine":                  {10 * time.Second, "9", ""},
		"objection much later":             {time.Minute, "*7", objected},
		"part of an objection, then quiet": {time.Minute, "*", ""},
	} {
		t.Run(name, func(t *testing.T) {
			object := func(r *policy.Rule) { r.Keys = &policy.Keys{Object: "*7"} }
			announced(t, object, func(b *bubble) {
				began := time.Now()
				invite := b.calls(offered)
				b.carrier.Expect("SIP/2.0 183")
				press := time.AfterFunc(test.at, func() { go b.key(rtp.Caller, test.key) })
				defer press.Stop()
				toPBX := b.pbx.Expect("INVITE ")
				b.pbx.Reply(toPBX, "100 Trying", "")
				time.Sleep(time.Until(began.Add(bridged))) // of the bubble's
				answer, _ := b.connect(invite, toPBX)
				time.Sleep(2 * time.Minute) // of the bubble's
				b.ends(toPBX, answer)
				if r := b.latest(); r.Reason != test.want || (test.want == "") != (r.State == store.StateFinalizing) {
					t.Errorf("got row %s %q, want reason %q", r.State, r.Reason, test.want)
				}
			})
		})
	}
}

// No recording, no call: who says in his description that he wants none has none.
func TestRecordPrefWhereRecordingIsAMust(t *testing.T) {
	inBubbleOf(t, func(c *policy.Config) {
		p := c.Purposes["quality"]
		p.OnFailure = policy.Refuse
		c.Purposes["quality"] = p
	}, nil, func(b *bubble) {
		invite := b.calls(offered + "a=recordpref:off\r\n")
		refused := b.carrier.Expect("SIP/2.0 503")
		b.carrier.Acknowledge(invite, refused)
		synctest.Wait()
		if r := b.latest(); r.Outcome != string(OutcomeRefused) || r.Reason != objected {
			t.Errorf("got row %s %q", r.Outcome, r.Reason)
		}
	})
}

// What the far party wants to pause is not resumed by anybody else, nor by time; and what he
// would have recorded does not end our pause.
func TestWhosePause(t *testing.T) {
	say := func(b *bubble, pref string, begun func(offer string)) {
		begun(offered + "a=recordpref:" + pref + "\r\n")
	}
	for _, pref := range []string{"pause", "on"} {
		announced(t, keys, func(b *bubble) {
			say(b, pref, func(offer string) {
				invite := b.calls(offer)
				b.carrier.Expect("SIP/2.0 183")
				toPBX := b.pbx.Expect("INVITE ")
				answer, _ := b.connect(invite, toPBX)
				synctest.Wait()
				want := "paused by far, pause_ignored by near, resume_ignored by near"
				b.key(rtp.Callee, "*1")
				if pref == "pause" {
					b.key(rtp.Callee, "*2")
				} else {
					want = "paused by near"
				}
				if pref == "pause" {
					time.Sleep(5 * time.Minute) // of the bubble's: far beyond the limit
				}
				b.ends(toPBX, answer)
				if got := kinds(b.latest().Events); got != want {
					t.Errorf("%s: got events %s, want %s", pref, got, want)
				}
			})
		})
	}
}

// An objection takes with it what was stopped and kept, too.
func TestObjectionAfterStop(t *testing.T) {
	stops := func(r *policy.Rule) { keys(r); r.Control = []policy.Control{policy.ControlStop} }
	talking(t, stops, func(b *bubble, over func()) {
		id := ""
		b.manager.mu.Lock()
		for id = range b.manager.active {
		}
		b.manager.mu.Unlock()
		if err := b.manager.Steer(b.Context(), id, Command{Kind: Stop, By: "ops"}); err != nil && !errors.Is(err, ErrNoCall) {
			t.Fatal(err)
		}
		time.Sleep(refusal) // of the bubble's
		b.key(rtp.Caller, "*9")
		over()
		if r := b.latest(); r.State != store.StateNotRecorded || r.Reason != objected {
			t.Errorf("got row %s %q", r.State, r.Reason)
		}
	})
}

// Nobody is recorded alone: a pause that ends while a party's place is empty waits for who
// comes.
func TestResumeWhileOneIsGone(t *testing.T) {
	inBubbleOf(t, func(c *policy.Config) {
		c.Rules[1].Keys = &policy.Keys{Pause: "*1", Resume: "*2", PauseLimit: 20 * time.Second}
	}, terminates, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		pbx := called(b.pbx, toPBX, answer)
		b.key(rtp.Callee, "*1")
		pbx.send("REFER", "Refer-To: <sip:201@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.pbx.Expect("INVITE sip:201")
		b.pbx.Reply(out, "100 Trying", "")
		pbx.send("BYE", "", "")
		b.pbx.Expect("SIP/2.0 200")
		synctest.Wait()
		b.mu.Lock()
		b.effects = nil
		b.mu.Unlock()
		time.Sleep(25 * time.Second) // of the bubble's: the pause is over
		synctest.Wait()
		b.mu.Lock()
		for _, effect := range b.effects {
			if effect == "capture true" {
				t.Error("captured while one is gone")
			}
		}
		b.effects = nil
		b.mu.Unlock()
		reply(b.pbx, out, "third", "200 OK", "", strings.Replace(answeredWith, "6000", elsewhere, 1))
		b.pbx.Expect("ACK ")
		b.did("connect callee to 10.0.0.5:"+elsewhere, "relay caller true", "capture true", "start of the caller")
	})
}

// Where both trunks are outside, both parties are far: each is told, and each may object.
func TestTwoOutsiders(t *testing.T) {
	inBubbleOf(t, func(c *policy.Config) {
		r := &c.Rules[1]
		a := *r.Announce
		a.When, r.Announce, r.Forwarded, r.Keys = policy.Answered, &a, "a mobile of ours", &policy.Keys{Object: "*9"}
	}, func(pbx, carrier *trunk.Config) {
		pbx.Side, pbx.Route, carrier.Route = trunk.External, "carrier", "pbx"
	}, func(b *bubble) {
		invite := b.calls(offered)
		toOther := b.pbx.Expect("INVITE ")
		answer := b.pbx.Reply(toOther, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		answered := b.carrier.Expect("SIP/2.0 200")
		b.carrier.InDialog("ACK", invite, answered, 1)
		b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay callee false", "play 25 frames to caller", "play 25 frames to callee")
		time.Sleep(refusal + time.Second) // of the bubble's
		b.key(rtp.Callee, "*9")
		b.ends(toOther, answer)
		if r := b.latest(); r.Reason != objected || len(r.Further) != 1 || !r.Announcement.Complete {
			t.Errorf("got row %s %q, announcements %+v and %+v", r.State, r.Reason, r.Announcement, r.Further)
		}
	})
}

// What was objected to is not made a recording of, though the store refused to say so and the
// daemon died.
func TestObjectionOutlivesTheDaemon(t *testing.T) {
	k, s, row := newKeeper(t)
	r := record(t, k, row)
	row.State, row.Reason, row.Recording = store.StateNotRecorded, objected, nil
	row.Expires = time.Time{} // the store refuses such a row
	if err := r.Discard(row, "far"); err == nil {
		t.Fatal("the row was taken")
	}
	if _, err := os.Stat(k.spoolPath(row.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the spool gone", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := NewKeeper(RecordingConfig{Formats: []string{"wav"}}, s, NewMetrics(nil), k.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := again.Resume(); n != 0 || err != nil {
		t.Errorf("got %d recordings to make (%v), want none", n, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(row.ID); err != nil || len(got.Files) > 0 {
		t.Errorf("got row %+v (%v)", got, err)
	}
}

// What an operator wants gone and the store keeps, under legal hold, is not destroyed.
func TestHeldIsNotDiscarded(t *testing.T) {
	k, s, row := newKeeper(t)
	r := record(t, k, row)
	if _, err := s.LayHold(t.Context(), store.Held{IDs: []string{row.ID}}, time.Time{}, store.Act{Actor: "anna", Reason: "case 17"}); err != nil {
		t.Fatal(err)
	}
	row.State, row.Reason, row.Recording = store.StateNotRecorded, "discarded", nil
	row.Expires = time.Now().AddDate(0, 0, 90)
	if err := r.Discard(row, "uid 1000"); !errors.Is(err, store.ErrHeld) {
		t.Errorf("got %v, want %v", err, store.ErrHeld)
	}
	if _, err := os.Stat(k.spoolPath(row.ID)); err != nil {
		t.Errorf("what is held is gone: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}
