package sip

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// verdict is what becomes of a torture message.
type verdict struct {
	want string // the status of our response, "call" for one that begins, or "nothing"
	rfc  string // what the RFC wants or allows
	why  string // where ours differs
}

// The verdicts on the messages of RFC 4475, by their names there, over UDP.
var torture = map[string]verdict{
	// §3.1.1: valid messages
	"wsinv":      {"481", "an INVITE in a dialog, understood; not one of ours", ""},
	"intmeth":    {"405", "405 or 501: an odd method", ""},
	"esc01":      {"call", "a call; the escapes mean what they stand for", ""},
	"escnull":    {"405", "a REGISTER, which we do not take", ""},
	"esc02":      {"405", "an odd method; names are not unescaped", ""},
	"lwsdisp":    {"200", "OPTIONS answered", ""},
	"longreq":    {"call", "a call", ""},
	"dblreq":     {"405", "a REGISTER; what follows in the datagram is not read", ""},
	"semiuri":    {"200", "OPTIONS answered", ""},
	"transports": {"200", "OPTIONS answered", ""},
	"mpart01":    {"405", "a MESSAGE outside a dialog, which we do not take", ""},
	"unreason":   {"nothing", "a response to nobody", ""},
	"noreason":   {"nothing", "a response to nobody", ""},
	// §3.1.2: invalid messages
	"badinv01":   {"400", "400", ""},
	"clerr":      {"400", "400: less body than Content-Length says", ""},
	"ncl":        {"400", "400: Content-Length is negative", ""},
	"scalar02":   {"400", "400: numbers out of range", ""},
	"scalarlg":   {"nothing", "a response that is dropped", ""},
	"quotbal":    {"400", "400: a quote does not end", ""},
	"ltgtruri":   {"400", "400: the request URI is in <>", ""},
	"lwsruri":    {"400", "400: blanks in the request URI", ""},
	"lwsstart":   {"400", "400, or taken as meant", ""},
	"trws":       {"400", "400, or taken as meant: blanks after the version", ""},
	"escruri":    {"400", "400: headers in the request URI", ""},
	"baddate":    {"call", "400, or taken as meant: a Date that is not in GMT", ""},
	"regbadct":   {"405", "a REGISTER, which we do not take", ""},
	"badaspec":   {"400", "400, or taken as meant: blanks within <>", ""},
	"baddn":      {"200", "400, or taken as meant: a comma in a bare display name", ""},
	"badvers":    {"505", "505", ""},
	"mismatch01": {"400", "400: the CSeq is of another method", ""},
	"mismatch02": {"400", "501 or 400: an unknown method whose CSeq is of another", ""},
	"bigcode":    {"nothing", "a response that is dropped", ""},
	// §3.2: transaction layer
	"badbranch": {"200", "OPTIONS answered: the branch is no RFC 3261 one", ""},
	// §3.3: application layer
	"insuf":    {"400", "400: From, To, Call-ID are missing", ""},
	"unkscm":   {"416", "416", ""},
	"novelsc":  {"400", "416", "sipgo takes no scheme but of letters"},
	"unksm2":   {"405", "a REGISTER, which we do not take", ""},
	"bext01":   {"420", "420", ""},
	"invut":    {"415", "415", ""},
	"regaut01": {"405", "a REGISTER, which we do not take", ""},
	"multi01":  {"400", "400: headers that are there twice", ""},
	"mcl01":    {"400", "400: Content-Length is there twice", ""},
	"bcast":    {"nothing", "a response to nobody", ""},
	"zeromf":   {"200", "OPTIONS answered: we are where it was going", ""},
	"cparam01": {"405", "a REGISTER, which we do not take", ""},
	"cparam02": {"405", "a REGISTER, which we do not take", ""},
	"regescrt": {"405", "a REGISTER, which we do not take", ""},
	"sdp01":    {"406", "406: the caller takes no session descriptions", ""},
	// §3.4: backward compatibility
	"inv2543": {"400", "a call, of a UA of before RFC 3261", "without a tag in From sipgo finds no transaction; none has been met with"},
}

// Each message of RFC 4475 gets its verdict, and none keeps the next from being answered.
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
		t.Run(name, func(t *testing.T) { inBubble(t, func(w *world) { w.judge(message, torture[name].want) }) })
	}
}

// judge sends a message and holds what becomes of it against what is wanted.
func (w *world) judge(message []byte, want string) {
	w.Helper()
	w.pbx.SendRaw(message)
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	got := "nothing"
	select {
	case leg := <-w.legs:
		got = "call"
		if strings.ContainsAny(leg.From().User+leg.Called(), " \r\n") && !strings.HasPrefix(leg.From().User, "I have") {
			w.Errorf("got numbers %q and %q", leg.From().User, leg.Called())
		}
		leg.Hangup(486, "Busy Here")
	default:
	}
	synctest.Wait()
	for w.pbx.Pending() {
		if m := w.pbx.Expect("SIP/2.0 "); got == "nothing" {
			got = m.Start()[len("SIP/2.0 "):][:3]
		}
	}
	if got != want {
		w.Errorf("got %s, want %s", got, want)
	}
	time.Sleep(2 * time.Minute) // what it left behind ends
	for w.pbx.Pending() {
		w.pbx.Expect("")
	}
	w.pbx.Send("OPTIONS sip:us@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bKafter\nFrom: <sip:a@b>;tag=1\nTo: <sip:us@192.0.2.1>\nCall-ID: after\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n")
	w.pbx.Expect("SIP/2.0 200")
}

// Over TCP the same messages end their connection at worst: on a new one we answer.
func TestTortureOverTCP(t *testing.T) {
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	addr := server.at("tcp").Addr.String()
	for name := range torture {
		message, err := os.ReadFile(filepath.Join("testdata/torture", name+".dat"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		for rest := message; len(rest) > 0; { // in pieces, as TCP may
			n := min(37, len(rest))
			if _, err := conn.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		conn.Close()
		select {
		case leg := <-server.legs:
			leg.Hangup(486, "Busy Here")
		default:
		}
	}
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "OPTIONS sip:us@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKafter\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:us@127.0.0.1>\r\nCall-ID: after\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	b := make([]byte, 12)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "SIP/2.0 200 " {
		t.Errorf("got %q, %v", b, err)
	}
}

// What RFC 5118 says of IPv6 in SIP, §4: each message and its verdict.
func TestIPv6Torture(t *testing.T) {
	const via = "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3\n"
	request := func(method, uri, via, more string) string {
		return method + " " + uri + " SIP/2.0\n" + via + "From: <sip:user@example.com>;tag=81x2\nTo: <sip:user@[2001:db8::10]>\nCall-ID: " + t.Name() + "\nCSeq: 98176 " + method +
			"\nMax-Forwards: 70\nContact: <sip:caller@[2001:db8::1]>\n" + more
	}
	const empty = "Content-Length: 0\n\n"
	body := func(lines ...string) string {
		sdp := strings.Join(lines, "\r\n") + "\r\n"
		return "Content-Type: application/sdp\n\n" + sdp
	}
	for name, test := range map[string]struct{ message, want string }{
		"4.1 a valid reference":               {request("OPTIONS", "sip:[2001:db8::10]", via, empty), "200"},
		"4.2 no brackets":                     {request("OPTIONS", "sip:2001:db8::10", via, empty), "400"},
		"4.3 port within the brackets":        {request("OPTIONS", "sip:[2001:db8::10:5070]", via, empty), "200"},
		"4.4 port behind them":                {request("OPTIONS", "sip:[2001:db8::10]:5070", via, empty), "200"},
		"4.5 received with brackets":          {request("OPTIONS", "sip:[2001:db8::10]", "Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3\n", empty), "200"},
		"4.5 received without":                {request("OPTIONS", "sip:[2001:db8::10]", "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\n", empty), "200"},
		"4.6 no brackets in a description":    {request("INVITE", "sip:user@[2001:db8::10]", via, body("v=0", "o=assistant 971731711378798081 0 IN IP6 2001:db8::20", "s=-", "c=IN IP6 2001:db8::20", "t=0 0", "m=audio 6000 RTP/AVP 8")), "call"},
		"4.7 several addresses":               {request("OPTIONS", "sip:user@[2001:db8::10]", via+"Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKas4\nVia: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bKas5\n", empty), "200"},
		"4.8 several in a description":        {request("INVITE", "sip:user@[2001:db8::10]", via, body("v=0", "o=bob 1 1 IN IP6 2001:db8::20", "s=-", "t=0 0", "m=audio 6000 RTP/AVP 8", "c=IN IP6 2001:db8::1", "m=video 6024 RTP/AVP 107", "c=IN IP4 192.0.2.1")), "call"},
		"4.9 IPv4-mapped":                     {request("INVITE", "sip:user@example.com", via, body("v=0", "o=bob 1 1 IN IP6 ::ffff:192.0.2.1", "s=-", "c=IN IP6 ::ffff:192.0.2.10", "t=0 0", "m=audio 6000 RTP/AVP 8")), "call"},
		"4.10 three colons of RFC 3261's own": {request("OPTIONS", "sip:user@[2001:db8:::192.0.2.1]", via, empty), "200"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				head, sdp, _ := strings.Cut(test.message, "\n\n")
				w.judge([]byte(strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"+sdp), test.want)
			})
		})
	}
}
