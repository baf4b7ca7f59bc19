package sip

import (
	"errors"
	"net/netip"
	"testing"
)

// Whoever waits for an address is told, and nobody who has stopped waiting; nothing is kept of
// those.
func TestRoutes(t *testing.T) {
	r := routes{waiting: map[netip.AddrPort]map[chan error]bool{}}
	gone, stopGone := r.watch(pbxAddr)
	lost, stop := r.watch("[::ffff:192.0.2.5]:5060")
	other, stopOther := r.watch(alienAt)
	stopGone()
	r.lost(netip.MustParseAddrPort(pbxAddr), nil)
	if len(gone) != 0 || len(other) != 0 {
		t.Error("got word for who does not wait for the address")
	}
	if len(lost) != 1 || !errors.Is(<-lost, ErrUnreachable) {
		t.Error("got no word for who waits")
	}
	stop()
	stopOther()
	if len(r.waiting) != 0 {
		t.Errorf("got %d addresses left", len(r.waiting))
	}
}

// To stop waiting costs the same however many wait for the same peer.
func BenchmarkRoutes(b *testing.B) {
	r := routes{waiting: map[netip.AddrPort]map[chan error]bool{}}
	for range 10_000 {
		r.watch(pbxAddr)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, stop := r.watch(pbxAddr)
		stop()
	}
}
