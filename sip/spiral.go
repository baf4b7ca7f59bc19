package sip

import stack "github.com/emiago/sipgo/sip"

// spirals reports whether a request that was with us before is rightly here again. A
// carrier that is a proxy brings a call to one of our numbers back to us: that is a call
// like any other, unless its INVITE comes from where an INVITE for the same number already
// came from on its way (RFC 3261 §16.3). What is in a dialog with us has arrived.
//
//	trunk a ─▶ caller leg ─▶ callee leg ─▶ proxy ─▶ caller leg, for another number or from another trunk
func (ua *UA) spirals(req *stack.Request) bool {
	if req.Laddr.Hostname != initial {
		return req.To().Params.Has("tag")
	}
	_, trunk, _ := ua.origin(req)
	called := user(&req.Recipient)
	for invite, turns := req, 0; ; turns++ {
		caller := ua.callerBefore(invite)
		switch {
		case caller == nil:
			return turns > 0 // else it is a call of ours that is over, or none
		case caller.trunk == trunk && caller.Called() == called:
			return false
		}
		invite = caller.invite
	}
}

// callerBefore returns the caller leg of the call that sent an INVITE, nil if none of ours
// did.
func (ua *UA) callerBefore(invite *stack.Request) *Leg {
	tag, _ := invite.From().Params.Get("tag")
	callee := ua.leg(tag)
	if callee == nil || callee.isCaller || callee.callID != invite.CallID().Value() {
		return nil
	}
	return callee.partner.Load()
}
