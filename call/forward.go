package call

import (
	"strings"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
)

// identity are the headers that hold within a trust domain only (RFC 3325 §9, RFC 7315
// §6): who somebody really is, and by which ways he came.
var identity = map[string]bool{
	"P-Asserted-Identity": true, "P-Preferred-Identity": true, "P-Charging-Vector": true, "P-Access-Network-Info": true,
}

// ways tell of parties that a call went by; with a Privacy they stay in the domain (RFC
// 7044 §10.1, RFC 5806 §9).
var ways = map[string]bool{"Diversion": true, "History-Info": true}

// forward returns which headers of one leg's message the other leg gets.
func (c *Call) forward(from rtp.Leg, headers []sip.Header) []sip.Header {
	trusts := func(leg rtp.Leg) bool { return c.manager.cfg.Trunks[c.parties[leg].trunk].Trusts() }
	hidden := false
	for _, h := range headers {
		hidden = hidden || h.Name == "Privacy" && !strings.EqualFold(strings.TrimSpace(h.Value), "none")
	}
	var passed []sip.Header
	for _, h := range headers {
		switch {
		case identity[h.Name] && !(trusts(from) && trusts(from.Other())):
		case ways[h.Name] && hidden && !trusts(from.Other()):
		case strings.HasSuffix(h.Name, "-Authenticate"): // see End.more
		default:
			passed = append(passed, h)
		}
	}
	return passed
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
