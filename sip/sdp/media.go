package sdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Codec is one payload format of a stream (RFC 8866 §6.6).
type Codec struct {
	Name        string // encoding name in upper case: PCMA, TELEPHONE-EVENT
	PayloadType uint8  // 0–127
	ClockHz     int
	Channels    int
}

// Event reports whether the codec is telephone-event (RFC 4733), keys pressed.
func (c Codec) Event() bool { return c.Name == "TELEPHONE-EVENT" }

// static are the payload types of RFC 3551 §6 that need no a=rtpmap.
var static = map[uint8]Codec{
	0: {"PCMU", 0, 8000, 1}, 3: {"GSM", 3, 8000, 1}, 4: {"G723", 4, 8000, 1}, 5: {"DVI4", 5, 8000, 1},
	6: {"DVI4", 6, 16000, 1}, 7: {"LPC", 7, 8000, 1}, 8: {"PCMA", 8, 8000, 1}, 9: {"G722", 9, 8000, 1},
	10: {"L16", 10, 44100, 2}, 11: {"L16", 11, 44100, 1}, 12: {"QCELP", 12, 8000, 1}, 13: {"CN", 13, 8000, 1},
	14: {"MPA", 14, 90000, 1}, 15: {"G728", 15, 8000, 1}, 16: {"DVI4", 16, 11025, 1}, 17: {"DVI4", 17, 22050, 1},
	18: {"G729", 18, 8000, 1},
}

// Codecs returns the stream's formats in order of preference. A format that is no
// payload type, or has neither a=rtpmap nor a meaning of its own, is left out.
func (m *Media) Codecs() []Codec {
	var codecs []Codec
	for _, format := range m.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			continue
		}
		codec, known := static[uint8(pt)]
		for _, line := range m.lines {
			if name, v := attribute(line); name == "rtpmap" {
				if c, ok := parseRTPMap(v); ok && c.PayloadType == uint8(pt) {
					codec, known = c, true
					break
				}
			}
		}
		if known {
			codecs = append(codecs, codec)
		}
	}
	return codecs
}

// parseRTPMap reads the value of a=rtpmap: 101 telephone-event/8000.
func parseRTPMap(v string) (Codec, bool) {
	fields := strings.Fields(v)
	if len(fields) < 2 {
		return Codec{}, false
	}
	pt, err := strconv.ParseUint(fields[0], 10, 7)
	if err != nil {
		return Codec{}, false
	}
	parts := strings.Split(fields[1], "/")
	if len(parts) < 2 {
		return Codec{}, false
	}
	clock, err := strconv.Atoi(parts[1])
	if err != nil || clock <= 0 {
		return Codec{}, false
	}
	channels := 1
	if len(parts) > 2 {
		if n, err := strconv.Atoi(parts[2]); err == nil && n > 0 {
			channels = n
		}
	}
	return Codec{Name: strings.ToUpper(parts[0]), PayloadType: uint8(pt), ClockHz: clock, Channels: channels}, true
}

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
	v, ok := value(m.lines, 'c')
	if !ok {
		if v, ok = value(d.lines, 'c'); !ok {
			return rtp, rtcp, fmt.Errorf("%s stream without a c= line", m.Type)
		}
	}
	addr, err := connection(v)
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

// Direction is who sends on a stream, seen from the description's author
// (RFC 3264 §5.1).
type Direction string

const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Reverse is the direction the other side answers with (RFC 3264 §6.1).
func (d Direction) Reverse() Direction {
	switch d {
	case SendOnly:
		return RecvOnly
	case RecvOnly:
		return SendOnly
	}
	return d
}

// Direction returns the stream's direction, by default the session's or sendrecv.
func (d *Description) Direction(m *Media) Direction {
	for _, lines := range [][]string{m.lines, d.lines} {
		for _, line := range lines {
			if dir, ok := direction(line); ok {
				return dir
			}
		}
	}
	return SendRecv
}

func direction(line string) (Direction, bool) {
	switch dir := Direction(strings.TrimPrefix(line, "a=")); dir {
	case SendRecv, SendOnly, RecvOnly, Inactive:
		return dir, true
	}
	return "", false
}

// SetDirection makes dir the stream's direction, whatever the session's is.
func (m *Media) SetDirection(dir Direction) {
	m.lines = remove(m.lines, func(line string) bool { _, is := direction(line); return is })
	m.lines = append(m.lines, "a="+string(dir))
}

// Origin is our o= line (RFC 8866 §5.2).
type Origin struct {
	ID, Version uint64
	Address     netip.Addr
}

// Locate makes the description ours: our o= and c= lines, our port for m, every
// other stream refused, and no attribute left that tells of another address,
// key or transport than the plain RTP that is relayed.
func (d *Description) Locate(m *Media, o Origin, port uint16) {
	family := "IP4"
	if o.Address.Is6() {
		family = "IP6"
	}
	d.lines = set(d.lines, 'o', fmt.Sprintf("- %d %d IN %s %s", o.ID, o.Version, family, o.Address))
	d.lines = set(d.lines, 's', "-")
	d.lines = set(d.lines, 'c', fmt.Sprintf("IN %s %s", family, o.Address))
	if _, ok := value(d.lines, 't'); !ok {
		d.lines = set(d.lines, 't', "0 0")
	}
	d.lines = remove(d.lines, located)
	for _, other := range d.Media {
		if other != m {
			other.Refuse()
		}
	}
	m.Port, m.ports = int(port), ""
	m.lines = remove(m.lines, func(line string) bool { return line[0] == 'c' || located(line) })
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
		"ice-options", "ice-lite", "ice-mismatch", "crypto", "fingerprint", "setup", "tls-id", "identity", "group", "mid", "msid",
		"msid-semantic", "ssrc", "ssrc-group", "extmap", "extmap-allow-mixed", "bundle-only", "rtcp-fb", "label", "record", "recordpref",
		"alt", "nortpproxy", "source-filter":
		return true
	}
	return false
}
