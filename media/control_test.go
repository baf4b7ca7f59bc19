package media

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// nextControl reads the next compound packet, and the SSRC of who sent it.
func nextControl(t testing.TB, conn *net.UDPConn) (rtp.Control, uint32) {
	t.Helper()
	b := make([]byte, 1500)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := rtp.ParseControl(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	return c, uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
}

// Each leg gets reports of our own on what it sent and, with the sender's clock in ours, on
// what we sent; its own reports tell us the round trip; a BYE ends them.
func TestReports(t *testing.T) { eachEngine(t, testReports) }

func testReports(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	first := caller.packet(8, 1)
	h, _ := rtp.Parse(first)
	caller.send(first)
	callee.receive()
	caller.sequence += 2 // two are lost
	caller.send(caller.packet(8, 2))
	heard, _ := callee.receive()

	now := time.Now()
	clock := rtp.NTP(now.Add(-time.Hour)) // the caller's clock is wrong, and his own
	said, err := rtp.Control{Sender: &rtp.SenderReport{NTP: clock, Timestamp: h.Timestamp, Packets: 1, Octets: 1}}.Marshal(caller.ssrc, "caller")
	if err != nil {
		t.Fatal(err)
	}
	tap := NewTap(1 << 10)
	s.Capture(tap)
	s.read(letter{s, rtp.Caller, addr(caller.rtcp), now, said})
	s.read(letter{s, rtp.Caller, addr(caller.rtcp), now.Add(time.Second / 2), said}) // too soon to say something new
	want := rtp.Reported{Leg: rtp.Caller, At: s.at(now), SSRC: caller.ssrc, NTP: clock, Timestamp: h.Timestamp, Sender: 1}
	if got := tap.Reported(); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v for the recorder, want %+v alone", got, want)
	}
	other, _ := rtp.Control{Sender: &rtp.SenderReport{NTP: clock}}.Marshal(caller.ssrc, "another")
	for i := range 2 * maxReported {
		s.read(letter{s, rtp.Caller, addr(caller.rtcp), now.Add(time.Duration(2+i) * time.Second), other})
	}
	if got := tap.Reported(); len(got) != maxReported || got[0].Sender != 2 {
		t.Errorf("got %d reports of sender %d for the recorder, want %d of the second", len(got), got[0].Sender, maxReported)
	}
	s.Capture(nil)
	s.read(letter{s, rtp.Caller, addr(caller.rtcp), now, said})
	s.report(now.Add(time.Second), time.Minute)

	c, ssrc := nextControl(t, caller.rtcp)
	if c.Sender != nil || len(c.Reports) != 1 || ssrc != s.legs[rtp.Caller].out.ssrc.Load() {
		t.Fatalf("got %+v from %d to who sent alone, want a receiver report from %d", c, ssrc, s.legs[rtp.Caller].out.ssrc.Load())
	}
	if r := c.Reports[0]; r.SSRC != caller.ssrc || uint16(r.Highest) != caller.sequence-1 || r.TotalLost != 2 || r.Lost != 0.5 ||
		r.LastSR != rtp.Middle(clock) || r.Since != 65536 {
		t.Errorf("got %+v on two packets of four from %d, up to %d, one second after a report of %x", r, caller.ssrc, caller.sequence-1, rtp.Middle(clock))
	}
	c, _ = nextControl(t, callee.rtcp)
	if c.Sender == nil || len(c.Reports) != 0 || c.Sender.Packets != 2 || c.Sender.Octets != 2 {
		t.Fatalf("got %+v to who heard two packets of a byte, want a sender report on them", c)
	}
	// The receiver puts our timestamps on the caller's clock with it, as he would his.
	away := int64(int32(c.Sender.Timestamp-heard.Timestamp)) + 160*1 // since the caller's first packet
	since := rtp.NTPDuration(clock, c.Sender.NTP)
	if want := time.Duration(away) * time.Second / 8000; since < want-time.Millisecond || since > want+time.Millisecond {
		t.Errorf("got the caller's clock %v on at %d ticks, want %v", since, away, want)
	}
	answer, err := rtp.Control{Reports: []rtp.Report{{
		SSRC: s.legs[rtp.Callee].out.ssrc.Load(), Highest: 1, TotalLost: 7, Jitter: 80, LastSR: rtp.Middle(c.Sender.NTP), Since: rtp.Middles(100 * time.Millisecond),
	}}}.Marshal(callee.ssrc, "callee")
	if err != nil {
		t.Fatal(err)
	}
	s.read(letter{s, rtp.Callee, addr(callee.rtcp), now.Add(time.Second + 140*time.Millisecond), answer})
	peer := s.Stats().Legs[rtp.Callee].Peer
	if peer.Lost != 7 || peer.Of != 2 || peer.Jitter != 10*time.Millisecond || peer.RoundTrip < 39*time.Millisecond || peer.RoundTrip > 41*time.Millisecond {
		t.Errorf("got %+v, want 7 lost of 2, 10 ms of jitter and a round trip of 40 ms", peer)
	}
	s.Close()
	if c, _ = nextControl(t, callee.rtcp); !c.Bye {
		t.Errorf("got %+v at the end, want a BYE", c)
	}
}

// RTCP that comes in among the packets is taken, and ours goes there where that was agreed.
func TestMux(t *testing.T) { eachEngine(t, testMux) }

func testMux(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Callee, true)
	if err := s.Connect(rtp.Caller, Remote{RTP: addr(caller.rtp), Mux: true}); err != nil {
		t.Fatal(err)
	}
	callee.send(callee.packet(8, 1))
	caller.receive()
	caller.send(receiverReport(s.legs[rtp.Caller].out.ssrc.Load(), 5, 64))
	for s.Stats().Legs[rtp.Caller].Peer.Of == 0 {
		time.Sleep(time.Millisecond)
	}
	s.report(time.Now(), time.Minute)
	if c, _ := nextControl(t, caller.rtp); c.Sender == nil {
		t.Errorf("got %+v among the packets, want a sender report", c)
	}
	if st := s.Stats().Legs[rtp.Caller]; st.Invalid != 0 || st.Received != 0 {
		t.Errorf("got %+v, want RTCP to be neither RTP nor rubbish", st)
	}
}

// RTCP from elsewhere than the peer is not believed; behind NAT it may come from where the
// packets do.
func TestControlFromElsewhere(t *testing.T) {
	s, caller, _ := openSession(t)
	stranger := netip.MustParseAddrPort("127.0.0.9:4001")
	s.control(rtp.Caller, stranger, receiverReport(1, 1, 0))
	if got := s.Stats().Legs[rtp.Caller].Rejected; got != 1 {
		t.Errorf("got %d rejected, want the stranger's", got)
	}
	if err := s.Connect(rtp.Caller, Remote{RTP: addr(caller.rtp), RTCP: addr(caller.rtcp), NAT: true}); err != nil {
		t.Fatal(err)
	}
	l := &s.legs[rtp.Caller]
	if l.reports(l.remote.Load(), stranger) {
		t.Error("a stranger was believed before any packet came from him")
	}
	l.admit(netip.MustParseAddrPort("127.0.0.9:4000"))
	if !l.reports(l.remote.Load(), stranger) {
		t.Error("RTCP from where the packets come was not believed")
	}
}

// A party that should send and does not is told once, and again after it was heard; one
// that need not is not.
func TestSilence(t *testing.T) {
	s, caller, callee := openSession(t)
	_ = callee
	now := time.Now()
	silent := func(after time.Duration) bool {
		s.report(now.Add(after), time.Minute)
		select {
		case leg := <-s.Silences():
			if leg != rtp.Caller {
				t.Errorf("got the %v", leg)
			}
			return true
		default:
			return false
		}
	}
	if silent(time.Hour) {
		t.Error("one that need not send was found silent")
	}
	s.Expect(rtp.Caller, true)
	if silent(50 * time.Second) {
		t.Error("found silent after 50 s")
	}
	if !silent(2*time.Minute) || silent(3*time.Minute) {
		t.Error("not found silent once after two minutes")
	}
	s.step(rtp.Caller, addr(caller.rtp), now.Add(3*time.Minute).UnixNano(), caller.packet(8, 1))
	if silent(3*time.Minute) || !silent(5*time.Minute) {
		t.Error("not found silent again after it was heard")
	}
	s.Expect(rtp.Caller, false)
	if silent(time.Hour) {
		t.Error("one that holds was found silent")
	}
}

// Reports go out every five seconds or so for as long as a session is open, however many
// there are, and then no more.
func TestDesk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Minute)
		defer d.close()
		counts := make([]int, 50)
		sessions := make([]*Session, len(counts))
		for i := range sessions {
			sessions[i] = &Session{began: time.Now(), silences: make(chan rtp.Leg, 2), sockets: &countingSockets{sent: &counts[i]}}
			to := netip.MustParseAddrPort("127.0.0.1:9")
			for leg := range 2 {
				sessions[i].legs[leg].out.init()
				sessions[i].legs[leg].remote.Store(&Remote{RTP: to, RTCP: to})
				sessions[i].legs[leg].to.Store(&to)
			}
			d.add(sessions[i])
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i, n := range counts {
			if n < 2*100 || n > 2*145 {
				t.Errorf("session %d: got %d reports in ten minutes, want some 2×120", i, n)
			}
			d.remove(sessions[i])
			d.remove(sessions[i]) // a second time is nothing
			counts[i] = 0
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, n := range counts {
			if n != 0 {
				t.Errorf("session %d: got %d reports after its end", i, n)
			}
		}
	})
}

type countingSockets struct {
	sockets
	sent *int
}

func (c *countingSockets) sendRTCP(rtp.Leg, []byte, netip.AddrPort) error {
	*c.sent++
	return nil
}

// Payload types are written as the other leg has them.
func TestTranslate(t *testing.T) { eachEngine(t, testTranslate) }

func testTranslate(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	for _, turn := range []struct {
		types map[uint8]uint8
		want  uint8
	}{{nil, 96}, {map[uint8]uint8{96: 111}, 111}, {nil, 96}} {
		s.Translate(rtp.Caller, turn.types)
		caller.send(caller.packet(96, 1))
		if h, _ := callee.receive(); h.PayloadType != turn.want {
			t.Errorf("got payload type %d with %v, want %d", h.PayloadType, turn.types, turn.want)
		}
	}
}

// A party that goes over to another codec that was agreed, with another clock, has jitter
// and reports in that clock; keys among the packets change nothing.
func TestClockOfTheCodecInUse(t *testing.T) {
	s, caller, callee := openSession(t)
	s.Clock(rtp.Caller, 48000)
	s.Clock(rtp.Callee, 48000)
	s.Clocks(rtp.Caller, map[uint8]int{111: 48000, 8: 8000})
	s.Events(rtp.Caller, []uint8{101})
	s.Relay(rtp.Caller, true)
	from, at := addr(caller.rtp), s.at(time.Now())
	say := func(payloadType uint8, ticks uint32, packets int) {
		for range packets {
			s.step(rtp.Caller, from, at, caller.packet(payloadType, 1))
			caller.timestamp += ticks - 160 // packet has gone on by that
			at += int64(20 * time.Millisecond)
		}
	}
	say(111, 960, 100)
	say(8, 160, 50)
	s.step(rtp.Caller, from, at, caller.packet(101, 1, 0x8a, 0, 160))
	caller.timestamp -= 160
	say(8, 160, 50)
	if got := s.Stats().Legs[rtp.Caller].Jitter; got != 0 {
		t.Errorf("got a jitter of %v of packets that came evenly, want none", got)
	}
	last := s.legs[rtp.Callee].out.timestamp
	s.report(time.Unix(0, at).Add(time.Second-20*time.Millisecond), time.Minute)
	c, _ := nextControl(t, callee.rtcp)
	if c.Sender == nil || c.Sender.Timestamp-last != 8000 {
		t.Fatalf("got %+v a second behind the packet at %d, want a sender report 8000 ticks on", c.Sender, last)
	}
	ours, err := rtp.Control{Reports: []rtp.Report{{SSRC: s.legs[rtp.Callee].out.ssrc.Load(), Jitter: 80}}}.Marshal(callee.ssrc, "callee")
	if err != nil {
		t.Fatal(err)
	}
	s.read(letter{s, rtp.Callee, addr(callee.rtcp), time.Now(), ours})
	if got := s.Stats().Legs[rtp.Callee].Peer.Jitter; got != 10*time.Millisecond {
		t.Errorf("got a reported jitter of %v, want 10 ms", got)
	}
}

// What a party's clock on the wall showed is not told in ticks of another clock.
func TestWallClockOverClocks(t *testing.T) {
	r := reporting{sender: rtp.SenderReport{SSRC: 1, NTP: 5 << 32, Timestamp: 100}, senderHz: 48000, heard: time.Now()}
	if got := r.clock(1, 48100, 48000, 7); got != 6<<32 {
		t.Errorf("got %x a second after the report, want a second more", got)
	}
	if got := r.clock(1, 8100, 8000, 7); got != 7 {
		t.Errorf("got %x after a change of the clock, want our own", got)
	}
}
