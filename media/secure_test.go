package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/srtp"
)

// securePeer is a peer whose packets are protected.
type securePeer struct {
	*peer
	leg rtp.Leg
	in  srtp.In
	out srtp.Out

	early [][]byte // packets that came before the handshake's last words
}

// secured makes a peer's leg be protected by keys of a suite, as descriptions bring them.
func secured(s *Session, p *peer, leg rtp.Leg, suite srtp.Suite) *securePeer {
	p.Helper()
	sp := &securePeer{peer: p, leg: leg}
	sp.rekey(s, srtp.NewKey(suite), srtp.NewKey(suite))
	return sp
}

// rekey has keys hold: theirs for what the peer sends, ours for what it gets.
func (p *securePeer) rekey(s *Session, theirs, ours srtp.Key) {
	p.Helper()
	if _, err := p.out.Rekey(theirs); err != nil {
		p.Fatal(err)
	}
	if err := p.in.Rekey(ours); err != nil {
		p.Fatal(err)
	}
	p.connect(s, &Secure{In: theirs, Out: ours})
}

func (p *securePeer) connect(s *Session, secure *Secure) {
	p.Helper()
	remote := Remote{RTP: addr(p.rtp), RTCP: addr(p.rtcp), Secure: secure}
	if secure != nil && secure.DTLS != nil {
		remote.Mux, remote.RTCP = true, remote.RTP
	}
	if err := s.Connect(p.leg, remote); err != nil {
		p.Fatal(err)
	}
}

// protected is the peer's next packet.
func (p *securePeer) protected(payload ...byte) []byte {
	p.Helper()
	b, err := p.out.RTP(p.packet(8, payload...))
	if err != nil {
		p.Fatal(err)
	}
	return b
}

func (p *peer) datagram() []byte {
	p.Helper()
	b := make([]byte, 2048)
	p.rtp.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := p.rtp.ReadFromUDPAddrPort(b)
	if err != nil {
		p.Fatal(err)
	}
	return b[:n]
}

// receive takes the next packet that comes, which has to be protected.
func (p *securePeer) receive() (rtp.Header, []byte) {
	p.Helper()
	var next []byte
	if len(p.early) > 0 {
		next, p.early = p.early[0], p.early[1:]
	} else {
		next = p.datagram()
	}
	b, err := p.in.RTP(next)
	if err != nil {
		p.Fatal(err)
	}
	h, err := rtp.Parse(b)
	if err != nil {
		p.Fatal(err)
	}
	return h, b[h.PayloadOffset:h.PayloadEnd]
}

// acknowledged waits until a report of the caller's has told of the prompt's end.
func acknowledged(t *testing.T, s *Session) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !s.Stats().Legs[rtp.Caller].Acknowledged; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("a protected report does not count")
		}
	}
}

var everySuite = []srtp.Suite{srtp.AES128SHA80, srtp.AES128SHA32, srtp.AES128GCM, srtp.AES256GCM}

// A leg that is protected and one that is plain are heard by each other, in every suite;
// the tap gets plain packets.
func TestSecureRelay(t *testing.T) {
	for _, suite := range everySuite {
		t.Run(suite.String(), func(t *testing.T) {
			s, plain, callee := openSession(t)
			caller := secured(s, plain, rtp.Caller, suite)
			s.Relay(rtp.Caller, true)
			s.Relay(rtp.Callee, true)
			tap := NewTap(4096)
			s.Capture(tap)
			for i := range byte(3) {
				caller.send(caller.protected('a', i))
				if _, payload := callee.receive(); !bytes.Equal(payload, []byte{'a', i}) {
					t.Fatalf("got %v, want what the caller said", payload)
				}
				callee.send(callee.packet(8, 'b', i))
				if _, payload := caller.receive(); !bytes.Equal(payload, []byte{'b', i}) {
					t.Fatalf("got %v, want what the callee said", payload)
				}
			}
			var kept []byte
			tap.Drain(func(_ rtp.Leg, batch []byte) error { kept = append(kept, batch...); return nil })
			for _, want := range []string{"a\x00", "a\x02", "b\x00", "b\x02"} {
				if !strings.Contains(string(kept), want) {
					t.Errorf("the tap has not got %q plain", want)
				}
			}
		})
	}
}

// Two legs that are protected differently are heard by each other.
func TestSecureBothLegs(t *testing.T) {
	s, a, b := openSession(t)
	caller, callee := secured(s, a, rtp.Caller, srtp.AES128SHA80), secured(s, b, rtp.Callee, srtp.AES256GCM)
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	caller.send(caller.protected(1))
	if _, payload := callee.receive(); payload[0] != 1 {
		t.Errorf("got %v, want what the caller said", payload)
	}
	callee.send(callee.protected(2))
	if _, payload := caller.receive(); payload[0] != 2 {
		t.Errorf("got %v, want what the callee said", payload)
	}
}

// What is not authentic, came before, or is plain is counted, is not relayed and does not
// latch.
func TestSecureRefuses(t *testing.T) {
	s, plain, _ := openSession(t)
	caller := secured(s, plain, rtp.Caller, srtp.AES128SHA80)
	s.Relay(rtp.Caller, true)
	from := addr(caller.rtp)
	elsewhere := netip.AddrPortFrom(from.Addr(), 9)
	step := func(from netip.AddrPort, b []byte) bool {
		_, to := s.step(rtp.Caller, from, 1, b)
		return to.IsValid()
	}
	first := caller.protected(1)
	for name, b := range map[string][]byte{"plain": caller.packet(8, 1, 2, 3), "changed": append(bytes.Clone(first[:len(first)-1]), first[len(first)-1]^1)} {
		if step(elsewhere, b) {
			t.Errorf("what was %s was relayed", name)
		}
	}
	if l := &s.legs[rtp.Caller]; l.latched.IsValid() {
		t.Error("what is not authentic latched")
	}
	again := bytes.Clone(first)
	if !step(from, first) || step(from, again) {
		t.Error("not once and only once was a packet relayed")
	}
	if step(netip.MustParseAddrPort("127.0.0.9:1"), caller.protected(2)) {
		t.Error("what came from elsewhere was relayed")
	}
	step(from, []byte{22})
	step(from, []byte{22, 254, 253})
	step(from, []byte{0, 1, 2, 3})
	got := s.Stats().Legs[rtp.Caller]
	if got.Forged != 2 || got.Replayed != 1 || got.Rejected != 1 || got.Received != 1 || got.Unkeyed != 1 || got.Invalid != 2 {
		t.Errorf("got %+v", got)
	}
}

// Until keys are agreed nothing goes out, nothing comes in, and a prompt waits.
func TestSecurePending(t *testing.T) {
	s, plain, callee := openSession(t)
	caller := &securePeer{peer: plain, leg: rtp.Caller}
	caller.connect(s, &Secure{})
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	if _, to := s.step(rtp.Caller, addr(caller.rtp), 1, caller.packet(8, 1)); to.IsValid() {
		t.Error("a packet was relayed before the keys were agreed")
	}
	if _, to := s.step(rtp.Callee, addr(callee.rtp), 1, callee.packet(8, 1)); to.IsValid() {
		t.Error("a packet went out before the keys were agreed")
	}
	if got := s.Stats().Legs[rtp.Caller].Unkeyed; got != 2 {
		t.Errorf("got %d packets counted, want 2", got)
	}
	p, err := s.Play(rtp.Caller, Frames{PayloadType: 8, Samples: 160, Payloads: [][]byte{{1}, {2}, {3}}})
	if err != nil {
		t.Fatal(err)
	}
	runtime.Gosched()
	caller.rekey(s, srtp.NewKey(srtp.AES128GCM), srtp.NewKey(srtp.AES128GCM))
	var h rtp.Header
	for i := range byte(3) {
		var payload []byte
		if h, payload = caller.receive(); payload[0] != i+1 {
			t.Errorf("got %v of the prompt, want %d", payload, i+1)
		}
	}
	<-p.Done()
	if r := p.Result(); !r.Complete || r.SSRC != h.SSRC {
		t.Errorf("got %+v of a prompt that had to wait, want it complete, as %d", r, h.SSRC)
	}
	b, err := caller.out.RTCP(receiverReport(p.Result().SSRC, uint32(p.Result().LastSequence), 0))
	if err != nil {
		t.Fatal(err)
	}
	s.control(rtp.Caller, addr(caller.rtcp), b)
	acknowledged(t, s)
}

// A prompt begins once the peer is heard by the keys that are agreed, or a while after: he
// reads the last of what brings them after we have said it.
func TestPromptWaitsForPeersKeys(t *testing.T) {
	for name, test := range map[string]struct {
		heard bool
		waits time.Duration
	}{
		"silent": {false, keyGrace},
		"heard":  {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, plain, _ := openSession(t)
			caller := &securePeer{peer: plain, leg: rtp.Caller}
			caller.connect(s, &Secure{})
			p := newPlayback(s, rtp.Caller, Frames{PayloadType: 8, Samples: 160, Payloads: [][]byte{{1}}, Interval: 20 * time.Millisecond})
			now := p.next
			if !p.send(now) || !p.next.Equal(now.Add(20*time.Millisecond)) {
				t.Errorf("got %v until it is tried again without keys, want the next packet's time", p.next.Sub(now))
			}
			caller.rekey(s, srtp.NewKey(srtp.AES128GCM), srtp.NewKey(srtp.AES128GCM))
			l := &s.legs[rtp.Caller]
			agreed := l.secure.Load().agreedAt.Load()
			now = s.began.Add(time.Duration(agreed - s.beganAt))
			if !p.send(now) || p.Result().Packets != 0 {
				t.Errorf("got %d packets as soon as there are keys, want none", p.Result().Packets)
			}
			if test.heard {
				l.heardAt.Store(agreed + 1)
			}
			if p.send(now.Add(test.waits - 1)); (p.Result().Packets != 0) != test.heard {
				t.Errorf("got %d packets just before %v", p.Result().Packets, test.waits)
			}
			if p.send(now.Add(test.waits)); p.Result().Packets != 1 {
				t.Errorf("got %d packets after %v, want one", p.Result().Packets, test.waits)
			}
		})
	}
}

// The last words of a handshake may be lost, and are waited for longer than a description.
func TestPromptWaitsForHandshake(t *testing.T) {
	s, _, _ := openSession(t)
	l := &s.legs[rtp.Caller]
	sec := &secure{}
	sec.handshake.Store(&handshake{})
	defer sec.handshake.Store(nil)
	l.secure.Store(sec)
	if err := s.agree(rtp.Caller, sec, dtls, srtp.NewKey(srtp.AES128GCM), srtp.NewKey(srtp.AES128GCM), false); err != nil {
		t.Fatal(err)
	}
	agreed := sec.agreedAt.Load()
	if l.understands(agreed+int64(handshakeGrace)-1, false) || !l.understands(agreed+int64(handshakeGrace), false) {
		t.Errorf("the prompt does not wait %v", handshakeGrace)
	}
	if !l.understands(agreed, true) {
		t.Error("a tone waits")
	}
}

// Reports are protected as packets are: ours to the peer, and his to us.
func TestSecureReports(t *testing.T) {
	s, plain, callee := openSession(t)
	caller := secured(s, plain, rtp.Caller, srtp.AES128SHA32)
	s.Relay(rtp.Callee, true)
	callee.send(callee.packet(8, 1))
	caller.receive()
	s.sendReport(rtp.Caller, time.Now(), false)
	b := make([]byte, 2048)
	caller.rtcp.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := caller.rtcp.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := caller.in.RTCP(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	if ssrc := binary.BigEndian.Uint32(got[4:]); ssrc != s.legs[rtp.Caller].out.ssrc.Load() {
		t.Errorf("got a report of %d, want one of our stream", ssrc)
	}
	s.control(rtp.Caller, addr(caller.rtcp), receiverReport(1, 1, 0))
	if s.Stats().Legs[rtp.Caller].Forged != 1 {
		t.Error("a plain report was taken from a leg that is protected")
	}
}

// Where somebody else is at the other end, nothing passes by the keys that held before him.
func TestSecureForgets(t *testing.T) {
	s, plain, callee := openSession(t)
	caller := secured(s, plain, rtp.Caller, srtp.AES128SHA80)
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	caller.send(caller.protected(1))
	callee.receive()
	caller.connect(s, &Secure{})
	caller.send(caller.protected(2))
	callee.send(callee.packet(8, 3))
	for st := s.Stats(); st.Legs[rtp.Caller].Unkeyed < 2; st = s.Stats() { // one that came, one that was to go
		time.Sleep(time.Millisecond)
	}
}

// The same keys again change nothing, unless somebody else has them at the other end; new ones make our stream another, and packets go on.
func TestSecureRekey(t *testing.T) {
	s, plain, callee := openSession(t)
	caller := secured(s, plain, rtp.Caller, srtp.AES128SHA80)
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	say := func() uint32 {
		t.Helper()
		caller.send(caller.protected(1))
		callee.receive()
		callee.send(callee.packet(8, 2))
		h, _ := caller.receive()
		return h.SSRC
	}
	first := say()
	theirs, ours := srtp.NewKey(srtp.AES128GCM), srtp.NewKey(srtp.AES128GCM)
	caller.rekey(s, theirs, ours)
	second := say()
	if second == first {
		t.Error("the stream is the same by another key")
	}
	caller.rekey(s, theirs, ours)
	if again := say(); again != second {
		t.Error("the same key made the stream another")
	}
	caller.connect(s, &Secure{In: theirs, Out: ours, Renew: true})
	third := say()
	if third == second {
		t.Error("the stream is the same to another device")
	}
	// Plain, and protected again by the old key: its numbers must not be used twice.
	caller.connect(s, nil)
	callee.send(callee.packet(8, 2))
	if h, payload := caller.peer.receive(); h.SSRC != third || payload[0] != 2 {
		t.Errorf("got %+v, want a plain packet", h)
	}
	caller.in, caller.out = srtp.In{}, srtp.Out{}
	caller.rekey(s, theirs, ours)
	if again := say(); again == second {
		t.Error("a key was used for the same stream twice")
	}
}

// shake is the peer's end of a handshake.
func (p *securePeer) shake(identity *srtp.Identity, with srtp.Peer) (done func() error) {
	p.Helper()
	h, err := identity.Begin(with, func(b []byte) error { _, err := p.rtp.WriteToUDPAddrPort(b, p.to); return err })
	if err != nil {
		p.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	var running sync.WaitGroup
	ready := make(chan struct{})
	running.Go(func() { // ends with the keys
		b := make([]byte, 2048)
		for {
			select {
			case <-ready:
				return
			default:
			}
			p.rtp.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			n, _, err := p.rtp.ReadFromUDPAddrPort(b)
			switch {
			case err != nil:
			case b[0] < 64:
				h.Take(b[:n])
			default:
				p.early = append(p.early, bytes.Clone(b[:n]))
			}
		}
	})
	p.Cleanup(h.Close)
	return func() error {
		defer cancel()
		defer running.Wait()
		defer close(ready)
		in, out, err := h.Run(ctx)
		if err != nil {
			return err
		}
		if _, err := p.out.Rekey(out); err != nil {
			return err
		}
		return p.in.Rekey(in)
	}
}

func newIdentity(t testing.TB) *srtp.Identity {
	t.Helper()
	identity, err := srtp.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// A handshake agrees on keys, whoever begins; a prompt waits for that, and then all passes,
// reports among the packets. The same negotiation again is no other handshake.
func TestDTLS(t *testing.T) {
	for name, client := range map[string]bool{"we begin": true, "the peer begins": false} {
		t.Run(name, func(t *testing.T) {
			s, plain, callee := openSession(t)
			caller := &securePeer{peer: plain, leg: rtp.Caller}
			identity := newIdentity(t)
			s.Relay(rtp.Caller, true)
			s.Relay(rtp.Callee, true)
			done := caller.shake(identity, srtp.Peer{Fingerprints: []srtp.Fingerprint{s.engine.Fingerprint()}, Client: !client})
			secure := &Secure{DTLS: &DTLS{Peer: srtp.Peer{Fingerprints: []srtp.Fingerprint{identity.Fingerprint()}, Client: client}}}
			caller.connect(s, secure)
			caller.connect(s, secure)
			p, err := s.Play(rtp.Caller, Frames{PayloadType: 8, Samples: 160, Payloads: [][]byte{{1}, {2}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := done(); err != nil {
				t.Fatal(err)
			}
			for i := range byte(2) {
				if _, payload := caller.receive(); payload[0] != i+1 {
					t.Errorf("got %v of the prompt, want %d", payload, i+1)
				}
			}
			<-p.Done()
			h := s.legs[rtp.Caller].secure.Load().handshake.Load()
			caller.connect(s, secure)
			if s.legs[rtp.Caller].secure.Load().handshake.Load() != h {
				t.Error("the same negotiation made another handshake")
			}
			caller.send(caller.protected(7))
			if _, payload := callee.receive(); payload[0] != 7 {
				t.Errorf("got %v, want what the caller said", payload)
			}
			report, err := caller.out.RTCP(receiverReport(p.Result().SSRC, uint32(p.Result().LastSequence), 0))
			if err != nil {
				t.Fatal(err)
			}
			caller.send(report)
			acknowledged(t, s)
		})
	}
}

// Who has another certificate than was told of gets nothing, and the call hears of it.
func TestDTLSStranger(t *testing.T) {
	s, plain, callee := openSession(t)
	caller := &securePeer{peer: plain, leg: rtp.Caller}
	s.Relay(rtp.Callee, true)
	done := caller.shake(newIdentity(t), srtp.Peer{Fingerprints: []srtp.Fingerprint{s.engine.Fingerprint()}, Client: true})
	caller.connect(s, &Secure{DTLS: &DTLS{Peer: srtp.Peer{Fingerprints: []srtp.Fingerprint{newIdentity(t).Fingerprint()}}}})
	done() // it may think that it has keys, before our refusal is there
	if b := <-s.Broken(); b.Leg != rtp.Caller || b.Err == nil {
		t.Errorf("got %+v, want the caller's leg broken", b)
	}
	if _, to := s.step(rtp.Callee, addr(callee.rtp), 1, callee.packet(8, 1)); to.IsValid() {
		t.Error("a packet went to a stranger")
	}
}

// A session that closes in the middle of a handshake ends it, and the call hears nothing.
func TestDTLSCloses(t *testing.T) {
	s, plain, _ := openSession(t)
	caller := &securePeer{peer: plain, leg: rtp.Caller}
	caller.connect(s, &Secure{DTLS: &DTLS{Peer: srtp.Peer{Fingerprints: []srtp.Fingerprint{newIdentity(t).Fingerprint()}, Client: true}}})
	caller.datagram()
	caller.connect(s, &Secure{DTLS: &DTLS{Peer: srtp.Peer{Fingerprints: []srtp.Fingerprint{newIdentity(t).Fingerprint()}, Client: true}}})
	s.Close()
	select {
	case b := <-s.Broken():
		t.Errorf("got %+v of a session that was closed", b)
	default:
	}
}

// The way of a protected packet does not allocate, with a capture or without.
func TestSecureStepDoesNotAllocate(t *testing.T) {
	s, a, b := openSession(t)
	caller, callee := secured(s, a, rtp.Caller, srtp.AES128SHA80), secured(s, b, rtp.Callee, srtp.AES128GCM)
	s.Relay(rtp.Caller, true)
	from := addr(caller.rtp)
	_ = callee
	buf := make([]byte, maxDatagram)
	var packets [][]byte
	for range 2100 {
		packets = append(packets, caller.protected(make([]byte, 160)...))
	}
	next := 0
	step := func() {
		n := copy(buf, packets[next])
		next++
		if _, to := s.step(rtp.Caller, from, 1, buf[:n]); !to.IsValid() {
			t.Fatal("not relayed")
		}
	}
	step()
	for _, tap := range []*Tap{nil, NewTap(1 << 20)} {
		s.Capture(tap)
		if n := testing.AllocsPerRun(1000, step); n != 0 && !raced {
			t.Errorf("got %v allocations a packet, with capture %v, want 0", n, tap != nil)
		}
	}
}

// Nothing that comes in on a leg that is protected is relayed unless it is authentic.
func FuzzOpen(f *testing.F) {
	e, err := New(Config{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	s, err := e.Open(loopback)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	from := netip.MustParseAddrPort("127.0.0.1:9")
	secure := &Secure{In: srtp.NewKey(srtp.AES128GCM), Out: srtp.NewKey(srtp.AES128GCM)}
	if err := s.Connect(rtp.Caller, Remote{RTP: from, RTCP: from, Mux: true, Secure: secure}); err != nil {
		f.Fatal(err)
	}
	if err := s.Connect(rtp.Callee, Remote{RTP: from, RTCP: from}); err != nil {
		f.Fatal(err)
	}
	s.Relay(rtp.Caller, true)
	f.Add([]byte{0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xd5})
	f.Add([]byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xd5})
	f.Add([]byte{22, 254, 253, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxDatagram {
			return
		}
		s.control(rtp.Caller, from, bytes.Clone(b))
		if len(e.desk.letters) > 0 {
			t.Error("a report was taken that is not authentic")
		}
		if _, to := s.step(rtp.Caller, from, 1, b); to.IsValid() {
			t.Error("a packet was passed that is not authentic")
		}
	})
}

// BenchmarkSecureStep is the way from a leg that is protected to one that is, too.
func BenchmarkSecureStep(b *testing.B) {
	for _, suite := range everySuite {
		b.Run(suite.String(), func(b *testing.B) {
			s, x, y := openSession(b)
			caller := secured(s, x, rtp.Caller, suite)
			secured(s, y, rtp.Callee, suite)
			s.Relay(rtp.Caller, true)
			from, buf := addr(caller.rtp), make([]byte, maxDatagram)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				n := copy(buf, caller.protected(make([]byte, 160)...))
				b.StartTimer()
				s.step(rtp.Caller, from, 1, buf[:n])
			}
		})
	}
}

// A leg that goes from protected to plain is still heard by the old keys for a while, the
// peer's reports too; what it says plain meanwhile is heard as it is. How many packets came
// unprotected is told.
func TestSecureToPlain(t *testing.T) {
	for _, suite := range everySuite {
		t.Run(suite.String(), func(t *testing.T) {
			s, plain, callee := openSession(t)
			plain.send(plain.packet(8, 'x'))
			for s.Stats().Legs[rtp.Caller].Received == 0 {
				runtime.Gosched()
			}
			caller := secured(s, plain, rtp.Caller, suite)
			s.Relay(rtp.Caller, true)
			tap := NewTap(4096)
			s.Capture(tap)
			heard := func(b []byte, want ...byte) {
				t.Helper()
				caller.send(b)
				if _, payload := callee.receive(); !bytes.Equal(payload, want) {
					t.Fatalf("got %v, want %v", payload, want)
				}
			}
			heard(caller.protected('a', 1), 'a', 1)
			caller.connect(s, nil)
			heard(caller.protected('a', 2), 'a', 2)
			heard(caller.packet(8, 'a', 3), 'a', 3)
			heard(caller.protected('a', 4), 'a', 4)
			heard(caller.packet(8, 'a', 5), 'a', 5)
			said, err := rtp.Control{Reports: []rtp.Report{{SSRC: s.legs[rtp.Caller].out.ssrc.Load(), Jitter: 80}}}.Marshal(caller.ssrc, "caller")
			if err != nil {
				t.Fatal(err)
			}
			report, err := caller.out.RTCP(said)
			if err != nil {
				t.Fatal(err)
			}
			s.control(rtp.Caller, addr(caller.rtcp), report)
			for deadline := time.Now().Add(5 * time.Second); s.Stats().Legs[rtp.Caller].Peer.Jitter != 10*time.Millisecond; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatal("a report by the old keys does not count")
				}
			}
			st := s.Stats().Legs[rtp.Caller]
			if st.Invalid != 0 || st.Protection != "sdes "+suite.String() || st.Unprotected != 5 || st.Received != 6 {
				t.Errorf("got %+v, want a protection by %v, of six packets all but one while it was not", st, suite)
			}
			f := s.legs[rtp.Caller].former.Load()
			late := caller.protected('a', 6)
			if got := s.legs[rtp.Caller].late(f, f.until+1, late, f.in.RTP); !bytes.Equal(got, late) || s.legs[rtp.Caller].former.Load() != nil {
				t.Errorf("got the old keys tried when their time was over")
			}
		})
	}
}

// Whoever was never protected has nothing to tell of it; a handshake is told as such.
func TestProtectionIsTold(t *testing.T) {
	s, caller, _ := openSession(t)
	if got := s.Stats().Legs[rtp.Caller]; got.Protection != "" || got.Unprotected != 0 {
		t.Errorf("got %+v of a leg that is plain", got)
	}
	secured(s, caller, rtp.Caller, srtp.AES128GCM)
	if got := s.Stats().Legs[rtp.Caller].Protection; got != "sdes AEAD_AES_128_GCM" {
		t.Errorf("got %q", got)
	}
}
