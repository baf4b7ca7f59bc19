package media

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bewaard/bewaard/media/rtp"
)

// twin is a second socket at a leg's address, connected to its peer. What the peer sends
// comes to it, and what goes to the peer goes from it, without a look-up of the route,
// which is a tenth of what a packet costs. What anybody else sends comes to the first
// socket, which is connected to nobody: so strangers are still counted, and a peer that
// moves is still heard.
//
// A leg has one once its packets go steadily to one address. Its loop alone uses it.
type twin struct {
	fd     int            // -1: there is none
	peer   netip.AddrPort // that it is connected to; not valid while it is not used
	last   netip.AddrPort // where the last packet went
	steady int32          // how many packets went there without a break
}

// steadyAfter is how many packets have to go to an address before a twin is connected to
// it: not so few that a latch which is still moving is followed.
const steadyAfter = 8

// forward sends a packet to a leg's peer, by its twin if it has one.
func (l *loop) forward(d *descriptors, leg rtp.Leg, b []byte, to netip.AddrPort) error {
	t := &d.twins[leg]
	if t.peer == to {
		return send(t.fd, b)
	}
	if t.last != to {
		t.last, t.steady = to, 0
	}
	if t.steady++; t.steady == steadyAfter {
		l.pair(d, leg, to)
	}
	return sendTo(d.rtp[leg], b, to)
}

// pair connects a leg's twin to its peer. Where that fails it goes without.
func (l *loop) pair(d *descriptors, leg rtp.Leg, peer netip.AddrPort) {
	t := &d.twins[leg]
	t.peer = netip.AddrPort{}
	if t.fd < 0 && !l.bear(d, leg) {
		return
	}
	if name(unix.SYS_CONNECT, t.fd, peer) == nil {
		t.peer = peer
	}
}

// bear opens a leg's twin. The port is shared with nobody but it, and no longer than it
// takes to open it.
func (l *loop) bear(d *descriptors, leg rtp.Leg) bool {
	if sharePort(d.rtp[leg], true) != nil {
		return false
	}
	fd, err := d.socket(d.at[leg], true)
	sharePort(d.rtp[leg], false)
	if err != nil {
		return false
	}
	sharePort(fd, false)
	if fd > l.most { // the files that are left are for calls
		unix.Close(fd)
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.twins[leg].fd = fd
	if l.watch(d, kindTwin+int32(leg)) != nil {
		unix.Close(fd)
		d.twins[leg].fd = -1
		return false
	}
	return true
}

// sharePort says whether another socket may have a socket's address (SO_REUSEPORT).
func sharePort(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
}

// mostFiles is the highest number that a twin's socket may have: three quarters of what the
// process may open.
func mostFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 * 3 / 4
	}
	return int(min(limit.Cur, 1<<30) / 4 * 3)
}

// send sends a datagram from a connected socket. One that was refused (ICMP) says so on the
// next, which is then not sent: it is sent again.
func send(fd int, b []byte) error {
	for range 2 {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if !refused(errno) {
			return errnoOf(errno)
		}
	}
	return unix.ECONNREFUSED
}
