package sip

import (
	"context"
	"errors"
	"fmt"

	stack "github.com/emiago/sipgo/sip"
)

// outside is a request outside any dialog (RFC 3261 §8.1.1).
type outside struct {
	method           stack.RequestMethod
	peer             Peer
	target, from, to stack.Uri // a from without a host is at ours
	tag, callID      string
	seq              uint32
}

// newOutside makes the request, and the Contact that it may have added.
func (ua *UA) newOutside(o outside) (*stack.Request, *stack.ContactHeader, error) {
	bound, known, err := ua.local(o.peer)
	if err != nil {
		return nil, nil, err
	}
	if o.from.Host == "" {
		o.from.Host = known.Addr().String()
	}
	req := stack.NewRequest(o.method, o.target)
	callID, hops := stack.CallIDHeader(o.callID), stack.MaxForwardsHeader(70)
	req.AppendHeader(&stack.FromHeader{Address: o.from, Params: stack.HeaderParams{{K: "tag", V: o.tag}}})
	req.AppendHeader(&stack.ToHeader{Address: o.to})
	req.AppendHeader(&callID)
	req.AppendHeader(&stack.CSeqHeader{SeqNo: o.seq, MethodName: o.method})
	req.AppendHeader(&hops)
	ua.sign(req)
	ua.address(req, o.peer, bound, known)
	req.SetDestination(o.peer.Addr.String())
	req.SetBody(nil)
	return req, contactOf(known, o.peer.Transport), nil
}

// ask sends a request other than INVITE and returns its final response, after meeting
// what challenges come if there is an authorizer. With a challenge that is not met it
// returns both the 401 or 407 and why. Seq is the number of the last request sent.
func (ua *UA) ask(ctx context.Context, req *stack.Request, a *authorizer) (res *stack.Response, seq uint32, err error) {
	for {
		seq = req.CSeq().SeqNo
		res, err = ua.exchange(ctx, req, func() {})
		if err != nil || a == nil || res.StatusCode != 401 && res.StatusCode != 407 {
			return res, seq, err
		}
		next, err := a.challenged(req, res)
		if err != nil {
			return res, seq, fmt.Errorf("answered %d: %w", res.StatusCode, err)
		}
		req = next
	}
}

// exchange is one transaction: a request other than INVITE and its final response. It tells
// when the request has left us.
func (ua *UA) exchange(ctx context.Context, req *stack.Request, sent func()) (*stack.Response, error) {
	if err := ua.reach(ctx, req); err != nil {
		return nil, err
	}
	lost, stop := ua.routes.watch(req.Destination())
	defer stop()
	tx, err := ua.transactions.Request(ctx, req)
	sent()
	switch {
	case ctx.Err() != nil:
		if err == nil {
			tx.Terminate()
		}
		return nil, ctx.Err()
	case err != nil:
		return nil, notSent(err)
	}
	// Late copies of the response belong to nobody and are dropped.
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done(): // 64·T1 without a final response (RFC 3261 §17.1.2.2)
			return nil, unanswered(tx.Err())
		case err := <-lost:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ua.done:
			return nil, errClosed
		}
	}
}

// failure is the response that a request without one is taken to have: 408 where nobody
// answered, 503 where it could not be sent (RFC 3261 §8.1.3.1).
func failure(req *stack.Request, err error) *stack.Response {
	if errors.Is(err, ErrNoResponse) {
		return stack.NewResponseFromRequest(req, 408, "Request Timeout", nil)
	}
	return stack.NewResponseFromRequest(req, 503, "Service Unavailable", nil)
}

// unanswered says what became of a request without a final response: only the network's
// word is that it was not sent. All else is silence, also a transaction ended by us, who
// waited for long enough, and one that does not say yet how it ended.
func unanswered(err error) error {
	if errors.Is(err, stack.ErrTransactionTransport) {
		return notSent(err)
	}
	return ErrNoResponse
}

var errClosed = errors.New("user agent is closed")
