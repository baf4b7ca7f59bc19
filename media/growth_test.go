package media

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// Packets from one session of ours to another of ours pass both, as any others do.
func TestHairpin(t *testing.T) { eachEngine(t, testHairpin) }

func testHairpin(t T) {
	e := newEngine(t, Config{})
	var sessions [2]*Session
	for i := range sessions {
		s, err := e.Open(loopback)
		if err != nil {
			t.Fatal(err)
		}
		s.Relay(rtp.Caller, true)
		s.Relay(rtp.Callee, true)
		sessions[i] = s
	}
	caller, callee := newPeer(t, sessions[0], rtp.Caller), newPeer(t, sessions[1], rtp.Callee)
	for i, s := range sessions { // the first one's callee is the second one's caller
		leg := rtp.Callee - rtp.Leg(i)
		to := sessions[1-i].Local(leg.Other())
		if err := s.Connect(leg, Remote{RTP: to, RTCP: netip.AddrPortFrom(to.Addr(), to.Port()+1)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		caller.send(caller.packet(8, byte(i)))
		if _, payload := callee.receive(); payload[0] != byte(i) {
			t.Errorf("got %v, want %d", payload, i)
		}
		callee.send(callee.packet(8, byte(100+i)))
		if _, payload := caller.receive(); payload[0] != byte(100+i) {
			t.Errorf("got %v, want %d", payload, 100+i)
		}
	}
}

// What cannot be sent is counted, and the rest goes on: a peer that is not there any more,
// a route or an interface that is down.
func TestUnreachable(t *testing.T) { eachEngine(t, testUnreachable) }

func testUnreachable(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	nowhere := netip.MustParseAddrPort("127.0.0.1:0") // EINVAL, as a dead route has ENETUNREACH
	if err := s.Connect(rtp.Callee, Remote{RTP: nowhere, RTCP: nowhere}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		caller.send(caller.packet(8, 1))
	}
	for s.Stats().Legs[rtp.Callee].Errors < 3 {
		time.Sleep(time.Millisecond)
	}
	dead := netip.AddrPortFrom(addr(callee.rtp).Addr(), 9) // ICMP says so, where anybody listens to that
	for _, to := range []netip.AddrPort{dead, addr(callee.rtp)} {
		if err := s.Connect(rtp.Callee, Remote{RTP: to, RTCP: to}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			caller.send(caller.packet(8, 1))
		}
	}
	if _, payload := callee.receive(); payload[0] != 1 {
		t.Errorf("got %v", payload)
	}
	callee.send(callee.packet(8, 2))
	if _, payload := caller.receive(); payload[0] != 2 {
		t.Errorf("got %v", payload)
	}
}

// A call's media and tap take no more than 80 KiB, and nothing is left of them.
func TestMemoryOfSession(t *testing.T) {
	const sessions, tapBytes = 200, 32 << 10
	e := newEngine(t, Config{Ports: Ports{30000, 33999}})
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before := heap()
	open := make([]*Session, sessions)
	for i := range open {
		s, err := e.Open(loopback)
		if err != nil {
			t.Fatal(err)
		}
		s.Capture(NewTap(tapBytes))
		open[i] = s
	}
	if each := (heap() - before) / sessions; each > 80<<10 {
		t.Errorf("got %d bytes a session, want no more than 80 KiB", each)
	} else {
		t.Logf("%d bytes a session", each)
	}
	for i, s := range open {
		s.Close()
		open[i] = nil
	}
	if left := (heap() - before) / sessions; left > 1<<10 {
		t.Errorf("got %d bytes left of a session that is closed", left)
	}
}

// BenchmarkOpen opens and closes a session beside so many others: it costs the same.
func BenchmarkOpen(b *testing.B) {
	for _, beside := range []int{0, 100, 1000} {
		b.Run(fmt.Sprint(beside), func(b *testing.B) {
			e := newEngine(b, Config{Ports: Ports{10000, 59999}})
			for range beside {
				if _, err := e.Open(loopback); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				s, err := e.Open(loopback)
				if err != nil {
					b.Skip(err) // the range has been used up: ports rest for two seconds
				}
				s.Close()
			}
		})
	}
}
