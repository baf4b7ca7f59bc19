// Package resample converts speech between 8, 16 and 48 kHz with a polyphase FIR
// low-pass. Output stands exactly where its input stood: the filter's delay is
// taken out, so what Process gives lags behind, and Flush gives the rest.
//
// It knows nothing of channels: each has a Resampler of its own.
//
//	        ┌ up zeros between ┐   ┌──────────┐   ┌ each down-th ┐
//	from ──▶│ samples          │──▶│ low-pass │──▶│ sample        │──▶ to
//	        └──────────────────┘   └──────────┘   └───────────────┘
//
// The zeros are never multiplied: a sample of the output takes only the taps of
// its phase.
package resample

import (
	"fmt"
	"math"
)

// The low-pass is a sinc under a Kaiser window. At 8 kHz it passes up to 3.5 kHz
// and stops from 4 kHz on by 80 dB.
const (
	crossings  = 40   // zero crossings of the sinc on each side
	attenuate  = 80.0 // dB
	kaiserBeta = 0.1102 * (attenuate - 8.7)
	// Width of the transition as a part of the lower rate, by Kaiser's formula.
	transition = (attenuate - 8) / (2.285 * 2 * math.Pi * 2 * crossings)
)

// Resampler converts one channel's stream.
type Resampler struct {
	up, down int
	centre   int         // the filter's delay at up times the input's rate
	phases   [][]float32 // taps by phase, the oldest sample's first

	history []float32 // what the next output sample may still need
	oldest  int64     // input index of history[0]
	read    int64     // input samples so far
	wrote   int64     // output samples so far
}

// New makes a Resampler. Equal rates are allowed and copy.
func New(fromHz, toHz int) (*Resampler, error) {
	for _, hz := range []int{fromHz, toHz} {
		if hz != 8000 && hz != 16000 && hz != 48000 {
			return nil, fmt.Errorf("resample %d Hz to %d Hz: only 8000, 16000 and 48000 are possible", fromHz, toHz)
		}
	}
	low := min(fromHz, toHz) // divides the other
	r := &Resampler{up: toHz / low, down: fromHz / low}
	r.phases, r.centre = phases(r.up, r.down)
	r.Reset()
	return r, nil
}

// Reset makes the Resampler as new: another stream begins.
func (r *Resampler) Reset() {
	before := len(r.phases[0]) - 1 // of silence before the first sample
	r.history = append(r.history[:0], make([]float32, before)...)
	r.oldest, r.read, r.wrote = -int64(before), 0, 0
}

// phases designs the low-pass at up times the input's rate and deals its taps
// out to the up phases.
func phases(up, down int) (taps [][]float32, centre int) {
	if up == down {
		return [][]float32{{1}}, 0
	}
	taps = make([][]float32, up)
	ratio := max(up, down)
	centre = crossings * ratio
	perPhase := (2*centre + up) / up // of 2·centre+1 taps, rounded up
	pass := (1 - transition) / float64(ratio)
	for p := range taps {
		taps[p] = make([]float32, perPhase)
		for k := range perPhase {
			t := p + k*up - centre
			taps[p][perPhase-1-k] = float32(pass * float64(up) * sinc(pass*float64(t)) * kaiser(float64(t)/float64(centre)))
		}
	}
	return taps, centre
}

// Process appends to dst what src makes known of the output.
func (r *Resampler) Process(dst, src []int16) []int16 {
	for _, s := range src {
		r.history = append(r.history, float32(s))
	}
	r.read += int64(len(src))
	return r.advance(dst, math.MaxInt64)
}

// Flush appends the end of the output, for which silence stands in for the
// samples that do not follow. Altogether the output then has as many samples as
// the input times toHz/fromHz, rounded up. The Resampler is used up until it is Reset.
func (r *Resampler) Flush(dst []int16) []int16 {
	total := (r.read*int64(r.up) + int64(r.down) - 1) / int64(r.down)
	r.history = append(r.history, make([]float32, r.centre/r.up+1)...)
	return r.advance(dst, total)
}

// advance appends the samples up to total that history suffices for, then drops
// from history what none of the later ones needs.
func (r *Resampler) advance(dst []int16, total int64) []int16 {
	width := len(r.phases[0])
	for ; r.wrote < total; r.wrote++ {
		at := r.wrote*int64(r.down) + int64(r.centre)
		first := int(at/int64(r.up)-r.oldest) - width + 1
		if first+width > len(r.history) {
			break
		}
		dst = append(dst, dot(r.phases[at%int64(r.up)], r.history[first:first+width]))
	}
	at := r.wrote*int64(r.down) + int64(r.centre)
	done := min(int(at/int64(r.up)-r.oldest)-width+1, len(r.history))
	r.history = append(r.history[:0], r.history[done:]...)
	r.oldest += int64(done)
	return dst
}

func dot(taps, samples []float32) int16 {
	samples = samples[:len(taps)]
	var sum float32
	for i, tap := range taps {
		sum += tap * samples[i]
	}
	return int16(max(math.MinInt16, min(math.MaxInt16, math.Round(float64(sum)))))
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the Kaiser window over -1…1.
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return bessel(kaiserBeta*math.Sqrt(1-x*x)) / bessel(kaiserBeta)
}

// bessel is the modified Bessel function of the first kind and order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= (x / 2 / k) * (x / 2 / k)
		sum += term
	}
	return sum
}
