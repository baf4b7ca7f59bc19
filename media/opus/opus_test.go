package opus_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/bewaard/bewaard/media/opus"
)

func needLibrary(t testing.TB) {
	t.Helper()
	if !opus.Available {
		t.Skip("built without cgo, hence without Opus")
	}
}

// Without cgo there is no encoder and no decoder, and that is said.
func TestUnavailable(t *testing.T) {
	if opus.Available {
		t.Skip("this build has Opus")
	}
	if _, err := opus.NewEncoder(opus.Config{Hz: 8000, Channels: 1}); !errors.Is(err, opus.ErrUnavailable) {
		t.Errorf("encoder: got %v, want %v", err, opus.ErrUnavailable)
	}
	if _, err := opus.NewDecoder(8000, 1); !errors.Is(err, opus.ErrUnavailable) {
		t.Errorf("decoder: got %v, want %v", err, opus.ErrUnavailable)
	}
}

// tone is one frame of a tone on every channel.
func tone(hz, channels, number int) []int16 {
	frame := make([]int16, hz/50*channels)
	for i := range frame {
		at := float64(number)/50 + float64(i/channels)/float64(hz)
		frame[i] = int16(8000 * math.Sin(2*math.Pi*440*at))
	}
	return frame
}

// A tone that is encoded and decoded at any of the rates is that tone, at its
// level, and the encoder lags behind by the same 6.5 ms at every rate.
func TestTone(t *testing.T) {
	needLibrary(t)
	for _, hz := range []int{8000, 16000, 48000} {
		for _, channels := range []int{1, 2} {
			encoder, err := opus.NewEncoder(opus.Config{Hz: hz, Channels: channels})
			if err != nil {
				t.Fatal(err)
			}
			if got := encoder.PreSkip(); got != 312 {
				t.Errorf("%d Hz: got a pre-skip of %d, want 312", hz, got)
			}
			decoder, err := opus.NewDecoder(hz, channels)
			if err != nil {
				t.Fatal(err)
			}
			var sum float64
			packet, frame := make([]byte, opus.MaxPacketBytes), make([]int16, hz/50*channels)
			for number := range 50 {
				n, err := encoder.Encode(packet, tone(hz, channels, number))
				if err != nil {
					t.Fatal(err)
				}
				if n, err = decoder.Decode(frame, packet[:n]); err != nil || n != len(frame) {
					t.Fatalf("got %d samples and %v, want %d", n, err, len(frame))
				}
				sum = 0
				for _, s := range frame {
					sum += float64(s) * float64(s)
				}
			}
			got, want := math.Sqrt(sum/float64(len(frame))), 8000/math.Sqrt2
			if got < 0.8*want || got > 1.2*want {
				t.Errorf("%d Hz, %d channels: got a level of %.0f, want %.0f", hz, channels, got, want)
			}
		}
	}
}

// A configuration that libopus would take otherwise than it reads, or not at all,
// is refused.
func TestRefuses(t *testing.T) {
	needLibrary(t)
	good := opus.Config{Hz: 8000, Channels: 2, BitRate: 24_000, Complexity: 10}
	if _, err := opus.NewEncoder(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*opus.Config){
		"rate":            func(c *opus.Config) { c.Hz = 44100 },
		"no rate":         func(c *opus.Config) { c.Hz = 0 },
		"channels":        func(c *opus.Config) { c.Channels = 3 },
		"stereo bit rate": func(c *opus.Config) { c.BitRate = 23_999 },
		"mono bit rate":   func(c *opus.Config) { c.Channels, c.BitRate = 1, 5_999 },
		"bit rate":        func(c *opus.Config) { c.BitRate = 510_001 },
		"complexity":      func(c *opus.Config) { c.Complexity = 11 },
		"negative":        func(c *opus.Config) { c.Complexity = -1 },
	} {
		c := good
		change(&c)
		if _, err := opus.NewEncoder(c); err == nil {
			t.Errorf("%s: got an encoder with %+v", name, c)
		}
	}
	if _, err := opus.NewDecoder(44100, 1); err == nil {
		t.Error("got a decoder for 44100 Hz")
	}
}

// A frame is 20 ms, no more and no less.
func TestFrameLength(t *testing.T) {
	needLibrary(t)
	encoder, err := opus.NewEncoder(opus.Config{Hz: 8000, Channels: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, samples := range []int{0, 1, 160, 319, 321, 640} {
		if _, err := encoder.Encode(make([]byte, opus.MaxPacketBytes), make([]int16, samples)); err == nil {
			t.Errorf("got %d samples encoded", samples)
		}
	}
}

// Neither side writes behind the end of its destination, even where there is
// capacity; that there is no room is an error or a smaller packet.
func TestStaysWithinDestination(t *testing.T) {
	needLibrary(t)
	encoder, err := opus.NewEncoder(opus.Config{Hz: 8000, Channels: 1, BitRate: 64_000})
	if err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, opus.MaxPacketBytes)
	for i := range packet {
		packet[i] = 0xa5
	}
	if n, err := encoder.Encode(packet[:20], tone(8000, 1, 0)); err != nil || n > 20 {
		t.Errorf("got %d bytes and %v, want at most 20", n, err)
	}
	for i, b := range packet[20:] {
		if b != 0xa5 {
			t.Fatalf("got byte %d behind the destination's end overwritten", i)
		}
	}
	n, err := encoder.Encode(packet, tone(8000, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, channels := range []int{1, 2} {
		decoder, err := opus.NewDecoder(8000, channels)
		if err != nil {
			t.Fatal(err)
		}
		for _, room := range []int{0, 1, 159 * channels} {
			if _, err := decoder.Decode(make([]int16, 1000)[:room], packet[:n]); err == nil {
				t.Errorf("got 20 ms decoded into %d samples", room)
			}
		}
	}
}

// What is not an Opus packet is an error, never a crash.
func TestDecodeRefuses(t *testing.T) {
	needLibrary(t)
	decoder, err := opus.NewDecoder(8000, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, packet := range [][]byte{nil, {}, {0xff}, {0x03}, {0x02, 0xff, 0xff}} {
		if n, err := decoder.Decode(make([]int16, 960), packet); err == nil {
			t.Errorf("got %d samples of % x", n, packet)
		}
	}
}

// A second of a two-party call at 8 kHz, by complexity.
func BenchmarkEncodeSecond(b *testing.B) {
	needLibrary(b)
	for _, complexity := range []int{1, 5, 10} {
		b.Run(fmt.Sprintf("complexity-%d", complexity), func(b *testing.B) {
			encoder, err := opus.NewEncoder(opus.Config{Hz: 8000, Channels: 2, Complexity: complexity})
			if err != nil {
				b.Fatal(err)
			}
			second, packet := call(50), make([]byte, opus.MaxPacketBytes)
			b.ReportAllocs()
			for b.Loop() {
				for _, frame := range second {
					if _, err := encoder.Encode(packet, frame); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "×real-time")
		})
	}
}

func BenchmarkDecodeSecond(b *testing.B) {
	needLibrary(b)
	encoder, err := opus.NewEncoder(opus.Config{Hz: 8000, Channels: 2})
	if err != nil {
		b.Fatal(err)
	}
	var packets [][]byte
	for _, frame := range call(50) {
		packet := make([]byte, opus.MaxPacketBytes)
		n, err := encoder.Encode(packet, frame)
		if err != nil {
			b.Fatal(err)
		}
		packets = append(packets, packet[:n])
	}
	decoder, err := opus.NewDecoder(8000, 2)
	if err != nil {
		b.Fatal(err)
	}
	frame := make([]int16, 320)
	b.ReportAllocs()
	for b.Loop() {
		for _, packet := range packets {
			if _, err := decoder.Decode(frame, packet); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "×real-time")
}

// call is frames of two voice-like sounds of different pitch, both speaking.
func call(frames int) [][]int16 {
	out := make([][]int16, frames)
	for number := range out {
		out[number] = make([]int16, 320)
		for i := range out[number] {
			pitch := 110 + 75*float64(i%2)
			at := float64(number)/50 + float64(i/2)/8000
			sum := 0.0
			for harmonic := 1.0; harmonic <= 15; harmonic++ {
				sum += math.Sin(2*math.Pi*pitch*harmonic*at*(1+0.01*math.Sin(20*at))) / harmonic
			}
			out[number][i] = int16(5000 * sum)
		}
	}
	return out
}
