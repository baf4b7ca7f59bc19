package prompt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/g722"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/wav"
)

// file returns a WAV file's bytes.
func file(t testing.TB, hz, channels int, samples []int16) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "prompt.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := wav.NewWriter(f, hz, channels)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(samples); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tone(hz, samples int) []int16 {
	out := make([]int16, samples)
	for i := range out {
		out[i] = int16(10000 * math.Sin(2*math.Pi*700*float64(i)/float64(hz)))
	}
	return out
}

const frameSamples = 160

// A prompt at any of the rates becomes the same sound in both laws, in frames of
// 20 ms of which the last one ends in silence.
func TestFrames(t *testing.T) {
	decoders := map[string]func([]int16, []byte){"PCMA": g711.DecodeALaw, "PCMU": g711.DecodeMuLaw}
	silence := map[string]byte{"PCMA": 0xd5, "PCMU": 0xff}
	for _, hz := range []int{8000, 16000, 48000} {
		b := file(t, hz, 1, tone(hz, hz/2+hz/100)) // 25 frames and a half
		p, err := Load("recorded/nl", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256(b)
		if p.ID != "recorded/nl" || p.Duration != 510*time.Millisecond || p.SHA256 != hex.EncodeToString(hash[:]) {
			t.Errorf("%d Hz: got %s of %v, %s; want recorded/nl of 510ms, %x", hz, p.ID, p.Duration, p.SHA256, hash)
		}
		want := tone(8000, 4080)
		for codec, decode := range decoders {
			f, ok := p.Frames(codec, 8000)
			frames := f.Payloads
			if !ok || len(frames) != 26 || f.Samples != frameSamples || f.Interval != 20*time.Millisecond {
				t.Fatalf("%d Hz, %s: got %d frames, want 26", hz, codec, len(frames))
			}
			got := make([]int16, 26*frameSamples)
			for i, frame := range frames {
				if len(frame) != frameSamples || cap(frame) != frameSamples {
					t.Fatalf("%d Hz, %s: got a frame of %d, want %d", hz, codec, len(frame), frameSamples)
				}
				decode(got[i*frameSamples:], frame)
			}
			if rest := frames[25][80:]; !bytes.Equal(rest, bytes.Repeat([]byte{silence[codec]}, 80)) {
				t.Errorf("%d Hz, %s: got % x behind the prompt's end, want silence", hz, codec, rest)
			}
			for i := 80; i < len(want)-80; i++ { // the filter rounds off beginning and end
				if off := math.Abs(float64(got[i]) - float64(want[i])); off > 300 {
					t.Fatalf("%d Hz, %s: got %d at sample %d, want %d", hz, codec, got[i], i, want[i])
				}
			}
		}
	}
}

// A prompt at any of the rates is the same sound in every codec, as long as it was and at
// most two frames longer, of which a receiver is told by its clock.
func TestEveryCodec(t *testing.T) {
	for _, c := range []struct {
		name              string
		clockHz, hz       int
		samples, payloads int // a frame, and how many there are at least
	}{
		{"PCMA", 8000, 8000, 160, 26}, {"PCMU", 8000, 8000, 160, 26}, {"G722", 8000, 16000, 160, 26}, {"OPUS", 48000, 48000, 960, 26},
		{"L16", 8000, 8000, 160, 26}, {"L16", 16000, 16000, 320, 26}, {"L16", 48000, 48000, 480, 51},
	} {
		for _, hz := range []int{8000, 16000, 48000} {
			p, err := New("x", tone(hz, hz/2+hz/100), hz)
			if err != nil {
				t.Fatal(err)
			}
			f, ok := p.Frames(c.name, c.clockHz)
			if want := c.name != "OPUS" || opus.Available; ok != want || Plays(c.name, c.clockHz) != want {
				t.Fatalf("%s/%d: got %v, %v, want %v", c.name, c.clockHz, ok, Plays(c.name, c.clockHz), want)
			}
			if !ok {
				continue
			}
			if n := len(f.Payloads); int(f.Samples) != c.samples || f.Interval != time.Duration(c.samples)*time.Second/time.Duration(c.clockHz) || n < c.payloads || n > c.payloads+1 {
				t.Errorf("%s/%d of %d Hz: got %d frames of %d samples and %v, want %d of %d", c.name, c.clockHz, hz, n, f.Samples, f.Interval, c.payloads, c.samples)
			}
			pcm := heard(t, c.name, c.hz, f)
			middle := pcm[c.hz/10 : 4*c.hz/10]
			var re, im, energy float64
			for i, s := range middle {
				sin, cos := math.Sincos(2 * math.Pi * 700 * float64(i) / float64(c.hz))
				re, im, energy = re+float64(s)*cos, im+float64(s)*sin, energy+float64(s)*float64(s)
			}
			if share, level := 2*(re*re+im*im)/(energy*float64(len(middle))), math.Sqrt(2*energy/float64(len(middle))); share < 0.98 || level < 9000 || level > 11000 {
				t.Errorf("%s/%d of %d Hz: got %.3f of the energy at the tone, at a level of %.0f; want 0.98 at 10000", c.name, c.clockHz, hz, share, level)
			}
			for i, s := range pcm[min(len(pcm), 525*c.hz/1000):] {
				if s < -500 || s > 500 { // Opus rings a little
					t.Fatalf("%s/%d of %d Hz: got %d at sample %d behind the end, want silence", c.name, c.clockHz, hz, s, i)
				}
			}
		}
	}
}

// heard is what a receiver hears.
func heard(t *testing.T, codec string, hz int, f Frames) (pcm []int16) {
	t.Helper()
	wide := g722.NewDecoder()
	for _, payload := range f.Payloads {
		frame := make([]int16, int(f.Interval*time.Duration(hz)/time.Second))
		switch codec {
		case "PCMA":
			g711.DecodeALaw(frame, payload)
		case "PCMU":
			g711.DecodeMuLaw(frame, payload)
		case "G722":
			wide.Decode(frame, payload)
		case "L16":
			for i := range frame {
				frame[i] = int16(binary.BigEndian.Uint16(payload[2*i:]))
			}
		}
		pcm = append(pcm, frame...)
	}
	if codec == "OPUS" {
		d, err := opus.NewDecoder(hz, 1)
		if err != nil {
			t.Fatal(err)
		}
		pcm = pcm[:0]
		for _, payload := range f.Payloads {
			frame := make([]int16, hz/50)
			if n, err := d.Decode(frame, payload); err != nil || n != hz/50 {
				t.Fatalf("got %d samples and %v", n, err)
			}
			pcm = append(pcm, frame...)
		}
	}
	return pcm
}

// A codec that no prompt is encoded to has no frames.
func TestNoFrames(t *testing.T) {
	p, err := Load("x", bytes.NewReader(file(t, 8000, 1, tone(8000, 160))))
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range []key{{"G729", 8000}, {"L16", 44100}, {"G722", 16000}, {"pcma", 8000}, {}} {
		if frames, ok := p.Frames(codec.codec, codec.clockHz); ok || frames.Payloads != nil || Plays(codec.codec, codec.clockHz) {
			t.Errorf("%v: got %d frames, want none", codec, len(frames.Payloads))
		}
	}
}

// The hash is that of the whole file, with what stands behind the samples.
func TestHashesWholeFile(t *testing.T) {
	b := append(file(t, 8000, 1, tone(8000, 160)), "LIST\x04\x00\x00\x00INFO"...)
	p, err := Load("x", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(b)); p.SHA256 != want {
		t.Errorf("got %s, want %s", p.SHA256, want)
	}
}

// A prompt of a whole minute is not too long.
func TestLongest(t *testing.T) {
	if p, err := Load("x", bytes.NewReader(file(t, 8000, 1, tone(8000, 60*8000)))); err != nil || p.Duration != time.Minute {
		t.Errorf("got %v, want a prompt of a minute", err)
	}
}

// What nobody could hear, or that is not in the format, is refused with the
// prompt's name and the reason.
func TestRefuses(t *testing.T) {
	quiet := tone(8000, 8000)
	for i := range quiet {
		quiet[i] /= 100
	}
	sound := file(t, 8000, 1, tone(8000, 8000))
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"stereo":     {file(t, 8000, 2, tone(8000, 8000)), "2 channels"},
		"rate":       {file(t, 44100, 1, tone(44100, 8000)), "44100 Hz"},
		"no samples": {file(t, 8000, 1, nil), "no samples"},
		"silent":     {file(t, 8000, 1, make([]int16, 8000)), "silent"},
		"quiet":      {file(t, 8000, 1, quiet), "silent"},
		"long":       {file(t, 8000, 1, tone(8000, 60*8000+1)), "longer than 60 s"},
		"not WAV":    {[]byte("OggS and so on and so on"), "not a WAV file"},
		"empty":      {nil, "unexpected EOF"},
		"torn":       {sound[:len(sound)-1], "unexpected EOF"},
	} {
		_, err := Load("recorded/nl", bytes.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "load prompt recorded/nl: ") {
			t.Errorf("%s: got error %v, want one of recorded/nl that says %q", name, err, c.want)
		}
	}
}

// The loudest sample there can be is not silence.
func TestPeak(t *testing.T) {
	if got := peak([]int16{0, math.MinInt16, 5}); got != -math.MinInt16 {
		t.Errorf("got %d, want %d", got, -math.MinInt16)
	}
}

// Ten seconds at 48 kHz.
func BenchmarkLoad(b *testing.B) {
	f := file(b, 48000, 1, tone(48000, 480000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load("x", bytes.NewReader(f)); err != nil {
			b.Fatal(err)
		}
	}
}
