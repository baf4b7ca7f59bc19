package media

import (
	"cmp"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// leg is one side of a session. Control and the leg's socket share it without a lock:
// what control decides is immutable and swapped whole; what the socket learns is its own.
type leg struct {
	remote        atomic.Pointer[Remote]         // as negotiated; a new one opens the latch
	to            atomic.Pointer[netip.AddrPort] // where packets to the peer go: latched, or as negotiated
	relay         atomic.Bool                    // pass what comes in to the other leg
	events        atomic.Pointer[[128]bool]      // payload types of telephone-events
	clock         atomic.Int64                   // in Hz, of the peer's timestamps where clocks has none
	clocks        atomic.Pointer[clocks]         // by the payload types of the peer's packets; nil for none
	expectedSince atomic.Int64                   // since when the peer is to send, in nanoseconds; 0 for not
	types         atomic.Pointer[payloadTypes]   // of the peer's packets, as the other leg wants them; nil for as they are
	secure        atomic.Pointer[secure]         // what protects its packets; nil for nothing
	mix           atomic.Pointer[mix]            // a tone over what is relayed to the peer; nil for none
	ear           atomic.Pointer[ear]            // what listens for keys in them; nil for nothing
	former        atomic.Pointer[former]         // what did until just now; nil for nothing
	protection    atomic.Pointer[string]         // how its packets are, or were last; nil for never

	// Owned by who holds the session's mu.
	unprotected uint64 // packets received before the leg was protected, or between
	plainFrom   uint64 // of received, if the leg is plain: as it became so

	out       outgoing // our stream to the peer
	reporting reporting

	// Owned by the socket of RTP.
	latchedFor *Remote // the negotiation that latched belongs to
	latched    netip.AddrPort
	keys       rtp.Keys
	reception  rtp.Reception

	// Written by the sockets and the pacer, read by anybody.
	received, bytes, rejected, invalid, relayed, played, errors, dropped atomic.Uint64
	forged, replayed, unkeyed                                            atomic.Uint64
	refused                                                              atomic.Uint64 // packets to the peer, by the network
	lost                                                                 atomic.Uint64 // of reception
	jitter                                                               atomic.Int64  // of reception, in nanoseconds
	heardHz                                                              atomic.Int64  // of reception: the clock of the peer's latest packets; 0 before there are any
	duplicates, reordered                                                atomic.Uint64 // of reception
	heardTo                                                              atomic.Uint64 // its SSRC and extended sequence number: 32 bits each
	heardOf                                                              atomic.Uint64 // its first sequence number, and how many came
	heardAt                                                              atomic.Int64
	playback                                                             atomic.Pointer[Playback] // the last towards the peer
	prompt                                                               atomic.Pointer[Playback] // the last that was no tone
	acknowledged                                                         atomic.Pointer[rtp.Report]
}

// payloadTypes are the numbers that another party has for the same codecs.
type payloadTypes [128]uint8

// clocks are clock rates by payload type, in Hz; 0 where none is known, or where the packet
// is no sound and goes by the clock of those around it.
type clocks [128]int32

// clockOf returns the clock rate of a packet of the peer's.
func (l *leg) clockOf(payloadType uint8) int {
	if clocks := l.clocks.Load(); clocks != nil {
		if hz := clocks[payloadType&0x7f]; hz > 0 {
			return int(hz)
		}
	}
	if hz := l.reception.ClockHz(); hz > 0 {
		return hz
	}
	return int(max(l.clock.Load(), 1))
}

// hear counts a packet of the peer's.
func (l *leg) hear(h rtp.Header, at int64, clockHz int, sound bool) {
	l.reception.Take(h, at, clockHz, sound)
	if hz := int64(l.reception.ClockHz()); hz != l.heardHz.Load() {
		l.heardHz.Store(hz)
	}
	ssrc, highest, base, count := l.reception.Source()
	l.heardTo.Store(uint64(ssrc)<<32 | uint64(highest))
	l.heardOf.Store(uint64(base)<<32 | uint64(count))
	l.jitter.Store(int64(l.reception.Jitter()))
	if lost := l.reception.Lost(); lost != l.lost.Load() {
		l.lost.Store(lost)
	}
	if n := l.reception.Duplicates(); n != l.duplicates.Load() {
		l.duplicates.Store(n)
	}
	if n := l.reception.Reordered(); n != l.reordered.Load() {
		l.reordered.Store(n)
	}
}

// admit reports whether a packet from that address is the peer's. The first one that
// fits the negotiation latches: symmetric RTP (RFC 4961), but no further than the
// address that was negotiated, unless the peer is behind NAT.
func (l *leg) admit(from netip.AddrPort) bool {
	remote := l.remote.Load()
	if remote == nil || !l.expects(remote, from) {
		return false
	}
	if l.latchedFor != remote || from != l.latched {
		l.latch(remote, from)
	}
	return true
}

// expects reports whether admit lets a packet from there in, without a latch.
func (l *leg) expects(remote *Remote, from netip.AddrPort) bool {
	if l.latchedFor == remote {
		return from == l.latched || from == remote.RTP // who sends from where he said always takes it back
	}
	return remote.NAT || from.Addr() == remote.RTP.Addr()
}

// latch is the slow door: once a negotiation.
func (l *leg) latch(remote *Remote, from netip.AddrPort) {
	l.latchedFor, l.latched = remote, from
	l.to.Store(&from)
}

// same reports whether two negotiations are the same.
func (r *Remote) same(o Remote) bool {
	return r.RTP == o.RTP && r.RTCP == o.RTCP && r.Mux == o.Mux && r.NAT == o.NAT && r.Raw == o.Raw
}

// isEvent reports whether a payload type is telephone-event's.
func (l *leg) isEvent(payloadType uint8) bool {
	events := l.events.Load()
	return events != nil && events[payloadType]
}

// isRaw reports whether the leg's datagrams are relayed as they are.
func (l *leg) isRaw() bool {
	remote := l.remote.Load()
	return remote != nil && remote.Raw
}

// clockHz is the clock of what the peer sends.
func (l *leg) clockHz() int { return int(cmp.Or(l.heardHz.Load(), max(l.clock.Load(), 1))) }

// stats tells what became of the leg.
func (l *leg) stats() LegStats {
	s := LegStats{
		Received: l.received.Load(), Bytes: l.bytes.Load(), Rejected: l.rejected.Load(), Invalid: l.invalid.Load(),
		Relayed: l.relayed.Load(), Played: l.played.Load(), Errors: l.errors.Load(), Dropped: l.dropped.Load(),
		Forged: l.forged.Load(), Replayed: l.replayed.Load(), Unkeyed: l.unkeyed.Load(),
		Lost: l.lost.Load(), Jitter: time.Duration(l.jitter.Load()), Duplicates: l.duplicates.Load(), Reordered: l.reordered.Load(),
		Peer: l.reporting.peer(),
	}
	if protection := l.protection.Load(); protection != nil {
		s.Protection, s.Unprotected = *protection, l.unprotected
		if l.secure.Load() == nil {
			s.Unprotected += s.Received - l.plainFrom
		}
	}
	p := l.prompt.Load()
	if p == nil {
		return s
	}
	played := p.Result()
	s.HeardDuring = played.Heard
	if r := l.acknowledged.Load(); r != nil {
		s.Acknowledged, s.AcknowledgedSequence, s.AcknowledgedLoss = true, r.Highest, r.Lost
	}
	return s
}

// acknowledgeWithin is how many packets after a playback's last one a report may still
// be about the playback: ten seconds.
const acknowledgeWithin = 500

// acknowledge keeps the first report that covers the last prompt's end, if it was not
// made so long after that it tells of other packets.
func (l *leg) acknowledge(r *rtp.Report) {
	p := l.prompt.Load()
	if p == nil || l.acknowledged.Load() != nil {
		return
	}
	played := p.Result()
	if r.SSRC != played.SSRC {
		return
	}
	if beyond := int16(uint16(r.Highest) - played.LastSequence); played.Packets == played.Total && beyond >= 0 && beyond <= acknowledgeWithin {
		l.acknowledged.Store(r)
	}
}
