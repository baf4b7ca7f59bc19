package finalize

import (
	"math"
	"time"
)

const (
	// windowTime is how much of a recording is open at a time: what is placed
	// before it is too late, what is placed behind it too early to be true.
	windowTime = 64 * time.Second
	// writeLag is how far behind the newest arrival the recording is written.
	// Packets are placed up to twice lookAhead after they arrive, one leg's batch
	// is read before the other's of the same time, and what the network held up
	// belongs yet further back.
	writeLag = 48 * time.Second
	// writeStep is how much is written at once at least.
	writeStep = time.Second
)

// output takes the finished frames of a recording: one sample of the left and
// one of the right channel each.
type output interface {
	write(frames []int16) error
	// close ends the recording after so many frames, all of which were written.
	close(frames int64) error
}

// stereo is the part of a recording, a window on both channels, into which audio
// can still be placed. Silence is what nobody placed anything on.
//
//	written ──▶│ start          window            │
//	           │━━━━━━━━━━━━━━━━━━━━━━━━━━━━──────│ left
//	           │━━━━━━━━━━━──────━━━━━━━━━━━──────│ right
type stereo struct {
	hz      int64
	frames  []int16 // a ring; position p is at p modulo its length in frames
	start   int64
	total   int64 // frames of the recording: what arrives behind its end is not written
	outputs []output
}

func newStereo(hz int64, outputs []output) *stereo {
	return &stereo{hz: hz, frames: make([]int16, 2*samplesAt(windowTime, hz)), total: math.MaxInt64, outputs: outputs}
}

// size returns the length of the window in frames.
func (s *stereo) size() int64 { return int64(len(s.frames) / 2) }

// add places samples on a channel, 0 left and 1 right, from a position on, and
// returns how many found a place. Where there is audio already, they are mixed
// with it: two streams of a leg at once are both heard.
func (s *stereo) add(channel int, position int64, samples []int16) int {
	if position >= s.start+s.size() || position <= s.start-int64(len(samples)) {
		return 0
	}
	if position < s.start {
		samples = samples[s.start-position:]
		position = s.start
	}
	samples = samples[:min(int64(len(samples)), s.start+s.size()-position)]
	i := position % s.size()
	for _, sample := range samples {
		at := &s.frames[2*i+int64(channel)]
		*at = saturate(int32(*at) + int32(sample))
		if i++; i == s.size() {
			i = 0
		}
	}
	return len(samples)
}

// arrived moves the window on as a packet has arrived.
func (s *stereo) arrived(at time.Duration) error {
	if to := samplesAt(at-writeLag, s.hz); to-s.start >= samplesAt(writeStep, s.hz) {
		return s.advance(to)
	}
	return nil
}

// advance writes all frames before a position.
func (s *stereo) advance(to int64) error {
	to = min(to, s.total)
	for s.start < to {
		i := s.start % s.size()
		n := min(to-s.start, s.size()-i)
		frames := s.frames[2*i : 2*(i+n)]
		for _, out := range s.outputs {
			if err := out.write(frames); err != nil {
				return err
			}
		}
		clear(frames)
		s.start += n
	}
	return nil
}

// close ends the recording after so many frames.
func (s *stereo) close(frames int64) error {
	if err := s.advance(frames); err != nil {
		return err
	}
	for _, out := range s.outputs {
		if err := out.close(s.start); err != nil {
			return err
		}
	}
	return nil
}

func saturate(sample int32) int16 {
	return int16(max(math.MinInt16, min(math.MaxInt16, sample)))
}
