//go:build linux

package media

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
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
		fd, err := d.socket(at, false)
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

// The loops go before what else the machine does, if the process may put them there.
func TestLoopPriority(t *testing.T) {
	newEngine(t, Config{Ports: Ports{26200, 26299}, Engine: EngineEpoll, Loops: 1})
	allowed := make(chan bool)
	go func() { // ends with its thread
		runtime.LockOSThread()
		allowed <- unix.Setpriority(unix.PRIO_PROCESS, 0, loopNice) == nil
	}()
	if !<-allowed {
		t.Skip("this process may not raise a priority")
	}
	deadline := time.Now().Add(5 * time.Second)
	for !slices.Contains(niceOfThreads(t), loopNice) {
		if time.Now().After(deadline) {
			t.Fatalf("got threads of nice %v, want one of %d", niceOfThreads(t), loopNice)
		}
		time.Sleep(time.Millisecond)
	}
}

func niceOfThreads(t *testing.T) (nice []int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err == nil {
			nice = append(nice, 20-raw) // getpriority(2)
		}
	}
	return nice
}

// A leg whose packets go steadily to one address sends from a socket connected to it; what a
// stranger sends is still counted, and a peer that moves is followed.
func TestTwin(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		e := newEngine(t, Config{Ports: Ports{26300, 26399}, Engine: EngineEpoll, Loops: 1})
		here := Where{Known: netip.MustParseAddr(address)}
		s, err := e.Open([2]Where{here, here})
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
			t.Logf("%s: %v", address, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		listen := func() *net.UDPConn {
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		var peers [2]*net.UDPConn
		for leg := range peers {
			peers[leg] = listen()
			if err := s.Connect(rtp.Leg(leg), Remote{RTP: addr(peers[leg]), RTCP: addr(peers[leg])}); err != nil {
				t.Fatal(err)
			}
			s.Relay(rtp.Leg(leg), true)
		}
		sequence := uint16(0)
		pass := func(from, to *net.UDPConn) {
			t.Helper()
			packet := make([]byte, rtp.HeaderBytes+1)
			rtp.PutHeader(packet, rtp.Header{PayloadType: 8, Sequence: sequence, Timestamp: 160 * uint32(sequence), SSRC: 1})
			sequence++
			if _, err := from.WriteToUDPAddrPort(packet, s.Local(rtp.Caller)); err != nil {
				t.Fatal(err)
			}
			to.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, from, err := to.ReadFromUDPAddrPort(make([]byte, 2048)); err != nil || from.Port() != s.Local(rtp.Callee).Port() {
				t.Fatalf("%s: got a packet from %v (%v), want it from %v", address, from, err, s.Local(rtp.Callee))
			}
		}
		for range 3 * steadyAfter {
			pass(peers[0], peers[1])
		}
		d := s.sockets.(*descriptors)
		if got := twinOf(t, d, rtp.Callee); got != addr(peers[1]) {
			t.Errorf("%s: got a twin connected to %v, want %v", address, got, addr(peers[1]))
		}
		stranger := listen()
		if _, err := stranger.WriteToUDPAddrPort(make([]byte, 200), s.Local(rtp.Callee)); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(5 * time.Second)
		for st := s.Stats().Legs[rtp.Callee]; st.Invalid+st.Rejected == 0; st = s.Stats().Legs[rtp.Callee] {
			if time.Now().After(deadline) {
				t.Fatalf("%s: a stranger's packet was not counted: %+v", address, st)
			}
			time.Sleep(time.Millisecond)
		}
		moved := listen()
		if err := s.Connect(rtp.Callee, Remote{RTP: addr(moved), RTCP: addr(moved)}); err != nil {
			t.Fatal(err)
		}
		for range 3 * steadyAfter {
			pass(peers[0], moved)
		}
		if got := twinOf(t, d, rtp.Callee); got != addr(moved) {
			t.Errorf("%s: got a twin connected to %v, want %v", address, got, addr(moved))
		}
		if other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address), Port: int(s.Local(rtp.Callee).Port())}); err == nil {
			other.Close()
			t.Errorf("%s: somebody else could take the leg's port", address)
		}
		s.Close()
	}
}

// twinOf asks the kernel whom a leg's twin is connected to.
func twinOf(t *testing.T, d *descriptors, leg rtp.Leg) netip.AddrPort {
	t.Helper()
	d.mu.Lock()
	fd := d.twins[leg].fd
	d.mu.Unlock()
	switch a, err := unix.Getpeername(fd); a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	default:
		t.Fatalf("leg %v has no connected twin: %v", leg, err)
		return netip.AddrPort{}
	}
}

// Sessions fill one loop before the next one is woken at all, and then spread.
func TestPlace(t *testing.T) {
	e := &epoll{loops: []*loop{{}, {}, {}}}
	for i := range 3*fill + 3 {
		e.place().sessions.Add(1)
		for n, l := range e.loops {
			want := min(max(i+1-n*fill, 0), fill)
			if i >= 3*fill {
				want = fill + min(max(i+1-3*fill-n, 0), 1)
			}
			if got := l.sessions.Load(); int(got) != want {
				t.Fatalf("got %d sessions on loop %d after %d, want %d", got, n, i+1, want)
			}
		}
	}
}

// A prompt to where nobody listens is interrupted: the network says so. What the loop does for
// others goes on.
func TestPromptToNobody(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		e := newEngine(t, Config{Ports: Ports{26400, 26499}, Engine: EngineEpoll, Loops: 1})
		here := Where{Known: netip.MustParseAddr(address)}
		s, err := e.Open([2]Where{here, here})
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
			t.Logf("%s: %v", address, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		gone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address)})
		if err != nil {
			t.Fatal(err)
		}
		to := addr(gone)
		gone.Close()
		if err := s.Connect(rtp.Caller, Remote{RTP: to, RTCP: to}); err != nil {
			t.Fatal(err)
		}
		frames := Frames{PayloadType: 8, Samples: 160, Payloads: make([][]byte, 250)}
		for i := range frames.Payloads {
			frames.Payloads[i] = make([]byte, 160)
		}
		p, err := s.Play(rtp.Caller, frames)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the prompt did not end")
		}
		if r := p.Result(); r.Complete || r.Interruptions == 0 || r.Packets >= 200 {
			t.Errorf("%s: got %+v, want it interrupted", address, r)
		}
		s.Close()
		if busy := e.driver.(*epoll).loops[0]; busy.spins(t) {
			t.Errorf("%s: the loop does not rest", address)
		}
		other, err := e.Open(loopback)
		if err != nil {
			t.Fatal(err)
		}
		talkOnce(T{t, EngineEpoll}, other, 1)
	}
}

// spins reports whether a loop is woken though there is nothing to do.
func (l *loop) spins(t *testing.T) bool {
	before := l.tick.Load()
	time.Sleep(50 * time.Millisecond)
	return l.tick.Load() > before+2
}
