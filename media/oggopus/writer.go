package oggopus

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/bewaard/bewaard/media/opus"
)

const (
	maxPageSamples = 48_000              // RFC 7845 §4: pages of at most a second
	maxPacketBytes = maxSegments*255 - 1 // a packet stays within a page
)

// Config says what a stream's headers say.
type Config struct {
	Channels int         // 1 or 2
	Apart    bool        // 2 channels are two mono streams, left and right
	PreSkip  int         // samples at 48 kHz that a player throws away at the beginning
	InputHz  int         // rate of what was encoded, for information; 0: unknown
	Serial   uint32      // of the stream within the file
	Tags     [][2]string // name, value
}

// Writer writes one stream. Every page goes out with one Write.
type Writer struct {
	w       io.Writer
	preSkip int
	streams int

	joined  []byte // memory for a packet of both streams
	page    page   // being filled
	begin   int64  // granule at the page's beginning
	written []byte // memory for a page's bytes
}

// NewWriter writes the headers.
func NewWriter(w io.Writer, c Config) (*Writer, error) {
	if c.Channels != 1 && c.Channels != 2 {
		return nil, fmt.Errorf("write Ogg-Opus header: %d channels, 1 and 2 are possible", c.Channels)
	}
	if c.PreSkip < 0 || c.PreSkip > math.MaxUint16 || c.InputHz < 0 || int64(c.InputHz) > math.MaxUint32 {
		return nil, fmt.Errorf("write Ogg-Opus header: pre-skip of %d, rate of %d Hz", c.PreSkip, c.InputHz)
	}
	if c.Apart && c.Channels != 2 {
		return nil, errors.New("write Ogg-Opus header: one channel cannot be kept apart")
	}
	tags, err := tagsBytes(c.Tags)
	if err != nil {
		return nil, fmt.Errorf("write Ogg-Opus header: %w", err)
	}
	if len(tags) > maxPacketBytes {
		return nil, fmt.Errorf("write Ogg-Opus header: %d bytes of tags", len(tags))
	}
	h := head{c.Channels, 1, c.PreSkip, c.InputHz}
	if c.Apart {
		h.streams = 2
	}
	o := &Writer{w: w, preSkip: c.PreSkip, streams: h.streams, page: page{serial: c.Serial, flags: begins}}
	for _, header := range [][]byte{h.bytes(), tags} {
		o.page.add(header)
		if err := o.flush(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// WritePacket appends a packet that decodes to so many samples at 48 kHz. Where there
// are two streams it takes one of each, which last equally long.
func (o *Writer) WritePacket(samples48k int, packet []byte, second ...[]byte) error {
	if len(second) != o.streams-1 {
		return fmt.Errorf("write Ogg-Opus packet: packets of %d streams, there are %d", 1+len(second), o.streams)
	}
	if err := lasts(packet, samples48k); err != nil {
		return err
	}
	if o.streams == 2 {
		err := lasts(second[0], samples48k)
		if err != nil {
			return err
		}
		if o.joined, err = opus.AppendDelimited(o.joined[:0], packet); err != nil {
			return fmt.Errorf("write Ogg-Opus packet: %w", err)
		}
		o.joined = append(o.joined, second[0]...)
		packet = o.joined
	}
	if len(packet) > maxPacketBytes {
		return fmt.Errorf("write Ogg-Opus packet: %d bytes, at most %d are possible", len(packet), maxPacketBytes)
	}
	// A page is written when the next packet does not fit, never before: the last
	// packets have to be at hand in Close.
	if o.page.granule+int64(samples48k)-o.begin > maxPageSamples || len(o.page.lacing)+segments(len(packet)) > maxSegments {
		if err := o.flush(); err != nil {
			return err
		}
	}
	o.page.add(packet)
	o.page.granule += int64(samples48k)
	return nil
}

// lasts holds a packet against how long it is said to be.
func lasts(packet []byte, samples48k int) error {
	if samples, err := opus.Samples(packet); err != nil || samples != samples48k {
		return fmt.Errorf("write Ogg-Opus packet: %d bytes that are not %d samples of Opus", len(packet), samples48k)
	}
	return nil
}

// Close writes the end. total48k is how many samples are audible: what the
// packets hold beyond pre-skip and total is trimmed (RFC 7845 §4.4). They may be
// too long by less than the last page, and never too short: an encoder lags
// behind by the pre-skip, so it has to be given that much silence in the end.
func (o *Writer) Close(total48k int64) error {
	end := int64(o.preSkip) + total48k
	switch {
	case len(o.page.lacing) == 0:
		return errors.New("close Ogg-Opus stream: no packets")
	case total48k < 0 || end <= o.begin || end > o.page.granule:
		return fmt.Errorf("close Ogg-Opus stream: the end at %d is not between %d and %d, where the last page is", end, o.begin, o.page.granule)
	}
	o.page.flags |= ends
	o.page.granule = end
	return o.flush()
}

func (o *Writer) flush() error {
	o.written = o.page.appendTo(o.written[:0])
	if _, err := o.w.Write(o.written); err != nil {
		return fmt.Errorf("write Ogg page: %w", err)
	}
	o.begin = o.page.granule
	o.page.flags = 0
	o.page.sequence++
	o.page.lacing, o.page.body = o.page.lacing[:0], o.page.body[:0]
	return nil
}
