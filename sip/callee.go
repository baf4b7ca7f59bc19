package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
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
	// Credentials meet the peer's challenges; without, a challenge is a rejection.
	Credentials *Credentials
	// Partner is the leg whose party calls; see Bridge.
	Partner *Leg
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
		events: make(chan Event, eventsQueue), deaf: make(chan struct{}), localSeq: 1, sent: in.Body, dialog: &dialog{},
	}
	if in.Credentials != nil {
		l.auth = &authorizer{credentials: *in.Credentials}
	}
	l.session.offer(ua.cfg)
	if in.Partner != nil {
		Bridge(in.Partner, l)
	}
	l.dialog.target = targetOf(in)
	l.invite = l.newInvite(in)
	ua.register(l)
	ua.running.Go(l.dial) // ends with the transaction
	return l, nil
}

// targetOf is the request URI: the number at the peer, or a URI that is no number, such
// as urn:service:sos, as it came.
func targetOf(in Invite) (target stack.Uri) {
	if strings.HasPrefix(in.Called, "urn:") && stack.ParseUri(in.Called, &target) == nil {
		return target
	}
	target = stack.Uri{Scheme: "sip", User: escape(in.Called), Host: in.Peer.Host}
	if port := in.Peer.Addr.Port(); port != in.Peer.defaultPort() {
		target.Port = int(port)
	}
	if in.Peer.Transport != "udp" {
		target.UriParams = stack.HeaderParams{{K: "transport", V: in.Peer.Transport}}
	}
	return target
}

func (l *Leg) newInvite(in Invite) *stack.Request {
	req := stack.NewRequest(stack.INVITE, *l.dialog.target.Clone())
	from := &stack.FromHeader{DisplayName: in.From.Display, Address: stack.Uri{Scheme: "sip", User: escape(in.From.User), Host: in.From.Host}}
	if from.Address.Host == "" {
		from.Address.Host = l.contact.Addr().String()
	}
	from.Params.Add("tag", l.localTag)
	to := &stack.ToHeader{Address: *l.dialog.target.Clone()}
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
	l.session.timer().write(req)
	for _, h := range in.Headers {
		req.AppendHeader(stack.NewHeader(h.Name, h.Value))
	}
	l.identify(req)
	req.AppendHeader(stack.NewHeader("Content-Type", "application/sdp"))
	l.ua.address(req, l.peer, l.bound, l.contact)
	req.SetDestination(l.peer.Addr.String())
	req.SetBody(in.Body)
	return req
}

// dial sends our INVITE, and again where the peer wants it otherwise, and follows it to
// its end. Over TCP it may have to connect first: the call does not wait for that.
func (l *Leg) dial() {
	for again := l.invite; again != nil; {
		again = l.attempt(again)
	}
}

// maxAttempts is how many requests a peer is sent that asks for changes to them:
// credentials for two realms, one of them stale, and a longer session.
const maxAttempts = 6

// attempt sends an INVITE and follows it to its end. It returns the one that is to be
// sent after it, nil for none.
func (l *Leg) attempt(invite *stack.Request) (again *stack.Request) {
	ctx, cancel := context.WithTimeout(l.ua.context(), l.ua.cfg.TryTimeout)
	defer cancel()
	l.enlarge(invite)
	if err := l.ua.reach(ctx, invite); err != nil {
		l.fail(err)
		return nil
	}
	lost, stop := l.ua.routes.watch(invite.Destination())
	defer stop()
	tx, err := l.ua.transactions.NewClientTransaction(ctx, invite)
	if err != nil {
		l.fail(notSent(err))
		return nil
	}
	l.mu.Lock()
	l.client, l.invite, l.provoked = tx, invite, false
	given := l.state != proceeding
	l.mu.Unlock()
	if given { // up, before it was sent
		tx.Terminate()
		l.end()
		return nil
	}
	tx.OnRetransmission(l.acknowledgeAgain)
	if err := tx.Init(); err != nil {
		tx.Terminate()
		l.fail(notSent(err))
		return nil
	}
	return l.watch(tx, lost)
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

// watch turns the responses to our INVITE into events. After a 2xx it stays until
// the transaction ends (64·T1, RFC 6026 §7.2), since sipgo blocks without a reader.
func (l *Leg) watch(tx *stack.ClientTx, lost <-chan error) (again *stack.Request) {
	silence := time.NewTimer(l.ua.cfg.TryTimeout)
	defer silence.Stop()
	for {
		select {
		case res := <-tx.Responses():
			silence.Stop()
			lost = nil // it is there
			if again = l.handleResponse(res); again != nil {
				return again // sipgo's transaction acknowledges the rejection by itself
			}
		case err := <-lost:
			l.fail(err)
			tx.Terminate()
			return nil
		case <-silence.C: // what comes yet is cancelled, or hung up (RFC 3261 §9.1, §13.2.2.4)
			l.post(Event{Kind: Failed, Err: ErrNoResponse})
			l.Hangup(408, "Request Timeout")
		case <-tx.Done():
			l.fail(tx.Err())
			return nil
		case <-l.ua.done:
			return nil
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

func (l *Leg) handleResponse(res *stack.Response) (again *stack.Request) {
	if res.To() == nil { // of no dialog: RFC 3261 §8.1.1.2
		return nil
	}
	l.learn(res)
	switch {
	case res.StatusCode < 200:
		l.handleProvisional(res)
	case res.StatusCode < 300:
		l.handleAnswer(res)
	default:
		if again = l.retry(res); again != nil {
			return again
		}
		l.ua.metrics.response("INVITE", res.StatusCode, l.trunk)
		if l.end() {
			l.post(l.rejection(res))
		}
	}
	return nil
}

// rejection is the event of a final response that is no success.
func (l *Leg) rejection(res *stack.Response) Event {
	e := Event{Kind: Rejected, Code: res.StatusCode, Reason: res.Reason, Headers: l.ua.passing(res)}
	switch {
	case res.StatusCode < 400:
		for _, h := range res.GetHeaders("Contact") {
			if contact, ok := h.(*stack.ContactHeader); ok && slices.Contains(schemes, contact.Address.Scheme) {
				e.Contacts = append(e.Contacts, user(&contact.Address))
			}
		}
	case res.StatusCode == 401 || res.StatusCode == 407:
		for _, name := range []string{"WWW-Authenticate", "Proxy-Authenticate"} {
			for _, v := range values(res, name) {
				e.Headers = append(e.Headers, Header{name, v})
			}
		}
	}
	return e
}

// retry makes the INVITE that a rejection asks for, nil for none.
func (l *Leg) retry(res *stack.Response) *stack.Request {
	l.mu.Lock()
	invite, attempts := l.invite, l.localSeq
	live := l.state == proceeding
	l.mu.Unlock()
	if !live || attempts >= maxAttempts {
		return nil
	}
	return l.again(invite, res)
}

// again makes the request that a rejection asks for: with credentials (RFC 3261 §22), or
// with a session that lasts longer (RFC 4028 §7.4); nil for none.
func (l *Leg) again(req *stack.Request, res *stack.Response) *stack.Request {
	switch res.StatusCode {
	case 401, 407:
		return l.meet(req, res)
	case 422:
		return l.longer(req, res)
	}
	return nil
}

// longer makes the request for a peer that found our session too short.
func (l *Leg) longer(req *stack.Request, res *stack.Response) *stack.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first(req, "Session-Expires") == "" || !l.session.lengthen(res) {
		return nil
	}
	again := renewed(req)
	l.localSeq++
	again.CSeq().SeqNo = l.localSeq
	for _, name := range []string{"Session-Expires", "Min-SE"} {
		again.RemoveHeader(name)
	}
	l.session.timer().write(again)
	return again
}

// renewed returns a copy of a request for a transaction of its own.
func renewed(req *stack.Request) *stack.Request {
	again := req.Clone()
	again.Via().Params.Add("branch", stack.GenerateBranch())
	return again
}

// maxBranches is how many branches may answer an INVITE of ours, early or for good. Each
// costs a dialog, and one that is late an ACK and a BYE; no fork has as many.
const maxBranches = 64

func (l *Leg) handleProvisional(res *stack.Response) {
	l.mu.Lock()
	state, first := l.state, !l.provoked
	l.provoked = true
	var d *dialog
	var branch int
	tag, _ := res.To().Params.Get("tag")
	full := tag != "" && l.dialogOf(tag) == nil && len(l.branches) >= maxBranches
	if tag != "" && res.StatusCode > 100 && !full {
		d, branch = l.branch(res)
	}
	l.mu.Unlock()
	switch {
	case state == cancelling && first:
		l.cancel()
	case full:
		l.ua.metrics.branches.Inc()
	case state != proceeding || res.StatusCode == 100:
	case d == nil || l.acknowledgeReliable(d, res):
		l.post(Event{Kind: Progressed, Code: res.StatusCode, Reason: res.Reason, Body: descriptionIn(res), Branch: branch, Headers: l.ua.passing(res)})
	}
}

// handleAnswer acknowledges the 2xx at once: we always sent the offer.
func (l *Leg) handleAnswer(res *stack.Response) {
	l.mu.Lock()
	was, why := l.state, hangup{}
	if was == proceeding {
		l.state = confirmed
	} else {
		l.state = over
	}
	if l.hangUp != nil {
		why = *l.hangUp
	}
	var branch int
	l.dialog, branch = l.branch(res)
	l.acks = map[string]*stack.Request{l.dialog.remoteTag: nil}
	// The route set of the dialog is the 2xx's: RFC 3261 §13.2.2.4.
	l.dialog.set(res.Contact(), reversed(res.GetHeaders("Record-Route")), header(res, "Allow"))
	l.dialog.agreed = true
	l.branches = nil
	d := l.dialog
	l.mu.Unlock()
	ack := l.acknowledge(d, l.invite, res)
	l.mu.Lock()
	l.acks[d.remoteTag] = ack
	if was == proceeding {
		l.session.agree(res, true)
		l.arm()
	}
	l.mu.Unlock()
	l.ua.metrics.response("INVITE", res.StatusCode, l.trunk)
	if was == proceeding {
		l.post(Event{Kind: Answered, Code: res.StatusCode, Reason: res.Reason, Body: descriptionIn(res), Branch: branch, Headers: l.ua.passing(res)})
		return
	}
	l.bye(why) // the 200 crossed our CANCEL: RFC 3261 §9.1
}

// acknowledge sends the ACK of a 2xx, a request of its own (RFC 3261 §13.2.2.4).
func (l *Leg) acknowledge(d *dialog, invite *stack.Request, res *stack.Response) *stack.Request {
	ack := l.request(d, stack.ACK)
	ack.CSeq().SeqNo = res.CSeq().SeqNo
	repeatCredentials(invite, ack)
	l.write(ack)
	return ack
}

func (l *Leg) write(ack *stack.Request) {
	if err := l.reach(l.ua.context(), ack); err != nil {
		l.ua.log.Debug("ACK not sent", "error", err)
		return
	}
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
	ack, known := l.acks[tag]
	taken, full := len(l.acks) > 0, len(l.acks) >= maxBranches
	if taken && !known && !full {
		l.acks[tag] = nil
	}
	l.mu.Unlock()
	switch {
	case ack != nil:
		l.write(ack.Clone()) // sipgo writes into what it sends
		return
	case known || !taken: // the first copy is still being taken
		return
	case full:
		l.ua.metrics.branches.Inc()
		return
	}
	late := &dialog{remoteTag: tag, target: *l.invite.Recipient.Clone()}
	late.set(res.Contact(), reversed(res.GetHeaders("Record-Route")), "")
	ack = l.acknowledge(late, l.invite, res)
	l.mu.Lock()
	l.acks[tag] = ack
	l.mu.Unlock()
	l.byeTo(late, hangup{}, func() {})
}

// cancel gives up the leg's INVITE, and says why where the other party said so.
func (l *Leg) cancel() {
	l.mu.Lock()
	invite, client, h := l.invite, l.client, *l.hangUp
	l.mu.Unlock()
	l.cancelRequest(invite, client, h)
}

// cancelRequest sends the CANCEL of an INVITE of ours (RFC 3261 §9.1). The INVITE itself
// ends with a 487, with a 2xx that crossed, or after 64·T1 without either.
func (l *Leg) cancelRequest(invite *stack.Request, client *stack.ClientTx, h hangup) {
	time.AfterFunc(confirmTimeout, client.Terminate)
	req := stack.NewRequest(stack.CANCEL, invite.Recipient)
	req.AppendHeader(invite.Via().Clone())
	for _, name := range []string{"From", "To", "Call-ID", "Route"} {
		stack.CopyHeaders(name, invite, req)
	}
	hops := stack.MaxForwardsHeader(70)
	req.AppendHeader(&stack.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: stack.CANCEL})
	req.AppendHeader(&hops)
	if len(h.headers) > 0 {
		h.explain(req)
	}
	req.SetTransport(invite.Transport())
	req.SetDestination(invite.Destination())
	req.Laddr = invite.Laddr
	req.SetBody(nil)
	l.exchange(req, func(*stack.Response) {})
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
