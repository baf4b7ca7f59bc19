package trunk

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/bewaard/bewaard/sip"
)

// key names one address of one trunk.
type key struct {
	trunk string
	addr  netip.AddrPort
}

// health is the state of one address: up until two pings in a row fail, or a call finds it
// out; up again with the first that is answered. Before the first ping nobody knows, and
// calls are tried.
type health struct {
	target   target
	known    bool // that it is up, or down
	down     bool
	failures int       // pings in a row
	next     time.Time // ping; zero for never
	pinging  bool
	current  bool // still among the trunk's addresses
}

const (
	failuresAllowed = 1               // one lost datagram is no outage
	downInterval    = 5 * time.Second // between two pings of a peer that is down
	pingTimeout     = 5 * time.Second // a peer that is there answers OPTIONS at once
	firstPing       = 2 * time.Second // within which a peer is asked at first
)

// watch takes new addresses into the states, and leaves out those that are gone.
func (d *Directory) watch(a *addresses) {
	d.mu.Lock()
	for _, h := range d.health {
		h.current = false
	}
	for trunk, targets := range a.targets {
		interval := d.trunks[trunk].pingInterval()
		for _, t := range targets {
			k := key{trunk, t.peer.Addr}
			h := d.health[k]
			if h == nil {
				h = &health{known: true}
				if interval > 0 && d.parts.Ping != nil { // soon, but not all at once
					h.known, h.next = false, time.Now().Add(rand.N(min(interval, firstPing)))
				}
				d.health[k] = h
			}
			h.target, h.current = t, true
		}
	}
	for k, h := range d.health {
		if !h.current && !h.pinging {
			delete(d.health, k)
		}
	}
	d.mu.Unlock()
	d.tell()
	d.rouse()
}

func (d *Directory) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// ping begins the pings that are due and returns how long there is none.
func (d *Directory) ping(ctx context.Context) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	soonest := time.Hour
	for k, h := range d.health {
		if h.pinging || h.next.IsZero() || !h.current {
			continue
		}
		if wait := time.Until(h.next); wait > 0 {
			soonest = min(soonest, wait)
			continue
		}
		h.pinging = true
		peer := h.target.peer
		d.pinging.Go(func() { // ends with the ping; Run waits for it
			within, cancel := context.WithTimeout(ctx, pingTimeout)
			defer cancel()
			err := d.parts.Ping(within, k.trunk, peer)
			if ctx.Err() == nil {
				d.pinged(k, err)
			}
		})
	}
	return soonest
}

// pinged takes a ping's result.
func (d *Directory) pinged(k key, err error) {
	d.mu.Lock()
	h := d.health[k]
	h.pinging = false
	interval := d.trunks[k.trunk].pingInterval()
	switch {
	case err == nil:
		h.failures = 0
		d.set(k, h, false, "answers")
	default:
		if h.failures++; h.failures > failuresAllowed || !h.known {
			d.set(k, h, true, err.Error())
		}
	}
	h.known, h.next = true, time.Now().Add(interval)
	if h.failures > 0 {
		h.next = time.Now().Add(min(interval, downInterval))
	}
	d.mu.Unlock()
	d.tell()
	d.rouse()
}

// Failed tells that a call found a peer out.
func (d *Directory) Failed(trunk string, peer sip.Peer) { d.found(trunk, peer, true) }

// Alive tells that a peer took a call.
func (d *Directory) Alive(trunk string, peer sip.Peer) { d.found(trunk, peer, false) }

func (d *Directory) found(trunk string, peer sip.Peer, down bool) {
	k := key{trunk, peer.Addr}
	d.mu.Lock()
	h := d.health[k]
	if h == nil || h.known && h.down == down || down && h.next.IsZero() { // without pings it would never be up again
		d.mu.Unlock()
		return
	}
	d.set(k, h, down, "a call found out")
	h.known = true
	if down {
		h.failures, h.next = failuresAllowed+1, time.Now().Add(downInterval)
	}
	d.mu.Unlock()
	d.tell()
	d.rouse()
}

// set changes a state and logs that once. The caller holds mu.
func (d *Directory) set(k key, h *health, down bool, why string) {
	if h.down == down {
		return
	}
	h.down = down
	if down {
		d.parts.Log.Warn("trunk's peer is down", "trunk", k.trunk, "peer", h.target.uri.hostPort(), "address", k.addr, "reason", why)
		return
	}
	d.parts.Log.Info("trunk's peer is up", "trunk", k.trunk, "peer", h.target.uri.hostPort(), "address", k.addr)
}

func (d *Directory) isUp(trunk string, addr netip.AddrPort) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.health[key{trunk, addr}]
	return h == nil || !h.down
}

// tell sets the metrics: a configured peer is up if any of its addresses is, and neither up
// nor down while nothing is known of it.
func (d *Directory) tell() {
	d.mu.Lock()
	defer d.mu.Unlock()
	type label struct{ trunk, peer string }
	up := map[label]float64{}
	for name, c := range d.trunks {
		for _, peer := range c.Peers {
			up[label{name, peer.hostPort()}] = 0 // nor is one that cannot be found
		}
	}
	unknown := map[label]bool{}
	for k, h := range d.health {
		switch l := (label{k.trunk, h.target.uri.hostPort()}); {
		case !h.current:
		case !h.known:
			unknown[l] = true
		case !h.down:
			up[l] = 1
		}
	}
	for l, v := range up {
		if v == 0 && unknown[l] {
			continue
		}
		d.metrics.up.WithLabelValues(l.trunk, l.peer).Set(v)
	}
}

// Registered tells whether a trunk's registrar knows us.
func (d *Directory) Registered(trunk string, registered bool) {
	v := 0.0
	if registered {
		v = 1
	}
	d.metrics.registered.WithLabelValues(trunk).Set(v)
}
