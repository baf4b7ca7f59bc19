package finalize

import (
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// A sender report (RFC 3550 §6.4.1) says what two of a sender's clocks showed at once: the
// one of a stream's timestamps, and the one on its wall, which all its streams share. No
// jitter is in that. It tells how fast the first runs, and where a stream belongs beside
// the one before it, of another SSRC or codec, when jitter hides it.
//
//	one stream  ────────┐ report            position of that instant on the channel
//	                    └── wall ──┐
//	the next                       └ report ────────  its place, without its jitter
//
// Senders say what they like. A report counts if it fits the packets that arrive and the
// report before it; it never moves a stream that arrivals place well, and none by more than
// arrivals are uncertain by. All others are counted, and change nothing; after one of them no
// stream of the leg is placed by what its sender says.

const (
	// maxStale is by how much the timestamp of a report may be behind its wall clock: many
	// give that of their last packet.
	maxStale = 25 * time.Millisecond
	// maxSkewParts is one part in so many that no clock is off by.
	maxSkewParts = 1000
	// youth is how long after its begin a stream may need to be told its place, reach how
	// long what is known of the stream before it is good for that: two clocks on walls do
	// not part by more than milliseconds meanwhile.
	youth = 30 * time.Second
	reach = time.Minute
	// minScatter is from how many slots on it shows how uncertain arrivals are.
	minScatter = 4
)

// told is what a report said.
type told struct {
	at     time.Duration // arrival
	ntp    uint64
	from   int64 // extended timestamp
	sender uint32
}

// said is what a sender has said of one stream.
type said struct {
	known    bool
	last     told
	origin   uint64 // NTP time of the first of those that agree
	agreeing int    // how many agree with the one before them, in a row
	skew     skew   // of timestamps against the wall clock
	promised int64  // slot up to which the stream was told its place
}

// anchor is an instant of a sender's wall clock on its channel.
type anchor struct {
	stream   *stream // nil: none is known
	told     told
	position int64
}

// report takes what the sender of a leg's streams said.
func (t *track) report(at time.Duration, r rtp.Reported) {
	t.leg.Reports++
	i := slices.IndexFunc(t.streams, func(s *stream) bool { return s.ssrc == r.SSRC && s.hasAudio })
	if i < 0 || r.NTP == 0 { // who has no clock on the wall says so: RFC 3550 §6.4.1
		t.leg.Ignored++
		return
	}
	s := t.streams[i]
	if !s.hears(at, r) {
		t.leg.Ignored++
		t.untrue = true
	}
	if t.untrue || s.said.agreeing == 0 { // nothing vouches for one alone
		return
	}
	now := s.said.last
	if t.anchor.leadsTo(s, now) && at-s.begun < youth {
		instant := t.anchor.position + samplesAt(rtp.NTPDuration(t.anchor.told.ntp, now.ntp), t.stereo.hz)
		first := max(slotOf(s.begun), s.said.promised+1)
		if s.timeline.promise(first, slotOf(at), instant-s.timeline.samples(now.from)) {
			if s.said.promised == 0 {
				t.leg.Aligned++
			}
			s.said.promised = slotOf(at)
		}
		return
	}
	here := slotOf(at)
	if least := s.timeline.least.within(here-windowSlots, here); at-s.begun >= lookAhead && least != unknown {
		t.anchor = anchor{s, now, s.timeline.samples(now.from) + least}
	}
}

// leadsTo reports whether an anchor tells the place of a stream that a report is about.
func (a anchor) leadsTo(s *stream, now told) bool {
	if a.stream == nil || a.stream == s || now.sender == 0 || a.told.sender != now.sender {
		return false
	}
	passed := now.at - a.told.at
	return passed <= reach && (rtp.NTPDuration(a.told.ntp, now.ntp)-passed).Abs() <= maxJitter
}

// hears takes a report on the stream and says whether it fits what is known of it.
func (s *stream) hears(at time.Duration, r rtp.Reported) bool {
	clockHz := s.latest.clockHz
	ticks := int64(int32(r.Timestamp - uint32(s.latest.from)))
	sent := time.Duration(ticks-s.latest.ticks) * time.Second / time.Duration(clockHz)
	if (sent - (at - s.latest.at)).Abs() > maxJitter {
		return false
	}
	var (
		before = s.said.last
		first  = !s.said.known
		now    = told{at, r.NTP, s.latest.from + ticks, r.Sender}
	)
	s.said.known, s.said.last = true, now
	if first {
		s.said.origin = now.ntp
		return true
	}
	if !now.agrees(before, clockHz) {
		s.said.agreeing, s.said.origin = 0, now.ntp
		s.said.skew.restart()
		return false
	}
	s.said.agreeing++
	wall := rtp.NTPDuration(s.said.origin, now.ntp)
	s.said.skew.observe(wall, samplesAt(wall, s.timeline.channelHz)-s.timeline.samples(now.from))
	return true
}

// agrees reports whether two reports can be true both.
func (now told) agrees(before told, clockHz int64) bool {
	wall := rtp.NTPDuration(before.ntp, now.ntp)
	sent := time.Duration(now.from-before.from) * time.Second / time.Duration(clockHz)
	return now.sender == before.sender && wall > 0 && (sent-wall).Abs() <= maxStale+wall/maxSkewParts && (wall-(now.at-before.at)).Abs() <= maxJitter
}

// promise makes known, from one slot to another, the transit that packets would have had
// without jitter, and reports whether that tells more than their arrivals do: which is so
// only within what these scatter by.
func (t *timeline) promise(from, to, transit int64) bool {
	least, most, known := t.least.scatter(from, to)
	gain := least - transit
	if known < minScatter || gain <= samplesAt(maxDrift, t.channelHz) || gain > most-least {
		return false
	}
	for slot := max(from, to-2*windowSlots); slot <= to; slot++ {
		t.least.add(slot, transit)
	}
	return true
}
