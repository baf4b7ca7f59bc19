package prompt

import (
	"fmt"
	"math"
	"time"
)

// Sound is a part of a tone.
type Sound struct {
	Hz     float64 // 0: silence
	Length time.Duration
	DBm0   float64 // a sine of full scale has 3.14
}

// toneHz is the rate of tones: they are heard in all codecs.
const toneHz = 8000

// edge is how long a sound takes to come and to go: without it there is a click.
const edge = 4 * time.Millisecond

// Tone makes a prompt of sounds, one after the other.
func Tone(id string, sounds ...Sound) (*Prompt, error) {
	var pcm []int16
	for _, s := range sounds {
		if s.Length <= 0 || s.Hz < 0 || s.Hz >= toneHz/2 || s.DBm0 > 3.14 {
			return nil, fmt.Errorf("make tone %s: %v Hz for %v at %v dBm0", id, s.Hz, s.Length, s.DBm0)
		}
		samples, slope := samplesOf(s.Length), samplesOf(edge)
		peak := math.MaxInt16 * math.Pow(10, (s.DBm0-3.14)/20)
		for i := range samples {
			near := min(i, samples-1-i) // samples to the nearer end
			swell := min(1, float64(near+1)/float64(slope+1))
			pcm = append(pcm, int16(peak*swell*math.Sin(2*math.Pi*s.Hz*float64(i)/toneHz)))
		}
	}
	return New(id, pcm, toneHz)
}

func samplesOf(d time.Duration) int { return int(d * toneHz / time.Second) }

// Beep is what parties hear every so often while they are recorded: 1400 Hz for a fifth of a
// second, as it is the practice in the United States.
func Beep() (*Prompt, error) {
	return Tone("beep", Sound{Hz: 1400, Length: 200 * time.Millisecond, DBm0: -20})
}

// Paused is what tells that the recording has stopped: one long sound.
func Paused() (*Prompt, error) {
	return Tone("paused", Sound{Hz: 700, Length: 400 * time.Millisecond, DBm0: -20})
}

// Resumed is what tells that it goes on: two short ones.
func Resumed() (*Prompt, error) {
	short := Sound{Hz: 1400, Length: 100 * time.Millisecond, DBm0: -20}
	return Tone("resumed", short, Sound{Length: 100 * time.Millisecond}, short)
}
