// Package g711 turns A-law and µ-law octets into linear samples and back
// (ITU-T G.711; RFC 3551 §4.5.14). Every direction is one look into a table.
//
// It knows nothing of RTP, of frames, or of any sampling rate.
package g711

import "math/bits"

// DecodeALaw writes the linear samples of A-law octets to dst, which must be at
// least as long as src.
func DecodeALaw(dst []int16, src []byte) { decode(dst, src, &aLaw.linear) }

// DecodeMuLaw writes the linear samples of µ-law octets to dst, which must be
// at least as long as src.
func DecodeMuLaw(dst []int16, src []byte) { decode(dst, src, &muLaw.linear) }

// EncodeALaw writes samples as A-law octets to dst, which must be at least as
// long as src.
func EncodeALaw(dst []byte, src []int16) { encode(dst, src, &aLaw.octet) }

// EncodeMuLaw writes samples as µ-law octets to dst, which must be at least as
// long as src.
func EncodeMuLaw(dst []byte, src []int16) { encode(dst, src, &muLaw.octet) }

// law is one of G.711's two laws as tables. A sample's two lowest bits never
// decide its octet: µ-law, the finer of the two, has 14-bit samples.
type law struct {
	linear [1 << 8]int16
	octet  [1 << 14]byte // by the upper 14 bits of a sample
}

var (
	aLaw  = newLaw(expandALaw, compressALaw)
	muLaw = newLaw(expandMuLaw, compressMuLaw)
)

func newLaw(expand func(byte) int16, compress func(int16) byte) *law {
	l := new(law)
	for i := range l.linear {
		l.linear[i] = expand(byte(i))
	}
	for i := range l.octet {
		l.octet[i] = compress(int16(i << 2))
	}
	return l
}

func decode(dst []int16, src []byte, linear *[1 << 8]int16) {
	dst = dst[:len(src):len(dst)] // panics when dst is the shorter
	for i, octet := range src {
		dst[i] = linear[octet]
	}
}

func encode(dst []byte, src []int16, octet *[1 << 14]byte) {
	dst = dst[:len(src):len(dst)] // panics when dst is the shorter
	for i, sample := range src {
		dst[i] = octet[uint16(sample)>>2]
	}
}

// An octet of either law is a sign (1: positive), a segment and a step in it:
//
//	  7   6   5   4   3   2   1   0
//	+---+---+---+---+---+---+---+---+
//	| + |  segment  |     step      |
//	+---+---+---+---+---+---+---+---+
//
// A-law inverts the even bits on the line (G.711 table 1a, note 2), µ-law the
// segment and the step (table 2a).
const (
	positive   = 0x80
	evenBits   = 0x55
	muLawBias  = 33     // on the 14-bit scale; makes every segment twice the one below
	muLawLimit = 0x1fff // largest biased magnitude on that scale
	aLawHalf   = 8      // half of the smallest step on the 16-bit scale
	stepBits   = 4
)

func expandALaw(octet byte) int16 {
	octet ^= evenBits
	segment, step := octet>>stepBits&7, int16(octet&0x0f)
	v := step<<4 + aLawHalf
	if segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	return signed(octet, v)
}

func compressALaw(sample int16) byte {
	sign, v := split(sample)
	v >>= 4
	if v < 16 {
		return (sign | byte(v)) ^ evenBits
	}
	segment := bits.Len16(v) - 4
	return (sign | byte(segment)<<stepBits | byte(v>>(segment-1))&0x0f) ^ evenBits
}

func expandMuLaw(octet byte) int16 {
	segment, step := ^octet>>stepBits&7, int16(^octet&0x0f)
	return signed(octet, (step<<1+muLawBias)<<segment-muLawBias) << 2
}

func compressMuLaw(sample int16) byte {
	sign, v := split(sample)
	v = min(v>>2+muLawBias, muLawLimit)
	segment := bits.Len16(v) - 6
	return sign | ^(byte(segment)<<stepBits|byte(v>>(segment+1))&0x0f)&^positive
}

// split returns a sample's sign bit and magnitude. A negative sample's magnitude
// is its one's complement, as in ITU-T G.191: no value is without a partner.
func split(sample int16) (sign byte, magnitude uint16) {
	if sample < 0 {
		return 0, uint16(^sample)
	}
	return positive, uint16(sample)
}

func signed(octet byte, magnitude int16) int16 {
	if octet&positive == 0 {
		return -magnitude
	}
	return magnitude
}
