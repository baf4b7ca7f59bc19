package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// Invite is an INVITE of ours.
type Invite struct {
	Peer   Peer
	Trunk  string
	Called string // user part of the request URI and of To
	From   Party
	// Headers are sent as they are, after our own.
	Headers []Header
	// MaxForwards is what is left of the hops (RFC 3261 §8.1.1.6).
	MaxForwards int
	Body        []byte // the offer
}

// Invite sends an INVITE and returns its leg. The error is that we have no socket for
// the peer; whatever else goes wrong, and what the peer says, comes as events.
func (ua *UA) Invite(in Invite) (*Leg, error) {
	bound, known, err := ua.local(in.Peer)
	if err != nil {
		return nil, err
	}
	l := &Leg{
		ua: ua, peer: in.Peer, bound: bound, contact: known, trunk: in.Trunk,
		callID: newTag() + "@" + known.Addr().String(), localTag: newTag(),
		events: make(chan Event, eventsQueue), localSeq: 1,
	}
	l.target = targetOf(in)
	l.invite = l.newInvite(in)
	ua.register(l)
	ua.running.Go(l.dial) // ends with the transaction
	return l, nil
}

// targetOf is the request URI: the number at the peer, or a URI that is no number, such
// as urn:service:sos, as it came.
func targetOf(in Invite) (target stack.Uri) {
	if strings.Contains(in.Called, ":") && stack.ParseUri(in.Called, &target) == nil {
		return target
	}
	target = stack.Uri{Scheme: "sip", User: in.Called, Host: in.Peer.Host}
	if port := in.Peer.Addr.Port(); port != 5060 {
		target.Port = int(port)
	}
	if in.Peer.Transport != "udp" {
		target.UriParams = stack.HeaderParams{{K: "transport", V: in.Peer.Transport}}
	}
	return target
}

// dial sends our INVITE and follows it to its end. Over TCP it may have to connect
// first: the call does not wait for that.
func (l *Leg) dial() {
	ctx, cancel := context.WithTimeout(l.ua.context(), l.ua.cfg.TryTimeout)
	tx, err := l.ua.transactions.NewClientTransaction(ctx, l.invite)
	cancel()
	if err != nil {
		l.fail(notSent(err))
		return
	}
	l.mu.Lock()
	l.client = tx
	given := l.state != proceeding
	l.mu.Unlock()
	if given { // up, before it was sent
		tx.Terminate()
		l.end()
		return
	}
	tx.OnRetransmission(l.acknowledgeAgain)
	if err := tx.Init(); err != nil {
		tx.Terminate()
		l.fail(notSent(err))
		return
	}
	l.watch()
}

// ErrNotSent is wrapped by a Failed event's error when the INVITE did not leave us.
var ErrNotSent = errors.New("not sent")

// notSent keeps of sipgo's error what the network said: the rest quotes the request,
// and numbers must not be logged.
func notSent(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("%w: %w", ErrNotSent, op)
	}
	return ErrNotSent
}

func (l *Leg) newInvite(in Invite) *stack.Request {
	req := stack.NewRequest(stack.INVITE, *l.target.Clone())
	from := &stack.FromHeader{DisplayName: in.From.Display, Address: stack.Uri{Scheme: "sip", User: in.From.User, Host: in.From.Host}}
	if from.Address.Host == "" {
		from.Address.Host = l.contact.Addr().String()
	}
	from.Params.Add("tag", l.localTag)
	to := &stack.ToHeader{Address: *l.target.Clone()}
	to.Address.Port, to.Address.UriParams = 0, nil
	callID := stack.CallIDHeader(l.callID)
	hops := stack.MaxForwardsHeader(uint32(in.MaxForwards))
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&callID)
	req.AppendHeader(&stack.CSeqHeader{SeqNo: l.localSeq, MethodName: stack.INVITE})
	req.AppendHeader(&hops)
	req.AppendHeader(contactOf(l.contact, l.peer.Transport))
	l.ua.sign(req)
	for _, h := range in.Headers {
		req.AppendHeader(stack.NewHeader(h.Name, h.Value))
	}
	req.AppendHeader(stack.NewHeader("Content-Type", "application/sdp"))
	l.ua.address(req, l.peer, l.bound, l.contact)
	req.SetDestination(l.peer.Addr.String())
	req.SetBody(in.Body)
	return req
}

// watch turns the responses to our INVITE into events. After a 2xx it stays until
// the transaction ends (64·T1, RFC 6026 §7.2), since sipgo blocks without a reader.
func (l *Leg) watch() {
	silence := time.NewTimer(l.ua.cfg.TryTimeout)
	defer silence.Stop()
	for {
		select {
		case res := <-l.client.Responses():
			silence.Stop()
			l.handleResponse(res)
		case <-silence.C:
			l.fail(ErrNoResponse)
			l.client.Terminate()
			return
		case <-l.client.Done():
			l.fail(l.client.Err())
			return
		case <-l.ua.done:
			return
		}
	}
}

// fail reports that no final response will come, unless one did.
func (l *Leg) fail(err error) {
	l.mu.Lock()
	was := l.state
	if was == proceeding || was == cancelling {
		l.state = over
	}
	l.mu.Unlock()
	switch was {
	case proceeding:
		l.forget()
		l.post(Event{Kind: Failed, Err: err})
	case cancelling:
		l.forget()
	}
}

func (l *Leg) handleResponse(res *stack.Response) {
	if res.To() == nil { // of no dialog: RFC 3261 §8.1.1.2
		return
	}
	switch {
	case res.StatusCode < 200:
		l.handleProvisional(res)
	case res.StatusCode < 300:
		l.handleAnswer(res)
	default:
		l.ua.metrics.response("INVITE", res.StatusCode, l.trunk)
		if l.end() {
			l.post(Event{Kind: Rejected, Code: res.StatusCode, Reason: res.Reason})
		}
	}
}

func (l *Leg) handleProvisional(res *stack.Response) {
	l.mu.Lock()
	state, first := l.state, !l.provoked
	l.provoked = true
	l.mu.Unlock()
	switch {
	case state == cancelling && first:
		l.cancel()
	case state == proceeding && res.StatusCode > 100:
		l.post(Event{Kind: Progressed, Code: res.StatusCode, Reason: res.Reason, Body: description(res)})
	}
}

// handleAnswer acknowledges the 2xx at once: we always sent the offer.
func (l *Leg) handleAnswer(res *stack.Response) {
	tag, _ := res.To().Params.Get("tag")
	l.mu.Lock()
	was := l.state
	if was == proceeding {
		l.state = confirmed
	} else {
		l.state = over
	}
	l.learn(tag, res.Contact(), reversed(res.GetHeaders("Record-Route")))
	l.mu.Unlock()
	ack := l.acknowledge(res)
	l.mu.Lock()
	l.ack = ack
	l.mu.Unlock()
	l.ua.metrics.response("INVITE", res.StatusCode, l.trunk)
	if was == proceeding {
		l.post(Event{Kind: Answered, Code: res.StatusCode, Reason: res.Reason, Body: description(res)})
		return
	}
	l.bye(0, "") // the 200 crossed our CANCEL: RFC 3261 §9.1
}

// acknowledge sends the ACK of a 2xx, a request of its own (RFC 3261 §13.2.2.4).
func (l *Leg) acknowledge(res *stack.Response) *stack.Request {
	ack := l.request(stack.ACK)
	ack.CSeq().SeqNo = res.CSeq().SeqNo
	l.write(ack)
	return ack
}

func (l *Leg) write(ack *stack.Request) {
	if err := l.ua.transport.WriteMsg(ack); err != nil {
		l.ua.log.Debug("ACK not sent", "error", err)
	}
}

// acknowledgeAgain takes a 2xx after the first: the same one again, since our ACK
// was lost, or another branch's, which is acknowledged and ended (RFC 3261 §13.2.2.4).
func (l *Leg) acknowledgeAgain(res *stack.Response) {
	if res.To() == nil {
		return
	}
	tag, _ := res.To().Params.Get("tag")
	l.mu.Lock()
	ack, known := l.ack, l.remoteTag
	l.mu.Unlock()
	if tag == known || known == "" {
		if ack != nil { // else the first copy is still being taken
			l.write(ack)
		}
		return
	}
	branch := &Leg{
		ua: l.ua, peer: l.peer, bound: l.bound, contact: l.contact, trunk: l.trunk,
		callID: l.callID, localTag: l.localTag, invite: l.invite, client: l.client, localSeq: l.invite.CSeq().SeqNo,
	}
	branch.learn(tag, res.Contact(), reversed(res.GetHeaders("Record-Route")))
	branch.acknowledge(res)
	l.ua.send(branch.request(stack.BYE), func() {})
}

// cancel sends the CANCEL of our INVITE (RFC 3261 §9.1). The INVITE itself ends
// with a 487, with a 2xx that crossed, or after 64·T1 without either.
func (l *Leg) cancel() {
	time.AfterFunc(confirmTimeout, l.client.Terminate)
	req := stack.NewRequest(stack.CANCEL, l.invite.Recipient)
	req.AppendHeader(l.invite.Via().Clone())
	stack.CopyHeaders("From", l.invite, req)
	stack.CopyHeaders("To", l.invite, req)
	stack.CopyHeaders("Call-ID", l.invite, req)
	hops := stack.MaxForwardsHeader(70)
	req.AppendHeader(&stack.CSeqHeader{SeqNo: l.invite.CSeq().SeqNo, MethodName: stack.CANCEL})
	req.AppendHeader(&hops)
	req.SetTransport(l.invite.Transport())
	req.SetDestination(l.invite.Destination())
	req.Laddr = l.invite.Laddr
	req.SetBody(nil)
	l.ua.send(req, func() {})
}

// context ends with the user agent.
func (ua *UA) context() context.Context { return doneContext{context.Background(), ua.done} }

// doneContext is a context that ends with a channel.
type doneContext struct {
	context.Context
	done <-chan struct{}
}

func (c doneContext) Done() <-chan struct{} { return c.done }

func (c doneContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

func description(res *stack.Response) []byte {
	if ct := res.ContentType(); ct != nil {
		body, _ := offerIn(ct.Value(), res.Body())
		return body
	}
	return nil
}

func reversed(headers []stack.Header) []stack.Header {
	r := make([]stack.Header, len(headers))
	for i, h := range headers {
		r[len(headers)-1-i] = h
	}
	return r
}
