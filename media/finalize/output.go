package finalize

import (
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/media/wav"
)

// Formats that a recording can be written in, stereo all of them.
const (
	Opus     = "opus"     // Opus in Ogg, each party encoded by itself
	WAV      = "wav"      // linear samples of 16 bits
	WAVALaw  = "wav-alaw" // A-law: half as long, and nothing is lost of a call that was A-law
	WAVMuLaw = "wav-ulaw" // µ-law
)

// formats are how each is written.
var formats = map[string]struct {
	extension string
	encoding  wav.Encoding // 0: not WAV
}{
	Opus:     {"opus", 0},
	WAV:      {"wav", wav.PCM16},
	WAVALaw:  {"alaw.wav", wav.ALaw},
	WAVMuLaw: {"ulaw.wav", wav.MuLaw},
}

// CheckFormat says why a recording cannot be written in a format, if so.
func CheckFormat(format string) error {
	switch _, known := formats[format]; {
	case !known:
		return fmt.Errorf("format %q: none of %s, %s, %s and %s", format, Opus, WAV, WAVALaw, WAVMuLaw)
	case format == Opus && !opus.Available:
		return fmt.Errorf("format %s: %w", format, opus.ErrUnavailable)
	}
	return nil
}

// OpusConfig is how parties are encoded in Opus. Zero values are the defaults, which
// docs/performance.md tells the reasons of.
type OpusConfig struct {
	// Complexity is 1 (fastest) to 10 (best). Default: 1.
	Complexity int `yaml:"complexity"`
	// BitRate is that of each party while it speaks, in bits a second. Default: 20000 of a
	// call at 8 kHz, 24000 at 16 kHz, 32000 at 48 kHz.
	BitRate int `yaml:"bit_rate"`
	// DTX leaves silence out. ffmpeg's own decoder, and what is built on it, then makes
	// noise of silence. Default: false.
	DTX bool `yaml:"dtx"`
}

// Validate reports every fault, each with its key.
func (c OpusConfig) Validate() []error {
	var faults []error
	if c.Complexity < 0 || c.Complexity > 10 {
		faults = append(faults, fmt.Errorf("complexity: %d is not from 1 to 10", c.Complexity))
	}
	if c.BitRate != 0 && (c.BitRate < 6000 || c.BitRate > 256_000) {
		faults = append(faults, fmt.Errorf("bit_rate: %d is not from 6000 to 256000", c.BitRate))
	}
	return faults
}

// newOutput begins a recording that will have so many frames. It is written from its
// beginning to its end: a file that is sealed has no way back.
func newOutput(file io.Writer, format string, hz, frames int64, h spool.Header, job Job) (output, error) {
	if e := formats[format].encoding; e != 0 {
		w, err := wav.NewSizedWriter(file, e, int(hz), 2, frames)
		return wavOutput{w}, err
	}
	if job.packet > 0 {
		return newPassage(file, job.packet, h, job), nil
	}
	return newOpusOutput(file, hz, h, job)
}

// opusHeader is what an Ogg-Opus file says of itself.
func opusHeader(preSkip int, hz int64, h spool.Header, job Job) oggopus.Config {
	tags := [][2]string{{"RECORDING", h.ID}, {"PURPOSE", h.Terms.Purpose}}
	if !job.Expires.IsZero() {
		tags = append(tags, [2]string{"EXPIRES", job.Expires.UTC().Format(time.RFC3339)})
	}
	return oggopus.Config{
		Channels: 2,
		Apart:    true,
		PreSkip:  preSkip,
		InputHz:  int(hz),
		Serial:   crc32.ChecksumIEEE([]byte(h.ID)), // a re-run makes the same file
		Tags:     tags,
	}
}

// wavOutput writes a recording as WAV.
type wavOutput struct{ w *wav.Writer }

func (o wavOutput) write(frames []int16) error { return o.w.Write(frames) }
func (o wavOutput) close(int64) error          { return o.w.Close() }

const (
	opusClockHz    = 48_000 // RFC 7845 §4
	opusPacketTime = 20 * time.Millisecond
)

// opusOutput encodes a recording into an Ogg-Opus file. Each party has a stream of its
// own: in a stereo one the noise of coding what one party says reaches the other's channel
// while both speak.
type opusOutput struct {
	voices  [2]opusVoice // left, right
	muxer   *oggopus.Writer
	hz      int64
	preSkip int64
	encoded int64 // samples at 48 kHz
}

// opusVoice is one channel's.
type opusVoice struct {
	encoder *opus.Encoder
	pending []int16 // less than a packet
	packet  []byte
}

func newOpusOutput(file io.Writer, hz int64, h spool.Header, job Job) (*opusOutput, error) {
	o := &opusOutput{hz: hz}
	for i := range o.voices {
		encoder, err := opus.NewEncoder(opus.Config{
			Hz: int(hz), Channels: 1, BitRate: job.Opus.BitRate, Complexity: job.Opus.Complexity, DTX: job.Opus.DTX,
		})
		if err != nil {
			return nil, err
		}
		o.voices[i] = opusVoice{encoder, make([]int16, 0, samplesAt(opusPacketTime, hz)), make([]byte, opus.MaxPacketBytes)}
		o.preSkip = int64(encoder.PreSkip())
	}
	var err error
	o.muxer, err = oggopus.NewWriter(file, opusHeader(int(o.preSkip), hz, h, job))
	return o, err
}

func (o *opusOutput) write(frames []int16) error {
	left, right := &o.voices[0], &o.voices[1]
	for len(frames) > 0 {
		n := min(2*(cap(left.pending)-len(left.pending)), len(frames))
		for i := 0; i < n; i += 2 {
			left.pending = append(left.pending, frames[i])
			right.pending = append(right.pending, frames[i+1])
		}
		frames = frames[n:]
		if len(left.pending) == cap(left.pending) {
			if err := o.encode(); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode writes a packet of what is pending.
func (o *opusOutput) encode() error {
	var packets [2][]byte
	for i := range o.voices {
		v := &o.voices[i]
		n, err := v.encoder.Encode(v.packet, v.pending)
		if err != nil {
			return err
		}
		packets[i], v.pending = v.packet[:n], v.pending[:0]
	}
	samples := samplesAt(opusPacketTime, opusClockHz)
	o.encoded += samples
	return o.muxer.WritePacket(int(samples), packets[0], packets[1])
}

// close encodes silence until the encoders, which lag behind by the pre-skip, have
// given everything.
func (o *opusOutput) close(frames int64) error {
	total := frames * opusClockHz / o.hz
	for o.encoded < total+o.preSkip {
		for i := range o.voices {
			v := &o.voices[i]
			written := len(v.pending)
			v.pending = v.pending[:cap(v.pending)]
			clear(v.pending[written:])
		}
		if err := o.encode(); err != nil {
			return err
		}
	}
	return o.muxer.Close(total)
}
