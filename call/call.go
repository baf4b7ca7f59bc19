// Package call is the B2BUA: it joins what sip, media, policy and store can do into
// calls, and alone knows all four. It opens no socket and no database of its own.
//
//	INVITE ─ sip ─ Manager.Invite ─ go Call.run ─ live ─ next … ─ *End ─ release
//	                                                │
//	                  Keeper ◀── tap ── media ◀─────┘
//	                  spool ─▶ files ─▶ row
//
// Call.live tells a call in its order; next is the only place where a call waits;
// release is its only way out.
package call

import (
	"context"
	"log/slog"
	"time"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/store"
)

// ringTimeout is how long the callee may ring: longer than Timer C, which a proxy
// on the way would end the call at (RFC 3261 §16.6 step 11).
const ringTimeout = 200 * time.Second

// Call is one call, from its INVITE to its row. One goroutine owns it: run.
type Call struct {
	// Immutable after newCall.
	manager *Manager
	rules   *rules
	id      string
	began   time.Time
	log     *slog.Logger
	letters *letters // of other calls

	// Owned by run.
	parties   [2]*party  // by rtp.Leg
	owned     []*sip.Leg // every leg there has been
	route     route
	direction policy.Direction
	decision  policy.Decision
	silent    string // why nothing is recorded; "" while something is or may be
	row       store.Row
	written   <-chan struct{} // closed when the store has done what it was given
	bridged   time.Time       // when both parties were connected; zero before
	confirmed bool            // the caller acknowledged our answer

	offer   *sdp.Description // the caller's, or ours where he made none
	delayed bool             // he made none: his answer comes with the ACK
	main    int              // which stream is the audio that is relayed and recorded
	wanted  func(sdp.Codec) bool
	pending *pending // an offer waits for its answer
	untold  [2]bool  // who has to be offered what the other party says of itself
	retry   retry    // an offer of ours is made again then

	media    Session         // of the main stream; nil before admit
	streams  map[int]Session // of the others that are passed
	early    bool            // the callee's early media is relayed
	greeting []sip.Header    // of the callee's answer, for the caller
	transfer *transfer       // a party is being replaced

	playing   [2]Playback // towards each leg; nil for nothing
	telling   telling     // who is being told
	told      [2]*told    // who was, by leg
	rung      bool        // the callee rings, and the caller does not hear it yet
	tap       *media.Tap
	recording Recording
	started   time.Time    // of the capture
	capturing bool         // what the parties say is recorded at the moment
	ending    *End         // is to end the call
	restate   bool         // parties are to be told that the recording goes on or does not
	wary      bool         // the far party wants the recording to pause
	came      [2]time.Time // when who took a place in the recording did; zero for who was there from its beginning
	apart     [2]bool      // nothing is recorded of who did, or not yet
	retelling bool         // who came into the call is told, and not recorded meanwhile
	steering  steering
	gone      [2]bool // who fell silent
}

// run is the life of a call. It is the call's goroutine and ends with the call.
func (c *Call) run(ctx context.Context) {
	end := c.live(ctx)
	c.release(end)
}

// live tells a call in its order. Every step may end it; only talk has to.
func (c *Call) live(ctx context.Context) *End {
	for _, step := range [...]func(*Call, context.Context) *End{
		(*Call).admit,    // the row; places on the trunks; the offer read; ports
		(*Call).forewarn, // inbound: told in early media, before the PBX rings
		(*Call).dial,     // the other leg, until it is answered
		(*Call).announce, // told after the answer, where it was not before
		(*Call).bridge,   // both connected; capture if and only if told
		(*Call).talk,
	} {
		if end := step(c, ctx); end != nil {
			return end
		}
	}
	panic("call: talk returned without an end")
}

// happening is what next brings that does not end the call.
type happening struct {
	kind   kind
	leg    rtp.Leg
	sip    sip.Event    // of what a leg's peer did
	key    byte         // of keyPressed, or of an INFO that says one
	heard  [2]time.Time // from when to when its tones were, if it had any
	letter letter       // of written
	err    error        // of orderWritten
}

type kind uint8

const (
	progressed   kind = iota + 1 // the callee's 18x
	callAnswered                 // the callee's 2xx
	acknowledged                 // the caller's ACK
	reoffered                    // an offer in the dialog, to be answered or rejected
	reofferAcknowledged
	reofferAnswered
	reofferRejected
	refreshed // a party describes itself anew
	requested // INFO, REFER and the like, to be answered
	replied   // to one of ours
	keyPressed
	shaking     // a handshake begins again
	fellSilent  // a party sends nothing that should
	played      // a prompt or tone has ended, whole or not
	listenerDue // who is told was waited for long enough
	timeUp
	retryDue
	recordingFailed
	written      // another call wrote, or somebody outside
	orderWritten // the recording is paused, or goes on
	pauseOver    // a pause has lasted as long as it may
	beepDue
	transferred // something happened to the leg that is to replace a party
)

// next waits for what happens next to the call. It is the only place that waits.
func (c *Call) next(ctx context.Context, deadline <-chan time.Time) (happening, *End) {
	if c.ending != nil {
		return happening{}, c.ending
	}
	select {
	case e := <-c.parties[rtp.Caller].events():
		return c.heard(rtp.Caller, e)
	case e := <-c.parties[rtp.Callee].events():
		return c.heard(rtp.Callee, e)
	case e := <-c.transfer.events():
		return happening{kind: transferred, sip: e}, nil
	case b := <-c.media.Broken():
		return happening{kind: shaking, leg: b.Leg}, c.unshaken(b)
	case k := <-c.media.Keys():
		return pressedKey(k), nil
	case leg := <-c.media.Silences():
		return happening{kind: fellSilent, leg: leg}, nil
	case <-c.done(rtp.Caller):
		return c.over(rtp.Caller), nil
	case <-c.done(rtp.Callee):
		return c.over(rtp.Callee), nil
	case <-c.telling.due(rtp.Caller):
		return happening{kind: listenerDue, leg: rtp.Caller}, nil
	case <-c.telling.due(rtp.Callee):
		return happening{kind: listenerDue, leg: rtp.Callee}, nil
	case <-c.recordingFailed():
		return happening{kind: recordingFailed}, nil
	case <-c.retry.due():
		return happening{kind: retryDue}, nil
	case l := <-c.letters.in:
		return happening{kind: written, letter: l}, nil
	case err := <-c.steering.written():
		return happening{kind: orderWritten, err: err}, nil
	case <-c.steering.overdue():
		return happening{kind: pauseOver}, nil
	case <-c.steering.beeps():
		return happening{kind: beepDue}, nil
	case <-deadline:
		return happening{kind: timeUp}, nil
	case <-ctx.Done():
		return happening{}, &End{Cause: ShuttingDown}
	}
}

// over is the end of what plays to a leg; a key that was pressed in it comes first.
func (c *Call) over(leg rtp.Leg) happening {
	select {
	case k := <-c.media.Keys():
		return pressedKey(k)
	default:
		return happening{kind: played, leg: leg}
	}
}

func pressedKey(k media.Key) happening {
	return happening{kind: keyPressed, leg: k.Leg, key: k.Digit, heard: [2]time.Time{k.From, k.To}}
}

// happenings are what events of a leg mean to the call that do not end it.
var happenings = map[sip.EventKind]kind{
	sip.Progressed: progressed, sip.Answered: callAnswered, sip.Confirmed: acknowledged,
	sip.Reoffered: reoffered, sip.Acknowledged: reofferAcknowledged, sip.ReofferAnswered: reofferAnswered, sip.ReofferRejected: reofferRejected,
	sip.Refreshed: refreshed, sip.Requested: requested, sip.Replied: replied,
}

// heard tells what an event of a leg means to the call.
func (c *Call) heard(leg rtp.Leg, e sip.Event) (happening, *End) {
	if kind, ok := happenings[e.Kind]; ok {
		h := happening{kind: kind, leg: leg, sip: e}
		if e.Request != nil {
			h.key, _ = e.Request.Key()
		}
		return h, nil
	}
	switch e.Kind {
	case sip.Rejected:
		return happening{}, &End{Cause: Rejected, Leg: leg, Code: e.Code, Reason: e.Reason, Headers: e.Headers, Contacts: e.Contacts}
	case sip.Failed:
		return happening{}, &End{Cause: Unreachable, Leg: leg, Err: e.Err}
	case sip.Cancelled:
		return happening{}, &End{Cause: Cancelled, Leg: leg, Reason: e.Reason, Headers: e.Headers}
	case sip.Unconfirmed:
		return happening{}, &End{Cause: NotAcknowledged, Leg: leg}
	case sip.Expired:
		return happening{}, &End{Cause: SessionExpired, Leg: leg}
	case sip.Ended:
		if c.leaves(leg) { // its place is being taken
			return happening{kind: transferred}, nil
		}
		return happening{}, &End{Cause: HungUp, Leg: leg, Reason: e.Reason, Headers: e.Headers}
	}
	panic("call: event of an unknown kind")
}
