package oggopus_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/players"
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
		if err := w.WritePacket(960, packet[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(total); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// apart encodes two channels, each by itself, as a recording is made.
func apart(t *testing.T, c opus.Config, samples [2][]int16) []byte {
	t.Helper()
	var encoders [2]*opus.Encoder
	for i := range encoders {
		var err error
		if encoders[i], err = opus.NewEncoder(c); err != nil {
			t.Fatal(err)
		}
	}
	out, preSkip := new(bytes.Buffer), int64(encoders[0].PreSkip())
	w, err := oggopus.NewWriter(out, oggopus.Config{Channels: 2, Apart: true, PreSkip: int(preSkip), InputHz: c.Hz})
	if err != nil {
		t.Fatal(err)
	}
	total := int64(len(samples[0])) * int64(48000/c.Hz)
	frame := make([]int16, c.Hz/50)
	for written := int64(0); written < total+preSkip; written += 960 {
		var packets [2][]byte
		for i, encoder := range encoders {
			clear(frame)
			samples[i] = samples[i][copy(frame, samples[i]):]
			packets[i] = make([]byte, opus.MaxPacketBytes)
			n, err := encoder.Encode(packets[i], frame)
			if err != nil {
				t.Fatal(err)
			}
			packets[i] = packets[i][:n]
		}
		if err := w.WritePacket(960, packets[0], packets[1]); err != nil {
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
	var decoders [2]*opus.Decoder
	for i := range decoders {
		if decoders[i], err = opus.NewDecoder(48000, r.Channels/r.Streams); err != nil {
			t.Fatal(err)
		}
	}
	var samples []int16
	for {
		packet, duration, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		split, err := r.Split(packet)
		if err != nil {
			t.Fatal(err)
		}
		at := len(samples)
		samples = append(samples, make([]int16, duration*r.Channels)...)
		for stream := range r.Streams {
			buf := make([]int16, 5760*r.Channels)
			n, err := decoders[stream].Decode(buf, split[stream])
			if err != nil {
				t.Fatal(err)
			}
			if n != duration*r.Channels/r.Streams {
				t.Fatalf("got %d samples from a packet of %d", n, duration)
			}
			for i, s := range buf[:n] {
				samples[at+i*r.Streams+stream] = s
			}
		}
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

// decoders are what plays a file that is handed to them, our own reader and libopus first.
func decoders(t *testing.T) map[string]func([]byte) []int16 {
	t.Helper()
	all := map[string]func([]byte) []int16{"libopus": func(file []byte) []int16 { return decoded(t, file) }}
	for name, arg := range map[string][]string{
		"opusdec": {"--quiet", "--no-dither", "--rate", "48000", "-", "-"},
		"ffmpeg":  {"-v", "error", "-i", "-", "-f", "s16le", "-"}, // its own decoder
		// The decoder that browsers have: Chromium's demuxer is ffmpeg's, its decoder libopus.
		"ffmpeg with libopus": {"-v", "error", "-c:a", "libopus", "-i", "-", "-f", "s16le", "-"},
	} {
		program, _, _ := strings.Cut(name, " ")
		if !players.Have(t, program) {
			continue
		}
		all[name] = func(file []byte) []int16 { return played(t, file, program, arg...) }
	}
	return all
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
			for player, play := range decoders(t) {
				got := play(recording)
				if want := len(samples) * 48000 / hz; len(got) != want {
					t.Errorf("%d Hz, %s: got %d samples, want %d", hz, player, len(got), want)
					continue
				}
				if lag := lag(samples, got, hz); lag < -6 || lag > 6 {
					t.Errorf("%d Hz, %s: got a lag of %d samples, want at most 6", hz, player, lag)
				}
			}
		}
	}
}

// Two mono streams are left and right for whatever plays them, as long as they were, and
// nothing of the one is heard on the other, whether silence is coded or left out (DTX),
// though both parties speak at once for half of the time.
func TestApartSoundsApart(t *testing.T) {
	if !opus.Available {
		t.Skip("built without cgo, hence without Opus")
	}
	for _, hz := range []int{8000, 16000, 48000} {
		for _, dtx := range []bool{false, true} {
			voice := chirps(hz, 2*hz)
			samples := [2][]int16{make([]int16, 2*hz), make([]int16, 2*hz)}
			copy(samples[0][:3*hz/2], voice)        // left: the first three quarters
			copy(samples[1][hz:], chirps(hz, 2*hz)) // right: the second half
			recording := apart(t, opus.Config{Hz: hz, Channels: 1, DTX: dtx}, samples)
			for player, play := range decoders(t) {
				if dtx && player == "ffmpeg" {
					continue // its own decoder makes noise of frames that are left out
				}
				got := play(recording)
				if want := 2 * 2 * 48000; len(got) != want {
					t.Errorf("%d Hz, %s: got %d samples, want %d", hz, player, len(got), want)
					continue
				}
				energy := func(channel, from, to int) (e float64) { // in hundredths of a second
					for i := from * 480; i < to*480; i++ {
						e += float64(got[2*i+channel]) * float64(got[2*i+channel])
					}
					return e / float64(to-from)
				}
				speaks := energy(0, 5, 90)
				if left := energy(0, 105, 145); left < speaks/4 {
					t.Errorf("%d Hz, %s: left: got %.0f, want about %.0f", hz, player, left, speaks)
				}
				for channel, span := range [2][2]int{{170, 198}, {5, 95}} {
					if leak := 10 * math.Log10((energy(channel, span[0], span[1])+1)/speaks); leak > -60 {
						t.Errorf("%d Hz, DTX %v, %s: got %.1f dB of the other channel on channel %d, want none", hz, dtx, player, leak, channel)
					}
				}
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
