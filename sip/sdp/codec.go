package sdp

import (
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

// same reports whether two formats are the same codec, whatever their numbers.
func (c Codec) same(o Codec) bool {
	return c.Name == o.Name && c.ClockHz == o.ClockHz && c.Channels == o.Channels
}

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
