//go:build cgo

package opus_test

import (
	"flag"
	"fmt"
	"math"
	"math/cmplx"
	"os"
	"testing"
	"time"

	libopus "github.com/hraban/opus"

	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/resample"
	"github.com/bewaard/bewaard/media/wav"
)

var quality = flag.Bool("quality", false, "measure what complexity and bit rate cost and give: docs/performance.md")

// What complexity and bit rate cost in time, and give in likeness: the tables of
// docs/performance.md. Times are of this machine, likeness is of libopus.
func TestQuality(t *testing.T) {
	needLibrary(t)
	if !*quality {
		t.Skip("run with -quality")
	}
	for _, hz := range []int{8000, 16000, 48000} {
		speech := announcements(t, hz)
		row := func(complexity, bitRate int) {
			cpu, bytes, distance, snr := measure(t, hz, complexity, bitRate, speech)
			fmt.Printf("| %d | %d | %d | %.1f | %.1f | %.2f | %.1f |\n", hz/1000, complexity, bitRate/1000, cpu, bytes, distance, snr)
		}
		fmt.Println("\n| kHz | complexity | kbit/s | CPU-ms a second | kbit/s in fact | distance dB | segmental SNR dB |\n|---|---|---|---|---|---|---|")
		for complexity := range 11 {
			row(complexity, 16_000)
		}
		for _, bitRate := range []int{8_000, 12_000, 16_000, 20_000, 24_000, 32_000, 48_000} {
			row(5, bitRate)
		}
	}
}

// announcements are the built-in prompts in one piece, at a rate.
func announcements(t *testing.T, hz int) (speech []int16) {
	t.Helper()
	for _, language := range []string{"nl", "en"} {
		f, err := os.Open("../../prompts/recorded." + language + ".wav")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := wav.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		pcm := make([]int16, 60*r.Hz)
		n, err := r.Read(pcm)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := resample.New(r.Hz, hz)
		if err != nil {
			t.Fatal(err)
		}
		speech = rs.Flush(rs.Process(speech, pcm[:n]))
	}
	return speech[:len(speech)/(hz/50)*(hz/50)]
}

// measure encodes speech until the clock can tell, and decodes it once.
func measure(t *testing.T, hz, complexity, bitRate int, speech []int16) (cpuMS, kbits, distance, segmentalSNR float64) {
	t.Helper()
	frame, packet := hz/50, make([]byte, opus.MaxPacketBytes)
	seconds, bytes := 0.0, 0
	var packets [][]byte
	began := time.Now()
	for round := 0; round == 0 || time.Since(began) < 2*time.Second; round++ {
		e, err := libopus.NewEncoder(hz, 1, libopus.AppVoIP) // opus.Config has no complexity 0
		if err == nil {
			err = e.SetComplexity(complexity)
		}
		if err == nil {
			err = e.SetBitrate(bitRate)
		}
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(speech); at += frame {
			n, err := e.Encode(speech[at:at+frame], packet)
			if err != nil {
				t.Fatal(err)
			}
			bytes += n
			if round == 0 {
				packets = append(packets, append([]byte(nil), packet[:n]...))
			}
		}
		seconds += float64(len(speech)) / float64(hz)
	}
	cpuMS, kbits = 1000*time.Since(began).Seconds()/seconds, float64(bytes)*8/1000/seconds
	d, err := opus.NewDecoder(hz, 1)
	if err != nil {
		t.Fatal(err)
	}
	var heard []int16
	for _, p := range packets {
		pcm := make([]int16, frame)
		if _, err := d.Decode(pcm, p); err != nil {
			t.Fatal(err)
		}
		heard = append(heard, pcm...)
	}
	lag := 312 * hz / 48000
	distance, segmentalSNR = likeness(speech[:len(speech)-lag], heard[lag:], hz)
	return cpuMS, kbits, distance, segmentalSNR
}

// likeness is how far two signals are apart, over all stretches of 20 ms in which the
// first is no more than 40 dB below its loudest: the root mean square difference of their
// spectra in decibels (log-spectral distance), from 100 Hz to the lower of 7 kHz and
// seven eighths of the band, in bands of 100 Hz; and the mean of the signal-to-noise
// ratios, each held between -10 and 35 dB.
func likeness(want, got []int16, hz int) (distance, segmentalSNR float64) {
	n := hz / 50
	bands := min(70, hz*7/16/100)
	loudest := 0.0
	for at := 0; at+n <= len(want); at += n {
		loudest = max(loudest, energy(want[at:at+n]))
	}
	count := 0.0
	for at := 0; at+2*n <= len(want); at += n {
		if energy(want[at:at+n]) < loudest*1e-4 {
			continue
		}
		sum := 0.0
		a, b := spectrum(want[at:at+2*n], hz, bands), spectrum(got[at:at+2*n], hz, bands)
		for band := range a {
			d := 10 * math.Log10((a[band]+1)/(b[band]+1))
			sum += d * d
		}
		noise := 1.0
		for i := at; i < at+n; i++ {
			d := float64(want[i]) - float64(got[i])
			noise += d * d
		}
		distance += math.Sqrt(sum / float64(len(a)))
		segmentalSNR += min(35, max(-10, 10*math.Log10(energy(want[at:at+n])/noise)))
		count++
	}
	return distance / count, segmentalSNR / count
}

func energy(pcm []int16) float64 {
	sum := 1.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum
}

// spectrum is the power in bands of 100 Hz under a Hann window, from the second on.
func spectrum(pcm []int16, hz, bands int) []float64 {
	power := make([]float64, bands)
	for k := 4; k < 4*bands; k++ { // 40 ms: steps of 25 Hz
		var sum complex128
		turn, at := cmplx.Exp(complex(0, -2*math.Pi*float64(k)*25/float64(hz))), complex(1, 0)
		for i, s := range pcm {
			w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(pcm)))
			sum += complex(w*float64(s), 0) * at
			at *= turn
		}
		power[k/4] += real(sum)*real(sum) + imag(sum)*imag(sum)
	}
	return power[1:]
}
