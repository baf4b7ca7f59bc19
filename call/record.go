package call

import (
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// Recorder begins recordings and makes files of them. It never waits for a disk.
type Recorder interface {
	// Record begins to write what the tap brings to a spool of the grant's own.
	Record(g spool.Grant, h spool.Header, tap *media.Tap) Recording
	// Finalize makes the files of a call whose spool and row are closed.
	Finalize(id string)
}

// Recording is one call's spool while it is written.
type Recording interface {
	// Failed is closed when the spool cannot be written any more.
	Failed() <-chan struct{}
	// Event notes what changed; it does not wait.
	Event(spool.Event)
	// Stop ends the recording's time now; it does not wait either.
	Stop()
	// Close writes what is left and ends the spool. It waits for the disk.
	Close(reason string) error
	// Discard has the row become that one, which says that there is no recording, journals for
	// whom, ends the spool and destroys it. It waits for the disk, too.
	Discard(row store.Row, by string) error
}

// capture begins the recording: if and only if the far party was told, or the rule
// says in writing why he need not be.
func (c *Call) capture() *End {
	if c.silent != "" {
		return nil
	}
	terms := spool.Terms{
		Recording: c.id, Purpose: c.decision.Purpose, Basis: string(c.decision.Basis),
		Retention: c.decision.Retention.String(), Rule: c.decision.Rule, Policy: c.decision.Policy,
	}
	terms.NotBefore, terms.Exempt = c.toldSince(), c.decision.Exempt
	grant, err := spool.NewGrant(terms)
	if err != nil { // nobody was told, and there is no reason not to
		c.log.Error("no grant", "call_id", c.id, "error", err)
		return c.cannotRecord("no_grant")
	}
	c.started = c.media.Now()
	c.manager.tally.count(c.rules.Near(c.facts()), c.began)
	c.tap = media.NewTap(c.tapRoom())
	c.single()
	c.recording = c.manager.parts.Recorder.Record(grant, spool.Header{Began: c.started, Legs: c.spoolLegs(), Notice: c.notice()}, c.tap)
	c.capturing = true
	c.media.Capture(c.tap)
	if c.decision.Beep != nil {
		c.steering.beeper = time.NewTicker(c.decision.Beep.Every)
		c.beep()
	}
	c.row.Answered, c.row.Recording = c.bridged, &store.Recording{Began: c.started.UTC()}
	if c.decision.Parties != policy.Both {
		c.row.Recording.Parties = string(c.decision.Parties)
	}
	retentionOf(&c.decision).expire(&c.row, c.started.UTC()) // at the earliest: the time counts from the call's end
	c.update(store.StateRecording)
	c.sayRecord()
	if c.wary {
		c.pause("far", nil)
	}
	return nil
}

// single has nothing kept of a party whose words the rule does not record.
func (c *Call) single() {
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		c.tap.Leave(leg, !c.keeps(leg))
	}
}

// keeps reports whether a party's words are recorded where any are.
func (c *Call) keeps(leg rtp.Leg) bool { return c.decision.Parties.Has(c.side(leg)) }

// notice is the announcement as the recording begins with it, where the rule has it so.
func (c *Call) notice() *spool.Notice {
	a := c.decision.Announce
	if a == nil || !a.Notice {
		return nil
	}
	voice, hz := c.rules.prompts[a.Prompt][a.Language], 8000
	for _, p := range c.parties {
		if codec := p.firstRecordable(); codec.Name == "G722" || codec.ClockHz > hz {
			hz = 16000
		}
	}
	frames, ok := voice.Frames("L16", hz)
	if !ok {
		return nil
	}
	leg := c.far()
	if c.told[leg] == nil {
		leg = leg.Other()
	}
	return &spool.Notice{Prompt: voice.ID, SHA256: voice.SHA256, Leg: leg, Both: a.To == policy.Both, Hz: hz, L16: frames.Payloads}
}

// toldSince is when the last of those who have to be told had been; zero where one was not,
// or none has to be.
func (c *Call) toldSince() (since time.Time) {
	if c.decision.Announce == nil {
		return since
	}
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		recorded := c.side(leg) == policy.Far && c.decision.Parties.Has(policy.Far) // never untold, whatever the rule says
		if !c.decision.Announce.To.Has(c.side(leg)) && !recorded {
			continue
		}
		if c.told[leg] == nil {
			return time.Time{}
		}
		if at := c.told[leg].since(); at.After(since) {
			since = at
		}
	}
	return since
}

// unfit says why the policy does not let the recording go on with who came into a place,
// "" where it does: by the same rule, or because it is one of ours and no rule forbids it.
func (c *Call) unfit(leg rtp.Leg) string {
	d := c.rules.Decide(c.facts())
	ours := c.manager.cfg.Trunks[c.parties[leg].trunk].Side == trunk.Internal
	switch {
	case d.Record && (ours || d.Rule == c.decision.Rule), d.Reason == policy.NoRule && ours:
		return ""
	case d.Record:
		return "transferred" // for a purpose that nobody was told
	}
	return d.Reason
}

// spoolLegs says which leg is which channel: the external party left, ours right.
func (c *Call) spoolLegs() (legs [2]spool.Leg) {
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		side := c.manager.cfg.Trunks[c.parties[leg].trunk].Side
		c.parties[leg].recorded = c.parties[leg].carries()
		channel := 0
		if side == trunk.Internal {
			channel = 1
		}
		legs[leg] = spool.Leg{Channel: channel, Side: string(side), Codecs: c.parties[leg].recorded}
	}
	if legs[0].Channel == legs[1].Channel { // both trunks on one side: the caller is left
		legs[rtp.Caller].Channel, legs[rtp.Callee].Channel = 0, 1
	}
	return legs
}

// recordingLost takes the news that the spool cannot be written. What is captured
// up to here is kept; the row says that the rest is missing.
func (c *Call) recordingLost() *End {
	c.halt()
	c.log.Error("recording broken off", "call_id", c.id)
	return c.cannotRecord("disk")
}

// recordingFailed is closed when the recording that goes on, if any, has failed; it
// is told once.
func (c *Call) recordingFailed() <-chan struct{} {
	if c.recording == nil || c.silent != "" {
		return nil
	}
	return c.recording.Failed()
}
