package oggopus_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os/exec"
	"testing"

	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
)

// file encodes interleaved samples into a whole file, as a recording is made.
func file(t *testing.T, c opus.Config, samples []int16) []byte {
	t.Helper()
	encoder, err := opus.NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	w, err := oggopus.NewWriter(out, oggopus.Config{Channels: c.Channels, PreSkip: encoder.PreSkip(), InputHz: c.Hz})
	if err != nil {
		t.Fatal(err)
	}
	total := int64(len(samples)/c.Channels) * int64(48000/c.Hz)
	frame, packet := make([]int16, c.Hz/50*c.Channels), make([]byte, opus.MaxPacketBytes)
	for written := int64(0); written < total+int64(encoder.PreSkip()); written += 960 {
		clear(frame)
		samples = samples[copy(frame, samples):]
		n, err := encoder.Encode(packet, frame)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(packet[:n], 960); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(total); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// decoded is how a file sounds at 48 kHz, by our own reader and libopus.
func decoded(t *testing.T, file []byte) []int16 {
	t.Helper()
	r, err := oggopus.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := opus.NewDecoder(48000, r.Channels)
	if err != nil {
		t.Fatal(err)
	}
	var samples []int16
	for buf := make([]int16, 5760*r.Channels); ; {
		packet, duration, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := decoder.Decode(buf, packet)
		if err != nil {
			t.Fatal(err)
		}
		if n != duration*r.Channels {
			t.Fatalf("got %d samples from a packet of %d", n, duration*r.Channels)
		}
		samples = append(samples, buf[:n]...)
	}
	begin := r.PreSkip * r.Channels
	return samples[begin : begin+int(r.Total48k())*r.Channels]
}

// played is how a file sounds at 48 kHz, by a program that writes raw samples.
func played(t *testing.T, file []byte, name string, arg ...string) []int16 {
	t.Helper()
	program := exec.Command(name, arg...)
	program.Stdin = bytes.NewReader(file)
	errors := new(bytes.Buffer)
	program.Stderr = errors
	out, err := program.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, errors)
	}
	samples := make([]int16, len(out)/2)
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(out[2*i:]))
	}
	return samples
}

// chirps is a sum of tones that glide, so that it resembles itself at one place only.
func chirps(hz, samples int) []int16 {
	out := make([]int16, samples)
	for i := range out {
		at, sum := float64(i)/float64(hz), 0.0
		for k := 1.0; k <= 7; k++ {
			sum += math.Sin(2*math.Pi*(200+173.3*k)*at*(1+0.05*at) + k*k)
		}
		out[i] = int16(2000 * sum)
	}
	return out
}

// lag returns by how many samples at 48 kHz got comes later than want, which is
// at hz: where they resemble each other most over 100 ms.
func lag(want, got []int16, hz int) int {
	best, at := math.Inf(-1), 0
	for lag := -480; lag <= 480; lag++ {
		sum := 0.0
		for i := len(want) / 2; i < len(want)/2+hz/10; i++ {
			sum += float64(want[i]) * float64(got[i*48000/hz+lag])
		}
		if sum > best {
			best, at = sum, lag
		}
	}
	return at
}

// Whatever plays a file, it is exactly as long as what was encoded, and stands
// within a sample (of 8 kHz) of it: pre-skip and trimming are right.
func TestAlignedAndExactlyAsLong(t *testing.T) {
	if !opus.Available {
		t.Skip("built without cgo, hence without Opus")
	}
	for _, hz := range []int{8000, 16000, 48000} {
		for _, extra := range []int{0, 1, hz/50 - 1} { // beyond whole frames
			samples := chirps(hz, hz/2+extra)
			recording := file(t, opus.Config{Hz: hz, Channels: 1}, samples)
			check := func(player string, got []int16) {
				t.Helper()
				if want := len(samples) * 48000 / hz; len(got) != want {
					t.Errorf("%d Hz, %s: got %d samples, want %d", hz, player, len(got), want)
					return
				}
				if lag := lag(samples, got, hz); lag < -6 || lag > 6 {
					t.Errorf("%d Hz, %s: got a lag of %d samples, want at most 6", hz, player, lag)
				}
			}
			check("libopus", decoded(t, recording))
			if _, err := exec.LookPath("opusdec"); err == nil {
				check("opusdec", played(t, recording, "opusdec", "--quiet", "--no-dither", "--rate", "48000", "-", "-"))
			}
			if _, err := exec.LookPath("ffmpeg"); err == nil {
				check("ffmpeg", played(t, recording, "ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-"))
			}
		}
	}
}

// Who speaks on one channel is not heard on the other, at the default bit rate
// and at the lowest that is allowed.
func TestChannelsStayApart(t *testing.T) {
	if !opus.Available {
		t.Skip("built without cgo, hence without Opus")
	}
	const hz, turn = 8000, 8000 / 2 // speakers take turns of half a second
	voice := chirps(hz, 4*hz)
	samples := make([]int16, 2*len(voice))
	for i, s := range voice {
		samples[2*i+i/turn%2] = s
	}
	for _, bitRate := range []int{0, 24_000} {
		for _, complexity := range []int{1, 5, 10} {
			t.Run(fmt.Sprintf("%d-%d", bitRate, complexity), func(t *testing.T) {
				got := decoded(t, file(t, opus.Config{Hz: hz, Channels: 2, BitRate: bitRate, Complexity: complexity}, samples))
				var speaks, silent float64
				for i := range len(got) / 2 {
					at := i / 6 // in samples at 8 kHz
					if at%turn < turn/5 || at%turn > turn-turn/5 {
						continue // the change of turns
					}
					channel := at / turn % 2
					speaks += float64(got[2*i+channel]) * float64(got[2*i+channel])
					silent += float64(got[2*i+1-channel]) * float64(got[2*i+1-channel])
				}
				if leak := 10 * math.Log10((silent+1)/speaks); leak > -40 {
					t.Errorf("got %.1f dB of the other channel, want -40 or less", leak)
				}
			})
		}
	}
}
