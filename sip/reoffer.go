package sip

import (
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// reoffer is an INVITE in the dialog (RFC 3261 §14): theirs that we have not answered
// for good, or ours that they have not. There is one of each at most.
type reoffer struct {
	invite *stack.Request
	server *stack.ServerTx // of theirs
	body   []byte          // our last answer to theirs
	repeat *time.Timer     // of our 2xx, until its ACK
}

// handleReoffer takes an INVITE in the dialog. The call answers it with AnswerReoffer
// or RejectReoffer.
func (l *Leg) handleReoffer(req *stack.Request, tx *stack.ServerTx) {
	l.mu.Lock()
	switch {
	case l.theirs != nil:
		l.mu.Unlock()
		// The one before has no final response, or no ACK: RFC 3261 §14.2.
		l.ua.respond(tx, req, 500, "Request Pending", stack.NewHeader("Retry-After", "3"))
	case l.ours != nil:
		l.mu.Unlock()
		l.ua.respond(tx, req, 491, "Request Pending")
	case len(req.Body()) > 0 && (req.ContentType() == nil || !mayHaveOffer(req.ContentType().Value())):
		l.mu.Unlock()
		l.ua.respond(tx, req, 415, "Unsupported Media Type", stack.NewHeader("Accept", "application/sdp"))
	default:
		l.theirs = &reoffer{invite: req, server: tx}
		if contact := req.Contact(); contact != nil {
			l.target = *contact.Address.Clone() // a target refresh: RFC 3261 §12.2.2
		}
		l.mu.Unlock()
		l.ua.respond(tx, req, 100, "Trying")
		var offer []byte
		if ct := req.ContentType(); ct != nil {
			offer, _ = offerIn(ct.Value(), req.Body())
		}
		l.post(Event{Kind: Reoffered, Body: offer})
	}
	l.ua.await(tx, l)
}

// AnswerReoffer answers the INVITE of a Reoffered event with 200 and repeats that until
// the ACK, whose session description, if it has one, comes as Acknowledged.
func (l *Leg) AnswerReoffer(body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.theirs
	if r == nil || r.body != nil || l.state == over {
		return errOver
	}
	r.body = body
	res := l.responseTo(r.invite, 200, "OK", body)
	if err := r.server.Respond(res); err != nil {
		l.theirs = nil
		return err
	}
	l.repeatReoffer(r, res, T1, time.Now().Add(confirmTimeout))
	return nil
}

// repeatReoffer sends the 2xx again as repeatAnswer does. A peer that never
// acknowledges it loses the call. The caller holds mu.
func (l *Leg) repeatReoffer(r *reoffer, res *stack.Response, interval time.Duration, until time.Time) {
	r.repeat = time.AfterFunc(interval, func() {
		l.mu.Lock()
		if l.theirs != r || l.state == over {
			l.mu.Unlock()
			return
		}
		if !time.Now().Before(until) {
			l.theirs = nil
			l.mu.Unlock()
			l.post(Event{Kind: Unconfirmed})
			return
		}
		l.repeatReoffer(r, res, min(2*interval, T2), until)
		l.mu.Unlock()
		if err := r.server.Respond(res); err != nil {
			l.ua.log.Debug("2xx not repeated", "error", err)
		}
	})
}

// RejectReoffer refuses the INVITE of a Reoffered event: the session stays as it was.
func (l *Leg) RejectReoffer(code int, reason string) {
	l.mu.Lock()
	r := l.theirs
	if r == nil || r.body != nil {
		l.mu.Unlock()
		return
	}
	l.theirs = nil
	res := l.responseTo(r.invite, code, reason, nil)
	l.mu.Unlock()
	if err := r.server.Respond(res); err != nil {
		l.ua.log.Debug("rejection not sent", "code", code, "error", err)
	}
}

// confirmReoffer takes the ACK of our 2xx to theirs, and reports whether it was for that.
func (l *Leg) confirmReoffer(ack *stack.Request) bool {
	l.mu.Lock()
	r := l.theirs
	if r == nil || r.body == nil || ack == nil || ack.CSeq() == nil || ack.CSeq().SeqNo != r.invite.CSeq().SeqNo {
		l.mu.Unlock()
		return false
	}
	r.repeat.Stop()
	l.theirs = nil
	l.mu.Unlock()
	l.post(Event{Kind: Acknowledged, Body: ack.Body()})
	return true
}

// Reoffer sends an INVITE in the dialog. ReofferAnswered or ReofferRejected follows;
// the answer is already acknowledged.
func (l *Leg) Reoffer(body []byte) error {
	l.mu.Lock()
	if l.state != confirmed || l.ours != nil || l.theirs != nil {
		l.mu.Unlock()
		return errPending
	}
	r := &reoffer{}
	l.ours = r
	l.mu.Unlock()
	req := l.request(stack.INVITE)
	req.AppendHeader(contactOf(l.contact, l.peer.Transport))
	req.AppendHeader(stack.NewHeader("Content-Type", "application/sdp"))
	req.SetBody(body)
	r.invite = req
	l.ua.running.Go(func() { l.follow(r) }) // ends with the transaction
	return nil
}

// follow turns the responses to our INVITE in the dialog into one event, and stays
// until the transaction ends.
func (l *Leg) follow(r *reoffer) {
	tx, err := l.ua.transactions.NewClientTransaction(l.ua.context(), r.invite)
	if err == nil {
		var again *stack.Request
		tx.OnRetransmission(func(res *stack.Response) {
			l.mu.Lock()
			ack := again
			l.mu.Unlock()
			if ack != nil {
				l.write(ack)
			}
		})
		if err = tx.Init(); err != nil {
			tx.Terminate()
		} else {
			l.followResponses(r, tx, &again)
			return
		}
	}
	l.settle(r, Event{Kind: ReofferRejected, Code: 500, Reason: "Not Sent", Err: notSent(err)})
}

func (l *Leg) followResponses(r *reoffer, tx *stack.ClientTx, again **stack.Request) {
	for {
		select {
		case res := <-tx.Responses():
			switch {
			case res.StatusCode < 200:
			case res.StatusCode < 300:
				l.mu.Lock()
				if contact := res.Contact(); contact != nil {
					l.target = *contact.Address.Clone()
				}
				l.mu.Unlock()
				ack := l.acknowledge(res)
				l.mu.Lock()
				*again = ack
				l.mu.Unlock()
				l.settle(r, Event{Kind: ReofferAnswered, Code: res.StatusCode, Body: description(res)})
			default:
				l.settle(r, Event{Kind: ReofferRejected, Code: res.StatusCode, Reason: res.Reason})
			}
		case <-tx.Done():
			l.settle(r, Event{Kind: ReofferRejected, Code: 408, Reason: "Request Timeout"})
			return
		case <-l.ua.done:
			return
		}
	}
}

// settle ends our INVITE in the dialog once, and tells the call how.
func (l *Leg) settle(r *reoffer, e Event) {
	l.mu.Lock()
	pending := l.ours == r
	if pending {
		l.ours = nil
	}
	gone := l.state == over
	l.mu.Unlock()
	if pending && !gone {
		l.post(e)
	}
}
