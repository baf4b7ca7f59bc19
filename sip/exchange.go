package sip

import (
	"errors"
	"strings"
	"sync"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// exchange sends a request of ours in the dialog, and again where the peer wants it
// otherwise, and hands over its final response, or ours for none. It does not wait.
func (l *Leg) exchange(req *stack.Request, then func(*stack.Response)) {
	l.ua.sending.Add(1)
	sent := sync.OnceFunc(func() { l.ua.sending.Add(-1) })
	l.ua.running.Go(func() { // ends with its transactions, 64·T1 each at most
		defer sent()
		l.authorize(req)
		for attempts := 1; ; attempts++ {
			var res *stack.Response
			err := l.reach(l.ua.context(), req)
			if err == nil {
				res, err = l.ua.exchange(l.ua.context(), req, sent)
			}
			switch {
			case l.ua.context().Err() != nil: // nobody is left to be told
				return
			case err != nil:
				l.ua.log.Debug("request not answered", "method", req.Method, "error", err)
				then(failure(req, err))
				return
			}
			again := l.again(req, res)
			if again == nil || attempts == maxAttempts {
				then(res)
				return
			}
			req = again
		}
	})
}

// authorize gives a request the credentials that the peer asked for before.
func (l *Leg) authorize(req *stack.Request) {
	if l.auth == nil {
		return
	}
	if err := l.auth.authorize(req); err != nil {
		l.ua.log.Warn("no credentials for a trunk's peer", "trunk", l.trunk, "error", err)
	}
}

// meet makes the request that answers a challenge, nil where there is none to be met. It
// may wait for the disk: the password is read at use.
func (l *Leg) meet(req *stack.Request, res *stack.Response) *stack.Request {
	if l.auth == nil {
		return nil
	}
	again, err := l.auth.challenged(req, res)
	switch {
	case errors.Is(err, ErrRealm): // Credentials.Heard was told
		return nil
	case err != nil:
		l.ua.log.Warn("challenge not met", "trunk", l.trunk, "error", err)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.localSeq++
	again.CSeq().SeqNo = l.localSeq
	l.referrals.again(req.CSeq().SeqNo, l.localSeq)
	return again
}

// Request is a request in the dialog whose meaning is the call's business: INFO, REFER,
// NOTIFY, MESSAGE.
type Request struct {
	Method      string
	Headers     []Header
	ContentType string
	Body        []byte
	// For is the other party's request that this one passes on, nil for none.
	For *Request
	// Event is what the NOTIFYs about a REFER that came have to say.
	Event string

	once    sync.Once
	respond func(code int, reason string, headers []Header)
	late    *time.Timer // answers in place of the call
}

// Reply answers a request that came by an event. What is not answered within 32 s gets a
// 500, and a second answer is not sent.
func (r *Request) Reply(code int, reason string, headers ...Header) {
	r.late.Stop()
	r.once.Do(func() { r.respond(code, reason, headers) })
}

// Header returns the first header of that name, or "".
func (r *Request) Header(name string) string {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// asked are the headers of such requests that the call gets besides those that pass.
var asked = []string{"Refer-To", "Referred-By", "Refer-Sub", "Event", "Subscription-State", "Info-Package", "Content-Disposition"}

// handleRequest hands the call a request of the peer's.
func (l *Leg) handleRequest(req *stack.Request, tx *stack.ServerTx) {
	r := &Request{Method: string(req.Method), Headers: l.ua.passing(req), Body: req.Body()}
	for _, name := range asked {
		for _, v := range values(req, name) {
			r.Headers = append(r.Headers, Header{name, v})
		}
	}
	l.refer(r, req.CSeq().SeqNo)
	if ct := req.ContentType(); ct != nil {
		r.ContentType = ct.Value()
	}
	r.respond = func(code int, reason string, headers []Header) {
		var more []stack.Header
		for _, h := range headers {
			more = append(more, stack.NewHeader(h.Name, h.Value))
		}
		l.ua.respond(tx, req, code, reason, more...)
	}
	// sipgo keeps a transaction that is never answered for ever.
	r.late = time.AfterFunc(confirmTimeout, func() { r.once.Do(func() { r.respond(500, "Server Internal Error", nil) }) })
	l.post(Event{Kind: Requested, Request: r})
}

// Ask sends a request in the dialog; Replied follows, with a 408 where nobody answers.
func (l *Leg) Ask(r *Request) {
	l.mu.Lock()
	d, live := l.dialog, l.state != over && l.state != cancelling
	if l.state == proceeding && len(l.branches) > 0 {
		d = l.branches[len(l.branches)-1]
	}
	live = live && d.remoteTag != ""
	l.mu.Unlock()
	if !live {
		l.ua.running.Go(func() { l.post(Event{Kind: Replied, Request: r, Code: 481, Reason: "No Dialog"}) })
		return
	}
	req := l.request(d, stack.RequestMethod(r.Method))
	if r.Method == "REFER" || r.Method == "NOTIFY" { // they may set a target (RFC 6665 §4.1.2.3)
		req.AppendHeader(contactOf(l.contact, l.Peer().Transport))
	}
	if r.Method == "REFER" && r.For != nil {
		l.mu.Lock()
		l.referrals.pass(req.CSeq().SeqNo, r.For.Event)
		l.mu.Unlock()
	}
	for _, h := range r.Headers {
		req.AppendHeader(stack.NewHeader(h.Name, h.Value))
	}
	if len(r.Body) > 0 {
		req.AppendHeader(stack.NewHeader("Content-Type", r.ContentType))
		req.SetBody(r.Body)
	}
	l.exchange(req, func(res *stack.Response) {
		e := Event{Kind: Replied, Request: r, Code: res.StatusCode, Reason: res.Reason, Headers: l.ua.passing(res)}
		l.post(e)
		if e.Code == 481 && r.Method != "NOTIFY" { // that one's is about the subscription alone (RFC 5057 §5.1)
			l.gone(d, e.Code)
		}
	})
}

// Allows reports whether the peer may be asked a method: it said that it takes it, or said
// nothing of what it takes, which says nothing (RFC 3261 §20.5).
func (l *Leg) Allows(method string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.dialog
	if l.state == proceeding && len(l.branches) > 0 {
		d = l.branches[len(l.branches)-1]
	}
	return d.allow == "" || d.allows(stack.RequestMethod(method))
}
