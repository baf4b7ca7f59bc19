package finalize

import (
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
)

// coding is how the payload of one payload type is taken.
type coding struct {
	name    string
	clockHz int64 // of the timestamps
	hz      int64 // of the audio; G.722 has another clock (RFC 3551 §4.5.2)
	// newDecoder returns what decodes the payloads of one stream; nil for what is
	// time, not audio: comfort noise and keys.
	newDecoder func() decoder
	// duration returns how long a payload is, in ticks; nil where that is one an octet.
	duration func(payload []byte) int64
}

// decoder appends a payload's audio to dst. It is given a stream's payloads in
// their order, without those that were lost.
type decoder func(dst []int16, payload []byte) ([]int16, error)

// isAudio reports whether it is audio that we decode.
func (c *coding) isAudio() bool { return c != nil && c.newDecoder != nil }

// ticks returns the duration of a payload in units of the timestamp.
func (c *coding) ticks(payload []byte) int64 {
	if c.duration == nil {
		return int64(len(payload))
	}
	return c.duration(payload)
}

var known = []coding{
	{name: "PCMU", clockHz: 8000, hz: 8000, newDecoder: bySample(g711.DecodeMuLaw)},
	{name: "PCMA", clockHz: 8000, hz: 8000, newDecoder: bySample(g711.DecodeALaw)},
	{name: "CN", clockHz: 8000},              // RFC 3389: silence for as long as it lasts
	{name: "TELEPHONE-EVENT", clockHz: 8000}, // RFC 4733: a key is never heard in a recording
}

// bySample returns decoders of a coding without memory that has an octet a sample.
func bySample(decode func(dst []int16, payload []byte)) func() decoder {
	return func() decoder {
		return func(dst []int16, payload []byte) ([]int16, error) {
			n := len(dst)
			dst = slices.Grow(dst, len(payload))[:n+len(payload)]
			decode(dst[n:], payload)
			return dst, nil
		}
	}
}

// codingOf returns the coding of a negotiated codec, if it is one that we know.
func codingOf(c rtp.Codec) (coding, bool) {
	i := slices.IndexFunc(known, func(k coding) bool { return k.name == c.Name })
	if i < 0 {
		return coding{}, false
	}
	k := known[i]
	if !k.isAudio() {
		return k, true
	}
	return k, c.ClockHz == int(k.clockHz) && c.Channels <= 1
}

// maxUses is how many meanings of one payload type are remembered.
const maxUses = 4

// codings are what a leg's payload types mean, and since when.
type codings [128][]use

type use struct {
	since  time.Duration // of the capture
	coding *coding       // nil: one we do not know
}

// newCodings returns what holds without any negotiation: RFC 3551 §6.
func newCodings() *codings {
	var c codings
	for pt, name := range map[int]string{0: "PCMU", 8: "PCMA", 13: "CN"} {
		k, _ := codingOf(rtp.Codec{Name: name, ClockHz: 8000, Channels: 1})
		c[pt] = []use{{-1 << 63, &k}}
	}
	return &c
}

// change notes the codecs that were negotiated.
func (c *codings) change(at time.Duration, codecs []rtp.Codec) {
	for _, codec := range codecs {
		if int(codec.PayloadType) >= len(c) {
			continue
		}
		uses := &c[codec.PayloadType]
		now := use{since: at}
		if k, ok := codingOf(codec); ok {
			now.coding = &k
		}
		if n := len(*uses); n > 0 && sameCoding((*uses)[n-1].coding, now.coding) {
			continue
		}
		if len(*uses) == maxUses {
			*uses = slices.Delete(*uses, 0, 1)
		}
		*uses = append(*uses, now)
	}
}

func sameCoding(a, b *coding) bool {
	return a == nil && b == nil || a != nil && b != nil && a.name == b.name && a.hz == b.hz && a.clockHz == b.clockHz
}

// at returns the coding of a payload type for a packet that arrived then. A
// party may send what it offered before the answer is seen (RFC 3264 §5.1): a
// payload type without an earlier meaning has its first from the beginning.
func (c *codings) at(payloadType uint8, at time.Duration) *coding {
	uses := c[payloadType&0x7f]
	for i := len(uses) - 1; i >= 0; i-- {
		if uses[i].since <= at || i == 0 {
			return uses[i].coding
		}
	}
	return nil
}
