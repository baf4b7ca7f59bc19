package call

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/sip/siptest"
	"github.com/bewaard/bewaard/sip/trunk"
)

// An answer with codecs that nobody offered reaches the caller without them.
func TestAnswerHasOnlyWhatWasOffered(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		answer := b.pbx.Reply(toPBX, "200 OK", strings.Replace(answeredWith, "AVP 8\r\n", "AVP 18 8 0\r\n", 1))
		b.pbx.Expect("ACK ")
		ok := b.carrier.Expect("SIP/2.0 200")
		wantBody(t, ok, "m=audio 20000 RTP/AVP 8")
		calling(b.carrier, invite, ok).ack("")
		b.over(called(b.pbx, toPBX, answer))
	})
}

// A trunk whose peers have TLS is not served in clear, where its address can be feigned.
func TestTrunkOfTLSInClear(t *testing.T) {
	plainly(t, func(_, carrier *trunk.Config) {
		if err := carrier.Peers[0].UnmarshalText([]byte("sips:203.0.113.3")); err != nil {
			t.Fatal(err)
		}
	}, func(b *bubble) {
		b.carrier.Invite("+31205550100", offered, "")
		b.carrier.Silent(time.Minute)
		b.wrote()
	})
}

// Calls come from a trunk's sources as from its peers; each of them is one that may send too
// fast.
func TestCallFromSource(t *testing.T) {
	plainly(t, func(_, carrier *trunk.Config) {
		carrier.Sources = make([]trunk.Source, 1)
		if err := carrier.Sources[0].UnmarshalText([]byte("198.51.100.0/24")); err != nil {
			t.Fatal(err)
		}
		carrier.SourceCallsPerSecond = 1
	}, func(b *bubble) {
		for _, addr := range []string{"198.51.100.1:5060", "198.51.100.2:5060"} {
			node := siptest.NewPeer(b.T, b.network, addr, usAt)
			invite := node.Invite("+31205550100", offered, "")
			node.Expect("SIP/2.0 100")
			toPBX := b.pbx.Expect("INVITE ")
			again := node.Invite("+31205550100", offered, "")
			node.Expect("SIP/2.0 100")
			node.Transaction("ACK", again, node.Expect("SIP/2.0 503").Header("To"))
			b.pbx.Reply(toPBX, "486 Busy Here", "")
			b.pbx.Expect("ACK ")
			node.Transaction("ACK", invite, node.Expect("SIP/2.0 486").Header("To"))
		}
	})
}

// A trunk that is full, or sends too fast, is told so and leaves no call; who calls 112
// gets through all the same.
func TestLimitsOfTrunks(t *testing.T) {
	plainly(t, func(pbx, _ *trunk.Config) { pbx.MaxCalls, pbx.CallsPerSecond = 1, 2 }, func(b *bubble) {
		dial := func(number, want string) {
			t.Helper()
			invite := b.pbx.Invite(number, answeredWith, "")
			if want != "" {
				b.pbx.Expect("SIP/2.0 100")
				m := b.pbx.Expect(want)
				b.pbx.Transaction("ACK", invite, m.Header("To"))
				synctest.Wait() // the row is closed beside the call
				return
			}
			b.pbx.Expect("SIP/2.0 100")
			out := b.carrier.Expect("INVITE ")
			b.carrier.Reply(out, "200 OK", offered)
			b.carrier.Expect("ACK ")
			calling(b.pbx, invite, b.pbx.Expect("SIP/2.0 200")).ack("")
			synctest.Wait()
		}
		dial("+31612345678", "")            // the one that may be
		dial("+31612345678", "SIP/2.0 503") // full: a call that gets a row
		dial("+31612345678", "SIP/2.0 503") // too fast: none
		dial("112", "")                     // whatever the limits are
		b.wrote("calling", "calling", "not_recorded refused no_rule", "calling")
	})
}

// A peer whose transport we do not listen on cannot be reached; it is not for want of ports.
func TestPeerWithoutListener(t *testing.T) {
	plainly(t, func(_, carrier *trunk.Config) { carrier.Peers[0].Transport = "tls" }, func(b *bubble) {
		invite := b.pbx.Invite("+31612345678", offered, "")
		b.pbx.Expect("SIP/2.0 100")
		m := b.pbx.Expect("SIP/2.0 503")
		b.pbx.Transaction("ACK", invite, m.Header("To"))
		synctest.Wait()
		b.wrote("calling", "not_recorded unreachable no_rule")
	})
}

// A trunk that registers is known from the first answer on, with credentials, and takes its
// leave when the daemon stops.
func TestRegistration(t *testing.T) {
	plainly(t, func(_, carrier *trunk.Config) {
		carrier.Auth = &trunk.Auth{User: "us", Password: "secret"}
		carrier.Register = &trunk.Registration{Domain: "carrier.example"}
	}, func(b *bubble) {
		b.manager.calls.Go(func() { b.manager.register("carrier", b.manager.cfg.Trunks["carrier"]) })
		first := b.carrier.Expect("REGISTER sip:203.0.113.3")
		wantHeader(t, first, "To", "<sip:us@carrier.example>")
		reply(b.carrier, first, "r", "401 Unauthorized", "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n", "")
		second := b.carrier.Expect("REGISTER ")
		if h := second.Header("Authorization"); !strings.Contains(h, `username="us"`) || !strings.Contains(h, "SHA-256") {
			t.Errorf("got Authorization %q", h)
		}
		reply(b.carrier, second, "r", "200 OK", "Expires: 3600\r\n", "")
		go func() { // the daemon stops: ends with the bubble
			time.Sleep(time.Second)
			b.manager.stop()
		}()
		last := b.carrier.Expect("REGISTER ")
		if h := last.Header("Expires"); h != "0" && !strings.Contains(last.Header("Contact"), "expires=0") {
			t.Errorf("got Expires %q, Contact %q, want us to leave", h, last.Header("Contact"))
		}
		reply(b.carrier, last, "r", "200 OK", "", "")
	})
}

// Who says that he is the emergency centre is neither announced nor recorded, but only where a trunk
// that is trusted vouches for it he is let past limits.
func TestLimitsOfCallbacks(t *testing.T) {
	const asserted, callback = "P-Asserted-Identity: \"112\" <sip:112@carrier.example>, <tel:112>\r\n", "Priority: psap-callback\r\n"
	for name, test := range map[string]struct {
		trusted bool
		more    string
		passes  bool
	}{
		"says so": {true, "", false}, "is another": {true, "P-Asserted-Identity: <sip:+31201234567@carrier.example>\r\n", false},
		"asserted": {true, asserted, true}, "marked": {true, callback, true},
		"asserted by a stranger": {false, asserted, false}, "marked by a stranger": {false, callback, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleOf(t, nil, func(pbx, carrier *trunk.Config) {
				pbx.MaxCalls, carrier.CallsPerSecond, carrier.Trusted = 1, 1, &test.trusted
			}, func(b *bubble) {
				calls := func() *dialog {
					m := b.carrier.Message("+31205550100", offered, test.more)
					m.Text = strings.Replace(m.Text, "From: <sip:+31201234567@", "From: <sip:112@", 1)
					b.carrier.Send(m.Text)
					b.carrier.Expect("SIP/2.0 100")
					synctest.Wait()
					if !b.pbx.Pending() {
						b.carrier.Transaction("ACK", m, b.carrier.Expect("SIP/2.0 503").Header("To"))
						return nil
					}
					toPBX := b.pbx.Expect("INVITE ")
					callee := called(b.pbx, toPBX, b.pbx.Reply(toPBX, "200 OK", answeredWith))
					b.pbx.Expect("ACK ")
					calling(b.carrier, m, b.carrier.Expect("SIP/2.0 200")).ack("")
					return callee
				}
				first := calls()
				b.did("connect caller to 203.0.113.3:4000", "connect callee to 10.0.0.5:6000", "relay caller true", "relay callee true") // nothing is played or captured
				if second := calls(); (second != nil) != test.passes {                                                                   // too fast
					t.Errorf("got another call at once: %v, want %v", second != nil, test.passes)
				}
				time.Sleep(2 * time.Second)
				if third := calls(); (third != nil) != test.passes { // the PBX's trunk is full
					t.Errorf("got another call on a full trunk: %v, want %v", third != nil, test.passes)
				}
				b.over(first)
			})
		})
	}
}
