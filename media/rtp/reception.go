package rtp

import "time"

// Reception counts what comes in of one source: expected and lost packets and the
// jitter, as RFC 3550 appendices A.1, A.3 and A.8 do, and those that came twice or after
// a later one. The zero value is ready.
type Reception struct {
	ssrc    uint32
	started bool
	base    uint32 // extended sequence number of the first packet
	highest uint32 // extended
	seen    uint64 // which of the 64 up to highest have come, the lowest bit for highest
	count   uint32 // of this source, those that came twice left out
	before  uint64 // lost of sources before this one
	clockHz int    // of the last packet that was timed
	transit int64  // of that packet, in ticks
	jitter  int64  // in sixteenths of a tick

	duplicates, reordered uint64 // of all sources
}

// dropout is how far a source may jump ahead before it counts as restarted.
const dropout = 3000

// Take counts a packet that arrived at that nanosecond. One that is no sound, of a
// telephone-event, is not timed: several have one timestamp (RFC 4733 §2.5.1.2). Where the
// clock rate changes within a source (RFC 7160) the jitter goes on in the new one's ticks,
// and nothing is told from the two packets between which it does.
func (r *Reception) Take(h Header, at int64, clockHz int, sound bool) {
	gap := int16(h.Sequence - uint16(r.highest))
	if !r.started || h.SSRC != r.ssrc || gap > dropout || gap < -dropout {
		r.before = r.Lost()
		r.started, r.ssrc, r.count, r.seen = true, h.SSRC, 0, 0
		r.base = 1<<16 | uint32(h.Sequence)
		r.highest = r.base
		r.time(clockHz)
		r.transit = ticks(at, clockHz) - int64(h.Timestamp)
		gap = 0
	}
	if gap > 0 {
		r.highest += uint32(gap)
		r.seen = r.seen<<uint(gap) | 1 // by 64 and more: none
	} else {
		bit := uint64(1) << uint(-gap)
		switch {
		case r.seen&bit != 0:
			r.duplicates++
			return
		case r.seen != 0:
			r.reordered++
		}
		r.seen |= bit
		if r.highest-uint32(-gap) < r.base { // the first to come was not the first sent
			r.base = r.highest - uint32(-gap)
		}
	}
	r.count++
	if !sound {
		return
	}
	transit := ticks(at, clockHz) - int64(h.Timestamp)
	if r.time(clockHz) {
		r.transit = transit
		return
	}
	d := int64(int32(transit - r.transit)) // timestamps wrap
	r.transit = transit
	if d < 0 {
		d = -d
	}
	r.jitter += d - (r.jitter+8)>>4
}

// time goes on in another clock's ticks, and reports whether it is another.
func (r *Reception) time(clockHz int) bool {
	if clockHz == r.clockHz {
		return false
	}
	if r.clockHz > 0 {
		r.jitter = r.jitter * int64(clockHz) / int64(r.clockHz)
	}
	r.clockHz = clockHz
	return true
}

// ticks converts nanoseconds to ticks of a clock.
func ticks(ns int64, clockHz int) int64 {
	return ns/1e9*int64(clockHz) + ns%1e9*int64(clockHz)/1e9
}

// Lost returns how many packets the network did not bring.
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

// Duplicates returns how many packets came twice, Reordered how many after a later one.
func (r *Reception) Duplicates() uint64 { return r.duplicates }
func (r *Reception) Reordered() uint64  { return r.reordered }

// Source returns the latest source, how far it has come, and what is needed to report it.
func (r *Reception) Source() (ssrc, highest, base, count uint32) {
	return r.ssrc, r.highest, r.base, r.count
}

// JitterTicks returns the interarrival jitter of the latest source, in ticks.
func (r *Reception) JitterTicks() uint32 { return uint32(r.jitter >> 4) }

// Jitter returns the interarrival jitter of the latest source.
func (r *Reception) Jitter() time.Duration {
	if r.clockHz == 0 {
		return 0
	}
	return time.Duration(r.jitter>>4) * time.Second / time.Duration(r.clockHz)
}

// ClockHz returns the clock rate of the last packet that was timed, 0 if none was.
func (r *Reception) ClockHz() int { return r.clockHz }
