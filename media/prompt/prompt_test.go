package prompt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
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
			frames, ok := p.Frames(codec)
			if !ok || len(frames) != 26 {
				t.Fatalf("%d Hz, %s: got %d frames, want 26", hz, codec, len(frames))
			}
			got := make([]int16, 26*FrameSamples)
			for i, frame := range frames {
				if len(frame) != FrameSamples || cap(frame) != FrameSamples {
					t.Fatalf("%d Hz, %s: got a frame of %d, want %d", hz, codec, len(frame), FrameSamples)
				}
				decode(got[i*FrameSamples:], frame)
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

// A codec that no prompt is encoded to has no frames.
func TestNoFrames(t *testing.T) {
	p, err := Load("x", bytes.NewReader(file(t, 8000, 1, tone(8000, 160))))
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range []string{"OPUS", "G722", "pcma", ""} {
		if frames, ok := p.Frames(codec); ok || frames != nil {
			t.Errorf("%s: got %d frames, want none", codec, len(frames))
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
