package g722_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"

	"github.com/bewaard/bewaard/media/g722"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func samples(b []byte) []int16 {
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm
}

func encoded(pcm []int16) []byte {
	octets := make([]byte, len(pcm)/g722.SamplesPerOctet)
	g722.NewEncoder().Encode(octets, pcm)
	return octets
}

func decoded(octets []byte) []int16 {
	pcm := make([]int16, len(octets)*g722.SamplesPerOctet)
	g722.NewDecoder().Decode(pcm, octets)
	return pcm
}

// Speech, and a sweep to full scale, give the octets that ffmpeg's encoder gives, bit
// for bit; see testdata/make.sh.
func TestEncodeLikeFFmpeg(t *testing.T) {
	for _, name := range []string{"speech", "sweep"} {
		got, want := encoded(samples(golden(t, name+".s16"))), golden(t, name+".g722")
		if !bytes.Equal(got, want) {
			t.Errorf("%s: octet %d differs", name, difference(got, want))
		}
	}
}

// These, and octets that no encoder would make, give the samples that ffmpeg's decoder
// gives, bit for bit.
func TestDecodeLikeFFmpeg(t *testing.T) {
	for _, name := range []string{"speech", "sweep", "random"} {
		got, want := decoded(golden(t, name+".g722")), samples(golden(t, name+".out.s16"))
		if i := difference(got, want); i >= 0 {
			t.Errorf("%s: sample %d differs", name, i)
		}
	}
}

// difference returns where two sequences differ first, -1 for nowhere.
func difference[T byte | int16](a, b []T) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// delay is by how many samples what is decoded lags behind what was encoded: the two
// filters' length.
const delay = 22

// A tone comes back at its level, in both sub-bands, with little noise.
func TestTone(t *testing.T) {
	for _, tone := range []struct{ hz, wantSNR float64 }{{440, 30}, {1000, 30}, {3000, 30}, {5000, 15}, {6500, 15}} {
		pcm := make([]int16, 16000)
		for i := range pcm {
			pcm[i] = int16(10000 * math.Sin(2*math.Pi*tone.hz*float64(i)/16000))
		}
		if got := snr(pcm, decoded(encoded(pcm))); got < tone.wantSNR {
			t.Errorf("%.0f Hz: got a signal-to-noise ratio of %.1f dB, want %.0f at least", tone.hz, got, tone.wantSNR)
		}
	}
}

// snr is in decibels, without the beginning.
func snr(in, out []int16) float64 {
	var signal, noise float64
	for i := 1000; i < len(out); i++ {
		s, n := float64(in[i-delay]), float64(out[i])-float64(in[i-delay])
		signal, noise = signal+s*s, noise+n*n
	}
	return 10 * math.Log10(signal/noise)
}

// What is too loud is cut off, and nothing of it is left afterwards: silence is silence
// again.
func TestOverload(t *testing.T) {
	pcm := make([]int16, 32000)
	for i := range pcm[:16000] {
		pcm[i] = math.MaxInt16
		if i/400%2 == 0 {
			pcm[i] = math.MinInt16
		}
	}
	for i, s := range decoded(encoded(pcm))[20000:] {
		if s < -64 || s > 64 {
			t.Fatalf("got %d %d samples after the noise ended, want silence", s, 4000+i)
		}
	}
}

// A stream may be cut into frames anywhere, and nothing is allocated for one.
func TestFrames(t *testing.T) {
	pcm, octets := samples(golden(t, "speech.s16")), golden(t, "speech.g722")
	encoder, decoder := g722.NewEncoder(), g722.NewDecoder()
	gotOctets, gotPCM := make([]byte, len(octets)), make([]int16, len(pcm))
	for at, n := 0, 1; at < len(octets); at, n = at+n, n%200+1 {
		to := min(at+n, len(octets))
		encoder.Encode(gotOctets[at:to], pcm[2*at:2*to])
		decoder.Decode(gotPCM[2*at:2*to], octets[at:to])
	}
	if i := difference(gotOctets, octets); i >= 0 {
		t.Errorf("octet %d differs", i)
	}
	if i := difference(gotPCM, decoded(octets)); i >= 0 {
		t.Errorf("sample %d differs", i)
	}
	allocated := testing.AllocsPerRun(10, func() {
		encoder.Encode(gotOctets[:160], pcm[:320])
		decoder.Decode(gotPCM[:320], octets[:160])
	})
	if allocated != 0 {
		t.Errorf("got %v allocations a frame, want none", allocated)
	}
}

// Whatever octets come, whole or in pieces, give the same samples.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{0, 0xff, 0x40, 0xbf}, uint16(2))
	f.Add(golden(f, "random.g722")[:400], uint16(160))
	f.Fuzz(func(t *testing.T, octets []byte, at uint16) {
		cut := min(int(at), len(octets))
		whole, pieces := decoded(octets), make([]int16, 2*len(octets))
		d := g722.NewDecoder()
		d.Decode(pieces[:2*cut], octets[:cut])
		d.Decode(pieces[2*cut:], octets[cut:])
		if i := difference(pieces, whole); i >= 0 {
			t.Errorf("sample %d differs", i)
		}
	})
}

// Whatever is encoded can be decoded, and has no code of the modes that have fewer bits.
func FuzzEncode(f *testing.F) {
	f.Add([]byte{0, 0x80, 0xff, 0x7f, 0, 0x80, 0xff, 0x7f, 1})
	f.Add(golden(f, "sweep.s16")[:640])
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm := samples(b)
		octets := encoded(pcm)
		if got, want := len(decoded(octets)), len(pcm)/2*2; got != want {
			t.Errorf("got %d samples, want %d", got, want)
		}
		for i, octet := range octets { // four of the lower band's codes are for other modes
			if octet&0x3f < 4 {
				t.Fatalf("octet %d is %#x", i, octet)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	pcm, octets := samples(golden(b, "speech.s16"))[4000:4320], make([]byte, 160)
	encoder := g722.NewEncoder()
	b.ReportAllocs()
	for b.Loop() {
		encoder.Encode(octets, pcm)
	}
}

func BenchmarkDecode(b *testing.B) {
	octets, pcm := golden(b, "speech.g722")[2000:2160], make([]int16, 320)
	decoder := g722.NewDecoder()
	b.ReportAllocs()
	for b.Loop() {
		decoder.Decode(pcm, octets)
	}
}
