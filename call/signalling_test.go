package call

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/siptest"
	"github.com/bewaard/bewaard/sip/trunk"
)

// What a call does leg to leg, seen from both sides; nothing is recorded unless a test
// says so.

// plainly is a bubble in which no rule matches.
func plainly(t *testing.T, trunks func(pbx, carrier *trunk.Config), test func(b *bubble)) {
	t.Helper()
	inBubbleOf(t, func(c *policy.Config) { c.Rules = nil }, trunks, test)
}

// reply answers a request with header lines of the test's.
func reply(p *siptest.Peer, request siptest.Message, tag, status, more, body string) siptest.Message {
	return p.Respond(request, siptest.Response{Status: status, Tag: tag, More: more, Body: body})
}

// dialog is one side's view of a dialog, which counts its requests.
type dialog struct {
	siptest.Dialog
	peer *siptest.Peer
	seq  int
}

// called is the dialog of who answered an INVITE of ours.
func called(p *siptest.Peer, invite, answer siptest.Message) *dialog {
	return &dialog{p.CalleeDialog(invite, answer), p, 0}
}

// calling is the dialog of who sent an INVITE that we answered.
func calling(p *siptest.Peer, invite, answer siptest.Message) *dialog {
	return &dialog{p.CallerDialog(invite, answer), p, 1}
}

func (d *dialog) send(method, more, body string) siptest.Message {
	if method != "ACK" {
		d.seq++
	}
	return d.peer.Request(d.Dialog, method, d.seq, more, body)
}

// offer sends an INVITE in the dialog.
func (d *dialog) offer(body string) siptest.Message { return d.send("INVITE", "", body) }

func (d *dialog) ack(body string) { d.send("ACK", "", body) }

func wantBody(t *testing.T, m siptest.Message, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(m.Body(), line+"\r\n") {
			t.Errorf("got description %q of %s, want %q in it", m.Body(), m.Start(), line)
		}
	}
}

func wantHeader(t *testing.T, m siptest.Message, name, want string) {
	t.Helper()
	if got := m.Header(name); got != want {
		t.Errorf("got %s %q in %s, want %q", name, got, m.Start(), want)
	}
}

// talking brings a plain inbound call to where both talk, and returns both dialogs.
func (b *bubble) talking(offer, answer string) (caller, callee *dialog) {
	b.Helper()
	invite := b.carrier.Invite("+31205550100", offer, "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, INFO, REFER, NOTIFY\r\n")
	b.carrier.Expect("SIP/2.0 100")
	toPBX := b.pbx.Expect("INVITE ")
	answered := reply(b.pbx, toPBX, "pbx", "200 OK", "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, INFO, REFER, NOTIFY\r\n", answer)
	b.pbx.Expect("ACK ")
	ok := b.carrier.Expect("SIP/2.0 200")
	caller, callee = calling(b.carrier, invite, ok), called(b.pbx, toPBX, answered)
	caller.ack("")
	synctest.Wait()
	b.effects = nil
	return caller, callee
}

// over has the callee hang up.
func (b *bubble) over(callee *dialog) {
	b.Helper()
	callee.send("BYE", "", "")
	b.pbx.Expect("SIP/2.0 200")
	b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
}

// An INVITE without an offer: the callee is offered what we can, the caller what the
// callee can, and his ACK has the answer.
func TestDelayedOffer(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", "", "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		wantBody(t, toPBX, "m=audio 20002 RTP/AVP 9 8 0 101", "c=IN IP4 192.0.2.1")
		answer := b.pbx.Reply(toPBX, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		wantBody(t, ok, "m=audio 20000 RTP/AVP 8")
		calling(b.carrier, invite, ok).ack(offered)
		b.did("connect callee to 10.0.0.5:6000", "relay caller true", "relay callee true", "connect caller to 203.0.113.3:4000")
		b.over(called(b.pbx, toPBX, answer))
	})
}

// A peer that is out (503), one that is silent, and the third answers.
func TestFailover(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) {
		pbx.Peers = append(pbx.Peers, trunk.PeerURI{Host: "10.0.0.6", Port: 5060, Transport: "udp"}, trunk.PeerURI{Host: "10.0.0.7", Port: 5060, Transport: "udp"})
	}, func(b *bubble) {
		third := siptest.NewPeer(b.T, b.network, "10.0.0.7:5060", usAt)
		invite := b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		b.pbx.Reply(b.pbx.Expect("INVITE sip:+31205550100@10.0.0.5"), "503 Service Unavailable", "")
		b.pbx.Expect("ACK ")
		began := time.Now()
		toThird := third.Expect("INVITE sip:+31205550100@10.0.0.7")
		if waited := time.Since(began); waited != 8*time.Second {
			t.Errorf("got the third peer's INVITE after %v, want the silent one to have had 8s", waited)
		}
		answer := third.Reply(toThird, "200 OK", answeredWith)
		third.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		calling(b.carrier, invite, ok).ack("")
		called(third, toThird, answer).send("BYE", "", "")
		third.Expect("SIP/2.0 200")
		b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
		b.wrote("calling", "not_recorded answered no_rule")
	})
}

// Every peer is out: the caller hears that, not that we are.
func TestFailoverEnds(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		b.pbx.Reply(b.pbx.Expect("INVITE "), "503 Service Unavailable", "")
		b.pbx.Expect("ACK ")
		b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 500").Header("To"))
	})
}

// A redirection is followed to the same trunk's peers, passed on with our address, or not
// told, as the trunk says.
func TestRedirection(t *testing.T) {
	for mode, test := range map[string]func(b *bubble, invite siptest.Message){
		trunk.Follow: func(b *bubble, invite siptest.Message) {
			busy := b.pbx.Expect("INVITE sip:+31205550199@10.0.0.5")
			b.pbx.Reply(busy, "486 Busy Here", "")
			b.pbx.Expect("ACK ")
			b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 486").Header("To"))
		},
		trunk.Pass: func(b *bubble, invite siptest.Message) {
			moved := b.carrier.Expect("SIP/2.0 302")
			wantHeader(b.T, moved, "Contact", "<sip:+31205550199@192.0.2.1:5060>")
			b.carrier.Transaction("ACK", invite, moved.Header("To"))
		},
		trunk.Refuse: func(b *bubble, invite siptest.Message) {
			b.carrier.Transaction("ACK", invite, b.carrier.Expect("SIP/2.0 480").Header("To"))
		},
	} {
		t.Run(mode, func(t *testing.T) {
			plainly(t, func(pbx, _ *trunk.Config) { pbx.Redirects = mode }, func(b *bubble) {
				invite := b.carrier.Invite("+31205550100", offered, "")
				b.carrier.Expect("SIP/2.0 100")
				toPBX := b.pbx.Expect("INVITE sip:+31205550100@10.0.0.5")
				m := siptest.Message{Text: strings.Replace(reply302(toPBX), "<peer>", "<sip:+31205550199@10.0.0.5>", 1)}
				b.pbx.Send(m.Text)
				b.pbx.Expect("ACK ")
				test(b, invite)
			})
		})
	}
}

func reply302(request siptest.Message) string {
	return fmt.Sprintf("SIP/2.0 302 Moved Temporarily\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=pbx\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <peer>\r\nContent-Length: 0\r\n\r\n",
		request.Header("Via"), request.Header("From"), request.Header("To"), request.Header("Call-ID"), request.Header("CSeq"))
}

// Two branches of a forking callee: the caller is told of one, hears the newest, and the
// one that answers is who he talks to.
func TestFork(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		reply(b.pbx, toPBX, "one", "183 Session Progress", "", answeredWith)
		first := b.carrier.Expect("SIP/2.0 183")
		reply(b.pbx, toPBX, "two", "183 Session Progress", "", strings.Replace(answeredWith, "6000", "6002", 1))
		if second := b.carrier.Expect("SIP/2.0 183"); second.Body() != first.Body() {
			t.Errorf("got another answer to one offer: %q, then %q", first.Body(), second.Body())
		}
		b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay callee true", "relay caller true", "connect callee to 10.0.0.5:6002", "relay callee true", "relay caller true")
		answer := reply(b.pbx, toPBX, "one", "200 OK", "", answeredWith)
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		calling(b.carrier, invite, ok).ack("")
		b.did("connect callee to 10.0.0.5:6000", "relay caller true", "relay callee true")
		late := reply(b.pbx, toPBX, "two", "200 OK", "", answeredWith)
		b.pbx.Expect("ACK ")
		bye := b.pbx.Expect("BYE ")
		wantHeader(t, bye, "To", strings.Replace(late.Header("To"), "<", "<", 1))
		b.pbx.Reply(bye, "200 OK", "")
		b.over(called(b.pbx, toPBX, answer))
	})
}

// The PBX takes another codec than the caller was told early: once both are connected, the
// caller is offered that one.
func TestCodecIsAligned(t *testing.T) {
	inBubble(t, func(b *bubble) {
		both := strings.Replace(offered, "RTP/AVP 8\r\n", "RTP/AVP 8 0\r\na=rtpmap:0 PCMU/8000\r\n", 1)
		invite := b.carrier.Invite("+31205550100", both, "")
		b.carrier.Expect("SIP/2.0 100")
		wantBody(t, b.carrier.Expect("SIP/2.0 183"), "m=audio 20000 RTP/AVP 8")
		toPBX := b.pbx.Expect("INVITE ")
		wantBody(t, toPBX, "m=audio 20002 RTP/AVP 8 0")
		mulaw := strings.NewReplacer("AVP 8", "AVP 0", "8 PCMA", "0 PCMU").Replace(answeredWith)
		answer := b.pbx.Reply(toPBX, "200 OK", mulaw)
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		wantBody(t, ok, "m=audio 20000 RTP/AVP 8")
		calling(b.carrier, invite, ok).ack("")
		again := b.carrier.Expect("INVITE ")
		wantBody(t, again, "m=audio 20000 RTP/AVP 0")
		b.carrier.Reply(again, "200 OK", strings.NewReplacer("AVP 8", "AVP 0", "8 PCMA", "0 PCMU").Replace(offered))
		b.carrier.Expect("ACK ")
		b.carrier.Silent(time.Minute)
		b.over(called(b.pbx, toPBX, answer))
	})
}

// Hold in all its forms passes, and a resume by an INVITE without an offer is heard by the
// other party.
func TestHoldAndResume(t *testing.T) {
	for name, form := range map[string]struct{ offer, passed string }{
		"sendonly":  {answeredWith + "a=sendonly\r\n", "a=sendonly"},
		"inactive":  {answeredWith + "a=inactive\r\n", "a=inactive"},
		"c=0.0.0.0": {strings.Replace(answeredWith, "c=IN IP4 10.0.0.5", "c=IN IP4 0.0.0.0", 1), "a=sendonly"},
	} {
		t.Run(name, func(t *testing.T) {
			plainly(t, nil, func(b *bubble) {
				_, pbx := b.talking(offered, answeredWith)
				pbx.offer(form.offer)
				b.pbx.Expect("SIP/2.0 100")
				held := b.carrier.Expect("INVITE ")
				wantBody(t, held, form.passed, "c=IN IP4 192.0.2.1")
				answer := "a=recvonly\r\n"
				if name == "inactive" {
					answer = "a=inactive\r\n"
				}
				b.carrier.Reply(held, "200 OK", offered+answer)
				b.carrier.Expect("ACK ")
				b.pbx.Expect("SIP/2.0 200")
				pbx.ack("")
				// Resumed without an offer: ours is what the carrier would do.
				pbx.offer("")
				b.pbx.Expect("SIP/2.0 100")
				wantBody(t, b.pbx.Expect("SIP/2.0 200"), "a=sendrecv", "m=audio 20002 RTP/AVP 8")
				pbx.ack(answeredWith)
				resumed := b.carrier.Expect("INVITE ")
				if strings.Contains(resumed.Body(), "only") || strings.Contains(resumed.Body(), "inactive") {
					t.Errorf("got %q, want both to send and receive", resumed.Body())
				}
				b.carrier.Reply(resumed, "200 OK", offered)
				b.carrier.Expect("ACK ")
				b.over(pbx)
			})
		})
	}
}

// A refresh, which says nothing new, is answered and bothers nobody.
func TestRefreshStaysOnItsLeg(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		_, pbx := b.talking(offered, answeredWith)
		pbx.offer(answeredWith)
		b.pbx.Expect("SIP/2.0 100")
		b.pbx.Expect("SIP/2.0 200")
		pbx.ack("")
		pbx.send("UPDATE", "", "")
		b.pbx.Expect("SIP/2.0 200")
		b.carrier.Silent(5 * time.Second)
		b.over(pbx)
	})
}

// Fax: the stream changes to udptl and back, each relayed as it is.
func TestFax(t *testing.T) {
	fax := func(host string, port int) string {
		return fmt.Sprintf("v=0\r\no=- 1 2 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=image %d udptl t38\r\na=T38FaxVersion:0\r\n", host, host, port)
	}
	plainly(t, nil, func(b *bubble) {
		_, pbx := b.talking(offered, answeredWith)
		pbx.offer(fax("10.0.0.5", 6000))
		b.pbx.Expect("SIP/2.0 100")
		asked := b.carrier.Expect("INVITE ")
		wantBody(t, asked, "m=image 20000 udptl t38", "a=T38FaxVersion:0")
		b.carrier.Reply(asked, "200 OK", fax("203.0.113.3", 4000))
		b.carrier.Expect("ACK ")
		wantBody(t, b.pbx.Expect("SIP/2.0 200"), "m=image 20002 udptl t38")
		pbx.ack("")
		b.did("connect callee to 10.0.0.5:6000 raw", "connect caller to 203.0.113.3:4000 raw")
		pbx.offer(strings.Replace(answeredWith, "o=- 1 1", "o=- 1 3", 1))
		b.pbx.Expect("SIP/2.0 100")
		back := b.carrier.Expect("INVITE ")
		wantBody(t, back, "m=audio 20000 RTP/AVP 8")
		b.carrier.Reply(back, "200 OK", offered)
		b.carrier.Expect("ACK ")
		b.pbx.Expect("SIP/2.0 200")
		pbx.ack("")
		b.did("connect callee to 10.0.0.5:6000", "connect caller to 203.0.113.3:4000")
		b.over(pbx)
	})
}

// Video is refused with port 0 and keeps its place; a trunk pair that passes it relays it.
func TestVideo(t *testing.T) {
	withVideo := func(d string, port int) string {
		return d + fmt.Sprintf("m=video %d RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n", port)
	}
	plainly(t, nil, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", withVideo(offered, 4002), "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		wantBody(t, toPBX, "m=audio 20002 RTP/AVP 8", "m=video 0 RTP/AVP 96")
		answer := b.pbx.Reply(toPBX, "200 OK", withVideo(answeredWith, 0))
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		wantBody(t, ok, "m=video 0 RTP/AVP 96")
		calling(b.carrier, invite, ok).ack("")
		b.over(called(b.pbx, toPBX, answer))
	})
	both := func(pbx, carrier *trunk.Config) {
		pbx.Streams, carrier.Streams = []string{"video"}, []string{"video", "image"}
	}
	plainly(t, both, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", withVideo(offered, 4002), "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		wantBody(t, toPBX, "m=audio 20002 RTP/AVP 8", "m=video 20006 RTP/AVP 96", "a=rtpmap:96 H264/90000")
		answer := b.pbx.Reply(toPBX, "200 OK", withVideo(answeredWith, 6002))
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		wantBody(t, ok, "m=video 20004 RTP/AVP 96")
		calling(b.carrier, invite, ok).ack("")
		b.over(called(b.pbx, toPBX, answer))
	})
}

// A key in an INFO passes, and its answer comes back; what the other party does not take
// is refused to who sent it.
func TestInfo(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		caller, pbx := b.talking(offered, answeredWith)
		caller.send("INFO", "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\nDuration=160\r\n")
		passed := b.pbx.Expect("INFO ")
		wantHeader(t, passed, "Content-Type", "application/dtmf-relay")
		if passed.Body() != "Signal=5\r\nDuration=160\r\n" {
			t.Errorf("got body %q", passed.Body())
		}
		b.pbx.Reply(passed, "200 OK", "")
		b.carrier.Expect("SIP/2.0 200")
		pbx.send("INFO", "Content-Type: application/x-odd\r\n", "?")
		b.carrier.Reply(b.carrier.Expect("INFO "), "415 Unsupported Media Type", "")
		b.pbx.Expect("SIP/2.0 415")
		pbx.send("MESSAGE", "Content-Type: text/plain\r\n", "hello")
		b.pbx.Expect("SIP/2.0 501")
		b.over(pbx)
	})
}

// UPDATE with an offer passes as what the other leg takes.
func TestUpdate(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		caller, pbx := b.talking(offered, answeredWith)
		caller.send("UPDATE", "Content-Type: application/sdp\r\n", strings.Replace(offered, "4000", "4004", 1))
		passed := b.pbx.Expect("INVITE ")
		b.pbx.Reply(passed, "200 OK", answeredWith)
		b.pbx.Expect("ACK ")
		b.carrier.Expect("SIP/2.0 200")
		b.did("connect caller to 203.0.113.3:4004", "connect callee to 10.0.0.5:6000")
		b.over(pbx)
	})
}

// REFER is declined by default.
func TestReferRefused(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		_, pbx := b.talking(offered, answeredWith)
		pbx.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\n", "")
		b.pbx.Expect("SIP/2.0 603")
		b.over(pbx)
	})
}

// REFER in mode pass goes to the other party with the number at its side, and NOTIFYs come
// back.
func TestReferPassed(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Pass }, func(b *bubble) {
		caller, pbx := b.talking(offered, answeredWith)
		pbx.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\nReferred-By: <sip:100@10.0.0.5>\r\n", "")
		refer := b.carrier.Expect("REFER ")
		wantHeader(t, refer, "Refer-To", "<sip:+31301234567@203.0.113.3>")
		wantHeader(t, refer, "Referred-By", "<sip:100@192.0.2.1>")
		b.carrier.Reply(refer, "202 Accepted", "")
		b.pbx.Expect("SIP/2.0 202")
		caller.send("NOTIFY", "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\n", "SIP/2.0 200 OK\r\n")
		notify := b.pbx.Expect("NOTIFY ")
		wantHeader(t, notify, "Subscription-State", "terminated;reason=noresource")
		b.pbx.Reply(notify, "200 OK", "")
		b.carrier.Expect("SIP/2.0 200")
		b.over(pbx)
	})
}

// trying takes, in whatever order, the first NOTIFY of a transfer and the INVITE to the
// third party.
func (b *bubble) trying() (notify, invite siptest.Message) {
	b.Helper()
	for range 2 {
		if m := b.pbx.Expect(""); m.Method() == "NOTIFY" {
			notify = m
			b.pbx.Reply(m, "200 OK", "")
		} else {
			invite = m
		}
	}
	return notify, invite
}

// REFER in mode terminate: we call the number, tell how that goes, and put who answers in
// the place of who referred. The caller's own leg is told once, and its recording goes on.
func TestReferTerminated(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Terminate }, func(b *bubble) {
		caller, pbx := b.talking(offered, answeredWith)
		pbx.send("REFER", "Refer-To: <sip:200@10.0.0.5>\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		notify, toThird := b.trying()
		if notify.Body() != "SIP/2.0 100 Trying\r\n" {
			t.Errorf("got %q", notify.Body())
		}
		wantBody(t, toThird, "m=audio 20002 RTP/AVP 8")
		answer := reply(b.pbx, toThird, "third", "200 OK", "", strings.Replace(answeredWith, "6000", "6004", 1))
		third := called(b.pbx, toThird, answer)
		for range 3 {
			switch m := b.pbx.Expect(""); m.Method() {
			case "ACK":
			case "NOTIFY":
				if m.Body() != "SIP/2.0 200 OK\r\n" || !strings.HasPrefix(m.Header("Subscription-State"), "terminated") {
					t.Errorf("got %q, %q", m.Body(), m.Header("Subscription-State"))
				}
				b.pbx.Reply(m, "200 OK", "")
			case "BYE":
				wantHeader(t, m, "Call-ID", pbx.CallID)
				b.pbx.Reply(m, "200 OK", "")
			default:
				t.Errorf("got %q", m.Start())
			}
		}
		b.did("connect callee to 10.0.0.5:6004")
		_ = caller
		third.send("BYE", "", "")
		b.pbx.Expect("SIP/2.0 200")
		b.carrier.Reply(b.carrier.Expect("BYE "), "200 OK", "")
		b.wrote("calling", "calling 200 joined", "not_recorded answered no_rule 200 joined")
	})
}

// The number that a party refers to is busy: the call stays as it was.
func TestReferTerminatedInVain(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.Refer = trunk.Terminate }, func(b *bubble) {
		_, pbx := b.talking(offered, answeredWith)
		pbx.send("REFER", "Refer-To: <sip:200@10.0.0.5>\r\n", "")
		b.pbx.Expect("SIP/2.0 202")
		_, toThird := b.trying()
		b.pbx.Reply(toThird, "486 Busy Here", "")
		b.pbx.Expect("ACK ")
		notify := b.pbx.Expect("NOTIFY ")
		if notify.Body() != "SIP/2.0 486 Busy Here\r\n" {
			t.Errorf("got %q", notify.Body())
		}
		b.pbx.Reply(notify, "200 OK", "")
		b.over(pbx)
	})
}

// Identity headers stay within the trust domain, in the order in which they came; the
// challenge of a peer goes to who calls where the trunk says so.
func TestIdentityAndChallenge(t *testing.T) {
	identity := "P-Asserted-Identity: <sip:+31201234567@carrier.example>\r\nP-Asserted-Identity: <tel:+31201234567>\r\nDiversion: <sip:+31209999999@x>;reason=unconditional\r\nUser-to-User: 00aa;encoding=hex\r\nAuthorization: Digest x\r\n"
	for trusted, want := range map[bool]string{true: "<sip:+31201234567@carrier.example>", false: ""} {
		plainly(t, func(pbx, _ *trunk.Config) { pbx.Trusted = &trusted; pbx.Challenges = trunk.Pass }, func(b *bubble) {
			invite := b.carrier.Invite("+31205550100", offered, identity)
			b.carrier.Expect("SIP/2.0 100")
			toPBX := b.pbx.Expect("INVITE ")
			wantHeader(t, toPBX, "P-Asserted-Identity", want)
			wantHeader(t, toPBX, "User-to-User", "00aa;encoding=hex")
			wantHeader(t, toPBX, "Diversion", "<sip:+31209999999@x>;reason=unconditional")
			wantHeader(t, toPBX, "Authorization", "Digest x")
			reply(b.pbx, toPBX, "pbx", "407 Proxy Authentication Required", "Proxy-Authenticate: Digest realm=\"pbx\", nonce=\"1\"\r\n", "")
			b.pbx.Expect("ACK ")
			challenged := b.carrier.Expect("SIP/2.0 407")
			wantHeader(t, challenged, "Proxy-Authenticate", "Digest realm=\"pbx\", nonce=\"1\"")
			b.carrier.Transaction("ACK", invite, challenged.Header("To"))
		})
	}
}

// distrusted takes the carrier out of the trust domain.
func distrusted(_, carrier *trunk.Config) { no := false; carrier.Trusted = &no }

// An entry of the ways that a call went by which asks for privacy is anonymous to a trunk that is
// not trusted, and the others are as they came; a message that asks has none of them. What is
// signed stays as it is.
func TestPrivacyOfEntries(t *testing.T) {
	const (
		diversion = "\"Chef\" <sip:+31201111111@x>;reason=user-busy;privacy=full, <sip:+31202222222@x>;reason=unconditional"
		history   = "<sip:+31201111111@x?Privacy%3Dhistory&Reason=SIP%3Bcause%3D302>;index=1, <sip:+31202222222@x>;index=1.1"
		signed    = "eyJhbGciOiJFUzI1NiJ9.sip:+31201111111@10.0.0.5.sig;info=<https://10.0.0.5/c.pem>;alg=ES256"
	)
	ways := "Diversion: " + diversion + "\r\nHistory-Info: " + history + "\r\nIdentity: " + signed + "\r\n"
	for name, test := range map[string]struct {
		trunks                   func(pbx, carrier *trunk.Config)
		more, diversion, history string
	}{
		"trusted": {nil, "", diversion, history},
		"distrusted": {
			distrusted, "", "<sip:anonymous@anonymous.invalid>;reason=user-busy;privacy=full, <sip:+31202222222@x>;reason=unconditional",
			"<sip:anonymous@anonymous.invalid?Reason=SIP%3Bcause%3D302>;index=1, <sip:+31202222222@x>;index=1.1",
		},
		"whole message": {distrusted, "Privacy: history\r\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			plainly(t, test.trunks, func(b *bubble) {
				b.pbx.Invite("+31612345678", answeredWith, ways+test.more)
				b.pbx.Expect("SIP/2.0 100")
				out := b.carrier.Expect("INVITE ")
				wantHeader(t, out, "Diversion", test.diversion)
				wantHeader(t, out, "History-Info", test.history)
				wantHeader(t, out, "Identity", signed)
			})
		})
	}
}

// Where the PBX is, no header tells: in the place of its address stands ours. Other hosts stay.
func TestPlacesAreHidden(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		invite := b.pbx.Invite("+31612345678", answeredWith, "P-Asserted-Identity: \"A\" <sip:201@10.0.0.5:5070>, <tel:+31201234567>\r\nP-Preferred-Identity: <sip:201@192.168.3.4;user=phone>\r\n"+
			"Diversion: <sip:+31201111111@pbx.example>;reason=unconditional, <sip:202@10.0.0.5>;counter=1\r\nHistory-Info: <sip:203@[fd00::5]>;index=1\r\nAlert-Info: <http://10.0.0.5/ring.wav>\r\n")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		for name, want := range map[string]string{
			"P-Asserted-Identity":  "\"A\" <sip:201@192.0.2.1>, <tel:+31201234567>",
			"P-Preferred-Identity": "<sip:201@192.0.2.1;user=phone>",
			"Diversion":            "<sip:+31201111111@pbx.example>;reason=unconditional, <sip:202@192.0.2.1>;counter=1",
			"History-Info":         "<sip:203@192.0.2.1>;index=1", "Alert-Info": "",
		} {
			wantHeader(t, out, name, want)
		}
		reply(b.carrier, out, "x", "486 Busy Here", "Warning: 399 203.0.113.3:5060 \"busy\"\r\n", "")
		b.carrier.Expect("ACK ")
		busy := b.pbx.Expect("SIP/2.0 486")
		wantHeader(t, busy, "Warning", "399 192.0.2.1 \"busy\"")
		b.pbx.Transaction("ACK", invite, busy.Header("To"))
	})
}

// Who refers is told to trunks of the trust domain only, and where he is to none.
func TestReferredBy(t *testing.T) {
	for name, test := range map[string]struct {
		mode, method, want string
		trunks             func(pbx, carrier *trunk.Config)
	}{
		"passed": {trunk.Pass, "REFER ", "<sip:201@192.0.2.1>", nil}, "passed, distrusted": {trunk.Pass, "REFER ", "", distrusted},
		"dialled": {trunk.Terminate, "INVITE ", "<sip:201@192.0.2.1>", nil}, "dialled, distrusted": {trunk.Terminate, "INVITE ", "", distrusted},
	} {
		t.Run(name, func(t *testing.T) {
			plainly(t, func(pbx, carrier *trunk.Config) {
				pbx.Refer = test.mode
				if test.trunks != nil {
					test.trunks(pbx, carrier)
				}
			}, func(b *bubble) {
				_, toPBX := b.talking(offered, answeredWith)
				toPBX.send("REFER", "Refer-To: <sip:+31301234567@192.0.2.1>\r\nRefer-Sub: false\r\nReferred-By: <sip:201@10.0.0.5>\r\n", "")
				out := b.carrier.Expect(test.method)
				wantHeader(t, out, "Referred-By", test.want)
			})
		})
	}
}

// Why a party hung up is told to the other.
func TestReasonPasses(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		_, pbx := b.talking(offered, answeredWith)
		pbx.send("BYE", "Reason: Q.850;cause=16\r\nUser-to-User: bb\r\n", "")
		b.pbx.Expect("SIP/2.0 200")
		bye := b.carrier.Expect("BYE ")
		wantHeader(t, bye, "Reason", "Q.850;cause=16")
		wantHeader(t, bye, "User-to-User", "bb")
		b.carrier.Reply(bye, "200 OK", "")
	})
}

var _ = cmp.Diff

// Requests that a party never answers leave nothing behind once the call is over.
func TestUnansweredRequestsLeaveNothing(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		far, toPBX := b.talking(offered, answeredWith)
		before, _ := siptest.Goroutines()
		for range 60 {
			far.send("INFO", "Content-Type: text/plain\r\n", "x")
		}
		for range 60 {
			b.pbx.Expect("INFO ")
		}
		b.over(toPBX)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got, _ := siptest.Goroutines(); got > before || b.manager.ua.Legs() != 0 {
			t.Errorf("got %d goroutines and %d legs after the call, want %d at most and none", got, b.manager.ua.Legs(), before)
		}
	})
}

// A party that says nothing of the methods it takes is asked (RFC 3261 §20.5).
func TestInfoWithoutAllow(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		pbx := called(b.pbx, toPBX, reply(b.pbx, toPBX, "pbx", "200 OK", "", answeredWith))
		b.pbx.Expect("ACK ")
		b.carrier.Expect("SIP/2.0 200")
		pbx.send("INFO", "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\nDuration=160\r\n")
		b.carrier.Reply(b.carrier.Expect("INFO "), "405 Method Not Allowed", "")
		b.pbx.Expect("SIP/2.0 405")
	})
}

// A CANCEL that meets the callee's answer ends the call as cancelled, whichever comes first
// to the call.
func TestCancelMeetsAnswer(t *testing.T) {
	for range 20 {
		plainly(t, nil, func(b *bubble) {
			invite := b.carrier.Invite("+31205550100", offered, "")
			b.carrier.Expect("SIP/2.0 100")
			toPBX := b.pbx.Expect("INVITE ")
			b.carrier.Transaction("CANCEL", invite, invite.Header("To"))
			reply(b.pbx, toPBX, "pbx", "200 OK", "", answeredWith)
			synctest.Wait()
			cancelled := false
			for b.carrier.Pending() {
				cancelled = cancelled || strings.HasPrefix(b.carrier.Expect("").Start(), "SIP/2.0 487")
			}
			for b.pbx.Pending() {
				if m := b.pbx.Expect(""); m.Method() == "BYE" {
					if reason := m.Header("Reason"); cancelled && !strings.Contains(reason, "487") {
						t.Errorf("got a BYE for %q, want 487", reason)
					}
					b.pbx.Reply(m, "200 OK", "")
				}
			}
			time.Sleep(time.Second)
			b.mu.Lock()
			defer b.mu.Unlock()
			if row := b.rows[len(b.rows)-1]; cancelled && row != "not_recorded cancelled no_rule" {
				t.Errorf("got row %q of a cancelled call", row)
			}
		})
	}
}
