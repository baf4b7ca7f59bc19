//go:build !linux

package sip

import (
	"net"
	"net/netip"
)

// errorQueue is Linux's: elsewhere a peer that is not there is found out by its silence.
type errorQueue struct{}

func newErrorQueue(net.PacketConn) *errorQueue { return nil }

func widen(conn net.PacketConn) {
	if udp, ok := conn.(*net.UDPConn); ok {
		udp.SetReadBuffer(receiveBytes)
	}
}

func (*errorQueue) drain(func(netip.AddrPort, error)) bool { return false }
