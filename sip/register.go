package sip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// Registration is an address of record that calls are to reach us by (RFC 3261 §10).
type Registration struct {
	// Peer is where the registrar is. It is asked before each attempt, so it may
	// change; false is nowhere at present. Its address must belong to a trunk
	// (Handler.Trunk): else the answers are dropped as a stranger's.
	Peer func() (Peer, bool)
	// Registrar is the host of the request URI. Default: Domain.
	Registrar string
	// User and Domain are the address of record. Default of Domain: the peer's host.
	User, Domain string
	// Expires is asked for. Default: one hour.
	Expires time.Duration
	// Credentials meet the registrar's challenge. Default of their User: User.
	Credentials Credentials
}

const (
	defaultExpires = time.Hour

	// renewBefore is how long before its expiry a registration is renewed, or half
	// its time if that is less: a registrar that is silent for 64·T1 is asked once
	// more before calls stop to come.
	renewBefore = 2 * time.Minute
	// leastRenewal keeps a registrar that grants next to nothing from being flooded.
	leastRenewal = time.Second

	// After failures it is asked again after firstBackOff, then twice that each time
	// up to lastBackOff, a random half of it less (RFC 5626 §4.5).
	firstBackOff = 30 * time.Second
	lastBackOff  = 10 * time.Minute
	// A registrar may say itself when to come again, within these.
	leastRetryAfter = T2
	mostRetryAfter  = time.Hour

	// leaveTimeout is how long the registrar may take to let us go.
	leaveTimeout = 2 * time.Second
)

// Register keeps an address of record registered until the context ends, and then takes
// it back, for which it waits two seconds at most. It returns when that is done, or
// when the user agent is closed; it leaves no goroutine.
//
// State is told, in Register's goroutine, of each attempt's outcome and of an expiry
// that no attempt prevented. A failed renewal leaves the registration until it expires:
// registered then comes with an error.
func (ua *UA) Register(ctx context.Context, r Registration, state func(registered bool, until time.Time, err error)) {
	g := newRegistering(ua, r)
	for failures := 0; ctx.Err() == nil; {
		err := g.renew(ctx, g.expires)
		if ctx.Err() != nil || errors.Is(err, errClosed) {
			break
		}
		var wait time.Duration
		if err == nil {
			failures = 0
			wait = max(g.granted-min(g.granted/2, renewBefore), leastRenewal)
		} else {
			wait = backOff(failures, err)
			failures++
		}
		next := time.Now().Add(wait)
		state(g.registered(), g.until, err)
		if g.registered() && g.until.Before(next) {
			if !ua.sleep(ctx, time.Until(g.until)) {
				break
			}
			state(g.registered(), g.until, err)
		}
		if !ua.sleep(ctx, time.Until(next)) {
			break
		}
	}
	if ctx.Err() != nil && g.asked {
		// An attempt that the context ended is not waited for, as RFC 3261 §10.2 asks:
		// the number of this request tells the registrar that it is the later one.
		leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer cancel()
		err := g.renew(leave, 0)
		state(false, time.Time{}, err)
	}
}

// sleep reports whether it was not woken by the context's end or the user agent's.
func (ua *UA) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-ua.done:
	}
	return false
}

// refused is a final response other than 2xx to a REGISTER.
type refused struct {
	code       int
	retryAfter time.Duration // 0 for not said
	least      time.Duration // of a 423: what the registrar takes, if it is more than was asked for
	err        error         // why its challenge was not met
}

func (e *refused) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return fmt.Sprintf("answered %d", e.code)
}

func (e *refused) Unwrap() error { return e.err }

// backOff returns how long to wait after a failure that so many came before.
func backOff(failures int, err error) time.Duration {
	if r := (*refused)(nil); errors.As(err, &r) && r.retryAfter > 0 {
		return min(max(r.retryAfter, leastRetryAfter), mostRetryAfter)
	}
	most := min(firstBackOff<<min(failures, 10), lastBackOff)
	return most - rand.N(most/2)
}

// registering is one registration as it goes on: all its requests have one Call-ID and
// growing numbers (RFC 3261 §10.2). It belongs to Register's goroutine.
type registering struct {
	Registration
	ua      *UA
	auth    *authorizer
	callID  string
	tag     string
	seq     uint32
	expires time.Duration // to ask for: raised by a 423
	granted time.Duration // by the last 2xx
	until   time.Time     // when that is over; zero for not registered
	asked   bool          // a registrar may know us
}

func newRegistering(ua *UA, r Registration) *registering {
	r.Credentials.User = cmp.Or(r.Credentials.User, r.User)
	return &registering{
		Registration: r, ua: ua, auth: &authorizer{credentials: r.Credentials},
		callID: newTag(), tag: newTag(), expires: max(cmp.Or(r.Expires, defaultExpires), time.Second),
	}
}

// registered also forgets a registration that is over.
func (g *registering) registered() bool {
	if !time.Now().Before(g.until) {
		g.until = time.Time{}
	}
	return !g.until.IsZero()
}

// renew registers for that long, or takes the registration back for 0.
func (g *registering) renew(ctx context.Context, expires time.Duration) error {
	err := g.register(ctx, expires)
	if r := (*refused)(nil); errors.As(err, &r) && r.least > 0 { // RFC 3261 §10.2.8
		g.expires = r.least
		err = g.register(ctx, g.expires)
	}
	return err
}

func (g *registering) register(ctx context.Context, expires time.Duration) error {
	peer, ok := g.Peer()
	if !ok {
		return errNowhere
	}
	domain := cmp.Or(g.Domain, peer.Host)
	record := stack.Uri{Scheme: "sip", User: g.User, Host: domain}
	req, contact, err := g.ua.newOutside(outside{
		method: stack.REGISTER, peer: peer, target: stack.Uri{Scheme: "sip", Host: cmp.Or(g.Registrar, domain)},
		from: record, to: record, tag: g.tag, callID: g.callID, seq: g.seq + 1,
	})
	if err != nil {
		return err
	}
	seconds := strconv.Itoa(int(expires / time.Second))
	contact.Address.User = g.User
	contact.Params.Add("expires", seconds)
	req.AppendHeader(contact)
	req.AppendHeader(stack.NewHeader("Expires", seconds)) // registrars look at either
	if err := g.auth.authorize(req); err != nil {
		return err
	}
	g.asked = true
	sent := time.Now()
	res, seq, err := g.ua.ask(ctx, req, g.auth)
	g.seq = seq
	switch {
	case res == nil:
		return err
	case res.StatusCode >= 300:
		g.asked = g.registered()
		return refusal(res, err, expires)
	case expires == 0:
		return nil
	}
	granted := grantedBy(res, contact.Address, expires)
	if granted == 0 {
		g.until = time.Time{}
		return errNothingGranted
	}
	// The registrar counts from before his answer came: until is not too late.
	g.granted, g.until = granted, sent.Add(granted)
	return nil
}

var (
	errNowhere        = errors.New("no address of the registrar")
	errNothingGranted = errors.New("registered for no time at all")
)

func refusal(res *stack.Response, cause error, expires time.Duration) error {
	r := &refused{code: res.StatusCode, err: cause}
	r.retryAfter, _ = seconds(header(res, "Retry-After"))
	if least, ok := seconds(header(res, "Min-Expires")); ok && r.code == 423 && least > expires && expires > 0 {
		r.least = least
	}
	return r
}

// grantedBy returns how long a 2xx registers our Contact: what it says of that, or in its
// Expires, or what was asked for, which a registrar may shorten only (RFC 3261 §10.3).
//
// Other Contacts may be other phones', or ours as a registrar behind address translation
// rewrote it: if ours is not there, the soonest counts, which at worst is too soon.
func grantedBy(res *stack.Response, ours stack.Uri, asked time.Duration) time.Duration {
	granted := asked
	if d, ok := seconds(header(res, "Expires")); ok {
		granted = min(granted, d)
	}
	soonest := granted
	for _, h := range res.GetHeaders("Contact") {
		c, ok := h.(*stack.ContactHeader)
		if !ok {
			continue
		}
		value, _ := c.Params.Get("expires")
		d, said := seconds(value)
		if same(c.Address, ours) {
			if said {
				return min(asked, d)
			}
			return granted
		}
		if said {
			soonest = min(soonest, d)
		}
	}
	return soonest
}

// same compares what tells our Contacts apart (RFC 3261 §19.1.4).
func same(a, b stack.Uri) bool {
	return a.User == b.User && strings.EqualFold(a.Host, b.Host) && cmp.Or(a.Port, 5060) == cmp.Or(b.Port, 5060)
}

// seconds reads a number of seconds that more may follow: "120 (in maintenance);duration=60".
func seconds(value string) (time.Duration, bool) {
	end := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(value)
	}
	n, err := strconv.ParseUint(value[:end], 10, 32)
	return time.Duration(n) * time.Second, err == nil
}
