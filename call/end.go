package call

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
)

// Cause says why a call ended.
type Cause string

const (
	HungUp           Cause = "hung_up"              // a party's BYE
	Cancelled        Cause = "cancelled"            // the caller gave up before the answer
	Rejected         Cause = "rejected"             // the callee's final response
	NoAnswer         Cause = "no_answer"            // it rang for as long as we let it
	Unreachable      Cause = "unreachable"          // the callee's trunk did not respond, or could not be sent to
	NoRoute          Cause = "no_route"             // the caller's trunk leads nowhere
	BadOffer         Cause = "bad_offer"            // its session description cannot be read
	NoAudio          Cause = "no_audio"             // no RTP audio in the offer or the answer
	NotProtected     Cause = "not_protected"        // audio is offered, answered or sent otherwise than the trunk's srtp has it
	NoCodec          Cause = "no_codec"             // no codec that both sides, or the recording, can have
	NoPorts          Cause = "no_ports"             // no RTP ports could be opened: mostly, they are exhausted
	NotAcknowledged  Cause = "not_acknowledged"     // a response of ours was never acknowledged
	SessionExpired   Cause = "session_expired"      // nobody refreshed the session
	TrunkFull        Cause = "trunk_full"           // as many calls as the trunk may have
	NoDialog         Cause = "no_dialog"            // the INVITE is to replace a call that is not there
	Transferred      Cause = "transferred"          // the party that stays went over to another call
	RecordingRefused Cause = "recording_impossible" // the purpose says: no recording, no call
	WentSilent       Cause = "went_silent"          // no audio came from the party for long, and its trunk says to hang up
	ShuttingDown     Cause = "shutting_down"        // the daemon stops and waits no longer
	SignallingFailed Cause = "signalling_failed"    // a response could not be sent
)

// End is how a call ended: the only thing that stops live, and all that release
// needs to know.
type End struct {
	Cause  Cause
	Leg    rtp.Leg // who caused it
	Code   int     // of a rejection
	Reason string  // its reason phrase, or a BYE's Reason header
	Err    error

	Headers  []sip.Header // that pass to the other party
	Contacts []string     // of a redirection
	redirect []sip.Header // Contacts of ours, where a redirection is passed on
}

func (e *End) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s by %v: %v", e.Cause, e.Leg, e.Err)
	case e.Code != 0:
		return fmt.Sprintf("%s by %v: %d %s", e.Cause, e.Leg, e.Code, e.Reason)
	}
	return fmt.Sprintf("%s by %v", e.Cause, e.Leg)
}

// status maps a cause to what a leg without a final response is told.
func (e *End) status() (code int, reason string) {
	switch e.Cause {
	case Rejected:
		return e.rejection()
	case SessionExpired:
		return 408, "Session Expired"
	case NoDialog:
		return 481, "Call/Transaction Does Not Exist"
	case Cancelled:
		return 487, "Request Terminated"
	case NoAnswer:
		return 480, "Temporarily Unavailable"
	case NoRoute:
		return 404, "Not Found"
	case NoAudio, NoCodec, NotProtected:
		return 488, "Not Acceptable Here"
	case BadOffer:
		if e.Leg == rtp.Callee { // it is not the caller's that is bad
			return 488, "Not Acceptable Here"
		}
		return 400, "Bad Session Description"
	case HungUp:
		return 480, "Temporarily Unavailable" // the callee hung up before the caller was answered
	}
	return 503, "Service Unavailable"
}

// rejection passes a final response on with its meaning. A redirection and a challenge
// pass where they are meant for who calls (see pass); and a 503 would say that we are
// out, not that trunk (RFC 3261 §16.7 step 6).
func (e *End) rejection() (int, string) {
	switch {
	case e.Code < 400 && len(e.redirect) == 0, e.challenge() && len(e.more()) == 0:
		return 480, "Temporarily Unavailable"
	case e.Code == 503:
		return 500, "Server Internal Error"
	}
	return e.Code, e.Reason
}

func (e *End) challenge() bool { return e.Code == 401 || e.Code == 407 }

// more are the headers without which a rejection says nothing.
func (e *End) more() []sip.Header {
	if e.Cause == NotProtected && e.Err != nil {
		return []sip.Header{warning(e.Err)}
	}
	if e.challenge() {
		return slices.DeleteFunc(slices.Clone(e.Headers), func(h sip.Header) bool { return !strings.HasSuffix(h.Name, "-Authenticate") })
	}
	return e.redirect
}

// Outcome is a call's result in one word, as rows and metrics have it.
type Outcome string

const (
	OutcomeAnswered    Outcome = "answered"
	OutcomeCancelled   Outcome = "cancelled"
	OutcomeBusy        Outcome = "busy"
	OutcomeRejected    Outcome = "rejected"
	OutcomeNoAnswer    Outcome = "no_answer"
	OutcomeAbandoned   Outcome = "abandoned" // a party had answered, or been answered, and one hung up before both were connected
	OutcomeUnreachable Outcome = "unreachable"
	OutcomeRefused     Outcome = "refused" // by us: the offer, or the recording that could not be made
	OutcomeFailed      Outcome = "failed"
	OutcomeInterrupted Outcome = "interrupted" // the daemon stopped without being asked
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeAnswered, OutcomeCancelled, OutcomeBusy, OutcomeRejected, OutcomeNoAnswer, OutcomeAbandoned, OutcomeUnreachable,
		OutcomeRefused, OutcomeFailed, OutcomeInterrupted,
	}
}

// outcome of a call that ended so: connected says whether both parties were, answered
// whether one of them had answered or been answered.
func (e *End) outcome(connected, answered bool) Outcome {
	if connected && e.Cause != NotAcknowledged {
		return OutcomeAnswered
	}
	if answered && e.Cause == HungUp {
		return OutcomeAbandoned
	}
	switch e.Cause {
	case Cancelled:
		return OutcomeCancelled
	case Rejected:
		if e.Code == 486 || e.Code == 600 {
			return OutcomeBusy
		}
		return OutcomeRejected
	case NoAnswer, HungUp:
		return OutcomeNoAnswer
	case Unreachable, NoRoute:
		return OutcomeUnreachable
	case BadOffer, NoAudio, NoCodec, NotProtected, NoDialog, TrunkFull, RecordingRefused:
		return OutcomeRefused
	}
	return OutcomeFailed
}
