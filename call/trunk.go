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
	// NAT says that the trunk's peers may send audio from another address than their
	// session descriptions name: the first packet's source is then taken. Default: false.
	NAT bool `yaml:"nat"`
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
	fault := func(why string) error { return fmt.Errorf("peer %.60q: %s", text, why) }
	rest, ok := strings.CutPrefix(string(text), "sip:")
	if !ok {
		return fault("not a URI such as sip:10.0.0.5:5060")
	}
	peer := PeerURI{Port: 5060, Transport: "udp"}
	hostport, params, _ := strings.Cut(rest, ";")
	if params != "" {
		name, transport, _ := strings.Cut(params, "=")
		if !strings.EqualFold(name, "transport") {
			return fault("the only parameter there is is transport")
		}
		if peer.Transport = strings.ToLower(transport); peer.Transport != "udp" && peer.Transport != "tcp" {
			return fault("transport is udp or tcp")
		}
	}
	peer.Host = hostport
	if host, port, err := net.SplitHostPort(hostport); err == nil {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return fault("the port is a number from 1 to 65535")
		}
		peer.Host, peer.Port = host, uint16(number)
	} else if inner, ok := strings.CutPrefix(hostport, "["); ok {
		peer.Host = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(peer.Host)
	bare6 := err == nil && addr.Is6() && !strings.HasPrefix(hostport, "[")
	if peer.Host == "" || bare6 || err != nil && strings.ContainsAny(peer.Host, "@/ <>[]:") {
		return fault("the host is a name or an address, IPv6 in brackets")
	}
	*p = peer
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

// trunkNames is what names of trunks are made of: they are labels of metrics.
const trunkNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// ValidateTrunks reports every fault of the trunks section, each with its key.
func ValidateTrunks(trunks map[string]Trunk) []error {
	var faults []error
	owner := map[PeerURI]string{}
	sides := map[Side]int{}
	for _, name := range slices.Sorted(maps.Keys(trunks)) {
		t := trunks[name]
		sides[t.Side]++
		if name == "" || len(name) > 64 || strings.Trim(name, trunkNames) != "" {
			faults = append(faults, fmt.Errorf("%s: the name is to be made of letters, digits, - and _, 64 at most", name))
		}
		switch t.Side {
		case Internal, External:
		case "":
			faults = append(faults, fmt.Errorf("%s.side: missing: internal for a PBX, external for a carrier", name))
		default:
			faults = append(faults, fmt.Errorf("%s.side: %.40q is neither internal nor external", name, t.Side))
		}
		if len(t.Peers) == 0 {
			faults = append(faults, fmt.Errorf("%s.peers: missing: at least one, such as sip:10.0.0.5:5060", name))
		}
		for i, peer := range t.Peers {
			if other, taken := owner[peer]; taken && peer != (PeerURI{}) {
				faults = append(faults, fmt.Errorf("%s.peers[%d]: %v is trunk %s's already", name, i, peer, other))
			}
			owner[peer] = name
		}
		if _, ok := trunks[t.Route]; t.Route != "" && !ok {
			faults = append(faults, fmt.Errorf("%s.route: there is no trunk %.40q", name, t.Route))
		}
		if t.Route == name {
			faults = append(faults, fmt.Errorf("%s.route: leads back to the trunk itself", name))
		}
	}
	if sides[Internal]+sides[External] < len(trunks) {
		return faults // where calls go is not to be told before every side is
	}
	for _, name := range slices.Sorted(maps.Keys(trunks)) {
		t := trunks[name]
		if n := sides[t.Side.Other()]; t.Route == "" && n != 1 {
			faults = append(faults, fmt.Errorf("%s.route: missing: there are %d %s trunks for its calls to go to", name, n, t.Side.Other()))
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
	found map[PeerURI][]netip.Addr  // what the look-up of each peer gave
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
	next := &addresses{exact: map[netip.AddrPort]string{}, host: map[netip.Addr]string{}, peers: map[string]sip.Peer{}, found: map[PeerURI][]netip.Addr{}}
	before := d.now.Load()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(d.trunks)) {
		for _, peer := range d.trunks[name].Peers {
			ips, err := d.lookup(ctx, peer.Host)
			if err != nil {
				ips = before.found[peer] // a resolver that fails makes nobody a stranger
				errs = append(errs, fmt.Errorf("look up %s of trunk %s: %w", peer.Host, name, err))
				d.log.Warn("trunk's peer not found", "trunk", name, "peer", peer.String(), "error", err)
			}
			next.found[peer] = ips
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
