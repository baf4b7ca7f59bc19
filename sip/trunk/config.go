package trunk

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/sip"
)

// Side is where a trunk leads: to our own PBX, or out to a carrier.
type Side string

const (
	Internal Side = "internal"
	External Side = "external"
)

// Other returns the side that calls from this one go to.
func (s Side) Other() Side {
	if s == Internal {
		return External
	}
	return Internal
}

// What a trunk's keys challenges, refer, redirects, silence, srtp and srtp_keys say.
const (
	Answer    = "answer"
	Pass      = "pass"
	Refuse    = "refuse"
	Terminate = "terminate"
	Follow    = "follow"
	Off       = "off"
	Optional  = "optional"
	Required  = "required"
	SDES      = "sdes"
	DTLS      = "dtls"
	Note      = "note"
	Hangup    = "hangup"
)

// Config is one entry of the file's trunks section.
type Config struct {
	Side Side `yaml:"side"`
	// Peers are where calls to the trunk go, the first that answers; calls from it may come
	// from any of them.
	Peers []PeerURI `yaml:"peers"`
	// Sources are addresses and prefixes that calls from the trunk may come from besides:
	// they are neither called nor pinged. Default: none.
	Sources []Source `yaml:"sources"`
	// Route names the trunk that calls from this one go to. It is needed only where the
	// other side has more than one. Default: the other side's trunk.
	Route string `yaml:"route"`

	// EarlyMedia says whether the trunk carries audio before the answer. Without, an
	// announcement waits for the answer. Default: true.
	EarlyMedia *bool `yaml:"early_media"`
	// NAT says that the trunk's peers may send audio from another address than their
	// session descriptions name: the first packet's source is then taken. Default: false.
	NAT bool `yaml:"nat"`
	// Advertise is the address that the trunk's peers are told, for SIP and media. Default:
	// sip.advertise and media.advertise.
	Advertise netip.Addr `yaml:"advertise"`
	// Streams are the kinds of streams besides audio that are passed, where both trunks of a
	// call pass them: image (fax), video. Others are refused. Default: image.
	Streams []string `yaml:"streams"`

	// Codecs are those that cannot be recorded and that calls which are to be recorded
	// may use all the same, where both trunks of a call have them. Default: none.
	Codecs []string `yaml:"codecs"`
	// SRTP says whether the audio of the trunk's peers is protected: off, what they offer
	// protected is refused; optional, it is where both can; required, what is not is refused.
	// Emergency calls are taken without, too. Default: off.
	SRTP string `yaml:"srtp"`
	// SRTPKeys says how keys for that are agreed: sdes, in the session descriptions; dtls, by
	// a handshake on the way of the audio. Default: sdes.
	SRTPKeys string `yaml:"srtp_keys"`

	// TLS is how we show who we are to the trunk's peers, and know them, where that is not
	// as sip.tls says.
	TLS *sip.TLS `yaml:"tls"`

	// Ping is the time between two OPTIONS to each peer, by which those that are out are
	// known before a call tries them. 0s: none. Default: 30s.
	Ping *time.Duration `yaml:"ping"`
	// MaxCalls is how many calls the trunk may have at once, to it and from it. Default: no limit.
	MaxCalls int `yaml:"max_calls"`
	// CallsPerSecond is how many calls may come from the trunk. Default: no limit.
	CallsPerSecond float64 `yaml:"calls_per_second"`
	// SourceCallsPerSecond is how many may come from each of its addresses. Default: no limit.
	SourceCallsPerSecond float64 `yaml:"source_calls_per_second"`

	// Auth meets the challenges of the trunk's peers.
	Auth *Auth `yaml:"auth"`
	// Register makes us known to the trunk's registrar, for calls that come from there.
	Register *Registration `yaml:"register"`
	// Challenges says who meets a peer's challenge to a call: answer, by auth; pass, who
	// calls. Default: answer where there is an auth, else pass.
	Challenges string `yaml:"challenges"`
	// Refer says what becomes of a party's wish to transfer a call: refuse; pass it to the
	// other party; terminate it, and call by ourselves. Default: refuse.
	Refer string `yaml:"refer"`
	// Redirects says what becomes of a peer's redirection: follow it to the trunk's own
	// peers, pass it to who calls, or refuse the call. Default: follow.
	Redirects string `yaml:"redirects"`
	// Silence says what becomes of a call whose party on the trunk should send audio and has
	// sent none for media.silence: note it in the row, or hangup. Default: note.
	Silence string `yaml:"silence"`
	// InbandKeys has keys of parties on the trunk who send no telephone-events (RFC 4733) heard
	// in their audio, where that is G.711. Default: false.
	InbandKeys bool `yaml:"inband_keys"`
	// Trusted says whether the trunk is in our trust domain (RFC 3325): only then it gets,
	// and is believed, who really calls. Default: true.
	Trusted *bool `yaml:"trusted"`
}

// Auth are the credentials for a trunk's peers.
type Auth struct {
	User string `yaml:"user"`
	// Password, or the file that holds it: one of the two.
	Password     string `yaml:"password"`
	PasswordFile string `yaml:"password_file"`
	// Realm is the one whose challenges are answered. Default: any.
	Realm string `yaml:"realm"`
}

// Secret returns the password. A file is read anew each time, so that it can be changed.
func (a Auth) Secret() (string, error) {
	if a.PasswordFile == "" {
		return a.Password, nil
	}
	text, err := os.ReadFile(a.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("read password: %s is empty", a.PasswordFile)
	}
	return password, nil
}

// Registration is how we are known to a registrar.
type Registration struct {
	User      string        `yaml:"user"`      // Default: auth's
	Domain    string        `yaml:"domain"`    // Default: the registrar
	Registrar string        `yaml:"registrar"` // the host in the request's URI. Default: the first peer's
	Expires   time.Duration `yaml:"expires"`   // Default: 1h
}

const defaultPing = 30 * time.Second

// Hosts are the peers', as configured.
func (c Config) Hosts() []string {
	hosts := make([]string, len(c.Peers))
	for i, peer := range c.Peers {
		hosts[i] = peer.Host
	}
	return hosts
}

// CarriesEarlyMedia reports whether audio reaches the trunk before the answer.
func (c Config) CarriesEarlyMedia() bool { return c.EarlyMedia == nil || *c.EarlyMedia }

// Trusts reports whether the trunk is in our trust domain.
func (c Config) Trusts() bool { return c.Trusted == nil || *c.Trusted }

// Passes reports whether a kind of stream other than audio is passed.
func (c Config) Passes(kind string) bool {
	if c.Streams == nil {
		return kind == "image"
	}
	return slices.Contains(c.Streams, kind)
}

// PassesCodec reports whether calls that are to be recorded may use a codec that cannot
// be.
func (c Config) PassesCodec(name string) bool {
	return slices.ContainsFunc(c.Codecs, func(codec string) bool { return strings.EqualFold(codec, name) })
}

// PassesChallenges reports whether a peer's challenge is for who calls.
func (c Config) PassesChallenges() bool {
	return c.Challenges == Pass || c.Challenges == "" && c.Auth == nil
}

// FollowsRedirects reports whether a peer's redirection is followed.
func (c Config) FollowsRedirects() bool { return c.Redirects == "" || c.Redirects == Follow }

// Protects reports whether audio is protected where a peer can.
func (c Config) Protects() bool { return c.SRTP == Optional || c.SRTP == Required }

// Handshakes reports whether keys for that are agreed by a handshake.
func (c Config) Handshakes() bool { return c.SRTPKeys == DTLS }

// Encrypted reports whether all signalling with the trunk's peers is by TLS.
func (c Config) Encrypted() bool {
	return !slices.ContainsFunc(c.Peers, func(p PeerURI) bool { return p.transport() != "tls" })
}

// Readable returns the peers, by their place, to whom keys would go in session descriptions
// that are not encrypted on the way: who can read those can listen.
func (c Config) Readable() []int {
	if !c.Protects() || c.Handshakes() {
		return nil
	}
	var readable []int
	for i, peer := range c.Peers {
		if peer.Transport != "tls" {
			readable = append(readable, i)
		}
	}
	return readable
}

func (c Config) pingInterval() time.Duration {
	if c.Ping == nil {
		return defaultPing
	}
	return *c.Ping
}

// codecNames is what the names of codecs in use are made of.
const codecNames = names + "."

// names is what names of trunks are made of: they are labels of metrics.
const names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// Validate reports every fault of the trunks section, each with its key.
func Validate(trunks map[string]Config) []error {
	var faults []error
	owner := map[PeerURI]string{}
	sides := map[Side]int{}
	for _, name := range slices.Sorted(maps.Keys(trunks)) {
		c := trunks[name]
		sides[c.Side]++
		fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(name+"."+format, args...)) }
		if name == "" || len(name) > 64 || strings.Trim(name, names) != "" {
			faults = append(faults, fmt.Errorf("%s: the name is to be made of letters, digits, - and _, 64 at most", name))
		}
		c.validatePlace(fault)
		c.validateVersions(fault)
		c.validateSRTP(fault)
		if c.Advertise.IsUnspecified() {
			fault("advertise: nobody reaches us at %v", c.Advertise)
		}
		c.validateLimits(fault)
		c.validateLogin(fault)
		for i, peer := range c.Peers {
			if other, taken := owner[peer.place()]; taken && peer != (PeerURI{}) {
				fault("peers[%d]: %v is trunk %s's already", i, peer, other)
			}
			owner[peer.place()] = name
		}
		if _, ok := trunks[c.Route]; c.Route != "" && !ok {
			fault("route: there is no trunk %.40q%s", c.Route, There(trunks))
		}
		if c.Route == name {
			fault("route: leads back to the trunk itself")
		}
	}
	faults = append(faults, validateSources(trunks)...)
	if sides[Internal]+sides[External] < len(trunks) {
		return faults // where calls go is not to be told before every side is
	}
	for _, name := range slices.Sorted(maps.Keys(trunks)) {
		c := trunks[name]
		if n := sides[c.Side.Other()]; c.Route == "" && n > 1 {
			faults = append(faults, fmt.Errorf("%s.route: missing: there are %d %s trunks for its calls to go to", name, n, c.Side.Other()))
		}
	}
	return faults
}

// oneOf reports a value that is none of those that there are.
func oneOf(value string, values ...string) error {
	if value == "" || slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("%.40q is none of %s", value, strings.Join(values, ", "))
}

func (c Config) validatePlace(fault func(format string, args ...any)) {
	switch c.Side {
	case Internal, External:
	case "":
		fault("side: missing: internal for a PBX, external for a carrier")
	default:
		fault("side: %.40q is neither internal nor external", c.Side)
	}
	if len(c.Peers) == 0 {
		fault("peers: missing: at least one, such as sip:10.0.0.5:5060")
	}
	for i, kind := range c.Streams {
		if err := oneOf(kind, "image", "video"); err != nil {
			fault("streams[%d]: %w", i, err)
		}
	}
	for i, codec := range c.Codecs {
		if codec == "" || strings.Trim(codec, codecNames) != "" {
			fault("codecs[%d]: %.40q is no codec's name, such as G729 or AMR-WB", i, codec)
		}
	}
	for key, err := range map[string]error{
		"challenges": oneOf(c.Challenges, Answer, Pass), "refer": oneOf(c.Refer, Refuse, Pass, Terminate), "redirects": oneOf(c.Redirects, Follow, Pass, Refuse),
		"srtp": oneOf(c.SRTP, Off, Optional, Required), "srtp_keys": oneOf(c.SRTPKeys, SDES, DTLS),
		"silence": oneOf(c.Silence, Note, Hangup),
	} {
		if err != nil {
			fault("%s: %w", key, err)
		}
	}
}

// validateSRTP wants keys to be for something.
func (c Config) validateSRTP(fault func(format string, args ...any)) {
	if c.SRTPKeys != "" && (c.SRTP == "" || c.SRTP == Off) {
		fault("srtp_keys: means nothing without srtp: optional or srtp: required")
	}
}

// validateVersions wants peers of one IP version, as far as can be seen of them: all are told
// one address of ours.
func (c Config) validateVersions(fault func(format string, args ...any)) {
	first := -1
	for i, peer := range c.Peers {
		addr, err := netip.ParseAddr(peer.Host)
		if err != nil {
			continue
		}
		if first < 0 {
			first = i
		}
		if known, _ := netip.ParseAddr(c.Peers[first].Host); addr.Unmap().Is4() != known.Unmap().Is4() {
			fault("peers[%d]: %v and peers[%d] are of two IP versions; make two trunks of them", i, peer, first)
			return
		}
	}
}

// There lists the trunks that there are, to go on with where a name was not found.
func There(trunks map[string]Config) string {
	return "; there is " + strings.Join(slices.Sorted(maps.Keys(trunks)), ", ")
}

// Absent returns the side that trunks have calls for and that has no trunk, if there is one.
func Absent(trunks map[string]Config) (Side, bool) {
	sides := map[Side]int{}
	for _, c := range trunks {
		sides[c.Side]++
	}
	if sides[Internal]+sides[External] < len(trunks) {
		return "", false // some trunk's is not known
	}
	for _, c := range trunks {
		if other := c.Side.Other(); c.Route == "" && sides[other] == 0 {
			return other, true
		}
	}
	return "", false
}

func (c Config) validateLimits(fault func(format string, args ...any)) {
	if c.Ping != nil && *c.Ping != 0 && *c.Ping < time.Second {
		fault("ping: is less than a second; 0s means none")
	}
	if c.MaxCalls < 0 {
		fault("max_calls: is negative")
	}
	if c.CallsPerSecond < 0 {
		fault("calls_per_second: is negative")
	}
	if c.SourceCallsPerSecond < 0 {
		fault("source_calls_per_second: is negative")
	}
}

func (c Config) validateLogin(fault func(format string, args ...any)) {
	if c.Auth != nil {
		if err := c.Auth.validate(); err != nil {
			fault("auth.%w", err)
		}
	}
	if c.TLS != nil {
		for _, err := range c.TLS.Validate() {
			fault("tls.%w", err)
		}
	}
	if c.Challenges == Answer && c.Auth == nil {
		fault("challenges: answer needs an auth to answer with")
	}
	if r := c.Register; r != nil {
		if r.User == "" && c.Auth == nil {
			fault("register.user: missing: by which name calls reach us")
		}
		if r.Expires != 0 && r.Expires < time.Minute {
			fault("register.expires: is less than a minute")
		}
	}
}

func (a Auth) validate() error {
	switch {
	case a.User == "":
		return errors.New("user: missing")
	case a.Password == "" && a.PasswordFile == "":
		return errors.New("password: missing: it, or password_file")
	case a.Password != "" && a.PasswordFile != "":
		return errors.New("password_file: give password or password_file, not both")
	}
	return nil
}
