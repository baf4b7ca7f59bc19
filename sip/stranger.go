package sip

import (
	"net/netip"
	"sync"
	"time"
)

// Ban says when a stranger, somebody of no trunk, is not even listened to any more.
type Ban struct {
	// After is how many messages or connections in a minute make a stranger banned. Default: 20.
	After int `yaml:"after"`
	// For is how long. Default: 1h.
	For time.Duration `yaml:"for"`
}

const (
	defaultBanAfter = 20
	defaultBanFor   = time.Hour

	// maxStrangers is how many are remembered. In a flood from more addresses than that the
	// rest is dropped like any stranger's.
	maxStrangers = 4096
)

// strangers counts what comes from addresses of no trunk and bans those that insist.
type strangers struct {
	cfg Ban

	mu    sync.Mutex
	known map[netip.Addr]*stranger
	swept time.Time
}

type stranger struct {
	count  int
	began  time.Time // of the minute that is counted
	banned time.Time // until then; zero for not
}

// isBanned reports whether an address is banned at the moment.
func (s *strangers) isBanned(addr netip.Addr, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[addr]
	return known != nil && now.Before(known.banned)
}

// came notes a message or connection of a stranger's, and reports whether that gets him
// banned.
func (s *strangers) came(addr netip.Addr, now time.Time) (banned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := now.Sub(s.swept); since > time.Minute || len(s.known) >= maxStrangers && since > time.Second {
		s.sweep(now)
	}
	known := s.known[addr]
	if known == nil {
		if len(s.known) >= maxStrangers {
			return false
		}
		known = &stranger{began: now}
		s.known[addr] = known
	}
	if now.Sub(known.began) > time.Minute {
		known.count, known.began = 0, now
	}
	known.count++
	if known.count <= s.cfg.After || now.Before(known.banned) {
		return false
	}
	known.banned = now.Add(s.cfg.For)
	return true
}

// sweep forgets those of whom nothing is left to know.
func (s *strangers) sweep(now time.Time) {
	s.swept = now
	for addr, known := range s.known {
		if now.Sub(known.began) > time.Minute && !now.Before(known.banned) {
			delete(s.known, addr)
		}
	}
}

// count returns how many are banned.
func (s *strangers) count() (banned int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, known := range s.known {
		if now.Before(known.banned) {
			banned++
		}
	}
	return banned
}

// trunk names the trunk that a source belongs to, or that has a call which leads there.
func (ua *UA) trunk(source netip.AddrPort, transport string) (name string, ok bool) {
	if name, ok = ua.handler.Trunk(source, transport); ok {
		return name, true
	}
	return ua.hops.trunk(source.Addr(), transport)
}

// intrudes reports whether a message begins something, and comes from no trunk's address:
// a call that leads there lets in what belongs to it alone.
func (ua *UA) intrudes(message []byte, source netip.AddrPort, transport string) bool {
	if _, ok := ua.handler.Trunk(source, transport); ok || !ua.begins(message) {
		return false
	}
	ua.metrics.strangers.Inc()
	return true
}

// admits reports whether a source is listened to. Who belongs to no trunk is noted, and in
// the end banned; a peer never is, nor is who has a part in a call.
func (ua *UA) admits(source netip.AddrPort, transport string) bool {
	if _, ok := ua.trunk(source, transport); ok {
		return true
	}
	ua.metrics.strangers.Inc()
	now := time.Now()
	if ua.strangers.isBanned(source.Addr(), now) {
		return false
	}
	said, word := &ua.dropped, "stranger dropped: its address is no trunk's"
	banned := ua.strangers.came(source.Addr(), now)
	if banned {
		said, word = &ua.banned, "stranger banned"
	}
	if held, ok := said.due(now); ok { // there may be many
		ua.log.Warn(word, "source", source.Addr(), "transport", transport, "suppressed", held)
	}
	return false
}
