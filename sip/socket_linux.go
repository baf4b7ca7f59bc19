package sip

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
)

// errorQueue reads what ICMP says of datagrams that a UDP socket sent (ip(7), IP_RECVERR).
// Without, a peer that is not there is found out by its silence alone.
type errorQueue struct{ raw syscall.RawConn }

const ipv6RecvErr = 25 // IPV6_RECVERR, which package syscall lacks

// newErrorQueue makes a socket keep its errors. What is no socket of the kernel's has none.
func newErrorQueue(conn net.PacketConn) *errorQueue {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil
	}
	level, option := syscall.IPPROTO_IP, syscall.IP_RECVERR
	if addr, _ := addrPort(conn.LocalAddr()); addr.Addr().Is6() {
		level, option = syscall.IPPROTO_IPV6, ipv6RecvErr
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), level, option, 1) }); err != nil || set != nil {
		return nil
	}
	return &errorQueue{raw}
}

// widen gives a socket room for receiveBytes: as much as the system lets us have, which
// without CAP_NET_ADMIN is net.core.rmem_max (socket(7)).
func widen(conn net.PacketConn) {
	const receiveBufferForce = 33 // SO_RCVBUFFORCE, which package syscall lacks
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return
	}
	udp.SetReadBuffer(receiveBytes)
	if raw, err := udp.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, receiveBufferForce, receiveBytes)
		})
	}
}

// maxErrors is how many are read at once: a flood of them is no reason to stop reading
// messages.
const maxErrors = 64

// drain tells of every error in the queue whom it is about, and reports whether there was
// one.
func (q *errorQueue) drain(lost func(netip.AddrPort, error)) (any bool) {
	if q == nil {
		return false
	}
	control := make([]byte, 256)
	q.raw.Control(func(fd uintptr) {
		for range maxErrors {
			_, n, _, to, err := syscall.Recvmsg(int(fd), make([]byte, 1), control, syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
			if err != nil {
				return
			}
			any = true
			if addr, ok := sockaddr(to); ok {
				lost(addr, cause(control[:n]))
			}
		}
	})
	return any
}

// cause reads the error of a struct sock_extended_err, which begins with its errno.
func cause(control []byte) error {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 || len(messages[0].Data) < 4 {
		return nil
	}
	if errno := syscall.Errno(binary.NativeEndian.Uint32(messages[0].Data)); errno != 0 {
		return errno
	}
	return nil
}

func sockaddr(s syscall.Sockaddr) (netip.AddrPort, bool) {
	switch s := s.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port)), true
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port)), true
	}
	return netip.AddrPort{}, false
}
