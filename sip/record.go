package sip

import stack "github.com/emiago/sipgo/sip"

// recordAware is the option tag of who is told of a recording in session descriptions, and
// may say there what he wants of it (RFC 7866 §7).
const recordAware = "record-aware"

// RecordAware reports whether the peer said that it understands what session descriptions
// tell of a recording: in its INVITE, or in its 2xx to ours, whichever came last.
func (l *Leg) RecordAware() bool { return l.aware.Load() }

// learn takes what messages of the peer's tell of it besides what they ask.
func (l *Leg) learn(msg stack.Message) {
	l.ids.learn(msg)
	if seq := msg.CSeq(); seq == nil || seq.MethodName != stack.INVITE {
		return
	}
	if res, ok := msg.(*stack.Response); ok && !res.IsSuccess() {
		return
	}
	if req, ok := msg.(*stack.Request); ok && req.IsAck() {
		return
	}
	l.aware.Store(listed(msg, recordAware, "Supported") || listed(msg, recordAware, "Require"))
}
