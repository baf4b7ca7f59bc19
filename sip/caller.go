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
	peer := Peer{Transport: stack.NetworkToLower(req.Transport()), Addr: unmap(source)}
	peer.Host = peer.Addr.Addr().String()
	tag, _ := req.To().Params.Get("tag")
	l := &Leg{
		ua: ua, peer: peer, trunk: trunk, callID: req.CallID().Value(), localTag: tag,
		invite: req, server: tx, events: make(chan Event, eventsQueue), remoteSeq: req.CSeq().SeqNo, counted: true,
	}
	// It came in by a listener, so there is one; without, replies still go out.
	l.bound, l.contact, _ = ua.local(peer)
	remote, _ := req.From().Params.Get("tag")
	l.learn(remote, req.Contact(), req.GetHeaders("Record-Route"))
	ua.register(l)
	tx.OnCancel(func(cancel *stack.Request) {
		if !l.end() {
			return
		}
		ua.metrics.response("INVITE", 487, trunk)
		e := Event{Kind: Cancelled, Reason: header(cancel, "Reason")}
		ua.running.Go(func() { l.post(e) }) // sipgo holds the transaction's lock here
	})
	return l
}

// Progress sends a provisional response, with a session description for early
// media or none (RFC 3261 §13.3.1.1).
func (l *Leg) Progress(code int, reason string, body []byte) error {
	return l.respond(code, reason, body)
}

// Answer sends the 200 and repeats it until the ACK comes; Confirmed or Unconfirmed
// follows. The 2xx is ours to repeat, on every transport: RFC 3261 §13.3.1.4.
func (l *Leg) Answer(body []byte) error {
	l.mu.Lock()
	if l.state != proceeding {
		l.mu.Unlock()
		return errOver
	}
	l.state = answered
	l.mu.Unlock()
	res := l.response(200, "OK", body)
	l.ua.metrics.response("INVITE", 200, l.trunk)
	if err := l.server.Respond(res); err != nil {
		l.end() // nobody is there to be hung up
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == answered { // the ACK may have come already
		l.repeatAnswer(res, T1, time.Now().Add(confirmTimeout))
	}
	return nil
}

var (
	errOver    = errors.New("leg is over")
	errPending = errors.New("another offer is pending")
)

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
				l.bye(asked.code, asked.reason)
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

func (l *Leg) stopRepeating() {
	if l.repeat != nil {
		l.repeat.Stop()
	}
}

// confirm takes the ACK of our 2xx.
func (l *Leg) confirm() {
	l.mu.Lock()
	if l.state != answered {
		l.mu.Unlock()
		return
	}
	l.state = confirmed
	l.stopRepeating()
	asked := l.hangUp
	l.mu.Unlock()
	if asked != nil {
		l.bye(asked.code, asked.reason)
		return
	}
	l.post(Event{Kind: Confirmed})
}

// reject sends the final response; sipgo's transaction repeats it until its ACK.
func (l *Leg) reject(code int, reason string) {
	l.forget()
	l.ua.metrics.response("INVITE", code, l.trunk)
	if err := l.respond(code, reason, nil); err != nil {
		l.ua.log.Debug("rejection not sent", "code", code, "error", err)
	}
}

func (l *Leg) respond(code int, reason string, body []byte) error {
	err := l.server.Respond(l.response(code, reason, body))
	if errors.Is(err, stack.ErrTransactionCanceled) {
		return nil // the Cancelled event says so
	}
	return err
}

func (l *Leg) response(code int, reason string, body []byte) *stack.Response {
	return l.responseTo(l.invite, code, reason, body)
}

// responseTo makes a response to an INVITE of the peer's.
func (l *Leg) responseTo(invite *stack.Request, code int, reason string, body []byte) *stack.Response {
	res := stack.NewResponseFromRequest(invite, code, reason, body)
	l.ua.sign(res)
	if code < 300 {
		res.AppendHeader(contactOf(l.contact, l.peer.Transport))
	}
	if code == 503 {
		res.AppendHeader(stack.NewHeader("Retry-After", "10"))
	}
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
