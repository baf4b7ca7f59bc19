package sip

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bewaard/bewaard/sip/siptest"
)

// wire is a connection to a user agent that says what a test makes it say.
type wire struct {
	*testing.T
	net.Conn
	r *bufio.Reader
}

func (p *party) dial(t *testing.T) *wire {
	t.Helper()
	conn, err := net.Dial("tcp4", p.at("tcp").Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &wire{t, conn, bufio.NewReader(conn)}
}

func (w *wire) send(pieces ...string) {
	w.Helper()
	for _, piece := range pieces {
		if _, err := io.WriteString(w, piece); err != nil {
			w.Fatal(err)
		}
	}
}

// message returns the next message as text; "" at the connection's end.
func (w *wire) message() string {
	var b strings.Builder
	length := 0
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			return ""
		}
		b.WriteString(line)
		fmt.Sscanf(line, "Content-Length: %d", &length)
		if line == "\r\n" && b.Len() > 2 {
			break
		}
	}
	body := make([]byte, length)
	io.ReadFull(w.r, body)
	return b.String() + string(body)
}

// options is an OPTIONS request with more header lines and a body, whose Content-Length is to
// be among them.
func options(callID, more, body string) string {
	return "OPTIONS sip:us@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK" + callID + "\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:us@127.0.0.1>\r\nCall-ID: " + callID +
		"\r\nCSeq: 1 OPTIONS\r\n" + more + "\r\n" + body
}

const empty = "Content-Length: 0\r\n"

// answered sends what is there and expects an answer to it of a status, for a Call-ID.
func (w *wire) answered(callID, status string) {
	w.Helper()
	m := w.message()
	if !strings.HasPrefix(m, "SIP/2.0 "+status) || !strings.Contains(m, "Call-ID: "+callID+"\r\n") {
		w.Errorf("got %q, want %s for %s", m, status, callID)
	}
}

// Where a message ends, nobody doubts: what a Content-Length hides brings no line into the
// INVITE of the other leg, and the next message is found.
func TestNothingIsSmuggledOverTCP(t *testing.T) {
	for name, lengths := range map[string]string{
		"folded": "Content-Length:\r\n %d\r\n", "padded": "Content-Length:" + strings.Repeat(" ", 90) + "%d\r\n", "blank before the colon": "Content-Length \t: %d\r\n",
		"behind a continuation": "User-to-User: a\r\n Content-Length: 9\r\nl: %d\r\n", "before one": "l: %d\r\nUser-to-User: a\r\n\tContent-Length: 9\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
			w := server.dial(t)
			body := "X-Smuggled: yes\r\n\r\n" + options("smuggled", empty, "")
			w.send(options("one", fmt.Sprintf(lengths, len(body)), body) + options("two", empty, ""))
			got := []string{w.message(), w.message()}
			for _, id := range []string{"one", "two"} {
				if !strings.Contains(got[0]+got[1], "Call-ID: "+id+"\r\n") {
					t.Errorf("got %q, want an answer to %s", got, id)
				}
			}
		})
	}
	// What was folded passes as one line.
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	w := server.dial(t)
	w.send("INVITE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKi\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:100@127.0.0.1>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1>\r\n"+
		"User-to-User: a\r", "\n", " X-Smuggled: yes\r\n", "Content-Length", ": 0\r\n\r\n")
	w.answered("i", "100")
	leg := <-server.legs
	if got := leg.Passed(); len(got) != 1 || got[0] != (Header{"User-to-User", "a X-Smuggled: yes"}) {
		t.Errorf("got %q", got)
	}
	leg.Hangup(486, "Busy Here")
	w.answered("i", "486")
}

// A message may come in any pieces: a byte a time, the next one's beginning with it.
func TestSegments(t *testing.T) {
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	w := server.dial(t)
	w.SetDeadline(time.Now().Add(30 * time.Second))
	text := options("a", "Subject: x\r\n y\r\n\tz\r\nl:\r\n 4\r\n", "body")
	for _, c := range []byte(text) {
		w.send(string(c))
	}
	w.answered("a", "200")
	w.send("\r\n\r\n")
	pong := make([]byte, 2)
	if _, err := io.ReadFull(w.r, pong); err != nil || string(pong) != "\r\n" {
		t.Errorf("got %q, %v, want a sign of life", pong, err)
	}
	large := options("b", "Content-Length: 40000\r\n", strings.Repeat("x", 40000))
	w.send(large[:20000], large[20000:], "\r\n")
	w.answered("b", "200")
	w.send(options("c", empty, "") + options("d", empty, "")[:50])
	w.answered("c", "200")
	w.send(options("d", empty, "")[50:])
	w.answered("d", "200")
}

// A peer that always has the next message on its way keeps its connection.
func TestSteadyStream(t *testing.T) {
	inBubble(t, func(w *world) {
		wire := w.connect()
		for i := range 60 {
			text := options(fmt.Sprint("s", i), empty, "")
			if i > 0 {
				text = text[100:]
			}
			if _, err := io.WriteString(wire, text+options(fmt.Sprint("s", i+1), empty, "")[:100]); err != nil {
				w.Fatalf("got %v after %d s", err, i)
			}
			time.Sleep(time.Second)
		}
		if got := strings.Count(wire.text(), "SIP/2.0 200"); got != 60 {
			w.Errorf("got %d answers, want 60", got)
		}
		time.Sleep(messageTime)
		if wire.text(); !wire.closed.Load() {
			w.Error("got a message that never ends, and no end of the connection")
		}
		wire.Close()
	})
}

// What cannot be read is refused where that can be said, and the connection goes on where it
// can. What came before is answered first.
func TestGarbageOverTCP(t *testing.T) {
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	t.Run("goes on", func(t *testing.T) {
		w := server.dial(t)
		w.send(strings.Replace(options("bad", empty, ""), "sip:us@127.0.0.1 ", "<sip:us@127.0.0.1> ", 1), options("next", empty, ""))
		w.answered("bad", "400")
		w.answered("next", "200")
		w.send(strings.ReplaceAll(strings.Replace(options("ack", empty, ""), "sip:us@127.0.0.1 ", "<sip:us> ", 1), "OPTIONS", "ACK"), options("after", empty, ""))
		w.answered("after", "200")
	})
	for name, garbage := range map[string]string{
		"no length": options("x", "", ""), "two lengths": options("x", "l: 0\r\nl: 5\r\n", ""), "a negative one": options("x", "l: -5\r\n", ""), "a huge one": options("x", "l: 999999999\r\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			w := server.dial(t)
			w.send(options("good", empty, "") + garbage + options("never", empty, ""))
			got := w.message() + w.message()
			if !strings.Contains(got, "SIP/2.0 200 OK\r\n") || !strings.Contains(got, "SIP/2.0 400 Bad Request\r\n") {
				t.Errorf("got %q, want a 200 and a 400", got)
			}
			if got := w.message(); got != "" {
				t.Errorf("got %q, want the connection's end", got)
			}
		})
	}
	for name, garbage := range map[string]string{"bare LF": "OPTIONS sip:a SIP/2.0\nX: y\r\n\r\n", "noise": "\x16\x03\x01\x02\n\n", "a control": options("x", "X: \x00\r\n"+empty, "")} {
		t.Run(name, func(t *testing.T) {
			w := server.dial(t)
			w.send(options("good", empty, "") + garbage)
			w.answered("good", "200")
			if got := w.message(); got != "" {
				t.Errorf("got %q, want the connection's end", got)
			}
		})
	}
}

// A header that does not end ends the connection, and is not kept.
func TestHeaderBomb(t *testing.T) {
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	for _, bomb := range []string{"X: " + strings.Repeat("x", 80000), strings.Repeat("X: y\r\n", 20000), "Subject: x\r\n" + strings.Repeat(" \r\n", 40000)} {
		w := server.dial(t)
		io.WriteString(w, "OPTIONS sip:us@127.0.0.1 SIP/2.0\r\n"+bomb) // it may be closed before all is sent
		if got := w.message(); got != "" {
			t.Errorf("got %q, want the connection's end", got)
		}
	}
	// As many headers as a message holds, folds and addresses are read in time.
	ua := &UA{parser: server.parser}
	for _, many := range []string{strings.Repeat("X: y\r\n", 9000), "X: y\r\n" + strings.Repeat(" \r\n", 20000), "Subject: " + strings.Repeat("y\r\n ", 15000) + "\r\n", strings.Repeat("v: SIP/2.0/UDP h\r\n", 3000), "Record-Route: " + strings.Repeat("<sip:a>,", 7000) + "<sip:b>\r\n"} {
		began := time.Now()
		ua.untangle([]byte(options("x", many, "")))
		if took := time.Since(began); took > time.Second {
			t.Errorf("%.20q: got %v", many, took)
		}
	}
}

// Datagrams of odd sizes, and bodies that are not as long as they say.
func TestOddDatagrams(t *testing.T) {
	inBubble(t, func(w *world) {
		at := func(more, body string) string {
			return strings.ReplaceAll(options("x", more, body), "127.0.0.1:5060", pbxAddr)
		}
		w.pbx.SendRaw([]byte(at("Content-Length: 5\r\n", "body")))
		w.pbx.Expect("SIP/2.0 400")
		w.pbx.SendRaw([]byte("\r\n\r\n" + strings.Replace(at("Content-Length: 3\r\n", "body"), "z9hG4bKx", "z9hG4bKy", 1)))
		w.pbx.Expect("SIP/2.0 200")
		w.pbx.SendRaw([]byte(strings.Replace(at("", "body"), "z9hG4bKx", "z9hG4bKz", 1)))
		w.pbx.Expect("SIP/2.0 200")
		for _, junk := range []string{"", "\r\n", "\r\n\r\n", "\x00\x00\x00\x00", "x", "\n", "SIP/2.0", at("", "")[:80], strings.Repeat("\x00", 30000)} {
			w.pbx.SendRaw([]byte(junk))
		}
		w.pbx.SendRaw([]byte(at("Content-Length: 40000\r\n", strings.Repeat("x", 40000)))) // the end of it is not read
		w.pbx.Expect("SIP/2.0 400")
		w.pbx.SendRaw([]byte(at("", strings.Repeat("x", 40000))))
		w.pbx.Expect("SIP/2.0 400")
		w.pbx.Silent(time.Minute)
	})
}

// An ACK that cannot be read is not answered, nor is a response, nor what does not say who
// asked; a refusal is in the version that we speak.
func TestRefusal(t *testing.T) {
	whole := strings.ReplaceAll(options("x", empty, ""), "sip:us@127.0.0.1 ", "<sip:us> ")
	for change, want := range map[[2]string]bool{
		{"", ""}: true, {"OPTIONS", "ACK"}: false, {"OPTIONS", "ack"}: false, {"CSeq:", "CSeq :"}: true, {"1 OPTIONS", "1 ACK"}: false, {"SIP/2.0\r\nVia", "SIP/7.0\r\nVia"}: true, {"Via:", "X:"}: false, {"From:", "X:"}: false, {"To:", "X:"}: false, {"Call-ID:", "X:"}: false, {"CSeq:", "X:"}: false,
		{"From:", "f: <sip:c@d>;tag=2\r\nFrom:"}: false, {"CSeq:", "CSeq: 2 OPTIONS\r\nCSeq:"}: false, {"From:", "v: SIP/2.0/UDP h\r\nFrom:"}: true, {"OPTIONS <sip:us> SIP/2.0", "SIP/2.0 2x0 OK"}: false, {"OPTIONS <sip:us> SIP/2.0", "garbage"}: false,
		{"From: <", "From: \x00<"}: false, {"Content-Length: 0\r\n\r\n", ""}: true, {"th: 0\r\n\r\n", ""}: false,
	} {
		text := whole
		if change[0] != "" {
			text = strings.ReplaceAll(whole, change[0], change[1])
		}
		ua := &UA{parser: New(Config{}, &handler{}, slog.New(slog.DiscardHandler), nil).parser}
		head, err := ua.untangle([]byte(text))
		if err == nil {
			t.Errorf("%q is read", change)
		}
		answer := string(badRequest(head, "us"))
		if (answer != "") != want || want && (!strings.HasPrefix(answer, "SIP/2.0 400 Bad Request\r\nVia: ") || !strings.Contains(answer, ";tag=")) {
			t.Errorf("%q: got %q, want an answer: %v", change, answer, want)
		}
		if want {
			if err := ua.legible([]byte(answer)); err != nil {
				t.Errorf("%q: got %q, which nobody reads", change, answer)
			}
		}
	}
}

// What a peer of before RFC 3261 asks without a tag, and what says no transaction, is refused
// by us, and an ACK of them is not.
func TestNoTransaction(t *testing.T) {
	inBubble(t, func(w *world) {
		old := strings.NewReplacer(";branch=z9hG4bKx", "", ";tag=1", "", "127.0.0.1:5060", pbxAddr).Replace(options("x", empty, ""))
		w.pbx.SendRaw([]byte(old))
		w.pbx.Expect("SIP/2.0 400")
		w.pbx.SendRaw([]byte(strings.Replace(old, "SIP/2.0\r\nVia", "SIP/7.0\r\nVia", 1)))
		w.pbx.Expect("SIP/2.0 400")
		w.pbx.SendRaw([]byte(strings.ReplaceAll(old, "OPTIONS", "ACK")))
		w.pbx.SendRaw([]byte(strings.Replace(old, "CSeq", "X", 1)))
		w.pbx.SendRaw([]byte(strings.Replace(old, "Via", "X", 1)))
		w.pbx.Silent(time.Minute)
	})
}

// A version in small letters is ours (RFC 3261 §7.1); parameters have their meaning in
// capitals (§7.3.1).
func TestCase(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pbx.Send(strings.Replace(strings.Replace(options("x", empty, ""), "SIP/2.0\r\nVia", "sip/2.0\r\nVia", 1), "127.0.0.1:5060", pbxAddr, 1))
		w.pbx.Expect("SIP/2.0 200")
		invite := w.pbx.Message("100", someSDP, "")
		invite.Text = strings.NewReplacer(";tag=", " ; TAG = ", ";branch=", " ;Branch= ", ";rport", ";RPort").Replace(invite.Text)
		w.pbx.Send(invite.Text)
		w.pbx.Expect("SIP/2.0 100")
		w.pbx.Send(invite.Text)
		w.pbx.Expect("SIP/2.0 100") // again: the transaction is found
		leg := <-w.legs
		leg.Answer([]byte(otherSDP))
		ok := w.pbx.Expect("SIP/2.0 200")
		ok.Text = strings.Replace(ok.Text, ";tag=", ";Tag=", 1)
		w.pbx.InDialog("ACK", invite, ok, 1)
		w.event(leg, Confirmed)
		w.pbx.InDialog("BYE", invite, ok, 2)
		w.pbx.Expect("SIP/2.0 200")
		w.event(leg, Ended)
	})
	inBubble(t, func(w *world) { // the version of our answers is ours, whatever a CANCEL's
		invite, leg := w.incoming("")
		cancel := invite
		cancel.Text = strings.Replace(invite.Text, " SIP/2.0\r\n", " SIP/7.0\r\n", 1)
		w.pbx.Transaction("CANCEL", cancel, invite.Header("To"))
		w.pbx.Expect("SIP/2.0 200")
		res := w.pbx.Expect("SIP/2.0 487")
		w.pbx.Transaction("ACK", invite, res.Header("To"))
		w.event(leg, Cancelled)
	})
	inBubble(t, func(w *world) {
		leg, invite := w.outgoing()
		invite.Text = strings.Replace(invite.Text, ";branch=", ";BRANCH=", 1)
		w.pbx.Reply(invite, "486 Busy Here", "")
		w.pbx.Expect("ACK ")
		w.event(leg, Rejected)
	})
}

// An answer goes where the request came from, whatever its sender writes into his Via.
func TestSendersReceived(t *testing.T) {
	inBubble(t, func(w *world) {
		victim := siptest.NewPeer(w.T, w.network, "198.51.100.7:5060", ourAddr)
		for i, params := range []string{";received=198.51.100.7", ";received=198.51.100.7;rport=5060", ";Received=198.51.100.7;RPORT=9", ";rport=9"} {
			w.pbx.Send(strings.Replace(options(fmt.Sprint(i), empty, ""), "127.0.0.1:5060", pbxAddr+params, 1))
			m := w.pbx.Expect("SIP/2.0 200")
			if strings.Contains(m.Header("Via"), "198.51.100.7") {
				w.Errorf("got %q", m.Header("Via"))
			}
		}
		victim.Silent(time.Minute)
	})
}

// For an answer whose connection is gone we open none, neither where the Via nor where its
// received= leads.
func TestNoConnectionForAnAnswer(t *testing.T) {
	listening, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	port := listening.Addr().(*net.TCPAddr).Port
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	for i, via := range []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d;received=127.0.0.1;rport=%d", port, port), fmt.Sprintf("192.0.2.9:%d;received=127.0.0.1", port)} {
		for j := range 20 { // one of them is late
			w := server.dial(t)
			w.send(strings.Replace(options(fmt.Sprintf("%d-%d", i, j), empty, ""), "127.0.0.1:5060", via, 1))
			w.Conn.(*net.TCPConn).SetLinger(0)
			w.Close()
		}
	}
	listening.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if conn, err := listening.Accept(); err == nil {
		t.Errorf("got a connection from %v", conn.RemoteAddr())
	}
	req, _, err := server.newOutside(outside{method: "OPTIONS", peer: Peer{Transport: "tcp", Addr: netip.MustParseAddrPort(listening.Addr().String())}, tag: "a", callID: "b", seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := server.transport.ClientRequestConnection(t.Context(), req); err == nil {
		t.Errorf("got a connection of the stack's own to %v", conn)
	}
}

// Messages that cannot be read are counted, and told of once a minute.
func TestMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		registry := prometheus.NewRegistry()
		network := siptest.NewNetwork()
		ua := New(Config{}, &handler{ready: true}, slog.New(slog.NewTextHandler(&logged, nil)), registry)
		ua.ServePacket(network.Listen(ourAddr))
		pbx := siptest.NewPeer(t, network, pbxAddr, ourAddr)
		for range 3 {
			for range 100 {
				pbx.SendRaw([]byte("INVITE sip:+31201234567@us SIP/2.0\r\nCSeq: broken\r\n\r\n"))
			}
			synctest.Wait()
			time.Sleep(61 * time.Second)
		}
		ua.Close()
		if got := testutil.ToFloat64(ua.metrics.malformed.WithLabelValues("udp")); got != 300 {
			t.Errorf("got %v counted, want 300", got)
		}
		if lines := strings.Count(logged.String(), "sip message not read"); lines != 3 || !strings.Contains(logged.String(), "suppressed=99") || strings.Contains(logged.String(), "3120") {
			t.Errorf("got %d lines, want 3:\n%s", lines, logged.String())
		}
	})
}

// Who is no trunk's is told of, so that whoever forgot one sees it, and once a minute, so that
// a flood fills no disk.
func TestStrangersAreToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		network := siptest.NewNetwork()
		ua := New(Config{}, &handler{ready: true}, slog.New(slog.NewTextHandler(&logged, nil)), nil)
		ua.ServePacket(network.Listen(ourAddr))
		for i := range 30 {
			alien := siptest.NewPeer(t, network, fmt.Sprintf("203.0.113.%d:5060", i+1), ourAddr)
			for range 30 {
				alien.SendRaw([]byte("OPTIONS sip:us SIP/2.0\r\n\r\n"))
			}
			synctest.Wait()
		}
		ua.Close()
		for _, words := range []string{"stranger dropped: its address is no trunk's\" source=203.0.113.1 ", "stranger banned\" source=203.0.113.1 "} {
			if got := strings.Count(logged.String(), words); got != 1 {
				t.Errorf("got %d of %q, want 1:\n%s", got, words, logged.String())
			}
		}
		if got := strings.Count(logged.String(), "\n"); got != 2 {
			t.Errorf("got %d lines, want 2", got)
		}
	})
}

// What the stack says it says once a minute.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		log := slog.New(newQuiet(slog.NewTextHandler(&logged, nil)))
		for range 2 {
			for range 50 {
				log.With("caller", "x").Error("failed", "data", "secret", "raddr", "192.0.2.5")
				log.Warn("other")
			}
			time.Sleep(time.Minute)
		}
		if got := strings.Count(logged.String(), "\n"); got != 4 || strings.Contains(logged.String(), "secret") || strings.Count(logged.String(), "suppressed=49") != 2 {
			t.Errorf("got %d lines, want 4:\n%s", got, logged.String())
		}
	})
}

// Strangers leave nothing: no leg, no transaction, no goroutine, and of their addresses as
// much as is to be remembered.
func TestStrangersLeaveNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		invite := w.pbx.Message("100", someSDP, "").Text
		synctest.Wait()
		before, _ := siptest.Goroutines()
		pool := w.ua.transport.Pool("udp").Size()
		for i := range maxStrangers + 100 {
			from := netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
			alien := w.network.Listen(netip.AddrPortFrom(from, 5060).String())
			alien.WriteTo([]byte(invite), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(ourAddr)))
			alien.Close()
			if i%500 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got, _ := siptest.Goroutines(); got > before {
			w.Errorf("got %d goroutines, want %d", got, before)
		}
		if got := w.ua.transport.Pool("udp").Size(); got != pool {
			w.Errorf("got %d addresses in the stack, want %d", got, pool)
		}
		if got := len(w.ua.strangers.known); got > maxStrangers {
			w.Errorf("got %d remembered, want %d", got, maxStrangers)
		}
		if w.ua.Legs() != 0 || len(w.legs) != 0 {
			w.Error("got a stranger's call")
		}
	})
}

// A header passes by its name or not at all: one that is no token is no name.
func TestPassingNames(t *testing.T) {
	ua := &UA{cfg: Config{Headers: []string{"X-*"}}.withDefaults()}
	for name, want := range map[string]bool{"X-Tenant": true, "x-tenant": true, "X-A B": false, "X-A<": false, "X-": true, "X-é": false, "Subject": false, "D": false} {
		if _, got := ua.passes(name); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// A request with a second Content-Type is refused: what its body is would be a guess.
func TestTwoContentTypes(t *testing.T) {
	inBubble(t, func(w *world) {
		invite := w.pbx.Invite("100", someSDP, "c: text/plain\r\n")
		res := w.pbx.Expect("SIP/2.0 400")
		w.pbx.Transaction("ACK", invite, res.Header("To"))
	})
}

// Connections that break in a message leave nothing, and one that is silent is left alone.
func TestBrokenConnections(t *testing.T) {
	inBubble(t, func(w *world) {
		count := func() int {
			synctest.Wait()
			w.ua.streams.mu.Lock()
			defer w.ua.streams.mu.Unlock()
			return w.ua.streams.all
		}
		idle := w.connect()
		text := options("x", "Content-Length: 9\r\n", "some")
		for at := range 40 {
			broken := w.connect()
			io.WriteString(broken, text[:len(text)*at/39])
			if at%2 == 0 {
				broken.Close()
			}
		}
		if got := count(); got != 20+1 {
			w.Errorf("got %d connections, want the idle one and those that are waited for", got)
		}
		time.Sleep(messageTime)
		if got := count(); got != 1 {
			w.Errorf("got %d connections, want the idle one", got)
		}
		last := w.connect()
		io.WriteString(last, options("last", empty, ""))
		if got := last.text(); !strings.HasPrefix(got, "SIP/2.0 200") {
			w.Errorf("got %q", got)
		}
		last.Close()
		time.Sleep(streamIdle)
		if idle.text(); !idle.closed.Load() || count() != 0 {
			w.Errorf("got %d connections left", count())
		}
	})
}
