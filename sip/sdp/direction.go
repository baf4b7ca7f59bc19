package sdp

import "strings"

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
func (d Direction) Reverse() Direction { return directionOf(d.Receives(), d.Sends()) }

// And is what is left of a direction where another one limits it, both seen from the same
// side.
func (d Direction) And(o Direction) Direction {
	return directionOf(d.Sends() && o.Sends(), d.Receives() && o.Receives())
}

// Sends reports whether the author sends.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives reports whether the author wants to receive.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

func directionOf(sends, receives bool) Direction {
	switch {
	case sends && receives:
		return SendRecv
	case sends:
		return SendOnly
	case receives:
		return RecvOnly
	}
	return Inactive
}

// Direction returns the stream's direction, by default the session's or sendrecv. Who
// gives 0.0.0.0 as his address, as of old, wants to receive nothing (RFC 3264 §8.4).
func (d *Description) Direction(m *Media) Direction {
	dir := SendRecv
	for _, lines := range [][]string{d.lines, m.lines} {
		for _, line := range lines {
			if said, ok := direction(line); ok {
				dir = said
			}
		}
	}
	if addr, err := d.address(m); err == nil && addr.IsUnspecified() {
		dir = dir.And(SendOnly)
	}
	return dir
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
