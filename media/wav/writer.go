package wav

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/bewaard/bewaard/media/g711"
)

const bufferBytes = 32 << 10

// Writer writes one file. It buffers: only Close completes the file.
type Writer struct {
	w    io.Writer
	back io.Seeker // to the header, whose sizes Close fills in; nil where they stand in it
	format

	pending   []byte // samples not yet written
	dataBytes int64  // all samples so far, pending ones included

	sizedBytes int64 // what the header says of them, where it cannot be filled in later
}

// NewWriter begins a file of linear samples at the beginning of w.
func NewWriter(w io.WriteSeeker, hz, channels int) (*Writer, error) {
	return NewWriterOf(w, PCM16, hz, channels)
}

// NewWriterOf begins a file whose samples stand there in an encoding.
func NewWriterOf(w io.WriteSeeker, e Encoding, hz, channels int) (*Writer, error) {
	return begin(&Writer{w: w, back: w, format: format{e, hz, channels}})
}

// NewSizedWriter begins a file of so many samples a channel, which is how many there have to
// be at Close: it writes from the beginning to the end and never goes back.
func NewSizedWriter(w io.Writer, e Encoding, hz, channels int, samples int64) (*Writer, error) {
	f := format{e, hz, channels}
	return begin(&Writer{w: w, format: f, sizedBytes: samples * int64(f.blockBytes())})
}

func begin(w *Writer) (*Writer, error) {
	if e := w.encoding; e != PCM16 && e != ALaw && e != MuLaw {
		return nil, fmt.Errorf("write WAV: encoding %#x is not written", uint16(e))
	}
	if w.hz < 1 || w.channels < 1 || w.channels > maxChannels || int64(w.hz)*int64(w.channels)*int64(w.encoding.sampleBytes()) > math.MaxUint32 {
		return nil, fmt.Errorf("write WAV: cannot hold %d channels at %d Hz", w.channels, w.hz)
	}
	if _, err := w.w.Write(w.header(w.sizedBytes)); err != nil {
		return nil, fmt.Errorf("write WAV header: %w", err)
	}
	w.pending = make([]byte, 0, bufferBytes)
	return w, nil
}

// Write appends interleaved samples, a whole number for each channel.
func (w *Writer) Write(samples []int16) error {
	if len(samples)%w.channels != 0 {
		return fmt.Errorf("write WAV samples: %d samples for %d channels", len(samples), w.channels)
	}
	size := w.encoding.sampleBytes()
	w.dataBytes += int64(len(samples) * size)
	for len(samples) > 0 {
		n := min(len(samples), (bufferBytes-len(w.pending))/size)
		w.encode(samples[:n])
		samples = samples[n:]
		if len(w.pending) == bufferBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode appends samples for which there is room.
func (w *Writer) encode(samples []int16) {
	at := len(w.pending)
	switch w.encoding {
	case ALaw:
		w.pending = w.pending[:at+len(samples)]
		g711.EncodeALaw(w.pending[at:], samples)
	case MuLaw:
		w.pending = w.pending[:at+len(samples)]
		g711.EncodeMuLaw(w.pending[at:], samples)
	default:
		for _, s := range samples {
			w.pending = binary.LittleEndian.AppendUint16(w.pending, uint16(s))
		}
	}
}

// Close writes what is buffered and then the sizes into the header. It does not
// close the underlying file.
func (w *Writer) Close() error {
	if w.dataBytes%2 != 0 { // chunks are padded
		w.pending = append(w.pending, 0)
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.back == nil {
		if w.dataBytes != w.sizedBytes {
			return fmt.Errorf("write WAV: %d bytes of samples, and its header says %d", w.dataBytes, w.sizedBytes)
		}
		return nil
	}
	if _, err := w.back.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind WAV: %w", err)
	}
	if _, err := w.w.Write(w.header(w.dataBytes)); err != nil {
		return fmt.Errorf("write WAV header: %w", err)
	}
	return nil
}

func (w *Writer) flush() error {
	_, err := w.w.Write(w.pending)
	w.pending = w.pending[:0]
	if err != nil {
		return fmt.Errorf("write WAV samples: %w", err)
	}
	return nil
}
