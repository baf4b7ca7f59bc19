package sip

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/sip/siptest"
)

const gatewayAddr = "203.0.113.20:5060" // no trunk's: a call leads there

func (h *hops) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.legs)
}

// elsewhere answers our INVITE with a 200 whose Contact is another node's.
func (w *world) elsewhere(invite siptest.Message, contact string) siptest.Message {
	to := invite.Header("To") + ";tag=elsewhere"
	m := siptest.Message{Text: fmt.Sprintf("SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:peer@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
		invite.Header("Via"), invite.Header("From"), to, invite.Header("Call-ID"), invite.Header("CSeq"), contact, len(someSDP), someSDP)}
	w.pbx.Send(m.Text)
	return m
}

// A call that is answered at a node which is no peer goes on with it: what we ask there is
// answered, what it asks is heard, and it is never banned. It can begin nothing, and when the call
// is over it is a stranger.
func TestGateway(t *testing.T) {
	inBubble(t, func(w *world) {
		gateway := siptest.NewPeer(w.T, w.network, gatewayAddr, ourAddr)
		leg, invite := w.outgoing()
		answer := w.elsewhere(invite, gatewayAddr)
		w.event(leg, Answered)
		gateway.Expect("ACK ")
		for i := range 30 {
			gateway.Invite("+31209876543", someSDP, fmt.Sprintf("X-Try: %d\r\n", i))
		}
		gateway.SendRaw([]byte(strings.ReplaceAll(options("x", empty, ""), "127.0.0.1:5060", gatewayAddr)))
		gateway.Silent(time.Second)
		if len(w.legs) != 0 {
			w.Errorf("got a leg of an INVITE from where a call leads")
		}
		leg.Ask(&Request{Method: "INFO", ContentType: "application/dtmf", Body: []byte("1")})
		gateway.Reply(gateway.Expect("INFO "), "200 OK", "")
		if e := w.event(leg, Replied); e.Code != 200 {
			w.Errorf("got %d to our INFO, want the gateway's 200", e.Code)
		}
		d := gateway.CalleeDialog(invite, answer)
		gateway.Request(d, "INFO", 1, "Content-Type: application/dtmf\r\n", "2")
		w.event(leg, Requested).Request.Reply(200, "OK")
		gateway.Expect("SIP/2.0 200")
		gateway.Request(d, "BYE", 2, "", "")
		gateway.Expect("SIP/2.0 200")
		w.event(leg, Ended)
		gateway.Request(d, "BYE", 2, "", "") // another, as if ours was lost and the transaction too
		gateway.Expect("SIP/2.0 481")
		time.Sleep(confirmTimeout + time.Second)
		gateway.Request(d, "BYE", 3, "", "")
		gateway.Silent(time.Minute)
		if n := w.ua.hops.count(); n != 0 {
			w.Errorf("got %d addresses still let in", n)
		}
	})
}

// The same for a caller whose Contact is elsewhere, from his ACK on.
func TestCallerBehindProxy(t *testing.T) {
	inBubble(t, func(w *world) {
		gateway := siptest.NewPeer(w.T, w.network, gatewayAddr, ourAddr)
		invite := w.pbx.Message("+31209876543", someSDP, "")
		invite.Text = strings.Replace(invite.Text, "Contact: <sip:peer@"+pbxAddr, "Contact: <sip:peer@"+gatewayAddr, 1)
		w.pbx.Send(invite.Text)
		w.pbx.Expect("SIP/2.0 100")
		leg := <-w.legs
		leg.Answer([]byte(otherSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		gateway.InDialog("ACK", invite, answer, 1)
		w.event(leg, Confirmed)
		leg.Hangup(0, "")
		gateway.Reply(gateway.Expect("BYE "), "200 OK", "")
		synctest.Wait()
		if n := w.ua.Legs(); n != 0 {
			w.Errorf("got the BYE unanswered")
		}
	})
}

// An address that is a trunk's no more, as after a look-up, keeps the calls that it has.
func TestCallOutlivesName(t *testing.T) {
	inBubble(t, func(w *world) {
		w.handler.also = map[string]string{gatewayAddr: "pbx"}
		gateway := siptest.NewPeer(w.T, w.network, gatewayAddr, ourAddr)
		invite := gateway.Invite("+31209876543", someSDP, "")
		gateway.Expect("SIP/2.0 100")
		leg := <-w.legs
		given := gateway.Invite("+31209876544", someSDP, "")
		gateway.Expect("SIP/2.0 100")
		ringing := <-w.legs
		synctest.Wait()
		w.handler.also = nil
		gateway.Transaction("CANCEL", given, given.Header("To"))
		gateway.Within(time.Second, "SIP/2.0 487")
		w.event(ringing, Cancelled)
		leg.Answer([]byte(otherSDP))
		answer := gateway.Within(time.Second, "SIP/2.0 200 OK")
		for answer.Method() != "INVITE" {
			answer = gateway.Within(time.Second, "SIP/2.0 200 OK")
		}
		gateway.InDialog("ACK", invite, answer, 1)
		w.event(leg, Confirmed)
		gateway.InDialog("BYE", invite, answer, 2)
		w.event(leg, Ended)
	})
}

// A peer that moves about has no more let in than one leg may.
func TestMovingTarget(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		w.pbx.InDialog("ACK", invite, answer, 1)
		w.event(leg, Confirmed)
		d := w.pbx.CallerDialog(invite, answer)
		for i := range 3 * maxHops {
			m := w.pbx.Compose(d, "UPDATE", i+2, "", "")
			w.pbx.Send(strings.Replace(m.Text, "Contact: <sip:peer@"+pbxAddr, fmt.Sprintf("Contact: <sip:peer@198.51.100.%d", i), 1))
			w.pbx.Expect("SIP/2.0 200")
		}
		time.Sleep(confirmTimeout + time.Second)
		if n := w.ua.hops.count(); n != maxHops {
			w.Errorf("got %d addresses let in, want %d", n, maxHops)
		}
		w.pbx.Request(d, "BYE", 1000, "", "")
		w.event(leg, Ended)
		time.Sleep(confirmTimeout + time.Second)
		if n := w.ua.hops.count(); n != 0 {
			w.Errorf("got %d addresses still let in", n)
		}
	})
}

// Another trunk's peer that knows all that names a dialog does nothing in it.
func TestDialogIsItsTrunks(t *testing.T) {
	const otherAddr = "198.51.100.5:5060"
	inBubble(t, func(w *world) {
		w.handler.also = map[string]string{otherAddr: "carrier"}
		other := siptest.NewPeer(w.T, w.network, otherAddr, ourAddr)
		invite, leg := w.incoming("")
		leg.Answer([]byte(otherSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		other.InDialog("ACK", invite, answer, 1)
		w.pbx.ExpectWithin(2*T1, "SIP/2.0 200") // the ACK was none
		w.pbx.InDialog("ACK", invite, answer, 1)
		w.event(leg, Confirmed)
		d := w.pbx.CallerDialog(invite, answer)
		for i, method := range []string{"UPDATE", "INFO", "REFER", "BYE"} {
			other.Request(d, method, 100+i, "Refer-To: <sip:300@x>\r\n", "")
			other.Expect("SIP/2.0 481")
		}
		again := other.Request(d, "INVITE", 200, "", someSDP)
		other.Acknowledge(again, other.Expect("SIP/2.0 481"))
		w.pbx.Request(d, "BYE", 2, "", "")
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Ended)
	})
}

// Where a call goes by TLS, nothing in clear is let in.
func TestHops(t *testing.T) {
	h := hops{legs: map[hop]*lead{}}
	clear, secure := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	h.enter(hop{clear, false}, "a")
	h.enter(hop{secure, true}, "b")
	for _, test := range []struct {
		addr            netip.Addr
		transport, want string
	}{{clear, "udp", "a"}, {clear, "tls", "a"}, {secure, "udp", ""}, {secure, "tcp", ""}, {secure, "tls", "b"}} {
		if got, ok := h.trunk(test.addr, test.transport); got != test.want || ok != (test.want != "") {
			t.Errorf("%v by %s: got %q, want %q", test.addr, test.transport, got, test.want)
		}
	}
}

// The same by a connection from where a call leads: it goes on after what it may not begin.
func TestGatewayOverTCP(t *testing.T) {
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	server.estrange("127.0.0.9")
	w := server.dial(t)
	w.send("INVITE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKi\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:100@127.0.0.1>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.9>\r\nContent-Length: 0\r\n\r\n")
	w.answered("i", "100")
	leg := <-server.legs
	leg.Progress(180, "Ringing", nil)
	_, tag, _ := strings.Cut(w.message(), ";tag=")
	_, tag, _ = strings.Cut(tag, ";tag=") // of the To
	tag, _, _ = strings.Cut(tag, "\r\n")
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	conn, err := dialer.Dial("tcp4", server.at("tcp").Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	gateway := &wire{t, conn, bufio.NewReader(conn)}
	bye := strings.NewReplacer("1 OPTIONS", "2 BYE", "OPTIONS", "BYE", "To: <sip:us@127.0.0.1>", "To: <sip:us@127.0.0.1>;tag="+tag, "z9hG4bKi", "z9hG4bKbye")
	gateway.send(options("outside", empty, ""), bye.Replace(options("i", empty, "")))
	gateway.answered("i", "200")
	next(t, leg, Ended)
	w.answered("i", "487")
}
