package finalize

import (
	"slices"
	"time"

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
	missing  bool // this build cannot decode it
}

// decoder turns the payloads of one stream into audio, in their order.
type decoder interface {
	// decode appends a payload's audio to dst.
	decode(dst []int16, payload []byte) ([]int16, error)
	// conceal appends so many samples for what was lost in front of a payload, which
	// is to be decoded afterwards; or none, where silence stands for what is lost.
	conceal(dst []int16, samples int, next []byte) []int16
}

// isAudio reports whether it is audio that we decode.
func (c *coding) isAudio() bool { return c != nil && c.newDecoder != nil }

// ticks returns the duration of a payload in units of the timestamp.
func (c *coding) ticks(payload []byte) int64 {
	if c.duration == nil {
		return int64(len(payload))
	}
	return c.duration(payload)
}

// codingOf returns the coding of a negotiated codec, if it is one that we know.
func codingOf(c rtp.Codec) (coding, bool) {
	for _, k := range known {
		switch {
		case k.name != c.Name || k.missing:
		case !k.isAudio():
			return k, true
		case int(k.clockHz) == c.ClockHz && (c.Channels <= 1 || k.name == "OPUS"): // that says 2 whatever it has: RFC 7587 §7
			return k, true
		}
	}
	return coding{}, false
}

// Records reports whether recordings are made of a codec.
func Records(c rtp.Codec) bool {
	k, ok := codingOf(c)
	return ok && k.isAudio()
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
	for pt, name := range map[int]string{0: "PCMU", 8: "PCMA", 9: "G722", 13: "CN"} {
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
