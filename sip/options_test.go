package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"github.com/bewaard/bewaard/sip/siptest"
)

func pbxPeer() Peer {
	return Peer{Transport: "udp", Host: "pbx.example", Addr: netip.MustParseAddrPort(pbxAddr)}
}

type optionsResult struct {
	code int
	err  error
}

// options asks the peer in a goroutine, which ends with the answer.
func (w *world) options(ctx context.Context, c Credentials) <-chan optionsResult {
	result := make(chan optionsResult, 1)
	go func() {
		code, err := w.ua.Options(ctx, pbxPeer(), c)
		result <- optionsResult{code, err}
	}()
	return result
}

// A peer's answer to OPTIONS is what it is; so is a challenge without credentials.
func TestOptionsOfOurs(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, status := range []string{"200 OK", "404 Not Found", "503 Service Unavailable", "401 Unauthorized"} {
			result := w.options(w.Context(), Credentials{})
			options := w.pbx.Expect("OPTIONS sip:pbx.example SIP/2.0")
			if options.Header("Max-Forwards") != "70" || options.Header("Contact") != "<sip:192.0.2.1:5060>" || options.Header("Accept") != "application/sdp" {
				w.Errorf("got Max-Forwards %q, Contact %q, Accept %q", options.Header("Max-Forwards"), options.Header("Contact"), options.Header("Accept"))
			}
			w.pbx.ReplyWith(options, "100 Trying", "")
			w.pbx.ReplyWith(options, status, "")
			if got := <-result; got.err != nil || !strings.HasPrefix(status, string(rune('0'+got.code/100))) {
				w.Errorf("got %d, %v, want %s", got.code, got.err, status)
			}
		}
		w.pbx.Silent(time.Minute)
	})
}

// With credentials the challenge is met.
func TestOptionsChallenged(t *testing.T) {
	inBubble(t, func(w *world) {
		result := w.options(w.Context(), Credentials{User: "bewaard", Password: password("secret")})
		w.pbx.ReplyWith(w.pbx.Expect("OPTIONS "), "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"\r\n")
		again := w.pbx.Expect("OPTIONS ")
		w.credentials(again, "Authorization", "secret")
		w.pbx.ReplyWith(again, "200 OK", "")
		if got := <-result; got.code != 200 || got.err != nil {
			w.Errorf("got %d, %v, want 200", got.code, got.err)
		}
		result = w.options(w.Context(), Credentials{User: "bewaard", Password: password("wrong")})
		for range 2 {
			w.pbx.ReplyWith(w.pbx.Expect("OPTIONS "), "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"\r\n")
		}
		if got := <-result; got.code != 401 || !errors.Is(got.err, ErrRejected) {
			w.Errorf("got %d, %v, want 401 and that the credentials were rejected", got.code, got.err)
		}
	})
}

// A silent peer is given up after 64·T1, or when the context ends.
func TestOptionsUnanswered(t *testing.T) {
	inBubble(t, func(w *world) {
		began := time.Now()
		if code, err := w.ua.Options(w.Context(), pbxPeer(), Credentials{}); code != 0 || !errors.Is(err, ErrNoResponse) || time.Since(began) != confirmTimeout {
			w.Errorf("got %d, %v after %v, want no response after 32s", code, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(w.Context(), 3*time.Second)
		defer cancel()
		began = time.Now()
		if code, err := w.ua.Options(ctx, pbxPeer(), Credentials{}); code != 0 || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			w.Errorf("got %d, %v after %v, want the deadline after 3s", code, err, time.Since(began))
		}
		elsewhere := Peer{Transport: "tcp", Host: "pbx.example", Addr: netip.MustParseAddrPort(pbxAddr)}
		if _, err := w.ua.Options(w.Context(), elsewhere, Credentials{}); err == nil {
			w.Error("got no error without a listener of the peer's transport")
		}
	})
}

// credentials checks the digest of a message that the peer got.
func (w *world) credentials(m siptest.Message, name, password string) *digest.Credentials {
	w.Helper()
	c, err := digest.ParseCredentials(m.Header(name))
	if err != nil {
		w.Fatalf("%s of %s: %v", name, m.Start(), err)
	}
	method, rest, _ := strings.Cut(m.Start(), " ")
	uri, _, _ := strings.Cut(rest, " ")
	judge(w.T, c, method, uri, m.Body(), password)
	return c
}

// Over TCP our Contact says so, and a peer that takes no connection is not reached.
func TestOptionsOverTCP(t *testing.T) {
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	ua := New(Config{Listen: []Listen{{"tcp", loopback}}}, anyone{}, slog.New(slog.DiscardHandler), nil)
	if err := ua.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer ua.Close()
	peer, err := net.Listen("tcp4", loopback.String())
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(peer.Addr().String())
	got := make(chan string, 1)
	go func() { // ends with the peer's one connection
		conn, err := peer.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 4096)
		n, _ := conn.Read(b)
		head := siptest.Message{Text: string(b[:n])}
		fmt.Fprintf(conn, "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=x\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n",
			head.Header("Via"), head.Header("From"), head.Header("To"), head.Header("Call-ID"), head.Header("CSeq"))
		got <- head.Start() + " " + head.Header("Contact")
		conn.Read(b) // until we close it
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if code, err := ua.Options(ctx, Peer{Transport: "tcp", Host: "127.0.0.1", Addr: addr}, Credentials{}); code != 200 || err != nil {
		t.Fatalf("got %d, %v, want 200", code, err)
	}
	want := fmt.Sprintf("OPTIONS sip:127.0.0.1:%d;transport=tcp SIP/2.0 <sip:%v;transport=tcp>", addr.Port(), ua.Addrs()[0].Addr)
	if got := <-got; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	peer.Close()
	nobody := Peer{Transport: "tcp", Host: "127.0.0.2", Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), addr.Port())}
	if code, err := ua.Options(ctx, nobody, Credentials{}); code != 0 || !errors.Is(err, ErrNotSent) {
		t.Errorf("got %d, %v, want not sent", code, err)
	}
}

// anyone is a handler to whom everyone belongs to a trunk.
type anyone struct{}

func (anyone) Trunk(netip.AddrPort, string) (string, bool) { return "pbx", true }
func (anyone) Invite(*Leg)                                 {}
func (anyone) Settings(string) Settings                    { return Settings{} }
func (anyone) Ready() bool                                 { return true }
