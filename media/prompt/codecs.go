package prompt

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/g722"
	"github.com/bewaard/bewaard/media/opus"
)

// Frames is a prompt in one codec. It is shared, and not to be changed.
type Frames struct {
	Payloads [][]byte
	Samples  uint32        // how far a frame takes the RTP timestamp on
	Interval time.Duration // how long a frame is
}

// codec is how samples become frames of one codec.
type codec struct {
	name     string
	clockHz  int
	hz       int // of the samples that are encoded; 0: as they are
	interval time.Duration
	// encode makes payloads of samples, which are a whole number of frames.
	encode func(samples []int16, hz, frame int) ([][]byte, error)
}

const (
	usual = 20 * time.Millisecond
	short = 10 * time.Millisecond // 20 ms of L16 at 48 kHz go into no Ethernet frame
)

// codecs are those that prompts are played in, by their names in SDP.
var codecs = []codec{
	{"PCMA", 8000, 8000, usual, plain(g711.EncodeALaw, 1, 1)},
	{"PCMU", 8000, 8000, usual, plain(g711.EncodeMuLaw, 1, 1)},
	{"G722", 8000, 16000, usual, func(samples []int16, hz, frame int) ([][]byte, error) {
		return plain(g722.NewEncoder().Encode, 1, g722.SamplesPerOctet)(samples, hz, frame)
	}},
	{"L16", 8000, 8000, usual, plain(encodeL16, 2, 1)},
	{"L16", 16000, 16000, usual, plain(encodeL16, 2, 1)},
	{"L16", 48000, 48000, short, plain(encodeL16, 2, 1)},
	{"OPUS", 48000, 0, usual, encodeOpus},
}

// Plays reports whether prompts are played in a codec, by its upper-case name.
func Plays(codecName string, clockHz int) bool {
	return (codecName != "OPUS" || opus.Available) && slices.ContainsFunc(codecs, func(c codec) bool { return c.name == codecName && c.clockHz == clockHz })
}

// plain encodes all samples at once and cuts the octets into frames: so many octets
// for so many samples.
func plain(encode func([]byte, []int16), octets, samplesEach int) func([]int16, int, int) ([][]byte, error) {
	return func(samples []int16, _, frame int) ([][]byte, error) {
		b := make([]byte, len(samples)*octets/samplesEach)
		encode(b, samples)
		size := frame * octets / samplesEach
		out := make([][]byte, 0, len(b)/size)
		for ; len(b) > 0; b = b[size:] {
			out = append(out, b[:size:size])
		}
		return out, nil
	}
}

// encodeL16 is RFC 3551 §4.5.11: most significant octet first.
func encodeL16(dst []byte, src []int16) {
	for i, s := range src {
		binary.BigEndian.PutUint16(dst[2*i:], uint16(s))
	}
}

const (
	opusBitRate = 32_000
	// A packet that the network loses is no hole in an announcement: the next one has
	// it, too, for whoever looks there.
	opusExpectedLoss = 0.05
)

// encodeOpus encodes a little more than there is: the encoder lags behind.
func encodeOpus(samples []int16, hz, frame int) ([][]byte, error) {
	e, err := opus.NewEncoder(opus.Config{Hz: hz, Channels: 1, BitRate: opusBitRate, Complexity: 10, ExpectedLoss: opusExpectedLoss})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	packet, silence := make([]byte, opus.MaxPacketBytes), make([]int16, frame)
	for lag := e.PreSkip() * hz / 48000; len(samples) > 0 || lag > 0; {
		next := silence
		if len(samples) > 0 {
			next, samples = samples[:frame], samples[frame:]
		} else {
			lag -= frame
		}
		n, err := e.Encode(packet, next)
		if err != nil {
			return nil, fmt.Errorf("encode prompt: %w", err)
		}
		out = append(out, slices.Clone(packet[:n]))
	}
	return out, nil
}
