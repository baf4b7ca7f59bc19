package call

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
)

// rowPatience is how long a call that is to be recorded waits for its row. Without a row
// on disk it is not recorded, but it goes on: a call never waits for the recorder.
const rowPatience = time.Second

var errRowLate = errors.New("the store took longer than " + rowPatience.String())

// begin has the call's row written, with all that is known when the INVITE is in. It waits
// for that only where a recording is to rest on it.
func (c *Call) begin() error {
	caller := c.parties[rtp.Caller].leg
	d := c.decision
	c.row = store.Row{
		ID: c.id, State: store.StateCalling, Began: c.began,
		Direction: string(c.direction), CallerTrunk: c.parties[rtp.Caller].trunk, CalleeTrunk: c.parties[rtp.Callee].trunk,
		Personal: store.Personal{
			Caller: c.rules.Number(caller.From().User), Callee: c.rules.Number(caller.Called()), CallerCallID: caller.CallID(),
		},
		Policy: d.Policy, Expires: d.KeepRow.After(c.began),
	}
	c.row.Agents = c.agents(c.row.Caller, c.row.Callee)
	c.decided()
	row := c.row
	var failed error
	done := c.write("begin", func() error { failed = c.manager.parts.Rows.Begin(row); return failed })
	if c.silent != "" {
		return nil
	}
	patience := time.NewTimer(rowPatience)
	defer patience.Stop()
	select {
	case <-done:
		return failed
	case <-patience.C:
		return errRowLate
	}
}

// agents are those of the parties' numbers that are ours.
func (c *Call) agents(caller, callee string) (agents []string) {
	for leg, number := range []string{rtp.Caller: caller, rtp.Callee: callee} {
		if c.side(rtp.Leg(leg)) == policy.Near && number != "" {
			agents = append(agents, number)
		}
	}
	return agents
}

// decided notes in the row what the policy said.
func (c *Call) decided() {
	d := c.decision
	c.row.Rule, c.row.Announcement = d.Rule, nil
	if d.Record {
		c.purposes()
	}
	if d.Exempt != "" {
		c.row.Announcement = &store.Announcement{Exempt: d.Exempt}
	}
}

// purposes notes in the row what the call is recorded for, and for how long.
func (c *Call) purposes() {
	d := c.decision
	c.row.Purpose, c.row.Basis = d.Purpose, string(d.Basis)
	c.row.RowRetention, c.row.CertificateRetention, c.row.Terms = "", "", nil
	retentionOf(&d).write(&c.row)
	if len(d.Terms) > 1 {
		for _, term := range d.Terms {
			c.row.Terms = append(c.row.Terms, kept(term))
		}
	}
}

// joined notes in the row who came into a place later, from another call or from none.
func (c *Call) joined(leg rtp.Leg, from string) {
	p := c.parties[leg]
	number := c.rules.Number(p.identity.User)
	c.row.Joined = append(slices.Clip(c.row.Joined), store.Joined{At: time.Now().UTC(), Leg: leg.String(), Trunk: p.trunk, Number: number, Call: from})
	if c.side(leg) == policy.Near && number != "" && !slices.Contains(c.row.Agents, number) {
		c.row.Agents = append(slices.Clip(c.row.Agents), number)
	}
	c.update(c.row.State)
}

// write has the store do something for this call, after what it was given before,
// without waiting for it. The channel is closed when it is done.
func (c *Call) write(doing string, do func() error) <-chan struct{} {
	before, done := c.written, make(chan struct{})
	c.written = done
	c.manager.calls.Go(func() { // Manager.Close waits for it
		defer close(done)
		if before != nil {
			<-before
		}
		if err := do(); err != nil {
			c.manager.metrics.rowErrors.Inc()
			c.log.Error("row not written", "call_id", c.id, "doing", doing, "error", err)
		}
	})
	return done
}

// update has the row in the store become what it is now, in that state.
func (c *Call) update(state store.State) {
	c.row.State = state
	row := c.row
	c.write(string(state), func() error { return c.put(row) })
}

func (c *Call) put(row store.Row) error {
	_, err := c.manager.parts.Rows.Update(row.ID, func(r *store.Row) error { r.Become(row); return nil })
	return err
}

// level grades the proof that an announcement was heard. One that was cut short proves
// nothing, and has none.
type level string

const (
	levelSent      level = "sent"       // every packet left us
	levelPathAlive level = "path_alive" // and packets came from the peer meanwhile
	levelConfirmed level = "confirmed"  // and a receiver report of his covers the last one
)

// grade adds what was learned of the announcements' arrival until the call ended. Of a leg
// that was told more than once that is known of the last time.
func (c *Call) grade(stats media.Stats) {
	told := c.row.Told()
	for i, a := range told {
		if a.Leg == "" {
			continue // exempt
		}
		last := !slices.ContainsFunc(told[i+1:], func(later *store.Announcement) bool { return later.Leg == a.Leg })
		result, proof := "interrupted", "none"
		if a.Complete {
			result = "complete"
			heard := stats.Legs[rtp.Caller]
			if a.Leg == rtp.Callee.String() {
				heard = stats.Legs[rtp.Callee]
			}
			if heard.HeardDuring && last {
				a.Level = string(levelPathAlive)
			}
			if heard.Acknowledged && last {
				a.Level = string(levelConfirmed)
				a.AcknowledgedSequence, a.AcknowledgedLoss = heard.AcknowledgedSequence, heard.AcknowledgedLoss
			}
			proof = a.Level
		}
		c.manager.metrics.announcements.WithLabelValues(result, proof).Inc()
	}
}

// listen notes how the parties' audio came in.
func (c *Call) listen(stats media.Stats) {
	for leg, s := range stats.Legs {
		if s.Received == 0 && !c.gone[leg] {
			continue
		}
		a := store.Audio{
			Leg: rtp.Leg(leg).String(), Packets: s.Received, Lost: s.Lost, Duplicates: s.Duplicates, Reordered: s.Reordered, Rejected: s.Rejected,
			JitterMS: milliseconds(s.Jitter), RoundTrip: milliseconds(s.Peer.RoundTrip), PeerLost: s.Peer.Lost, PeerJitter: milliseconds(s.Peer.Jitter),
			Silent: c.gone[leg], Protection: s.Protection, Unprotected: s.Unprotected,
		}
		if codecs := c.parties[leg].carries(); len(codecs) > 0 {
			a.Codec = codecs[0].Name
		}
		quality := rtp.Quality{Codec: a.Codec, Jitter: s.Jitter, RoundTrip: s.Peer.RoundTrip}
		if expected := s.Received + s.Lost; expected > 0 {
			quality.Lost = float64(s.Lost) / float64(expected)
		}
		a.MOS = math.Round(quality.MOS()*100) / 100
		c.row.Audio = append(c.row.Audio, a)
		c.manager.metrics.mos.WithLabelValues(string(c.manager.cfg.Trunks[c.parties[leg].trunk].Side)).Observe(a.MOS)
	}
}

// milliseconds rounds to hundredths.
func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e5) / 100 }

// release ends what live left, from whatever state: it hangs up or rejects each leg,
// closes the media, ends the recording, closes the row, counts, and logs once.
func (c *Call) release(end *End) {
	c.row.Ended = time.Now().UTC()
	c.cease()
	c.quiet(rtp.Caller)
	c.quiet(rtp.Callee)
	c.letters.close()
	c.steering.release()
	c.address(end)
	code, reason := end.status()
	c.hangup(end, code, reason)
	recording := c.recording
	if recording != nil {
		c.media.Capture(nil)
		recording.Stop()
	}
	for _, stream := range c.streams {
		stream.Close()
	}
	if c.media != nil {
		stats := c.media.Close()
		c.row = c.row.Clone() // what was handed to the store stays as it was
		c.grade(stats)
		c.listen(stats)
	}
	for _, p := range c.parties {
		p.place.Release()
	}
	c.transfer.release()
	c.closeRow(end, code)
	c.finish(recording, end)
	c.report(end)
}

// address makes of a rejection what is meant for who calls, where the callee's trunk says
// so: a challenge, or numbers to try, at our address.
func (c *Call) address(end *End) {
	if end.Cause != Rejected || end.Leg != rtp.Callee {
		return
	}
	cfg := c.calleeTrunk()
	if end.challenge() && !cfg.PassesChallenges() {
		end.Headers = nil
	}
	if end.Code/100 == 3 && cfg.Redirects == trunk.Pass {
		for _, number := range end.Contacts {
			end.redirect = append(end.redirect, sip.Header{Name: "Contact", Value: c.parties[rtp.Caller].leg.Reach(number)})
		}
	}
}

func (c *Call) hangup(end *End, code int, reason string) {
	for leg, p := range c.parties {
		var headers []sip.Header
		if rtp.Leg(leg) != end.Leg {
			headers = c.forward(end.Leg, end.Headers)
		}
		switch {
		case p.leg == nil:
		case p.answered && (end.Cause == HungUp || end.Cause == Transferred):
			p.leg.Hangup(0, "", headers...) // the normal end has no cause to tell
		default:
			p.leg.Hangup(code, reason, append(headers, end.more()...)...)
		}
	}
	c.transfer.hangup(code, reason)
}

// closeRow fills in the row's end. A recording that is still to be finalized gives
// it its last state and expiry then.
func (c *Call) closeRow(end *End, code int) {
	caller, callee := c.parties[rtp.Caller], c.parties[rtp.Callee]
	c.row.Outcome = string(end.outcome(!c.bridged.IsZero(), caller.answered || callee.answered))
	c.row.Cause, c.row.EndedBy = string(end.Cause), end.Leg.String()
	if end.Cause == ShuttingDown {
		c.row.EndedBy = "us"
	}
	c.row.SIPStatus = 200
	if !caller.answered {
		c.row.SIPStatus = code
	}
	c.row.Answered = c.bridged
	c.row.Expires, c.row.RowExpires = c.decision.KeepRow.After(c.row.Ended), time.Time{}
}

// finish closes the spool, the row, and hands the recording on, in that order and
// off the call's goroutine: all of it waits for the disk.
func (c *Call) finish(recording Recording, end *End) {
	if recording == nil {
		c.row.Reason = c.silent
		if c.silent == "" {
			c.row.Reason = "not_connected"
		}
		state := store.StateNotRecorded
		if failures[c.silent] {
			state = store.StateFailed
		}
		c.update(state)
		if c.decision.Record {
			c.manager.metrics.recordings.WithLabelValues(c.decision.Purpose, string(state)).Inc()
		}
		return
	}
	c.row.Reason = c.silent // a recording that broke off says so
	c.row.State = store.StateFinalizing
	retentionOf(&c.decision).expire(&c.row, c.row.Ended)
	r := *c.row.Recording
	r.Ended = c.row.Ended
	c.row.Recording = &r
	row := c.row
	c.write("finalize", func() error {
		closed := recording.Close(string(end.Cause))
		if closed != nil {
			closed = fmt.Errorf("close spool: %w", closed)
		}
		if err := c.put(row); err != nil {
			return errors.Join(closed, err)
		}
		c.manager.parts.Recorder.Finalize(c.id)
		return closed
	})
}

// failures are the reasons for which there should be a recording and is none.
var failures = map[string]bool{"row_not_written": true, "announcement_failed": true, "no_grant": true, "disk": true}

// report counts the call and logs it, once.
func (c *Call) report(end *End) {
	m := c.manager.metrics
	m.calls.WithLabelValues(string(c.direction), c.row.Outcome).Inc()
	if !c.bridged.IsZero() {
		m.setup.Observe(c.bridged.Sub(c.began).Seconds())
	}
	attrs := []any{
		"call_id", c.id, "direction", c.direction, "outcome", c.row.Outcome, "cause", end.Cause, "leg", c.row.EndedBy,
		"sip_status", c.row.SIPStatus, "rule", c.row.Rule, "recorded", c.row.Recording != nil,
		"seconds", c.row.Ended.Sub(c.began).Round(time.Millisecond).Seconds(),
	}
	if c.silent != "" {
		attrs = append(attrs, "reason", c.silent)
	}
	if end.Err != nil {
		attrs = append(attrs, "error", end.Err)
	}
	c.log.Info("call over", attrs...)
}
