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

// Formats that a recording can be written in; each is also the file's extension.
const (
	Opus = "opus" // Opus in Ogg, stereo
	WAV  = "wav"  // linear samples of 16 bits, stereo
)

// CheckFormat says why a recording cannot be written in a format, if so.
func CheckFormat(format string) error {
	switch format {
	case WAV:
		return nil
	case Opus:
		if !opus.Available {
			return fmt.Errorf("format %s: %w", format, opus.ErrUnavailable)
		}
		return nil
	}
	return fmt.Errorf("format %q: neither %s nor %s", format, Opus, WAV)
}

// newOutput begins a recording in a file.
func newOutput(file io.WriteSeeker, format string, hz int64, h spool.Header, expires time.Time) (output, error) {
	if format == WAV {
		w, err := wav.NewWriter(file, int(hz), 2)
		return wavOutput{w}, err
	}
	return newOpusOutput(file, hz, h, expires)
}

// wavOutput writes a recording as WAV.
type wavOutput struct{ w *wav.Writer }

func (o wavOutput) write(frames []int16) error { return o.w.Write(frames) }
func (o wavOutput) close(int64) error          { return o.w.Close() }

const (
	opusBitRate    = 32_000 // of both channels, of which mostly one is silent
	opusClockHz    = 48_000 // RFC 7845 §4
	opusPacketTime = 20 * time.Millisecond
)

// opusOutput encodes a recording into an Ogg-Opus file.
type opusOutput struct {
	encoder *opus.Encoder
	muxer   *oggopus.Writer
	hz      int64
	pending []int16 // less than a packet
	packet  [opus.MaxPacketBytes]byte
	encoded int64 // samples at 48 kHz
}

func newOpusOutput(file io.Writer, hz int64, h spool.Header, expires time.Time) (*opusOutput, error) {
	encoder, err := opus.NewEncoder(opus.Config{Hz: int(hz), Channels: 2, BitRate: opusBitRate})
	if err != nil {
		return nil, err
	}
	tags := [][2]string{{"RECORDING", h.ID}, {"PURPOSE", h.Terms.Purpose}}
	if !expires.IsZero() {
		tags = append(tags, [2]string{"EXPIRES", expires.UTC().Format(time.RFC3339)})
	}
	muxer, err := oggopus.NewWriter(file, oggopus.Config{
		Channels: 2,
		PreSkip:  encoder.PreSkip(),
		InputHz:  int(hz),
		Serial:   crc32.ChecksumIEEE([]byte(h.ID)), // a re-run makes the same file
		Tags:     tags,
	})
	if err != nil {
		return nil, err
	}
	return &opusOutput{
		encoder: encoder,
		muxer:   muxer,
		hz:      hz,
		pending: make([]int16, 0, 2*samplesAt(opusPacketTime, hz)),
	}, nil
}

func (o *opusOutput) write(frames []int16) error {
	for len(frames) > 0 {
		n := min(cap(o.pending)-len(o.pending), len(frames))
		o.pending = append(o.pending, frames[:n]...)
		frames = frames[n:]
		if len(o.pending) == cap(o.pending) {
			if err := o.encode(); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode writes a packet of what is pending.
func (o *opusOutput) encode() error {
	n, err := o.encoder.Encode(o.packet[:], o.pending)
	if err != nil {
		return err
	}
	samples := samplesAt(opusPacketTime, opusClockHz)
	if err := o.muxer.WritePacket(int(samples), o.packet[:n]); err != nil {
		return err
	}
	o.encoded += samples
	o.pending = o.pending[:0]
	return nil
}

// close encodes silence until the encoder, which lags behind by the pre-skip,
// has given everything.
func (o *opusOutput) close(frames int64) error {
	total := frames * opusClockHz / o.hz
	for o.encoded < total+int64(o.encoder.PreSkip()) {
		written := len(o.pending)
		o.pending = o.pending[:cap(o.pending)]
		clear(o.pending[written:])
		if err := o.encode(); err != nil {
			return err
		}
	}
	return o.muxer.Close(total)
}
