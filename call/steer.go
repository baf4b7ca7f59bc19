package call

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
)

// A recording that is under way is steered by keys, by headers of the PBX's and by commands:
// paused and resumed, ended and kept, or ended and destroyed. What was done, and by whom,
// stands on the row. Which key was pressed stands nowhere. Headers and commands stand in
// command.go.

// steering is what has been done to a call's recording so far.
type steering struct {
	pressed [2]pressed // by each leg's party
	run     run        // of the far party's
	paused  bool
	byFar   bool        // the far party wants the pause: nobody else ends it
	limit   *time.Timer // until a pause ends by itself; nil while there is none
	orders  []order     // that the writer has not confirmed yet, in their order
	beeper  *time.Ticker
}

// pressed are a party's last keys.
type pressed struct {
	keys string
	at   time.Time
}

// slowest is how long after one key the next one may come and belong to it.
const slowest = 3 * time.Second

// run is keys that follow one another, such as a card's number.
type run struct {
	keys        int
	first, last time.Time
}

// secret is how many keys in a row are taken for something that nobody is to hear again.
const secret = 6

// add takes a key, and reports whether the run is one that is not to stay.
func (r *run) add(at time.Time) bool {
	if at.Sub(r.last) > slowest {
		*r = run{first: at}
	}
	r.keys, r.last = r.keys+1, at
	return r.keys >= secret
}

// mute takes the tones of a key, if it had any, out of the recording: digits are never kept.
func (c *Call) mute(h happening) {
	if c.recording != nil && !h.heard[0].IsZero() { // captured, though it may not be any more
		c.recording.Event(spool.Event{Kind: spool.Excised, Leg: h.leg, From: h.heard[0], To: h.heard[1]})
	}
}

// margin is how long before and after such a run nothing is kept either.
const margin = time.Second

// hide takes out of the recording what was said while the far party pressed a number.
func (c *Call) hide() {
	r := &c.steering.run
	if !r.add(c.media.Now()) || !c.recorded() {
		return
	}
	if c.decision.Keys.Pause != "" || slices.Contains(c.decision.Control, policy.ControlPause) {
		if n := len(c.row.Events); n == 0 || c.row.Events[n-1].Kind != "excised" || r.keys == secret {
			c.mark("excised", "far")
		}
		c.recording.Event(spool.Event{Kind: spool.Excised, From: r.first.Add(-margin), To: r.last.Add(margin), Both: true})
	}
}

// add takes a key, and reports whether it ends a run of these.
func (p *pressed) add(key byte, at time.Time) {
	if at.Sub(p.at) > slowest {
		p.keys = ""
	}
	p.keys += string(key)
	p.keys, p.at = p.keys[max(0, len(p.keys)-8):], at
}

// take reports whether these are the last keys; they are not looked at again then.
func (p *pressed) take(keys string) bool {
	if keys == "" || !strings.HasSuffix(p.keys, keys) {
		return false
	}
	p.keys = ""
	return true
}

// order is something done to the recording that holds when it is on its way to the disk.
type order struct {
	written chan error
	answer  chan<- error // of who asked over HTTP; nil for a key
	heard   func()       // lets a party hear that it holds
}

func (s *steering) written() <-chan error {
	if len(s.orders) == 0 {
		return nil
	}
	return s.orders[0].written
}

func (s *steering) overdue() <-chan time.Time {
	if s.limit == nil {
		return nil
	}
	return s.limit.C
}

func (s *steering) beeps() <-chan time.Time {
	if s.beeper == nil {
		return nil
	}
	return s.beeper.C
}

// unlimit forgets a pause's limit, if there is one.
func (s *steering) unlimit() {
	if s.limit != nil {
		s.limit.Stop()
		s.limit = nil
	}
}

// release lets go of timers, and tells who waits that nothing comes of it.
func (s *steering) release() {
	s.unlimit()
	if s.beeper != nil {
		s.beeper.Stop()
	}
	for _, o := range s.orders {
		respond(o.answer, errOver)
	}
	s.orders = nil
}

func respond(answer chan<- error, err error) {
	if answer != nil {
		answer <- err // it has room
	}
}

// recorded reports whether a recording is under way, paused or not.
func (c *Call) recorded() bool { return c.recording != nil && c.silent == "" }

// refusal is how long after an announcement its key to refuse still counts: who is told of it
// at the end of the prompt presses it then.
const refusal = 5 * time.Second

// refuses reports whether a key is the one by which a party that was told may refuse, and
// still in time: until both are connected, or soon after the prompt. Later the key may be for
// a menu of the PBX's.
func (c *Call) refuses(leg rtp.Leg, key byte) bool {
	told := c.told[leg]
	return told != nil && string(key) == c.decision.Announce.OptOut && (c.bridged.IsZero() || c.media.Now().Sub(told.since()) < refusal)
}

// press takes a key that a party pressed. The far party may object, from the announcement's
// beginning on, the near one pause and resume; nobody may do what is the other's.
func (c *Call) press(leg rtp.Leg, key byte) {
	if c.silent != "" && c.recording == nil || c.decision.Announce == nil && c.recording == nil {
		return // there is nothing to say of it
	}
	p, k := &c.steering.pressed[leg], c.decision.Keys
	p.add(key, c.media.Now())
	far := c.side(leg) == policy.Far
	if far {
		c.hide()
	}
	switch {
	case far && p.take(k.Object): // before the key to refuse, which may be its last
		c.object(objected, leg)
		return
	case c.refuses(leg, key):
		c.object("opted_out", leg)
		return
	case far:
		return
	}
	if !c.recorded() {
		return
	}
	switch {
	case c.steering.paused && p.take(k.Resume):
		c.resume("near", nil)
	case p.take(k.Pause):
		c.pause("near", nil)
	case p.take(k.Select):
		if err := c.choose(k.SelectFor, "near"); err != nil {
			c.log.Info("recording not selected", "call_id", c.id, "purpose", k.SelectFor, "error", err)
			return
		}
		c.chirp(leg, c.manager.tones.resumed)
	case p.take(k.Resume): // there is no pause: he hears so
		c.mark("resume_ignored", "near")
		c.chirp(leg, c.manager.tones.resumed)
	}
}

// objected is a row's reason.
const objected = "objected"

// object takes that a party does not want to be recorded: what there is of it goes, and when
// that is certain the party hears so. Who came into the recording later has no say about what
// was recorded before.
func (c *Call) object(reason string, leg rtp.Leg) {
	switch came := c.came[leg]; {
	case c.apart[leg] && c.retelling:
		c.refused(reason, leg)
		return
	case c.apart[leg]: // there is nothing of it
		return
	case !came.IsZero() && c.recorded():
		c.manager.metrics.steered.WithLabelValues(reason).Inc()
		c.recording.Event(spool.Event{Kind: spool.Excised, From: came, To: c.media.Now(), Both: true})
		c.conclude(reason, string(c.side(leg)))
		c.confirm(leg)
		return
	}
	c.manager.metrics.steered.WithLabelValues(reason).Inc()
	c.discard(reason, string(c.side(leg)), nil, func() { c.confirm(leg) })
}

// confirm tells a party that it is not recorded any more.
func (c *Call) confirm(leg rtp.Leg) {
	told := ""
	if a := c.row.Announcement; a != nil {
		told = a.Language
	}
	k := c.decision.Keys
	voice := c.rules.prompts[k.Confirm][c.rules.ConfirmLanguage(k.Confirm, told)]
	if voice.Prompt == nil {
		c.chirp(leg, c.manager.tones.paused)
		return
	}
	c.tone(leg, voice.Prompt)
}

// pause stops capturing. A second one changes nothing.
func (c *Call) pause(by string, answer chan<- error) {
	if c.steering.paused {
		c.mark("pause_ignored", by)
		respond(answer, errPaused)
		if answer == nil {
			c.chirp(c.far().Other(), c.manager.tones.paused)
		}
		return
	}
	c.steering.paused, c.steering.byFar = true, by == string(policy.Far)
	c.mark("paused", by)
	limit := c.decision.Keys.PauseLimit
	if limit == 0 {
		limit = defaultPause
	}
	if !c.steering.byFar {
		c.steering.limit = time.NewTimer(limit)
	}
	c.order(answer, c.manager.tones.paused)
}

// defaultPause is a pause's limit where the rule has no keys for it.
const defaultPause = 5 * time.Minute

// resume captures again.
func (c *Call) resume(by string, answer chan<- error) {
	if err := c.resumable(by); err != nil {
		c.mark("resume_ignored", by)
		respond(answer, err)
		return
	}
	c.steering.paused = false
	c.steering.unlimit()
	c.mark("resumed", by)
	c.order(answer, c.manager.tones.resumed)
}

// resumable says why a pause cannot be ended so, nil if it can.
func (c *Call) resumable(by string) error {
	switch {
	case !c.steering.paused:
		return errNotPaused
	case c.steering.byFar && by != string(policy.Far):
		return errFarPaused
	}
	return nil
}

// order has the writer follow, and waits beside the call until it has.
func (c *Call) order(answer chan<- error, t *prompt.Prompt) {
	written := make(chan error, 1)
	c.steering.orders = append(c.steering.orders, order{written, answer, func() { c.chirp(c.far().Other(), t) }})
	c.follow(written)
}

// follow has what the parties say recorded, or not, as all there is to it says now. The
// channel, if there is one, gets to know when the writer has it.
func (c *Call) follow(written chan error) {
	gone := c.transfer != nil && c.transfer.gone // somebody's place is empty
	wanted := c.recorded() && !c.steering.paused && !c.retelling && !gone
	if wanted == c.capturing {
		if written != nil {
			written <- nil
		}
		return
	}
	c.capturing = wanted
	defer c.sayRecord()
	e := spool.Event{Kind: spool.CaptureStarted, Written: written}
	if wanted {
		c.media.Capture(c.tap)
	} else {
		c.media.Capture(nil)
		e = spool.Event{Kind: spool.CaptureStopped, Cut: c.steering.paused && c.decision.Keys.Paused == policy.PausedCut, Written: written}
	}
	c.recording.Event(e)
}

// obeyed takes what the writer says of the order before all others: who gave it is told, by a
// tone or over HTTP.
func (c *Call) obeyed(err error) {
	o := c.steering.orders[0]
	c.steering.orders = c.steering.orders[1:]
	if err != nil {
		err = fmt.Errorf("recording: %w", err)
	}
	respond(o.answer, err)
	if err == nil && o.heard != nil {
		o.heard()
	}
}

// pauseOver ends a pause that somebody forgot.
func (c *Call) pauseOver() {
	c.log.Warn("pause ended by its limit", "call_id", c.id)
	c.manager.metrics.steered.WithLabelValues("pause_limit").Inc()
	c.resume("limit", nil)
}

// conclude ends the recording; what there is of it is kept.
func (c *Call) conclude(reason, by string) {
	c.silent, c.row.Reason = reason, reason
	c.halt()
	c.mark(reason, by)
	c.update(c.row.State)
}

// halt ends a recording's time, if there is one.
func (c *Call) halt() {
	if c.capturing || c.steering.paused {
		defer c.sayRecord()
	}
	c.cease()
	c.steering.unlimit()
	c.steering.paused = false
	c.capturing, c.retelling = false, false
	c.media.Capture(nil)
	if c.recording != nil {
		c.recording.Stop()
	}
}

// discard ends the recording and destroys what there is of it at once. Who asked over HTTP
// gets an answer, and a party hears of it, when it is certain that nothing will be made of it.
func (c *Call) discard(reason, by string, answer chan<- error, heard func()) {
	recording := c.recording
	c.silent = reason
	c.mark(reason, by)
	if recording == nil {
		c.cease()
		respond(answer, nil)
		if heard != nil && !c.bridged.IsZero() {
			heard()
		}
		return
	}
	recording.Event(spool.Event{Kind: spool.CaptureStopped, Reason: reason}) // should the daemon die before the row says so
	c.halt()
	c.recording, c.row.Recording = nil, nil
	c.row.Reason, c.row.Expires = reason, c.decision.KeepRow.After(c.media.Now().UTC())
	c.row.State = store.StateNotRecorded
	row := c.row.Clone()
	written := make(chan error, 1)
	c.steering.orders = append(c.steering.orders, order{written, answer, heard})
	c.write("discard", func() error {
		err := recording.Discard(row, by)
		written <- err
		return err
	})
}

// mark notes on the row what was done to the recording.
func (c *Call) mark(kind, by string) {
	c.row.Events = append(slices.Clip(c.row.Events), store.Event{At: time.Now().UTC(), Kind: kind, By: by})
}

// beep reminds the parties that they are recorded.
func (c *Call) beep() {
	if !c.recorded() || c.steering.paused {
		return
	}
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		if c.decision.Beep.To.Has(c.side(leg)) {
			c.chirp(leg, c.manager.tones.beep)
		}
	}
}
