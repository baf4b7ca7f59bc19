// Package sip speaks SIP on the wire. It gives legs: one dialog each, seen from
// us (RFC 3261 §12). It stands on the transaction and transport layers of sipgo
// and is the one package that imports it; dialogs, legs and their timing are ours.
//
// It knows nothing of media, rules or rows; a session description is bytes to it.
//
//	socket ─ transport ─ transaction ─┬─ INVITE ──▶ Handler.Invite(leg)
//	                                  └─ in a dialog ──▶ leg ─▶ leg.Events()
//
// A call's goroutine owns its legs: it reads their events and calls their methods.
package sip

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// T1 and its kin are RFC 3261's timers (§17, table 4).
const (
	T1 = 500 * time.Millisecond // round-trip estimate
	T2 = 4 * time.Second        // longest interval between retransmissions of a response or a non-INVITE request

	// confirmTimeout is how long a 2xx is repeated for want of an ACK, and how
	// long a cancelled INVITE may stay without a final response.
	confirmTimeout = 64 * T1
)

// defaultTryTimeout is how long a peer may leave an INVITE wholly unanswered. RFC
// 3261 §17.1.1.2 says 64·T1; a caller hears nothing meanwhile, and a peer that is
// there says 100 within 200 ms (§17.2.1). Five transmissions fit into it.
const defaultTryTimeout = 8 * time.Second

// Config is the file's sip section.
type Config struct {
	// Listen is where requests come in: udp://host:port, tcp://host:port, tls://host:port.
	// Default: udp://0.0.0.0:5060 and tcp://0.0.0.0:5060.
	Listen []Listen `yaml:"listen"`
	// Advertise is the address that peers are told, where it differs from the
	// one we listen on (behind NAT). Default: the address of the route to the peer.
	Advertise netip.Addr `yaml:"advertise"`
	// UserAgent is sent in User-Agent and Server. Default: bewaard.
	UserAgent string `yaml:"user_agent"`
	// TryTimeout is how long a peer may leave an INVITE without any response
	// before the call fails. Default: 8s.
	TryTimeout time.Duration `yaml:"try_timeout"`
	// SessionExpires is after how long without a refresh a call is over (RFC 4028), where
	// the peer knows session timers; another is asked twice in that time whether it still
	// has the call. 0s: neither is asked for, but a peer that itself sends Session-Expires
	// has its timer, since we support them. Default: 30m.
	SessionExpires *time.Duration `yaml:"session_expires"`
	// MinSE is the shortest of these times that a peer may ask for. Default: 90s, the least
	// that RFC 4028 §4 allows.
	MinSE time.Duration `yaml:"min_se"`
	// TLS is how we are known over tls://, and how we know peers.
	TLS TLS `yaml:"tls"`
	// Ban says when strangers are not listened to any more.
	Ban Ban `yaml:"ban"`
	// Headers are the names of further headers that pass from leg to leg: X-Customer, X-*.
	// Default: none.
	Headers []string `yaml:"headers"`
}

const (
	defaultSessionExpires = 30 * time.Minute
	defaultMinSE          = 90 * time.Second
)

// Validate reports every fault of the section, each with the key below sip.
func (c Config) Validate() []error {
	var faults []error
	seen := map[Listen]bool{}
	for i, l := range c.Listen {
		if seen[l] {
			faults = append(faults, fmt.Errorf("listen[%d]: %v is there twice", i, l))
		}
		seen[l] = true
	}
	if c.Listen != nil && len(c.Listen) == 0 {
		faults = append(faults, errors.New("listen: is empty; leave it out for the default"))
	}
	if strings.ContainsFunc(c.UserAgent, unicode.IsControl) {
		faults = append(faults, errors.New("user_agent: has a control character: it is a header's text"))
	}
	for _, fault := range c.TLS.Validate() {
		faults = append(faults, fmt.Errorf("tls.%w", fault))
	}
	if c.TLS.VerifyClient && c.TLS.CA == "" {
		faults = append(faults, fmt.Errorf("tls.%w", ErrNoCA))
	}
	if i := slices.IndexFunc(c.Listen, func(l Listen) bool { return l.Transport == "tls" }); i >= 0 && c.TLS.Certificate == "" {
		faults = append(faults, fmt.Errorf("listen[%d]: tls:// needs a tls.certificate and its key", i))
	}
	if c.Ban.After < 0 || c.Ban.For < 0 {
		faults = append(faults, errors.New("ban: is negative"))
	}
	if c.TryTimeout < 0 {
		faults = append(faults, errors.New("try_timeout: is negative"))
	}
	if c.MinSE != 0 && c.MinSE < defaultMinSE {
		faults = append(faults, errors.New("min_se: is less than the 90s of RFC 4028 §4"))
	}
	if d := c.withDefaults(); *d.SessionExpires != 0 && *d.SessionExpires < d.MinSE {
		faults = append(faults, fmt.Errorf("session_expires: %v is less than min_se, %v", *d.SessionExpires, d.MinSE))
	}
	for i, name := range c.Headers {
		if !mayPass(name) {
			faults = append(faults, fmt.Errorf("headers[%d]: %.40q is no name such as X-Customer or X-Tenant-*: it begins with X-", i, name))
		}
	}
	return faults
}

func (c Config) withDefaults() Config {
	if len(c.Listen) == 0 {
		anywhere := netip.AddrPortFrom(netip.IPv4Unspecified(), 5060)
		c.Listen = []Listen{{"udp", anywhere}, {"tcp", anywhere}}
	}
	c.UserAgent = cmp.Or(c.UserAgent, "bewaard")
	c.TryTimeout = cmp.Or(c.TryTimeout, defaultTryTimeout)
	c.MinSE = cmp.Or(c.MinSE, defaultMinSE)
	c.Ban.After, c.Ban.For = cmp.Or(c.Ban.After, defaultBanAfter), cmp.Or(c.Ban.For, defaultBanFor)
	if c.SessionExpires == nil {
		expires := defaultSessionExpires
		c.SessionExpires = &expires
	}
	return c
}

// Reaches reports whether there is a socket by which requests can go to a peer: one of his
// transport and of his address's IP version; any version where the address is not known.
func (c Config) Reaches(transport string, peer netip.Addr) bool {
	return slices.ContainsFunc(c.withDefaults().Listen, func(l Listen) bool {
		return l.Transport == transport && (!peer.IsValid() || l.Addr.Addr().Is4() == peer.Unmap().Is4())
	})
}

// Listen is one socket that requests come in on, written udp://0.0.0.0:5060.
type Listen struct {
	Transport string // udp, tcp or tls
	Addr      netip.AddrPort
}

// UnmarshalText reads udp://host:port, tcp:// or tls://; the host is an IP address.
func (l *Listen) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || !slices.Contains([]string{"udp", "tcp", "tls"}, u.Scheme) || u.Path != "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("%q is not udp://address:port, tcp://address:port or tls://address:port", text)
	}
	host, port := u.Host, "5060"
	if u.Scheme == "tls" {
		port = "5061"
	}
	if u.Port() != "" {
		host, port = u.Hostname(), u.Port()
	}
	addr, err := netip.ParseAddrPort(net.JoinHostPort(strings.Trim(host, "[]"), port))
	if err != nil {
		return fmt.Errorf("%q: the host is not an IP address", text)
	}
	*l = Listen{u.Scheme, addr}
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (l Listen) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l Listen) String() string { return l.Transport + "://" + l.Addr.String() }

// Peer is where requests of a trunk go.
type Peer struct {
	Transport string         // udp, tcp or tls
	Host      string         // for the request URI: the name or address as configured
	Addr      netip.AddrPort // where that is
	// MayUseTCP says that a request too large for a datagram may go by TCP.
	MayUseTCP bool
}

// defaultPort is the peer's transport's where none is written (RFC 3261 §19.1.2).
func (p Peer) defaultPort() uint16 {
	if p.Transport == "tls" {
		return 5061
	}
	return 5060
}

func (p Peer) String() string { return p.Transport + ":" + p.Addr.String() }

// Handler is what the user agent asks and tells: the call's manager.
type Handler interface {
	// Trunk names the trunk that an address belongs to, of those whose messages may come by
	// that transport: udp, tcp or tls. Who belongs to none gets no service and no answer:
	// his messages are dropped before they are read, unless a call leads to him.
	Trunk(source netip.AddrPort, transport string) (name string, ok bool)
	// Settings are what a trunk has of its own.
	Settings(trunk string) Settings
	// Invite brings a new caller leg. It must not block; the leg must be ended.
	Invite(*Leg)
	// Ready reports whether new calls are taken; it is the answer to OPTIONS.
	Ready() bool
}

// Settings are what a trunk has of its own.
type Settings struct {
	Advertise netip.Addr // the address that its peers are told; zero for everybody's
	TLS       *TLS       // nil for everybody's
	Hosts     []string   // its peers' as configured: whom their certificates name
}

// EventKind says what happened on a leg.
type EventKind uint8

// What happens on a caller leg is Cancelled, Confirmed, Unconfirmed and Ended; on a
// callee leg Progressed, Answered, Rejected, Failed and Ended. The rest is either's.
const (
	Progressed  EventKind = iota + 1 // a provisional response other than 100: Code, Reason, Body, Branch
	Answered                         // a 2xx, already acknowledged: Code, Reason, Body, Branch
	Rejected                         // a final response from 300 on: Code, Reason, Contacts; challenges in Headers
	Failed                           // no final response: Err is ErrNoResponse or a transport's
	Cancelled                        // the caller gave up; the INVITE is already answered with 487
	Confirmed                        // our 2xx was acknowledged: Body, if ours was the offer
	Unconfirmed                      // a response of ours was repeated for 64·T1 and never acknowledged
	Ended                            // the peer's BYE, already answered; or the peer does not know the dialog any more
	Expired                          // nobody refreshed the session

	Reoffered       // the peer's offer in the dialog, to be answered or rejected: Body, nil for none
	Acknowledged    // a description of ours was acknowledged: Body, if ours was the offer
	ReofferAnswered // our offer in the dialog was answered: Body
	ReofferRejected // or was not: Code, Reason
	Refreshed       // the peer described itself anew as it answered a refresh: Body

	Requested // the peer's request in the dialog that the call answers: Request
	Replied   // its answer to ours: Request, Code, Reason
)

var kinds = [...]string{"", "progressed", "answered", "rejected", "failed", "cancelled", "confirmed", "unconfirmed", "ended", "expired",
	"reoffered", "acknowledged", "reoffer answered", "reoffer rejected", "refreshed", "requested", "replied"}

func (k EventKind) String() string { return kinds[k] }

// Event is something that the peer did on a leg.
type Event struct {
	Kind     EventKind
	Code     int      // status code of a response
	Reason   string   // its reason phrase, or a BYE's or CANCEL's Reason header
	Body     []byte   // session description, if any
	Branch   int      // which early dialog, counted from 0
	Contacts []string // numbers that a redirection names
	Headers  []Header // those that pass to the other leg
	Request  *Request
	Err      error
}

// ErrNoResponse is a Failed event's error when the peer said nothing at all.
var ErrNoResponse = errors.New("no response")

// mayPass reports whether a name, with or without a * at its end, is one that the
// configuration may let through: an application's own, never one of SIP's.
func mayPass(name string) bool {
	const names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return len(name) >= 3 && strings.EqualFold(name[:2], "X-") && strings.Trim(strings.TrimSuffix(name, "*"), names) == ""
}
