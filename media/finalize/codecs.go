package finalize

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/g722"
	"github.com/bewaard/bewaard/media/opus"
)

// known are the codecs that a recording is made of, by their names in SDP.
var known = []coding{
	{name: "PCMU", clockHz: 8000, hz: 8000, newDecoder: newPlain(1, g711.DecodeMuLaw)},
	{name: "PCMA", clockHz: 8000, hz: 8000, newDecoder: newPlain(1, g711.DecodeALaw)},
	{name: "G722", clockHz: 8000, hz: 16000, newDecoder: newG722}, // two samples a tick: RFC 3551 §4.5.2
	{name: "OPUS", clockHz: 48000, hz: 48000, newDecoder: newOpus, duration: opusTicks, missing: !opus.Available},
	{name: "L16", clockHz: 8000, hz: 8000, newDecoder: newPlain(2, decodeL16), duration: l16Ticks},
	{name: "L16", clockHz: 16000, hz: 16000, newDecoder: newPlain(2, decodeL16), duration: l16Ticks},
	{name: "L16", clockHz: 48000, hz: 48000, newDecoder: newPlain(2, decodeL16), duration: l16Ticks},
	{name: "CN"},              // RFC 3389: silence for as long as it lasts
	{name: "TELEPHONE-EVENT"}, // RFC 4733: a key is never heard in a recording
}

// plain decodes what has no memory: every payload by itself.
type plain struct {
	octets     int // a sample
	decodeInto func(dst []int16, payload []byte)
}

func newPlain(octets int, decodeInto func(dst []int16, payload []byte)) func() decoder {
	return func() decoder { return plain{octets, decodeInto} }
}

func (d plain) decode(dst []int16, payload []byte) ([]int16, error) {
	if len(payload)%d.octets != 0 {
		return dst, fmt.Errorf("payload of %d octets, a sample has %d", len(payload), d.octets)
	}
	dst, samples := extend(dst, len(payload)/d.octets)
	d.decodeInto(samples, payload)
	return dst, nil
}

func (plain) conceal(dst []int16, _ int, _ []byte) []int16 { return dst }

// decodeL16 is RFC 3551 §4.5.11: most significant octet first.
func decodeL16(dst []int16, payload []byte) {
	for i := range dst {
		dst[i] = int16(binary.BigEndian.Uint16(payload[2*i:]))
	}
}

func l16Ticks(payload []byte) int64 { return int64(len(payload) / 2) }

// wide decodes G.722. Behind a loss its predictor is off for some milliseconds, as any
// listener's is.
type wide struct{ g722 *g722.Decoder }

func newG722() decoder { return wide{g722.NewDecoder()} }

func (d wide) decode(dst []int16, payload []byte) ([]int16, error) {
	dst, samples := extend(dst, len(payload)*g722.SamplesPerOctet)
	d.g722.Decode(samples, payload)
	return dst, nil
}

func (wide) conceal(dst []int16, _ int, _ []byte) []int16 { return dst }

// full decodes Opus into one channel, whatever its packets have. What was lost is heard
// as the next packet carries it, or drawn out of what came before.
type full struct{ opus *opus.Decoder }

func newOpus() decoder {
	d, err := opus.NewDecoder(48000, 1)
	if err != nil {
		panic(err) // without libopus the codec is not known
	}
	return full{d}
}

var errNoDuration = errors.New("packet of Opus without a duration")

func (d full) decode(dst []int16, payload []byte) ([]int16, error) {
	n := int(opusTicks(payload))
	if n == 0 {
		return dst, errNoDuration
	}
	extended, samples := extend(dst, n)
	if _, err := d.opus.Decode(samples, payload); err != nil {
		return dst, err
	}
	return extended, nil
}

func (d full) conceal(dst []int16, samples int, next []byte) []int16 {
	extended, lost := extend(dst, samples)
	if err := d.opus.Conceal(lost, next); err != nil {
		return dst // next is no packet: its own error tells
	}
	return extended
}

// opusTicks is 0 for what is no packet.
func opusTicks(payload []byte) int64 {
	n, _ := opus.Samples(payload)
	return int64(n)
}

// extend makes room for so many samples behind dst's, and returns it with them.
func extend(dst []int16, n int) (extended, samples []int16) {
	at := len(dst)
	extended = slices.Grow(dst, n)[:at+n]
	return extended, extended[at:]
}
