package sip

import (
	"errors"
	"net/netip"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// newCallerLeg makes the leg of an INVITE that came in. Its tag is already on the
// request (stamp).
func (ua *UA) newCallerLeg(req *stack.Request, tx *stack.ServerTx, source netip.AddrPort, trunk string) *Leg {
	peer := Peer{Transport: stack.NetworkToLower(req.Transport()), Addr: source}
	peer.Host = peer.Addr.Addr().String()
	tag, _ := req.To().Params.Get("tag")
	remote, _ := req.From().Params.Get("tag")
	l := &Leg{
		ua: ua, isCaller: true, peer: peer, trunk: trunk, callID: req.CallID().Value(), localTag: tag, merges: mergeKey(req),
		invite: req, server: tx, events: make(chan Event, eventsQueue), deaf: make(chan struct{}),
		dialog: &dialog{remoteTag: remote, remoteSeq: req.CSeq().SeqNo, counted: true},
	}
	// It came in by a listener, so there is one; without, replies still go out.
	l.bound, l.contact, _ = ua.local(peer)
	l.dialog.set(req.Contact(), req.GetHeaders("Record-Route"), header(req, "Allow"))
	l.reliable.accept(req)
	l.session.accept(req, ua.cfg)
	l.learn(req)
	return l
}

// heedCancel has a CANCEL end the leg, also one that came before now: of that sipgo tells
// no more than that it came.
func (l *Leg) heedCancel() {
	cancelled := func(e Event) {
		if !l.end() {
			return
		}
		l.ua.metrics.response("INVITE", 487, l.trunk)
		l.ua.running.Go(func() { l.post(e) }) // sipgo holds the transaction's lock here
	}
	heeded := l.server.OnCancel(func(cancel *stack.Request) {
		cancelled(Event{Kind: Cancelled, Reason: header(cancel, "Reason"), Headers: l.ua.passing(cancel)})
	})
	if !heeded {
		cancelled(Event{Kind: Cancelled})
	}
}

// Answer sends the 200 and repeats it until the ACK comes; Confirmed or Unconfirmed
// follows. The 2xx is ours to repeat, on every transport: RFC 3261 §13.3.1.4. It waits
// for the PRACK of a description that went before it, and for our answer to an offer that
// a PRACK or UPDATE brought (RFC 3262 §5).
func (l *Leg) Answer(body []byte, headers ...Header) error {
	l.mu.Lock()
	if l.state != proceeding {
		l.mu.Unlock()
		return ErrOver
	}
	if l.mustWait() {
		l.reliable.answer = func() { // the call thinks it is answered
			if err := l.answerNow(body, headers); err != nil && !errors.Is(err, ErrOver) {
				l.post(Event{Kind: Unconfirmed})
			}
		}
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	return l.answerNow(body, headers)
}

func (l *Leg) answerNow(body []byte, headers []Header) error {
	l.mu.Lock()
	if l.state != proceeding {
		l.mu.Unlock()
		return ErrOver
	}
	l.state = answered
	l.reliable.stop()
	if len(body) > 0 { // else the one that went before stands
		l.sent = body
	}
	timer := l.session.answer()
	l.mu.Unlock()
	res := l.responseTo(l.invite, 200, "OK", body, headers...)
	timer.write(res)
	switch err := deliver(l.server, res); {
	case errors.Is(err, stack.ErrTransactionCanceled):
		return ErrOver // the Cancelled event says so
	case err != nil:
		l.end() // nobody is there to be hung up
		l.server.Terminate()
		return err
	}
	l.ua.metrics.response("INVITE", 200, l.trunk)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == answered { // the ACK may have come already
		l.repeatAnswer(res, T1, time.Now().Add(confirmTimeout))
	}
	return nil
}

// ErrOver is what a leg says that is over, or as good as: an event tells how.
var ErrOver = errors.New("leg is over")

var errPending = errors.New("another offer is pending")

// repeatAnswer sends the 2xx again after the interval, then at twice that up to T2,
// until the ACK stops it or the time is up. The caller holds mu.
func (l *Leg) repeatAnswer(res *stack.Response, interval time.Duration, until time.Time) {
	l.repeat = time.AfterFunc(interval, func() {
		l.mu.Lock()
		if l.state != answered {
			l.mu.Unlock()
			return
		}
		if !time.Now().Before(until) {
			// RFC 3261 §13.3.1.4: the dialog is confirmed, but the session is to be ended.
			l.state = confirmed
			asked := l.hangUp
			l.mu.Unlock()
			if asked != nil {
				l.bye(*asked)
				return
			}
			l.post(Event{Kind: Unconfirmed})
			return
		}
		l.repeatAnswer(res, min(2*interval, T2), until)
		l.mu.Unlock()
		if err := l.server.Respond(res); err != nil {
			l.ua.log.Debug("2xx not repeated", "error", err)
		}
	})
}

// confirm takes the ACK of our 2xx.
func (l *Leg) confirm(ack *stack.Request) {
	l.mu.Lock()
	if l.state != answered || ack.CSeq().SeqNo != l.invite.CSeq().SeqNo { // that of a re-INVITE we refused
		l.mu.Unlock()
		return
	}
	l.state = confirmed
	stop(l.repeat) // not there yet, if the ACK was quick
	l.dialog.agreed = true
	asked := l.hangUp
	if asked == nil {
		l.arm()
	}
	l.mu.Unlock()
	if asked != nil {
		l.bye(*asked)
		return
	}
	l.post(Event{Kind: Confirmed, Body: descriptionIn(ack)})
}

// reject sends the final response; sipgo's transaction repeats it until its ACK.
func (l *Leg) reject(h hangup) {
	l.forget()
	if h.code < 300 {
		h.code, h.reason = 480, "Temporarily Unavailable"
	}
	l.ua.metrics.response("INVITE", h.code, l.trunk)
	res := l.responseTo(l.invite, h.code, h.reason, nil, h.headers...)
	l.mu.Lock()
	l.rejected = res
	l.mu.Unlock()
	if err := deliver(l.server, res); err != nil && !errors.Is(err, stack.ErrTransactionCanceled) { // the Cancelled event says so
		l.ua.log.Debug("rejection not sent", "code", h.code, "error", err)
	}
}

// responseTo makes a response to a request of the peer's that may bring a description.
func (l *Leg) responseTo(req *stack.Request, code int, reason string, body []byte, headers ...Header) *stack.Response {
	res := stack.NewResponseFromRequest(req, code, reason, body)
	l.ua.sign(res)
	if code < 300 {
		res.AppendHeader(contactOf(l.contact, l.Peer().Transport))
	}
	for _, h := range headers {
		res.AppendHeader(stack.NewHeader(h.Name, h.Value))
	}
	l.identify(res)
	if len(body) > 0 {
		res.AppendHeader(stack.NewHeader("Content-Type", "application/sdp"))
	}
	return res
}

func contactOf(addr netip.AddrPort, transport string) *stack.ContactHeader {
	uri := stack.Uri{Scheme: "sip", Host: addr.Addr().String(), Port: int(addr.Port())}
	if transport != "udp" {
		uri.UriParams = stack.HeaderParams{{K: "transport", V: transport}}
	}
	return &stack.ContactHeader{Address: uri}
}
