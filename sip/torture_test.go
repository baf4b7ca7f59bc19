package sip

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// verdict is what becomes of a torture message: the status of our response, "call" for one
// that begins, or "nothing". Over TCP the connection goes on, is "closed" after that, or
// "waits" for the rest of the message.
type verdict struct {
	udp, tcp string
	rfc      string // what the RFC wants or allows
	why      string // where ours differs
}

// The verdicts on the messages of RFC 4475 and RFC 5118, by their names there.
var torture = map[string]verdict{
	// §3.1.1: valid messages
	"wsinv":      {"481", "481", "an INVITE in a dialog, understood; not one of ours", ""},
	"intmeth":    {"405", "405", "405 or 501: an odd method", ""},
	"esc01":      {"call", "call", "a call; the escapes mean what they stand for", ""},
	"escnull":    {"405", "405", "a REGISTER, which we do not take", ""},
	"esc02":      {"405", "405", "an odd method; names are not unescaped", ""},
	"lwsdisp":    {"200", "200", "OPTIONS answered", ""},
	"longreq":    {"call", "call", "a call", ""},
	"dblreq":     {"405", "400 405 closed", "a REGISTER; what follows in the datagram is not read", "over TCP the INVITE that follows gets a 400, and says less of its body than there is"},
	"semiuri":    {"200", "200", "OPTIONS answered", ""},
	"transports": {"200", "200", "OPTIONS answered", ""},
	"mpart01":    {"405", "405", "a MESSAGE outside a dialog, which we do not take", ""},
	"unreason":   {"nothing", "nothing", "a response to nobody", ""},
	"noreason":   {"nothing", "nothing", "a response to nobody", ""},
	// §3.1.2: invalid messages
	"badinv01":   {"400", "400", "400", ""},
	"clerr":      {"400", "waits", "400: less body than Content-Length says", "over TCP the rest may still come"},
	"ncl":        {"400", "400 closed", "400: Content-Length is negative", ""},
	"scalar02":   {"400", "400", "400: numbers out of range", ""},
	"scalarlg":   {"nothing", "nothing", "a response that is dropped", ""},
	"quotbal":    {"400", "400", "400: a quote does not end", ""},
	"ltgtruri":   {"400", "400", "400: the request URI is in <>", ""},
	"lwsruri":    {"400", "400", "400: blanks in the request URI", ""},
	"lwsstart":   {"400", "400", "400, or taken as meant", ""},
	"trws":       {"400", "400", "400, or taken as meant: blanks after the version", ""},
	"escruri":    {"400", "400", "400: headers in the request URI", ""},
	"baddate":    {"call", "call", "400, or taken as meant: a Date that is not in GMT", ""},
	"regbadct":   {"405", "405", "a REGISTER, which we do not take", ""},
	"badaspec":   {"400", "400", "400, or taken as meant: blanks within <>", ""},
	"baddn":      {"200", "200", "400, or taken as meant: a comma in a bare display name", ""},
	"badvers":    {"505", "505", "505", ""},
	"mismatch01": {"400", "400", "400: the CSeq is of another method", ""},
	"mismatch02": {"400", "400", "501 or 400: an unknown method whose CSeq is of another", ""},
	"bigcode":    {"nothing", "nothing", "a response that is dropped", ""},
	// §3.2: transaction layer
	"badbranch": {"200", "200", "OPTIONS answered: the branch is no RFC 3261 one", ""},
	// §3.3: application layer
	"insuf":    {"400", "400", "400: From, To, Call-ID are missing", ""},
	"unkscm":   {"416", "416", "416", ""},
	"novelsc":  {"400", "400", "416", "sipgo takes no scheme but of letters"},
	"unksm2":   {"405", "405", "a REGISTER, which we do not take", ""},
	"bext01":   {"420", "420", "420", ""},
	"invut":    {"415", "415", "415", ""},
	"regaut01": {"405", "405", "a REGISTER, which we do not take", ""},
	"multi01":  {"400", "400", "400: headers that are there twice", ""},
	"mcl01":    {"400", "400 closed", "400: Content-Length is there twice", ""},
	"bcast":    {"nothing", "nothing", "a response to nobody", ""},
	"zeromf":   {"200", "200", "OPTIONS answered: we are where it was going", ""},
	"cparam01": {"405", "405", "a REGISTER, which we do not take", ""},
	"cparam02": {"405", "405", "a REGISTER, which we do not take", ""},
	"regescrt": {"405", "405", "a REGISTER, which we do not take", ""},
	"sdp01":    {"406", "406", "406: the caller takes no session descriptions", ""},
	// RFC 5118 §4: IPv6
	"ipv6-good":                     {"405", "405", "a REGISTER, which we do not take", ""},
	"ipv6-bad":                      {"400", "400", "400: an address without brackets", ""},
	"port-ambiguous":                {"405", "405", "a REGISTER; 5070 is a part of the address", ""},
	"port-unambiguous":              {"405", "405", "a REGISTER", ""},
	"via-received-param-with-delim": {"481", "481", "a BYE of nobody's dialog", ""},
	"via-received-param-no-delim":   {"481", "481", "a BYE of nobody's dialog", ""},
	"ipv6-in-sdp":                   {"call", "call", "a call", ""},
	"mult-ip-in-header":             {"nothing", "481", "a BYE of nobody's dialog", "it is answered at its Via's port, 6050, where the test has nobody"},
	"mult-ip-in-sdp":                {"call", "call", "a call", ""},
	"ipv4-mapped-ipv6":              {"call", "call", "a call", ""},
	"ipv6-bug-abnf-3-colons":        {"200", "200", "400, or taken as meant: the three colons of RFC 3261's own grammar", ""},
	"ipv6-correct-abnf-2-colons":    {"200", "200", "OPTIONS answered", ""},
	// RFC 4475 §3.4: backward compatibility
	"inv2543": {"400", "400 closed", "a call, of a UA of before RFC 3261", "without a tag in From sipgo finds no transaction; none has been met with"},
}

// Each message gets its verdict over UDP and over TCP, and none keeps the next from being
// answered.
func TestTorture(t *testing.T) {
	files, err := filepath.Glob("testdata/torture/*.dat")
	if err != nil || len(files) != len(torture) {
		t.Fatalf("got %d files, %v, want one for each of %d verdicts", len(files), err, len(torture))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".dat")
		message, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for transport, want := range map[string]string{"udp": torture[name].udp, "tcp": torture[name].tcp} {
			t.Run(name+"/"+transport, func(t *testing.T) {
				inBubble(t, func(w *world) {
					judge := w.judge
					if transport == "tcp" {
						judge = w.judgeStream
					}
					if got := judge(message); got != want {
						w.Errorf("got %s, want %s", got, want)
					}
					time.Sleep(2 * time.Minute) // what it left behind ends
					for w.pbx.Pending() {
						w.pbx.Expect("")
					}
					w.pbx.Send("OPTIONS sip:us@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKafter\nFrom: <sip:a@b>;tag=1\nTo: <sip:us@192.0.2.1>\nCall-ID: after\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n")
					w.pbx.Expect("SIP/2.0 200")
				})
			})
		}
	}
}

// begun reports whether a call began, and ends it.
func (w *world) begun() bool {
	w.Helper()
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	select {
	case leg := <-w.legs:
		if strings.ContainsAny(leg.From().User+leg.Called(), " :@\r\n") {
			w.Errorf("got numbers %q and %q", leg.From().User, leg.Called())
		}
		leg.Hangup(486, "Busy Here")
		synctest.Wait()
		return true
	default:
		return false
	}
}

// judge sends a message and returns what becomes of it.
func (w *world) judge(message []byte) string {
	w.Helper()
	w.pbx.SendRaw(message)
	got := "nothing"
	if w.begun() {
		got = "call"
	}
	for w.pbx.Pending() {
		if m := w.pbx.Expect("SIP/2.0 "); got == "nothing" {
			got = m.Start()[len("SIP/2.0 "):][:3]
		}
	}
	return got
}

// judgeStream sends a message over a connection, in pieces, as TCP may, and returns what
// becomes of both.
func (w *world) judgeStream(message []byte) string {
	w.Helper()
	wire := w.connect()
	defer wire.Close()
	for rest := message; len(rest) > 0; {
		n := min(37, len(rest))
		if _, err := wire.Write(rest[:n]); err != nil {
			break
		}
		rest = rest[n:]
	}
	got := "nothing"
	if w.begun() {
		got = "call"
	} else if answers := strings.Split("\n"+wire.text(), "\nSIP/2.0 ")[1:]; len(answers) > 0 {
		for i := range answers {
			answers[i] = answers[i][:3]
		}
		slices.Sort(answers) // two requests are answered in any order
		got = strings.Join(answers, " ")
	}
	time.Sleep(time.Second)
	go wire.Write([]byte("\r\n\r\n" + strings.ReplaceAll(options("after", empty, ""), "127.0.0.1", "192.0.2.5"))) // ends with the connection
	time.Sleep(time.Second)
	switch {
	case strings.Contains(wire.text(), "Call-ID: after\r\n"):
	case wire.closed.Load():
		got = strings.TrimPrefix(got+" closed", "nothing ")
	default:
		got = strings.TrimPrefix(got+" waits", "nothing ")
	}
	return got
}

// pipe is the peer's end of a connection in memory.
type pipe struct {
	net.Conn
	closed atomic.Bool // by us

	mu  sync.Mutex
	got strings.Builder
}

func (p *pipe) text() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.String()
}

// pipeEnd is our end of it, with addresses.
type pipeEnd struct{ net.Conn }

func (pipeEnd) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(ourAddr)) }
func (pipeEnd) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(pbxAddr))
}

// connect opens a connection from the peer's address.
func (w *world) connect() *pipe {
	w.Helper()
	ours, theirs := net.Pipe()
	p := &pipe{Conn: theirs}
	go func() { // ends with the connection
		b := make([]byte, 1<<16)
		for {
			n, err := theirs.Read(b)
			p.mu.Lock()
			p.got.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				p.closed.Store(errors.Is(err, io.EOF))
				return
			}
		}
	}()
	listening := newHandOver(w.ua.done)
	w.ua.serveStream("tcp", listening)
	if !listening.give(pipeEnd{ours}) {
		w.Fatal("got no connection")
	}
	return p
}
