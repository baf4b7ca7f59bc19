package call

import (
	"math"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/prompt"
)

// ringingTone is the tone a caller hears whose early media is ours while the PBX
// rings: 425 Hz, one second in five (ITU-T E.180, as in the Netherlands and most of
// Europe). By codec, one period in frames of 20 ms.
type ringingTone map[string][][]byte

func newRingingTone() ringingTone {
	const frames, clockHz = 250, 8000
	pcm := make([]int16, frames*prompt.FrameSamples)
	for i := range pcm[:clockHz] {
		pcm[i] = int16(3000 * math.Sin(2*math.Pi*425*float64(i)/clockHz))
	}
	alaw, mulaw := make([]byte, len(pcm)), make([]byte, len(pcm))
	g711.EncodeALaw(alaw, pcm)
	g711.EncodeMuLaw(mulaw, pcm)
	cut := func(b []byte) [][]byte {
		var cuts [][]byte
		for ; len(b) > 0; b = b[prompt.FrameSamples:] {
			cuts = append(cuts, b[:prompt.FrameSamples])
		}
		return cuts
	}
	return ringingTone{"PCMA": cut(alaw), "PCMU": cut(mulaw)}
}

// Frames returns one period for a codec by its name.
func (t ringingTone) Frames(codec string) ([][]byte, bool) {
	frames, ok := t[codec]
	return frames, ok
}
