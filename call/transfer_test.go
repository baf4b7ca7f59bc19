package call

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/sip/siptest"
	"github.com/bewaard/bewaard/sip/trunk"
)

// tagOf returns the tag of a From or To header.
func tagOf(h string) string { _, tag, _ := strings.Cut(h, ";tag="); return tag }

// collect takes so many messages of a peer in whatever order and answers the requests.
func collect(p *siptest.Peer, n int) map[string][]siptest.Message {
	got := map[string][]siptest.Message{}
	for range n {
		m := p.Expect("")
		kind, _, _ := strings.Cut(m.Start(), " ")
		got[kind] = append(got[kind], m)
		if kind == "NOTIFY" || kind == "BYE" {
			p.Reply(m, "200 OK", "")
		}
	}
	return got
}

// Attended transfer: the PBX talks to a carrier's subscriber and to another one, and joins
// the two by a REFER with Replaces. One call goes on with both, the other one ends.
func TestAttendedTransfer(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Terminate }, func(b *bubble) {
		first, toPBX := b.talking(offered, answeredWith)
		// The consultation: the PBX calls out.
		invite := b.pbx.Invite("+31301234567", strings.Replace(answeredWith, "6000", "6100", 1), "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		second := called(b.carrier, out, reply(b.carrier, out, "second", "200 OK", "", strings.Replace(offered, "4000", "4100", 1)))
		b.carrier.Expect("ACK ")
		ok := b.pbx.Expect("SIP/2.0 200")
		consultation := calling(b.pbx, invite, ok)
		consultation.ack("")
		synctest.Wait()
		b.effects = nil

		replaces := url.QueryEscape(consultation.CallID + ";to-tag=" + tagOf(consultation.Remote) + ";from-tag=" + tagOf(consultation.Local))
		toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1?Replaces="+replaces+">\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		got := collect(b.pbx, 4) // two NOTIFYs, two BYEs
		if len(got["NOTIFY"]) != 2 || len(got["BYE"]) != 2 {
			t.Fatalf("got %v at the PBX, want two NOTIFYs and two BYEs", got)
		}
		again := b.carrier.Expect("INVITE ")
		wantHeader(t, again, "Call-ID", second.CallID)
		wantBody(t, again, "m=audio 20002 RTP/AVP 8")
		b.carrier.Reply(again, "200 OK", strings.Replace(offered, "4000", "4100", 1))
		b.carrier.Expect("ACK ")
		b.carrier.Silent(10 * time.Second)
		// The second subscriber hangs up: the first is told.
		second.send("BYE", "", "")
		b.carrier.Expect("SIP/2.0 200")
		bye := b.carrier.Expect("BYE ")
		wantHeader(t, bye, "Call-ID", first.CallID)
		b.carrier.Reply(bye, "200 OK", "")
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		slices.Sort(b.rows) // two calls wrote them
		want := []string{"calling", "calling", "calling +31301234567 joined", "not_recorded answered no_rule +31301234567 joined", "not_recorded answered no_rule continued"}
		if diff := cmp.Diff(want, b.rows); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

// A dialog that is not there cannot be taken over: the call stays as it was.
func TestAttendedTransferToNobody(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Terminate }, func(b *bubble) {
		_, toPBX := b.talking(offered, answeredWith)
		toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1?Replaces=x%3Bto-tag%3Da%3Bfrom-tag%3Db>\r\n", "")
		b.pbx.Expect("SIP/2.0 404")
		toPBX.send("REFER", "Refer-To: <gibberish>\r\n", "")
		b.pbx.Expect("SIP/2.0 400")
		b.over(toPBX)
	})
}

// A consultation that the PBX held by itself is completed there: the far party's call is
// sent to who was consulted, with the dialog that it is to replace.
func TestAttendedTransferWithinPBX(t *testing.T) {
	plainly(t, terminates, func(b *bubble) {
		_, toPBX := b.talking(offered, answeredWith)
		toPBX.send("REFER", "Refer-To: <sip:201@10.0.0.5?Replaces=inner%3Bto-tag%3Da%3Bfrom-tag%3Db>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.pbx.Expect("INVITE sip:201@")
		wantHeader(t, out, "Replaces", "inner;to-tag=a;from-tag=b")
		reply(b.pbx, out, "consulted", "200 OK", "", strings.Replace(answeredWith, "6000", "6100", 1))
		b.pbx.Expect("ACK ")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		synctest.Wait()
		b.did("connect callee to 10.0.0.5:6100")
	})
}

// Who refers hangs up before the third party answers: the call waits for that one, and
// ends only if it does not come.
func TestReferrerLeaves(t *testing.T) {
	for answer, want := range map[string][]string{
		"200 OK":        {"calling", "calling 200 joined", "not_recorded answered no_rule 200 joined"},
		"486 Busy Here": {"calling", "not_recorded answered no_rule"},
	} {
		plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Terminate }, func(b *bubble) {
			_, toPBX := b.talking(offered, answeredWith)
			toPBX.send("REFER", "Refer-To: <sip:200@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
			b.pbx.Expect("SIP/2.0 202")
			toThird := b.pbx.Expect("INVITE ")
			reply(b.pbx, toThird, "third", "180 Ringing", "", "")
			synctest.Wait()
			toPBX.send("BYE", "", "")
			b.pbx.Expect("SIP/2.0 200")
			b.carrier.Silent(5 * time.Second)
			if answer == "200 OK" {
				third := called(b.pbx, toThird, reply(b.pbx, toThird, "third", answer, "", answeredWith))
				b.pbx.Expect("ACK ")
				synctest.Wait()
				third.send("BYE", "", "")
				b.pbx.Expect("SIP/2.0 200")
			} else {
				b.pbx.Reply(toThird, answer, "")
				b.pbx.Expect("ACK ")
			}
			b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
			b.wrote(want...)
		})
	}
}

// A recorded caller who is transferred to somebody outside that nobody told: what follows
// is not recorded, and the row says why.
func TestTransferOutsideIsNotRecorded(t *testing.T) {
	inBubbleOf(t, nil, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Terminate }, func(b *bubble) {
		_, toPBX, answer, _ := b.connected()
		pbx := called(b.pbx, toPBX, answer)
		pbx.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out := b.carrier.Expect("INVITE sip:+31301234567@203.0.113.3")
		third := called(b.carrier, out, reply(b.carrier, out, "third", "200 OK", "", strings.Replace(offered, "4000", "4100", 1)))
		b.carrier.Expect("ACK ")
		b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		b.did("capture false", "stop recording", "connect callee to 203.0.113.3:4100") // before it is heard
		third.send("BYE", "", "")
		b.carrier.Expect("SIP/2.0 200")
		b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
		b.wrote("calling", "recording", "recording +31301234567 joined", "finalizing answered transferred +31301234567 joined")
	})
}

// An INVITE with Replaces, by which the carrier takes a call over, names to the PBX the
// dialog that it knows.
func TestReplacesIsTranslated(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		first, toPBX := b.talking(offered, answeredWith)
		invite := b.carrier.Invite("+31205550100", offered, "Replaces: "+first.CallID+";to-tag="+tagOf(first.Remote)+";from-tag="+tagOf(first.Local)+"\r\n")
		b.carrier.Expect("SIP/2.0 100")
		again := b.pbx.Expect("INVITE ")
		wantHeader(t, again, "Replaces", toPBX.CallID+";to-tag="+tagOf(toPBX.Local)+";from-tag="+tagOf(toPBX.Remote))
		b.pbx.Reply(again, "486 Busy Here", "")
		b.pbx.Expect("ACK ")
		b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 486").Header("To"))
		stray := b.carrier.Invite("+31205550100", offered, "Replaces: x;to-tag=a;from-tag=b\r\n")
		b.carrier.Expect("SIP/2.0 100")
		b.carrier.Transaction("ACK", stray, b.carrier.Expect("SIP/2.0 481").Header("To"))
		b.over(toPBX)
	})
}

// A dialog is nobody's to name but its own trunk's: the carrier's is not for the PBX to take
// over or to learn of, nor the PBX's for the carrier.
func TestReplacesOfAnotherTrunk(t *testing.T) {
	for _, mode := range []string{trunk.Terminate, trunk.Pass} {
		plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = mode }, func(b *bubble) {
			first, toPBX := b.talking(offered, answeredWith)
			name := func(d *dialog) string {
				return d.CallID + ";to-tag=" + tagOf(d.Remote) + ";from-tag=" + tagOf(d.Local)
			}
			invite := b.carrier.Invite("+31205550100", offered, "Replaces: "+name(toPBX)+"\r\n")
			b.carrier.Expect("SIP/2.0 100")
			b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 481").Header("To"))
			toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1?Replaces="+url.QueryEscape(name(first))+">\r\n", "")
			b.pbx.Expect("SIP/2.0 404")
			b.over(toPBX)
		})
	}
}

// An offer that is under way as a transfer completes does not keep the parties apart: who
// stays is to make its own again, and answers the one of who left to us.
func TestOfferUnderWayAtTransfer(t *testing.T) {
	third := strings.NewReplacer("6000", "6100", "10.0.0.5", "10.0.0.77").Replace(answeredWith)
	begun := func(b *bubble) (far, leaver *dialog, toThird siptest.Message) {
		far, leaver = b.talking(offered, answeredWith)
		leaver.send("REFER", "Refer-To: <sip:200@10.0.0.5>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		return far, leaver, b.pbx.Expect("INVITE ")
	}
	t.Run("of who stays", func(t *testing.T) {
		plainly(t, terminates, func(b *bubble) {
			far, _, toThird := begun(b)
			moved := strings.NewReplacer("4000", "4444", "1 1 IN", "1 2 IN").Replace(offered)
			invite := far.offer(moved)
			b.carrier.Expect("SIP/2.0 100")
			b.pbx.Expect("INVITE ") // to who leaves, and does not answer
			reply(b.pbx, toThird, "third", "200 OK", "", third)
			b.pbx.Expect("ACK ")
			b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 491").Header("To"))
			synctest.Wait()
			b.did("connect callee to 10.0.0.77:6100")
		})
	})
	t.Run("of who leaves", func(t *testing.T) {
		plainly(t, terminates, func(b *bubble) {
			_, leaver, toThird := begun(b)
			leaver.offer(strings.Replace(answeredWith, "1 1 IN", "1 2 IN", 1) + "a=sendonly\r\n")
			b.pbx.Expect("SIP/2.0 100")
			hold := b.carrier.Expect("INVITE ")
			reply(b.pbx, toThird, "third", "200 OK", "", third)
			b.pbx.Expect("ACK ")
			synctest.Wait()
			b.did("connect callee to 10.0.0.77:6100")
			b.carrier.Reply(hold, "200 OK", offered+"a=recvonly\r\n")
			b.carrier.Expect("ACK ")
			synctest.Wait()
			b.did("connect caller to 203.0.113.3:4000")
			if again := b.carrier.Expect("INVITE "); strings.Contains(again.Body(), "sendonly") { // both are told of each other
				t.Errorf("got description %q, want no hold in it", again.Body())
			}
		})
	})
}

// Who is called for a party on another trunk is told the address that its own trunk has of
// us, not that of the trunk whose party leaves.
func TestTransferAdvertisesToNewTrunk(t *testing.T) {
	behind := func(pbx, carrier *trunk.Config) {
		terminates(pbx, carrier)
		carrier.Advertise = netip.MustParseAddr("198.51.100.1")
	}
	plainly(t, behind, func(b *bubble) {
		_, toPBX := b.talking(offered, answeredWith)
		toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		wantBody(t, b.carrier.Expect("INVITE "), "c=IN IP4 198.51.100.1")
	})
}

// Who has had two streams is offered two, though the party that it is joined to has one.
func TestTransferKeepsStreams(t *testing.T) {
	plainly(t, terminates, func(b *bubble) {
		const video = "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
		first, toPBX := b.talking(offered+video, answeredWith+"m=video 0 RTP/AVP 96\r\n")
		invite := b.pbx.Invite("+31301234567", strings.Replace(answeredWith, "6000", "6100", 1), "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		reply(b.carrier, out, "second", "200 OK", "", strings.Replace(offered, "4000", elsewhere, 1))
		b.carrier.Expect("ACK ")
		consultation := calling(b.pbx, invite, b.pbx.Expect("SIP/2.0 200"))
		consultation.ack("")
		// The first is on hold, and so has to be told.
		toPBX.offer(strings.Replace(answeredWith, "1 1 IN", "1 2 IN", 1) + "a=sendonly\r\nm=video 0 RTP/AVP 96\r\n")
		b.pbx.Expect("SIP/2.0 100")
		b.carrier.Reply(b.carrier.Expect("INVITE "), "200 OK", offered+"a=recvonly\r\nm=video 0 RTP/AVP 96\r\n")
		b.carrier.Expect("ACK ")
		b.pbx.Expect("SIP/2.0 200")
		toPBX.ack("")
		synctest.Wait()
		replaces := url.QueryEscape(consultation.CallID + ";to-tag=" + tagOf(consultation.Remote) + ";from-tag=" + tagOf(consultation.Local))
		toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1?Replaces="+replaces+">\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		for range 2 {
			b.pbx.Reply(b.pbx.Expect("BYE "), "200 OK", "")
		}
		told := false
		for synctest.Wait(); b.carrier.Pending(); synctest.Wait() {
			m := b.carrier.Expect("INVITE ")
			body := strings.Replace(offered, "4000", elsewhere, 1)
			if m.Header("Call-ID") == first.CallID {
				told, body = true, offered+"m=video 0 RTP/AVP 96\r\n"
				if n := strings.Count(m.Body(), "m="); n != 2 {
					t.Errorf("got %d streams in %q, want 2", n, m.Body())
				}
			}
			b.carrier.Reply(m, "200 OK", body)
			b.carrier.Expect("ACK ")
		}
		if !told {
			t.Error("who was on hold is not told of the other")
		}
	})
}

// Who is called for a transfer is shown the other party as that one asked to be shown: with his
// Privacy, and outside the trust domain without his number, an emergency centre aside.
func TestTransferKeepsPrivacy(t *testing.T) {
	const number, nobody = "<sip:+31201234567@192.0.2.1>", "\"Anonymous\" <sip:anonymous@anonymous.invalid>"
	for name, test := range map[string]struct {
		trunks               func(pbx, carrier *trunk.Config)
		asked, to            string
		wantFrom, wantAsking string
	}{
		"nothing":        {distrusted, "", "+31301234567", number, ""},
		"none":           {distrusted, "Privacy: none\r\n", "+31301234567", number, ""},
		"of its history": {distrusted, "Privacy: history\r\n", "+31301234567", number, "history"},
		"withheld":       {distrusted, "Privacy: user; ID\r\n", "+31301234567", nobody, "user; ID"},
		"trusted":        {nil, "Privacy: user;id\r\n", "+31301234567", number, "user;id"},
		"emergency":      {distrusted, "Privacy: user;id\r\n", "112", number, "user;id"},
		"in two headers": {distrusted, "Privacy: history\r\nPrivacy: header\r\n", "+31301234567", nobody, "history;header"},
		"to our side":    {distrusted, "Privacy: id\r\n", "202", number, "id"},
	} {
		t.Run(name, func(t *testing.T) {
			plainly(t, func(pbx, carrier *trunk.Config) {
				terminates(pbx, carrier)
				if test.trunks != nil {
					test.trunks(pbx, carrier)
				}
			}, func(b *bubble) {
				invite := b.carrier.Invite("+31205550100", offered, test.asked)
				b.carrier.Expect("SIP/2.0 100")
				toPBX := b.pbx.Expect("INVITE ")
				answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
				b.pbx.Expect("ACK ")
				calling(b.carrier, invite, b.carrier.Expect("SIP/2.0 200")).ack("")
				at, who := "192.0.2.1", b.carrier
				if test.to == "202" {
					at, who = "10.0.0.5", b.pbx
				}
				called(b.pbx, toPBX, answer).send("REFER", "Refer-To: <sip:"+test.to+"@"+at+">\r\nRefer-Sub: false\r\n", "")
				b.pbx.Expect("SIP/2.0 202")
				out := who.Expect("INVITE sip:" + test.to)
				from, _, _ := strings.Cut(out.Header("From"), ";tag=")
				if from != test.wantFrom {
					t.Errorf("got From %s, want %s", from, test.wantFrom)
				}
				wantHeader(t, out, "Privacy", test.wantAsking)
			})
		})
	}
}

// The privacy of who answers, and of who came by a transfer, is kept for the next one.
func TestTransferKeepsPrivacyOfCallee(t *testing.T) {
	plainly(t, func(pbx, carrier *trunk.Config) {
		pbx.Refer, carrier.Refer = trunk.Terminate, trunk.Terminate
		distrusted(pbx, carrier)
	}, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		callee := called(b.pbx, toPBX, reply(b.pbx, toPBX, "pbx", "200 OK", "Privacy: id\r\n", answeredWith))
		b.pbx.Expect("ACK ")
		caller := calling(b.carrier, invite, b.carrier.Expect("SIP/2.0 200"))
		caller.ack("")
		caller.send("REFER", "Refer-To: <sip:+31301234567@203.0.113.3>\r\nRefer-Sub: false\r\n", "")
		b.carrier.Expect("SIP/2.0 202")
		out := b.carrier.Expect("INVITE sip:+31301234567")
		wantHeader(t, out, "Privacy", "id")
		if from := out.Header("From"); !strings.HasPrefix(from, "\"Anonymous\" <sip:anonymous@anonymous.invalid>") {
			t.Errorf("got From %s", from)
		}
		reply(b.carrier, out, "second", "200 OK", "Privacy: header\r\n", offered)
		b.carrier.Expect("ACK ")
		b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
		callee.send("REFER", "Refer-To: <sip:+31307654321@192.0.2.1>\r\nRefer-Sub: false\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		out = b.carrier.Expect("INVITE sip:+31307654321")
		wantHeader(t, out, "Privacy", "header")
	})
}

// The second REFER of a dialog is told about by its number, whether we follow it or the other party
// does; that one knows it by the number that it has there.
func TestNotifyNamesRefer(t *testing.T) {
	const refer = "Refer-To: <sip:+31301234567@192.0.2.1>\r\n"
	plainly(t, terminates, func(b *bubble) {
		_, callee := b.talking(offered, answeredWith)
		for i, event := range []string{"refer", "refer;id=2", "refer;id=5"} {
			callee.seq = []int{0, 1, 4}[i]
			callee.send("REFER", refer, "")
			b.pbx.Expect("SIP/2.0 202")
			trying := b.pbx.Expect("NOTIFY ")
			wantHeader(t, trying, "Event", event)
			b.pbx.Reply(trying, "200 OK", "")
			b.carrier.Reply(b.carrier.Expect("INVITE "), "486 Busy Here", "")
			b.carrier.Expect("ACK ")
			over := b.pbx.Expect("NOTIFY ")
			wantHeader(t, over, "Event", event)
			b.pbx.Reply(over, "200 OK", "")
		}
		b.over(callee)
	})
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Pass }, func(b *bubble) {
		caller, callee := b.talking(offered, answeredWith)
		for i, want := range []string{"refer", "refer;id=8"} {
			callee.seq = []int{3, 7}[i]
			callee.send("REFER", refer, "")
			passed := b.carrier.Expect("REFER ")
			b.carrier.Reply(passed, "202 Accepted", "")
			b.pbx.Expect("SIP/2.0 202")
			seq, _, _ := strings.Cut(passed.Header("CSeq"), " ")
			for _, event := range [][]string{{"refer", "Refer ; ID = " + seq}, {"refer;id=" + seq}}[i] {
				caller.send("NOTIFY", "Event: "+event+"\r\nSubscription-State: active;expires=60\r\nContent-Type: message/sipfrag\r\n", "SIP/2.0 100 Trying\r\n")
				notify := b.pbx.Expect("NOTIFY ")
				wantHeader(t, notify, "Event", want)
				b.pbx.Reply(notify, "200 OK", "")
				b.carrier.Expect("SIP/2.0 200")
			}
		}
		b.over(callee)
	})
}
