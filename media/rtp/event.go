package rtp

import "encoding/binary"

// Event is the payload of a telephone-event packet (RFC 4733 §2.3).
//
//	 0               8 9 10     16               32
//	+---------------+-+-+--------+----------------+
//	| event         |E|R| volume | duration       |
//	+---------------+-+-+--------+----------------+
type Event struct {
	Code     uint8
	End      bool
	Duration uint16 // in ticks
}

// ParseEvent reads a payload, the first event of it if there are several.
func ParseEvent(payload []byte) (Event, bool) {
	if len(payload) < 4 {
		return Event{}, false
	}
	return Event{Code: payload[0], End: payload[1]&0x80 != 0, Duration: binary.BigEndian.Uint16(payload[2:])}, true
}

// Key returns the key of an event as dialled, or 0 for what is no key.
func (e Event) Key() byte {
	const keys = "0123456789*#ABCD"
	if int(e.Code) < len(keys) {
		return keys[e.Code]
	}
	return 0
}

// Keys tells each key once of the many packets that it comes in: they share a
// timestamp (RFC 4733 §2.5.1.2), with or without a marker, whichever of them are lost.
// The zero value is ready.
type Keys struct {
	started bool
	ssrc    uint32
	stamp   uint32
	code    uint8
}

// Take takes an event packet of one leg and returns the key that it begins, or 0.
func (k *Keys) Take(h Header, payload []byte) byte {
	e, ok := ParseEvent(payload)
	if !ok {
		return 0
	}
	if k.started && h.SSRC == k.ssrc {
		// One that overtook the next event is no new key.
		if h.Timestamp == k.stamp && e.Code == k.code || int32(h.Timestamp-k.stamp) < 0 {
			return 0
		}
	}
	*k = Keys{true, h.SSRC, h.Timestamp, e.Code}
	return e.Key()
}
