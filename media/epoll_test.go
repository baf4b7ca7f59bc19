//go:build linux

package media

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bewaard/bewaard/media/rtp"
)

// Sessions come and go while others' packets flow, from many goroutines: nobody gets
// another's packets, and what was opened is closed.
func TestChurn(t *testing.T) { eachEngine(t, testChurn) }

func testChurn(t T) {
	before := openFiles(t)
	e, err := New(Config{Ports: Ports{24000, 25999}, Engine: t.engine}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for round := range 12 {
				s, err := e.Open(loopback)
				if err != nil {
					t.Error(err)
					return
				}
				talkOnce(t, s, byte(worker), byte(round))
				s.Close()
				if err := s.sockets.send(rtp.Caller, []byte{1}, s.Local(rtp.Callee)); !errors.Is(err, ErrClosed) && !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v for a packet after the end, want that it is closed", err)
				}
			}
		})
	}
	all.Wait()
	e.Close()
	for i := 0; openFiles(t) > before; i++ { // the runtime's poller closes in its own time
		if i == 1000 {
			t.Fatalf("got %d files open, %d before", openFiles(t), before)
		}
		time.Sleep(time.Millisecond)
	}
}

// talkOnce sends twenty packets each way and sees that they arrive.
func talkOnce(t T, s *Session, mine ...byte) {
	var peers [2]*net.UDPConn
	for leg := range peers {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		peers[leg] = c
		if err := s.Connect(rtp.Leg(leg), Remote{RTP: addr(c), RTCP: addr(c)}); err != nil {
			t.Error(err)
		}
		s.Relay(rtp.Leg(leg), true)
	}
	b := make([]byte, 2048)
	for i := range 20 {
		for leg, c := range peers {
			packet := make([]byte, rtp.HeaderBytes+len(mine))
			rtp.PutHeader(packet, rtp.Header{PayloadType: 8, Sequence: uint16(i), Timestamp: uint32(160 * i), SSRC: uint32(leg)})
			copy(packet[rtp.HeaderBytes:], mine)
			c.WriteToUDPAddrPort(packet, s.Local(rtp.Leg(leg)))
			other := peers[1-leg]
			other.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, err := other.Read(b)
			if err != nil || string(b[rtp.HeaderBytes:n]) != string(mine) {
				t.Errorf("got %v (%v), want the packet of %v", b[:n], err, mine)
				return
			}
		}
	}
}

func openFiles(t testing.TB) int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// A flood of rubbish at a port does not keep the peer's packets from passing.
func TestFlood(t *testing.T) { eachEngine(t, testFlood) }

func testFlood(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() { // ends with stop
		stranger, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
		if err != nil {
			t.Error(err)
			return
		}
		defer stranger.Close()
		rubbish := make([]byte, 1400)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			rubbish[0] = byte(i) // of any version
			stranger.WriteToUDPAddrPort(rubbish, s.Local(rtp.Caller))
			if i%20 == 0 {
				time.Sleep(time.Millisecond) // twenty a millisecond: four hundred times a call's own
			}
		}
	})
	for st := s.Stats().Legs[rtp.Caller]; st.Rejected+st.Invalid == 0; st = s.Stats().Legs[rtp.Caller] {
		time.Sleep(time.Millisecond)
	}
	const packets = 100
	passed := 0
	for i := range packets {
		caller.send(caller.packet(8, byte(i)))
		callee.rtp.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := callee.rtp.Read(make([]byte, 2048)); err == nil {
			passed++
		}
	}
	close(stop)
	flood.Wait()
	if passed < packets*95/100 {
		t.Errorf("got %d of %d packets through, and %+v", passed, packets, s.Stats().Legs[rtp.Caller])
	}
}

// Packets are marked, over both IP versions; a link-local address keeps its zone.
func TestSockets(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		d := &descriptors{dscp: 46}
		at := netip.AddrPortFrom(netip.MustParseAddr(address), 0)
		fd, err := d.socket(at)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Logf("%s: %v", address, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		level, option := unix.IPPROTO_IP, unix.IP_TOS
		if at.Addr().Is6() {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
		if tos, err := unix.GetsockoptInt(fd, level, option); err != nil || tos != 46<<2 {
			t.Errorf("%s: got traffic class %d (%v), want %d", address, tos, err, 46<<2)
		}
	}
	for _, want := range []string{"10.0.0.1:20000", "[2001:db8::1]:1", "[fe80::1%2]:65535"} {
		var name sockaddr
		a := netip.MustParseAddrPort(want)
		size := name.set(a)
		if got := name.addr(); got != a || size == 0 {
			t.Errorf("got %v of %d bytes for %v", got, size, a)
		}
	}
}

// Where no file can be opened any more, a session is refused, its ports are given back, and
// the others go on.
func TestNoFiles(t *testing.T) { eachEngine(t, testNoFiles) }

func testNoFiles(t T) {
	e := newEngine(t, Config{Ports: Ports{26000, 26099}})
	s, err := e.Open(loopback)
	if err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 64 + uint64(openFiles(t)), Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var taken []int // all but two
	for {
		fd, err := unix.Dup(0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for i, fd := range taken {
		if i < 2 {
			unix.Close(fd)
		} else {
			defer unix.Close(fd)
		}
	}
	_, err = e.Open(loopback)
	if err2 := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err2 != nil {
		t.Fatal(err2)
	}
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v, want EMFILE", err)
	}
	if used, _ := e.ports.counts(); used != 2 {
		t.Errorf("got %d pairs of ports in use, want the first session's 2", used)
	}
	talkOnce(t, s, 1)
}

// Sending from outside the loop, as prompts are, does not allocate.
func TestSendDoesNotAllocate(t *testing.T) {
	s, caller, _ := openSession(t)
	b, to := caller.packet(8, make([]byte, 160)...), addr(caller.rtp)
	if n := testing.AllocsPerRun(100, func() { s.sockets.send(rtp.Caller, b, to) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
