//go:build linux

package media

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bewaard/bewaard/media/rtp"
)

// playUntilEOF is the process that plays: a prompt of an hour to each of so many callers,
// begun as fast as it can be, as when all of them call at once.
func playUntilEOF(engineName string, calls int) error {
	engine, err := New(Config{Engine: engineName, Address: netip.MustParseAddr(benchRelay), Ports: Ports{benchPort, uint16(benchPort + 4*calls + 1000)}}, nil)
	if err != nil {
		return err
	}
	defer engine.Close()
	runtime.GOMAXPROCS(runtime.NumCPU() + engine.Threads())
	payload := make([]byte, 160)
	frames := Frames{PayloadType: 8, Samples: 160, Payloads: slices.Repeat([][]byte{payload}, 50*3600)}
	here, to := netip.MustParseAddr(benchRelay), netip.AddrPortFrom(netip.MustParseAddr(benchPeers), benchPeerPort)
	var sessions []*Session
	for range calls {
		s, err := engine.Open([2]Where{{Known: here}, {Known: here}})
		if err != nil {
			return err
		}
		if err := s.Connect(rtp.Caller, Remote{RTP: to, RTCP: to}); err != nil {
			return err
		}
		sessions = append(sessions, s)
	}
	for _, s := range sessions {
		if _, err := s.Play(rtp.Caller, frames); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// BenchmarkPlay measures what a packet of a prompt costs, to so many callers at once, and
// by how much the distance of two packets is off 20 ms, by the kernel's clock. An iteration
// is a second. Compare cpu-µs/packet with that of BenchmarkRelay in the same run: a call
// that is played to has 50 packets a second, one that is relayed 100.
func BenchmarkPlay(b *testing.B) {
	for _, engine := range []string{EngineEpoll, EnginePortable} {
		for _, calls := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", engine, calls), func(b *testing.B) { benchmarkPlay(b, engine, calls) })
		}
	}
}

func benchmarkPlay(b *testing.B, engine string, calls int) {
	l := newListener(b)
	defer unix.Close(l.fd)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d play", relayVariable, engine, calls))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		in.Close()
		cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("player does not start: %q %v", line, err)
	}
	l.listen(b, time.Second) // warm
	l.errors, l.packets = l.errors[:0], 0
	before := processorTime(b, cmd.Process.Pid)
	seconds := 0
	for b.Loop() {
		l.listen(b, time.Second)
		seconds++
	}
	cpu := processorTime(b, cmd.Process.Pid) - before
	if l.packets == 0 {
		b.Fatal("nothing was played")
	}
	slices.Sort(l.errors)
	at := func(q float64) float64 {
		return float64(l.errors[int(q*float64(len(l.errors)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cpu.Microseconds())/float64(l.packets), "cpu-µs/packet")
	b.ReportMetric(at(.5), "p50-ms")
	b.ReportMetric(at(.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(100*(1-float64(l.packets)/float64(calls*benchPerSecond*seconds)), "missing-%")
}

// listener takes what all callers are played, with when the kernel had it.
type listener struct {
	fd      int
	last    map[uint32]heardPacket // by SSRC
	errors  []time.Duration
	packets int
}

type heardPacket struct {
	sequence uint16
	at       time.Duration // since 1970
}

func newListener(b *testing.B) *listener {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	addr := &unix.SockaddrInet4{Port: benchPeerPort, Addr: netip.MustParseAddr(benchPeers).As4()}
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.Bind(fd, addr),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // root's; else what there is
	return &listener{fd: fd, last: map[uint32]heardPacket{}}
}

func (l *listener) listen(b *testing.B, d time.Duration) {
	packet, more := make([]byte, 2048), make([]byte, 64)
	for end := time.Now().Add(d); time.Now().Before(end); {
		n, oob, _, _, err := unix.Recvmsg(l.fd, packet, more, 0)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		h, err := rtp.Parse(packet[:n])
		if err != nil {
			continue // a report
		}
		messages, err := unix.ParseSocketControlMessage(more[:oob])
		if err != nil || len(messages) == 0 {
			b.Fatal("no time of arrival: ", strconv.Quote(fmt.Sprint(err)))
		}
		when := (*unix.Timespec)(unsafe.Pointer(&messages[0].Data[0]))
		now := heardPacket{h.Sequence, time.Duration(when.Nano())}
		if last, ok := l.last[h.SSRC]; ok && last.sequence+1 == now.sequence {
			off := now.at - last.at - time.Second/benchPerSecond
			l.errors = append(l.errors, max(off, -off))
		}
		l.last[h.SSRC] = now
		l.packets++
	}
}
