package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/sip"
)

// Side is where a trunk leads: to our own PBX, or out to a carrier.
type Side string

const (
	Internal Side = "internal"
	External Side = "external"
)

// Other returns the side that calls from this one go to.
func (s Side) Other() Side {
	if s == Internal {
		return External
	}
	return Internal
}

// Trunk is one entry of the file's trunks section.
type Trunk struct {
	Side Side `yaml:"side"`
	// Peers are the trunk's addresses. Calls to the trunk go to the first; calls
	// from it may come from any of them.
	Peers []PeerURI `yaml:"peers"`
	// EarlyMedia says whether the trunk carries audio before the answer. Without,
	// an announcement waits for the answer. Default: true.
	EarlyMedia *bool `yaml:"early_media"`
	// Route names the trunk that calls from this one go to. It is needed only
	// where the other side has more than one. Default: the other side's trunk.
	Route string `yaml:"route"`
}

func (t Trunk) carriesEarlyMedia() bool { return t.EarlyMedia == nil || *t.EarlyMedia }

// PeerURI is a peer as configured: sip:host:port;transport=tcp.
type PeerURI struct {
	Host      string
	Port      uint16 // default: 5060
	Transport string // udp (default) or tcp
}

// UnmarshalText reads sip:host[:port][;transport=udp|tcp].
func (p *PeerURI) UnmarshalText(text []byte) error {
	rest, ok := strings.CutPrefix(string(text), "sip:")
	if !ok {
		return fmt.Errorf("%q is not sip:host:port", text)
	}
	hostport, params, _ := strings.Cut(rest, ";")
	*p = PeerURI{Host: hostport, Port: 5060, Transport: "udp"}
	if params != "" {
		transport, ok := strings.CutPrefix(params, "transport=")
		if !ok || transport != "udp" && transport != "tcp" {
			return fmt.Errorf("%q: %q is not transport=udp or transport=tcp", text, params)
		}
		p.Transport = transport
	}
	if host, port, err := net.SplitHostPort(hostport); err == nil {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return fmt.Errorf("%q: %q is not a port", text, port)
		}
		p.Host, p.Port = host, uint16(number)
	}
	p.Host = strings.Trim(p.Host, "[]")
	if p.Host == "" || strings.ContainsAny(p.Host, "@/ <>") {
		return fmt.Errorf("%q has no host", text)
	}
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (p PeerURI) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p PeerURI) String() string {
	s := "sip:" + net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
	if p.Transport == "tcp" {
		s += ";transport=tcp"
	}
	return s
}

// ValidateTrunks reports every fault of the trunks section, each with its key.
func ValidateTrunks(trunks map[string]Trunk) []error {
	var faults []error
	sides := map[Side][]string{}
	for _, name := range slices.Sorted(maps.Keys(trunks)) {
		t := trunks[name]
		sides[t.Side] = append(sides[t.Side], name)
		if t.Side != Internal && t.Side != External {
			faults = append(faults, fmt.Errorf("%s.side: is %q, neither internal nor external", name, t.Side))
		}
		if len(t.Peers) == 0 {
			faults = append(faults, fmt.Errorf("%s.peers: a trunk needs at least one, such as sip:10.0.0.5:5060", name))
		}
		if _, ok := trunks[t.Route]; t.Route != "" && !ok {
			faults = append(faults, fmt.Errorf("%s.route: there is no trunk %q", name, t.Route))
		}
		if t.Route == name {
			faults = append(faults, fmt.Errorf("%s.route: leads back to the trunk itself", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(trunks)) {
		t := trunks[name]
		if others := sides[t.Side.Other()]; t.Route == "" && len(others) != 1 && (t.Side == Internal || t.Side == External) {
			faults = append(faults, fmt.Errorf("%s.route: which of the %s trunks do calls go to? there are %d", name, t.Side.Other(), len(others)))
		}
	}
	return faults
}

// Route returns the trunk that calls from the named one go to.
func Route(trunks map[string]Trunk, from string) (string, bool) {
	t := trunks[from]
	if t.Route != "" {
		return t.Route, true
	}
	for name, other := range trunks {
		if other.Side == t.Side.Other() {
			return name, true // the only one: ValidateTrunks saw to it
		}
	}
	return "", false
}

// directory knows which addresses the trunks' peers have at the moment.
type directory struct {
	trunks  map[string]Trunk
	log     *slog.Logger
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	now     atomic.Pointer[addresses]
}

// addresses is one look-up's result; it does not change.
type addresses struct {
	exact map[netip.AddrPort]string // the trunk of a source
	host  map[netip.Addr]string     // the trunk of an address, "" where several share it
	peers map[string]sip.Peer       // a trunk's first peer that has an address
}

// resolveInterval is how often host names of peers are looked up again.
const resolveInterval = time.Minute

func newDirectory(trunks map[string]Trunk, log *slog.Logger) *directory {
	d := &directory{trunks: trunks, log: log, resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
	d.now.Store(&addresses{})
	return d
}

// run keeps the directory up to date until the context ends.
func (d *directory) run(ctx context.Context) {
	tick := time.NewTicker(resolveInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.refresh(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// refresh looks every peer up. A name that cannot be found keeps its trunk out until
// it can; the error says which.
func (d *directory) refresh(ctx context.Context) error {
	next := &addresses{exact: map[netip.AddrPort]string{}, host: map[netip.Addr]string{}, peers: map[string]sip.Peer{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.trunks)) {
		for _, peer := range d.trunks[name].Peers {
			ips, err := d.lookup(ctx, peer.Host)
			if err != nil {
				errs = append(errs, fmt.Errorf("look up %s of trunk %s: %w", peer.Host, name, err))
				d.log.Warn("trunk's peer not found", "trunk", name, "peer", peer.String(), "error", err)
			}
			for _, ip := range ips {
				next.add(name, sip.Peer{Transport: peer.Transport, Host: peer.Host, Addr: netip.AddrPortFrom(ip, peer.Port)})
			}
		}
	}
	d.now.Store(next)
	return errors.Join(errs...)
}

func (d *directory) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	ips, err := d.resolve(ctx, host)
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	return ips, err
}

func (a *addresses) add(trunk string, peer sip.Peer) {
	a.exact[peer.Addr] = trunk
	if other, taken := a.host[peer.Addr.Addr()]; taken && other != trunk {
		a.host[peer.Addr.Addr()] = ""
	} else {
		a.host[peer.Addr.Addr()] = trunk
	}
	if _, has := a.peers[trunk]; !has {
		a.peers[trunk] = peer
	}
}

// trunk names the trunk of a source: by address and port, else by the address alone
// where only one trunk has it (a peer may send from another port than it listens on).
func (d *directory) trunk(source netip.AddrPort) (string, bool) {
	now := d.now.Load()
	if name, ok := now.exact[source]; ok {
		return name, true
	}
	name := now.host[source.Addr()]
	return name, name != ""
}

// peer returns where calls to a trunk go.
func (d *directory) peer(trunk string) (sip.Peer, bool) {
	p, ok := d.now.Load().peers[trunk]
	return p, ok
}
