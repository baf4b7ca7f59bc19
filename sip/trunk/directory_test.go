package trunk

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bewaard/bewaard/sip"
)

// zone is a resolver that knows what the test makes it know.
type zone struct {
	hosts map[string][]string
	srv   map[string][]*net.SRV // "sip.udp.example"
	err   error
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if z.err != nil {
		return nil, z.err
	}
	var addrs []netip.Addr
	for _, a := range z.hosts[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if addrs == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if records := z.srv[service+"."+proto+"."+name]; records != nil && z.err == nil {
		return name, records, nil
	}
	return "", nil, errors.New("no records")
}

func peers(t testing.TB, uris ...string) []PeerURI {
	t.Helper()
	list := make([]PeerURI, len(uris))
	for i, uri := range uris {
		if err := list[i].UnmarshalText([]byte(uri)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func newDirectory(t testing.TB, trunks map[string]Config, z *zone, ping func(context.Context, string, sip.Peer) error) *Directory {
	d := New(trunks, Parts{Log: slog.New(slog.DiscardHandler), Resolver: z, Ping: ping})
	d.intN = rand.New(rand.NewPCG(1, 2)).IntN
	d.Refresh(t.Context())
	return d
}

func addrs(peers []sip.Peer) string {
	var s []string
	for _, p := range peers {
		s = append(s, p.String())
	}
	return strings.Join(s, " ")
}

// A source is known by its address and port, or by its address where one trunk alone has
// it; a resolver that fails changes nothing.
func TestTrunkOfSource(t *testing.T) {
	z := &zone{hosts: map[string][]string{"trunk.example": {"203.0.113.3"}}}
	d := newDirectory(t, map[string]Config{
		"pbx":     {Side: Internal, Peers: peers(t, "sip:10.0.0.5")},
		"carrier": {Side: External, Peers: peers(t, "sip:trunk.example;transport=tcp")},
		"one":     {Side: External, Peers: peers(t, "sip:10.0.0.9")},
		"other":   {Side: External, Peers: peers(t, "sip:10.0.0.9:5080")},
	}, z, nil)
	for range 2 {
		for source, want := range map[string]string{
			"10.0.0.5:5060": "pbx", "10.0.0.5:40000": "pbx", "203.0.113.3:40000": "carrier",
			"10.0.0.9:5060": "one", "10.0.0.9:5080": "other", "10.0.0.9:40000": "", "192.0.2.1:5060": "",
		} {
			if got, ok := d.Trunk(netip.MustParseAddrPort(source), "tcp"); got != want || ok != (want != "") {
				t.Errorf("%s: got %q, %v, want %q", source, got, ok, want)
			}
		}
		z.err = errors.New("server failure")
		d.Refresh(t.Context())
	}
	if got := addrs(d.Targets("carrier")); got != "tcp:203.0.113.3:5060" {
		t.Errorf("got targets %q", got)
	}
	source := netip.MustParseAddrPort("192.0.2.1:5060")
	if n := testing.AllocsPerRun(100, func() { d.Trunk(source, "udp") }); n != 0 {
		t.Errorf("got %v allocations a look-up, want 0: it is asked for every datagram", n)
	}
}

// A trunk's messages come by no weaker transport than its peers': what is TLS for us is not
// served in clear, where its address can be feigned.
func TestTrunkOfTransport(t *testing.T) {
	d := newDirectory(t, map[string]Config{
		"plain":  {Side: Internal, Peers: peers(t, "sip:10.0.0.1")},
		"stream": {Side: External, Peers: peers(t, "sip:10.0.0.2;transport=tcp")},
		"secure": {Side: External, Peers: peers(t, "sip:10.0.0.3;transport=tls"), Sources: sourcesOf(t, "10.1.0.0/24")},
		"mixed":  {Side: External, Peers: peers(t, "sips:10.0.0.4", "sip:10.0.0.5;transport=tcp")},
		"other":  {Side: External, Peers: peers(t, "sip:10.0.0.3:5070")}, // shares an address with secure
	}, &zone{}, nil)
	for source, want := range map[string][3]string{
		"10.0.0.1:5060": {"plain", "plain", "plain"}, "10.0.0.2:5060": {"", "stream", "stream"}, "10.0.0.3:5061": {"other", "other", "secure"},
		"10.1.0.7:5061": {"", "", "secure"}, "10.0.0.4:5061": {"", "mixed", "mixed"}, "10.0.0.5:9": {"", "mixed", "mixed"}, "10.0.0.3:9": {"other", "other", ""},
	} {
		for i, transport := range transports {
			if got, ok := d.Trunk(netip.MustParseAddrPort(source), transport); got != want[i] || ok != (want[i] != "") {
				t.Errorf("%s by %s: got %q, %v, want %q", source, transport, got, ok, want[i])
			}
		}
	}
}

func sourcesOf(t testing.TB, texts ...string) []Source {
	t.Helper()
	list := make([]Source, len(texts))
	for i, text := range texts {
		if err := list[i].UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// Calls may come from a trunk's sources, which are not called; another trunk's peer in them is
// that trunk's.
func TestSources(t *testing.T) {
	d := newDirectory(t, map[string]Config{
		"pbx":     {Side: Internal, Peers: peers(t, "sip:198.51.100.7")},
		"carrier": {Side: External, Peers: peers(t, "sip:203.0.113.1"), Sources: sourcesOf(t, "198.51.100.0/24", "203.0.113.99", "2001:db8::/32", "::ffff:203.0.113.98")},
	}, &zone{}, nil)
	for source, want := range map[string]string{
		"198.51.100.1:5060": "carrier", "198.51.100.255:40000": "carrier", "198.51.100.7:9": "pbx", "203.0.113.99:5060": "carrier", "203.0.113.98:1": "carrier",
		"[2001:db8::5]:5060": "carrier", "198.51.101.1:5060": "", "203.0.113.97:5060": "", "[2001:db9::5]:5060": "",
	} {
		if got, ok := d.Trunk(netip.MustParseAddrPort(source), "udp"); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", source, got, ok, want)
		}
	}
	if got := addrs(d.Targets("carrier")); got != "udp:203.0.113.1:5060" {
		t.Errorf("got targets %q, want the peer alone", got)
	}
	for _, text := range []string{"", "x", "198.51.100.7/24", "198.51.100.0/33", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.0.0.5:5060"} {
		if err := new(Source).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("got %q taken for a source", text)
		}
	}
}

// Calls may come for six hours from an address that a peer's name does not stand for any more,
// but go to it no more; who has the address by then comes first.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"trunk.example": {"203.0.113.3"}, "other.example": {"203.0.113.9"}}}
		d := newDirectory(t, map[string]Config{
			"carrier": {Side: External, Peers: peers(t, "sip:trunk.example:5060;transport=tcp")}, "other": {Side: External, Peers: peers(t, "sip:other.example:5060;transport=tcp")},
		}, z, nil)
		of := func(transport, want string) {
			t.Helper()
			if got, _ := d.Trunk(netip.MustParseAddrPort("203.0.113.3:40000"), transport); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		z.hosts["trunk.example"] = []string{"203.0.113.4"}
		for range 6*60 - 1 {
			time.Sleep(time.Minute)
			d.Refresh(t.Context())
			of("tcp", "carrier")
		}
		of("udp", "")
		if got := addrs(d.Targets("carrier")); got != "tcp:203.0.113.4:5060" {
			t.Errorf("got targets %q, want what the name stands for", got)
		}
		z.hosts["other.example"] = []string{"203.0.113.3"}
		d.Refresh(t.Context())
		of("tcp", "other")
		z.hosts["other.example"] = []string{"203.0.113.9"}
		time.Sleep(time.Minute)
		d.Refresh(t.Context())
		of("tcp", "other") // and the carrier's lapsed this minute
		time.Sleep(lapseTime)
		d.Refresh(t.Context())
		of("tcp", "")
		if n := len(d.now.Load().named); n != 2 {
			t.Errorf("got %d addresses remembered, want 2", n)
		}
	})
}

// SRV records come before the host, where no port is written; their priorities and the
// configured ones order the targets.
func TestTargets(t *testing.T) {
	z := &zone{
		hosts: map[string][]string{"a.example": {"192.0.2.1", "2001:db8::1"}, "b.example": {"192.0.2.2"}, "plain.example": {"192.0.2.9"}},
		srv: map[string][]*net.SRV{
			"sip.udp.carrier.example":  {{Target: "b.example.", Port: 5070, Priority: 20}, {Target: "a.example.", Port: 5062, Priority: 10}, {Target: "gone.example.", Port: 1, Priority: 1}},
			"sips.tcp.carrier.example": {{Target: "b.example.", Port: 5063}},
		},
	}
	for _, test := range []struct {
		peers []string
		want  string
	}{
		{[]string{"sip:carrier.example"}, "udp:192.0.2.1:5062 udp:[2001:db8::1]:5062 udp:192.0.2.2:5070"},
		{[]string{"sips:carrier.example"}, "tls:192.0.2.2:5063"},
		{[]string{"sip:plain.example"}, "udp:192.0.2.9:5060"},
		{[]string{"sips:plain.example"}, "tls:192.0.2.9:5061"},
		{[]string{"sip:b.example:5099", "sip:192.0.2.7;transport=tcp"}, "udp:192.0.2.2:5099 tcp:192.0.2.7:5060"},
		{[]string{"sip:192.0.2.8;priority=2", "sip:192.0.2.7;priority=1"}, "udp:192.0.2.7:5060 udp:192.0.2.8:5060"},
		{[]string{"sip:nowhere.example"}, ""},
	} {
		d := newDirectory(t, map[string]Config{"carrier": {Side: External, Peers: peers(t, test.peers...)}}, z, nil)
		got := addrs(d.Targets("carrier"))
		if test.peers[0] == "sip:carrier.example" && strings.HasPrefix(got, "udp:[2001") { // a host's two addresses come in either order
			got = "udp:192.0.2.1:5062 udp:[2001:db8::1]:5062 udp:192.0.2.2:5070"
		}
		if got != test.want {
			t.Errorf("%v: got %q, want %q", test.peers, got, test.want)
		}
	}
}

// A resolver that fails for a while does not make the host of the domain's name a peer.
func TestServicesAreRemembered(t *testing.T) {
	z := &zone{
		hosts: map[string][]string{"a.example": {"192.0.2.1"}, "carrier.example": {"198.51.100.80"}},
		srv:   map[string][]*net.SRV{"sip.udp.carrier.example": {{Target: "a.example.", Port: 5070}}},
	}
	d := newDirectory(t, map[string]Config{"carrier": {Side: External, Peers: peers(t, "sip:carrier.example")}}, z, nil)
	z.srv = nil
	d.Refresh(t.Context())
	if got := addrs(d.Targets("carrier")); got != "udp:192.0.2.1:5070" {
		t.Errorf("got %q while SRV cannot be looked up, want what was known", got)
	}
	if _, known := d.Trunk(netip.MustParseAddrPort("198.51.100.80:5060"), "udp"); known {
		t.Error("got the domain's web server for a peer")
	}
}

// Peers of one priority get their weights' shares of the calls (RFC 2782); each is in
// every order, once.
func TestWeights(t *testing.T) {
	d := newDirectory(t, map[string]Config{"carrier": {Side: External, Peers: peers(t,
		"sip:192.0.2.1;priority=1;weight=10", "sip:192.0.2.2;priority=1;weight=30", "sip:192.0.2.3;priority=2")}}, &zone{}, nil)
	first := map[string]int{}
	for range 4000 {
		targets := d.Targets("carrier")
		if len(targets) != 3 || targets[2].Addr.Addr().String() != "192.0.2.3" {
			t.Fatalf("got %v", targets)
		}
		first[targets[0].Addr.Addr().String()]++
	}
	if share := float64(first["192.0.2.2"]) / 4000; share < 0.72 || share > 0.78 {
		t.Errorf("got %v of the calls for weight 30 of 40, want three quarters", share)
	}
}

// answering answers pings as a test says.
type answering struct {
	mu    sync.Mutex
	out   map[string]bool // who does not answer
	pings int             // of 10.0.0.5
}

func (a *answering) ping(_ context.Context, _ string, p sip.Peer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	addr := p.Addr.Addr().String()
	if addr == "10.0.0.5" {
		a.pings++
	}
	if a.out[addr] {
		return errors.New("no response")
	}
	return nil
}

func (a *answering) set(addr string, out bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.out[addr] = out
}

// pinged returns how often 10.0.0.5 was asked since the last look.
func (a *answering) pinged() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.pings
	a.pings = 0
	return n
}

// inBubble runs a directory of two peers.
func inBubble(t *testing.T, test func(t *testing.T, d *Directory, a *answering)) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{out: map[string]bool{}}
		d := newDirectory(t, map[string]Config{"pbx": {Side: Internal, Peers: peers(t, "sip:10.0.0.5", "sip:10.0.0.6")}}, &zone{}, a.ping)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Run(ctx); close(done) }() // ends with the bubble
		test(t, d, a)
		cancel()
		<-done
	})
}

// A peer that does not answer two pings in a row is down and tried last; the first answer
// brings it back, and while it is down it is asked every five seconds.
func TestHealth(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Directory, a *answering) {
		time.Sleep(61 * time.Second) // of the bubble's
		if n := a.pinged(); n < 2 || n > 3 {
			t.Errorf("got %d pings in 61 s, want one every 30 s", n)
		}
		a.set("10.0.0.5", true)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		time.Sleep(6 * time.Second)
		if got := addrs(d.Targets("pbx")); got != "udp:10.0.0.6:5060 udp:10.0.0.5:5060" {
			t.Errorf("got %q, want the one that is down last", got)
		}
		if got := testutil.ToFloat64(d.metrics.up.WithLabelValues("pbx", "10.0.0.5")); got != 0 {
			t.Errorf("got bewaard_trunk_up %v, want 0", got)
		}
		a.pinged()
		time.Sleep(20 * time.Second)
		if n := a.pinged(); n != 4 {
			t.Errorf("got %d pings in 20 s of a peer that is down, want 4", n)
		}
		a.set("10.0.0.5", false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := addrs(d.Targets("pbx")); got != "udp:10.0.0.5:5060 udp:10.0.0.6:5060" {
			t.Errorf("got %q, want it back", got)
		}
	})
}

// Whether a peer is up is not said before it was asked, which is soon: one that is not there
// at the start is down at once.
func TestHealthAtFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Directory, a *answering) {
		if n := testutil.CollectAndCount(d.metrics.up); n != 0 {
			t.Errorf("got %d peers up or down before any was asked, want none", n)
		}
		a.set("10.0.0.5", true)
		time.Sleep(firstPing)
		synctest.Wait()
		for peer, want := range map[string]float64{"10.0.0.5": 0, "10.0.0.6": 1} {
			if got := testutil.ToFloat64(d.metrics.up.WithLabelValues("pbx", peer)); got != want {
				t.Errorf("got bewaard_trunk_up %v of %s, want %v", got, peer, want)
			}
		}
	})
}

// One lost ping is no outage; a call that found the peer out is believed at once, and so
// is one that was answered.
func TestHealthByCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Directory, _ *answering) {
		peer := d.Targets("pbx")[0]
		d.Failed("pbx", peer)
		if got := d.Targets("pbx")[0]; got == peer {
			t.Errorf("got %v first, though a call found it out", got)
		}
		d.Alive("pbx", peer)
		if got := d.Targets("pbx")[0]; got != peer {
			t.Errorf("got %v first, though a call was answered", got)
		}
		d.Failed("pbx", peer)
		time.Sleep(6 * time.Second) // it answers the ping
		synctest.Wait()
		if got := d.Targets("pbx")[0]; got != peer {
			t.Errorf("got %v first, though it answers", got)
		}
	})
}

// Calls are let through up to the limits; emergency calls always, and places are given
// back once.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, map[string]Config{
			"pbx": {Side: Internal, Peers: peers(t, "sip:10.0.0.5"), MaxCalls: 2, CallsPerSecond: 5, SourceCallsPerSecond: 2},
		}, &zone{}, nil)
		one, other, third := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6"), netip.MustParseAddr("10.0.0.7")
		admit := func(from netip.Addr, want error) {
			t.Helper()
			if err := d.Admit("pbx", from, false); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		admit(one, nil)
		admit(one, nil)
		admit(one, ErrSourceTooFast)
		admit(other, nil)
		admit(other, nil)
		admit(third, ErrTooFast)
		if err := d.Admit("pbx", third, true); err != nil {
			t.Errorf("got %v for an emergency call", err)
		}
		time.Sleep(time.Second)
		admit(one, nil)

		var places []*Place
		for range 2 {
			p, err := d.Take("pbx", false)
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, p)
		}
		if _, err := d.Take("pbx", false); !errors.Is(err, ErrFull) {
			t.Errorf("got %v, want ErrFull", err)
		}
		if p, err := d.Take("pbx", true); err != nil {
			t.Errorf("got %v for an emergency call", err)
		} else {
			p.Release()
		}
		places[0].Release()
		places[0].Release()
		if _, err := d.Take("pbx", false); err != nil {
			t.Errorf("got %v, though a call has ended", err)
		}
		if _, err := d.Take("pbx", false); !errors.Is(err, ErrFull) {
			t.Errorf("got %v: a place was given back twice", err)
		}
	})
}

// Emergency calls leave what may come in a second to the others.
func TestEmergencyCallsTakeNoRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, map[string]Config{"pbx": {Side: Internal, Peers: peers(t, "sip:10.0.0.5"), CallsPerSecond: 2, SourceCallsPerSecond: 2}}, &zone{}, nil)
		from := netip.MustParseAddr("10.0.0.5")
		for i := range 10 {
			if err := d.Admit("pbx", from, true); err != nil {
				t.Errorf("got %v for emergency call %d", err, i)
			}
		}
		for i := range 2 {
			if err := d.Admit("pbx", from, false); err != nil {
				t.Errorf("got %v for call %d after emergency calls", err, i)
			}
		}
	})
}

// Addresses that call once leave no memory behind.
func TestSourcesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t, map[string]Config{"pbx": {Side: Internal, SourceCallsPerSecond: 1}}, &zone{}, nil)
		for i := range 10 * maxSources {
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
			d.Admit("pbx", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), false)
		}
		if n := len(d.limits.sources); n > maxSources {
			t.Errorf("got %d sources remembered, want %d at most", n, maxSources)
		}
	})
}

// Which realm is answered is told once, and which is not.
func TestRealmsAreTold(t *testing.T) {
	var log strings.Builder
	d := New(map[string]Config{
		"any":  {Auth: &Auth{User: "us", Password: "secret"}},
		"one":  {Auth: &Auth{User: "us", Password: "secret", Realm: "carrier"}},
		"none": {},
	}, Parts{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))})
	if c := d.Credentials("none"); c != nil {
		t.Errorf("got %+v without an auth", c)
	}
	for range 3 {
		d.Credentials("any").Heard("carrier", true)
		d.Credentials("one").Heard("carrier", true)
		d.Credentials("one").Heard("beyond", false)
	}
	want := `level=INFO msg="challenge answered, with no auth.realm set" trunk=any realm=carrier
level=WARN msg="challenge of another realm than auth.realm not answered" trunk=one realm=beyond
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	for i := range 10 * maxRealms {
		d.Credentials("one").Heard(strings.Repeat("x", i), false)
	}
	if n := len(d.realms.told); n != maxRealms {
		t.Errorf("got %d realms remembered, want %d", n, maxRealms)
	}
}

// Every fault is told, with its key.
func TestValidate(t *testing.T) {
	second := 10 * time.Millisecond
	faults := Validate(map[string]Config{
		"pbx": {Side: Internal, Peers: peers(t, "sip:10.0.0.5", "sip:10.0.0.5:5060;weight=3"), Ping: &second, MaxCalls: -1, CallsPerSecond: -1,
			SourceCallsPerSecond: -1, Auth: &Auth{}, Refer: "x", Redirects: "y", Challenges: "z", Streams: []string{"audio"}, Register: &Registration{Expires: 1}},
		"carrier": {Side: External, Peers: peers(t, "sip:10.0.0.9"), Challenges: Answer, Register: &Registration{}, Auth: &Auth{User: "u", Password: "a", PasswordFile: "b"}},
		"open":    {Side: External, Peers: peers(t, "sip:10.0.0.10"), Challenges: Answer, Register: &Registration{}, Route: "pbx"},
	})
	got := map[string]bool{}
	for _, fault := range faults {
		key, _, _ := strings.Cut(fault.Error(), ": ")
		got[key] = true
	}
	want := map[string]bool{
		"pbx.peers[1]": true, "pbx.ping": true, "pbx.max_calls": true, "pbx.calls_per_second": true, "pbx.source_calls_per_second": true, "pbx.auth.user": true,
		"pbx.refer": true, "pbx.redirects": true, "pbx.challenges": true, "pbx.streams[0]": true, "pbx.register.expires": true, "pbx.route": true,
		"carrier.auth.password_file": true, "open.challenges": true, "open.register.user": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s\n%v", diff, faults)
	}
}

// Sources that are too wide, or two trunks', are faults.
func TestValidateSources(t *testing.T) {
	faults := Validate(map[string]Config{
		"a":   {Side: External, Peers: peers(t, "sip:10.0.0.1"), Route: "pbx", Sources: sourcesOf(t, "0.0.0.0/0", "198.51.100.0/24", "198.51.100.0/25", "::/0")},
		"b":   {Side: External, Peers: peers(t, "sip:10.0.0.2"), Route: "pbx", Sources: sourcesOf(t, "198.51.100.200", "203.0.113.0/24", "2001:db8::/32")},
		"pbx": {Side: Internal, Peers: peers(t, "sip:10.0.0.3"), Route: "a", Sources: sourcesOf(t, "10.0.0.0/8", "fd00::/48")},
	})
	var got []string
	for _, fault := range faults {
		got = append(got, fault.Error())
	}
	want := []string{
		"a.sources[0]: 0.0.0.0/0 is wider than a /8, or a /24 of IPv6: whoever is in it could place calls",
		"a.sources[3]: ::/0 is wider than a /8, or a /24 of IPv6: whoever is in it could place calls",
		"b.sources[0]: 198.51.100.200/32 overlaps 198.51.100.0/24, which is trunk a's",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// Anything may stand for a source; what is taken is written as it is read.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "10.0.0.5", "::ffff:10.0.0.5", "2001:db8::/32", "10.0.0.5/24", "fe80::1%eth0", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Source
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("got %v, %v of %q written as %q, want %v", again, err, text, s, s)
		}
	})
}

// Anything may stand for a peer; what is taken is written as it is read.
func FuzzPeerURI(f *testing.F) {
	for _, seed := range []string{"sip:10.0.0.5:5060", "sip:[2001:db8::1]:5062;transport=TCP", "sip:trunk.example", "sips:x", "sip:", "sip:a;priority=2;weight=9", "sips:[::1]:5061;transport=tcp"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p, again PeerURI
		if p.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p {
			t.Errorf("got %+v, %v of %q written as %q, want %+v", again, err, text, p.String(), p)
		}
	})
}
