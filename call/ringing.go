package call

import (
	"math"
	"sync"

	"github.com/bewaard/bewaard/media/prompt"
)

// ringingTone is made once for all managers, when the first of them is.
var ringingTone = sync.OnceValue(newRingingTone)

// newRingingTone makes the tone a caller hears whose early media is ours while the PBX
// rings: 425 Hz, one second in five (ITU-T E.180, as in the Netherlands and most of
// Europe). One period of it.
func newRingingTone() *prompt.Prompt {
	const hz = 8000
	pcm := make([]int16, 5*hz)
	for i := range pcm[:hz] {
		pcm[i] = int16(3000 * math.Sin(2*math.Pi*425*float64(i)/hz))
	}
	tone, err := prompt.New("ringing", pcm, hz)
	if err != nil {
		panic(err) // it can be made, or it never could
	}
	return tone
}
