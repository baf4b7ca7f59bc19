package call

import (
	"sync"
	"time"

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

// tone plays a tone to a leg, unless it is told something.
func (c *Call) tone(leg rtp.Leg, t *prompt.Prompt) {
	if c.telling[leg] != nil || !c.parties[leg].listens {
		return
	}
	codec := c.parties[leg].firstRecordable()
	frames, ok := t.Frames(codec.Name, codec.ClockHz)
	if !ok {
		return
	}
	tone := framesOf(codec, frames)
	tone.Tone = true
	if err := c.play(leg, tone); err != nil {
		c.log.Debug("tone not played", "call_id", c.id, "leg", leg, "error", err)
	}
}

// chirp lets a leg hear a short tone while the talk goes on.
func (c *Call) chirp(leg rtp.Leg, t *prompt.Prompt) {
	if c.playing[leg] != nil || !c.parties[leg].listens {
		return
	}
	codec := c.parties[leg].firstRecordable()
	frames, ok := t.Frames(codec.Name, codec.ClockHz)
	if !ok {
		return
	}
	if err := c.media.Beep(leg, framesOf(codec, frames)); err != nil {
		c.log.Debug("tone not heard", "call_id", c.id, "leg", leg, "error", err)
	}
}
