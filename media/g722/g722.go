// Package g722 turns speech of 16 kHz into octets and back (ITU-T G.722 at
// 64 kbit/s, mode 1; RFC 3551 §4.5.2). An octet holds two samples, so there are
// 8000 a second, which is also the rate of RTP's timestamps.
//
// It knows nothing of RTP or of frames. An Encoder and a Decoder have the state of
// one stream, whose octets follow one another.
//
//	         ┌─ lower, 0–4 kHz ──▶ 6 bits ─┐
//	16 kHz ──┤ QMF                         ├──▶ octet: H H L L L L L L
//	         └─ higher, 4–8 kHz ─▶ 2 bits ─┘
//
// Each sub-band of 8 kHz is ADPCM: what is coded is by how much a sample differs
// from the one that was predicted, in steps that grow and shrink with the signal.
// The lower sub-band is predicted from the upper four of its bits: all modes, which
// differ in how many of the others they have, predict the same.
//
// Names of blocks in comments (QUANTL, INVQAL …) are the Recommendation's.
package g722

// SamplesPerOctet is how many samples an octet holds.
const SamplesPerOctet = 2

// Encoder encodes one stream.
type Encoder struct {
	low, high subBand
	history   qmf
}

// NewEncoder returns an encoder in the state that the Recommendation begins with.
func NewEncoder() *Encoder {
	e := new(Encoder)
	e.low.reset(lowest)
	e.high.reset(highest)
	return e
}

// Encode writes the octets of samples to dst, which must be at least half as long
// as src. An odd sample at the end is left out.
func (e *Encoder) Encode(dst []byte, src []int16) {
	dst = dst[: len(src)/2 : len(dst)] // panics when dst is too short
	for i := range dst {
		even, odd := e.history.push(int32(src[2*i]), int32(src[2*i+1]))
		low := limit15((even + odd) >> 14)
		high := limit15((even - odd) >> 14)

		codeLow := quantizeLow(saturate(low-e.low.predicted), e.low.step)
		e.low.adapt(stepsLow, codeLow>>2)
		codeHigh := quantizeHigh(saturate(high-e.high.predicted), e.high.step)
		e.high.adapt(stepsHigh, codeHigh)

		dst[i] = byte(codeHigh<<6 | codeLow)
	}
}

// Decoder decodes one stream.
type Decoder struct {
	low, high subBand
	history   qmf
}

// NewDecoder returns a decoder in the state that the Recommendation begins with.
func NewDecoder() *Decoder {
	d := new(Decoder)
	d.low.reset(lowest)
	d.high.reset(highest)
	return d
}

// Decode writes the samples of octets to dst, which must be at least twice as long
// as src.
func (d *Decoder) Decode(dst []int16, src []byte) {
	dst = dst[: 2*len(src) : len(dst)] // panics when dst is too short
	for i, octet := range src {
		codeLow, codeHigh := int32(octet&0x3f), int32(octet>>6)

		// INVQBL: the reconstruction has all six bits, the predictor only four.
		low := limit15(d.low.predicted + d.low.step*inverse6[codeLow]>>15)
		d.low.adapt(stepsLow, codeLow>>2)
		high := limit15(d.high.predicted + d.high.step*inverse2[codeHigh]>>15)
		d.high.adapt(stepsHigh, codeHigh)

		even, odd := d.history.push(low+high, low-high)
		dst[2*i], dst[2*i+1] = int16(saturate(even>>11)), int16(saturate(odd>>11))
	}
}

// qmf is the history of the quadrature mirror filter, the oldest sample first. Two
// samples come at a time, and each half of them is filtered by itself.
type qmf struct {
	// Samples twice over, so that the last 24 are always in one piece.
	samples [2 * qmfTaps]int32
	at      int
}

const qmfTaps = 24

// push takes two samples and returns the filtered even and odd ones.
func (q *qmf) push(a, b int32) (even, odd int32) {
	q.samples[q.at], q.samples[q.at+1] = a, b
	q.samples[q.at+qmfTaps], q.samples[q.at+qmfTaps+1] = a, b
	if q.at += 2; q.at == qmfTaps {
		q.at = 0
	}
	window := (*[qmfTaps]int32)(q.samples[q.at:])
	for i, tap := range mirror {
		even += window[2*i+1] * mirror[len(mirror)-1-i]
		odd += window[2*i] * tap
	}
	return even, odd
}

// subBand is the state of ADPCM in one sub-band: the size of the steps, and the
// predictor of two poles and six zeros. Index 0 is the newest of a history.
type subBand struct {
	predicted int32 // the next sample
	zeros     int32 // the six zeros' part in it
	logStep   int32
	step      int32

	pole          [2]int32 // coefficients, A1 and A2
	zero          [6]int32 // B1 to B6
	reconstructed [2]int32
	partial       [2]int32 // reconstructed by the zeros alone
	difference    [6]int32
}

func (s *subBand) reset(step int32) { s.step = step }

// Steps at the beginning, the smallest that there are.
const (
	lowest  = 32
	highest = 8
)

// steps is what a sub-band's code means for its predictor and its steps.
type steps struct {
	inverse   []int32 // INVQAL, INVQAH: the difference, in steps
	logFactor []int32 // LOGSCL, LOGSCH: by how much the step grows
	logLimit  int32
	shift     int32 // SCALEL, SCALEH
}

var (
	stepsLow  = &steps{inverse4[:], growth4[:], 18432, 8}
	stepsHigh = &steps{inverse2[:], growth2[:], 22528, 10}
)

// adapt takes a sample's code into the state.
func (s *subBand) adapt(k *steps, code int32) {
	difference := s.step * k.inverse[code] >> 15

	// The step follows on a logarithmic scale, and forgets.
	s.logStep = min(max(s.logStep*127>>7+k.logFactor[code], 0), k.logLimit)
	mantissa := antilog[s.logStep>>6&31]
	if exponent := k.shift - s.logStep>>11; exponent < 0 {
		s.step = mantissa << -exponent << 2
	} else {
		s.step = mantissa >> exponent << 2
	}
	s.predict(difference)
}

// predict takes the difference of a sample and predicts the next.
func (s *subBand) predict(difference int32) {
	reconstructed := saturate(s.predicted + difference) // RECONS
	partial := saturate(s.zeros + difference)           // PARREC

	// UPPOL2, UPPOL1: the poles follow the signs, and stay where they are stable.
	grown := saturate(s.pole[0] << 2)
	if sameSign(partial, s.partial[0]) {
		grown = min(-grown, 32767)
	}
	second := grown>>7 + s.pole[1]*32512>>15
	if sameSign(partial, s.partial[1]) {
		second += 128
	} else {
		second -= 128
	}
	second = min(max(second, -12288), 12288)
	first := s.pole[0] * 32640 >> 15
	if sameSign(partial, s.partial[0]) {
		first += 192
	} else {
		first -= 192
	}
	bound := 15360 - second
	first = min(max(first, -bound), bound)
	s.pole = [2]int32{first, second}

	// UPZERO, and FILTEZ with what comes of it.
	var gain int32
	if difference != 0 {
		gain = 128
	}
	s.zeros = 0
	newer := difference
	for i, older := range s.difference {
		zero := s.zero[i] * 32640 >> 15
		if sameSign(difference, older) {
			zero += gain
		} else {
			zero -= gain
		}
		s.zero[i] = zero
		s.zeros += zero * saturate(2*newer) >> 15
		s.difference[i], newer = newer, older
	}
	s.zeros = saturate(s.zeros)

	// FILTEP, PREDIC.
	poles := saturate(first*saturate(2*reconstructed)>>15 + second*saturate(2*s.reconstructed[0])>>15)
	s.reconstructed = [2]int32{reconstructed, s.reconstructed[0]}
	s.partial = [2]int32{partial, s.partial[0]}
	s.predicted = saturate(poles + s.zeros)
}

// quantizeLow is QUANTL: the six bits of a difference.
func quantizeLow(difference, step int32) int32 {
	magnitude := difference
	if difference < 0 {
		magnitude = ^difference
	}
	// The levels rise: bisect for the first that is above.
	level, above := 0, len(levels)
	for level < above {
		middle := (level + above) / 2
		if magnitude < levels[middle]*step>>12 {
			above = middle
		} else {
			level = middle + 1
		}
	}
	if difference < 0 {
		return negative6[level]
	}
	return positive6 - int32(level)
}

// quantizeHigh is QUANTH: the two bits of a difference.
func quantizeHigh(difference, step int32) int32 {
	const level = 564
	code, magnitude := int32(3), difference
	if difference < 0 {
		code, magnitude = 1, ^difference
	}
	if magnitude >= level*step>>12 {
		code--
	}
	return code
}

func sameSign(a, b int32) bool { return a^b >= 0 }

func saturate(v int32) int32 { return min(max(v, -32768), 32767) }

// limit15 is LIMIT: a sub-band's sample has 15 bits.
func limit15(v int32) int32 { return min(max(v, -16384), 16383) }
