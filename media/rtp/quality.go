package rtp

import (
	"math"
	"time"
)

// Quality is what one direction of a call was like, as measured.
type Quality struct {
	Codec     string        // encoding name
	Lost      float64       // ratio that never arrived, 0–1
	Jitter    time.Duration // interarrival jitter
	RoundTrip time.Duration // to the peer and back; 0 where no report told
}

// impairment is what a codec costs in the E-model: by itself, and how well it bears loss.
type impairment struct{ ie, bpl float64 }

// impairments are those of ITU-T G.113 (appendix I, tables I.1 and I.4), for receivers
// that conceal losses. Opus and G.722 have none for narrowband in it: they are taken to be
// as good as G.711, of whose scale the result is.
var impairments = map[string]impairment{
	"PCMA": {0, 25.1}, "PCMU": {0, 25.1},
	"G729": {11, 19}, "G723": {15, 16.1}, "GSM": {20, 43}, "ILBC": {11, 32},
	"AMR": {5, 10}, "": {0, 25.1},
}

// MOS estimates the listener's mean opinion, 1 to 4.5, by the E-model (ITU-T G.107) with
// its default parameters: random loss, and as the delay from mouth to ear half the round
// trip, a packet, and a jitter buffer of twice the jitter.
func (q Quality) MOS() float64 {
	codec, ok := impairments[q.Codec]
	if !ok {
		codec = impairments[""]
	}
	const packet = 20 // ms
	delay := float64(q.RoundTrip.Milliseconds())/2 + packet + 2*float64(q.Jitter.Microseconds())/1000
	loss := 100 * q.Lost
	r := 93.2 - delayImpairment(delay) - (codec.ie + (95-codec.ie)*loss/(loss+codec.bpl))
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6) // G.107 annex B
}

// delayImpairment is Idd of G.107 §7.4: what delay costs beyond 100 ms, echo apart.
func delayImpairment(ms float64) float64 {
	if ms <= 100 {
		return 0
	}
	x := math.Log2(ms / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}
