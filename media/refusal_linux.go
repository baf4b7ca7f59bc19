package media

import (
	"golang.org/x/sys/unix"

	"github.com/bewaard/bewaard/media/rtp"
)

// A prompt to where nobody listens is heard by nobody: what the network says of that (ICMP)
// is counted, and interrupts the prompt.

// hearRefusals has a socket that is connected to nobody be told of what its packets met with.
// A socket that cannot is none the worse for it.
func hearRefusals(fd int, is6 bool) {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if is6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	unix.SetsockoptInt(fd, level, option, 1)
}

// refused reports whether an error is about a packet that was sent before.
func refused(errno unix.Errno) bool {
	return errno == unix.ECONNREFUSED || errno == unix.EHOSTUNREACH || errno == unix.ENETUNREACH
}

// maxRefusals is how many are taken at once.
const maxRefusals = 16

// refusals takes and counts what a socket was told of its packets: as long as there is
// something, the socket would wake its loop.
func refusals(d *descriptors, kind int32) {
	var scratch [64]byte
	fd := d.fd(kind)
	for range maxRefusals {
		if _, _, _, _, err := unix.Recvmsg(fd, nil, scratch[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT); err != nil {
			return
		}
		if kind < kindRTCP {
			d.session.legs[rtp.Leg(kind)].refused.Add(1)
		}
	}
}
