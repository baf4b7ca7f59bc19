package sdp

import (
	"fmt"
	"net/netip"
)

// Origin is our o= line (RFC 8866 §5.2).
type Origin struct {
	ID, Version uint64
	Address     netip.Addr
}

// Locate makes the description ours: our o= and c= lines, our port for each stream, and
// nothing left that tells of another address, key or transport than plain packets: how
// ours are protected is to be said anew. Port 0 refuses a stream, which keeps its place (RFC 3264 §6, §8); so
// does a port that is not there.
func (d *Description) Locate(o Origin, ports []uint16) {
	family := "IP4"
	if o.Address.Is6() {
		family = "IP6"
	}
	directions := make([]Direction, len(d.Media))
	for i, m := range d.Media {
		directions[i] = d.Direction(m)
	}
	d.lines = set(d.lines, 'o', fmt.Sprintf("- %d %d IN %s %s", o.ID, o.Version, family, o.Address))
	d.lines = set(d.lines, 's', "-")
	d.lines = set(d.lines, 'c', fmt.Sprintf("IN %s %s", family, o.Address))
	if _, ok := value(d.lines, 't'); !ok {
		d.lines = set(d.lines, 't', "0 0")
	}
	d.lines = remove(d.lines, located)
	for i, m := range d.Media {
		if i >= len(ports) || ports[i] == 0 {
			m.Refuse()
			continue
		}
		m.Port, m.ports = int(ports[i]), ""
		m.unprotect()
		raw := !m.RTP() || m.Type != "audio"
		m.lines = remove(m.lines, func(line string) bool { return line[0] == 'c' || located(line) || !raw && rewritten(line) })
		if d.Direction(m) != directions[i] { // the address said so, which is ours now
			m.SetDirection(directions[i])
		}
	}
}

// located reports whether a line tells of its author's addresses, keys, bundling
// or transport, or of himself: none of it holds on our side of the call.
func located(line string) bool {
	switch line[0] {
	case 'i', 'u', 'e', 'p', 'k':
		return true
	}
	name, _ := attribute(line)
	switch name {
	case "rtcp", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize", "candidate", "end-of-candidates", "remote-candidates", "ice-ufrag", "ice-pwd",
		"ice-options", "ice-lite", "ice-mismatch", "crypto", "key-mgmt", "zrtp-hash", "fingerprint", "setup", "tls-id", "identity", "group", "mid", "msid",
		"msid-semantic", "bundle-only", "record", "recordpref", "alt", "nortpproxy", "source-filter", "rtcp-xr":
		return true
	}
	return false
}

// rewritten reports whether a line tells of what changes in a stream that is not passed
// byte for byte: its SSRC, its header extensions and its feedback.
func rewritten(line string) bool {
	switch name, _ := attribute(line); name {
	case "ssrc", "ssrc-group", "extmap", "extmap-allow-mixed", "rtcp-fb", "label":
		return true
	}
	return false
}
