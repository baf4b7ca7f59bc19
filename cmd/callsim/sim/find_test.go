package sim

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bewaard/bewaard/media/g711"
)

// noise never repeats, and is silent at times, like speech.
func noise(seed uint64, samples int) []int16 {
	random, pcm := rand.New(rand.NewPCG(seed, 0)), make([]int16, samples)
	smooth := 0.0
	for i := range pcm {
		smooth = 0.7*smooth + 0.3*random.NormFloat64()
		if i%8000 < 7000 {
			pcm[i] = int16(6000 * smooth)
		}
	}
	return pcm
}

// spoken is what is left of samples behind G.711.
func spoken(samples []int16, gain float64) []int16 {
	pcm, octets := make([]int16, len(samples)), make([]byte, len(samples))
	for i, s := range samples {
		pcm[i] = int16(gain * float64(s))
	}
	g711.EncodeALaw(octets, pcm)
	g711.DecodeALaw(pcm, octets)
	return pcm
}

// A prompt is found where it is, however loud; that some of it is missing is said with the
// first stretch of it, and one that was not heard is not found.
func TestFind(t *testing.T) {
	const samples = 3 * 8000
	prompt := noise(1, samples)
	before, behind, other := make([]int16, 12345), spoken(noise(2, 9000), 1), spoken(noise(3, 30000), 1)
	for _, gain := range []float64{1, 0.25} {
		whole := spoken(prompt, gain)
		f, ok := Find(slices.Concat(before, whole, behind), prompt)
		if !ok || !f.Whole() || f.At != len(before) {
			t.Errorf("gain %v: got %+v, %v; want it whole at %d", gain, f, ok, len(before))
		}
		for name, test := range map[string]struct {
			heard []int16
			first int // at least
		}{
			"without its beginning":    {whole[1600:], 0},
			"without its end":          {slices.Concat(before, whole[:samples-12000]), samples - 13000},
			"with a packet lost":       {slices.Concat(before, whole[:4000], whole[4160:], behind), 3800},
			"with a packet of silence": {slices.Concat(before, whole[:4000], make([]int16, 160), whole[4160:]), 3800},
			"cut short by somebody":    {slices.Concat(before, whole[:8000], behind, behind), 7800},
		} {
			f, ok := Find(test.heard, prompt)
			if !ok || f.Whole() {
				t.Errorf("gain %v, %s: got %+v, %v; want a part of it", gain, name, f, ok)
			}
			if name != "with a packet lost" && f.First < test.first-160 { // that is missing in front of, or behind, the anchor
				t.Errorf("gain %v, %s: got the first missing at %d, want %d or later", gain, name, f.First, test.first)
			}
		}
	}
	for _, heard := range [][]int16{nil, before, other, spoken(prompt[:500], 1)} {
		if f, ok := Find(heard, prompt); ok && f.Whole() {
			t.Errorf("got %+v in what is something else", f)
		}
	}
	if f, ok := Find(other, make([]int16, 8000)); ok {
		t.Errorf("got %+v of a silent prompt", f)
	}
}
