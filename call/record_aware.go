package call

import (
	"errors"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/sdp"
)

// A party that understands it is told in every description of ours whether it is recorded
// (RFC 7866 §6.1.2), and anew when that changes; the far one may say there what it wants
// (§6.2.1).

var errPrefOff = errors.New("the party does not want to be recorded (a=recordpref)")

// recordState is what a description says to a party of its recording now.
func (c *Call) recordState(leg rtp.Leg) sdp.Record {
	switch {
	case c.recorded() && !c.keeps(leg):
		return sdp.RecordOff
	case c.capturing:
		return sdp.RecordOn
	case c.recorded():
		return sdp.RecordPaused
	}
	return sdp.RecordOff
}

// sayRecord has those who understand it know what has changed, once this event is dealt with.
func (c *Call) sayRecord() {
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		if l := c.parties[leg].leg; l != nil && l.RecordAware() {
			c.untold[leg], c.restate = true, true
		}
	}
}

// saysRecord is what a description says of the recording, "" for nothing.
func (c *Call) saysRecord(d *sdp.Description) sdp.Record {
	if c.main >= len(d.Media) {
		return ""
	}
	return d.Record(d.Media[c.main])
}

// prefers reports whether a new offer of a party's differs from what it said last only in what
// it wants of its recording.
func (c *Call) prefers(p *party, offer *sdp.Description) bool {
	if p.described == nil || c.main >= len(offer.Media) || c.main >= len(p.described.Media) || offer.Media[c.main].Profile() != sdp.Plain {
		return false
	}
	return sdp.Equivalent(offer, p.described) && offer.RecordPref(offer.Media[c.main]) != p.described.RecordPref(p.described.Media[c.main])
}

// heed does what a party wants of its recording, as far as it is the far one's to say: not
// to be recorded is an objection.
func (c *Call) heed(leg rtp.Leg, pref sdp.RecordPref) {
	if c.side(leg) != policy.Far || c.decision.Announce == nil && c.decision.Exempt == "" {
		return
	}
	switch {
	case pref == sdp.PrefOff && c.recorded() && c.decision.OnFailure == policy.Refuse && c.decision.Keys.Object == "": // nobody may have it destroyed
		c.conclude(objected, "far")
		c.ending = &End{Cause: RecordingRefused, Leg: leg, Err: errPrefOff}
	case pref == sdp.PrefOff && (c.silent == "" || c.recording != nil):
		c.object(objected, leg)
		if c.decision.OnFailure == policy.Refuse { // no recording, no call
			c.ending = &End{Cause: RecordingRefused, Leg: leg, Err: errPrefOff}
		}
	case pref == sdp.PrefPause && c.recorded() && !c.steering.paused:
		c.pause("far", nil)
	case pref == sdp.PrefPause && c.recorded(): // our party may not end it alone now
		c.steering.byFar = true
		c.steering.unlimit()
	case pref == sdp.PrefOn && c.recorded() && c.steering.paused && c.steering.byFar:
		c.resume("far", nil)
	}
	c.wary = pref == sdp.PrefPause
}
