package wav

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	bufferBytes  = 32 << 10
	maxDataBytes = math.MaxUint32 - (headerBytes - 8) // the RIFF chunk has a 32-bit size too
)

// Writer writes one file. It buffers: only Close completes the file.
type Writer struct {
	w        io.WriteSeeker
	hz       int
	channels int

	pending   []byte // samples not yet written
	dataBytes int64  // all samples so far, pending ones included
}

// NewWriter begins a file at the beginning of w.
func NewWriter(w io.WriteSeeker, hz, channels int) (*Writer, error) {
	if hz < 1 || channels < 1 || channels > maxChannels || int64(hz)*int64(channels)*bytesPerSample > math.MaxUint32 {
		return nil, fmt.Errorf("write WAV: cannot hold %d channels at %d Hz", channels, hz)
	}
	if _, err := w.Write(header(hz, channels, 0)); err != nil {
		return nil, fmt.Errorf("write WAV header: %w", err)
	}
	return &Writer{w: w, hz: hz, channels: channels, pending: make([]byte, 0, bufferBytes)}, nil
}

// Write appends interleaved samples, a whole number for each channel.
func (w *Writer) Write(samples []int16) error {
	if len(samples)%w.channels != 0 {
		return fmt.Errorf("write WAV samples: %d samples for %d channels", len(samples), w.channels)
	}
	if w.dataBytes+int64(len(samples))*bytesPerSample > maxDataBytes {
		return errors.New("write WAV samples: the file would exceed 4 GiB")
	}
	w.dataBytes += int64(len(samples)) * bytesPerSample
	for _, s := range samples {
		w.pending = binary.LittleEndian.AppendUint16(w.pending, uint16(s))
		if len(w.pending) == bufferBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close writes what is buffered and then the sizes into the header. It does not
// close the underlying file.
func (w *Writer) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := w.w.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind WAV: %w", err)
	}
	if _, err := w.w.Write(header(w.hz, w.channels, uint32(w.dataBytes))); err != nil {
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
