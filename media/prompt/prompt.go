// Package prompt makes announcements ready to be sent: a WAV file becomes frames
// of every codec that a leg may have negotiated, once, when it is loaded.
//
// It knows nothing of who hears a prompt, or when.
//
//	WAV ─ wav ─▶ samples ─ resample ─┬─▶  8 kHz ─▶ PCMA, PCMU, L16
//	                                 ├─▶ 16 kHz ─▶ G722, L16       in frames of 20 ms
//	                                 ├─▶ 48 kHz ─▶ L16
//	                                 └─▶ as it is ─▶ Opus
package prompt

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/resample"
	"github.com/bewaard/bewaard/media/wav"
)

const (
	maxSeconds = 60
	silentPeak = 104 // -50 dBFS: a file whose loudest sample is below says nothing
)

// Prompt is one announcement in one language. It does not change.
type Prompt struct {
	ID       string
	Duration time.Duration // of the file's audio
	SHA256   string        // of the whole file, in hex

	frames map[key]Frames
}

type key struct {
	codec   string
	clockHz int
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
	p := &Prompt{
		Duration: time.Duration(len(samples)) * time.Second / time.Duration(hz),
		SHA256:   hex.EncodeToString(hash.Sum(nil)),
	}
	p.frames, err = encode(samples, hz)
	return p, err
}

// New makes a prompt of samples that are not from a file, at 8, 16 or 48 kHz.
func New(id string, samples []int16, hz int) (*Prompt, error) {
	frames, err := encode(samples, hz)
	if err != nil {
		return nil, fmt.Errorf("make prompt %s: %w", id, err)
	}
	return &Prompt{ID: id, Duration: time.Duration(len(samples)) * time.Second / time.Duration(hz), frames: frames}, nil
}

// encode makes the frames of every codec. The last one of each ends in silence.
func encode(samples []int16, hz int) (map[key]Frames, error) {
	at := map[int][]int16{hz: samples} // by rate
	frames := map[key]Frames{}
	for _, c := range codecs {
		if !Plays(c.name, c.clockHz) {
			continue
		}
		rate := cmp.Or(c.hz, hz)
		if at[rate] == nil {
			r, err := resample.New(hz, rate)
			if err != nil {
				return nil, err
			}
			at[rate] = r.Flush(r.Process(nil, samples))
		}
		frame := int(c.interval * time.Duration(rate) / time.Second)
		rest := (frame - len(at[rate])%frame) % frame
		payloads, err := c.encode(append(slices.Clip(at[rate]), make([]int16, rest)...), rate, frame)
		if err != nil {
			return nil, err
		}
		frames[key{c.name, c.clockHz}] = Frames{
			Payloads: payloads, Interval: c.interval, Samples: uint32(c.interval * time.Duration(c.clockHz) / time.Second),
		}
	}
	return frames, nil
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

// Frames returns the prompt in a codec, by its upper-case name and its clock rate, and
// false for one that Plays does not know.
func (p *Prompt) Frames(codecName string, clockHz int) (Frames, bool) {
	f, ok := p.frames[key{codecName, clockHz}]
	return f, ok
}
