package g711

import (
	"math"
	"testing"
)

var laws = []struct {
	name   string
	decode func([]int16, []byte)
	encode func([]byte, []int16)
}{
	{"A-law", DecodeALaw, EncodeALaw},
	{"µ-law", DecodeMuLaw, EncodeMuLaw},
}

func everyOctet() []byte {
	octets := make([]byte, 256)
	for i := range octets {
		octets[i] = byte(i)
	}
	return octets
}

func everySample() []int16 {
	samples := make([]int16, 1<<16)
	for i := range samples {
		samples[i] = int16(i + math.MinInt16)
	}
	return samples
}

// The octets at both ends of the scale and around zero have the values of the
// tables in ITU-T G.711, on the 16-bit scale.
func TestKnownValues(t *testing.T) {
	for _, c := range []struct {
		law    int
		octet  byte
		sample int16
	}{
		{0, 0xd5, 8}, {0, 0x55, -8}, {0, 0xd4, 24}, {0, 0xaa, 32256}, {0, 0x2a, -32256},
		{1, 0xff, 0}, {1, 0x7f, 0}, {1, 0xfe, 8}, {1, 0x7e, -8}, {1, 0x80, 32124}, {1, 0x00, -32124},
	} {
		got := make([]int16, 1)
		laws[c.law].decode(got, []byte{c.octet})
		if got[0] != c.sample {
			t.Errorf("%s: got %d for %#02x, want %d", laws[c.law].name, got[0], c.octet, c.sample)
		}
	}
}

// Every octet comes back from its own sample; only µ-law's negative zero comes
// back as the positive one.
func TestOctetsRoundTrip(t *testing.T) {
	for _, l := range laws {
		samples, got := make([]int16, 256), make([]byte, 256)
		l.decode(samples, everyOctet())
		l.encode(got, samples)
		for want, octet := range got {
			if l.name == "µ-law" && want == 0x7f {
				want = 0xff
			}
			if octet != byte(want) {
				t.Errorf("%s: got %#02x back, want %#02x", l.name, octet, want)
			}
		}
	}
}

// Every sample is within half a step of its octet's value, the steps being
// those of its segment in ITU-T G.711, and keeps its sign. Only what is louder
// than the loudest µ-law octet is clipped.
func TestSamplesStayInTheirStep(t *testing.T) {
	const muLawClip = 32635
	halfStep := [2]func(segment byte) int{
		func(segment byte) int { return 8 << max(int(segment)-1, 0) },
		func(segment byte) int { return 4 << segment },
	}
	segment := [2]func(octet byte) byte{
		func(octet byte) byte { return (octet ^ 0x55) >> 4 & 7 },
		func(octet byte) byte { return ^octet >> 4 & 7 },
	}
	for law, l := range laws {
		samples, octets, back := everySample(), make([]byte, 1<<16), make([]int16, 1<<16)
		l.encode(octets, samples)
		l.decode(back, octets)
		for i, sample := range samples {
			off := max(int(sample)-int(back[i]), int(back[i])-int(sample))
			clipped := law == 1 && (sample > muLawClip || sample < -muLawClip)
			if want := halfStep[law](segment[law](octets[i])); off > want && !clipped {
				t.Fatalf("%s: got %d for %d, want at most %d away", l.name, back[i], sample, want)
			}
			if positive := octets[i]&0x80 != 0; positive != (sample >= 0) {
				t.Fatalf("%s: got octet %#02x for %d, of the other sign", l.name, octets[i], sample)
			}
		}
	}
}

// A destination that is too short panics before anything is written; what is
// longer keeps its end.
func TestDestinationLength(t *testing.T) {
	for _, l := range laws {
		long := []byte{1, 2, 3}
		l.encode(long, []int16{0, 0})
		if long[2] != 3 {
			t.Errorf("%s: got %d behind the destination's end, want 3", l.name, long[2])
		}
		short := make([]int16, 1, 8)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic for a short destination", l.name)
				}
			}()
			l.decode(short, []byte{0xaa, 0xaa})
		}()
		if short[0] != 0 {
			t.Errorf("%s: got %d in a short destination, want it untouched", l.name, short[0])
		}
	}
}

const frameSamples = 160 // 20 ms

func BenchmarkDecode(b *testing.B) {
	for _, l := range laws {
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(frameSamples)
			dst, src := make([]int16, frameSamples), everyOctet()[:frameSamples]
			for b.Loop() {
				l.decode(dst, src)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, l := range laws {
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(frameSamples)
			dst, src := make([]byte, frameSamples), make([]int16, frameSamples)
			for i := range src {
				src[i] = int16(i * 407)
			}
			for b.Loop() {
				l.encode(dst, src)
			}
		})
	}
}
