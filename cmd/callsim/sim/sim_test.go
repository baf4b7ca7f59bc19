package sim

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

func newPhone(t *testing.T, cfg Config) *Phone {
	t.Helper()
	cfg.Listen = anyPort
	p, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Two phones talk to each other directly, and each hears the other's tone.
func TestPhones(t *testing.T) {
	callee := newPhone(t, Config{Voice: Tone(440)})
	caller := newPhone(t, Config{Voice: Tone(1000), Peer: callee.Addr()})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	line, err := caller.Call(ctx, "+31201234567", "+31209876543")
	if err != nil {
		t.Fatal(err)
	}
	other := <-callee.Lines()
	for _, l := range []*Line{line, other} {
		if err := l.Wait(ctx, 20); err != nil {
			t.Fatal(err)
		}
	}
	line.Hangup()
	<-other.Over()
	for _, h := range []struct {
		heard []int16
		hz    float64
	}{{line.Heard(), 440}, {other.Heard(), 1000}} {
		if got := Share(h.heard, h.hz); got < 0.9 {
			t.Errorf("got %.2f of the power at %v Hz, want nearly all", got, h.hz)
		}
	}
}

// A phone that rejects says with what.
func TestReject(t *testing.T) {
	callee := newPhone(t, Config{Reject: 486})
	caller := newPhone(t, Config{Peer: callee.Addr()})
	if _, err := caller.Call(t.Context(), "1", "2"); !errors.Is(err, ErrRejected) {
		t.Errorf("got %v, want ErrRejected", err)
	}
}
