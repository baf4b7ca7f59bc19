package call

import (
	"context"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/store"
)

// listener is a party while it is told. It is told when it has heard the prompt out, every
// packet of it, and has agreed where the rule wants that; all else leaves the call
// unrecorded.
//
//	       ┌───── begins anew, a few times ──────┐
//	hears ─┴─ interrupted ─ absent ─ listens again
//	  │ heard out                └─ does not ──▶ unrecorded
//	  └─▶ decides ─ agrees ─▶ told
//	         └─ does not, refuses ─▶ unrecorded
type listener struct {
	leg     rtp.Leg
	voice   Prompt
	codec   rtp.Codec
	stage   stage
	played  media.Played // the last time
	breaks  int          // how often it was interrupted before that
	replays int          // how often it may begin anew
	agreed  time.Time    // when the key was pressed; zero before
	away    bool         // he has said meanwhile that he does not listen
	until   *time.Timer  // of who is absent or decides
}

type stage uint8

const (
	hears   stage = iota // the prompt plays
	absent               // it was interrupted, and he does not listen: on hold
	decides              // heard out: his key is awaited
)

// telling are the listeners that there are, by leg.
type telling [2]*listener

func (t *telling) going() bool { return t[0] != nil || t[1] != nil }

// due is when a leg's listener has been waited for long enough.
func (t *telling) due(leg rtp.Leg) <-chan time.Time {
	if t[leg] == nil || t[leg].until == nil {
		return nil
	}
	return t[leg].until.C
}

// told is an announcement that a party has heard out, on which recording rests.
type told struct {
	played media.Played
	agreed time.Time // zero where he need not
}

// since is when everything was done that has to come before the recording.
func (t *told) since() time.Time {
	if t.agreed.After(t.played.LastAt) {
		return t.agreed
	}
	return t.played.LastAt
}

// absence is how long a party on hold is waited for in its announcement.
const absence = 30 * time.Second

// tell tells parties, and waits until they have been.
func (c *Call) tell(ctx context.Context, legs ...rtp.Leg) *End {
	if end := c.speak(legs...); end != nil {
		return end
	}
	return c.heardOut(ctx)
}

// heardOut waits until nobody is told any more.
func (c *Call) heardOut(ctx context.Context) *End {
	return c.until(ctx, func() bool { return !c.telling.going() })
}

// speak begins to tell parties.
func (c *Call) speak(legs ...rtp.Leg) *End {
	a := c.decision.Announce
	for _, leg := range legs {
		if c.silent != "" {
			return nil
		}
		voice := c.rules.prompts[a.Prompt][a.Language]
		if voice.Prompt == nil { // loading them saw to it that every rule has its own
			return c.giveUp("announcement_failed")
		}
		l := &listener{leg: leg, voice: voice, replays: a.Replays}
		c.telling[leg] = l
		if end := c.start(l); end != nil || c.silent != "" {
			return end
		}
	}
	return nil
}

// start plays a listener the prompt from its beginning.
func (c *Call) start(l *listener) *End {
	p := c.parties[l.leg]
	l.agreed, l.away = time.Time{}, false // to what he has not heard out nobody agrees
	if !p.listens {                       // on hold, or a call set up by a third: what is played is not heard
		if l.replays > 0 {
			c.wait(l, absent, absence)
			return nil
		}
		return c.giveUp("not_listening")
	}
	l.codec = p.firstRecordable()
	frames, ok := l.voice.Frames(l.codec.Name, l.codec.ClockHz)
	if !ok {
		return c.giveUp("announcement_failed")
	}
	if err := c.play(l.leg, framesOf(l.codec, frames)); err != nil {
		c.log.Warn("announcement not played", "call_id", c.id, "leg", l.leg, "error", err)
		return c.giveUp("announcement_failed")
	}
	l.stage = hears
	return nil
}

// wait waits for a listener.
func (c *Call) wait(l *listener, s stage, patience time.Duration) {
	l.stage, l.until = s, time.NewTimer(patience)
}

// hear takes what happens to who is told, and reports whether it was about that.
func (c *Call) hear(h happening) (taken bool, end *End) {
	l := c.telling[h.leg]
	if l == nil {
		return false, nil
	}
	a := c.decision.Announce
	switch {
	case h.kind == played && l.stage == hears:
		l.played = c.quiet(l.leg)
		if l.away {
			l.played.Complete = false
			l.played.Interruptions++
		}
		switch {
		case !l.played.Complete && l.replays > 0:
			return true, c.restart(l)
		case !l.played.Complete && l.leg == rtp.Caller && !c.parties[rtp.Caller].answered:
			c.leave(l) // the way before the answer does not carry it: he is told after that
			return true, nil
		case !l.played.Complete:
			return true, c.giveUp("announcement_interrupted")
		case a.OptIn != "" && l.agreed.IsZero():
			c.evidence(l)
			c.wait(l, decides, a.Within)
			return true, nil
		}
		return true, c.know(l)
	case h.key != 0 && string(h.key) == a.OptOut, h.key != 0 && string(h.key) == a.OptIn:
		if h.kind == requested {
			h.sip.Request.Reply(200, "OK")
		}
		if string(h.key) == a.OptOut {
			c.refused("opted_out", l.leg)
			return true, nil
		}
		if l.agreed.IsZero() {
			l.agreed = c.media.Now()
		}
		if l.stage == decides {
			return true, c.know(l)
		}
		return true, nil
	case h.kind == reoffered && l.stage != decides && !c.refreshes(h):
		return true, c.interrupt(l, h.sip)
	case h.kind == listenerDue:
		if l.stage == decides {
			return true, c.giveUp("not_opted_in")
		}
		return true, c.giveUp("announcement_interrupted")
	}
	return false, nil
}

// interrupt takes a new offer in the middle of a prompt. Where it may be played anew the
// offer is answered, and what was heard so far counts for nothing.
func (c *Call) interrupt(l *listener, e sip.Event) *End {
	if l.stage == hears {
		l.played = c.quiet(l.leg)
	}
	if l.replays == 0 || len(e.Body) == 0 {
		c.putOff(l.leg, e) // it comes again when both are connected
		return c.giveUp("announcement_interrupted")
	}
	c.replaceOffer(l.leg, e)
	if c.telling[l.leg] != l { // it said, too, that it does not want to be recorded
		return c.ending
	}
	if l.stage == absent {
		l.until.Stop()
		l.until = nil
		if c.parties[l.leg].listens {
			l.replays--
			return c.start(l)
		}
		c.wait(l, absent, absence)
		return nil
	}
	return c.restart(l)
}

// refused takes that a party which is being told does not want to be recorded.
func (c *Call) refused(reason string, leg rtp.Leg) {
	c.manager.metrics.steered.WithLabelValues(reason).Inc()
	c.cease()
	c.silent = reason
	c.mark(reason, string(c.side(leg)))
	if c.retelling {
		c.halt()
	}
}

// restart plays a prompt that was interrupted from its beginning.
func (c *Call) restart(l *listener) *End {
	l.breaks += max(l.played.Interruptions, 1)
	if !c.parties[l.leg].listens {
		c.wait(l, absent, absence)
		return nil
	}
	l.replays--
	return c.start(l)
}

// know takes that a listener has been told.
func (c *Call) know(l *listener) *End {
	c.told[l.leg] = &told{l.played, l.agreed}
	c.apart[l.leg] = false
	c.leave(l)
	if c.retelling && !c.telling.going() {
		c.retelling = false
		c.follow(nil)
	}
	return nil
}

// leave ends the telling of one, and keeps the proof of what he heard.
func (c *Call) leave(l *listener) {
	if l.until != nil {
		l.until.Stop()
	}
	c.evidence(l)
	c.telling[l.leg] = nil
}

// cease ends the telling of all, as far as they have heard.
func (c *Call) cease() {
	for _, l := range c.telling {
		if l == nil {
			continue
		}
		if l.stage == hears && c.playing[l.leg] != nil {
			l.played = c.quiet(l.leg)
		}
		c.leave(l)
	}
}

// giveUp gives the announcement up: the call is not recorded.
func (c *Call) giveUp(reason string) *End {
	c.cease()
	if c.retelling {
		c.halt()
		reason = "transferred"
	}
	return c.cannotRecord(reason)
}

// evidence notes what was played to whom: the proof of the announcement. That of the far
// party, or of who is told alone, is the row's own.
func (c *Call) evidence(l *listener) {
	p := l.played
	a := &store.Announcement{
		Prompt: l.voice.ID, Language: c.decision.Announce.Language, Text: l.voice.Text, SHA256: l.voice.SHA256,
		Leg: l.leg.String(), Codec: l.codec.Name, Packets: p.Packets, Total: p.Total,
		FirstSequence: p.FirstSequence, LastSequence: p.LastSequence, FirstAt: p.FirstAt, LastAt: p.LastAt,
		Complete: p.Complete, Interruptions: p.Interruptions + l.breaks, OptedIn: l.agreed.UTC(),
	}
	if l.agreed.IsZero() {
		a.OptedIn = time.Time{}
	}
	if p.Complete {
		a.Level = string(levelSent)
	}
	own := l.leg == c.far() || !c.decision.Announce.To.Has(policy.Far)
	c.row.Tell(a, own && c.recording == nil)
}

// play begins a playback towards a leg, in place of any that goes on.
func (c *Call) play(leg rtp.Leg, frames media.Frames) error {
	c.quiet(leg)
	playback, err := c.media.Play(leg, frames)
	if err != nil {
		return err
	}
	c.playing[leg] = playback
	return nil
}

func framesOf(codec rtp.Codec, f prompt.Frames) media.Frames {
	return media.Frames{PayloadType: codec.PayloadType, Samples: f.Samples, Interval: f.Interval, Payloads: f.Payloads}
}

// done is closed when what plays to a leg has ended.
func (c *Call) done(leg rtp.Leg) <-chan struct{} {
	if c.playing[leg] == nil {
		return nil
	}
	return c.playing[leg].Done()
}

// quiet ends what plays to a leg, if anything does, and returns what came of it.
func (c *Call) quiet(leg rtp.Leg) media.Played {
	p := c.playing[leg]
	if p == nil {
		return media.Played{}
	}
	c.playing[leg] = nil
	p.Stop()
	return p.Result()
}
