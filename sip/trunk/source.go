package trunk

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Source is where a trunk's calls may come from besides its peers: an address, or a prefix such
// as 198.51.100.0/24.
type Source struct{ netip.Prefix }

// The widest sources that are believed: nobody's network is larger, and one that is has been
// mistyped.
const (
	widest4 = 8
	widest6 = 24
)

// UnmarshalText reads an address or a prefix.
func (s *Source) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		s.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil || prefix.Addr().Is4In6() {
		return fmt.Errorf("source %.60q: not an address or a prefix such as 198.51.100.0/24", text)
	}
	if prefix != prefix.Masked() {
		return fmt.Errorf("source %.60q: is inside of %v: which of the two?", text, prefix.Masked())
	}
	s.Prefix = prefix
	return nil
}

// MarshalText writes a form that UnmarshalText reads.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// tooWide reports whether a source is hardly meant.
func (s Source) tooWide() bool {
	least := widest6
	if s.Addr().Is4() {
		least = widest4
	}
	return s.Bits() < least
}

// validateSources reports sources that are too wide, and those that are two trunks'.
func validateSources(trunks map[string]Config) []error {
	var faults []error
	names := slices.Sorted(maps.Keys(trunks))
	for i, name := range names {
		for n, s := range trunks[name].Sources {
			switch {
			case !s.IsValid(): // the decoder has told
				continue
			case s.tooWide():
				faults = append(faults, fmt.Errorf("%s.sources[%d]: %v is wider than a /%d, or a /%d of IPv6: whoever is in it could place calls", name, n, s, widest4, widest6))
				continue
			}
			for _, other := range names[:i] {
				if at := slices.IndexFunc(trunks[other].Sources, func(o Source) bool { return !o.tooWide() && o.Overlaps(s.Prefix) }); at >= 0 {
					faults = append(faults, fmt.Errorf("%s.sources[%d]: %v overlaps %v, which is trunk %s's", name, n, s, trunks[other].Sources[at], other))
				}
			}
		}
	}
	return faults
}

// transports are what messages come by, from the one whose sources are easiest to feign.
var transports = [...]string{"udp", "tcp", "tls"}

// admitted are the transports that a trunk's messages may come by: the weakest of its peers',
// and those that are harder to feign. A trunk whose peers all have TLS has nothing in clear.
func (c Config) admitted() []string {
	weakest := len(transports) - 1
	for _, peer := range c.Peers {
		weakest = min(weakest, slices.Index(transports[:], peer.transport()))
	}
	return transports[weakest:]
}

// sources are whose an address is. Two trunks may have one: then the port tells, or nothing does.
type sources struct {
	exact  map[netip.AddrPort]string
	host   map[netip.Addr]string // "" where several trunks have it
	ranges []ranged
}

type ranged struct {
	netip.Prefix
	trunk string
}

// origins are the sources by the transport that a message comes by.
type origins map[string]sources

func newOrigins() origins {
	o := origins{}
	for _, transport := range transports {
		o[transport] = sources{exact: map[netip.AddrPort]string{}, host: map[netip.Addr]string{}}
	}
	return o
}

// add makes an address a trunk's, on the transports by which the trunk's messages may come.
func (o origins) add(trunk string, c Config, addr netip.AddrPort) {
	for _, transport := range c.admitted() {
		s := o[transport]
		s.exact[addr] = trunk
		if other, taken := s.host[addr.Addr()]; taken && other != trunk {
			s.host[addr.Addr()] = ""
		} else {
			s.host[addr.Addr()] = trunk
		}
	}
}

// addRanges makes what a trunk has in its sources the trunk's.
func (o origins) addRanges(trunk string, c Config) {
	for _, transport := range c.admitted() {
		s := o[transport]
		for _, source := range c.Sources {
			s.ranges = append(s.ranges, ranged{source.Prefix, trunk})
		}
		o[transport] = s
	}
}

// trunk names the trunk of a source: by address and port, else by the address alone where only
// one trunk has it (a peer may send from another port than it listens on), else by the range.
func (o origins) trunk(source netip.AddrPort, transport string) (string, bool) {
	s := o[transport]
	if name, ok := s.exact[source]; ok {
		return name, true
	}
	if name := s.host[source.Addr()]; name != "" {
		return name, true
	}
	for _, r := range s.ranges {
		if r.Contains(source.Addr()) {
			return r.trunk, true
		}
	}
	return "", false
}
