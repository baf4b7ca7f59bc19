package sdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Keep leaves only the formats whose codec is wanted, in their order, with the
// attributes that name a format. It returns how many are left.
func (m *Media) Keep(wanted func(Codec) bool) int {
	var kept []string
	for _, c := range m.Codecs() {
		if wanted(c) {
			kept = append(kept, strconv.Itoa(int(c.PayloadType)))
		}
	}
	m.Formats = kept
	m.lines = remove(m.lines, func(line string) bool {
		switch name, v := attribute(line); name {
		case "rtpmap", "fmtp", "rtcp-fb":
			format, _, _ := strings.Cut(v, " ")
			return format != "*" && !slices.Contains(kept, format)
		}
		return false
	})
	return len(kept)
}

// Refuse switches the stream off: port 0, and nothing that names a format
// (RFC 3264 §6 keeps one format on the line).
func (m *Media) Refuse() {
	m.Port, m.ports = 0, ""
	if len(m.Formats) > 1 {
		m.Formats = m.Formats[:1]
	}
	m.lines = remove(m.lines, func(line string) bool { return line[0] == 'a' || line[0] == 'c' || line[0] == 'b' })
}

// RTP returns where the stream's packets and reports are to be sent: the stream's
// own c= line or else the session's, and a=rtcp (RFC 3605) or else the next port.
func (d *Description) RTP(m *Media) (rtp, rtcp netip.AddrPort, err error) {
	addr, err := d.address(m)
	if err != nil {
		return rtp, rtcp, err
	}
	rtp = netip.AddrPortFrom(addr, uint16(m.Port))
	rtcp = netip.AddrPortFrom(addr, uint16(m.Port)+1)
	for _, line := range m.lines {
		name, v := attribute(line)
		if name != "rtcp" {
			continue
		}
		port, at, _ := strings.Cut(v, " ")
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			continue
		}
		rtcp = netip.AddrPortFrom(addr, uint16(number))
		if other, err := connection(at); err == nil {
			rtcp = netip.AddrPortFrom(other, uint16(number))
		}
	}
	return rtp, rtcp, nil
}

// address returns the IP address that a stream's packets go to.
func (d *Description) address(m *Media) (netip.Addr, error) {
	v, ok := value(m.lines, 'c')
	if !ok {
		if v, ok = value(d.lines, 'c'); !ok {
			return netip.Addr{}, fmt.Errorf("%s stream without a c= line", m.Type)
		}
	}
	return connection(v)
}

// Profile is how the packets of an RTP stream go: plain, or protected in one of two ways.
type Profile string

const (
	Plain Profile = "RTP/AVP"
	SAVP  Profile = "RTP/SAVP"         // keys are in the description: RFC 4568
	DTLS  Profile = "UDP/TLS/RTP/SAVP" // a handshake agrees on them: RFC 5764
)

// Profile returns the stream's, with feedback (RFC 4585) or without, "" for what is no RTP
// over UDP.
func (m *Media) Profile() Profile {
	switch p := Profile(strings.TrimSuffix(m.Proto, "F")); p {
	case Plain, SAVP, DTLS:
		return p
	}
	return ""
}

// SetProfile makes p the stream's profile, without feedback.
func (m *Media) SetProfile(p Profile) { m.Proto = string(p) }

// RTP reports whether the stream is RTP over UDP, plain or protected.
func (m *Media) RTP() bool { return m.Profile() != "" }

// Relayable reports whether the stream's packets can be relayed as they are: plain RTP, or
// T.38's UDPTL. What is protected, and TCP, cannot.
func (m *Media) Relayable() bool { return m.Profile() == Plain || strings.EqualFold(m.Proto, "udptl") }

// Has reports whether a codec is among the stream's, under whatever number.
func (m *Media) Has(codec Codec) bool { return slices.ContainsFunc(m.Codecs(), codec.same) }

// Numbers returns the payload types of this stream that the other has under another number
// for the same codec, and not for any: those that a party which keeps to its own numbers
// sends, where the other party's are to be sent (RFC 3264 §6.1).
func (m *Media) Numbers(other *Media) map[uint8]uint8 {
	theirs := other.Codecs()
	var numbers map[uint8]uint8
	for _, own := range m.Codecs() {
		if slices.ContainsFunc(theirs, func(c Codec) bool { return c.PayloadType == own.PayloadType }) {
			continue
		}
		if i := slices.IndexFunc(theirs, own.same); i >= 0 {
			if numbers == nil {
				numbers = map[uint8]uint8{}
			}
			numbers[own.PayloadType] = theirs[i].PayloadType
		}
	}
	return numbers
}

// Prefer puts the formats of these codecs first.
func (m *Media) Prefer(codecs []Codec) {
	own := m.Codecs()
	rank := func(format string) int {
		for i, c := range codecs {
			for _, o := range own {
				if strconv.Itoa(int(o.PayloadType)) == format && o.same(c) && !c.Event() {
					return i
				}
			}
		}
		return len(codecs)
	}
	slices.SortStableFunc(m.Formats, func(a, b string) int { return rank(a) - rank(b) })
}
