package sip

import (
	"errors"
	"math/rand/v2"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// reoffer is an offer in the dialog: by INVITE (RFC 3261 §14), by UPDATE (RFC 3311), or in
// a PRACK. It is theirs that we have not answered for good, or ours that they have not.
// There is one of each at most.
type reoffer struct {
	request    *stack.Request
	server     *stack.ServerTx // of theirs
	isAnswered bool            // theirs has our 2xx
	repeat     *time.Timer     // of that, until its ACK
	refreshes  bool            // ours only keeps the session alive
}

// handleReoffer takes a request in the dialog that may change the session. The call
// answers an offer with AnswerReoffer or RejectReoffer. One that only refreshes the
// session is answered here.
func (l *Leg) handleReoffer(d *dialog, req *stack.Request, tx *stack.ServerTx) {
	offer := descriptionIn(req)
	l.mu.Lock()
	early := req.Method == stack.UPDATE && !d.agreed
	switch {
	case l.state == over || l.state == cancelling: // since it was asked for
		l.mu.Unlock()
		l.ua.respond(tx, req, 481, "Call/Transaction Does Not Exist")
	case len(req.Body()) > 0 && !mayHaveOffer(req):
		l.mu.Unlock()
		l.ua.respond(tx, req, 415, "Unsupported Media Type", stack.NewHeader("Accept", "application/sdp"))
	case tooShort(req, l.session.mine):
		l.mu.Unlock()
		l.ua.respond(tx, req, 422, "Session Interval Too Small", stack.NewHeader("Min-SE", inSeconds(l.session.mine)))
	case req.Method == stack.UPDATE && len(offer) == 0:
		l.refresh(d, req.Contact(), header(req, "Allow"))
		l.session.renegotiate(req)
		timer := l.session.answer()
		l.arm()
		l.mu.Unlock()
		res := l.responseTo(req, 200, "OK", nil)
		timer.write(res)
		l.give(tx, res)
	case l.theirs != nil, req.IsInvite() && l.state != confirmed, early && !l.isOffering():
		l.mu.Unlock()
		// The one before has no final response, or no ACK: RFC 3261 §14.2, RFC 3311 §5.2.
		l.ua.respond(tx, req, 500, "Request Pending", stack.NewHeader("Retry-After", "3"))
	case l.ours != nil, early: // it met ours: the same
		l.mu.Unlock()
		l.ua.respond(tx, req, 491, "Request Pending")
	default:
		l.theirs = &reoffer{request: req, server: tx}
		l.refresh(d, req.Contact(), header(req, "Allow"))
		l.mu.Unlock()
		if req.IsInvite() {
			l.ua.respond(tx, req, 100, "Trying")
		}
		l.post(Event{Kind: Reoffered, Body: offer, Headers: l.ua.passing(req)})
	}
}

// isOffering reports whether our first offer awaits its answer: it is in our INVITE, or in a
// reliable response to one that had none. The caller holds mu.
func (l *Leg) isOffering() bool {
	return !l.isCaller || len(l.Offer()) == 0 && l.reliable.describes()
}

// give sends a response that has nothing to tell the call.
func (l *Leg) give(tx *stack.ServerTx, res *stack.Response) {
	if err := deliver(tx, res); err != nil {
		l.ua.log.Debug("response not sent", "code", res.StatusCode, "error", err)
	}
}

// AnswerReoffer answers the request of a Reoffered event with 200 and repeats that, if it
// was an INVITE, until the ACK, whose session description, if it has one, comes as
// Acknowledged.
func (l *Leg) AnswerReoffer(body []byte, headers ...Header) error {
	l.mu.Lock()
	r := l.theirs
	if r == nil || r.isAnswered || l.state == over {
		l.mu.Unlock()
		return ErrOver
	}
	r.isAnswered = true
	stood := l.sent
	if len(body) > 0 {
		l.sent = body
	}
	var timer refreshTimer
	if r.request.Method != stack.PRACK { // which says nothing of it
		l.session.renegotiate(r.request)
		timer = l.session.answer()
	}
	if l.state == confirmed {
		l.arm()
	}
	if !r.request.IsInvite() {
		l.theirs = nil
	}
	l.mu.Unlock()
	res := l.responseTo(r.request, 200, "OK", body, headers...)
	timer.write(res)
	if err := deliver(r.server, res); err != nil {
		l.mu.Lock()
		l.theirs, l.sent = nil, stood
		l.mu.Unlock()
		if errors.Is(err, stack.ErrTransactionCanceled) {
			return ErrOver // the peer withdrew its offer
		}
		r.server.Terminate()
		return err
	}
	if !r.request.IsInvite() {
		l.answerDeferred()
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.theirs == r {
		l.repeatReoffer(r, res, T1, time.Now().Add(confirmTimeout))
	}
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
		l.give(r.server, res)
	})
}

// RejectReoffer refuses the request of a Reoffered event: the session stays as it was.
func (l *Leg) RejectReoffer(code int, reason string, headers ...Header) {
	l.mu.Lock()
	r := l.theirs
	if r == nil || r.isAnswered {
		l.mu.Unlock()
		return
	}
	l.theirs = nil
	l.mu.Unlock()
	res := l.responseTo(r.request, code, reason, nil, headers...)
	if code == 500 {
		res.AppendHeader(stack.NewHeader("Retry-After", "3"))
	}
	l.give(r.server, res)
	l.answerDeferred()
}

// confirmReoffer takes the ACK of our 2xx to theirs, and reports whether it was for that.
func (l *Leg) confirmReoffer(ack *stack.Request) bool {
	l.mu.Lock()
	r := l.theirs
	if r == nil || !r.isAnswered || ack.CSeq() == nil || ack.CSeq().SeqNo != r.request.CSeq().SeqNo {
		l.mu.Unlock()
		return false
	}
	stop(r.repeat)
	l.theirs = nil
	l.mu.Unlock()
	l.post(Event{Kind: Acknowledged, Body: descriptionIn(ack)})
	return true
}

// Reoffer sends an offer in the dialog: by INVITE once the call is answered, before that
// by UPDATE, if the peer takes that. ReofferAnswered or ReofferRejected follows; the
// answer is already acknowledged.
func (l *Leg) Reoffer(body []byte, headers ...Header) error {
	l.mu.Lock()
	d, method := l.dialog, stack.INVITE
	if l.state == proceeding {
		if len(l.branches) > 0 {
			d = l.branches[len(l.branches)-1]
		}
		method = stack.UPDATE
	}
	if l.ours != nil || l.theirs != nil || l.state != confirmed && !(l.state == proceeding && d.agreed && d.allows(stack.UPDATE)) {
		l.mu.Unlock()
		return errPending
	}
	r := &reoffer{}
	l.ours = r
	l.mu.Unlock()
	l.offerAgain(r, d, method, body, headers)
	return nil
}

// offerAgain sends the request of r, whose place as ours is taken.
func (l *Leg) offerAgain(r *reoffer, d *dialog, method stack.RequestMethod, body []byte, headers []Header) {
	req := l.request(d, method)
	req.AppendHeader(contactOf(l.contact, l.Peer().Transport))
	l.mu.Lock()
	timer := l.session.timer()
	l.mu.Unlock()
	timer.write(req)
	for _, h := range headers {
		req.AppendHeader(stack.NewHeader(h.Name, h.Value))
	}
	if len(body) > 0 {
		req.AppendHeader(stack.NewHeader("Content-Type", "application/sdp"))
		req.SetBody(body)
	}
	r.request = req
	if method == stack.UPDATE {
		l.exchange(req, func(res *stack.Response) { l.takeReoffer(r, d, body, res) })
		return
	}
	l.ua.running.Go(func() { // ends with the transaction
		again := req
		for left := maxAttempts - 1; again != nil; left-- {
			again = l.follow(r, d, again, body, left > 0)
		}
	})
}

// pendTime is how long an INVITE in the dialog may be without a final response, or news of
// one: as long as a proxy waits at least (RFC 3261 §16.6 step 11).
const pendTime = 3*time.Minute + time.Second

// follow turns the responses to our INVITE in the dialog into one event, and stays
// until the transaction ends. It returns the INVITE that a rejection asks for, if there may
// be one more.
func (l *Leg) follow(r *reoffer, d *dialog, req *stack.Request, body []byte, more bool) (again *stack.Request) {
	l.authorize(req)
	var tx *stack.ClientTx
	err := l.reach(l.ua.context(), req)
	if err == nil {
		tx, err = l.ua.transactions.NewClientTransaction(l.ua.context(), req)
	}
	switch {
	case l.ua.context().Err() != nil: // nobody is left to be told
		return nil
	case err != nil:
		l.ua.log.Debug("request not sent", "method", req.Method, "error", notSent(err))
		l.takeReoffer(r, d, body, failure(req, err))
		return nil
	}
	var acked *stack.Request
	tx.OnRetransmission(func(*stack.Response) {
		l.mu.Lock()
		ack := acked
		l.mu.Unlock()
		if ack != nil {
			l.write(ack.Clone()) // sipgo writes into what it sends
		}
	})
	if err := tx.Init(); err != nil {
		tx.Terminate()
		l.takeReoffer(r, d, body, failure(req, err))
		return nil
	}
	late := time.NewTimer(pendTime)
	defer late.Stop()
	for {
		select {
		case res := <-tx.Responses():
			switch {
			case res.StatusCode == 100:
			case res.StatusCode < 200:
				late.Reset(pendTime)
			case res.StatusCode < 300:
				late.Stop()
				ack := l.acknowledge(d, req, res)
				l.mu.Lock()
				acked = ack
				l.mu.Unlock()
				l.takeReoffer(r, d, body, res)
			default:
				late.Stop()
				if more {
					again = l.again(req, res)
				}
				if again != nil {
					return again
				}
				l.takeReoffer(r, d, body, res)
			}
		case <-late.C:
			l.cancelRequest(req, tx, hangup{})
		case <-tx.Done():
			l.takeReoffer(r, d, body, failure(req, unanswered(tx.Err())))
			return nil
		case <-l.ua.done:
			return nil
		}
	}
}

// takeReoffer ends our offer in the dialog once, and tells the call how.
func (l *Leg) takeReoffer(r *reoffer, d *dialog, body []byte, res *stack.Response) {
	code, reason := res.StatusCode, res.Reason
	l.mu.Lock()
	pending := l.ours == r && l.state != over
	if l.ours == r {
		l.ours = nil
	}
	if pending && code < 300 {
		l.refresh(d, res.Contact(), header(res, "Allow"))
		if len(body) > 0 {
			l.sent = body
		}
		l.session.agree(res, l.session.ours)
		if l.state == confirmed {
			l.arm()
		}
	}
	l.mu.Unlock()
	switch {
	case !pending:
	case code == 408 || code == 481:
		if !r.refreshes {
			l.post(Event{Kind: ReofferRejected, Code: code, Reason: reason})
		}
		l.gone(d, code)
	case r.refreshes:
		l.refreshed(code, res)
	case code < 300:
		l.post(Event{Kind: ReofferAnswered, Code: code, Body: descriptionIn(res), Headers: l.ua.passing(res)})
	default:
		l.post(Event{Kind: ReofferRejected, Code: code, Reason: reason})
	}
}

// Backoff returns how long to wait before an offer of ours is sent again that met one of
// the peer's: who made the Call-ID waits longer (RFC 3261 §14.1, RFC 6141 §4).
func (l *Leg) Backoff() time.Duration {
	const step = 10 * time.Millisecond
	if l.isCaller {
		return rand.N[time.Duration](200) * step
	}
	return 2100*time.Millisecond + rand.N[time.Duration](191)*step
}
