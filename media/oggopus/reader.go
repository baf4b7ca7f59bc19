package oggopus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bewaard/bewaard/media/opus"
)

// maxReadPacketBytes bounds what a packet that goes on and on over pages takes.
const maxReadPacketBytes = 1 << 20

// Reader reads a file of one Ogg stream, mono or stereo. It is strict: a page that
// is damaged, missing or of another stream is an error.
type Reader struct {
	Channels int
	Streams  int         // 1, or 2 of a channel each
	PreSkip  int         // samples at 48 kHz to be thrown away at the beginning
	InputHz  int         // rate of what was encoded, 0: unknown
	Serial   uint32      // of the stream within the file
	Tags     [][2]string // name, value

	r        *bufio.Reader
	page     page
	segment  int    // next one of page.lacing
	body     []byte // what is unread of page.body
	packet   []byte // the packet being read
	first    []byte // memory for Split
	sequence uint32 // of the next page
	end      int64  // granule of the last page on which a packet ended
}

// NewReader reads the headers.
func NewReader(r io.Reader) (*Reader, error) {
	o := &Reader{r: bufio.NewReader(r)}
	if err := o.headers(); err != nil {
		return nil, fmt.Errorf("read Ogg-Opus header: %w", err)
	}
	return o, nil
}

func (o *Reader) headers() error {
	packet, err := o.headerPacket()
	if err != nil {
		return err
	}
	h, err := parseHead(packet)
	if err != nil {
		return err
	}
	o.Channels, o.Streams, o.PreSkip, o.InputHz, o.Serial = h.channels, h.streams, h.preSkip, h.inputHz, o.page.serial
	if packet, err = o.headerPacket(); err != nil {
		return err
	}
	o.Tags, err = parseTags(packet)
	return err
}

// headerPacket reads a packet after which its page has to end (RFC 7845 §3).
func (o *Reader) headerPacket() ([]byte, error) {
	packet, err := o.next()
	if err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	if err == nil && o.segment != len(o.page.lacing) {
		err = errors.New("a page that goes on behind a header")
	}
	return packet, err
}

// Next returns the next packet, valid until the call after this one, and how
// many samples at 48 kHz it decodes to. Where there are two streams it is one of
// each, for Split to part. After the last packet it returns io.EOF;
// a stream without its last page is an io.ErrUnexpectedEOF.
func (o *Reader) Next() (packet []byte, samples48k int, err error) {
	packet, err = o.next()
	if err == nil {
		samples48k, err = opus.Samples(packet)
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read Ogg-Opus packet: %w", err)
	}
	return packet, samples48k, err
}

// Split parts a packet of two streams, and returns one of a single stream as it is.
// They are valid until the next call of Next.
func (o *Reader) Split(packet []byte) (packets [2][]byte, err error) {
	if o.Streams == 1 {
		return [2][]byte{packet}, nil
	}
	if o.first, packet, err = opus.CutDelimited(o.first[:0], packet); err != nil {
		return packets, fmt.Errorf("split Ogg-Opus packet: %w", err)
	}
	return [2][]byte{o.first, packet}, nil
}

// Total48k returns how many samples are audible, known when Next has returned
// io.EOF: what the packets hold beyond pre-skip and total is to be thrown away.
func (o *Reader) Total48k() int64 { return max(0, o.end-int64(o.PreSkip)) }

func (o *Reader) next() ([]byte, error) {
	o.packet = o.packet[:0]
	for {
		for o.segment < len(o.page.lacing) {
			n := o.page.lacing[o.segment]
			o.segment++
			o.packet = append(o.packet, o.body[:n]...)
			o.body = o.body[n:]
			if n < 255 {
				return o.packet, nil
			}
		}
		if len(o.packet) > maxReadPacketBytes {
			return nil, fmt.Errorf("a packet of more than %d bytes", maxReadPacketBytes)
		}
		if o.page.flags&ends != 0 {
			if len(o.packet) > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, io.EOF
		}
		if err := o.turn(); err != nil {
			return nil, err
		}
	}
}

// turn reads the next page and holds it against the one before.
func (o *Reader) turn() error {
	serial := o.page.serial
	if err := o.page.read(o.r); err != nil {
		return err
	}
	p := &o.page
	switch {
	case p.sequence != o.sequence:
		return fmt.Errorf("page %d where %d should be", p.sequence, o.sequence)
	case (p.flags&begins != 0) != (p.sequence == 0) || p.sequence > 0 && p.serial != serial:
		return fmt.Errorf("page %d: of another stream", p.sequence)
	case (p.flags&continued != 0) != (len(o.packet) > 0):
		return fmt.Errorf("page %d: its first packet is not what the page before began", p.sequence)
	}
	if p.granule != noGranule {
		o.end = p.granule
	}
	o.segment, o.body = 0, p.body
	o.sequence++
	return nil
}

// read reads a page into the memory of the one before.
func (p *page) read(r io.Reader) error {
	var h [pageHeaderBytes]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return unexpected(err)
	}
	if string(h[:4]) != pageMagic || h[4] != 0 {
		return errors.New("not an Ogg page")
	}
	le := binary.LittleEndian
	p.flags = h[5]
	p.granule = int64(le.Uint64(h[6:]))
	p.serial = le.Uint32(h[14:])
	p.sequence = le.Uint32(h[18:])
	crc := le.Uint32(h[crcOffset:])
	le.PutUint32(h[crcOffset:], 0)

	p.lacing = sized(p.lacing, int(h[26]))
	if _, err := io.ReadFull(r, p.lacing); err != nil {
		return unexpected(err)
	}
	bodyBytes := 0
	for _, n := range p.lacing {
		bodyBytes += int(n)
	}
	p.body = sized(p.body, bodyBytes)
	if _, err := io.ReadFull(r, p.body); err != nil {
		return unexpected(err)
	}
	if checksum(checksum(checksum(0, h[:]), p.lacing), p.body) != crc {
		return fmt.Errorf("page %d: wrong CRC", p.sequence)
	}
	return nil
}

// sized returns n bytes, in b's memory where it suffices.
func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// unexpected is err, but the end of the file is nowhere an expected one.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
