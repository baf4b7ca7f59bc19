package sip

import (
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/sip/siptest"
)

const (
	ourAddr  = "192.0.2.1:5060"
	pbxAddr  = "192.0.2.5:5060"
	alienAt  = "203.0.113.9:5060"
	someSDP  = "v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
	otherSDP = "v=0\r\no=- 2 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n"
)

// handler hands the legs to the test.
type handler struct {
	legs  chan *Leg
	ready bool
	pause time.Duration     // before a leg is made
	also  map[string]string // trunks of addresses other than the PBX's
}

func (h *handler) Trunk(source netip.AddrPort, _ string) (string, bool) {
	if other, ok := h.also[source.String()]; ok {
		return other, true
	}
	return "pbx", source == netip.MustParseAddrPort(pbxAddr)
}
func (h *handler) Settings(string) Settings { time.Sleep(h.pause); return Settings{} }
func (h *handler) Invite(l *Leg)            { h.legs <- l }
func (h *handler) Ready() bool              { return h.ready }

// world is a user agent and one peer in a bubble.
type world struct {
	*testing.T
	network *siptest.Network
	ua      *UA
	legs    chan *Leg
	handler *handler
	pbx     *siptest.Peer
}

func inBubble(t *testing.T, test func(w *world)) {
	t.Helper()
	inBubbleWith(t, Config{}, test)
}

func inBubbleWith(t *testing.T, cfg Config, test func(w *world)) {
	t.Helper()
	inBubbleBy(t, cfg, func(_ *world, c net.PacketConn) net.PacketConn { return c }, test)
}

// inBubbleBy puts something of the test's between the user agent and its socket.
func inBubbleBy(t *testing.T, cfg Config, wrap func(w *world, c net.PacketConn) net.PacketConn, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, network: siptest.NewNetwork(), handler: &handler{legs: make(chan *Leg, 8), ready: true}}
		w.legs = w.handler.legs
		w.ua = New(cfg, w.handler, slog.New(slog.DiscardHandler), nil)
		w.ua.ServePacket(wrap(w, w.network.Listen(ourAddr)))
		w.pbx = siptest.NewPeer(t, w.network, pbxAddr, ourAddr)
		defer func() { // also when the test gives up: what is left would hold the bubble
			if err := w.ua.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		test(w)
		synctest.Wait()
		if n := w.ua.Legs(); n != 0 {
			t.Errorf("got %d legs left, want 0", n)
		}
	})
}

// seam is a socket that shows the test every datagram that leaves: before it does, and
// after, while sipgo still waits for the write.
type seam struct {
	net.PacketConn
	before, after func(m siptest.Message)
}

func (s *seam) WriteTo(b []byte, to net.Addr) (int, error) {
	m := siptest.Message{Text: string(b)}
	if s.before != nil {
		s.before(m)
	}
	n, err := s.PacketConn.WriteTo(b, to)
	if s.after != nil {
		s.after(m)
	}
	return n, err
}

// incoming sends an INVITE and returns it with its leg, past the 100.
func (w *world) incoming(more string) (siptest.Message, *Leg) {
	w.Helper()
	invite := w.pbx.Invite("+31209876543", someSDP, more)
	w.pbx.Expect("SIP/2.0 100")
	return invite, <-w.legs
}

// outgoing sends an INVITE of ours and returns its leg and what the peer got.
func (w *world) outgoing() (*Leg, siptest.Message) {
	w.Helper()
	leg, err := w.ua.Invite(Invite{
		Peer: Peer{Transport: "udp", Host: "192.0.2.5", Addr: netip.MustParseAddrPort(pbxAddr)}, Trunk: "pbx", Called: "100",
		From: Party{Display: "", User: "+31201234567"}, MaxForwards: 69, Body: []byte(otherSDP),
	})
	if err != nil {
		w.Fatal(err)
	}
	return leg, w.pbx.Expect("INVITE ")
}

// noTransactions fails the test if sipgo still has one.
func (w *world) noTransactions() {
	w.Helper()
	synctest.Wait()
	for _, name := range []string{"clientTransactions", "serverTransactions"} {
		items := reflect.ValueOf(w.ua.transactions).Elem().FieldByName(name).Elem().FieldByName("items")
		for _, key := range items.MapKeys() {
			w.Errorf("got transaction %v left in %s", key, name)
		}
	}
}

func (w *world) event(l *Leg, want EventKind) Event {
	w.Helper()
	select {
	case e := <-l.Events():
		if e.Kind != want {
			w.Fatalf("got event %v (%+v), want %v", e.Kind, e, want)
		}
		return e
	case <-time.After(2 * time.Minute):
		w.Fatalf("got no event, want %v", want)
	}
	panic("unreachable")
}

// A caller leg rings, is answered, acknowledged and hung up by the peer; every
// response carries the same tag.
func TestCallerLeg(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("P-Asserted-Identity: <sip:+31201234567@carrier.example>\r\n")
		if got := leg.From().User; got != "+31201234567" {
			w.Errorf("got caller %q, want +31201234567", got)
		}
		if got := leg.Called(); got != "+31209876543" {
			w.Errorf("got called %q, want +31209876543", got)
		}
		if got := string(leg.Offer()); got != someSDP {
			w.Errorf("got offer %q", got)
		}
		if got := leg.Passed(); len(got) != 1 || got[0].Name != "P-Asserted-Identity" {
			w.Errorf("got passed headers %v, want one P-Asserted-Identity", got)
		}
		if err := leg.Progress(183, "Session Progress", []byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		progress := w.pbx.Expect("SIP/2.0 183")
		if progress.Body() != otherSDP {
			w.Errorf("got early media %q", progress.Body())
		}
		if err := leg.Answer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		answer := w.pbx.Expect("SIP/2.0 200")
		if answer.Header("To") != progress.Header("To") || !strings.Contains(answer.Header("To"), "tag=") {
			w.Errorf("got To %q after %q, want the same with a tag", answer.Header("To"), progress.Header("To"))
		}
		w.pbx.InDialog("ACK", invite, answer, 1)
		w.event(leg, Confirmed)
		w.pbx.InDialog("BYE", invite, answer, 2)
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Ended)
		w.pbx.InDialog("BYE", invite, answer, 3)
		w.pbx.Expect("SIP/2.0 481")
	})
}

// A 2xx without an ACK is repeated after 0.5, 1, 2, 4, 4 … seconds for 64·T1, then
// the leg is unconfirmed and its BYE goes out (RFC 3261 §13.3.1.4).
func TestAnswerIsRepeated(t *testing.T) {
	inBubble(t, func(w *world) {
		_, leg := w.incoming("")
		began := time.Now()
		if err := leg.Answer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		at := 0.0
		for _, interval := range []float64{0, 0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4} {
			at += interval
			if got := w.pbx.Expect("SIP/2.0 200").At.Sub(began).Seconds(); got != at {
				w.Errorf("got the 2xx at %v s, want %v s", got, at)
			}
		}
		w.event(leg, Unconfirmed)
		if got := time.Since(began).Seconds(); got < 32 || got > 36 {
			w.Errorf("got unconfirmed after %v s, want 64·T1", got)
		}
		leg.Hangup(0, "")
		bye := w.pbx.Expect("BYE ")
		w.pbx.Reply(bye, "200 OK", "")
	})
}

// A leg that is hung up while its ACK is awaited sends the BYE after the ACK.
func TestHangupAwaitsACK(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		leg.Hangup(503, "Service Unavailable")
		w.pbx.Silent(100 * time.Millisecond)
		w.pbx.InDialog("ACK", invite, answer, 1)
		bye := w.pbx.Expect("BYE sip:peer@192.0.2.5:5060")
		if got := bye.Header("Reason"); !strings.Contains(got, "cause=503") {
			w.Errorf("got Reason %q, want cause=503", got)
		}
		w.pbx.Reply(bye, "200 OK", "")
	})
}

// A CANCEL is answered with 200, its INVITE with 487 and the tag that went before.
func TestCallerCancels(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Progress(180, "Ringing", nil)
		ringing := w.pbx.Expect("SIP/2.0 180")
		w.pbx.Transaction("CANCEL", invite, invite.Header("To"))
		w.pbx.Expect("SIP/2.0 200")
		terminated := w.pbx.Expect("SIP/2.0 487")
		if terminated.Header("To") != ringing.Header("To") {
			w.Errorf("got To %q, want %q", terminated.Header("To"), ringing.Header("To"))
		}
		w.pbx.Transaction("ACK", invite, terminated.Header("To"))
		w.event(leg, Cancelled)
		leg.Hangup(487, "Request Terminated") // what release does: nothing more is sent
		w.pbx.Silent(time.Minute)
	})
}

// A rejection is repeated until its ACK.
func TestReject(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Hangup(503, "Service Unavailable")
		w.pbx.Expect("SIP/2.0 503")
		rejected := w.pbx.Expect("SIP/2.0 503")
		w.pbx.Transaction("ACK", invite, rejected.Header("To"))
		w.pbx.Silent(time.Minute)
	})
}

// What cannot become a call is refused at once, each with its status.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct{ old, with, want string }{
		"hops used up":      {"Max-Forwards: 70", "Max-Forwards: 0", "SIP/2.0 483"},
		"unknown extension": {"Max-Forwards: 70", "Max-Forwards: 70\r\nRequire: precondition", "SIP/2.0 420"},
		"loop":              {"Max-Forwards: 70", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours\r\nMax-Forwards: 70", "SIP/2.0 482"},
		"encoded body":      {"Max-Forwards: 70", "e: gzip\r\nMax-Forwards: 70", "SIP/2.0 415"},
		"unknown scheme":    {"INVITE sip:100@192.0.2.1:5060", "INVITE fax:100", "SIP/2.0 416"},
		"no contact":        {"Contact: <sip:peer@192.0.2.5:5060>\r\n", "", "SIP/2.0 400"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.pbx.Send("OPTIONS sip:us@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKfirst\nFrom: <sip:a@b>;tag=1\nTo: <sip:us@192.0.2.1>\nCall-ID: a\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n")
				w.pbx.Expect("SIP/2.0 200")
				leg, out := w.outgoing() // now a Via of ours is known
				leg.Hangup(0, "")
				w.pbx.Reply(out, "486 Busy Here", "")
				w.pbx.Expect("ACK ")
				invite := w.pbx.Message("100", someSDP, "")
				invite.Text = strings.Replace(invite.Text, test.old, test.with, 1)
				w.pbx.Send(invite.Text)
				refused := w.pbx.Expect(test.want)
				w.pbx.Transaction("ACK", invite, refused.Header("To"))
			})
		})
	}
}

// OPTIONS is answered 200, and 503 when no calls are taken.
func TestOptions(t *testing.T) {
	inBubble(t, func(w *world) {
		ask := func(branch string) {
			w.pbx.Send("OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bK" + branch + "\r\nFrom: <sip:p@192.0.2.5>;tag=a\r\nTo: <sip:192.0.2.1>\r\nCall-ID: " + branch + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
		}
		ask("one")
		if got := w.pbx.Expect("SIP/2.0 200").Header("Allow"); !strings.Contains(got, "INVITE") {
			w.Errorf("got Allow %q", got)
		}
		w.handler.ready = false
		ask("two")
		w.pbx.Expect("SIP/2.0 503")
	})
}

// A stranger gets no answer and leaves nothing behind.
func TestStrangerIsDropped(t *testing.T) {
	inBubble(t, func(w *world) {
		stranger := siptest.NewPeer(w.T, w.network, alienAt, ourAddr)
		stranger.Invite("112", someSDP, "")
		stranger.Silent(time.Minute)
		if n := w.ua.transport.Pool("udp").Size(); n != 1 {
			w.Errorf("got %d addresses noted by the transport, want our own only", n)
		}
		select {
		case <-w.legs:
			w.Error("got a leg for a stranger")
		default:
		}
	})
}

// A callee leg reports ringing and the answer, acknowledges it, also when repeated,
// and hangs up.
func TestCalleeLeg(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		if invite.Start() != "INVITE sip:100@192.0.2.5 SIP/2.0" || invite.Body() != otherSDP || invite.Header("Max-Forwards") != "69" {
			w.Errorf("got %s", invite.Text)
		}
		w.pbx.Reply(invite, "100 Trying", "")
		w.pbx.Reply(invite, "180 Ringing", "")
		if e := w.event(leg, Progressed); e.Code != 180 {
			w.Errorf("got %d, want 180", e.Code)
		}
		w.pbx.Reply(invite, "200 OK", someSDP)
		if e := w.event(leg, Answered); string(e.Body) != someSDP {
			w.Errorf("got answer %q", e.Body)
		}
		ack := w.pbx.Expect("ACK sip:peer@192.0.2.5:5060")
		w.pbx.Reply(invite, "200 OK", someSDP)
		if again := w.pbx.Expect("ACK "); again.Header("Via") != ack.Header("Via") {
			w.Errorf("got another ACK %q than %q for a repeated 2xx", again.Header("Via"), ack.Header("Via"))
		}
		leg.Hangup(0, "")
		bye := w.pbx.Expect("BYE sip:peer@192.0.2.5:5060")
		if bye.Header("CSeq") != "2 BYE" || !strings.Contains(bye.Header("To"), "tag=peer") {
			w.Errorf("got CSeq %q To %q", bye.Header("CSeq"), bye.Header("To"))
		}
		w.pbx.Reply(bye, "200 OK", "")
	})
}

// A peer's BYE on a callee leg is answered and reported.
func TestCalleeHangsUp(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		reply := w.pbx.Reply(invite, "200 OK", someSDP)
		w.event(leg, Answered)
		w.pbx.Expect("ACK ")
		w.pbx.DialogRequest("BYE", invite, reply, 1)
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Ended)
	})
}

// talking sets up a callee leg and returns it with the INVITE and our peer's reply.
func (w *world) talking() (*Leg, siptest.Message, siptest.Message) {
	w.Helper()
	leg, invite := w.outgoing()
	reply := w.pbx.Reply(invite, "200 OK", someSDP)
	w.event(leg, Answered)
	w.pbx.Expect("ACK ")
	return leg, invite, reply
}

func (w *world) hangUp(leg *Leg) {
	w.Helper()
	leg.Hangup(0, "")
	w.pbx.Reply(w.pbx.Expect("BYE "), "200 OK", "")
}

// The peer's offer in the dialog comes to the call; our answer is repeated until its ACK.
func TestReofferOfThePeer(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite, reply := w.talking()
		w.pbx.DialogOffer(invite, reply, 1, someSDP)
		w.pbx.Expect("SIP/2.0 100")
		if e := w.event(leg, Reoffered); string(e.Body) != someSDP {
			w.Errorf("got offer %q", e.Body)
		}
		w.pbx.DialogOffer(invite, reply, 2, someSDP)
		w.pbx.DialogAck(invite, w.pbx.Expect("SIP/2.0 500")) // the first is still pending
		if err := leg.AnswerReoffer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		first, again := w.pbx.Expect("SIP/2.0 200"), w.pbx.Expect("SIP/2.0 200")
		if again.At.Sub(first.At) != T1 || again.Body() != otherSDP {
			w.Errorf("got the 2xx again after %v, want %v", again.At.Sub(first.At), T1)
		}
		w.pbx.DialogRequest("ACK", invite, reply, 1)
		w.event(leg, Acknowledged)
		w.pbx.Silent(time.Minute)
		w.hangUp(leg)
	})
}

// A peer's offer that the call cannot pass on is rejected; the session stays.
func TestReofferIsRejected(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite, reply := w.talking()
		w.pbx.DialogOffer(invite, reply, 1, someSDP)
		w.pbx.Expect("SIP/2.0 100")
		w.event(leg, Reoffered)
		leg.RejectReoffer(488, "Not Acceptable Here")
		w.pbx.DialogAck(invite, w.pbx.Expect("SIP/2.0 488"))
		w.pbx.DialogOffer(invite, reply, 2, someSDP) // may try again
		w.pbx.Expect("SIP/2.0 100")
		w.event(leg, Reoffered)
		w.hangUpPending(leg, invite)
	})
}

// hangUpPending hangs up while an offer of the peer's is pending: it gets a 487.
func (w *world) hangUpPending(leg *Leg, invite siptest.Message) {
	w.Helper()
	leg.Hangup(0, "")
	for range 2 {
		if m := w.pbx.Expect(""); strings.HasPrefix(m.Start(), "BYE") {
			w.pbx.Reply(m, "200 OK", "")
		} else if strings.HasPrefix(m.Start(), "SIP/2.0 487") {
			w.pbx.DialogAck(invite, m)
		} else {
			w.Errorf("got %q, want a BYE and a 487", m.Start())
		}
	}
}

// An answer to an offer in the dialog that is never acknowledged ends the call.
func TestReofferUnacknowledged(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite, reply := w.talking()
		w.pbx.DialogOffer(invite, reply, 1, someSDP)
		w.event(leg, Reoffered)
		if err := leg.AnswerReoffer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		w.event(leg, Unconfirmed)
		w.pbx.Expect("SIP/2.0 100")
		for range 11 { // as often as any 2xx
			w.pbx.Expect("SIP/2.0 200")
		}
		w.hangUp(leg)
	})
}

// Our offer in the dialog is answered and acknowledged, or rejected; meanwhile the
// peer's own gets a 491.
func TestOurReoffer(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite, reply := w.talking()
		if err := leg.Reoffer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		offer := w.pbx.Expect("INVITE sip:peer@192.0.2.5:5060")
		if offer.Header("CSeq") != "2 INVITE" || offer.Body() != otherSDP || !strings.Contains(offer.Header("To"), "tag=peer") {
			w.Errorf("got %s", offer.Text)
		}
		if err := leg.Reoffer(nil); err == nil {
			w.Error("a second offer was sent while the first is pending")
		}
		w.pbx.DialogOffer(invite, reply, 1, someSDP)
		w.pbx.DialogAck(invite, w.pbx.Expect("SIP/2.0 491"))
		w.pbx.Reply(offer, "200 OK", someSDP)
		if e := w.event(leg, ReofferAnswered); string(e.Body) != someSDP {
			w.Errorf("got answer %q", e.Body)
		}
		if ack := w.pbx.Expect("ACK "); ack.Header("CSeq") != "2 ACK" {
			w.Errorf("got CSeq %q, want 2 ACK", ack.Header("CSeq"))
		}
		w.pbx.Reply(offer, "200 OK", someSDP) // our ACK was lost
		w.pbx.Expect("ACK ")

		if err := leg.Reoffer([]byte(otherSDP)); err != nil {
			w.Fatal(err)
		}
		w.pbx.Reply(w.pbx.Expect("INVITE "), "488 Not Acceptable Here", "")
		w.pbx.Expect("ACK ")
		if e := w.event(leg, ReofferRejected); e.Code != 488 {
			w.Errorf("got %d, want 488", e.Code)
		}
		w.hangUp(leg)
	})
}

// A rejection is passed on with its meaning.
func TestCalleeRejects(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "486 Busy Here", "")
		w.pbx.Expect("ACK ")
		if e := w.event(leg, Rejected); e.Code != 486 || e.Reason != "Busy Here" {
			w.Errorf("got %d %q, want 486 Busy Here", e.Code, e.Reason)
		}
	})
}

// A silent peer gets the INVITE five times in eight seconds, then the leg has failed. The
// transaction goes on for as long as something may come yet.
func TestSilentPeer(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, _ := w.outgoing()
		began := time.Now()
		if e := w.event(leg, Failed); e.Err != ErrNoResponse {
			w.Errorf("got %v, want ErrNoResponse", e.Err)
		}
		if got := time.Since(began); got != defaultTryTimeout {
			w.Errorf("got failure after %v, want %v", got, defaultTryTimeout)
		}
		for range 6 {
			w.pbx.Expect("INVITE ")
		}
		if got := time.Since(began); got >= confirmTimeout {
			w.Errorf("got the last INVITE after %v, want it within %v", got, confirmTimeout)
		}
		w.pbx.Silent(time.Minute)
		w.noTransactions()
	})
}

// A peer that was too slow, so that the call went elsewhere, does not go on ringing, and is
// not left with a call if it answers.
func TestSlowPeer(t *testing.T) {
	late := func(status, body string, want ...string) {
		inBubble(t, func(w *world) {
			leg, invite := w.outgoing()
			w.event(leg, Failed)
			for range 4 {
				w.pbx.Expect("INVITE ")
			}
			w.pbx.Reply(invite, status, body)
			for _, method := range want {
				m := w.pbx.Expect(method + " ")
				if method != "ACK" {
					w.pbx.Reply(m, "200 OK", "")
				}
			}
			if status == "180 Ringing" {
				w.pbx.Reply(invite, "487 Request Terminated", "")
				w.pbx.Expect("ACK ")
			}
			w.pbx.Silent(time.Minute)
			w.noTransactions()
		})
	}
	late("180 Ringing", "", "CANCEL")
	late("200 OK", someSDP, "ACK", "BYE")
}

// A CANCEL waits for the first provisional response (RFC 3261 §9.1).
func TestCancelAwaitsProvisional(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		leg.Hangup(487, "Request Terminated")
		w.pbx.Silent(100 * time.Millisecond)
		w.pbx.Reply(invite, "100 Trying", "")
		cancel := w.pbx.Expect("CANCEL ")
		if cancel.Header("Via") != invite.Header("Via") {
			w.Errorf("got Via %q, want the INVITE's %q", cancel.Header("Via"), invite.Header("Via"))
		}
		w.pbx.Reply(cancel, "200 OK", "")
		w.pbx.Reply(invite, "487 Request Terminated", "")
		w.pbx.Expect("ACK ")
		w.pbx.Silent(time.Minute)
	})
}

// A 2xx that crosses our CANCEL is acknowledged and ended with a BYE.
func TestAnswerCrossesCancel(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "180 Ringing", "")
		w.event(leg, Progressed)
		leg.Hangup(487, "Request Terminated")
		cancel := w.pbx.Expect("CANCEL ")
		w.pbx.Reply(invite, "200 OK", someSDP)
		w.pbx.Reply(cancel, "200 OK", "")
		w.pbx.Expect("ACK ")
		w.pbx.Reply(w.pbx.Expect("BYE "), "200 OK", "")
		w.pbx.Silent(time.Minute)
	})
}

// A 2xx of a second branch is acknowledged and ended; the first goes on.
func TestSecondBranch(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "200 OK", someSDP)
		w.event(leg, Answered)
		w.pbx.Expect("ACK ")
		other := siptest.Message{Text: strings.Replace(invite.Text, "To: <sip:100@192.0.2.5>", "To: <sip:100@192.0.2.5>;tag=other", 1)}
		w.pbx.Reply(other, "200 OK", someSDP)
		first, second := w.pbx.Expect(""), w.pbx.Expect("")
		for _, m := range []siptest.Message{first, second} {
			if !strings.Contains(m.Header("To"), "tag=other") {
				w.Errorf("got %s to %q, want it to the second branch", m.Start(), m.Header("To"))
			}
		}
		bye := second
		if strings.HasPrefix(first.Start(), "BYE") {
			bye = first
		}
		w.pbx.Reply(bye, "200 OK", "")
		leg.Hangup(0, "")
		w.pbx.Reply(w.pbx.Expect("BYE "), "200 OK", "")
	})
}

// A peer that never answers our CANCEL leaves nothing behind after 64·T1.
func TestCancelUnanswered(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Reply(invite, "100 Trying", "")
		time.Sleep(time.Second)
		leg.Hangup(487, "Request Terminated")
		w.pbx.Expect("CANCEL ")
		time.Sleep(2 * confirmTimeout) // of the bubble's
	})
}

// A response without To is of no dialog: it is ignored.
func TestResponseWithoutTo(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		w.pbx.Send("SIP/2.0 200 OK\r\nVia: " + invite.Header("Via") + "\r\nFrom: " + invite.Header("From") + "\r\nCall-ID: " + invite.Header("Call-ID") + "\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n")
		w.event(leg, Failed)
		time.Sleep(confirmTimeout)
	})
}

// Copies of a 2xx that come at once are one answer: each is acknowledged at most, and
// the call stays.
func TestCopiesOfAnswer(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		for range 20 {
			w.pbx.Reply(invite, "200 OK", someSDP)
		}
		w.event(leg, Answered)
		synctest.Wait()
		leg.Hangup(0, "")
		for m := w.pbx.Expect(""); ; m = w.pbx.Expect("") {
			if strings.HasPrefix(m.Start(), "BYE") {
				if m.Header("CSeq") != "2 BYE" {
					w.Errorf("got %q, want our own BYE only", m.Header("CSeq"))
				}
				w.pbx.Reply(m, "200 OK", "")
				return
			}
		}
	})
}

// A BYE in the early dialog ends the INVITE, too (RFC 3261 §15).
func TestByeInEarlyDialog(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Progress(180, "Ringing", nil)
		ringing := w.pbx.Expect("SIP/2.0 180")
		w.pbx.InDialog("BYE", invite, ringing, 2)
		w.pbx.Expect("SIP/2.0 200")
		terminated := w.pbx.Expect("SIP/2.0 487")
		w.pbx.Transaction("ACK", invite, terminated.Header("To"))
		w.event(leg, Ended)
	})
}

// A callee may count its requests from 0.
func TestFirstRequestIsNumberedZero(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, invite, reply := w.talking()
		w.pbx.DialogRequest("OPTIONS", invite, reply, 0)
		w.pbx.Expect("SIP/2.0 200")
		w.hangUp(leg)
	})
}

// A URI that is no number is called as it is; a description among other parts is found.
func TestEmergencyService(t *testing.T) {
	inBubble(t, func(w *world) {
		body := "--b\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n--b\r\nContent-Type: application/sdp\r\n\r\n" + someSDP + "\r\n--b--\r\n"
		if offer, ok := offerIn("multipart/mixed; boundary=b", []byte(body)); !ok || strings.TrimSpace(string(offer)) != strings.TrimSpace(someSDP) {
			w.Errorf("got %q, %v, want the description", offer, ok)
		}
		target := targetOf(Invite{Called: "urn:service:sos", Peer: Peer{Transport: "udp", Host: "192.0.2.5", Addr: netip.MustParseAddrPort(pbxAddr)}})
		if target.String() != "urn:service:sos" || user(&target) != "urn:service:sos" {
			w.Errorf("got target %s, of user %q", target.String(), user(&target))
		}
	})
}

// Whatever a trunk's peer sends, the user agent goes on, and leaves nothing behind.
func FuzzDatagram(f *testing.F) {
	request := func(start, more string) []byte {
		return []byte(strings.ReplaceAll(start+" SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKx;rport\nFrom: <sip:a@192.0.2.5>;tag=a\nTo: <sip:b@192.0.2.1>\nCall-ID: x\nCSeq: 1 INVITE\nContact: <sip:a@192.0.2.5>\n"+more+"\n", "\n", "\r\n"))
	}
	f.Add(request("INVITE sip:100@192.0.2.1", "Content-Type: application/sdp\nContent-Length: 5\n\nv=0\n"))
	f.Add(request("INVITE sip:100@192.0.2.1", "Max-Forwards: 0\n"))
	f.Add(request("BYE sip:100@192.0.2.1", "To: <sip:b@192.0.2.1>;tag=nobody\n"))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\n\r\n"))
	f.Add([]byte("INVITE sip:100@192.0.2.1 SIP/2.0\r\n\r\n"))
	f.Add([]byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		inBubble(t, func(w *world) {
			w.pbx.Send(string(datagram))
			synctest.Wait()
			select {
			case leg := <-w.legs:
				leg.From()
				leg.Called()
				leg.Passed()
				leg.Forwarded()
				leg.MaxForwards()
				leg.Hangup(503, "Service Unavailable")
			default:
			}
			time.Sleep(2 * confirmTimeout) // of the bubble's: every transaction is over
		})
	})
}
