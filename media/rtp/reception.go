package rtp

import "time"

// Reception counts what comes in of one source: expected and lost packets and the
// jitter, as RFC 3550 appendices A.1, A.3 and A.8 do. The zero value is ready.
type Reception struct {
	ssrc    uint32
	started bool
	base    uint32 // extended sequence number of the first packet
	highest uint32 // extended
	count   uint32 // of this source
	before  uint64 // lost of sources before this one
	transit int64  // of the last packet, in ticks
	jitter  int64  // in sixteenths of a tick
}

// dropout is how far a source may jump ahead before it counts as restarted.
const dropout = 3000

// Take counts a packet that arrived at that nanosecond.
func (r *Reception) Take(h Header, at int64, clockHz int) {
	gap := int16(h.Sequence - uint16(r.highest))
	if !r.started || h.SSRC != r.ssrc || gap > dropout || gap < -dropout {
		r.before = r.Lost()
		r.started, r.ssrc, r.count = true, h.SSRC, 0
		r.base = 1<<16 | uint32(h.Sequence)
		r.highest = r.base
		r.transit = ticks(at, clockHz) - int64(h.Timestamp)
		gap = 0
	}
	if gap > 0 {
		r.highest += uint32(gap)
	}
	r.count++
	transit := ticks(at, clockHz) - int64(h.Timestamp)
	d := int64(int32(transit - r.transit)) // timestamps wrap
	r.transit = transit
	if d < 0 {
		d = -d
	}
	r.jitter += d - (r.jitter+8)>>4
}

// ticks converts nanoseconds to ticks of a clock.
func ticks(ns int64, clockHz int) int64 {
	return ns/1e9*int64(clockHz) + ns%1e9*int64(clockHz)/1e9
}

// Lost returns how many packets the network did not bring. Duplicates can hide some.
func (r *Reception) Lost() uint64 {
	if !r.started {
		return r.before
	}
	expected := r.highest - r.base + 1
	if expected < r.count {
		return r.before
	}
	return r.before + uint64(expected-r.count)
}

// Jitter returns the interarrival jitter of the latest source.
func (r *Reception) Jitter(clockHz int) time.Duration {
	if clockHz == 0 {
		return 0
	}
	return time.Duration(r.jitter>>4) * time.Second / time.Duration(clockHz)
}
