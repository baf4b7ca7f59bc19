package finalize

import "math"

// stretchReach is how many samples on each side one between two is made of.
const stretchReach = 20

// stretch appends to dst the same audio in n samples, a few more or fewer than
// there are. It begins and ends exactly on a sample, and what comes before and
// after is not needed: near the edges the samples hardly move.
func stretch(dst, pcm []int16, n int) []int16 {
	step := float64(len(pcm)) / float64(n)
	for i := range n {
		dst = append(dst, between(pcm, float64(i)*step))
	}
	return dst
}

// between returns the audio at a place between two samples: a sinc under a window
// that is polynomial, since this runs for every sample that slips.
func between(pcm []int16, x float64) int16 {
	whole := int(x)
	part := x - float64(whole)
	if part < 1e-9 {
		return pcm[whole]
	}
	sine := math.Sin(math.Pi * part) // of all taps, up to the sign
	sum, weights := 0.0, 0.0
	for k := 1 - stretchReach; k <= stretchReach; k++ {
		d := part - float64(k)
		window := 1 - d*d/(stretchReach*stretchReach)
		weight := sine / d * window * window
		if k&1 != 0 {
			weight = -weight
		}
		sum += weight * float64(pcm[min(max(whole+k, 0), len(pcm)-1)])
		weights += weight
	}
	return saturate(int32(math.Round(sum / weights)))
}
