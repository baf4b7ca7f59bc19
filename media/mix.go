package media

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
)

// ErrPlaying is returned of a beep to a leg that a prompt is played to.
var ErrPlaying = errors.New("a prompt is playing")

// mix is a tone that is laid over what is relayed to a leg.
type mix struct {
	payloadType uint8
	left        []byte // of the tone, in G.711; owned by the other leg's socket
	until       int64  // when it is given up, in nanoseconds: nothing came that it could be laid over
}

// flowing is how long ago a packet may have come for the talk to be going on.
const flowing = 100 * time.Millisecond

// mixGrace is for how long a tone waits for packets, beside its own length.
const mixGrace = time.Second

// Beep has a leg's peer hear a tone while the talk goes on. Where G.711 is relayed to it, by
// its static payload types, the tone is laid over that, and nothing of what is said is lost.
// In another codec, or where nothing comes that could be relayed, the tone is played instead
// of it. To a leg that is being told something nothing is done: ErrPlaying.
func (s *Session) Beep(leg rtp.Leg, tone Frames) error {
	tone.Tone = true
	to, from := &s.legs[leg], &s.legs[leg.Other()]
	if to.out.playing.Load() {
		return fmt.Errorf("beep to %v leg: %w", leg, ErrPlaying)
	}
	now := s.at(time.Now())
	if tone.PayloadType != 0 && tone.PayloadType != 8 || !from.relay.Load() || now-from.heardAt.Load() > int64(flowing) {
		_, err := s.Play(leg, tone)
		return err
	}
	octets := slices.Concat(tone.Payloads...)
	length := int64(len(octets)) * sampleTime
	to.mix.Store(&mix{payloadType: tone.PayloadType, left: octets, until: now + length + int64(mixGrace)})
	return nil
}

// decode reads G.711 of either law, by its static payload type.
func decode(payloadType uint8, pcm []int16, octets []byte) {
	if payloadType == 8 {
		g711.DecodeALaw(pcm, octets)
	} else {
		g711.DecodeMuLaw(pcm, octets)
	}
}

// lay lays the next part of the tone over a payload of the same codec, in place. It reports
// whether there is more to come.
func (m *mix) lay(payloadType uint8, at int64, payload []byte) (more bool) {
	for (payloadType == 0 || payloadType == 8) && len(payload) > 0 && len(m.left) > 0 {
		var said, tone [160]int16
		n := min(len(said), len(payload), len(m.left))
		decode(payloadType, said[:n], payload[:n])
		decode(m.payloadType, tone[:n], m.left[:n]) // of the other law, maybe
		for i := range n {
			said[i] = int16(max(math.MinInt16, min(math.MaxInt16, int(said[i])+int(tone[i]))))
		}
		if payloadType == 8 {
			g711.EncodeALaw(payload[:n], said[:n])
		} else {
			g711.EncodeMuLaw(payload[:n], said[:n])
		}
		payload, m.left = payload[n:], m.left[n:]
	}
	return len(m.left) > 0 && at < m.until
}
