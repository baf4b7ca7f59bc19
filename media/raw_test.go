package media

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// peerSocket is a peer's socket for a stream.
func peerSocket(t testing.TB, at string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func addrOf(c *net.UDPConn) netip.AddrPort { return unmap(c.LocalAddr().(*net.UDPAddr).AddrPort()) }

// receive returns the next datagram, nil for none within a while.
func receive(t testing.TB, c *net.UDPConn, wait time.Duration) []byte {
	t.Helper()
	b := make([]byte, 2048)
	c.SetReadDeadline(time.Now().Add(wait))
	n, err := c.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// Datagrams of a raw stream pass byte for byte, whatever they are; others' do not, and the
// tap sees none of them.
func TestRaw(t *testing.T) { eachEngine(t, testRaw) }

func testRaw(t T) {
	s, err := newEngine(t, Config{}).Open(loopback)
	if err != nil {
		t.Fatal(err)
	}
	caller, callee, stranger := peerSocket(t, "127.0.0.1:0"), peerSocket(t, "127.0.0.1:0"), peerSocket(t, "127.0.0.2:0")
	tap := NewTap(1 << 16)
	s.Capture(tap)
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	for leg, c := range []*net.UDPConn{caller, callee} {
		if err := s.Connect(rtp.Leg(leg), Remote{RTP: addrOf(c), RTCP: addrOf(c), Raw: true}); err != nil {
			t.Fatal(err)
		}
	}
	toCaller, toCallee := net.UDPAddrFromAddrPort(s.Local(rtp.Caller)), net.UDPAddrFromAddrPort(s.Local(rtp.Callee))
	for _, datagram := range [][]byte{
		{0x00, 0x01, 0x02}, {0x80, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7, 0xd5}, bytes.Repeat([]byte{0xff}, 1400), {0},
	} {
		caller.WriteTo(datagram, toCaller)
		if got := receive(t, callee, 5*time.Second); !bytes.Equal(got, datagram) {
			t.Errorf("got % x at the callee, want % x", got, datagram)
		}
		callee.WriteTo(datagram, toCallee)
		if got := receive(t, caller, 5*time.Second); !bytes.Equal(got, datagram) {
			t.Errorf("got % x at the caller, want % x", got, datagram)
		}
	}
	stranger.WriteTo([]byte("injected"), toCaller)
	if got := receive(t, callee, 200*time.Millisecond); got != nil {
		t.Errorf("got %q from a stranger", got)
	}
	stats := s.Close()
	if got := stats.Legs[rtp.Caller]; got.Relayed != 4 || got.Rejected != 1 || got.Lost != 0 {
		t.Errorf("got %+v", got)
	}
	tap.Drain(func(_ rtp.Leg, batch []byte) error {
		t.Errorf("got %d bytes in the tap, want none", len(batch))
		return nil
	})
}

// A stream that turns to fax and back goes on, as RTP, where it was.
func TestRawAndBack(t *testing.T) { eachEngine(t, testRawAndBack) }

func testRawAndBack(t T) {
	s, err := newEngine(t, Config{}).Open(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	caller, callee := peerSocket(t, "127.0.0.1:0"), peerSocket(t, "127.0.0.1:0")
	s.Relay(rtp.Caller, true)
	connect := func(raw bool) {
		for leg, c := range []*net.UDPConn{caller, callee} {
			if err := s.Connect(rtp.Leg(leg), Remote{RTP: addrOf(c), RTCP: addrOf(c), Raw: raw}); err != nil {
				t.Fatal(err)
			}
		}
	}
	to := net.UDPAddrFromAddrPort(s.Local(rtp.Caller))
	packet := func(sequence byte) []byte {
		return []byte{0x80, 8, 0, sequence, 0, 0, sequence, 0, 0, 0, 0, 7, 0xd5, 0xd5}
	}
	send := func(b []byte) []byte {
		caller.WriteTo(b, to)
		return receive(t, callee, 5*time.Second)
	}
	connect(false)
	first := send(packet(1))
	connect(true)
	if got := send([]byte("udptl")); string(got) != "udptl" {
		t.Errorf("got %q", got)
	}
	connect(false)
	second := send(packet(2))
	if len(first) != 14 || len(second) != 14 || !bytes.Equal(first[8:12], second[8:12]) || second[3] != first[3]+1 {
		t.Errorf("got % x, then % x: want the same stream to go on", first, second)
	}
}

// The address that a peer is told is its trunk's own, else the configured one, else ours on
// the way to it: of the right IP version.
func TestAdvertised(t *testing.T) { eachEngine(t, testAdvertised) }

func testAdvertised(t T) {
	addr := netip.MustParseAddr
	e := newEngine(t, Config{Advertise: addr("192.0.2.10")})
	for _, test := range []struct {
		at   Where
		want string
	}{
		{Where{Known: addr("127.0.0.1")}, "192.0.2.10"},
		{Where{Known: addr("127.0.0.1"), Advertise: addr("198.51.100.7")}, "198.51.100.7"},
		{Where{Known: addr("::1")}, "::1"},
		{Where{Known: addr("::1"), Advertise: addr("198.51.100.7")}, "::1"},
		{Where{Known: addr("::1"), Advertise: addr("2001:db8::1")}, "2001:db8::1"},
	} {
		if got := e.Address(test.at).String(); got != test.want {
			t.Errorf("%+v: got %s, want %s", test.at, got, test.want)
		}
	}
}

// One leg speaks IPv4 and the other IPv6.
func TestDualStack(t *testing.T) { eachEngine(t, testDualStack) }

func testDualStack(t T) {
	s, err := newEngine(t, Config{}).Open([2]Where{{Known: netip.MustParseAddr("127.0.0.1")}, {Known: netip.MustParseAddr("::1")}})
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	defer s.Close()
	four, six := peerSocket(t, "127.0.0.1:0"), peerSocket(t, "[::1]:0")
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	for leg, c := range []*net.UDPConn{four, six} {
		if err := s.Connect(rtp.Leg(leg), Remote{RTP: addrOf(c), RTCP: addrOf(c)}); err != nil {
			t.Fatal(err)
		}
	}
	packet := []byte{0x80, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7, 0xd5}
	four.WriteTo(packet, net.UDPAddrFromAddrPort(s.Local(rtp.Caller)))
	if got := receive(t, six, 5*time.Second); len(got) != len(packet) {
		t.Errorf("got % x by IPv6", got)
	}
	six.WriteTo(packet, net.UDPAddrFromAddrPort(s.Local(rtp.Callee)))
	if got := receive(t, four, 5*time.Second); len(got) != len(packet) {
		t.Errorf("got % x by IPv4", got)
	}
}
