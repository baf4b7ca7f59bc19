//go:build cgo

package opus

import (
	"errors"
	"fmt"

	libopus "github.com/hraban/opus"
)

/*
#cgo pkg-config: opus
#include <opus.h>

// The binding does not give the look-ahead, and an encoder's own is out of reach.
static int voip_lookahead(opus_int32 hz, int channels, opus_int32 *samples) {
	int err;
	OpusEncoder *encoder = opus_encoder_create(hz, channels, OPUS_APPLICATION_VOIP, &err);
	if (err == OPUS_OK) {
		err = opus_encoder_ctl(encoder, OPUS_GET_LOOKAHEAD(samples));
		opus_encoder_destroy(encoder);
	}
	return err;
}
*/
import "C"

// Available says whether this build can encode and decode.
const Available = true

// Encoder encodes one stream.
type Encoder struct {
	lib          *libopus.Encoder
	frameSamples int // of all channels
	preSkip      int
}

// NewEncoder makes an encoder for speech.
func NewEncoder(c Config) (*Encoder, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("new Opus encoder: %w", err)
	}
	e := &Encoder{frameSamples: c.Hz / framesPerSecond * c.Channels}
	if e.lib, err = libopus.NewEncoder(c.Hz, c.Channels, libopus.AppVoIP); err != nil {
		return nil, fmt.Errorf("new Opus encoder: %w", err)
	}
	if err := e.lib.SetBitrate(c.BitRate); err != nil {
		return nil, fmt.Errorf("set bit rate of Opus encoder: %w", err)
	}
	if err := e.lib.SetComplexity(c.Complexity); err != nil {
		return nil, fmt.Errorf("set complexity of Opus encoder: %w", err)
	}
	if err := e.lib.SetDTX(c.DTX); err != nil {
		return nil, fmt.Errorf("set DTX of Opus encoder: %w", err)
	}
	if c.ExpectedLoss > 0 {
		if err := errors.Join(e.lib.SetInBandFEC(true), e.lib.SetPacketLossPerc(int(100*c.ExpectedLoss))); err != nil {
			return nil, fmt.Errorf("set expected loss of Opus encoder: %w", err)
		}
	}
	var lookahead C.opus_int32
	if code := C.voip_lookahead(C.opus_int32(c.Hz), C.int(c.Channels), &lookahead); code != C.OPUS_OK {
		return nil, fmt.Errorf("ask look-ahead of Opus encoder: %w", libopus.Error(code))
	}
	e.preSkip = int(lookahead) * (48000 / c.Hz)
	return e, nil
}

// PreSkip returns by how many samples at 48 kHz a decoder's output lags behind
// the encoder's input: what a player skips at the beginning (RFC 7845 §4.2), and
// what has to be encoded beyond the end for the end to come out.
func (e *Encoder) PreSkip() int { return e.preSkip }

// Encode encodes 20 ms of interleaved samples into dst and returns the packet's
// length. MaxPacketBytes is always enough.
func (e *Encoder) Encode(dst []byte, pcm []int16) (n int, err error) {
	if len(pcm) != e.frameSamples {
		return 0, fmt.Errorf("encode Opus: %d samples, a frame has %d", len(pcm), e.frameSamples)
	}
	n, err = e.lib.Encode(pcm, dst[:len(dst):len(dst)]) // the binding writes up to the capacity
	if err != nil {
		return 0, fmt.Errorf("encode Opus: %w", err)
	}
	return n, nil
}

// Decoder decodes one stream.
type Decoder struct {
	lib      *libopus.Decoder
	hz       int
	channels int
}

// NewDecoder makes a decoder that gives samples at the rate and with the
// channels asked for, whatever was encoded.
func NewDecoder(hz, channels int) (*Decoder, error) {
	if err := checkFormat(hz, channels); err != nil {
		return nil, fmt.Errorf("new Opus decoder: %w", err)
	}
	lib, err := libopus.NewDecoder(hz, channels)
	if err != nil {
		return nil, fmt.Errorf("new Opus decoder: %w", err)
	}
	return &Decoder{lib: lib, hz: hz, channels: channels}, nil
}

// Decode decodes a packet into dst and returns how many samples that are, both
// channels counted. A packet holds at most 120 ms.
func (d *Decoder) Decode(dst []int16, packet []byte) (n int, err error) {
	dst = dst[:len(dst)/d.channels*d.channels]
	n, err = d.lib.Decode(packet, dst[:len(dst):len(dst)]) // the binding writes up to the capacity
	if err != nil {
		return 0, fmt.Errorf("decode Opus: %w", err)
	}
	return n * d.channels, nil
}

// Conceal fills dst, both channels counted, with what the lost packets before next
// may have held. If next carries what the last of them said (LBRR), that is used, else
// the sound before them is drawn out. next may be nil; it is still to be decoded
// afterwards. dst is a multiple of 2.5 ms.
func (d *Decoder) Conceal(dst []int16, next []byte) error {
	step := d.hz * d.channels / 400
	if len(dst) == 0 || len(dst)%step != 0 {
		return fmt.Errorf("conceal lost Opus packet: %d samples are not a multiple of %d", len(dst), step)
	}
	dst = dst[:len(dst):len(dst)] // the binding writes up to the capacity
	var err error
	if len(next) > 0 {
		err = d.lib.DecodeFEC(next, dst)
	} else {
		err = d.lib.DecodePLC(dst)
	}
	if err != nil {
		return fmt.Errorf("conceal lost Opus packet: %w", err)
	}
	return nil
}
