// Package media is the real-time half: it relays RTP between a call's two legs, plays
// prompts into the stream, and copies what comes in to the call's tap.
//
// It opens no file, and a packet is a header and a payload to it, a prompt is payloads. Of
// codecs it knows G.711 alone, to lay a tone over what is said and to hear keys in it. It knows neither SIP nor calls; what it is told of a session is data.
//
//	socket ─ step ─┬─ latch ─ rewrite ─▶ socket of the other leg
//	               ├─ tap (a copy, if there is a capture)
//	               └─ key (a telephone-event)
//	pacer ── frames of prompts ─ rewrite ─▶ socket
//
// The way of a packet from socket to socket does not allocate, lock, log or wait.
// What is not a plain packet (RTCP, keys, prompts, the first packet of a latch)
// leaves it by its own door.
package media

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config is the file's media section.
type Config struct {
	// Address is where RTP is received. Default: all addresses.
	Address netip.Addr `yaml:"address"`
	// Advertise is the address that peers are told, where it is another one
	// (behind NAT). Default: Address, or else the one on the route to the peer.
	Advertise netip.Addr `yaml:"advertise"`
	// Ports is the range for RTP and RTCP. A call takes four. Default: 20000-29999.
	Ports Ports `yaml:"ports"`
	// DSCP marks the packets that are sent (RFC 2474). Default: 46, expedited
	// forwarding, as RFC 4594 has it for telephony.
	DSCP *DSCP `yaml:"dscp"`
	// Silence is after how long without a packet from a party that should send some
	// the call is told. Default: 60s.
	Silence time.Duration `yaml:"silence"`
	// Engine relays the packets: epoll, a few event loops, which is the default on
	// Linux, or portable, a goroutine a socket, everywhere else.
	Engine string `yaml:"engine"`
	// Loops is how many event loops there are, each good for some two thousand calls.
	// Default: one for every two cores.
	Loops int `yaml:"loops"`
}

// DSCP is the mark of a packet's class, 0 to 63.
type DSCP uint8

// value is what is marked.
func (d *DSCP) value() int {
	if d == nil {
		return 46
	}
	return int(*d)
}

// Validate reports every fault of the section, each with the key below media.
func (c Config) Validate() []error {
	var faults []error
	if err := c.withDefaults().Ports.validate(); err != nil {
		faults = append(faults, fmt.Errorf("ports: %w", err))
	}
	if c.DSCP.value() > 63 {
		faults = append(faults, fmt.Errorf("dscp: %d is above 63", *c.DSCP))
	}
	if c.Silence < 0 {
		faults = append(faults, errors.New("silence: is negative"))
	}
	if c.Loops < 0 {
		faults = append(faults, errors.New("loops: is negative"))
	}
	if c.Engine != "" && c.Engine != EnginePortable && c.Engine != defaultEngine {
		faults = append(faults, fmt.Errorf("engine: %q is none of %s, %s, or is not of this system", c.Engine, EngineEpoll, EnginePortable))
	}
	if c.Advertise.IsUnspecified() {
		faults = append(faults, fmt.Errorf("advertise: nobody reaches us at %v", c.Advertise))
	}
	if c.Address.IsValid() && c.Advertise.IsValid() && c.Address.Is4() != c.Advertise.Is4() {
		faults = append(faults, errors.New("advertise: is not of the same IP version as address"))
	}
	return faults
}

// Try opens and closes a socket at the section's address and reports it where this machine
// does not have that, with the key below media.
func (c Config) Try() []error {
	if !c.Address.IsValid() {
		return nil
	}
	conn, err := listenUDP(netip.AddrPortFrom(c.Address, 0), c.DSCP.value())
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return []error{fmt.Errorf("address: %v is no address of this machine", c.Address)}
	case err != nil:
		return []error{fmt.Errorf("address: %w", err)}
	}
	conn.Close()
	return nil
}

func (c Config) withDefaults() Config {
	if c.Ports == (Ports{}) {
		c.Ports = Ports{20000, 29999}
	}
	c.Silence = cmp.Or(c.Silence, time.Minute)
	c.Engine = cmp.Or(c.Engine, defaultEngine)
	c.Loops = cmp.Or(c.Loops, max(1, runtime.NumCPU()/2))
	return c
}

// Ports is a range of UDP ports, both ends included, written 20000-29999.
type Ports struct{ First, Last uint16 }

func (p Ports) validate() error {
	if p.First < 1024 || p.Last < p.First+3 {
		return fmt.Errorf("%v: a range begins at 1024 or above and holds four ports or more", p)
	}
	return nil
}

// UnmarshalText reads first-last.
func (p *Ports) UnmarshalText(text []byte) error {
	first, last, ok := strings.Cut(string(text), "-")
	a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if !ok || errA != nil || errB != nil {
		return fmt.Errorf("%q is not a range such as 20000-29999", text)
	}
	*p = Ports{uint16(a), uint16(b)}
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Ports) String() string { return fmt.Sprintf("%d-%d", p.First, p.Last) }

// Remote is what a leg's peer negotiated.
type Remote struct {
	RTP  netip.AddrPort // where it wants packets
	RTCP netip.AddrPort // and reports
	Mux  bool           // which it wants in with the packets (RFC 5761)
	// NAT says that the peer may send from another address than it signalled: the
	// first packet's source is then taken for it.
	NAT bool
	// Raw relays the stream's datagrams as they are, byte for byte: fax, video. They are
	// never recorded. Both legs are so, or nothing is relayed.
	Raw bool
	// Secure is how the packets are protected; nil for not at all.
	Secure *Secure
}

// Where is the address of a leg of ours that its peer is told.
type Where struct {
	Known     netip.Addr // ours on the route to the peer
	Advertise netip.Addr // what that peer is to be told instead; zero for none of its own
}

// Frames is a prompt as packets: payloads of one payload type at even intervals.
type Frames struct {
	PayloadType uint8
	Samples     uint32        // ticks a frame
	Interval    time.Duration // Default: 20 ms
	Payloads    [][]byte
	Tone        bool // it says nothing: what is known of the prompt before it stands
}

// Played is what came of a playback.
type Played struct {
	Packets       int // handed to the socket
	Total         int // of the prompt
	FirstSequence uint16
	LastSequence  uint16
	SSRC          uint32
	FirstAt       time.Time
	LastAt        time.Time // when the last packet was handed to the socket
	Complete      bool      // every packet was, uninterrupted
	Interruptions int       // stops, errors of the socket, delays of over 200 ms
	Heard         bool      // RTP came from the peer meanwhile
}

// LegStats is what became of a leg's packets, and what its peer let us know of the
// last prompt towards it.
type LegStats struct {
	Received uint64 // from the peer
	Bytes    uint64 // of those
	Lost     uint64 // not brought by the network
	Rejected uint64 // from elsewhere than the peer
	Invalid  uint64 // not RTP
	Forged   uint64 // protected, and not authentic
	Replayed uint64 // protected, and here before
	Unkeyed  uint64 // from or to the peer before the keys were agreed
	Relayed  uint64 // passed on to the other leg
	Played   uint64 // packets of prompts sent to the peer
	Errors   uint64 // that could not be sent to the peer
	Dropped  uint64 // not copied, for want of room in the tap
	Jitter   time.Duration

	Protection  string // how its packets are protected, or were last: "sdes" or "dtls" and the suite; "" for never
	Unprotected uint64 // of Received, while it was not; 0 where it never was

	Duplicates uint64 // came twice
	Reordered  uint64 // came after a later one
	Peer       Feedback

	HeardDuring          bool // RTP came from the peer while the prompt went on
	Acknowledged         bool // a receiver report covers the prompt's last packet
	AcknowledgedSequence uint32
	AcknowledgedLoss     float64
}

// Feedback is what a leg's peer last reported of our stream to it.
type Feedback struct {
	Lost      uint64 // packets of ours that did not reach it
	Of        uint64 // that were sent until then
	Jitter    time.Duration
	RoundTrip time.Duration // 0 if it did not say
}

// Stats is what a session did, by rtp.Leg.
type Stats struct{ Legs [2]LegStats }

// Errors that a session's opening and use can end in.
var (
	ErrNoPorts = errors.New("no RTP ports are free")
	ErrClosed  = errors.New("media session is closed")
)
