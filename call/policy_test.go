package call

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
)

// What the rules say of who comes into a call counts as if it had been called at first.

func terminates(pbx, _ *trunk.Config) { pbx.Refer = trunk.Terminate }

const elsewhere = "4100" // the port of who comes

// A recorded caller who is transferred to a number that is not to be recorded is not
// recorded there, though it is one of ours.
func TestTransferToPrivateNumber(t *testing.T) {
	private := func(c *policy.Config) { c.Rules[0].Match.To = []string{"299"} }
	inBubbleOf(t, private, terminates, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		called(b.pbx, toPBX, answer).send("REFER", "Refer-To: <sip:299@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.pbx.Expect("INVITE sip:299")
		reply(b.pbx, out, "third", "200 OK", "", strings.Replace(answeredWith, "6000", elsewhere, 1))
		b.pbx.Expect("ACK ")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		b.did("capture false", "stop recording", "connect callee to 10.0.0.5:"+elsewhere)
	})
}

// A recorded caller who is transferred within the company goes on being recorded, by the
// rule that let it begin.
func TestTransferInsideIsRecorded(t *testing.T) {
	inBubbleOf(t, nil, terminates, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		called(b.pbx, toPBX, answer).send("REFER", "Refer-To: <sip:201@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.pbx.Expect("INVITE sip:201")
		reply(b.pbx, out, "third", "200 OK", "", strings.Replace(answeredWith, "6000", elsewhere, 1))
		b.pbx.Expect("ACK ")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		b.did("connect callee to 10.0.0.5:" + elsewhere)
	})
}

// An exemption from the announcement is about the calls of its rule: not about an
// outsider, an emergency centre or a private number that such a call is transferred to.
func TestTransferUnderExemption(t *testing.T) {
	exempt := func(c *policy.Config) { c.Rules[1].Announce, c.Rules[1].Exempt = nil, "told in the contract" }
	for _, to := range []string{"+31301234567", "112", "+31881234567"} {
		inBubbleOf(t, exempt, terminates, func(b *bubble) {
			_, toPBX := b.talking(offered, answeredWith)
			toPBX.send("REFER", "Refer-To: <sip:"+to+"@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
			b.pbx.Expect("SIP/2.0 202")
			out := b.carrier.Expect("INVITE sip:" + to)
			reply(b.carrier, out, "third", "200 OK", "", strings.Replace(offered, "4000", elsewhere, 1))
			b.carrier.Expect("ACK ")
			b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
			synctest.Wait()
			b.did("capture false", "stop recording", "connect callee to 203.0.113.3:"+elsewhere)
		})
	}
}

// An emergency call finds a place on a full trunk, also by a transfer.
func TestTransferToEmergencyOnFullTrunk(t *testing.T) {
	full := func(pbx, carrier *trunk.Config) { terminates(pbx, carrier); carrier.MaxCalls = 1 }
	plainly(t, full, func(b *bubble) {
		_, toPBX := b.talking(offered, answeredWith)
		toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		b.carrier.Silent(time.Second)
		toPBX.send("REFER", "Refer-To: <sip:112@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		b.carrier.Expect("INVITE sip:112")
	})
}

// Who was told asks to be replaced and goes: nothing is recorded while nobody is there,
// nor once somebody is who was not told.
func TestToldPartyLeaves(t *testing.T) {
	inBubbleOf(t, nil, func(_, carrier *trunk.Config) { carrier.Refer = trunk.Terminate }, func(b *bubble) {
		invite, _, _, ok := b.connected()
		far := calling(b.carrier, invite, ok)
		far.send("REFER", "Refer-To: <sip:200@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.carrier.Expect("SIP/2.0 202")
		out := b.pbx.Expect("INVITE sip:200")
		far.send("BYE", "", "")
		b.carrier.Expect("SIP/2.0 200")
		synctest.Wait()
		b.did("relay callee false", "capture false")
		reply(b.pbx, out, "third", "200 OK", "", strings.Replace(answeredWith, "6000", elsewhere, 1))
		b.pbx.Expect("ACK ")
		synctest.Wait()
		b.did("capture false", "stop recording", "connect caller to 10.0.0.5:"+elsewhere, "relay callee true")
	})
}

// Who leaves before the new party answers is not waited for with the recorder on; it goes
// on when both are there again.
func TestRecordingWaitsForNewParty(t *testing.T) {
	inBubbleOf(t, nil, terminates, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		pbx := called(b.pbx, toPBX, answer)
		pbx.send("REFER", "Refer-To: <sip:201@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.pbx.Expect("INVITE sip:201")
		pbx.send("BYE", "", "")
		b.pbx.Expect("SIP/2.0 200")
		reply(b.pbx, out, "third", "200 OK", "", strings.Replace(answeredWith, "6000", elsewhere, 1))
		b.pbx.Expect("ACK ")
		synctest.Wait()
		b.did("relay caller false", "capture false", "connect callee to 10.0.0.5:"+elsewhere, "relay caller true", "capture true")
	})
}

// A transfer that comes to nothing gives its place on the trunk back, and one that does
// not come to an end is given up after the time that any callee may ring.
func TestTransferGivesPlaceBack(t *testing.T) {
	two := func(pbx, carrier *trunk.Config) { terminates(pbx, carrier); carrier.MaxCalls = 2 }
	plainly(t, two, func(b *bubble) {
		_, toPBX := b.talking(offered, answeredWith)
		for range 3 {
			toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
			b.pbx.Expect("SIP/2.0 202")
			b.carrier.Reply(b.carrier.Expect("INVITE "), "486 Busy Here", "")
			b.carrier.Expect("ACK ")
			synctest.Wait()
		}
		toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.carrier.Expect("INVITE ")
		reply(b.carrier, out, "third", "180 Ringing", "", "")
		toPBX.send("BYE", "", "")
		b.pbx.Expect("SIP/2.0 200")
		b.carrier.Silent(ringTimeout - time.Second)
		got := collect(b.carrier, 2)
		if len(got["CANCEL"]) != 1 || len(got["BYE"]) != 1 {
			t.Errorf("got %v, want a CANCEL for who rings and a BYE for who waited", got)
		}
	})
}

// A transfer goes out by the trunk that the party's calls go by, whatever address of
// another trunk it names.
func TestTransferStaysOnRoute(t *testing.T) {
	plainly(t, func(_, carrier *trunk.Config) { carrier.Refer = trunk.Terminate }, func(b *bubble) {
		first, _ := b.talking(offered, answeredWith)
		first.send("REFER", "Refer-To: <sip:+31900123@192.0.2.77:5060>\r\nRefer-Sub: false\r\n", "")
		b.carrier.Expect("SIP/2.0 202")
		b.pbx.Expect("INVITE sip:+31900123@")
	})
}

// A call that is redirected to a private or an emergency number is neither announced nor
// recorded.
func TestRedirectedToPrivateNumber(t *testing.T) {
	for to, reason := range map[string]string{"+31881234567": "rule", "112": "emergency"} {
		inBubbleOf(t, nil, nil, func(b *bubble) {
			invite := b.pbx.Invite("+31612345678", offered, "")
			b.pbx.Expect("SIP/2.0 100")
			out := b.carrier.Expect("INVITE ")
			b.carrier.ReplyWith(out, "302 Moved", "Contact: <sip:"+to+"@203.0.113.3>\r\n")
			b.carrier.Expect("ACK ")
			out = b.carrier.Expect("INVITE sip:" + to)
			third := called(b.carrier, out, reply(b.carrier, out, "x", "200 OK", "", answeredWith))
			b.carrier.Expect("ACK ")
			calling(b.pbx, invite, b.pbx.Expect("SIP/2.0 200")).ack("")
			synctest.Wait()
			b.mu.Lock()
			effects := slices.Clone(b.effects)
			b.mu.Unlock()
			for _, effect := range effects {
				if strings.HasPrefix(effect, "play") || strings.HasPrefix(effect, "capture") || strings.HasPrefix(effect, "record") {
					t.Errorf("redirected to %s: %q", to, effect)
				}
			}
			third.send("BYE", "", "")
			b.carrier.Expect("SIP/2.0 200")
			b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
			b.wrote("calling", "calling "+to+" joined", "not_recorded answered "+reason+" "+to+" joined")
		})
	}
}

// A call that is redirected is decided anew by all that its INVITE said: that it was diverted,
// and how many were recorded: here that is not known.
func TestRedirectedIsDecidedWhole(t *testing.T) {
	diverted := "Diversion: <sip:+31201110000@203.0.113.3>\r\n"
	for name, test := range map[string]struct {
		policy  func(*policy.Config)
		headers string
		want    string // the row's state, outcome and reason
	}{
		"diverted": {func(c *policy.Config) {
			c.Rules[2].Match.To, c.Rules[2].Forwarded = []string{"+31301234567"}, "by agreement"
			c.Rules = append(c.Rules, policy.Rule{Name: "others", Record: c.Rules[2].Record, Announce: c.Rules[2].Announce})
		}, diverted, "not_recorded answered forwarded"},
		"ceiling": {func(c *policy.Config) {
			more := *c.Rules[2].Record
			more.Ceiling = 1
			c.Rules = append(c.Rules, policy.Rule{Name: "others", Record: &more, Announce: c.Rules[2].Announce})
			c.Rules[2].Match.To = []string{"+31301234567"}
		}, "", "not_recorded answered ceiling"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleOf(t, test.policy, nil, func(b *bubble) {
				invite := b.pbx.Invite("+31301234567", offered, test.headers)
				b.pbx.Expect("SIP/2.0 100")
				out := b.carrier.Expect("INVITE ")
				b.carrier.ReplyWith(out, "302 Moved", "Contact: <sip:+31309999999@203.0.113.3>\r\n")
				b.carrier.Expect("ACK ")
				out = b.carrier.Expect("INVITE sip:+31309999999")
				third := called(b.carrier, out, reply(b.carrier, out, "x", "200 OK", "", answeredWith))
				b.carrier.Expect("ACK ")
				calling(b.pbx, invite, b.pbx.Expect("SIP/2.0 200")).ack("")
				third.send("BYE", "", "")
				b.carrier.Expect("SIP/2.0 200")
				b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
				synctest.Wait()
				if r := b.latest(); string(r.State)+" "+r.Outcome+" "+r.Reason != test.want {
					t.Errorf("got row %s %s %q, want %s", r.State, r.Outcome, r.Reason, test.want)
				}
			})
		})
	}
}

// Of two branches that described themselves, the one that answers is connected and told,
// though its answer does not say again where it is.
func TestBranchThatAnswersIsTold(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.pbx.Invite("+31612345678", offered, "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		for tag, port := range map[string]string{"one": "4111", "two": "4222"} {
			reply(b.carrier, out, tag, "183 Session Progress", "Require: 100rel\r\nRSeq: 1\r\n", strings.Replace(offered, "4000", port, 1))
			b.carrier.Reply(b.carrier.Expect("PRACK "), "200 OK", "")
			b.pbx.Expect("SIP/2.0 183")
		}
		reply(b.carrier, out, "one", "200 OK", "", "")
		b.carrier.Expect("ACK ")
		time.Sleep(time.Second)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		connected := ""
		for _, effect := range b.effects {
			if strings.HasPrefix(effect, "connect callee") {
				connected = effect
			}
			if strings.HasPrefix(effect, "play ") && strings.HasSuffix(effect, " to callee") && connected != "connect callee to 203.0.113.3:4111" {
				t.Errorf("told after %q, want the branch at 4111", connected)
			}
		}
		if connected != "connect callee to 203.0.113.3:4111" {
			t.Errorf("got %q last, want the branch at 4111", connected)
		}
	})
}

// That a call was diverted is believed of a trunk that is not trusted too, so that nobody is recorded
// who was not to be; but where there is to be no call without a recording, there is none.
func TestClaimedDiversion(t *testing.T) {
	for _, test := range []struct {
		trusted bool
		failure policy.OnFailure
		row     string // "" where the call passes
	}{
		{false, policy.Refuse, "not_recorded refused forwarded_claimed"}, {false, policy.Continue, ""}, {true, policy.Refuse, ""},
	} {
		obliges := func(c *policy.Config) {
			quality := c.Purposes["quality"]
			quality.OnFailure = test.failure
			c.Purposes["quality"] = quality
		}
		inBubbleOf(t, obliges, func(_, carrier *trunk.Config) { carrier.Trusted = &test.trusted }, func(b *bubble) {
			invite := b.carrier.Invite("+31205550100", offered, "Diversion: <sip:+31209999999@x>;reason=unconditional\r\n")
			b.carrier.Expect("SIP/2.0 100")
			if test.row == "" {
				b.pbx.Reply(b.pbx.Expect("INVITE "), "486 Busy Here", "")
				b.pbx.Expect("ACK ")
				b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 486").Header("To"))
				reason := map[bool]string{true: "forwarded", false: "forwarded_claimed"}[test.trusted]
				b.wrote("calling", "not_recorded busy "+reason)
				return
			}
			b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 503").Header("To"))
			b.wrote("calling", test.row)
			b.pbx.Silent(time.Second)
		})
	}
}

// A header chooses a rule where its trunk is trusted; an outsider's does not.
func TestHeaderChoosesRule(t *testing.T) {
	board := func(c *policy.Config) {
		c.Rules = append([]policy.Rule{{Name: "board", Match: policy.Match{Header: map[string][]string{"X-Desk": {"board*"}}}}}, c.Rules...)
	}
	for trusted, want := range map[bool]string{true: "not_recorded busy rule", false: "not_recorded busy not_connected"} {
		inBubbleOf(t, board, func(_, carrier *trunk.Config) { carrier.Trusted = &trusted }, func(b *bubble) {
			invite := b.carrier.Invite("+31205550100", offered, "x-desk: Board-1\r\n")
			b.carrier.Expect("SIP/2.0 100")
			if !trusted {
				b.carrier.Expect("SIP/2.0 183")
			}
			b.pbx.Reply(b.pbx.Expect("INVITE "), "486 Busy Here", "")
			b.pbx.Expect("ACK ")
			b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 486").Header("To"))
			b.wrote("calling", want)
		})
	}
}

// A new policy is for calls that begin from then on; those that are up keep theirs, to the
// transfer and beyond.
func TestNewPolicy(t *testing.T) {
	inBubbleOf(t, nil, terminates, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		b.manager.SetRules(testPolicy(t, func(c *policy.Config) { c.Rules = nil }), nil)
		called(b.pbx, toPBX, answer).send("REFER", "Refer-To: <sip:201@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.pbx.Expect("INVITE sip:201")
		reply(b.pbx, out, "third", "200 OK", "", strings.Replace(answeredWith, "6000", elsewhere, 1))
		b.pbx.Expect("ACK ")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		b.did("connect callee to 10.0.0.5:" + elsewhere)

		invite := b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		b.pbx.Reply(b.pbx.Expect("INVITE "), "486 Busy Here", "")
		b.pbx.Expect("ACK ")
		b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 486").Header("To"))
	})
}

// A ceiling counts what was recorded of our number; without a count nothing is, and the caller
// is not told either.
func TestCeiling(t *testing.T) {
	one := func(c *policy.Config) { c.Rules[1].Record.Ceiling = 1 }
	for _, counts := range []map[string]int{nil, {"+31205550100": 1}, {"+31205550199": 1}} {
		inBubbleOf(t, one, nil, func(b *bubble) {
			if counts != nil {
				b.manager.Counting(time.Now())
				b.manager.Counted(time.Now(), counts)
			}
			if counts["+31205550199"] == 1 {
				_, toPBX, answer, _ := b.connected()
				b.end(toPBX, answer, 1)
			}
			invite := b.carrier.Invite("+31205550100", offered, "")
			b.carrier.Expect("SIP/2.0 100")
			b.pbx.Reply(b.pbx.Expect("INVITE "), "486 Busy Here", "")
			b.pbx.Expect("ACK ")
			b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 486").Header("To"))
		})
	}
}
