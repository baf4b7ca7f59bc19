package call

import (
	"sync"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/rtp"
)

// tones are what parties hear from us besides announcements.
type tones struct {
	ringing *prompt.Prompt // 425 Hz, one second in five (ITU-T E.180, as in the Netherlands and most of Europe): one period
	beep    *prompt.Prompt // by which a recording makes itself known
	paused  *prompt.Prompt // nothing is recorded from now on
	resumed *prompt.Prompt // it is again
}

// allTones makes them once for all managers, when the first of them is.
var allTones = sync.OnceValue(func() tones {
	return tones{
		ringing: made(prompt.Tone("ringing", prompt.Sound{Hz: 425, Length: time.Second, DBm0: -17}, prompt.Sound{Length: 4 * time.Second})),
		beep:    made(prompt.Beep()), paused: made(prompt.Paused()), resumed: made(prompt.Resumed()),
	}
})

func made(tone *prompt.Prompt, err error) *prompt.Prompt {
	if err != nil {
		panic(err) // it can be made, or it never could
	}
	return tone
}

// heardAs is a tone as a leg hears it now; false where it hears nothing.
func (c *Call) heardAs(leg rtp.Leg, t *prompt.Prompt) (media.Frames, bool) {
	p := c.parties[leg]
	codec := p.firstRecordable()
	frames, ok := t.Frames(codec.Name, codec.ClockHz)
	return framesOf(codec, frames), ok && p.listens
}

// tone plays a tone to a leg, unless it is told something.
func (c *Call) tone(leg rtp.Leg, t *prompt.Prompt) {
	tone, ok := c.heardAs(leg, t)
	if c.telling[leg] != nil || !ok {
		return
	}
	tone.Tone = true
	if err := c.play(leg, tone); err != nil {
		c.log.Debug("tone not played", "call_id", c.id, "leg", leg, "error", err)
	}
}

// chirp lets a leg hear a short tone while the talk goes on.
func (c *Call) chirp(leg rtp.Leg, t *prompt.Prompt) {
	tone, ok := c.heardAs(leg, t)
	if c.playing[leg] != nil || !ok {
		return
	}
	if err := c.media.Beep(leg, tone); err != nil {
		c.log.Debug("tone not heard", "call_id", c.id, "leg", leg, "error", err)
	}
}
