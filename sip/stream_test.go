package sip

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// party is a user agent on real sockets of this machine, which knows everybody on
// 127.0.0.0/8 but the addresses that are strangers to it.
type party struct {
	*UA
	legs     chan *Leg
	settings Settings

	mu      sync.Mutex
	strange map[string]bool
}

func (p *party) Trunk(source netip.AddrPort, _ string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "peer", !p.strange[source.Addr().String()]
}
func (p *party) Settings(string) Settings { return p.settings }
func (p *party) Invite(l *Leg)            { p.legs <- l }
func (p *party) Ready() bool              { return true }

func newParty(t *testing.T, cfg Config, settings Settings, log *slog.Logger, listen ...string) *party {
	t.Helper()
	for _, l := range listen {
		var at Listen
		if err := at.UnmarshalText([]byte(l)); err != nil {
			t.Fatal(err)
		}
		cfg.Listen = append(cfg.Listen, at)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	p := &party{legs: make(chan *Leg, 8), settings: settings, strange: map[string]bool{}}
	p.UA = New(cfg, p, log, nil)
	if err := p.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// at is the party as a peer over one of its transports.
func (p *party) at(transport string) Peer {
	for _, l := range p.Addrs() {
		if l.Transport == transport {
			return Peer{Transport: transport, Host: l.Addr.Addr().String(), Addr: l.Addr}
		}
	}
	panic("no such listener")
}

func next(t *testing.T, l *Leg, want EventKind) Event {
	t.Helper()
	select {
	case e := <-l.Events():
		if e.Kind != want {
			t.Fatalf("got %v (%+v), want %v", e.Kind, e, want)
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatalf("got nothing, want %v", want)
	}
	panic("unreachable")
}

// converse places a call, answers it, has each side send a request, and hangs up.
func converse(t *testing.T, from, to *party, peer Peer, body string) (caller, callee *Leg) {
	t.Helper()
	out, err := from.UA.Invite(Invite{Peer: peer, Trunk: "peer", Called: "100", From: Party{User: "200"}, MaxForwards: 70, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	var in *Leg
	select {
	case in = <-to.legs:
	case e := <-out.Events():
		t.Fatalf("got %v: %v", e.Kind, e.Err)
	case <-time.After(10 * time.Second):
		t.Fatal("no INVITE came")
	}
	in.Answer([]byte(otherSDP))
	next(t, out, Answered)
	next(t, in, Confirmed)
	for _, l := range []*Leg{in, out} {
		l.Ask(&Request{Method: "INFO", ContentType: "application/dtmf", Body: []byte("1")})
		other := map[*Leg]*Leg{in: out, out: in}[l]
		next(t, other, Requested).Request.Reply(200, "OK")
		if e := next(t, l, Replied); e.Code != 200 {
			t.Errorf("got %d", e.Code)
		}
	}
	out.Hangup(0, "")
	next(t, in, Ended)
	return in, out
}

// authority makes certificates for tests.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// issue writes a certificate for a host to files of a name, and returns the section.
func (a *authority) issue(name, host string) TLS {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(key)
	return TLS{Certificate: a.write(name+".pem", "CERTIFICATE", der), Key: a.write(name+".key", "PRIVATE KEY", pkcs8), CA: a.file}
}

// Calls go over TCP and TLS both ways by one connection, whoever opened it; the certificate
// is verified by the name that the peer is configured by.
func TestStreams(t *testing.T) {
	a := newAuthority(t)
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			server := newParty(t, Config{TLS: a.issue("server"+transport, "pbx.example")}, Settings{}, nil, transport+"://127.0.0.1:0")
			client := newParty(t, Config{TLS: a.issue("client"+transport, "us.example")}, Settings{}, nil, transport+"://127.0.0.2:0")
			peer := server.at(transport)
			peer.Host = "pbx.example"
			in, _ := converse(t, client, server, peer, someSDP)
			if got := in.Peer(); got.Transport != transport || got.Addr.Addr().String() != "127.0.0.2" {
				t.Errorf("got the leg over %v, want it from the address that is listened on", got)
			}
			converse(t, client, server, peer, someSDP)
			if n := server.streams.count(); n != 1 {
				t.Errorf("got %d connections for two calls, want 1", n)
			}
		})
	}
}

// What is sent in a dialog whose connection broke goes by a new one, from the address that
// is listened on and to who is known by name.
func TestDialogReconnects(t *testing.T) {
	a := newAuthority(t)
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			server := newParty(t, Config{TLS: a.issue("server"+transport, "pbx.example")}, Settings{}, nil, transport+"://127.0.0.1:0")
			client := newParty(t, Config{TLS: a.issue("client"+transport, "us.example")}, Settings{}, nil, transport+"://127.0.0.2:0")
			peer := server.at(transport)
			peer.Host = "pbx.example"
			out, err := client.UA.Invite(Invite{Peer: peer, Trunk: "peer", Called: "100", From: Party{User: "200"}, MaxForwards: 70, Body: []byte(someSDP)})
			if err != nil {
				t.Fatal(err)
			}
			in := <-server.legs
			in.Answer([]byte(otherSDP))
			next(t, out, Answered)
			next(t, in, Confirmed)
			sever := func() {
				if err := client.transport.Pool(transport).Get(peer.Addr.String()).Close(); err != nil {
					t.Fatal(err)
				}
				for client.isConnected(peer) {
					runtime.Gosched()
				}
			}
			sever()
			if err := out.Reoffer([]byte(someSDP)); err != nil {
				t.Fatal(err)
			}
			next(t, in, Reoffered)
			conn := client.transport.Pool(transport).Get(peer.Addr.String())
			if got := conn.LocalAddr().String(); !strings.HasPrefix(got, "127.0.0.2:") {
				t.Errorf("got the offer from %v, want it from 127.0.0.2", got)
			}
			conn.TryClose()
			in.AnswerReoffer([]byte(otherSDP))
			next(t, out, ReofferAnswered)
			next(t, in, Acknowledged)
			sever()
			out.Hangup(0, "")
			next(t, in, Ended)
		})
	}
}

func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// A certificate for another host, or of an authority that is not ours, fails the call at
// once and says why.
func TestTLSRefused(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	server := newParty(t, Config{TLS: a.issue("server", "pbx.example")}, Settings{}, nil, "tls://127.0.0.1:0")
	for name, test := range map[string]struct {
		ca, host string
		want     any
	}{
		"other host":      {a.file, "carrier.example", new(x509.HostnameError)},
		"other authority": {other.file, "pbx.example", new(x509.UnknownAuthorityError)},
	} {
		client := newParty(t, Config{TLS: TLS{CA: test.ca}}, Settings{}, nil, "udp://127.0.0.2:0")
		client.add("tls", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 5061}, func() error { return nil })
		peer := server.at("tls")
		peer.Host = test.host
		out, err := client.UA.Invite(Invite{Peer: peer, Trunk: "peer", Called: "100", MaxForwards: 70, Body: []byte(someSDP)})
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, out, Failed); !errors.As(e.Err, test.want) || !errors.Is(e.Err, ErrNotSent) {
			t.Errorf("%s: got %v", name, e.Err)
		}
	}
}

// A trunk may want certificates of its peers; one without is not let in, nor one whose
// certificate names nobody of the trunk, or not whom the configuration names.
func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	wanting := TLS{VerifyClient: true}
	server := newParty(t, Config{TLS: a.issue("server", "pbx.example")}, Settings{TLS: &wanting, Hosts: []string{"192.0.2.7", "us.example"}}, nil, "tls://127.0.0.1:0")
	with := newParty(t, Config{TLS: a.issue("client", "us.example"), TryTimeout: time.Second}, Settings{}, nil, "tls://127.0.0.2:0")
	peer := server.at("tls")
	peer.Host = "pbx.example"
	converse(t, with, server, peer, someSDP)
	without := newParty(t, Config{TLS: a.issue("nobody", "x.example"), TryTimeout: time.Second}, Settings{}, nil, "tls://127.0.0.3:0")
	without.cfg.TLS = TLS{CA: a.file}
	misnamed := newParty(t, Config{TLS: a.issue("other", "other.example"), TryTimeout: time.Second}, Settings{}, nil, "tls://127.0.0.4:0")
	refused := func(from *party) {
		t.Helper()
		out, err := from.UA.Invite(Invite{Peer: peer, Trunk: "peer", Called: "100", MaxForwards: 70, Body: []byte(someSDP)})
		if err != nil {
			t.Fatal(err)
		}
		next(t, out, Failed)
	}
	refused(without)
	refused(misnamed)
	server = newParty(t, Config{TLS: a.issue("server", "pbx.example")}, Settings{TLS: &TLS{VerifyClient: true, ServerName: "other.example"}, Hosts: []string{"us.example"}}, nil, "tls://127.0.0.1:0")
	peer.Addr = server.at("tls").Addr
	refused(with)
	converse(t, misnamed, server, peer, someSDP)
}

// A certificate names a host by name, address, or URI.
func TestNaming(t *testing.T) {
	domain, _ := url.Parse("sip:carrier.example")
	user, _ := url.Parse("sip:us@user.example")
	c := &x509.Certificate{DNSNames: []string{"a.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, URIs: []*url.URL{domain, user}}
	for hosts, want := range map[string]bool{
		"A.example": true, "x.example a.example": true, "192.0.2.1": true, "Carrier.example": true,
		"": false, "user.example": false, "192.0.2.2": false, "b.example": false, "example": false,
	} {
		if err := naming(c, strings.Split(hosts, " ")); (err == nil) != want {
			t.Errorf("%q: got %v, want it named: %v", hosts, err, want)
		}
	}
}

// A connection that is opened again in a dialog, to where the Contact says, is verified by the
// names of the trunk's peers.
func TestTLSReconnects(t *testing.T) {
	a := newAuthority(t)
	server := newParty(t, Config{TLS: a.issue("server", "us.example")}, Settings{Hosts: []string{"other.example", "pbx.example"}}, nil, "tls://127.0.0.1:0")
	client := newParty(t, Config{TLS: a.issue("client", "pbx.example")}, Settings{Hosts: []string{"us.example"}}, nil, "tls://127.0.0.2:0")
	peer := server.at("tls")
	peer.Host = "us.example"
	out, err := client.UA.Invite(Invite{Peer: peer, Trunk: "peer", Called: "100", From: Party{User: "200"}, MaxForwards: 70, Body: []byte(someSDP)})
	if err != nil {
		t.Fatal(err)
	}
	in := <-server.legs
	in.Answer([]byte(otherSDP))
	next(t, out, Answered)
	next(t, in, Confirmed)
	for conn := client.transport.Pool("tls").Get(peer.Addr.String()); conn != nil; conn = client.transport.Pool("tls").Get(peer.Addr.String()) {
		conn.Close()
		runtime.Gosched()
	}
	for server.isConnected(in.Peer()) {
		runtime.Gosched()
	}
	in.Ask(&Request{Method: "INFO", ContentType: "application/dtmf", Body: []byte("1")})
	next(t, out, Requested).Request.Reply(200, "OK")
	if e := next(t, in, Replied); e.Code != 200 {
		t.Errorf("got %d, want an answer by a new connection", e.Code)
	}
	out.Hangup(0, "")
	next(t, in, Ended)
}

// A certificate that is renewed on disk is shown from then on; a bad file keeps the old one.
func TestCertificateIsReloaded(t *testing.T) {
	a := newAuthority(t)
	cfg := a.issue("server", "one.example")
	i := &identity{cfg: cfg}
	load := func() string {
		i.checked = time.Time{}
		certificate, _, err := i.load(func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		leaf, _ := x509.ParseCertificate(certificate.Certificate[0])
		return leaf.DNSNames[0]
	}
	age := func(d time.Duration) {
		for _, f := range []string{cfg.Certificate, cfg.Key} {
			if err := os.Chtimes(f, time.Time{}, time.Now().Add(d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	age(-3 * time.Hour)
	if got := load(); got != "one.example" {
		t.Fatalf("got %q", got)
	}
	a.issue("server", "two.example")
	age(-2 * time.Hour)
	if got := load(); got != "two.example" {
		t.Errorf("got %q, want the renewed one", got)
	}
	os.WriteFile(cfg.Certificate, []byte("half a certif"), 0o600)
	age(-time.Hour)
	if got := load(); got != "two.example" {
		t.Errorf("got %q after a bad file, want the old one", got)
	}
}

// An INVITE that is too large for a datagram goes by TCP where the peer has that, and the
// dialog with it; else the kernel takes it apart.
func TestLargeInvite(t *testing.T) {
	large := someSDP + strings.Repeat("a=x-padding:0123456789012345678901234567890123456789\r\n", 40)
	client := newParty(t, Config{}, Settings{}, nil, "udp://127.0.0.2:0", "tcp://127.0.0.2:0")
	var both *party
	var udp Peer
	for range 20 { // until one port is free for both
		both = newParty(t, Config{}, Settings{}, nil, "udp://127.0.0.1:0")
		udp = both.at("udp")
		if conn, err := net.Listen("tcp", udp.Addr.String()); err == nil {
			both.serveStream("tcp", conn)
			break
		}
	}
	udp.MayUseTCP = true
	if in, _ := converse(t, client, both, udp, large); in.Peer().Transport != "tcp" {
		t.Errorf("got it over %s, want tcp", in.Peer().Transport)
	}
	if in, _ := converse(t, client, both, udp, someSDP); in.Peer().Transport != "udp" {
		t.Errorf("got a small one over %s, want udp", in.Peer().Transport)
	}
	only := newParty(t, Config{}, Settings{}, nil, "udp://127.0.0.3:0")
	udp = only.at("udp")
	udp.MayUseTCP = true
	if in, _ := converse(t, client, only, udp, large); in.Peer().Transport != "udp" {
		t.Errorf("got it over %s, want udp: the peer has no TCP", in.Peer().Transport)
	}
}

// A closed port is found out by ICMP at once, and nobody else's call suffers from it.
func TestPortUnreachable(t *testing.T) {
	client := newParty(t, Config{}, Settings{}, nil, "udp://127.0.0.2:0")
	server := newParty(t, Config{}, Settings{}, nil, "udp://127.0.0.1:0")
	closed, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := addrPort(closed.LocalAddr())
	closed.Close()
	for range 5 {
		out, err := client.UA.Invite(Invite{Peer: Peer{Transport: "udp", Host: "127.0.0.1", Addr: addr}, Trunk: "peer", Called: "100", MaxForwards: 70, Body: []byte(someSDP)})
		if err != nil {
			t.Fatal(err)
		}
		converse(t, client, server, server.at("udp"), someSDP)
		if e := next(t, out, Failed); !errors.Is(e.Err, ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", e.Err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := client.Options(ctx, Peer{Transport: "udp", Host: "127.0.0.1", Addr: addr}, Credentials{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v for OPTIONS, want ErrUnreachable", err)
	}
	client.routes.mu.Lock()
	defer client.routes.mu.Unlock()
	if n := len(client.routes.waiting[addr]); n != 0 {
		t.Errorf("got %d still waiting for that address, want 0", n)
	}
}

// A stranger's connection is closed before it says anything; one that insists is banned.
func TestStrangersConnection(t *testing.T) {
	server := newParty(t, Config{Ban: Ban{After: 3}}, Settings{}, nil, "tcp://127.0.0.1:0")
	server.estrange("127.0.0.1")
	for range 6 {
		conn, err := net.Dial("tcp4", server.at("tcp").Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the connection closed", err)
		}
		conn.Close()
	}
	if n := server.strangers.count(); n != 1 {
		t.Errorf("got %d banned, want 1", n)
	}
}

// estrange makes an address a stranger's.
func (p *party) estrange(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.strange[addr] = true
}

// A flood of strangers costs no memory that stays, and no allocation once they are banned.
func TestStrangersFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := strangers{cfg: Ban{After: 2, For: time.Hour}, known: map[netip.Addr]*stranger{}}
		for i := range 100_000 {
			s.came(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), time.Now())
		}
		if n := len(s.known); n > maxStrangers {
			t.Errorf("got %d remembered, want %d at most", n, maxStrangers)
		}
		time.Sleep(2 * time.Minute)
		one := netip.MustParseAddr("192.0.2.9")
		banned := 0
		for range 5 {
			if s.came(one, time.Now()) {
				banned++
			}
		}
		if banned != 1 || !s.isBanned(one, time.Now()) || len(s.known) != 1 {
			t.Errorf("got banned %d times, %d remembered; want once, and nobody else", banned, len(s.known))
		}
		now := time.Now()
		if n := testing.AllocsPerRun(100, func() { s.isBanned(one, now) }); n != 0 {
			t.Errorf("got %v allocations, want 0", n)
		}
		time.Sleep(time.Hour)
		if s.isBanned(one, time.Now()) {
			t.Error("got a ban that does not end")
		}
	})
}

// Somebody who sends a byte now and then does not keep a connection for ever.
func TestSlowLoris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := &stream{Conn: ours}
		go func() { // ends when the pipe does
			for {
				if _, err := theirs.Write([]byte("O")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		b := make([]byte, 100)
		for {
			if _, err := s.Read(b); err != nil {
				break
			}
		}
		if held := time.Since(began); held != messageTime {
			t.Errorf("got the connection closed after %v, want %v", held, messageTime)
		}
		theirs.Close()
		time.Sleep(2 * time.Second) // of the bubble's: the other end notices
	})
}

// A peer that does not read is given up, and holds nobody up for longer.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		s := &stream{Conn: ours}
		began := time.Now()
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("got a write to nobody")
		}
		if held := time.Since(began); held != writeTime {
			t.Errorf("got it given up after %v, want %v", held, writeTime)
		}
	})
}

// One address has so many connections and no more.
func TestManyConnections(t *testing.T) {
	server := newParty(t, Config{}, Settings{}, nil, "tcp://127.0.0.1:0")
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range streamsPerSource + 5 {
		c, err := net.Dial("tcp4", server.at("tcp").Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	last := conns[len(conns)-1]
	last.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := last.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("got %v, want the connection closed", err)
	}
	// The first still gets service.
	fmt.Fprintf(conns[0], "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	conns[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	if line, err := bufio.NewReader(conns[0]).ReadString('\n'); err != nil || !strings.HasPrefix(line, "SIP/2.0 200") {
		t.Errorf("got %q, %v", line, err)
	}
}

// What a message says is never logged, however broken it is.
func TestNothingIsQuoted(t *testing.T) {
	var mu sync.Mutex
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	server := newParty(t, Config{}, Settings{}, log, "udp://127.0.0.1:0", "tcp://127.0.0.1:0")
	const secret = "31612345678"
	for _, text := range []string{
		"INVITE sip:" + secret + "@x SIP/2.0\r\nVia: nonsense " + secret + "\r\n\r\n",
		"garbage " + secret + "\r\n\r\n",
		"INVITE sip:" + secret + "@x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\r\nCSeq: x" + secret + "\r\nContent-Length: 0\r\n\r\n",
		"INFO sip:" + secret + "@x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nFrom: <" + secret + "\r\nContent-Length: 0\r\n\r\n",
		"SIP/2.0 200 " + secret + "\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\r\nTo: " + secret + "\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
	} {
		for _, network := range []string{"udp4", "tcp4"} {
			conn, err := net.Dial(network, server.at(network[:3]).Addr.String())
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, text)
			conn.Close()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	asker := newParty(t, Config{}, Settings{}, nil, "udp://127.0.0.1:0")
	if code, err := asker.Options(ctx, server.at("udp"), Credentials{}); code != 200 {
		t.Errorf("got %d, %v after all that", code, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(logged.String(), secret) {
		t.Errorf("got a number in the log:\n%s", logged.String())
	}
	if !strings.Contains(logged.String(), "sip message not read") {
		t.Errorf("got nothing logged, want to hear of broken messages:\n%s", logged.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
