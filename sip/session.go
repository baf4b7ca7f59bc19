package sip

import (
	"strconv"
	"strings"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// session is a leg's session timer (RFC 4028): who refreshes the session, and when it is
// over if nobody does. A peer that does not know timers is asked by OPTIONS whether the
// dialog is still there, so that a lost BYE does not leave a call behind.
type session struct {
	interval time.Duration // agreed, or before that what we would have; 0 for none
	mine     time.Duration // what we take at least
	least    time.Duration // what both sides take at least
	keep     time.Duration // between two OPTIONS where there is no timer
	running  bool          // both sides agreed on the interval
	ours     bool          // we refresh
	theirs   bool          // the peer knows timers
	wants    string        // refresher that the peer's request names
	next     *time.Timer   // our refresh, or the next OPTIONS
	expiry   *time.Timer
	missed   int // OPTIONS in a row that could not be sent
}

// refreshTimer is what a message says of the session timer.
type refreshTimer struct {
	interval, least time.Duration
	refresher       string // uac, uas, or "" to leave it to the peer
	require         bool
}

// write adds it to a message.
func (t refreshTimer) write(msg stack.Message) {
	if t.interval == 0 {
		return
	}
	v := inSeconds(t.interval)
	if t.refresher != "" {
		v += ";refresher=" + t.refresher
	}
	msg.AppendHeader(stack.NewHeader("Session-Expires", v))
	if _, ok := msg.(*stack.Request); ok {
		msg.AppendHeader(stack.NewHeader("Min-SE", inSeconds(t.least)))
	}
	if t.require {
		msg.AppendHeader(stack.NewHeader("Require", "timer"))
	}
}

func inSeconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// offer makes ready the timer of an INVITE of ours.
func (s *session) offer(cfg Config) {
	s.interval, s.mine, s.least = *cfg.SessionExpires, cfg.MinSE, cfg.MinSE
	s.keep = s.interval / 2
}

// accept makes ready the timer of an INVITE that came in.
func (s *session) accept(req *stack.Request, cfg Config) {
	s.offer(cfg)
	s.renegotiate(req)
}

// renegotiate notes what a request of the peer's says of the timer (RFC 4028 §9).
func (s *session) renegotiate(req *stack.Request) {
	s.theirs = listed(req, "timer", "Supported") || listed(req, "timer", "Require")
	if least, ok := seconds(first(req, "Min-SE")); ok {
		s.least = max(s.mine, least)
	}
	interval, refresher, ok := sessionExpires(req)
	s.wants = refresher
	if ok && (s.interval == 0 || interval < s.interval) {
		s.interval = interval
	}
	if s.interval > 0 {
		s.interval = max(s.interval, s.least)
	}
}

// tooShort reports whether a request of a peer that knows timers wants a shorter session
// than we take (RFC 4028 §9).
func tooShort(req *stack.Request, least time.Duration) bool {
	interval, _, ok := sessionExpires(req)
	return ok && interval < least && listed(req, "timer", "Supported")
}

// answer settles the timer in a 2xx of ours: the peer refreshes if he can, unless he wants
// us to (RFC 4028 §9, table 2).
func (s *session) answer() refreshTimer {
	s.running = s.interval > 0 && s.theirs
	if !s.running {
		return refreshTimer{}
	}
	s.ours = s.wants == "uas"
	if s.ours {
		return refreshTimer{interval: s.interval, refresher: "uas"}
	}
	return refreshTimer{interval: s.interval, refresher: "uac", require: true}
}

// agree takes the peer's 2xx to a request of ours; ours says who refreshes if it does not.
func (s *session) agree(res *stack.Response, ours bool) {
	interval, refresher, ok := sessionExpires(res)
	s.running = ok && interval > 0
	if !s.running {
		s.ours = ours
		return
	}
	s.interval = max(interval, s.least)
	s.ours = refresher != "uas"
}

// timer is what a request of ours says: the one who refreshes goes on to.
func (s *session) timer() refreshTimer {
	t := refreshTimer{interval: s.interval, least: s.least}
	if s.running {
		t.refresher = "uas"
		if s.ours {
			t.refresher = "uac"
		}
	}
	return t
}

// lengthen takes a 422 and reports whether it asks for more than we offer.
func (s *session) lengthen(res *stack.Response) bool {
	least, ok := seconds(first(res, "Min-SE"))
	if !ok || least <= s.least && least <= s.interval {
		return false
	}
	s.least = least
	s.interval = max(s.interval, least)
	return true
}

func (s *session) stop() {
	stop(s.next)
	stop(s.expiry)
}

// arm sets the timers of a session that was just agreed on or refreshed (RFC 4028 §10).
// The caller holds mu.
func (l *Leg) arm() {
	s := &l.session
	s.stop()
	if !s.running {
		if s.keep > 0 {
			s.next = time.AfterFunc(s.keep, l.inquire)
		}
		return
	}
	s.expiry = time.AfterFunc(s.interval-min(32*time.Second, s.interval/3), l.expire)
	if s.ours {
		s.next = time.AfterFunc(s.interval/2, l.keepAlive)
	}
}

// expire ends a session that nobody refreshed.
func (l *Leg) expire() {
	l.mu.Lock()
	live := l.state == confirmed
	l.mu.Unlock()
	if live {
		l.post(Event{Kind: Expired})
	}
}

// keepAlive refreshes the session, by UPDATE if the peer takes that, else by an INVITE
// with the description that stands (RFC 4028 §7.4).
func (l *Leg) keepAlive() {
	l.mu.Lock()
	if l.state != confirmed {
		l.mu.Unlock()
		return
	}
	if l.ours != nil || l.theirs != nil { // which refreshes as well, if it comes to a 2xx
		l.session.next = time.AfterFunc(l.Backoff(), l.keepAlive)
		l.mu.Unlock()
		return
	}
	r := &reoffer{refreshes: true}
	l.ours = r
	d, method, body := l.dialog, stack.INVITE, l.sent
	if d.allows(stack.UPDATE) {
		method, body = stack.UPDATE, nil
	}
	l.mu.Unlock()
	l.offerAgain(r, d, method, body, nil)
}

// refreshed takes the outcome of our refresh. A description that came with it may be new.
func (l *Leg) refreshed(code int, res *stack.Response) {
	if code < 300 {
		if body := descriptionIn(res); len(body) > 0 {
			l.post(Event{Kind: Refreshed, Body: body})
		}
		return
	}
	again := l.Backoff()
	if code != 491 {
		again = 10 * time.Second // until the session expires
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == confirmed {
		l.session.next = time.AfterFunc(again, l.keepAlive)
	}
}

// A peer that cannot be sent to may be starting anew: it is asked so often again before it
// is taken to be gone.
const (
	maxMissed   = 5
	missedAfter = 30 * time.Second
)

// inquire asks a peer without timers whether the dialog is still there.
func (l *Leg) inquire() {
	l.mu.Lock()
	d, live := l.dialog, l.state == confirmed
	l.mu.Unlock()
	if !live {
		return
	}
	l.exchange(l.request(d, stack.OPTIONS), func(res *stack.Response) {
		code := res.StatusCode
		l.mu.Lock()
		switch notSent := code == 503 && res.Source() == ""; {
		case code == 408 || code == 481 || l.state != confirmed:
		case !notSent:
			l.session.missed = 0
			l.arm()
		case l.session.missed == maxMissed:
			code = 408
		default:
			l.session.missed++
			l.session.next = time.AfterFunc(missedAfter, l.inquire)
		}
		l.mu.Unlock()
		if code == 408 || code == 481 {
			l.gone(d, code)
		}
	})
}

// sessionExpires reads a Session-Expires header.
func sessionExpires(msg stack.Message) (interval time.Duration, refresher string, ok bool) {
	v, params, _ := strings.Cut(first(msg, "Session-Expires"), ";")
	interval, ok = seconds(v)
	ok = ok && interval > 0
	for _, p := range strings.Split(params, ";") {
		if name, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(strings.TrimSpace(name), "refresher") {
			refresher = strings.ToLower(strings.TrimSpace(v))
		}
	}
	return interval, refresher, ok
}
