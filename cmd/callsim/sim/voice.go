package sim

import "math"

// clockHz is the sampling rate of everything that is said and heard.
const clockHz = 8000

// Voice gives the samples of what somebody says, by their number since he began.
type Voice func(sample int) int16

// Silence says nothing.
func Silence(int) int16 { return 0 }

// Tone is a pure tone, for measurements: a quarter of full scale.
func Tone(hz float64) Voice {
	return func(n int) int16 { return int16(8000 * math.Sin(2*math.Pi*hz*float64(n)/clockHz)) }
}

// Babble is something like speech: a voice of that pitch with its harmonics, in
// syllables and with pauses, that the ear can tell from one of another pitch.
func Babble(pitchHz float64) Voice {
	return func(n int) int16 {
		t := float64(n) / clockHz
		if math.Mod(t, 2.5) > 2 { // a breath
			return 0
		}
		syllable := math.Max(0, math.Sin(2*math.Pi*3.7*t))
		pitch := pitchHz * (1 + 0.05*math.Sin(2*math.Pi*0.6*t))
		var v float64
		for k := 1; k <= 10; k++ {
			// Two formants that wander: a vowel that changes.
			f := pitch * float64(k)
			first, second := 500+200*math.Sin(2*math.Pi*0.9*t), 1500+400*math.Sin(2*math.Pi*0.5*t)
			gain := math.Exp(-sq((f-first)/200)) + 0.6*math.Exp(-sq((f-second)/300)) + 0.05
			v += gain * math.Sin(2*math.Pi*pitchHz*float64(k)*t)
		}
		return int16(5000 * syllable * v)
	}
}

func sq(x float64) float64 { return x * x }

// Share returns how much of the power of samples lies at a frequency, 0–1 (Goertzel):
// by it a tone is told from others.
func Share(samples []int16, hz float64) float64 {
	var s1, s2, power float64
	k := 2 * math.Cos(2*math.Pi*hz/clockHz)
	for _, v := range samples {
		s1, s2 = float64(v)+k*s1-s2, s1
		power += float64(v) * float64(v)
	}
	if power == 0 {
		return 0
	}
	return 2 * (s1*s1 + s2*s2 - k*s1*s2) / (power * float64(len(samples)))
}
