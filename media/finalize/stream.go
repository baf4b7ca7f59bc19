package finalize

import (
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

const (
	// maxMisorder is how many sequence numbers late a packet can be and still
	// belong to its stream; maxDropout is how many can be lost at once unless
	// timestamp and arrival agree on it (RFC 3550 A.1: MAX_DROPOUT).
	maxMisorder = 1000
	maxDropout  = 3000
)

// packet is one packet that waits to be placed on the channel.
type packet struct {
	at        time.Duration // arrival since the capture began
	sequence  int64         // extended
	timestamp int64         // extended, from audio only
	coding    *coding       // nil for a payload type that nobody announced
	payload   []byte
}

// audio returns the packet's audio on its stream's clock.
func (p packet) audio() audio {
	return audio{at: p.at, from: p.timestamp, ticks: p.coding.ticks(p.payload)}
}

// isAudio reports whether the packet is audio that we decode.
func (p packet) isAudio() bool { return p.coding.isAudio() }

// stream is packets of one SSRC whose sequence numbers and timestamps go on. A
// sender that starts over with either begins another stream, also under the
// same SSRC. It puts packets in order and holds them until they can be placed.
type stream struct {
	ssrc     uint32
	timeline timeline
	voice    voice
	walk     walk // of packets that are kept as they are

	highest  int64             // extended sequence number
	seen     [1024 / 64]uint64 // which of the last 1024 have come, by their lowest bits
	latest   reference         // the audio packet of the highest sequence number
	hasAudio bool
	begun    time.Duration // when the first audio arrived
	said     said          // of it, by who sends it

	waiting  []packet // in the order of their sequence
	started  bool     // some were placed already
	placed   int64    // sequence number and arrival of the last of them
	placedAt time.Duration
}

// reference is what the next audio packet of a stream is held against.
type reference struct {
	audio
	sequence int64
	clockHz  int64
}

// newStream returns a stream that begins with a packet.
func newStream(h rtp.Header, channelHz int64, b *buffers) *stream {
	return &stream{
		ssrc: h.SSRC,
		// Far from zero: what was sent before it and comes after it has a number too.
		highest:  1<<32 + int64(h.Sequence) - 1,
		timeline: timeline{channelHz: channelHz},
		voice:    voice{hz: channelHz, buffers: b},
	}
}

// sequenceOf returns the extended sequence number of a packet, which is at most
// half of all numbers away from the highest.
func (s *stream) sequenceOf(h rtp.Header) int64 {
	return s.highest + int64(int16(h.Sequence-uint16(s.highest)))
}

// timestampOf returns the extended timestamp of an audio packet.
func (s *stream) timestampOf(h rtp.Header) int64 {
	if !s.hasAudio {
		return 1<<40 + int64(h.Timestamp)
	}
	return s.latest.from + int64(int32(h.Timestamp-uint32(s.latest.from)))
}

// continues reports whether a packet goes on with this stream. Its sequence
// number must be near; its timestamp, if it is audio, must have moved like the
// arrivals or, where the network held it up, like the sequence numbers, and
// never against these (RFC 3550 §5.1).
func (s *stream) continues(h rtp.Header, at time.Duration, c *coding) bool {
	if h.SSRC != s.ssrc {
		return false
	}
	sequence := s.sequenceOf(h)
	ahead := sequence - s.highest
	if ahead <= -maxMisorder {
		return false
	}
	if !c.isAudio() || !s.hasAudio {
		return ahead < maxDropout
	}
	if c.clockHz != s.latest.clockHz {
		return false
	}
	steps := sequence - s.latest.sequence
	ticks := s.timestampOf(h) - s.latest.from
	sent := time.Duration(ticks) * time.Second / time.Duration(c.clockHz)
	if steps <= 0 { // reordered or a duplicate
		return -lookAhead < sent && sent <= 0
	}
	if sent < 0 {
		return false
	}
	apart := sent - (at - s.latest.at)
	likeArrivals := -maxJitter <= apart && apart <= maxJitter
	likeSequence := ticks == steps*s.latest.ticks
	if ahead >= maxDropout {
		return likeArrivals && likeSequence // an outage of a minute and more
	}
	return likeArrivals || likeSequence
}

// arrival says what became of a packet.
type arrival uint8

const (
	inOrder   arrival = iota
	reordered         // it came after one with a higher sequence number
	duplicate         // it had come before
	late              // its place has passed
)

// take puts a packet among those that wait, unless it is a duplicate or late.
func (s *stream) take(p packet) arrival {
	result := inOrder
	if p.sequence > s.highest {
		for n := max(s.highest, p.sequence-int64(len(s.seen))*64) + 1; n < p.sequence; n++ {
			s.setSeen(n, false)
		}
		s.highest = p.sequence
	} else {
		if s.isSeen(p.sequence) {
			return duplicate
		}
		result = reordered
	}
	s.setSeen(p.sequence, true)
	if s.started && p.sequence < s.placed {
		return late
	}
	if p.isAudio() {
		if !s.hasAudio {
			s.timeline.clockHz, s.begun = p.coding.clockHz, p.at
		}
		s.timeline.observe(p.audio())
		if !s.hasAudio || p.sequence > s.latest.sequence {
			s.latest, s.hasAudio = reference{p.audio(), p.sequence, p.coding.clockHz}, true
		}
	}
	i := len(s.waiting)
	for i > 0 && s.waiting[i-1].sequence > p.sequence {
		i--
	}
	s.waiting = slices.Insert(s.waiting, i, p)
	return result
}

func (s *stream) isSeen(n int64) bool {
	return s.seen[n/64%int64(len(s.seen))]&(1<<(n%64)) != 0
}

func (s *stream) setSeen(n int64, seen bool) {
	word, bit := &s.seen[n/64%int64(len(s.seen))], uint64(1)<<(n%64)
	if seen {
		*word |= bit
	} else {
		*word &^= bit
	}
}

// next removes the first packet that waits and returns it with the sequence
// numbers missing before it.
func (s *stream) next() (p packet, missing int64) {
	p = s.waiting[0]
	s.waiting = s.waiting[1:]
	if s.started {
		missing = p.sequence - s.placed - 1
	}
	s.placed, s.placedAt, s.started = p.sequence, p.at, true
	return p, missing
}
