package resample

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var rates = []int{8000, 16000, 48000}

// convert runs all samples through in one piece.
func convert(t testing.TB, fromHz, toHz int, samples []int16) []int16 {
	t.Helper()
	r, err := New(fromHz, toHz)
	if err != nil {
		t.Fatal(err)
	}
	return r.Flush(r.Process(nil, samples))
}

func tone(hz int, frequency, amplitude float64, seconds float64) []int16 {
	samples := make([]int16, int(seconds*float64(hz)))
	for i := range samples {
		samples[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*frequency*float64(i)/float64(hz))))
	}
	return samples
}

func decibel(ratio float64) float64 { return 20 * math.Log10(ratio) }

// middle leaves out 20 ms at both ends, where the tone begins and ends.
func middle(hz int, samples []int16) []int16 { return samples[hz/50 : len(samples)-hz/50] }

func rms(samples []int16) float64 {
	sum := 0.0
	for _, s := range samples {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(len(samples)))
}

func eachPair(t *testing.T, f func(t *testing.T, fromHz, toHz int)) {
	for _, fromHz := range rates {
		for _, toHz := range rates {
			t.Run(fmt.Sprintf("%d-%d", fromHz, toHz), func(t *testing.T) { f(t, fromHz, toHz) })
		}
	}
}

// A tone of the telephone band comes out as that tone at the other rate: same
// place, same level, within 1/1000 of full scale.
func TestToneStaysInPlace(t *testing.T) {
	eachPair(t, func(t *testing.T, fromHz, toHz int) {
		for _, frequency := range []float64{50, 300, 1000, 2500, 3400} {
			got := convert(t, fromHz, toHz, tone(fromHz, frequency, 20000, 0.2))
			want := tone(toHz, frequency, 20000, 0.2)
			if len(got) != len(want) {
				t.Fatalf("%v Hz: got %d samples, want %d", frequency, len(got), len(want))
			}
			got, want = middle(toHz, got), middle(toHz, want)
			for i := range got {
				if off := math.Abs(float64(got[i]) - float64(want[i])); off > 32 {
					t.Fatalf("%v Hz: got %d at sample %d, want %d", frequency, got[i], i, want[i])
				}
			}
		}
	})
}

// What the lower rate cannot carry is gone, not folded into the voice.
func TestNoAliases(t *testing.T) {
	for _, c := range []struct {
		fromHz, toHz int
		frequency    float64
	}{
		{48000, 8000, 4000}, {48000, 8000, 4600}, {48000, 8000, 7000}, {48000, 8000, 15000}, {48000, 8000, 23000},
		{16000, 8000, 4000}, {16000, 8000, 5000}, {16000, 8000, 7900},
		{48000, 16000, 8000}, {48000, 16000, 9500}, {48000, 16000, 20000},
	} {
		got := decibel((rms(middle(c.toHz, convert(t, c.fromHz, c.toHz, tone(c.fromHz, c.frequency, 30000, 0.3)))) + 1e-9) / (30000 / math.Sqrt2))
		if got > -75 {
			t.Errorf("%d to %d Hz: got %.1f dB of a tone at %v Hz, want -75 or less", c.fromHz, c.toHz, got, c.frequency)
		}
	}
}

// The mirror images that zeros between samples make are gone.
func TestNoImages(t *testing.T) {
	for _, c := range [][2]int{{8000, 16000}, {8000, 48000}, {16000, 48000}} {
		got := convert(t, c[0], c[1], tone(c[0], 1000, 30000, 0.3))
		want := tone(c[1], 1000, 30000, 0.3)
		noise := make([]int16, len(got))
		for i := range got {
			noise[i] = got[i] - want[i]
		}
		if got := decibel((rms(middle(c[1], noise)) + 1e-9) / (30000 / math.Sqrt2)); got > -70 {
			t.Errorf("%d to %d Hz: got %.1f dB beside the tone, want -70 or less", c[0], c[1], got)
		}
	}
}

// The output has as many samples as the input times the ratio, rounded up.
func TestLength(t *testing.T) {
	eachPair(t, func(t *testing.T, fromHz, toHz int) {
		for n := range 100 {
			want := (n*toHz + fromHz - 1) / fromHz
			if got := len(convert(t, fromHz, toHz, make([]int16, n))); got != want {
				t.Fatalf("got %d samples of %d, want %d", got, n, want)
			}
		}
	})
}

// In whatever pieces a stream comes, the output is the same.
func TestPiecesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fromHz, toHz := rapid.SampledFrom(rates).Draw(t, "from"), rapid.SampledFrom(rates).Draw(t, "to")
		samples := rapid.SliceOfN(rapid.Int16(), 0, 1500).Draw(t, "samples")
		whole, err := New(fromHz, toHz)
		if err != nil {
			t.Fatal(err)
		}
		want := whole.Flush(whole.Process(nil, samples))

		pieces, err := New(fromHz, toHz)
		if err != nil {
			t.Fatal(err)
		}
		var got []int16
		for len(samples) > 0 {
			n := rapid.IntRange(1, len(samples)).Draw(t, "piece")
			got = pieces.Process(got, samples[:n])
			samples = samples[n:]
		}
		if diff := cmp.Diff(want, pieces.Flush(got)); diff != "" {
			t.Fatalf("samples (-want +got):\n%s", diff)
		}
	})
}

// Where the filter overshoots full scale the sample is clipped, not wrapped.
func TestClips(t *testing.T) {
	square := make([]int16, 8000)
	for i := range square {
		square[i] = math.MaxInt16
		if i/10%2 == 1 {
			square[i] = math.MinInt16
		}
	}
	for i, s := range middle(48000, convert(t, 8000, 48000, square)) {
		// The third and ninth sample of every ten are well within the flat part.
		if in := (i + 48000/50) / 6 % 20; in >= 3 && in <= 6 && s < 20000 || in >= 13 && in <= 16 && s > -20000 {
			t.Fatalf("got %d at sample %d of a square wave's flat part", s, i)
		}
	}
}

// Equal rates copy, sample by sample and at once.
func TestEqualRatesCopy(t *testing.T) {
	r, err := New(8000, 8000)
	if err != nil {
		t.Fatal(err)
	}
	want := []int16{1, -2, math.MaxInt16, math.MinInt16}
	if diff := cmp.Diff(want, r.Process(nil, want)); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	if rest := r.Flush(nil); len(rest) != 0 {
		t.Errorf("got %d samples in the end, want none", len(rest))
	}
}

// Other rates are refused.
func TestRefuses(t *testing.T) {
	for _, c := range [][2]int{{44100, 8000}, {8000, 44100}, {0, 8000}, {8000, -8000}} {
		if _, err := New(c[0], c[1]); err == nil {
			t.Errorf("got a Resampler from %d to %d Hz", c[0], c[1])
		}
	}
}

// A second of audio in frames of 20 ms.
func BenchmarkSecond(b *testing.B) {
	for _, c := range [][2]int{{8000, 48000}, {48000, 8000}, {16000, 8000}, {8000, 16000}} {
		b.Run(fmt.Sprintf("%d-%d", c[0], c[1]), func(b *testing.B) {
			r, err := New(c[0], c[1])
			if err != nil {
				b.Fatal(err)
			}
			frame := tone(c[0], 1000, 20000, 0.02)
			var out []int16
			b.ReportAllocs()
			for b.Loop() {
				for range 50 {
					out = r.Process(out[:0], frame)
				}
			}
		})
	}
}

// A Resampler that is Reset is as a new one.
func TestReset(t *testing.T) {
	src := make([]int16, 500)
	for i := range src {
		src[i] = int16(i*i*7919 + i)
	}
	r, err := New(16000, 8000)
	if err != nil {
		t.Fatal(err)
	}
	first := r.Flush(r.Process(nil, src))
	r.Reset()
	if again := r.Flush(r.Process(nil, src)); !slices.Equal(again, first) {
		t.Error("got another output after Reset, want the same")
	}
}
