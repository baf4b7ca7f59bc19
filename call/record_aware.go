package call

import (
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/sdp"
)

// A party that understands it is told in every description of ours whether it is recorded
// (RFC 7866 §6.1.2), and anew when that changes; the far one may say there what it wants
// (§6.2.1).

// recordState is what a description says of the recording now.
func (c *Call) recordState() sdp.Record {
	switch {
	case c.capturing:
		return sdp.RecordOn
	case c.recorded():
		return sdp.RecordPaused
	}
	return sdp.RecordOff
}

// sayRecord has those who understand it know what has changed.
func (c *Call) sayRecord() {
	for _, leg := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		if l := c.parties[leg].leg; l != nil && l.RecordAware() {
			c.untold[leg] = true
		}
	}
	c.settle()
}

// heed does what a party wants of its recording, as far as it is the far one's to say: not
// to be recorded is an objection.
func (c *Call) heed(leg rtp.Leg, pref sdp.RecordPref) {
	if c.side(leg) != policy.Far || c.decision.Announce == nil && c.decision.Exempt == "" {
		return
	}
	switch {
	case pref == sdp.PrefOff && c.recorded():
		c.discard(objected, "far")
		c.manager.metrics.steered.WithLabelValues("objected").Inc()
	case pref == sdp.PrefOff && c.silent == "":
		c.cease()
		c.silent = objected
	case pref == sdp.PrefPause && c.recorded() && !c.steering.paused:
		c.pause("far", nil)
	case pref == sdp.PrefOn && c.recorded() && c.steering.paused:
		c.resume("far", nil)
	}
	c.wary = pref == sdp.PrefPause
}
