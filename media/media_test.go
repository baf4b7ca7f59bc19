package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/media/rtp"
)

var loopback = [2]Where{{Known: netip.MustParseAddr("127.0.0.1")}, {Known: netip.MustParseAddr("127.0.0.1")}}

// T is a test that one engine is put to.
type T struct {
	*testing.T
	engine string
}

// eachEngine puts every engine to a test: what they do is the same.
func eachEngine(t *testing.T, test func(t T)) {
	for _, engine := range slices.Compact([]string{EnginePortable, defaultEngine}) {
		t.Run(engine, func(t *testing.T) { test(T{t, engine}) })
	}
}

func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if t, ok := t.(T); ok {
		cfg.Engine = t.engine
	}
	e, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// peer is a socket at the other end of a leg.
type peer struct {
	testing.TB
	rtp, rtcp *net.UDPConn
	to        netip.AddrPort
	ssrc      uint32
	sequence  uint16
	timestamp uint32
}

func newPeer(t testing.TB, s *Session, leg rtp.Leg) *peer {
	t.Helper()
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	p := &peer{TB: t, rtp: listen(), rtcp: listen(), to: s.Local(leg), ssrc: uint32(leg) + 100, sequence: 65530, timestamp: 4294967000}
	s.Events(leg, []uint8{101})
	if err := s.Connect(leg, Remote{RTP: addr(p.rtp), RTCP: addr(p.rtcp)}); err != nil {
		t.Fatal(err)
	}
	return p
}

func addr(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// packet makes the peer's next packet.
func (p *peer) packet(payloadType uint8, payload ...byte) []byte {
	b := make([]byte, rtp.HeaderBytes, rtp.HeaderBytes+len(payload))
	rtp.PutHeader(b, rtp.Header{PayloadType: payloadType, Sequence: p.sequence, Timestamp: p.timestamp, SSRC: p.ssrc})
	p.sequence++
	p.timestamp += 160
	return append(b, payload...)
}

func (p *peer) send(b []byte) {
	p.Helper()
	if _, err := p.rtp.WriteToUDPAddrPort(b, p.to); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) receive() (rtp.Header, []byte) {
	p.Helper()
	b := make([]byte, 2048)
	p.rtp.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := p.rtp.ReadFromUDPAddrPort(b)
	if err != nil {
		p.Fatal(err)
	}
	h, err := rtp.Parse(b[:n])
	if err != nil {
		p.Fatal(err)
	}
	return h, b[h.PayloadOffset:h.PayloadEnd]
}

// receiverReport is a report of one block on a stream (RFC 3550 §6.4.2); lost is in
// 256ths.
func receiverReport(ssrc, highest uint32, lost byte) []byte {
	b := make([]byte, 32)
	b[0], b[1], b[3], b[7], b[12] = 2<<6|1, 201, 7, 1, lost
	binary.BigEndian.PutUint32(b[8:], ssrc)
	binary.BigEndian.PutUint32(b[16:], highest)
	return b
}

func openSession(t testing.TB) (*Session, *peer, *peer) {
	t.Helper()
	s, err := newEngine(t, Config{}).Open(loopback)
	if err != nil {
		t.Fatal(err)
	}
	return s, newPeer(t, s, rtp.Caller), newPeer(t, s, rtp.Callee)
}

// What a peer sends reaches the other under our SSRC, with its distances kept, over the
// wrap of sequence numbers and timestamps; a change of the sender makes no jump.
func TestRelay(t *testing.T) { eachEngine(t, testRelay) }

func testRelay(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	var first, last rtp.Header
	for i := range 10 {
		caller.send(caller.packet(8, byte(i)))
		h, payload := callee.receive()
		if len(payload) != 1 || payload[0] != byte(i) {
			t.Fatalf("got payload %v, want %d", payload, i)
		}
		if i == 0 {
			first = h
			if !h.Marker {
				t.Error("got no marker on the first packet")
			}
		}
		if h.SSRC != first.SSRC || h.Sequence != first.Sequence+uint16(i) || h.Timestamp != first.Timestamp+uint32(160*i) {
			t.Errorf("got %+v as packet %d after %+v", h, i, first)
		}
		last = h
	}
	caller.ssrc, caller.sequence, caller.timestamp = 7, 1000, 0
	caller.send(caller.packet(8, 42))
	h, _ := callee.receive()
	if h.SSRC != last.SSRC || h.Sequence != last.Sequence+1 || !h.Marker {
		t.Errorf("got %+v after a change of sender, want it to follow %+v", h, last)
	}
	if gap := h.Timestamp - last.Timestamp; gap > 8000 {
		t.Errorf("got a jump of %d ticks after a change of sender, want no more than time went on", gap)
	}
}

// Only the negotiated peer is heard: another address never, another port of his
// address only if it comes first, and until a new negotiation.
func TestLatch(t *testing.T) { eachEngine(t, testLatch) }

func testLatch(t T) {
	s, caller, _ := openSession(t)
	l := &s.legs[rtp.Caller]
	stranger := netip.MustParseAddrPort("127.0.0.9:4000")
	if l.admit(stranger) {
		t.Error("a stranger was let in")
	}
	elsewhere := netip.AddrPortFrom(addr(caller.rtp).Addr(), 9)
	if !l.admit(elsewhere) || *l.to.Load() != elsewhere {
		t.Error("the peer's other port was not latched")
	}
	if l.admit(netip.AddrPortFrom(addr(caller.rtp).Addr(), 10)) {
		t.Error("a third port was let in")
	}
	if !l.admit(addr(caller.rtp)) || l.admit(elsewhere) {
		t.Error("who sends from where he said did not take the latch back for good")
	}
	if err := s.Connect(rtp.Caller, Remote{RTP: addr(caller.rtp), RTCP: addr(caller.rtcp)}); err != nil {
		t.Fatal(err)
	}
	if l.admit(elsewhere) {
		t.Error("the same negotiation opened the latch")
	}
	if err := s.Connect(rtp.Caller, Remote{RTP: stranger, RTCP: stranger}); err != nil {
		t.Fatal(err)
	}
	if !l.admit(stranger) {
		t.Error("a new negotiation did not open the latch")
	}
	if err := s.Connect(rtp.Caller, Remote{RTP: addr(caller.rtp), NAT: true}); err != nil {
		t.Fatal(err)
	}
	if !l.admit(netip.MustParseAddrPort("192.0.2.1:1")) || l.admit(netip.MustParseAddrPort("192.0.2.2:1")) {
		t.Error("behind NAT, not the first source and only it was let in")
	}
}

// A peer on hold with 0.0.0.0 gets nothing, may still send, and gets packets again when
// it resumes.
func TestHold(t *testing.T) { eachEngine(t, testHold) }

func testHold(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	nowhere := netip.AddrPortFrom(netip.IPv4Unspecified(), 4000)
	if err := s.Connect(rtp.Callee, Remote{RTP: nowhere, RTCP: nowhere}); err != nil {
		t.Fatal(err)
	}
	caller.send(caller.packet(8, 1))
	caller.send([]byte{0})                        // nothing that is relayed
	for s.Stats().Legs[rtp.Caller].Invalid == 0 { // so all before it is done with
		runtime.Gosched()
	}
	callee.send(callee.packet(8, 7))
	if _, payload := caller.receive(); payload[0] != 7 {
		t.Errorf("got %v from who holds, want his packet", payload)
	}
	if err := s.Connect(rtp.Callee, Remote{RTP: addr(callee.rtp), RTCP: addr(callee.rtcp)}); err != nil {
		t.Fatal(err)
	}
	caller.send(caller.packet(8, 9))
	if _, payload := callee.receive(); payload[0] != 9 {
		t.Errorf("got %v after the hold, want the first packet since", payload)
	}
}

// A prompt's packets go out under the stream's own numbers, and relayed packets go on
// from them; while it plays, nothing is relayed.
func TestPlay(t *testing.T) { eachEngine(t, testPlay) }

func testPlay(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Callee, true)
	p, err := s.Play(rtp.Caller, Frames{PayloadType: 8, Samples: 160, Payloads: [][]byte{{1}, {2}, {3}}})
	if err != nil {
		t.Fatal(err)
	}
	callee.send(callee.packet(8, 99))
	var first rtp.Header
	for i := range 3 {
		h, payload := caller.receive()
		if payload[0] != byte(i+1) {
			t.Fatalf("got payload %v as packet %d of the prompt", payload, i)
		}
		if i == 0 {
			first = h
		}
		if h.Sequence != first.Sequence+uint16(i) || h.Timestamp != first.Timestamp+uint32(i*160) || h.Marker != (i == 0) {
			t.Errorf("got %+v as packet %d after %+v", h, i, first)
		}
	}
	<-p.Done()
	got := p.Result()
	if !got.Complete || got.Packets != 3 || got.FirstSequence != first.Sequence || got.LastSequence != first.Sequence+2 || got.Interruptions != 0 {
		t.Errorf("got %+v, want 3 packets from %d, complete", got, first.Sequence)
	}
	callee.send(callee.packet(8, 100))
	if h, payload := caller.receive(); payload[0] != 100 || h.Sequence != first.Sequence+3 || h.SSRC != first.SSRC || !h.Marker {
		t.Errorf("got %+v %v after the prompt, want the stream to go on", h, payload)
	}
}

// A prompt that is stopped is not complete, and the stream is free again.
func TestPlayInterrupted(t *testing.T) { eachEngine(t, testPlayInterrupted) }

func testPlayInterrupted(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Callee, true)
	p, err := s.Play(rtp.Caller, Frames{PayloadType: 8, Samples: 160, Payloads: make([][]byte, 500)})
	if err != nil {
		t.Fatal(err)
	}
	caller.receive()
	p.Stop()
	<-p.Done()
	if got := p.Result(); got.Complete || got.Interruptions != 1 || got.Total != 500 {
		t.Errorf("got %+v, want it interrupted", got)
	}
	callee.send(callee.packet(8, 1, 2))
	for {
		if _, payload := caller.receive(); len(payload) == 2 {
			return
		}
	}
}

// Each key is told once, and its packets leave only their place in the tap.
func TestKeys(t *testing.T) { eachEngine(t, testKeys) }

func testKeys(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	tap := NewTap(4096)
	s.Capture(tap)
	stamp := caller.timestamp
	for i := range 5 {
		b := caller.packet(101, 9, 0x8a, 0, byte(i)) // an end, three times and more
		rtp.SetTimestamp(b, stamp)
		caller.send(b)
		callee.receive()
	}
	if k := <-s.Keys(); k.Leg != rtp.Caller || k.Digit != '9' {
		t.Errorf("got key %c of %v, want 9 of the caller", k.Digit, k.Leg)
	}
	select {
	case k := <-s.Keys():
		t.Errorf("got key %c again", k.Digit)
	default:
	}
	n := 0
	tap.Drain(func(_ rtp.Leg, batch []byte) error {
		for len(batch) > 0 {
			_, packet, rest, err := rtp.NextCaptured(batch)
			if err != nil {
				t.Fatal(err)
			}
			if len(packet) != rtp.HeaderBytes {
				t.Errorf("got %d bytes of a key in the tap, want its header only", len(packet))
			}
			n, batch = n+1, rest
		}
		return nil
	})
	if n != 5 {
		t.Errorf("got %d packets in the tap, want 5", n)
	}
}

// Packets from the peer during the prompt show that the path is alive; the first receiver
// report that covers its last packet, and not much more, confirms it.
func TestEvidence(t *testing.T) { eachEngine(t, testEvidence) }

func testEvidence(t T) {
	s, caller, _ := openSession(t)
	play := func() *Playback {
		p, err := s.Play(rtp.Caller, Frames{PayloadType: 8, Samples: 160, Payloads: slices.Repeat([][]byte{{1}}, 15)})
		if err != nil {
			t.Fatal(err)
		}
		for h, _ := caller.receive(); !h.Marker; h, _ = caller.receive() { // what is left of the one before
		}
		return p
	}
	evidence := func() LegStats { return s.Stats().Legs[rtp.Caller] }
	p := play()
	<-p.Done()
	caller.send(caller.packet(8, 1))
	for evidence().Received == 0 {
		runtime.Gosched()
	}
	if st := evidence(); st.HeardDuring || st.Acknowledged {
		t.Errorf("got %+v when a packet came after the prompt", st)
	}
	p = play()
	caller.send(caller.packet(8, 1))
	<-p.Done()
	if st := evidence(); !st.HeardDuring {
		t.Errorf("got %+v when a packet came during the prompt", st)
	}
	last := 1<<16 | uint32(p.Result().LastSequence)
	for _, r := range []struct {
		highest uint32
		lost    byte
		want    bool
	}{{last - 1, 0, false}, {last + 501, 0, false}, {last + 40000, 0, false}, {last + 500, 64, true}, {last, 0, true}} {
		s.read(letter{leg: rtp.Caller, at: time.Now(), b: receiverReport(p.Result().SSRC, r.highest, r.lost)})
		if st := evidence(); st.Acknowledged != r.want || r.want && st.AcknowledgedLoss != 0.25 {
			t.Errorf("got %+v after a report %d beyond the prompt, want %v, by the first that covers it", st, int(r.highest)-int(last), r.want)
		}
	}
	p = play() // in silence, but for what comes while the ringing tone plays after it
	<-p.Done()
	s.read(letter{leg: rtp.Caller, at: time.Now(), b: receiverReport(p.Result().SSRC, 1<<16|uint32(p.Result().LastSequence), 0)})
	tone, err := s.Play(rtp.Caller, Frames{PayloadType: 8, Samples: 160, Payloads: [][]byte{{1}, {2}, {3}}, Tone: true})
	if err != nil {
		t.Fatal(err)
	}
	caller.send(caller.packet(8, 1))
	<-tone.Done()
	if st := evidence(); st.HeardDuring || !st.Acknowledged {
		t.Errorf("got %+v after a ringing tone, want what was known of the prompt", st)
	}
}

// Ports are even, are not used again at once, and run out with a name.
func TestPorts(t *testing.T) { eachEngine(t, testPorts) }

func testPorts(t T) {
	e := newEngine(t, Config{Ports: Ports{21001, 21006}}) // 21002 and 21004
	s, err := e.Open(loopback)
	if err != nil {
		t.Fatal(err)
	}
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		if port := s.Local(leg).Port(); port%2 != 0 {
			t.Errorf("got port %d, want an even one", port)
		}
	}
	if _, err := e.Open(loopback); !errors.Is(err, ErrNoPorts) {
		t.Errorf("got %v, want ErrNoPorts", err)
	}
	if used, exhausted := e.ports.counts(); used != 2 || exhausted != 1 {
		t.Errorf("got %d pairs in use and %d times none after a failed opening, want 2 and 1", used, exhausted)
	}
	first := s.Close()
	if second := s.Close(); first != second {
		t.Errorf("got %+v at a second close, want %+v", second, first)
	}
	if _, err := e.Open(loopback); !errors.Is(err, ErrNoPorts) {
		t.Errorf("got %v for ports that rest, want ErrNoPorts", err)
	}
	if used, _ := e.ports.counts(); used != 0 {
		t.Errorf("got %d pairs in use, want 0", used)
	}
}

// Whatever is put into a tap comes out once, in order and whole, or is counted as
// dropped; drains at any moment.
func TestTapKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tap := NewTap(rapid.IntRange(64, 512).Draw(t, "room"))
		var want, got [][]byte
		var dropped uint64
		drain := func() {
			tap.Drain(func(leg rtp.Leg, batch []byte) error {
				if leg != rtp.Callee {
					t.Fatalf("got a batch of the %v", leg)
				}
				for len(batch) > 0 {
					_, packet, rest, err := rtp.NextCaptured(batch)
					if err != nil {
						t.Fatal(err)
					}
					got, batch = append(got, bytes.Clone(packet)), rest
				}
				return nil
			})
		}
		for i := range rapid.IntRange(0, 200).Draw(t, "packets") {
			b := make([]byte, rapid.IntRange(8, 60).Draw(t, "bytes"))
			binary.BigEndian.PutUint64(b, uint64(i))
			if tap.legs[rtp.Callee].put(int64(i), b) {
				want = append(want, b)
			} else {
				dropped++
			}
			switch rapid.IntRange(0, 30).Draw(t, "then") {
			case 0, 1, 2, 3, 4, 5, 6, 7:
				drain()
			case 8:
				tap.Grow(rapid.IntRange(64, 1024).Draw(t, "more room"))
			}
		}
		drain()
		if len(got) != len(want) || tap.Dropped() != [2]uint64{0, dropped} {
			t.Fatalf("got %d packets and %v dropped, want %d and %d", len(got), tap.Dropped(), len(want), dropped)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("got %v as packet %d, want %v", got[i], i, want[i])
			}
		}
	})
}

// The way of a packet does not allocate, with a capture or without.
func TestStepDoesNotAllocate(t *testing.T) { eachEngine(t, testStepDoesNotAllocate) }

func testStepDoesNotAllocate(t T) {
	s, caller, _ := openSession(t)
	s.Relay(rtp.Caller, true)
	from, b := addr(caller.rtp), caller.packet(8, make([]byte, 160)...)
	s.step(rtp.Caller, from, 1, b) // latches
	for _, tap := range []*Tap{nil, NewTap(1 << 20)} {
		s.Capture(tap)
		n := testing.AllocsPerRun(1000, func() { s.step(rtp.Caller, from, time.Now().UnixNano(), b) })
		if n != 0 {
			t.Errorf("got %v allocations a packet, with capture %v, want 0", n, tap != nil)
		}
	}
}

// Nothing that comes in brings the relay down, and what is sent on is RTP.
func FuzzStep(f *testing.F) {
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
	for leg := range s.legs {
		if err := s.Connect(rtp.Leg(leg), Remote{RTP: from, RTCP: from}); err != nil {
			f.Fatal(err)
		}
		s.Relay(rtp.Leg(leg), true)
	}
	tap := NewTap(4096)
	s.Capture(tap)
	f.Add([]byte{0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xd5})
	f.Add([]byte{0x80, 0x80 | 101, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9, 0x8a, 0, 160})
	f.Add([]byte{0xb0, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 0xd5, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxDatagram {
			return
		}
		s.control(rtp.Caller, from, bytes.Clone(b))
		if out, to := s.step(rtp.Caller, from, 1, b); to.IsValid() {
			if _, err := rtp.Parse(out); err != nil {
				t.Errorf("sent on what is not RTP: %v", err)
			}
		}
		tap.Drain(func(rtp.Leg, []byte) error { return nil })
		select {
		case <-s.keys:
		default:
		}
	})
}

func BenchmarkStep(b *testing.B) {
	for name, tap := range map[string]*Tap{"relay": nil, "capture": NewTap(32 << 10)} {
		b.Run(name, func(b *testing.B) {
			s, caller, _ := openSession(b)
			s.Relay(rtp.Caller, true)
			s.Capture(tap)
			from, packet := addr(caller.rtp), caller.packet(8, make([]byte, 160)...)
			b.ReportAllocs()
			for b.Loop() {
				s.step(rtp.Caller, from, 1, packet)
				if tap != nil {
					tap.Drain(func(rtp.Leg, []byte) error { return nil })
				}
			}
		})
	}
}

// BenchmarkForward is a packet from socket to socket, the kernel's part included.
func BenchmarkForward(b *testing.B) {
	s, caller, callee := openSession(b)
	s.Relay(rtp.Caller, true)
	packet := caller.packet(8, make([]byte, 160)...)
	buf := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		caller.send(packet)
		if _, _, err := callee.rtp.ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
	}
}
