package call

import (
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
)

// passRequest takes a request in the dialog to the other party, and its answer comes
// back by passReply: INFO, MESSAGE, NOTIFY. REFER has its own rules.
func (c *Call) passRequest(leg rtp.Leg, r *sip.Request) {
	to := c.parties[leg.Other()]
	_, isKey := r.Key()
	switch {
	case r.Method == "REFER":
		c.refer(leg, r)
	case to.leg != nil && (to.leg.Allows(r.Method) || r.Method == "NOTIFY"):
		to.leg.Ask(&sip.Request{Method: r.Method, Headers: c.forward(leg, r.Headers), ContentType: r.ContentType, Body: r.Body, For: r})
	case isKey: // heard by us, whoever else hears it
		r.Reply(200, "OK")
	default:
		r.Reply(501, "Not Implemented")
	}
}

func (c *Call) passReply(e sip.Event) {
	if e.Request.For != nil {
		e.Request.For.Reply(e.Code, e.Reason)
	}
}
