package finalize

import (
	"math"
	"time"
)

const (
	// lookAhead is how much of a stream is known beyond a packet when it is
	// placed, and how much of its past is remembered.
	lookAhead = 10 * time.Second
	// slot is the time of which the least transit is kept.
	slot = 250 * time.Millisecond
	// maxJitter is by how much the arrivals of two packets may differ from their
	// timestamps: beyond, the sender's clock has jumped or stood still, and the
	// stream is anchored anew at once. One that stands still for so long skips a
	// slot, so no slot has transits from both sides of it.
	maxJitter = 600 * time.Millisecond
	// drift is the error that is corrected: at once in silence, in speech by
	// slipping, so that nothing is heard of it.
	drift = 4 * time.Millisecond
	// maxDrift is the error that is corrected at once wherever it is found. No
	// clock drifts so far before slipping has caught up: it is another path.
	maxDrift = 20 * time.Millisecond
	// slipPart is how many samples of speech are made one more or one less at
	// most: 0.6 % is a tenth of a semitone for the time of a packet, and thirty
	// times what a clock that is off by 200 ppm asks for.
	slipPart = 160
)

// timeline says where on its leg's channel the packets of one stream belong:
// the stream's own clock, its RTP timestamps, tied to the wall clock of the
// arrivals, which all streams of both legs share.
//
//	transit = arrival − end of the packet's audio by the stream's clock
//
//	          │    ·   ·      ·
//	  transit │  ·   ·    · ·      ·  ·  ·
//	          │ ·  ·    ·    ·  ·  ·    ·   ·
//	          │───·──────·────·───────·───────·── offset: the least transit
//	          └──────────────────────────────────▶ arrival
//
// Jitter only ever adds to a transit, so the least of many is the path's own,
// and a packet begins at its timestamp plus that. It is taken from what is known
// around a packet, lookAhead before and after: one late packet moves nothing,
// be it the first. What moves the least itself is a change of path, which the
// offset follows at once, or a sender whose clock is not ours: then the offset
// follows in silence, or slips, packet by packet, while the audio of each is made
// a little longer or shorter.
//
// Positions are in samples of the channel, the first of which is the capture's
// first. A packet's audio ends when it arrives at the earliest, so packets of
// 20 ms and of 60 ms on the two legs do not part the channels.
type timeline struct {
	channelHz int64
	clockHz   int64 // of the stream's timestamps

	anchored bool
	offset   int64 // from the stream's clock to the channel, in samples
	since    int64 // the slot in which that was last anchored anew
	end      int64 // position behind the latest packet placed
	moves    int   // how often the offset was corrected at once
	slips    int64 // samples by which it slipped, in either direction

	least transits
	skew  skew
}

// audio is a packet's audio on its stream's clock, with its arrival.
type audio struct {
	at    time.Duration // since the capture began
	from  int64         // extended timestamp
	ticks int64         // duration, in units of the timestamp
}

// observe makes a packet that has arrived known to those placed before and after it.
func (t *timeline) observe(a audio) {
	transit := t.transit(a)
	t.least.add(slotOf(a.at), transit)
	t.skew.observe(a.at, transit)
}

// place returns the position of a packet's first sample, and by how many samples
// its audio is to be made longer, or shorter if that is negative. Packets are
// placed in the order of their sequence, each when all within lookAhead after it
// have been observed. Quiet says that nothing is lost if some of its audio is
// covered by what comes before it.
func (t *timeline) place(a audio, quiet bool) (position, slip int64) {
	var (
		here      = slotOf(a.at)
		transit   = t.transit(a)
		around    = min(here, max(slotOf(a.at-maxJitter), t.since)) // what was sent with it may have come before it
		ahead     = min(transit, t.least.within(around, here+windowSlots))
		behind    = min(transit, t.least.within(max(here-windowSlots, t.since), here))
		begin     = t.samples(a.from)
		length    = t.samples(a.from+a.ticks) - begin
		room      = begin + t.offset - t.end // silence in front of it
		late      = min(ahead, behind) - t.offset
		early     = t.offset - behind
		toSamples = func(d time.Duration) int64 { return samplesAt(d, t.channelHz) }
	)
	if quiet {
		room = max(room, length)
	}
	switch {
	case !t.anchored:
		// What comes first in sequence need not have come first.
		t.anchored, t.offset = true, min(ahead, behind)
	case ahead-t.offset > toSamples(maxJitter), t.offset-transit > toSamples(maxDrift):
		t.move(ahead)
		t.since = around
		t.skew.restart()
	case late > toSamples(maxDrift):
		t.move(t.offset + late)
		t.skew.restart()
	case late > toSamples(drift) && room > 0:
		t.move(t.offset + late)
	case early > toSamples(drift) && room > 0:
		t.move(t.offset - min(early, room))
	case late > toSamples(drift):
		slip = min(late, max(length/slipPart, 1))
	case early > toSamples(drift) && early <= toSamples(maxDrift): // beyond, a packet that shows it moves all
		slip = -min(early, max(length/slipPart, 1))
	}
	position = begin + t.offset
	t.offset += slip
	t.slips += max(slip, -slip)
	t.end = max(t.end, position+length+slip)
	return position, slip
}

func (t *timeline) move(offset int64) {
	t.offset = offset
	t.moves++
}

// transit returns how long after its audio's end a packet arrived, up to a
// constant of the stream.
func (t *timeline) transit(a audio) int64 {
	return samplesAt(a.at, t.channelHz) - t.samples(a.from+a.ticks)
}

// samples turns a time on the stream's clock into samples of the channel.
func (t *timeline) samples(ticks int64) int64 {
	return ticks/t.clockHz*t.channelHz + ticks%t.clockHz*t.channelHz/t.clockHz
}

// samplesAt returns how many samples of a channel there are in d.
func samplesAt(d time.Duration, hz int64) int64 {
	const second = int64(time.Second)
	return int64(d)/second*hz + int64(d)%second*hz/second
}

// windowSlots is lookAhead in slots.
const windowSlots = int64(lookAhead / slot)

func slotOf(at time.Duration) int64 { return int64(at / slot) }

// transits are the least transits of a stream in the slots that still matter:
// a packet is placed up to twice lookAhead after it arrived.
type transits [4 * windowSlots]struct {
	slot  int64
	least int64
	known bool
}

func (t *transits) add(slot, transit int64) {
	s := &t[uint64(slot)%uint64(len(t))]
	if !s.known || s.slot < slot {
		s.slot, s.least, s.known = slot, transit, true
	} else if s.slot == slot {
		s.least = min(s.least, transit)
	}
}

// unknown is the least transit of no packets.
const unknown = math.MaxInt64

// within returns the least transit in the slots from first to last.
func (t *transits) within(first, last int64) int64 {
	least := int64(unknown)
	for slot := first; slot <= last; slot++ {
		if s := t[uint64(slot)%uint64(len(t))]; s.known && s.slot == slot {
			least = min(least, s.least)
		}
	}
	return least
}

// scatter returns between what the least transits of the slots from first to last are, and
// of how many slots one is known.
func (t *transits) scatter(first, last int64) (least, most int64, known int) {
	least, most = math.MaxInt64, math.MinInt64
	for slot := max(first, last-int64(len(t))+1); slot <= last; slot++ {
		if s := t[uint64(slot)%uint64(len(t))]; s.known && s.slot == slot {
			least, most, known = min(least, s.least), max(most, s.least), known+1
		}
	}
	return least, most, known
}
