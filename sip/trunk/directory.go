// Package trunk knows the trunks: whose an address is, where calls to a trunk go, which of
// its peers are up, and how many calls it may have. It places no calls and knows nothing
// of media.
//
//	configured URIs ─ resolve (SRV, A) ─▶ targets ─ Targets ─▶ the order in which a call tries them
//	                                         ▲
//	      OPTIONS, and what calls find out ──┘ up, down
package trunk

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/sip"
)

// Parts are what a directory needs; Registry and Resolver may be nil.
type Parts struct {
	// Ping asks a peer whether it is there; nil pings nobody.
	Ping     func(ctx context.Context, trunk string, peer sip.Peer) error
	Log      *slog.Logger
	Registry prometheus.Registerer
	Resolver Resolver
}

// Directory knows which addresses the trunks' peers have at the moment, and their state.
type Directory struct {
	trunks   map[string]Config
	parts    Parts
	metrics  *metrics
	limits   *limits
	realms   realms
	intN     func(n int) int
	now      atomic.Pointer[addresses]
	pinging  sync.WaitGroup
	mu       sync.Mutex
	health   map[key]*health
	wake     chan struct{} // tells Run that somebody is to be pinged earlier
	resolver Resolver
}

// addresses is one look-up's result; it does not change.
type addresses struct {
	origins origins
	lapsed  origins              // of addresses that were named before
	named   map[key]time.Time    // when an address was last named as a trunk's
	targets map[string][]target  // by trunk, in the order of the configuration
	found   map[PeerURI][]target // what the look-up of each peer gave
}

// refreshInterval is how often names of peers are looked up again.
const refreshInterval = time.Minute

// lapseTime is how long calls may still come from an address that a peer's name does not stand
// for any more: a carrier's rotation names some of its nodes at a time, and all of them call.
const lapseTime = 6 * time.Hour

// New makes a directory. It knows nobody before Refresh.
func New(trunks map[string]Config, parts Parts) *Directory {
	d := &Directory{
		trunks: trunks, parts: parts, metrics: newMetrics(parts.Registry), intN: rand.IntN,
		realms: realms{told: map[realm]bool{}}, health: map[key]*health{}, wake: make(chan struct{}, 1), resolver: parts.Resolver,
	}
	if d.resolver == nil {
		d.resolver = net.DefaultResolver
	}
	d.limits = newLimits(trunks, d.metrics)
	d.now.Store(&addresses{})
	return d
}

// Run keeps names and states up to date until the context ends.
func (d *Directory) Run(ctx context.Context) {
	defer d.pinging.Wait()
	refresh := time.NewTicker(refreshInterval)
	defer refresh.Stop()
	for {
		next := time.NewTimer(d.ping(ctx))
		select {
		case <-refresh.C:
			d.Refresh(ctx)
		case <-next.C:
		case <-d.wake:
		case <-ctx.Done():
			next.Stop()
			return
		}
		next.Stop()
	}
}

// Refresh looks every peer up. A name that cannot be found keeps what was found before: a
// resolver that fails makes nobody a stranger.
func (d *Directory) Refresh(ctx context.Context) {
	before, now := d.now.Load(), time.Now()
	next := &addresses{origins: newOrigins(), lapsed: newOrigins(), named: map[key]time.Time{}, targets: map[string][]target{}, found: map[PeerURI][]target{}}
	for _, name := range slices.Sorted(maps.Keys(d.trunks)) {
		c := d.trunks[name]
		next.origins.addRanges(name, c)
		for i, peer := range c.Peers {
			targets, err := d.resolve(ctx, peer)
			if err != nil {
				targets = before.found[peer]
				d.parts.Log.Warn("trunk's peer not found", "trunk", name, "peer", peer.String(), "error", err)
			}
			next.found[peer] = targets
			for _, t := range targets {
				t.uri, t.rank[0] = peer, cmp.Or(int(peer.Priority), i+1)
				next.origins.add(name, c, t.peer.Addr)
				next.named[key{name, t.peer.Addr}] = now
				next.targets[name] = append(next.targets[name], t)
			}
		}
	}
	for k, at := range before.named {
		if _, still := next.named[k]; !still && now.Sub(at) < lapseTime {
			next.lapsed.add(k.trunk, d.trunks[k.trunk], k.addr)
			next.named[k] = at
		}
	}
	d.now.Store(next)
	d.watch(next)
}

// Trunk names the trunk that a message is from, by where it comes from and by what. It is asked
// for every datagram.
func (d *Directory) Trunk(source netip.AddrPort, transport string) (string, bool) {
	now := d.now.Load()
	if name, ok := now.origins.trunk(source, transport); ok {
		return name, true
	}
	return now.lapsed.trunk(source, transport)
}

// Targets returns where calls to a trunk go, in the order in which one call tries them: by
// priority, within one as the weights will have it (RFC 2782), and those that are down
// last. None is left out: a ping that went wrong refuses no call.
func (d *Directory) Targets(trunk string) []sip.Peer {
	targets := slices.Clone(d.now.Load().targets[trunk])
	slices.SortStableFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.rank[0], b.rank[0]), cmp.Compare(a.rank[1], b.rank[1]))
	})
	var ordered []target
	for len(targets) > 0 {
		same := slices.IndexFunc(targets, func(t target) bool { return t.rank != targets[0].rank })
		if same < 0 {
			same = len(targets)
		}
		ordered = append(ordered, d.draw(targets[:same])...)
		targets = targets[same:]
	}
	var up, down []sip.Peer
	for _, t := range ordered {
		if d.isUp(trunk, t.peer.Addr) {
			up = append(up, t.peer)
		} else {
			down = append(down, t.peer)
		}
	}
	return append(up, down...)
}

// draw puts targets of one priority in an order of chance, as their weights will have it.
func (d *Directory) draw(targets []target) []target {
	left := slices.Clone(targets)
	drawn := make([]target, 0, len(left))
	for len(left) > 0 {
		sum := 0
		for _, t := range left {
			sum += t.weight
		}
		at := 0
		if sum > 0 {
			for n := d.intN(sum); n >= left[at].weight; at++ {
				n -= left[at].weight
			}
		}
		drawn = append(drawn, left[at])
		left = slices.Delete(left, at, at+1)
	}
	return drawn
}

// Route returns the trunk that calls from the named one go to.
func (d *Directory) Route(from string) (string, bool) { return Route(d.trunks, from) }

// Route returns the trunk that calls from the named one go to.
func Route(trunks map[string]Config, from string) (string, bool) {
	c, ok := trunks[from]
	if !ok {
		return "", false
	}
	if c.Route != "" {
		return c.Route, true
	}
	for name, other := range trunks {
		if other.Side == c.Side.Other() {
			return name, true // the only one: Validate saw to it
		}
	}
	return "", false
}
