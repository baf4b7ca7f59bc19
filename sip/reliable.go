package sip

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// reliable is how a caller leg's provisional responses reach the peer (RFC 3262 §3): one
// is on its way at a time, repeated until its PRACK, and the others wait for it.
//
//	Progress ─▶ queue ─ transmit ─ T1, 2·T1 … ─ PRACK ─▶ the next, and in the end the 2xx
type reliable struct {
	offered, required bool // the peer can, or wants all of them so
	sequence          uint32
	queue             []*provisional // the first is on its way
	answer            func()         // the 2xx that waits for the queue, or for our answer to an offer
}

type provisional struct {
	res       *stack.Response
	sequence  uint32
	describes bool
	repeat    *time.Timer
}

// accept notes what the peer's INVITE says of 100rel.
func (r *reliable) accept(invite *stack.Request) {
	r.required = listed(invite, "100rel", "Require")
	r.offered = r.required || listed(invite, "100rel", "Supported")
	r.sequence = 1 + rand.Uint32N(1<<31-1) // RFC 3262 §3
}

// wants reports whether a provisional response goes reliably: every one where the peer
// requires it, else those that carry a description, which must not be lost.
func (r *reliable) wants(code int, body []byte) bool {
	return code > 100 && (r.required || r.offered && len(body) > 0)
}

// describes reports whether a description waits for its PRACK: a 2xx may not overtake it
// (RFC 3262 §5).
func (r *reliable) describes() bool {
	for _, p := range r.queue {
		if p.describes {
			return true
		}
	}
	return false
}

// stop ends all of it. The response that is on its way may still get its PRACK (RFC 3262
// §3).
func (r *reliable) stop() {
	for _, p := range r.queue {
		stop(p.repeat)
	}
	r.queue, r.answer = r.queue[:min(len(r.queue), 1)], nil
}

// Progress sends a provisional response, with a session description for early media or
// none (RFC 3261 §13.3.1.1), reliably where the peer can.
func (l *Leg) Progress(code int, reason string, body []byte, headers ...Header) error {
	res := l.responseTo(l.invite, code, reason, body, headers...)
	l.mu.Lock()
	if l.state != proceeding {
		l.mu.Unlock()
		return nil // the event that ended it says so
	}
	if len(body) > 0 {
		l.sent = body
	}
	r := &l.reliable
	if !r.wants(code, body) {
		l.mu.Unlock()
		return l.provide(res)
	}
	p := &provisional{res: res, sequence: r.sequence, describes: len(body) > 0}
	r.sequence++
	res.AppendHeader(stack.NewHeader("Require", "100rel"))
	res.AppendHeader(stack.NewHeader("RSeq", strconv.FormatUint(uint64(p.sequence), 10)))
	r.queue = append(r.queue, p)
	first := len(r.queue) == 1
	if first {
		l.repeatProvisional(p, T1, time.Now().Add(confirmTimeout))
	}
	l.mu.Unlock()
	if first {
		return l.provide(res)
	}
	return nil
}

// provide sends a provisional response. That the leg came to its end meanwhile is not an
// error. A rejection that overtook the response is put back, as deliver does with the 487.
func (l *Leg) provide(res *stack.Response) error {
	err := deliver(l.server, res)
	l.mu.Lock()
	live, rejected := l.state == proceeding, l.rejected
	l.mu.Unlock()
	if rejected != nil && err == nil {
		l.server.Respond(rejected) // says the same again
	}
	if !live {
		return nil
	}
	return err
}

// repeatProvisional sends a reliable response again after the interval, and then at twice
// that, until its PRACK. A peer that never sends it is given up. The caller holds mu.
func (l *Leg) repeatProvisional(p *provisional, interval time.Duration, until time.Time) {
	p.repeat = time.AfterFunc(interval, func() {
		l.mu.Lock()
		if l.state != proceeding || len(l.reliable.queue) == 0 || l.reliable.queue[0] != p {
			l.mu.Unlock()
			return
		}
		if !time.Now().Before(until) {
			l.reliable.stop()
			l.mu.Unlock()
			l.post(Event{Kind: Unconfirmed})
			return
		}
		l.repeatProvisional(p, min(2*interval, max(time.Until(until), 0)), until)
		l.mu.Unlock()
		if err := l.provide(p.res); err != nil {
			l.ua.log.Debug("provisional response not repeated", "error", err)
		}
	})
}

// handlePrack takes the peer's PRACK (RFC 3262 §3, §5). A description in it answers the
// offer that our response made, or offers anew.
func (l *Leg) handlePrack(d *dialog, req *stack.Request, tx *stack.ServerTx) {
	sequence, invite, ok := parseRAck(header(req, "RAck"))
	l.mu.Lock()
	r := &l.reliable
	if !ok || len(r.queue) == 0 || r.queue[0].sequence != sequence || l.invite.CSeq().SeqNo != invite {
		l.mu.Unlock()
		l.ua.respond(tx, req, 481, "No Such Provisional Response")
		return
	}
	p := r.queue[0]
	stop(p.repeat)
	r.queue = r.queue[1:]
	l.mu.Unlock()
	switch body := descriptionIn(req); {
	case len(body) == 0:
		l.acknowledgePrack(d, p, req, tx)
	case p.describes && len(l.invite.Body()) == 0: // the answer to our offer
		l.acknowledgePrack(d, p, req, tx)
		l.post(Event{Kind: Acknowledged, Body: body})
	default:
		l.acknowledged(d, p)
		l.handleReoffer(d, req, tx)
	}
	l.provideNext()
}

func (l *Leg) acknowledgePrack(d *dialog, p *provisional, req *stack.Request, tx *stack.ServerTx) {
	l.acknowledged(d, p)
	l.ua.respond(tx, req, 200, "OK")
}

func (l *Leg) acknowledged(d *dialog, p *provisional) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.agreed = d.agreed || p.describes
}

// provideNext sends the 2xx that waited for the last reliable response, or the next one.
func (l *Leg) provideNext() {
	l.answerDeferred()
	l.mu.Lock()
	if l.state != proceeding || len(l.reliable.queue) == 0 {
		l.mu.Unlock()
		return
	}
	next := l.reliable.queue[0]
	l.repeatProvisional(next, T1, time.Now().Add(confirmTimeout))
	l.mu.Unlock()
	if err := l.provide(next.res); err != nil {
		l.ua.log.Debug("provisional response not sent", "error", err)
	}
}

// mustWait reports whether a 2xx would overtake a description of ours that the peer has not
// acknowledged, or our answer to an offer of the peer's. The caller holds mu.
func (l *Leg) mustWait() bool { return l.reliable.describes() || l.theirs != nil }

// answerDeferred sends the 2xx that waited, if there is one and it need not wait longer.
func (l *Leg) answerDeferred() {
	var answer func()
	l.mu.Lock()
	if !l.mustWait() {
		answer, l.reliable.answer = l.reliable.answer, nil
	}
	l.mu.Unlock()
	if answer != nil {
		answer()
	}
}

// parseRAck reads a RAck: our RSeq, the INVITE's CSeq and its method.
func parseRAck(v string) (sequence, invite uint32, ok bool) {
	fields := strings.Fields(v)
	if len(fields) != 3 || fields[2] != string(stack.INVITE) {
		return 0, 0, false
	}
	s, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return 0, 0, false
	}
	return uint32(s), uint32(n), true
}

// acknowledgeReliable sends the PRACK of a reliable provisional response to our INVITE,
// and reports whether the response is news: one that was repeated, or came before its
// turn, is not (RFC 3262 §4).
func (l *Leg) acknowledgeReliable(d *dialog, res *stack.Response) (fresh bool) {
	if !listed(res, "100rel", "Require") {
		return true
	}
	sequence, err := strconv.ParseUint(strings.TrimSpace(header(res, "RSeq")), 10, 32)
	if err != nil || sequence == 0 {
		return true // not reliable after all: taken as it would be without
	}
	l.mu.Lock()
	if d.rseq != 0 && uint32(sequence) != d.rseq+1 || l.state != proceeding {
		l.mu.Unlock()
		return false
	}
	d.rseq = uint32(sequence)
	d.agreed = d.agreed || len(descriptionIn(res)) > 0
	l.mu.Unlock()
	req := l.request(d, stack.PRACK)
	req.AppendHeader(stack.NewHeader("RAck", fmt.Sprintf("%d %d INVITE", sequence, res.CSeq().SeqNo)))
	l.exchange(req, func(*stack.Response) {})
	return true
}
