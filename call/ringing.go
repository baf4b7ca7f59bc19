package call

import (
	"math"
	"sync"

	"github.com/bewaard/bewaard/media/prompt"
)

// tones are what parties hear from us besides announcements. All are sines, faded in and
// out where they begin and end.
type tones struct {
	ringing *prompt.Prompt // 425 Hz, one second in five (ITU-T E.180, as in the Netherlands and most of Europe): one period
	beep    *prompt.Prompt // 1400 Hz for a fifth of a second, by which a recording makes itself known
	paused  *prompt.Prompt // one low beep: nothing is recorded from now on
	resumed *prompt.Prompt // two high ones: it is again
}

// allTones makes them once for all managers, when the first of them is.
var allTones = sync.OnceValue(func() tones {
	return tones{
		ringing: newTone("ringing", note{425, 1000}, note{0, 4000}),
		beep:    newTone("beep", note{1400, 200}),
		paused:  newTone("paused", note{480, 240}),
		resumed: newTone("resumed", note{950, 120}, note{0, 80}, note{950, 120}),
	}
})

// note is a sine of so many Hz, 0 for silence, for so many milliseconds.
type note struct{ hz, ms int }

func newTone(id string, notes ...note) *prompt.Prompt {
	const hz, fade = 8000, 40 // 5 ms
	var pcm []int16
	for _, n := range notes {
		samples := n.ms * hz / 1000
		for i := range samples {
			edge := min(1, float64(min(i, samples-1-i))/fade)
			pcm = append(pcm, int16(3000*edge*math.Sin(2*math.Pi*float64(n.hz)*float64(i)/hz)))
		}
	}
	tone, err := prompt.New(id, pcm, hz)
	if err != nil {
		panic(err) // it can be made, or it never could
	}
	return tone
}
