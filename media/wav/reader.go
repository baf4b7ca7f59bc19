package wav

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bewaard/bewaard/media/g711"
)

// Reader reads the samples of one file. It is strict about what it needs, that
// is encoding, sizes and order, and passes over chunks it does not know.
type Reader struct {
	Encoding Encoding
	Hz       int
	Channels int

	r      *bufio.Reader
	rf64   bool   // sizes of all ones stand in ds64
	long   int64  // what ds64 says of the data chunk, -1 without
	data   int64  // bytes of the data chunk
	unread int64  // how many of them are still to come
	octets []byte // memory for Read
}

// NewReader reads up to the first sample.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: bufio.NewReader(r), long: -1}
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
	r.rf64 = string(riff[:4]) == "RF64"
	if !r.rf64 && string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
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
		case "ds64":
			err = r.sizes(size)
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

// sizes reads ds64, which comes first in an RF64 file (EBU Tech 3306 §3).
func (r *Reader) sizes(size uint32) error {
	if !r.rf64 {
		return r.skip(int64(size) + int64(size&1))
	}
	if size < ds64Bytes {
		return fmt.Errorf("ds64 chunk of %d bytes", size)
	}
	var b [ds64Bytes]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		return err
	}
	if r.long = int64(binary.LittleEndian.Uint64(b[8:])); r.long < 0 {
		return errors.New("ds64 chunk with an impossible size")
	}
	return r.skip(int64(size) + int64(size&1) - ds64Bytes)
}

// pcmSubFormat is KSDATAFORMAT_SUBTYPE_PCM, or that of another encoding, behind its
// first two bytes, which are the encoding.
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
	encoding, channels, hz := Encoding(le.Uint16(b)), int(le.Uint16(b[2:])), le.Uint32(b[4:])
	block, bits := int(le.Uint16(b[12:])), le.Uint16(b[14:])
	if encoding == encodingExtensible && len(b) == extensibleBytes && string(b[26:]) == pcmSubFormat {
		encoding = Encoding(le.Uint16(b[24:]))
	}
	switch {
	case encoding != PCM16 && encoding != ALaw && encoding != MuLaw:
		return fmt.Errorf("encoding %#x, not 16-bit PCM, A-law or µ-law", uint16(encoding))
	case int(bits) != 8*encoding.sampleBytes():
		return fmt.Errorf("%d-bit samples of encoding %#x; %d-bit ones are read", bits, uint16(encoding), 8*encoding.sampleBytes())
	case channels == 0 || block != channels*encoding.sampleBytes():
		return fmt.Errorf("%d channels in blocks of %d bytes", channels, block)
	case hz == 0 || hz > maxHz:
		return fmt.Errorf("%d samples a second", hz)
	}
	r.Encoding, r.Hz, r.Channels = encoding, int(hz), channels
	return r.skip(int64(size) + int64(size&1) - int64(len(b)))
}

func (r *Reader) begin(size uint32) error {
	r.data = int64(size)
	if r.rf64 && size == unsized && r.long >= 0 {
		r.data = r.long
	}
	switch {
	case r.Channels == 0:
		return errors.New("samples before the fmt chunk")
	case r.data%int64(r.Channels*r.Encoding.sampleBytes()) != 0:
		return fmt.Errorf("%d bytes of samples for %d channels", r.data, r.Channels)
	}
	r.unread = r.data
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
	size := r.Encoding.sampleBytes()
	want := int(min(int64(len(dst)*size), r.unread))
	if cap(r.octets) < want {
		r.octets = make([]byte, want)
	}
	got, err := io.ReadFull(r.r, r.octets[:want])
	r.unread -= int64(got)
	n = got / size
	r.decode(dst[:n])
	if err != nil {
		return n, fmt.Errorf("read WAV samples: %d of %d bytes are missing: %w", r.unread, r.data, unexpected(err))
	}
	return n, nil
}

// decode takes as many samples as dst has from the octets that were read.
func (r *Reader) decode(dst []int16) {
	switch r.Encoding {
	case ALaw:
		g711.DecodeALaw(dst, r.octets[:len(dst)])
	case MuLaw:
		g711.DecodeMuLaw(dst, r.octets[:len(dst)])
	default:
		for i := range dst {
			dst[i] = int16(binary.LittleEndian.Uint16(r.octets[2*i:]))
		}
	}
}

// unexpected is err, but the end of the file is nowhere an expected one.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
