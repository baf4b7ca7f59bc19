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
	id      string
	began   time.Time
	log     *slog.Logger

	// Owned by run.
	legs       [2]*sip.Leg // by rtp.Leg; the callee's is nil until dial
	trunks     [2]string
	peer       sip.Peer // the callee's
	direction  policy.Direction
	decision   policy.Decision
	silent     string // why nothing is recorded; "" while something is or may be
	row        store.Row
	written    <-chan struct{} // closed when the store has done what it was given
	bridged    time.Time       // when both parties were connected; zero before
	isAnswered [2]bool

	offer   *sdp.Description // the caller's
	audio   *sdp.Media       // its stream that is relayed
	wanted  func(sdp.Codec) bool
	codecs  [2][]rtp.Codec // what each leg may send
	listens [2]bool        // each leg's peer wants to hear something
	session [2]uint64      // numbers of our descriptions towards each leg,
	version [2]uint64      // their versions,
	ours    [2][]byte      // and the last of them; nil before the first
	greeted bool           // the caller's is from the announcement, and stands
	pending *reoffer       // waits for the other party's answer

	media     Session // nil before admit
	early     bool    // the callee's early media is relayed
	preview   []byte  // the callee's description in a provisional response
	playing   *playing
	told      *told // the announcement that was heard out
	tap       *media.Tap
	recording Recording
	started   time.Time // of the capture
}

// run is the life of a call. It is the call's goroutine and ends with the call.
func (c *Call) run(ctx context.Context) {
	end := c.live(ctx)
	c.release(end)
}

// live tells a call in its order. Every step may end it; only talk has to.
func (c *Call) live(ctx context.Context) *End {
	for _, step := range [...]func(*Call, context.Context) *End{
		(*Call).admit,    // the row; the offer read; ports
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
	kind kind
	leg  rtp.Leg
	sip  sip.Event // of what a leg's peer did
	key  byte      // of keyPressed
}

type kind uint8

const (
	progressed   kind = iota + 1 // the callee's 18x
	callAnswered                 // the callee's 2xx
	acknowledged                 // the caller's ACK
	reoffered                    // an INVITE in the dialog, to be answered or rejected
	reofferAcknowledged
	reofferAnswered
	reofferRejected
	keyPressed
	played // a prompt or tone has ended, whole or not
	timeUp
	recordingFailed
)

// next waits for what happens next to the call. It is the only place that waits.
func (c *Call) next(ctx context.Context, deadline <-chan time.Time) (happening, *End) {
	select {
	case e := <-c.events(rtp.Caller):
		return c.heard(rtp.Caller, e)
	case e := <-c.events(rtp.Callee):
		return c.heard(rtp.Callee, e)
	case k := <-c.media.Keys():
		return happening{kind: keyPressed, leg: k.Leg, key: k.Digit}, nil
	case <-c.playing.done():
		return happening{kind: played}, nil
	case <-c.recordingFailed():
		return happening{kind: recordingFailed}, nil
	case <-deadline:
		return happening{kind: timeUp}, nil
	case <-ctx.Done():
		return happening{}, &End{Cause: ShuttingDown}
	}
}

// events is what a leg's peer does; nothing before there is a leg.
func (c *Call) events(leg rtp.Leg) <-chan sip.Event {
	if c.legs[leg] == nil {
		return nil
	}
	return c.legs[leg].Events()
}

// heard tells what an event of a leg means to the call.
func (c *Call) heard(leg rtp.Leg, e sip.Event) (happening, *End) {
	switch e.Kind {
	case sip.Progressed:
		return happening{kind: progressed, leg: leg, sip: e}, nil
	case sip.Answered:
		return happening{kind: callAnswered, leg: leg, sip: e}, nil
	case sip.Confirmed:
		return happening{kind: acknowledged, leg: leg}, nil
	case sip.Reoffered:
		return happening{kind: reoffered, leg: leg, sip: e}, nil
	case sip.Acknowledged:
		return happening{kind: reofferAcknowledged, leg: leg, sip: e}, nil
	case sip.ReofferAnswered:
		return happening{kind: reofferAnswered, leg: leg, sip: e}, nil
	case sip.ReofferRejected:
		return happening{kind: reofferRejected, leg: leg, sip: e}, nil
	case sip.Rejected:
		return happening{}, &End{Cause: Rejected, Leg: leg, Code: e.Code, Reason: e.Reason}
	case sip.Failed:
		return happening{}, &End{Cause: Unreachable, Leg: leg, Err: e.Err}
	case sip.Cancelled:
		return happening{}, &End{Cause: Cancelled, Leg: leg, Reason: e.Reason}
	case sip.Unconfirmed:
		return happening{}, &End{Cause: NotAcknowledged, Leg: leg}
	case sip.Ended:
		return happening{}, &End{Cause: HungUp, Leg: leg, Reason: e.Reason}
	}
	panic("call: event of an unknown kind")
}
