package api

import (
	"fmt"
	"net"
	"os/user"
	"strconv"
	"syscall"
)

// peerOf names the user whose process is at the other end of a Unix socket, as the
// kernel says (SO_PEERCRED, unix(7)): nobody can claim to be another.
func peerOf(conn net.Conn) string {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return ""
	}
	var peer *syscall.Ucred
	raw.Control(func(fd uintptr) { // its error is that the connection is closed: then nobody asks
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || peer == nil {
		return ""
	}
	uid := strconv.FormatUint(uint64(peer.Uid), 10)
	if u, err := user.LookupId(uid); err == nil {
		return fmt.Sprintf("%s (uid %s)", u.Username, uid)
	}
	return "uid " + uid
}
