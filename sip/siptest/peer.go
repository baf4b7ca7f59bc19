package siptest

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Peer is a SIP endpoint that says exactly what a test makes it say. It never
// answers, acknowledges or repeats anything by itself.
type Peer struct {
	t    testing.TB
	conn net.PacketConn
	to   netip.AddrPort
	in   chan Message
	tag  string
	seq  int
	sent int // requests composed, for their branches
}

// NewPeer opens a peer on the network that talks to one address.
func NewPeer(t testing.TB, n *Network, addr, to string) *Peer {
	p := &Peer{t: t, conn: n.Listen(addr), to: netip.MustParseAddrPort(to), in: make(chan Message, 1024), tag: "peer" + strings.NewReplacer(".", "", ":", "").Replace(addr)}
	go func() { // ends with the peer
		defer close(p.in)
		b := make([]byte, 1<<16)
		for {
			n, _, err := p.conn.ReadFrom(b)
			if err != nil {
				return
			}
			p.in <- Message{Text: string(b[:n]), At: time.Now()}
		}
	}()
	t.Cleanup(func() { p.Close() })
	return p
}

// Close closes the peer's socket.
func (p *Peer) Close() { p.conn.Close() }

// Addr returns the peer's address.
func (p *Peer) Addr() string { return p.conn.LocalAddr().String() }

// Message is a SIP message as text, with CRLF line ends.
type Message struct {
	Text string
	At   time.Time // when it arrived
}

// Start returns the start line.
func (m Message) Start() string { line, _, _ := strings.Cut(m.Text, "\r\n"); return line }

// Method returns a request's method, or that of a response's CSeq.
func (m Message) Method() string { _, method, _ := strings.Cut(m.Header("CSeq"), " "); return method }

// Header returns the first header field of that name, in whatever case, or "".
func (m Message) Header(name string) string {
	if all := m.Headers(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Headers returns the header fields of that name, in order.
func (m Message) Headers(name string) []string {
	var all []string
	head, _, _ := strings.Cut(m.Text, "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			all = append(all, strings.TrimSpace(value))
		}
	}
	return all
}

// Body returns what follows the header fields.
func (m Message) Body() string { _, body, _ := strings.Cut(m.Text, "\r\n\r\n"); return body }

// Send sends a message; its lines may end with LF.
func (p *Peer) Send(text string) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	if _, err := p.conn.WriteTo([]byte(text), net.UDPAddrFromAddrPort(p.to)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// Expect returns the next message and fails the test unless its start line begins
// so: "INVITE ", "SIP/2.0 200". It waits a minute, of the bubble's time in one.
func (p *Peer) Expect(start string) Message {
	p.t.Helper()
	return p.ExpectWithin(time.Minute, start)
}

// ExpectWithin is Expect that waits that long.
func (p *Peer) ExpectWithin(d time.Duration, start string) Message {
	p.t.Helper()
	select {
	case m, ok := <-p.in:
		if !ok {
			p.t.Fatalf("got the end of the network, want %q", start)
		}
		if !strings.HasPrefix(m.Start(), start) {
			p.t.Fatalf("got %q, want %q", m.Start(), start)
		}
		return m
	case <-time.After(d):
		p.t.Fatalf("got nothing for %v, want %q", d, start)
	}
	panic("unreachable")
}

// Within returns the next message whose start line begins so and fails the test unless
// it comes within that time. What comes before it is passed over.
func (p *Peer) Within(d time.Duration, start string) Message {
	p.t.Helper()
	for late := time.After(d); ; {
		select {
		case m, ok := <-p.in:
			if !ok {
				p.t.Fatalf("got the end of the network, want %q", start)
			}
			if strings.HasPrefix(m.Start(), start) {
				return m
			}
		case <-late:
			p.t.Fatalf("got no %q within %v", start, d)
		}
	}
}

// Silent fails the test if a message comes within that time.
func (p *Peer) Silent(d time.Duration) {
	p.t.Helper()
	select {
	case m := <-p.in:
		p.t.Fatalf("got %q, want silence", m.Start())
	case <-time.After(d):
	}
}

// Invite sends an INVITE with an offer and returns it, for Ack, Cancel and Bye. More
// are further header lines, each with its line end.
func (p *Peer) Invite(called, offer, more string) Message {
	m := p.Message(called, offer, more)
	p.Send(m.Text)
	return m
}

// Message makes the INVITE that Invite sends.
func (p *Peer) Message(called, offer, more string) Message {
	p.seq++
	return Message{Text: fmt.Sprintf("INVITE sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:+31201234567@%s>;tag=%s\r\nTo: <sip:%s@%s>\r\nCall-ID: %s-%d\r\nCSeq: 1 INVITE\r\nContact: <sip:peer@%s>\r\n%s"+
		"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
		called, p.to, p.Addr(), p.tag, p.seq, p.Addr(), p.tag, called, p.to, p.tag, p.seq, p.Addr(), more, len(offer), offer)}
}

// InDialog sends a request in the dialog that response set up to our invite, with
// its own branch: ACK with the INVITE's number, others with the number given.
func (p *Peer) InDialog(method string, invite, response Message, seq int) {
	uri := strings.Trim(response.Header("Contact"), "<>")
	p.Send(fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s%d;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:peer@%s>\r\nContent-Length: 0\r\n\r\n",
		method, uri, p.Addr(), p.tag, method, seq, invite.Header("From"), response.Header("To"), invite.Header("Call-ID"), seq, method, p.Addr()))
}

// Transaction sends an ACK or CANCEL in the INVITE's own transaction.
func (p *Peer) Transaction(method string, invite Message, to string) {
	_, rest, _ := strings.Cut(invite.Start(), " ")
	p.Send(fmt.Sprintf("%s %s\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
		method, rest, invite.Header("Via"), invite.Header("From"), to, invite.Header("Call-ID"), method))
}

// Reply answers a request that came in: status is "180 Ringing". A body makes it
// application/sdp.
func (p *Peer) Reply(request Message, status, body string) Message {
	return p.Respond(request, Response{Status: status, Body: body})
}

// Response is what Respond answers with.
type Response struct {
	Status string // "180 Ringing"
	Tag    string // of the To, and the user of the Contact; by default the peer's
	More   string // further header lines, each with its line end
	Body   string // a session description, unless More has a Content-Type
}

// Respond answers a request that came in, as one branch of a fork where it has a tag.
func (p *Peer) Respond(request Message, r Response) Message {
	to, tag, contact := request.Header("To"), p.tag, "peer"
	if r.Tag != "" {
		tag, contact = r.Tag, r.Tag
	}
	if !strings.Contains(to, "tag=") && !strings.HasPrefix(r.Status, "100") {
		to += ";tag=" + tag
	}
	m := Message{Text: fmt.Sprintf("SIP/2.0 %s\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:%s@%s>\r\n%s",
		r.Status, request.Header("Via"), request.Header("From"), to, request.Header("Call-ID"), request.Header("CSeq"), contact, p.Addr(), described(r.More, r.Body))}
	p.Send(m.Text)
	return m
}

// described is the end of a message: further header lines and the body.
func described(more, body string) string {
	if body != "" && !strings.Contains(more, "Content-Type:") {
		more += "Content-Type: application/sdp\r\n"
	}
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", more, len(body), body)
}

// Dialog is a dialog as the peer sees it: what goes into its requests.
type Dialog struct {
	Target        string // our Contact
	Local, Remote string // the peer and we, each with a tag
	CallID        string
}

// CallerDialog is the dialog that our response to the peer's INVITE set up.
func (p *Peer) CallerDialog(invite, response Message) Dialog {
	return Dialog{target(response), invite.Header("From"), response.Header("To"), invite.Header("Call-ID")}
}

// CalleeDialog is the dialog that the peer's response to our INVITE set up.
func (p *Peer) CalleeDialog(invite, response Message) Dialog {
	return Dialog{target(invite), response.Header("To"), invite.Header("From"), invite.Header("Call-ID")}
}

func target(m Message) string { return strings.Trim(m.Header("Contact"), "<>") }

// Request sends a request in a dialog, each in a transaction of its own. More are further
// header lines, each with its line end; a body is a session description unless they say
// otherwise.
func (p *Peer) Request(d Dialog, method string, seq int, more, body string) Message {
	m := p.Compose(d, method, seq, more, body)
	p.Send(m.Text)
	return m
}

// Compose makes the request that Request sends.
func (p *Peer) Compose(d Dialog, method string, seq int, more, body string) Message {
	p.sent++
	return Message{Text: fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s.%d;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:peer@%s>\r\n%s",
		method, d.Target, p.Addr(), p.tag, p.sent, d.Local, d.Remote, d.CallID, seq, method, p.Addr(), described(more, body))}
}

// Acknowledge sends the ACK of an INVITE's rejection, in the INVITE's own transaction
// (RFC 3261 §17.1.1.3).
func (p *Peer) Acknowledge(invite, rejected Message) {
	_, rest, _ := strings.Cut(invite.Start(), " ")
	seq, _, _ := strings.Cut(invite.Header("CSeq"), " ")
	p.Send(fmt.Sprintf("ACK %s\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s ACK\r\nContent-Length: 0\r\n\r\n",
		rest, invite.Header("Via"), invite.Header("From"), rejected.Header("To"), invite.Header("Call-ID"), seq))
}

// ReplyWith answers a request that came in, outside any dialog: without a Contact or a
// body. More are further header lines, each with its line end.
func (p *Peer) ReplyWith(request Message, status, more string) {
	to := request.Header("To")
	if !strings.Contains(to, "tag=") {
		to += ";tag=" + p.tag
	}
	p.Send(fmt.Sprintf("SIP/2.0 %s\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\n%sContent-Length: 0\r\n\r\n",
		status, request.Header("Via"), request.Header("From"), to, request.Header("Call-ID"), request.Header("CSeq"), more))
}

// DialogRequest sends a request in the dialog that invite, which came in, and our
// reply to it set up.
func (p *Peer) DialogRequest(method string, invite, reply Message, seq int) {
	uri := strings.Trim(invite.Header("Contact"), "<>")
	p.Send(fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s%d;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		method, uri, p.Addr(), p.tag, method, seq, reply.Header("To"), invite.Header("From"), invite.Header("Call-ID"), seq, method))
}

// DialogOffer sends an INVITE in the dialog of DialogRequest; no offer sends none.
func (p *Peer) DialogOffer(invite, reply Message, seq int, offer string) {
	uri := strings.Trim(invite.Header("Contact"), "<>")
	contentType := ""
	if offer != "" {
		contentType = "Content-Type: application/sdp\r\n"
	}
	p.Send(fmt.Sprintf("INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%sINVITE%d;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d INVITE\r\nContact: <sip:peer@%s>\r\n%sContent-Length: %d\r\n\r\n%s",
		uri, p.Addr(), p.tag, seq, reply.Header("To"), invite.Header("From"), invite.Header("Call-ID"), seq, p.Addr(), contentType, len(offer), offer))
}

// DialogAck acknowledges the rejection of an INVITE sent by DialogOffer, in its own
// transaction (RFC 3261 §17.1.1.3).
func (p *Peer) DialogAck(invite, rejected Message) {
	uri := strings.Trim(invite.Header("Contact"), "<>")
	seq, _, _ := strings.Cut(rejected.Header("CSeq"), " ")
	p.Send(fmt.Sprintf("ACK %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s ACK\r\nContent-Length: 0\r\n\r\n",
		uri, rejected.Header("Via"), rejected.Header("From"), rejected.Header("To"), rejected.Header("Call-ID"), seq))
}

// Pending reports whether a message has come that nobody took.
func (p *Peer) Pending() bool { return p.Waiting() > 0 }

// Waiting returns how many messages have come that nobody took.
func (p *Peer) Waiting() int { return len(p.in) }

// SendRaw sends a datagram as it is.
func (p *Peer) SendRaw(b []byte) {
	if _, err := p.conn.WriteTo(b, net.UDPAddrFromAddrPort(p.to)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}
