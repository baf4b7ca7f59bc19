//go:build cgo

package opus_test

import (
	"math"
	"testing"

	libopus "github.com/hraban/opus"

	"github.com/bewaard/bewaard/media/opus"
)

// voice is a glide with harmonics that comes in bursts, as syllables do, so that what
// came before does not say what comes next.
func voice(hz, samples int) []int16 {
	pcm := make([]int16, samples)
	for i := range pcm {
		at, sum := float64(i)/float64(hz), 0.0
		for harmonic := 1.0; harmonic <= 12; harmonic++ {
			sum += math.Sin(2*math.Pi*harmonic*(120*at+30*at*at)) / harmonic
		}
		pcm[i] = int16(6000 * sum * max(0, math.Sin(2*math.Pi*7*at)))
	}
	return pcm
}

// snr is by how much got is like want, in decibels.
func snr(want, got []int16) float64 {
	signal, noise := 1.0, 1.0
	for i := range want {
		s, n := float64(want[i]), float64(want[i])-float64(got[i])
		signal, noise = signal+s*s, noise+n*n
	}
	return 10 * math.Log10(signal/noise)
}

// What a lost packet held is heard again where the next one carries it, and is guessed
// where not, which is worse; either is as long as what was lost, and what follows is as
// if nothing had been.
func TestConceal(t *testing.T) {
	needLibrary(t)
	for _, hz := range []int{8000, 16000, 48000} {
		encoder, err := opus.NewEncoder(opus.Config{Hz: hz, Channels: 1, BitRate: 32_000, ExpectedLoss: 0.2})
		if err != nil {
			t.Fatal(err)
		}
		frame, total := hz/50, 100
		pcm := voice(hz, frame*total)
		var packets [][]byte
		for i := range total {
			packet := make([]byte, opus.MaxPacketBytes)
			n, err := encoder.Encode(packet, pcm[i*frame:(i+1)*frame])
			if err != nil {
				t.Fatal(err)
			}
			packets = append(packets, packet[:n])
		}
		lost := func(i int) bool { return i%10 == 7 }
		// heard returns all that is decoded, and what of it stands for lost packets.
		heard := func(conceal func(d *opus.Decoder, dst []int16, next []byte)) (all, repaired []int16) {
			d, err := opus.NewDecoder(hz, 1)
			if err != nil {
				t.Fatal(err)
			}
			for i, packet := range packets {
				dst := make([]int16, frame)
				if conceal != nil && lost(i) {
					conceal(d, dst, packets[i+1])
				} else if n, err := d.Decode(dst, packet); err != nil || n != frame {
					t.Fatalf("got %d samples and %v, want %d", n, err, frame)
				}
				if all = append(all, dst...); lost(i) {
					repaired = append(repaired, dst...)
				}
			}
			return all, repaired
		}
		_, intact := heard(nil)
		with := func(next bool) float64 {
			_, repaired := heard(func(d *opus.Decoder, dst []int16, packet []byte) {
				if !next {
					packet = nil
				}
				if err := d.Conceal(dst, packet); err != nil {
					t.Fatal(err)
				}
			})
			return snr(intact, repaired)
		}
		carried, guessed := with(true), with(false)
		t.Logf("%d Hz: %.1f dB where the next packet carries it, %.1f dB where it is guessed", hz, carried, guessed)
		if carried < guessed+3 {
			t.Errorf("%d Hz: got %.1f dB where the next packet carries what was lost, %.1f where it is guessed; want 3 more", hz, carried, guessed)
		}
	}
}

// Of what is no multiple of 2.5 ms, or nothing, nothing is made.
func TestConcealRefuses(t *testing.T) {
	needLibrary(t)
	d, err := opus.NewDecoder(48000, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, samples := range []int{0, 1, 119, 121} {
		if err := d.Conceal(make([]int16, samples), nil); err == nil {
			t.Errorf("got %d samples concealed", samples)
		}
	}
	if err := d.Conceal(make([]int16, 960), []byte{0xff, 0xff}); err == nil {
		t.Error("got a lost packet made from what is none")
	}
}

// Packets of every length, mono and stereo, decode into one channel at every rate, and
// are as long as Samples says.
func TestEveryLength(t *testing.T) {
	needLibrary(t)
	for _, channels := range []int{1, 2} {
		encoder, err := libopus.NewEncoder(48000, channels, libopus.AppVoIP)
		if err != nil {
			t.Fatal(err)
		}
		if err := encoder.SetBitrate(64_000); err != nil {
			t.Fatal(err)
		}
		for _, tenths := range []int{25, 50, 100, 200, 400, 600, 800, 1000, 1200} {
			samples := 48 * tenths / 10
			packet := make([]byte, 4000)
			n, err := encoder.Encode(voice(48000, samples*channels), packet)
			if err != nil {
				t.Fatal(err)
			}
			packet = packet[:n]
			if got, err := opus.Samples(packet); err != nil || got != samples {
				t.Errorf("%d channels, %d samples: got %d and %v", channels, samples, got, err)
			}
			if got, want := opus.Stereo(packet), channels == 2; got != want {
				t.Errorf("%d channels, %d samples: got stereo %v, want %v", channels, samples, got, want)
			}
			for _, hz := range []int{8000, 16000, 48000} {
				d, err := opus.NewDecoder(hz, 1)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := d.Decode(make([]int16, hz*12/100), packet); err != nil || n != samples*hz/48000 {
					t.Errorf("%d channels, %d samples, %d Hz: got %d and %v, want %d", channels, samples, hz, n, err, samples*hz/48000)
				}
			}
		}
	}
}

// Silence is left out where that is asked for (DTX), and its packets decode to as much
// as others do.
func TestDTX(t *testing.T) {
	needLibrary(t)
	var bytes [2]int
	for i, dtx := range []bool{false, true} {
		encoder, err := opus.NewEncoder(opus.Config{Hz: 16000, Channels: 1, DTX: dtx})
		if err != nil {
			t.Fatal(err)
		}
		d, err := opus.NewDecoder(16000, 1)
		if err != nil {
			t.Fatal(err)
		}
		packet, frame := make([]byte, opus.MaxPacketBytes), make([]int16, 320)
		for range 100 {
			n, err := encoder.Encode(packet, frame)
			if err != nil {
				t.Fatal(err)
			}
			bytes[i] += n
			if n, err := d.Decode(make([]int16, 320), packet[:n]); err != nil || n != 320 {
				t.Fatalf("got %d samples and %v, want 320", n, err)
			}
		}
	}
	t.Logf("%d bytes for two seconds of silence, %d with DTX", bytes[0], bytes[1])
	if bytes[1] > bytes[0]/2 {
		t.Errorf("got %d bytes with DTX for %d without, want half at most", bytes[1], bytes[0])
	}
}

// Decoding and concealing do not allocate.
func TestDecodeAllocations(t *testing.T) {
	needLibrary(t)
	encoder, err := opus.NewEncoder(opus.Config{Hz: 16000, Channels: 1, ExpectedLoss: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := opus.NewDecoder(16000, 1)
	if err != nil {
		t.Fatal(err)
	}
	packet, pcm := make([]byte, opus.MaxPacketBytes), voice(16000, 320)
	n, err := encoder.Encode(packet, pcm)
	if err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(100, func() {
		_, _ = encoder.Encode(packet, pcm)
		_ = d.Conceal(pcm, packet[:n])
		_, _ = d.Decode(pcm, packet[:n])
	})
	if got != 0 {
		t.Errorf("got %v allocations a packet, want none", got)
	}
}

// Whatever comes from the network is decoded to as much as Samples says, or refused, and
// the decoder goes on.
func FuzzDecode(f *testing.F) {
	needLibrary(f)
	for _, hz := range []int{8000, 48000} {
		encoder, err := opus.NewEncoder(opus.Config{Hz: hz, Channels: 1, ExpectedLoss: 0.1})
		if err != nil {
			f.Fatal(err)
		}
		for range 3 {
			packet := make([]byte, opus.MaxPacketBytes)
			n, err := encoder.Encode(packet, voice(hz, hz/50))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet[:n], packet[:n])
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d, err := opus.NewDecoder(16000, 1)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]int16, 16000*12/100)
		for _, packet := range [][]byte{first, second} {
			if len(packet) > 0 {
				_ = d.Conceal(dst[:320], packet)
			}
			n, err := d.Decode(dst, packet)
			if samples, serr := opus.Samples(packet); err == nil && (serr != nil || n != samples/3) {
				t.Errorf("% x: got %d samples, Samples says %d and %v", packet, n, samples/3, serr)
			}
		}
	})
}
