// Package sdp reads and rewrites session descriptions (RFC 8866) line by line:
// what it does not understand stays as it came, in its place. Peers of every
// age are let in: a missing s= or t=, LF line ends, an o= that is not numeric.
//
// The package is pure. It knows neither SIP nor sockets, and whether a codec can
// be recorded is its caller's business.
//
//	offer ─ Parse ─▶ Description ─ Keep · Refuse · Locate ─▶ Bytes ─▶ our offer
package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Limits on what a description from outside may hold.
const (
	maxBytes = 64 << 10
	maxMedia = 32
)

// ErrNoAudio says that a description has no audio stream that is wanted.
var ErrNoAudio = errors.New("no audio stream")

// Description is a session description: the lines before the first m= line, and
// the streams. Lines are kept without their line end.
type Description struct {
	lines []string
	Media []*Media
}

// Media is one stream: an m= line and the lines that belong to it.
type Media struct {
	Type    string   // audio, video, image …
	Port    int      // 0: the stream is refused or switched off (RFC 3264 §6)
	Proto   string   // RTP/AVP, RTP/SAVP, udptl …: see Profile
	Formats []string // payload types for RTP

	ports string // "/2" of "m=audio 49170/2 RTP/AVP 0", rarely there
	lines []string
}

// Parse reads a description. It is an error only when streams cannot be told
// apart: no v= line at all, or an m= line that cannot be read.
func Parse(body []byte) (*Description, error) {
	if len(body) > maxBytes {
		return nil, fmt.Errorf("session description of %d bytes, at most %d are read", len(body), maxBytes)
	}
	d := &Description{}
	for n, raw := range bytes.Split(body, []byte("\n")) {
		line := strings.TrimRight(string(raw), "\r")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' {
			return nil, fmt.Errorf("line %d of session description: not of the form <type>=<value>", n+1)
		}
		if line[0] == 'm' {
			if len(d.Media) == maxMedia {
				return nil, fmt.Errorf("session description with more than %d streams", maxMedia)
			}
			m, err := parseMedia(line[2:])
			if err != nil {
				return nil, fmt.Errorf("line %d of session description: %w", n+1, err)
			}
			d.Media = append(d.Media, m)
			continue
		}
		if k := len(d.Media); k > 0 {
			d.Media[k-1].lines = append(d.Media[k-1].lines, line)
		} else {
			d.lines = append(d.lines, line)
		}
	}
	if len(d.lines) == 0 || !strings.HasPrefix(d.lines[0], "v=") {
		return nil, errors.New("session description does not begin with v=")
	}
	return d, nil
}

// parseMedia reads the value of an m= line: audio 49170/2 RTP/AVP 0 8.
func parseMedia(value string) (*Media, error) {
	fields := strings.Fields(value)
	if len(fields) < 3 {
		return nil, errors.New("m= line with fewer than three fields")
	}
	port, ports, more := strings.Cut(fields[1], "/")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, errors.New("m= line whose port is not a number up to 65535")
	}
	if more {
		ports = "/" + ports
	}
	return &Media{Type: strings.ToLower(fields[0]), Port: int(number), Proto: fields[2], Formats: fields[3:], ports: ports}, nil
}

// Bytes returns the description in the form of RFC 8866, with CRLF line ends.
func (d *Description) Bytes() []byte {
	var b bytes.Buffer
	write := func(lines []string) {
		for _, line := range lines {
			b.WriteString(line)
			b.WriteString("\r\n")
		}
	}
	write(d.lines)
	for _, m := range d.Media {
		fmt.Fprintf(&b, "m=%s %d%s %s", m.Type, m.Port, m.ports, m.Proto)
		for _, format := range m.Formats {
			b.WriteByte(' ')
			b.WriteString(format)
		}
		b.WriteString("\r\n")
		write(m.lines)
	}
	return b.Bytes()
}

// Clone returns a copy that can be changed without changing d.
func (d *Description) Clone() *Description {
	c := &Description{lines: append([]string(nil), d.lines...)}
	for _, m := range d.Media {
		n := *m
		n.Formats = append([]string(nil), m.Formats...)
		n.lines = append([]string(nil), m.lines...)
		c.Media = append(c.Media, &n)
	}
	return c
}

// Audio returns the first audio stream that is switched on and RTP, the one that is
// relayed, or ErrNoAudio.
func (d *Description) Audio() (*Media, error) {
	for _, m := range d.Media {
		if m.Type == "audio" && m.Port != 0 && m.RTP() {
			return m, nil
		}
	}
	return nil, ErrNoAudio
}

// value returns the value of the first line of that type: value(lines, 'c').
func value(lines []string, kind byte) (string, bool) {
	for _, line := range lines {
		if line[0] == kind {
			return line[2:], true
		}
	}
	return "", false
}

// set replaces the first line of that type, or inserts one: after the types that
// RFC 8866 §5 puts before it, as far as they are there.
func set(lines []string, kind byte, v string) []string {
	const order = "vosiuepcbtrzka"
	at := 0
	for i, line := range lines {
		if line[0] == kind {
			lines[i] = string(kind) + "=" + v
			return lines
		}
		if strings.IndexByte(order, line[0]) < strings.IndexByte(order, kind) {
			at = i + 1
		}
	}
	lines = append(lines, "")
	copy(lines[at+1:], lines[at:])
	lines[at] = string(kind) + "=" + v
	return lines
}

// remove drops the lines for which drop says so.
func remove(lines []string, drop func(line string) bool) []string {
	kept := lines[:0]
	for _, line := range lines {
		if !drop(line) {
			kept = append(kept, line)
		}
	}
	return kept
}

// attribute splits a=name:value. For other lines the name is empty.
func attribute(line string) (name, v string) {
	if !strings.HasPrefix(line, "a=") {
		return "", ""
	}
	name, v, _ = strings.Cut(line[2:], ":")
	return name, v
}

// connection reads a c= value: IN IP4 192.0.2.1, with the TTL of old times.
func connection(v string) (netip.Addr, error) {
	fields := strings.Fields(v)
	if len(fields) != 3 || fields[0] != "IN" {
		return netip.Addr{}, errors.New("c= line is not of the form IN IP4|IP6 <address>")
	}
	host, _, _ := strings.Cut(fields[2], "/")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, errors.New("c= line without an IP address (host names are not looked up)")
	}
	return addr.Unmap(), nil
}

// Same reports whether two descriptions are one that was sent twice, as a refresh of the
// session does (RFC 4028 §7.4): line by line, the version in o= included.
func Same(a, b *Description) bool { return bytes.Equal(a.Bytes(), b.Bytes()) }

// Equivalent reports whether two descriptions of one session mean the same: apart from the
// version, from directions that one says and the other leaves to the default, from how
// the packets are protected, which differs between an offer and an answer, and from what is
// said of a recording, which is between us and each peer.
func Equivalent(a, b *Description) bool {
	return bytes.Equal(a.canonical(), b.canonical())
}

func (d *Description) canonical() []byte {
	c := d.Clone()
	for _, m := range c.Media {
		m.SetDirection(d.Direction(m))
		m.unprotect()
		m.lines = remove(m.lines, func(line string) bool { return protection(line) || aboutRecording(line) })
	}
	c.lines = remove(c.lines, func(line string) bool { _, is := direction(line); return is || line[0] == 'o' || aboutRecording(line) })
	return c.Bytes()
}

// unprotect makes a protected stream plain RTP. The feedback that many offer together with
// protection goes with it: nothing of it passes, and who is plain seldom knows it.
func (m *Media) unprotect() {
	if m.RTP() && m.Profile() != Plain {
		m.SetProfile(Plain)
	}
}

// protection reports whether a line is about how packets are protected.
func protection(line string) bool {
	switch name, _ := attribute(line); name {
	case "crypto", "fingerprint", "setup", "tls-id", "rtcp-mux":
		return true
	}
	return false
}
