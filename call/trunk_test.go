package call

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
)

// A peer is known by its address and port, or by its address where one trunk alone has
// it; a resolver that fails changes nothing.
func TestDirectory(t *testing.T) {
	d := newDirectory(map[string]Trunk{
		"pbx":     {Side: Internal, Peers: []PeerURI{{"10.0.0.5", 5060, "udp"}}},
		"carrier": {Side: External, Peers: []PeerURI{{"trunk.example", 5060, "tcp"}}},
		"one":     {Side: External, Peers: []PeerURI{{"10.0.0.9", 5060, "udp"}}},
		"other":   {Side: External, Peers: []PeerURI{{"10.0.0.9", 5080, "udp"}}},
	}, slog.New(slog.DiscardHandler))
	var fails error
	d.resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("203.0.113.3")}, fails
	}
	if err := d.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		for source, want := range map[string]string{
			"10.0.0.5:5060": "pbx", "10.0.0.5:40000": "pbx", "203.0.113.3:40000": "carrier",
			"10.0.0.9:5060": "one", "10.0.0.9:5080": "other", "10.0.0.9:40000": "", "192.0.2.1:5060": "",
		} {
			if got, ok := d.trunk(netip.MustParseAddrPort(source)); got != want || ok != (want != "") {
				t.Errorf("%s: got %q, %v, want %q", source, got, ok, want)
			}
		}
	}
	look()
	fails = errors.New("server failure")
	d.resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, fails }
	for range 2 {
		if err := d.refresh(t.Context()); !errors.Is(err, fails) {
			t.Errorf("got %v, want that the look-up failed", err)
		}
		look()
	}
	if p, ok := d.peer("carrier"); !ok || p.Transport != "tcp" || p.Addr.String() != "203.0.113.3:5060" {
		t.Errorf("got peer %v, %v", p, ok)
	}
}

// Anything may stand for a peer; what is taken is written as it is read.
func FuzzPeerURI(f *testing.F) {
	for _, seed := range []string{"sip:10.0.0.5:5060", "sip:[2001:db8::1]:5062;transport=TCP", "sip:trunk.example", "sips:x", "sip:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p, again PeerURI
		if p.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p {
			t.Errorf("got %+v, %v of %q, want %+v", again, err, p, p)
		}
	})
}
