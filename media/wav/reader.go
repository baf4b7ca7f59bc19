package wav

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Reader reads the samples of one file. It is strict about what it needs, that
// is encoding, sizes and order, and passes over chunks it does not know.
type Reader struct {
	Hz       int
	Channels int

	r      *bufio.Reader
	data   uint32 // bytes of the data chunk
	unread uint32 // how many of them are still to come
	octets []byte // memory for Read
}

// NewReader reads up to the first sample.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: bufio.NewReader(r)}
	if err := rd.open(); err != nil {
		return nil, fmt.Errorf("read WAV header: %w", unexpected(err))
	}
	return rd, nil
}

func (r *Reader) open() error {
	var riff [12]byte
	if _, err := io.ReadFull(r.r, riff[:]); err != nil {
		return err
	}
	if string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return errors.New("not a WAV file")
	}
	for {
		var chunk [8]byte
		if _, err := io.ReadFull(r.r, chunk[:]); err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(chunk[4:])
		var err error
		switch string(chunk[:4]) {
		case "data":
			return r.begin(size)
		case "fmt ":
			err = r.format(size)
		default:
			err = r.skip(int64(size) + int64(size&1)) // chunks begin at even offsets
		}
		if err != nil {
			return err
		}
	}
}

// pcmSubFormat is KSDATAFORMAT_SUBTYPE_PCM behind its first two bytes, which are
// the encoding.
const pcmSubFormat = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"

const (
	extensibleBytes = 40
	maxHz           = 10_000_000 // far above what any sound card does
)

func (r *Reader) format(size uint32) error {
	if r.Channels != 0 {
		return errors.New("two fmt chunks")
	}
	if size < fmtBytes {
		return fmt.Errorf("fmt chunk of %d bytes", size)
	}
	b := make([]byte, min(size, extensibleBytes))
	if _, err := io.ReadFull(r.r, b); err != nil {
		return err
	}
	le := binary.LittleEndian
	encoding, channels, hz := le.Uint16(b), int(le.Uint16(b[2:])), le.Uint32(b[4:])
	block, bits := int(le.Uint16(b[12:])), le.Uint16(b[14:])
	if encoding == encodingExtensible && len(b) == extensibleBytes && string(b[26:]) == pcmSubFormat {
		encoding = le.Uint16(b[24:])
	}
	switch {
	case encoding != encodingPCM:
		return fmt.Errorf("encoding %#x, not 16-bit PCM", encoding)
	case bits != 8*bytesPerSample:
		return fmt.Errorf("%d-bit PCM; 16-bit is read", bits)
	case channels == 0 || block != channels*bytesPerSample:
		return fmt.Errorf("%d channels in blocks of %d bytes", channels, block)
	case hz == 0 || hz > maxHz:
		return fmt.Errorf("%d samples a second", hz)
	}
	r.Hz, r.Channels = int(hz), channels
	return r.skip(int64(size) + int64(size&1) - int64(len(b)))
}

func (r *Reader) begin(size uint32) error {
	switch {
	case r.Channels == 0:
		return errors.New("samples before the fmt chunk")
	case size%uint32(r.Channels*bytesPerSample) != 0:
		return fmt.Errorf("%d bytes of samples for %d channels", size, r.Channels)
	}
	r.data, r.unread = size, size
	return nil
}

func (r *Reader) skip(n int64) error {
	_, err := io.CopyN(io.Discard, r.r, n)
	return err
}

// Read reads interleaved samples into dst and returns how many. It fills dst
// unless the samples end; after the last one it returns 0 and io.EOF. A file
// that is shorter than its header says is an io.ErrUnexpectedEOF.
func (r *Reader) Read(dst []int16) (n int, err error) {
	if r.unread == 0 {
		return 0, io.EOF
	}
	want := int(min(int64(len(dst))*bytesPerSample, int64(r.unread)))
	if cap(r.octets) < want {
		r.octets = make([]byte, want)
	}
	got, err := io.ReadFull(r.r, r.octets[:want])
	r.unread -= uint32(got)
	n = got / bytesPerSample
	for i := range n {
		dst[i] = int16(binary.LittleEndian.Uint16(r.octets[i*bytesPerSample:]))
	}
	if err != nil {
		return n, fmt.Errorf("read WAV samples: %d of %d bytes are missing: %w", r.unread, r.data, unexpected(err))
	}
	return n, nil
}

// unexpected is err, but the end of the file is nowhere an expected one.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
