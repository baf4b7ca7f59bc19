package finalize

import (
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/rtp"
)

const (
	// maxStreams is how many streams of a leg are followed at once.
	maxStreams = 8
	// maxHeldBytes bounds what a leg's streams hold; above it packets are placed
	// with less than lookAhead known.
	maxHeldBytes = 4 << 20
	// maxPacketTime is the longest packet that is taken for audio; RFC 3551 §4.2
	// has receivers accept 200 ms. A longer one would belong far before its arrival,
	// and take its stream there.
	maxPacketTime = 500 * time.Millisecond
	// packetBytes is what holding a packet costs beside its payload.
	packetBytes = 96

	// quietLevel is the mean amplitude below which a packet is silence, about
	// −46 dB of full scale.
	quietLevel = 160
)

// track brings the packets of one leg onto its channel: each to its stream,
// there in order, from there to its place.
type track struct {
	channel int
	stereo  *stereo
	passage *passage // that keeps the packets as they are; nil for none
	decodes bool     // the audio goes elsewhere, too
	codings *codings

	streams []*stream // the one heard last first
	newest  time.Duration
	held    int
	resumed []time.Duration // when a stopped capture went on
	leg     Leg
	samples int64         // placed
	anchor  anchor        // by sender reports
	untrue  bool          // these were once
	watched time.Duration // how long the skew in leg was measured
	claimed time.Duration // and that by sender reports

	spare   [][]byte // memory for payloads
	buffers buffers
}

func newTrack(channel int, codecs []rtp.Codec, s *stereo) *track {
	t := &track{channel: channel, stereo: s, codings: newCodings(), decodes: true}
	t.codings.change(-1<<63, codecs)
	return t
}

// take takes a packet that arrived then, and places those for which it was the
// last to be waited for.
func (t *track) take(at time.Duration, raw []byte) {
	h, err := rtp.Parse(raw)
	if err != nil {
		t.leg.Invalid++
		return
	}
	c := t.codings.at(h.PayloadType, at)
	if c.isAudio() && c.ticks(raw[h.PayloadOffset:h.PayloadEnd]) > samplesAt(maxPacketTime, c.clockHz) {
		t.leg.Invalid++
		return
	}
	t.leg.Packets++
	t.newest = max(t.newest, at)
	t.place(t.newest - 2*lookAhead) // with what is known of then, before it is forgotten for now
	s := t.streamOf(h, at, c)
	p := packet{
		at:        at,
		sequence:  s.sequenceOf(h),
		timestamp: s.timestampOf(h),
		coding:    c,
	}
	if p.isAudio() {
		p.payload = t.copyPayload(raw[h.PayloadOffset:h.PayloadEnd])
	}
	switch became := s.take(p); became {
	case duplicate:
		t.leg.Duplicates++
		t.giveBack(p.payload)
	case late:
		t.leg.Late++
		t.leg.Lost -= min(t.leg.Lost, 1) // counted when its place passed
		t.giveBack(p.payload)
	default:
		t.held += packetBytes + len(p.payload)
		if became == reordered {
			t.leg.Reordered++
		}
		if c == nil {
			t.leg.Unknown++
		}
	}
	t.place(t.newest - lookAhead)
}

// streamOf returns the stream that a packet belongs to, a new one if it goes on
// with none.
func (t *track) streamOf(h rtp.Header, at time.Duration, c *coding) *stream {
	for i, s := range t.streams {
		if s.continues(h, at, c) {
			copy(t.streams[1:i+1], t.streams[:i])
			t.streams[0] = s
			return s
		}
	}
	if len(t.streams) == maxStreams {
		oldest := t.streams[maxStreams-1]
		for len(oldest.waiting) > 0 {
			t.placeNext(oldest)
		}
		t.over(oldest)
		t.streams = t.streams[:maxStreams-1]
	}
	s := newStream(h, t.stereo.hz, &t.buffers)
	t.streams = slices.Insert(t.streams, 0, s)
	t.leg.Streams++
	return s
}

// place places all packets that arrived before then, and as many more as have
// to go for the memory they take.
func (t *track) place(before time.Duration) {
	for _, s := range t.streams {
		for len(s.waiting) > 0 && (s.waiting[0].at <= before || t.held > maxHeldBytes) {
			t.placeNext(s)
		}
		if len(s.waiting) == 0 && s.placedAt <= before-lookAhead {
			t.flush(s) // while there is still a place for it
		}
	}
}

// placeNext places the first packet that waits in a stream.
func (t *track) placeNext(s *stream) {
	after := s.placedAt
	p, missing := s.next()
	t.held -= packetBytes + len(p.payload)
	lost := missing > 0 && !t.stoppedBetween(after, p.at)
	if lost {
		t.leg.Lost += uint64(missing)
	}
	if !p.isAudio() {
		return
	}
	t.hear(s, p, lost)
	t.giveBack(p.payload)
}

// hear decodes a packet and places its audio, with what stands for those that were
// lost in front of it.
func (t *track) hear(s *stream, p packet, lost bool) {
	if t.passage != nil && (p.coding.ticks(p.payload) != t.passage.samples || !opus.Whole(p.payload)) {
		t.leg.Invalid++
		return
	}
	if !t.decodes {
		position, _ := s.timeline.place(p.audio(), len(p.payload) <= speechless)
		t.pass(s, p, position)
		return
	}
	if s.voice.changes(p.coding) {
		t.flush(s)
		s.voice.use(p.coding)
	}
	a, err := s.voice.decode(p, lost)
	if err != nil {
		t.leg.Invalid++
		return
	}
	position, slip := s.timeline.place(a, isQuiet(s.voice.pcm))
	if t.passage != nil {
		t.pass(s, p, position+s.timeline.samples(p.timestamp)-s.timeline.samples(a.from)) // behind what is made up for others
	}
	if !s.voice.continues(position) {
		t.flush(s)
	}
	position, audio := s.voice.speak(position, slip)
	if placed := t.add(position, audio); placed == 0 && len(audio) > 0 {
		t.leg.Late++
	}
}

// pass has a packet kept as it is.
func (t *track) pass(s *stream, p packet, position int64) {
	kept := t.passage.put(t.channel, &s.walk, p.timestamp, position, p.payload)
	switch {
	case t.decodes: // what is decoded is counted
	case kept:
		t.samples += t.passage.samples
	case s.walk.snapped == 0:
		t.leg.Late++
	}
}

// flush places what a stream's voice has held back.
func (t *track) flush(s *stream) {
	if position, audio := s.voice.flush(); len(audio) > 0 {
		t.add(position, audio)
	}
}

func (t *track) add(position int64, audio []int16) (placed int) {
	placed = t.stereo.add(t.channel, position, audio)
	t.samples += int64(placed)
	return placed
}

// over takes what is to be said of a stream that nothing is placed of any more.
func (t *track) over(s *stream) {
	t.flush(s)
	t.leg.Moves += uint64(s.timeline.moves)
	t.leg.Snapped += s.walk.snapped
	t.leg.Slipped += float64(s.timeline.slips) / float64(t.stereo.hz)
	if ppm, watched := s.timeline.skew.ppm(t.stereo.hz); watched > t.watched {
		t.leg.SkewPPM, t.watched = ppm, watched
	}
	if ppm, claimed := s.said.skew.ppm(t.stereo.hz); claimed > t.claimed {
		t.leg.ReportedPPM, t.claimed = ppm, claimed
	}
}

// close places all that waits and returns what is to be said of the leg.
func (t *track) close() Leg {
	t.place(1<<63 - 1)
	for _, s := range t.streams {
		t.over(s)
	}
	// What we dropped is missing from the sequence just as what the network lost.
	t.leg.Lost -= min(t.leg.Lost, t.leg.Dropped)
	t.leg.Seconds = float64(t.samples) / float64(t.stereo.hz)
	return t.leg
}

// stoppedBetween reports whether the capture was stopped between two arrivals:
// what is missing was not lost.
func (t *track) stoppedBetween(from, to time.Duration) bool {
	for _, resumed := range slices.Backward(t.resumed) {
		if resumed <= to {
			return resumed > from
		}
	}
	return false
}

// copyPayload returns a copy of a payload, in memory that was given back if
// there is any.
func (t *track) copyPayload(payload []byte) []byte {
	if n := len(t.spare); n > 0 {
		b := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return append(b[:0], payload...)
	}
	return append([]byte(nil), payload...)
}

// giveBack takes memory of usual size for another payload.
func (t *track) giveBack(payload []byte) {
	if c := cap(payload); c > 0 && c <= 2048 {
		t.spare = append(t.spare, payload)
	}
}

// isQuiet reports whether samples are silence to the ear.
func isQuiet(pcm []int16) bool {
	sum := 0
	for _, sample := range pcm {
		sum += max(int(sample), -int(sample))
	}
	return sum < quietLevel*len(pcm)
}
