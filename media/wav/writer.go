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
	w io.WriteSeeker
	format

	pending   []byte // samples not yet written
	dataBytes int64  // all samples so far, pending ones included
}

// NewWriter begins a file of linear samples at the beginning of w.
func NewWriter(w io.WriteSeeker, hz, channels int) (*Writer, error) {
	return NewWriterOf(w, PCM16, hz, channels)
}

// NewWriterOf begins a file whose samples stand there in an encoding.
func NewWriterOf(w io.WriteSeeker, e Encoding, hz, channels int) (*Writer, error) {
	if e != PCM16 && e != ALaw && e != MuLaw {
		return nil, fmt.Errorf("write WAV: encoding %#x is not written", uint16(e))
	}
	if hz < 1 || channels < 1 || channels > maxChannels || int64(hz)*int64(channels)*int64(e.sampleBytes()) > math.MaxUint32 {
		return nil, fmt.Errorf("write WAV: cannot hold %d channels at %d Hz", channels, hz)
	}
	f := format{e, hz, channels}
	if _, err := w.Write(f.header(0)); err != nil {
		return nil, fmt.Errorf("write WAV header: %w", err)
	}
	return &Writer{w: w, format: f, pending: make([]byte, 0, bufferBytes)}, nil
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
	if _, err := w.w.Seek(0, io.SeekStart); err != nil {
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
