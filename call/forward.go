package call

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/trunk"
)

// identity are the headers that hold within a trust domain only (RFC 3325 §9, RFC 7315
// §6): who somebody really is, and by which ways he came.
var identity = map[string]bool{
	"P-Asserted-Identity": true, "P-Preferred-Identity": true, "P-Charging-Vector": true, "P-Access-Network-Info": true,
}

// ways tell of parties that a call went by; with a Privacy they stay in the domain (RFC
// 7044 §10.1, RFC 5806 §9), and so does an entry of theirs with one of its own.
var ways = map[string]bool{"Diversion": true, "History-Info": true}

// placed are the headers that say of numbers, or of who warns, where they are: the other side
// reads that they are with us (RFC 7092 §3.1). What Identity signs are numbers, not places.
var placed = map[string]bool{
	"P-Asserted-Identity": true, "P-Preferred-Identity": true, "Diversion": true, "History-Info": true, "Referred-By": true, "Warning": true,
}

// border is what a header crosses from leg to leg.
type border struct {
	from, to string     // trunks
	ours     netip.Addr // our address as the trunk it goes to knows it
}

// forward returns which headers of one leg's message the other leg gets.
func (c *Call) forward(from rtp.Leg, headers []sip.Header) []sip.Header {
	to := c.parties[from.Other()]
	b := border{from: c.parties[from].trunk, to: to.trunk}
	if to.leg != nil {
		b.ours = to.leg.LocalAddr()
	} else {
		b.ours, _ = c.manager.ua.LocalAddr(c.route.peer) // if there is none, there will be no INVITE
	}
	return c.manager.pass(b, headers)
}

// pass returns which headers cross a border, and as what.
func (m *Manager) pass(b border, headers []sip.Header) []sip.Header {
	from, to := m.cfg.Trunks[b.from], m.cfg.Trunks[b.to]
	privacy := privacyOf(headers)
	hidden := func(host string) bool { return m.hidden(b.from, host) }
	var passed []sip.Header
	for _, h := range headers {
		here := sip.Hide(h.Value, hidden, b.ours)
		switch {
		case identity[h.Name] && !(from.Trusts() && to.Trusts()):
		case ways[h.Name] && privacy != "" && !to.Trusts():
		case h.Name == "Referred-By" && !to.Trusts(): // who referred has a privacy, too
		case h.Name == "Alert-Info" && from.Side == trunk.Internal && here != h.Value: // nobody outside could fetch it
		case strings.HasSuffix(h.Name, "-Authenticate"): // see End.more
		case strings.HasPrefix(h.Name, ours): // see instruct
		default:
			if placed[h.Name] {
				h.Value = here
			}
			if !to.Trusts() {
				h = sip.Discreet(h)
			}
			passed = append(passed, h)
		}
	}
	return passed
}

// privacyOf returns what privacy a message asks for (RFC 3323 §4.2), "" for none.
func privacyOf(headers []sip.Header) string {
	var wishes []string
	for _, h := range headers {
		if h.Name == "Privacy" && !strings.EqualFold(strings.TrimSpace(h.Value), "none") {
			wishes = append(wishes, h.Value)
		}
	}
	return strings.Join(wishes, ";")
}

// shown returns how a party is shown to one that comes into its call: with the privacy it asked
// for, and outside the trust domain, where nobody is bound to heed that, without its number.
func (p *party) shown(trusted bool) (sip.Party, []sip.Header) {
	if p.privacy == "" {
		return p.identity, nil
	}
	who := p.identity
	withheld := func(wish string) bool {
		return slices.Contains([]string{"user", "header", "id"}, strings.ToLower(strings.TrimSpace(wish)))
	}
	if !trusted && slices.ContainsFunc(strings.Split(p.privacy, ";"), withheld) {
		who = sip.Party{Display: "Anonymous", User: "anonymous", Host: "anonymous.invalid"} // RFC 3323 §4.1.1.3
	}
	return who, []sip.Header{{Name: "Privacy", Value: p.privacy}}
}

// hidden reports whether a host is not to be told beyond its trunk: it is one of its peers or
// sources, or an address within a site.
func (m *Manager) hidden(name, host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return slices.ContainsFunc(m.cfg.Trunks[name].Peers, func(p trunk.PeerURI) bool { return strings.EqualFold(p.Host, host) })
	}
	addr = addr.Unmap()
	if of, _ := m.trunks.Trunk(netip.AddrPortFrom(addr, 0), "tls"); of == name { // by TLS, as by nothing else, every trunk's address is known
		return true
	}
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() ||
		slices.ContainsFunc(m.trunks.Targets(name), func(p sip.Peer) bool { return p.Addr.Addr() == addr })
}

// replaces translates the Replaces of an INVITE that is to take a call's place: what names
// a leg of ours names, towards the other side, the leg that it is joined to (RFC 3891).
func (c *Call) replaces(headers []sip.Header) ([]sip.Header, error) {
	for i, h := range headers {
		if h.Name != "Replaces" {
			continue
		}
		value, err := c.manager.ua.Replaces(c.parties[rtp.Caller].trunk, h.Value)
		if err != nil {
			return nil, err
		}
		headers[i].Value = value
	}
	return headers, nil
}
