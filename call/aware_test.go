package call

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// A caller who understands it is told whether he is recorded, and anew when that changes;
// that he does not want it is an objection, that it pause is heeded.
func TestRecordAware(t *testing.T) {
	announced(t, keys, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", offered, "Supported: record-aware\r\n")
		b.carrier.Expect("SIP/2.0 100")
		if early := b.carrier.Expect("SIP/2.0 183"); !strings.Contains(early.Body(), "a=record:off\r\n") {
			t.Errorf("got early media %q, want that it is not recorded", early.Body())
		}
		toPBX := b.pbx.Expect("INVITE ")
		if strings.Contains(toPBX.Body(), "a=record") {
			t.Errorf("got %q at the PBX, which has not said that it understands it", toPBX.Body())
		}
		answer, answered := b.connect(invite, toPBX)
		seq := 1
		dialog := b.carrier.CallerDialog(invite, answered)
		told := func(want string) {
			t.Helper()
			offer := b.carrier.Expect("INVITE ")
			if !strings.Contains(offer.Body(), "a=record:"+want+"\r\n") {
				t.Errorf("got offer %q, want a=record:%s", offer.Body(), want)
			}
			b.carrier.Reply(offer, "200 OK", offered)
			b.carrier.Expect("ACK ")
			synctest.Wait()
		}
		says := func(pref string) {
			t.Helper()
			seq++
			body := strings.Replace(offered, "o=- 1 1", "o=- 1 "+string(rune('0'+seq)), 1) + "a=recordpref:" + pref + "\r\n"
			b.carrier.Request(dialog, "INVITE", seq, "Supported: record-aware\r\n", body)
			b.carrier.Expect("SIP/2.0 100")
			if synctest.Wait(); b.pbx.Pending() {
				t.Error("got something at the PBX, want nothing of what was said to us")
			}
			ok := b.carrier.Expect("SIP/2.0 200")
			b.carrier.InDialog("ACK", invite, ok, seq)
			synctest.Wait()
		}
		told("on")
		says("pause")
		told("paused")
		says("on")
		told("on")
		says("off")
		told("off")
		b.ends(toPBX, answer)
		if r := b.latest(); r.Reason != objected || r.State != store.StateNotRecorded || kinds(r.Events) != "paused by far, resumed by far, objected by far" {
			t.Errorf("got row %s %q, events %s", r.State, r.Reason, kinds(r.Events))
		}
	})
}

// Who says in his offer that he does not want to be recorded is not.
func TestRecordPrefFromTheStart(t *testing.T) {
	inBubble(t, func(b *bubble) {
		invite := b.calls(offered + "a=recordpref:off\r\n")
		toPBX := b.pbx.Expect("INVITE ")
		answer, _ := b.connect(invite, toPBX)
		b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay caller true", "relay callee true")
		b.ends(toPBX, answer)
		if r := b.latest(); r.Reason != objected || r.State != store.StateNotRecorded {
			t.Errorf("got row %s %q", r.State, r.Reason)
		}
	})
}

// A number that the far party presses is taken out of the recording, with what was said
// around it; a few keys are not, nor those of our side.
func TestNumberIsExcised(t *testing.T) {
	talking(t, keys, func(b *bubble, over func()) {
		time.Sleep(refusal) // of the bubble's
		b.key(rtp.Callee, "12345678")
		b.key(rtp.Caller, "12345")
		time.Sleep(slowest + time.Second) // of the bubble's
		b.key(rtp.Caller, "54321")
		b.did()
		b.key(rtp.Caller, "67")
		b.did("excise of the caller", "excise of the caller")
		over()
		if got := kinds(b.latest().Events); got != "excised by far" {
			t.Errorf("got events %s", got)
		}
	})
	talking(t, func(*policy.Rule) {}, func(b *bubble, over func()) { // nothing can be paused: it is wanted whole
		time.Sleep(refusal) // of the bubble's
		b.key(rtp.Caller, "1234567890")
		b.did()
		over()
	})
}

// The PBX chooses one of the rule's purposes, and no other.
func TestPurposeByHeader(t *testing.T) {
	for _, test := range []struct{ header, want string }{{"orders", "orders"}, {"spying", "quality"}} {
		inBubbleOf(t, func(c *policy.Config) {
			c.Purposes["orders"] = policy.Purpose{Text: map[string]string{"en": "Orders"}, Basis: policy.Contract, Retention: policy.Retention{Audio: policy.Period{Days: 3}}}
			for i := range c.Rules {
				if c.Rules[i].Record != nil {
					c.Rules[i].Record = &policy.Record{Purposes: []string{"quality", "orders"}}
					c.Rules[i].Control = []policy.Control{policy.ControlPurpose}
				}
			}
		}, nil, func(b *bubble) {
			invite := b.pbx.Invite("+31301234567", answeredWith, "X-Bewaard-Purpose: "+test.header+"\r\n")
			b.pbx.Expect("SIP/2.0 100")
			toCarrier := b.carrier.Expect("INVITE ")
			b.carrier.Reply(toCarrier, "200 OK", offered)
			b.carrier.Expect("ACK ")
			answered := b.pbx.Expect("SIP/2.0 200")
			b.pbx.InDialog("ACK", invite, answered, 1)
			synctest.Wait()
			if b.latest().Purpose != test.want {
				t.Errorf("got purpose %s for %s, want %s", b.latest().Purpose, test.header, test.want)
			}
			b.pbx.InDialog("BYE", invite, answered, 2)
			b.pbx.Expect("SIP/2.0 200")
			b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
		})
	}
}

// Where a trunk wants it, keys are heard in the audio of who sends no telephone-events, even
// after an offer of ours with those that the other party has.
func TestInbandKeys(t *testing.T) {
	inBubbleOf(t, nil, func(_, carrier *trunk.Config) { carrier.InbandKeys = true }, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", offered, "Supported: record-aware\r\n")
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.Expect("SIP/2.0 183")
		b.did("connect caller to 203.0.113.3:4000", "listen to caller true", "play 25 frames to caller")
		b.did()
		toPBX := b.pbx.Expect("INVITE ")
		keyed := strings.Replace(answeredWith, "AVP 8\r\n", "AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", 1)
		answer := b.pbx.Reply(toPBX, "200 OK", keyed)
		b.pbx.Expect("ACK ")
		b.carrier.InDialog("ACK", invite, b.carrier.Expect("SIP/2.0 200"), 1)
		synctest.Wait()
		b.did(append([]string{"connect callee to 10.0.0.5:6000"}, recorded...)...)
		if offer := b.carrier.Expect("INVITE "); !strings.Contains(offer.Body(), "telephone-event") {
			t.Errorf("got offer %q, want the PBX's telephone-events in it", offer.Body())
		} else {
			b.carrier.Reply(offer, "200 OK", offered)
		}
		b.carrier.Expect("ACK ")
		b.did("connect caller to 203.0.113.3:4000")
		now := time.Now()
		b.pressed <- media.Key{Leg: rtp.Caller, Digit: '5', From: now.Add(-time.Second), To: now}
		b.did("excise of the caller") // its tones are not kept
		b.ends(toPBX, answer)
	})
}

// What goes into a buffer is kept for another purpose, by a key of our party's or by a
// header; what is no buffer is not, nor for consent by a key that nobody pressed.
func TestSelect(t *testing.T) {
	for _, test := range []struct {
		buffer  bool
		by      string
		consent bool
		want    string
	}{{true, "near", false, "complaint"}, {true, "header", false, "complaint"}, {false, "near", false, "quality"}, {true, "header", true, "quality"}} {
		inBubbleOf(t, func(c *policy.Config) {
			p := c.Purposes["quality"]
			p.Buffer = test.buffer
			c.Purposes["quality"] = p
			c.Purposes["complaint"] = policy.Purpose{Text: map[string]string{"en": "Complaints"}, Basis: policy.Contract, Retention: policy.Retention{Audio: policy.Period{Years: 1}}}
			for i := range c.Rules {
				if c.Rules[i].Record != nil {
					c.Rules[i].Keys = &policy.Keys{Select: "*5", SelectFor: "complaint"}
					c.Rules[i].Control = []policy.Control{policy.ControlSelect}
				}
			}
			if test.consent {
				c.Purposes["complaint"] = policy.Purpose{Text: map[string]string{"en": "Complaints"}, Basis: policy.Consent, Retention: policy.Retention{Audio: policy.Period{Years: 1}}}
				agrees := policy.Rule{Name: "agrees", Match: policy.Match{To: []string{"299"}}, Record: &policy.Record{Purpose: "complaint"}}
				for i := range c.Rules {
					if r := &c.Rules[i]; r.Record != nil && r.Announce != nil {
						r.Keys = nil
						told := *r.Announce
						told.OptIn, agrees.Announce = "1", &told
					}
				}
				c.Rules = append(c.Rules, agrees)
			}
		}, nil, func(b *bubble) {
			header := ""
			if test.by == "header" {
				header = "X-Bewaard-Select: complaint\r\n"
			}
			invite := b.pbx.Invite("+31301234567", answeredWith, header)
			b.pbx.Expect("SIP/2.0 100")
			toCarrier := b.carrier.Expect("INVITE ")
			b.carrier.Reply(toCarrier, "200 OK", offered)
			b.carrier.Expect("ACK ")
			answered := b.pbx.Expect("SIP/2.0 200")
			b.pbx.InDialog("ACK", invite, answered, 1)
			synctest.Wait()
			if test.by == "near" {
				b.key(rtp.Callee, "*5") // the far party may not
				if b.latest().Purpose != "quality" {
					t.Errorf("got purpose %s by a key of the far party's", b.latest().Purpose)
				}
				b.key(rtp.Caller, "*5")
			}
			b.pbx.InDialog("BYE", invite, answered, 2)
			b.pbx.Expect("SIP/2.0 200")
			b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
			synctest.Wait()
			r := b.latest()
			if selected := test.want == "complaint"; r.Purpose != test.want || selected != (len(r.Terms) == 2) || selected != r.Expires.After(r.Ended.AddDate(0, 11, 0)) {
				t.Errorf("got purpose %s, terms %v, until %v of a buffer (%v), want %s", r.Purpose, r.Terms, r.Expires, test.buffer, test.want)
			}
		})
	}
}
