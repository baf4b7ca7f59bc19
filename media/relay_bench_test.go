//go:build linux

package media

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// The relays of BenchmarkRelay run in processes of their own, of which the processor time
// is taken: this program again, told so by its environment, and the yardstick in C.
const relayVariable = "BEWAARD_BENCH_RELAY"

func TestMain(m *testing.M) {
	if what := os.Getenv(relayVariable); what != "" {
		if err := relayUntilEOF(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	benchRelay     = "127.0.30.1"
	benchPeers     = "127.0.30.2"
	benchPort      = 20000
	benchPeerPort  = 20000
	benchPerSecond = 50 // packets of a stream
)

// relayUntilEOF is the process that relays: "engine pairs record|-", or plays: "… play".
func relayUntilEOF(what string) error {
	fields := strings.Fields(what)
	pairs, err := strconv.Atoi(fields[1])
	if err != nil {
		return err
	}
	if fields[2] == "play" {
		return playUntilEOF(fields[0], pairs)
	}
	engine, err := New(Config{Engine: fields[0], Loops: benchLoops(), Address: netip.MustParseAddr(benchRelay), Ports: Ports{benchPort, uint16(benchPort + 4*pairs + 1)}}, nil)
	if err != nil {
		return err
	}
	defer engine.Close()
	runtime.GOMAXPROCS(runtime.NumCPU() + engine.Threads())
	record := func(int, *Session) error { return nil }
	if fields[2] == "record" {
		dir, err := os.MkdirTemp("", "relay")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		writer, err := spool.NewWriter(spool.Config{}, nil)
		if err != nil {
			return err
		}
		defer writer.Close()
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		record = func(i int, s *Session) error { return recordTo(root, writer, i, s) }
	}
	here := netip.MustParseAddr(benchRelay)
	for i := range pairs {
		s, err := engine.Open([2]Where{{Known: here}, {Known: here}})
		if err != nil {
			return err
		}
		for leg := range 2 {
			to := netip.AddrPortFrom(netip.MustParseAddr(benchPeers), uint16(benchPeerPort+4*i+2*leg))
			if err := s.Connect(rtp.Leg(leg), Remote{RTP: to, RTCP: to}); err != nil {
				return err
			}
			s.Relay(rtp.Leg(leg), true)
		}
		if err := record(i, s); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func recordTo(root *os.Root, writer *spool.Writer, i int, s *Session) error {
	grant, err := spool.NewGrant(spool.Terms{
		Recording: fmt.Sprintf("00000000-0000-7000-8000-%012d", i), Purpose: "bench", Basis: "consent", Retention: "P1D", Rule: "all", Policy: "1", Exempt: "a benchmark",
	})
	if err != nil {
		return err
	}
	legs := [2]spool.Leg{{Side: "external", Channel: 0}, {Side: "internal", Channel: 1}}
	for leg := range legs {
		legs[leg].Codecs = []rtp.Codec{{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1}}
	}
	file, err := spool.Create(root, plainly{}, grant, spool.Header{Began: time.Now(), Legs: legs})
	if err != nil {
		return err
	}
	tap := NewTap(32 << 10)
	s.Capture(tap)
	return writer.Attach(file, tap)
}

// BenchmarkRelay measures the processor time that a relayed packet of G.711 costs, and its
// delay, at so many calls of two streams: of the yardstick (testdata/yardstick.c), of both
// engines, and with recording to spools. An iteration is a second. Its figures are ratios:
// compare those of one run.
func BenchmarkRelay(b *testing.B) {
	yardstick := filepath.Join(b.TempDir(), "yardstick")
	if out, err := exec.Command("gcc", "-O2", "-o", yardstick, "testdata/yardstick.c").CombinedOutput(); err != nil {
		b.Logf("no yardstick: %v: %s", err, out)
		yardstick = ""
	}
	for _, calls := range []int{100, 200, 500, 1000} {
		args := []string{strconv.Itoa(calls), benchRelay, strconv.Itoa(benchPort), benchPeers, strconv.Itoa(benchPeerPort)}
		b.Run(fmt.Sprintf("yardstick/%d", calls), func(b *testing.B) {
			if yardstick == "" {
				b.Skip("gcc is missing")
			}
			benchmarkRelay(b, calls, exec.Command(yardstick, args...))
		})
		for _, engine := range []string{EngineEpoll, EnginePortable} {
			for _, record := range []string{"-", "record"} {
				b.Run(fmt.Sprintf("%s-%s/%d", engine, strings.Replace(record, "-", "relay", 1), calls), func(b *testing.B) {
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", relayVariable, engine, calls, record))
					benchmarkRelay(b, calls, cmd)
				})
			}
		}
	}
}

func benchmarkRelay(b *testing.B, calls int, relay *exec.Cmd) {
	in, err := relay.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := relay.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	relay.Stderr = os.Stderr
	if err := relay.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		in.Close()
		relay.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("relay does not start: %q %v", line, err)
	}
	load := newLoad(b, calls)
	load.run(b, time.Second) // warm: latches, caches
	load.delays = load.delays[:0]
	before, sent := processorTime(b, relay.Process.Pid), load.received.Load()
	first := load.sent
	for b.Loop() {
		load.run(b, time.Second)
	}
	time.Sleep(20 * time.Millisecond)
	packets := load.received.Load() - sent
	cpu := processorTime(b, relay.Process.Pid) - before
	load.stop()
	if packets == 0 {
		b.Fatal("nothing was relayed")
	}
	slices.Sort(load.delays)
	at := func(q float64) float64 {
		return float64(load.delays[int(q*float64(len(load.delays)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cpu.Microseconds())/float64(packets), "cpu-µs/packet")
	b.ReportMetric(at(.5), "p50-ms")
	b.ReportMetric(at(.99), "p99-ms")
	b.ReportMetric(100*float64(int64(load.sent-first)-int64(packets))/float64(load.sent-first), "lost-%")
}

// processorTime is what a process has used, user and system.
func processorTime(b *testing.B, pid int) time.Duration {
	var sum time.Duration
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		line, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(line))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// load is the peers of all calls: a socket a leg, from one thread, every packet with the
// time at which it was sent.
type load struct {
	fds      []int
	to       []sockaddr
	packets  [][]byte
	epoll    int
	sent     uint64
	received atomic.Uint64
	delays   []time.Duration
	due      time.Time
	turn     int
}

func newLoad(b *testing.B, calls int) *load {
	l := &load{}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	for i := range 2 * calls {
		d := &descriptors{}
		fd, err := d.socket(netip.AddrPortFrom(netip.MustParseAddr(benchPeers), uint16(benchPeerPort+2*i)), false)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
		var to sockaddr
		to.set(netip.AddrPortFrom(netip.MustParseAddr(benchRelay), uint16(benchPort+2*i)))
		packet := make([]byte, rtp.HeaderBytes+160)
		rtp.PutHeader(packet, rtp.Header{PayloadType: 8, SSRC: uint32(i)})
		l.fds, l.to, l.packets = append(l.fds, fd), append(l.to, to), append(l.packets, packet)
	}
	l.due = time.Now()
	return l
}

func (l *load) stop() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	unix.Close(l.epoll)
}

// run sends and receives for so long. The streams are spread evenly over the 20 ms.
func (l *load) run(b *testing.B, d time.Duration) {
	const turns = 20
	events := make([]unix.EpollEvent, 1024)
	buf := make([]byte, 2048)
	for end := l.due.Add(d); l.due.Before(end); l.due = l.due.Add(time.Second / benchPerSecond / turns) {
		for wait := time.Until(l.due); wait > 0; wait = time.Until(l.due) {
			n, err := unix.EpollWait(l.epoll, events, max(int(wait.Milliseconds()), 0))
			if err != nil && err != unix.EINTR {
				b.Fatal(err)
			}
			l.receive(events[:max(n, 0)], buf)
		}
		for i := l.turn; i < len(l.fds); i += turns {
			p := l.packets[i]
			rtp.SetSequence(p, uint16(l.sent/uint64(len(l.fds))))
			rtp.SetTimestamp(p, uint32(l.sent/uint64(len(l.fds)))*160)
			binary.BigEndian.PutUint64(p[rtp.HeaderBytes:], uint64(time.Now().UnixNano()))
			if err := sendTo(l.fds[i], p, l.to[i].addr()); err != nil {
				b.Fatal(err)
			}
			l.sent++
		}
		l.turn = (l.turn + 1) % turns
	}
}

func (l *load) receive(events []unix.EpollEvent, buf []byte) {
	for i := range events {
		n, err := unix.Read(int(events[i].Fd), buf)
		if err != nil || n < rtp.HeaderBytes+8 {
			continue
		}
		l.received.Add(1)
		l.delays = append(l.delays, time.Duration(time.Now().UnixNano()-int64(binary.BigEndian.Uint64(buf[rtp.HeaderBytes:]))))
	}
}

// benchLoops is how many event loops the relay has: by BEWAARD_BENCH_LOOPS, or as many as
// by default.
func benchLoops() int {
	n, _ := strconv.Atoi(os.Getenv("BEWAARD_BENCH_LOOPS"))
	return n
}

// plainly are keys that wrap nothing.
type plainly struct{}

func (plainly) WrapSpool(key []byte) ([]byte, error)       { return bytes.Clone(key), nil }
func (plainly) UnwrapSpool(wrapped []byte) ([]byte, error) { return wrapped, nil }
