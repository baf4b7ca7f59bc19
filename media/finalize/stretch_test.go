package finalize

import (
	"math"
	"testing"
)

// What is stretched by a sample is the same tone, as exactly as G.711 could tell
// (38 dB), up to the edge of the telephone's band and up to the packet's edges.
func TestStretch(t *testing.T) {
	for _, test := range []struct {
		n, slip int
		minDB   float64
	}{
		{160, 1, 38}, {160, -1, 38}, {80, 1, 38}, {480, -3, 38}, {960, 6, 38},
	} {
		for _, hz := range []float64{300, 1000, 2000, 3400} {
			pcm := make([]int16, test.n)
			for i := range pcm {
				pcm[i] = int16(math.Round(12000 * math.Sin(2*math.Pi*hz*float64(i)/8000)))
			}
			got := stretch(nil, pcm, test.n+test.slip)
			if len(got) != test.n+test.slip {
				t.Fatalf("got %d samples of %d, want %d", len(got), test.n, test.n+test.slip)
			}
			var signal, noise float64
			for i, sample := range got {
				at := float64(i) * float64(test.n) / float64(len(got))
				want := 12000 * math.Sin(2*math.Pi*hz*at/8000)
				signal += want * want
				noise += (float64(sample) - want) * (float64(sample) - want)
			}
			if db := 10 * math.Log10(signal/noise); db < test.minDB {
				t.Errorf("%v Hz, %d samples and %d: got %.1f dB of signal over noise, want %v", hz, test.n, test.slip, db, test.minDB)
			}
		}
	}
}

// Nothing, silence and a constant stay what they are.
func TestStretchConstant(t *testing.T) {
	for _, level := range []int16{0, 1234, math.MinInt16, math.MaxInt16} {
		for _, got := range stretch(nil, []int16{level, level, level}, 4) {
			if got != level {
				t.Errorf("got %d, want %d", got, level)
			}
		}
	}
}

func BenchmarkStretch(b *testing.B) {
	pcm := make([]int16, 160)
	for i := range pcm {
		pcm[i] = tone(440)(int64(i))
	}
	var out []int16
	b.ReportAllocs()
	for b.Loop() {
		out = stretch(out[:0], pcm, 161)
	}
}
