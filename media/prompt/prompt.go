// Package prompt makes announcements ready to be sent: a WAV file becomes frames
// of every codec that a leg may have negotiated, once, when it is loaded.
//
// It knows nothing of who hears a prompt, or when.
//
//	WAV ─ wav ─▶ samples ─ resample ─▶ 8 kHz ─ g711 ─▶ PCMA, PCMU in 20 ms frames
package prompt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/resample"
	"github.com/bewaard/bewaard/media/wav"
)

// FrameSamples is how far a frame takes the RTP timestamp on: 20 ms at 8 kHz.
const FrameSamples = clockHz / 50

const (
	clockHz    = 8000
	maxSeconds = 60
	silentPeak = 104 // -50 dBFS: a file whose loudest sample is below says nothing
)

// Prompt is one announcement in one language. It does not change.
type Prompt struct {
	ID       string
	Duration time.Duration // of the file's audio
	SHA256   string        // of the whole file, in hex

	frames map[string][][]byte // by the codec's name
}

// Load reads a mono PCM16 WAV file of 8, 16 or 48 kHz. A file that is empty,
// silent or longer than a minute is refused.
func Load(id string, r io.Reader) (*Prompt, error) {
	p, err := load(r)
	if err != nil {
		return nil, fmt.Errorf("load prompt %s: %w", id, err)
	}
	p.ID = id
	return p, nil
}

func load(r io.Reader) (*Prompt, error) {
	hash := sha256.New()
	r = io.TeeReader(r, hash)
	samples, hz, err := read(r)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // chunks behind the samples
		return nil, err
	}
	rs, err := resample.New(hz, clockHz)
	if err != nil {
		return nil, err
	}
	narrow := rs.Flush(rs.Process(nil, samples))
	whole := (len(narrow) + FrameSamples - 1) / FrameSamples * FrameSamples
	narrow = append(narrow, make([]int16, whole-len(narrow))...) // the last frame ends in silence
	return &Prompt{
		Duration: time.Duration(len(samples)) * time.Second / time.Duration(hz),
		SHA256:   hex.EncodeToString(hash.Sum(nil)),
		frames: map[string][][]byte{
			"PCMA": frames(narrow, g711.EncodeALaw),
			"PCMU": frames(narrow, g711.EncodeMuLaw),
		},
	}, nil
}

// read reads all samples of a file that can be a prompt.
func read(r io.Reader) (samples []int16, hz int, err error) {
	w, err := wav.NewReader(r)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case w.Channels != 1:
		return nil, 0, fmt.Errorf("%d channels, a prompt has one", w.Channels)
	case w.Hz != 8000 && w.Hz != 16000 && w.Hz != 48000:
		return nil, 0, fmt.Errorf("%d Hz, a prompt has 8000, 16000 or 48000", w.Hz)
	}
	second := make([]int16, w.Hz)
	for {
		n, err := w.Read(second)
		samples = append(samples, second[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if len(samples) > maxSeconds*w.Hz {
			return nil, 0, fmt.Errorf("longer than %d s", maxSeconds)
		}
	}
	if len(samples) == 0 {
		return nil, 0, errors.New("no samples")
	}
	if peak(samples) < silentPeak {
		return nil, 0, errors.New("silent: no sample above -50 dBFS")
	}
	return samples, w.Hz, nil
}

func peak(samples []int16) int {
	p := 0
	for _, s := range samples {
		p = max(p, int(s), -int(s))
	}
	return p
}

// frames encodes samples, a whole number of frames.
func frames(samples []int16, encode func([]byte, []int16)) [][]byte {
	octets := make([]byte, len(samples))
	encode(octets, samples)
	out := make([][]byte, 0, len(octets)/FrameSamples)
	for ; len(octets) > 0; octets = octets[FrameSamples:] {
		out = append(out, octets[:FrameSamples:FrameSamples])
	}
	return out
}

// Frames returns the payloads of 20 ms each for a codec by its upper-case name,
// PCMA or PCMU, and false for any other. They are shared: not to be changed.
func (p *Prompt) Frames(codecName string) ([][]byte, bool) {
	f, ok := p.frames[codecName]
	return f, ok
}
