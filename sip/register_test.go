package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/sip/siptest"
)

// registrar is the peer as a registrar, and what Register tells.
type registrar struct {
	*world
	began  time.Time
	states chan told
	leave  context.CancelFunc
	done   chan struct{}
}

type told struct {
	registered bool
	until      time.Duration // from began; 0 for none
	err        error
}

// registering starts a registration and ends it with the test, which must have left none.
func registeringInBubble(t *testing.T, r Registration, test func(w *registrar)) {
	t.Helper()
	inBubble(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.Context())
		reg := &registrar{world: w, began: time.Now(), states: make(chan told, 100), leave: cancel, done: make(chan struct{})}
		if r.Peer == nil {
			r.Peer = func() (Peer, bool) { return pbxPeer(), true }
		}
		r.User, r.Domain = "bewaard", "carrier.example"
		go func() { // ends with the context
			defer close(reg.done)
			w.ua.Register(ctx, r, func(registered bool, until time.Time, err error) {
				s := told{registered: registered, err: err}
				if !until.IsZero() {
					s.until = until.Sub(reg.began)
				}
				reg.states <- s
			})
		}()
		test(reg)
		cancel()
		<-reg.done
	})
}

// grant answers with our Contact and that expiry.
func (w *registrar) grant(register siptest.Message, seconds int) {
	w.pbx.ReplyWith(register, "200 OK", fmt.Sprintf("Contact: <sip:other@203.0.113.1>;expires=7, \"we, ourselves\" <sip:bewaard@192.0.2.1:5060>;q=0.5;expires=%d\r\n", seconds))
}

func (w *registrar) told(registered bool, until time.Duration, want error) {
	w.Helper()
	select {
	case s := <-w.states:
		if s.registered != registered || s.until.Round(time.Second) != until || !errors.Is(s.err, want) || want == nil && s.err != nil {
			w.Errorf("got registered %v, until %v, error %v, want %v, %v, %v", s.registered, s.until, s.err, registered, until, want)
		}
	case <-time.After(time.Minute):
		w.Errorf("got told nothing, want %v, %v, %v", registered, until, want)
	}
}

// failed expects to be told of an error that says so.
func (w *registrar) failed(registered bool, want string) {
	w.Helper()
	select {
	case s := <-w.states:
		if s.registered != registered || s.err == nil || !strings.Contains(s.err.Error(), want) {
			w.Errorf("got registered %v, error %v, want %v, %s", s.registered, s.err, registered, want)
		}
	case <-time.After(time.Minute):
		w.Errorf("got told nothing, want %s", want)
	}
}

// unregistered takes the request that ends a registration.
func (w *registrar) unregistered() {
	w.Helper()
	w.leave()
	last := w.pbx.Expect("REGISTER ")
	if !strings.HasSuffix(last.Header("Contact"), ";expires=0") || last.Header("Expires") != "0" {
		w.Errorf("got Contact %s, Expires %s, want 0", last.Header("Contact"), last.Header("Expires"))
	}
	w.pbx.ReplyWith(last, "200 OK", "")
	w.told(false, 0, nil)
	<-w.done
}

// within fails unless that long has passed, give or take, since from.
func (w *registrar) within(from, at time.Time, least, most time.Duration) {
	w.Helper()
	if d := at.Sub(from); d < least || d > most {
		w.Errorf("got %v, want %v to %v", d, least, most)
	}
}

// A registration is renewed two minutes before it is over, with one Call-ID and growing
// numbers, and taken back at the end.
func TestRegister(t *testing.T) {
	registeringInBubble(t, Registration{Registrar: "reg.carrier.example"}, func(w *registrar) {
		first := w.pbx.Expect("REGISTER sip:reg.carrier.example SIP/2.0")
		got := []string{first.Header("To"), first.Header("Contact"), first.Header("Expires"), first.Header("CSeq"), first.Header("Max-Forwards")}
		want := []string{"<sip:bewaard@carrier.example>", "<sip:bewaard@192.0.2.1:5060>;expires=3600", "3600", "1 REGISTER", "70"}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("want -, got +\n%s", diff)
		}
		if from := first.Header("From"); !strings.HasPrefix(from, "<sip:bewaard@carrier.example>;tag=") {
			w.Errorf("got From %s", from)
		}
		w.grant(first, 3600)
		w.told(true, time.Hour, nil)
		w.pbx.Silent(58*time.Minute - time.Second)
		second := w.pbx.Expect("REGISTER ")
		w.within(first.At, second.At, 58*time.Minute, 58*time.Minute)
		if second.Header("Call-ID") != first.Header("Call-ID") || second.Header("CSeq") != "2 REGISTER" {
			w.Errorf("got Call-ID %s, CSeq %s, want %s, 2", second.Header("Call-ID"), second.Header("CSeq"), first.Header("Call-ID"))
		}
		w.grant(second, 3600)
		w.told(true, 118*time.Minute, nil)
		w.unregistered()
	})
}

// What the registrar shortens is renewed at half its time; it may say so in our Contact,
// in Expires or in a Contact that it rewrote.
func TestRegisterShortened(t *testing.T) {
	registeringInBubble(t, Registration{}, func(w *registrar) {
		last := w.pbx.Expect("REGISTER ")
		w.grant(last, 60)
		w.told(true, time.Minute, nil)
		next := w.pbx.Expect("REGISTER ")
		w.within(last.At, next.At, 30*time.Second, 30*time.Second)

		w.pbx.ReplyWith(next, "200 OK", "Contact: <sip:bewaard@192.0.2.1>\r\nExpires: 40\r\n")
		w.told(true, 70*time.Second, nil)
		last, next = next, w.pbx.Expect("REGISTER ")
		w.within(last.At, next.At, 20*time.Second, 20*time.Second)

		w.pbx.ReplyWith(next, "200 OK", "Contact: <sip:bewaard@203.0.113.1:6000>;expires=100\r\n")
		w.told(true, 150*time.Second, nil)
		last, next = next, w.pbx.Expect("REGISTER ")
		w.within(last.At, next.At, 50*time.Second, 50*time.Second)

		w.grant(next, 100_000) // more than was asked for
		w.told(true, 100*time.Second+time.Hour, nil)
		w.unregistered()
	})
}

// A challenge is met, by SHA-256 rather than MD5; the renewal is not challenged, and an
// outworn nonce costs one request more.
func TestRegisterChallenged(t *testing.T) {
	registeringInBubble(t, Registration{Credentials: Credentials{Password: password("secret")}}, func(w *registrar) {
		first := w.pbx.Expect("REGISTER ")
		if got := first.Header("Authorization"); got != "" {
			w.Errorf("got Authorization %s before a challenge", got)
		}
		w.pbx.ReplyWith(first, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=MD5, qop=\"auth\"\r\n"+
			"WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=SHA-256, qop=\"auth\"\r\n")
		second := w.pbx.Expect("REGISTER ")
		if c := w.credentials(second, "Authorization", "secret"); c.Algorithm != "SHA-256" || c.Nc != 1 {
			w.Errorf("got %s, count %d, want SHA-256, 1", c.Algorithm, c.Nc)
		}
		if second.Header("CSeq") != "2 REGISTER" || second.Header("Via") == first.Header("Via") || second.Header("Call-ID") != first.Header("Call-ID") {
			w.Errorf("got CSeq %s, Via %s, want 2 and another branch", second.Header("CSeq"), second.Header("Via"))
		}
		w.grant(second, 60)
		w.told(true, time.Minute, nil)

		renewal := w.pbx.Expect("REGISTER ")
		if c := w.credentials(renewal, "Authorization", "secret"); c.Nc != 2 || c.Nonce != "1" || renewal.Header("CSeq") != "3 REGISTER" {
			w.Errorf("got nonce %s, count %d, CSeq %s, want 1, 2, 3", c.Nonce, c.Nc, renewal.Header("CSeq"))
		}
		w.pbx.ReplyWith(renewal, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", stale=true, algorithm=SHA-256, qop=\"auth\"\r\n")
		again := w.pbx.Expect("REGISTER ")
		if c := w.credentials(again, "Authorization", "secret"); c.Nc != 1 || c.Nonce != "2" {
			w.Errorf("got nonce %s, count %d, want 2, 1", c.Nonce, c.Nc)
		}
		w.grant(again, 60)
		w.told(true, 90*time.Second, nil)
		w.unregistered()
	})
}

// A proxy's challenge and the registrar's own are both met.
func TestRegisterByProxy(t *testing.T) {
	registeringInBubble(t, Registration{Credentials: Credentials{User: "bewaard", Password: password("secret")}}, func(w *registrar) {
		w.pbx.ReplyWith(w.pbx.Expect("REGISTER "), "407 Proxy Authentication Required", "Proxy-Authenticate: Digest realm=\"p\", nonce=\"1\"\r\n")
		w.pbx.ReplyWith(w.pbx.Expect("REGISTER "), "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"2\"\r\n")
		third := w.pbx.Expect("REGISTER ")
		w.credentials(third, "Proxy-Authorization", "secret")
		w.credentials(third, "Authorization", "secret")
		w.grant(third, 3600)
		w.told(true, time.Hour, nil)
		w.unregistered()
	})
}

// A wrong password is shown once, then not before the back-off is over; the file that it
// is in may be put right meanwhile.
func TestRegisterWithWrongPassword(t *testing.T) {
	var right atomic.Bool
	file := func() (string, error) {
		if right.Load() {
			return "secret", nil
		}
		return "wrong", nil
	}
	registeringInBubble(t, Registration{Credentials: Credentials{Password: file}}, func(w *registrar) {
		for i := range 2 {
			w.pbx.ReplyWith(w.pbx.Expect("REGISTER "), "401 Unauthorized", fmt.Sprintf("WWW-Authenticate: Digest realm=\"r\", nonce=\"%d\"\r\n", i))
		}
		w.told(false, 0, ErrRejected)
		w.pbx.Silent(firstBackOff/2 - time.Second)
		right.Store(true)
		w.pbx.ReplyWith(w.pbx.Expect("REGISTER "), "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"5\"\r\n")
		last := w.pbx.Expect("REGISTER ")
		w.credentials(last, "Authorization", "secret")
		w.granted(last)
	})
}

// A registrar that finds the time too brief gets what it takes, from then on.
func TestRegisterTooBrief(t *testing.T) {
	registeringInBubble(t, Registration{Expires: time.Minute}, func(w *registrar) {
		w.pbx.ReplyWith(w.pbx.Expect("REGISTER "), "423 Interval Too Brief", "Min-Expires: 600\r\n")
		again := w.pbx.Expect("REGISTER ")
		if again.Header("Expires") != "600" || !strings.HasSuffix(again.Header("Contact"), ";expires=600") {
			w.Errorf("got Expires %s, Contact %s, want 600", again.Header("Expires"), again.Header("Contact"))
		}
		w.pbx.ReplyWith(again, "423 Interval Too Brief", "Min-Expires: 10\r\n")
		w.failed(false, "answered 423")
		later := w.pbx.Expect("REGISTER ")
		if later.Header("Expires") != "600" {
			w.Errorf("got Expires %s, want 600 still", later.Header("Expires"))
		}
		w.granted(later)
	})
}

// granted grants an hour and leaves.
func (w *registrar) granted(register siptest.Message) {
	w.Helper()
	w.grant(register, 3600)
	if s := <-w.states; !s.registered || s.err != nil {
		w.Errorf("got %+v, want registered", s)
	}
	w.unregistered()
}

// Failures are tried again after 30 s, doubling to 10 min, a random half of it less; a
// registrar that says Retry-After is obeyed.
func TestRegisterBacksOff(t *testing.T) {
	registeringInBubble(t, Registration{}, func(w *registrar) {
		last := w.pbx.Expect("REGISTER ")
		for _, most := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
			w.pbx.ReplyWith(last, "403 Forbidden", "")
			w.failed(false, "answered 403")
			next := w.pbx.ExpectWithin(most, "REGISTER ")
			w.within(last.At, next.At, most/2, most)
			last = next
		}
		w.pbx.ReplyWith(last, "503 Service Unavailable", "Retry-After: 90 (in maintenance)\r\n")
		w.failed(false, "answered 503")
		w.pbx.Silent(89 * time.Second)
		w.granted(w.pbx.Expect("REGISTER "))
	})
}

// A registrar that moves to where nobody answers leaves us registered until the expiry,
// which is told when it comes; once he is back, we are registered again.
func TestRegistrarGone(t *testing.T) {
	var where atomic.Pointer[Peer]
	here, moved := pbxPeer(), Peer{Transport: "udp", Host: "pbx.example", Addr: netip.MustParseAddrPort("192.0.2.77:5060")} // where nobody is
	where.Store(&here)
	find := func() (Peer, bool) {
		if p := where.Load(); p != nil {
			return *p, true
		}
		return Peer{}, false
	}
	registeringInBubble(t, Registration{Peer: find}, func(w *registrar) {
		w.grant(w.pbx.Expect("REGISTER "), 240)
		w.told(true, 4*time.Minute, nil)
		where.Store(&moved)
		w.pbx.Silent(2*time.Minute + time.Second) // the renewal goes there
		w.told(true, 4*time.Minute, ErrNoResponse)
		where.Store(nil)
		for { // attempts that find no address
			s := <-w.states
			if !errors.Is(s.err, errNowhere) {
				w.Errorf("got error %v, want %v", s.err, errNowhere)
			}
			if !s.registered {
				break
			}
		}
		w.within(w.began, time.Now(), 4*time.Minute, 4*time.Minute)

		where.Store(&here)
		w.granted(w.pbx.ExpectWithin(lastBackOff, "REGISTER "))
	})
}

// A registrar that does not answer the last request holds us up for two seconds; one that
// never took us is not asked to let us go.
func TestUnregisterUnanswered(t *testing.T) {
	registeringInBubble(t, Registration{}, func(w *registrar) {
		w.grant(w.pbx.Expect("REGISTER "), 3600)
		w.told(true, time.Hour, nil)
		left := time.Now()
		w.leave()
		<-w.done
		w.within(left, time.Now(), 2*time.Second, 2*time.Second)
		w.told(false, 0, context.DeadlineExceeded)
	})
	registeringInBubble(t, Registration{}, func(w *registrar) {
		w.pbx.ReplyWith(w.pbx.Expect("REGISTER "), "404 Not Found", "")
		w.failed(false, "answered 404")
		w.leave()
		<-w.done
		w.pbx.Silent(time.Minute)
	})
}

// An attempt that the end comes upon is taken back, in case it arrived.
func TestUnregisterUnderway(t *testing.T) {
	registeringInBubble(t, Registration{}, func(w *registrar) {
		w.pbx.Expect("REGISTER ")
		w.unregistered()
	})
}

// The registrar takes us back challenged too.
func TestUnregisterChallenged(t *testing.T) {
	registeringInBubble(t, Registration{Credentials: Credentials{Password: password("secret")}}, func(w *registrar) {
		w.grant(w.pbx.Expect("REGISTER "), 3600)
		w.told(true, time.Hour, nil)
		w.leave()
		w.pbx.ReplyWith(w.pbx.Expect("REGISTER "), "401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\"\r\n")
		last := w.pbx.Expect("REGISTER ")
		w.credentials(last, "Authorization", "secret")
		if last.Header("Expires") != "0" {
			w.Errorf("got Expires %s, want 0", last.Header("Expires"))
		}
		w.pbx.ReplyWith(last, "200 OK", "")
		w.told(false, 0, nil)
	})
}

// The end of the user agent ends a registration without its context.
func TestRegisterOnClosedAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := siptest.NewNetwork()
		ua := New(Config{}, &handler{legs: make(chan *Leg, 1)}, slog.New(slog.DiscardHandler), nil)
		ua.ServePacket(network.Listen(ourAddr))
		done := make(chan struct{})
		go func() { // ends with the user agent
			defer close(done)
			ua.Register(t.Context(), Registration{Peer: func() (Peer, bool) { return pbxPeer(), true }, User: "bewaard"},
				func(registered bool, _ time.Time, err error) {
					t.Errorf("got told %v, %v, want nothing", registered, err)
				})
		}()
		time.Sleep(time.Second)
		if err := ua.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// A registration that is granted for no time is none, and a number of seconds may have
// something after it, or be none.
func TestGranted(t *testing.T) {
	registeringInBubble(t, Registration{}, func(w *registrar) {
		w.grant(w.pbx.Expect("REGISTER "), 0)
		w.told(false, 0, errNothingGranted)
	})
	for value, want := range map[string]time.Duration{"60": time.Minute, "60;x=1": time.Minute, "4294967295": 4294967295 * time.Second, "4294967296": -1, "": -1, "x": -1} {
		d, ok := seconds(value)
		if !ok {
			d = -1
		}
		if d != want {
			t.Errorf("%q: got %v, want %v", value, d, want)
		}
	}
}
