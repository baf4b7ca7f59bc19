package call

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/srtp"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/trunk"
)

// Each party's audio is protected by itself, as its trunk says: keys never pass from one to
// the other, and between the legs packets are plain.
//
//	                offer of ours ─ its answer ─▶ agreed
//	its offer ─ terms ─ answer of ours ─────────▶ agreed

// protection is how one party's audio is protected.
type protection struct {
	own    map[srtp.Suite]srtp.Key // ours, those that it was told
	agreed *media.Secure           // nil: it is not
	proto  string                  // of the stream by which that was agreed
	remote *media.Remote           // where its audio goes, for when the keys follow
	theirs theirs
}

// theirs is a party's part in what is agreed. Who has another key, or is elsewhere, may be
// another device, which does not know how far the stream by our key is.
type theirs struct {
	key srtp.Key
	at  netip.AddrPort
}

// Why an offer or answer is not taken.
var (
	errSRTPOff      = errors.New("SRTP is not taken here")
	errSRTPRequired = errors.New("SRTP is required")
	errSRTPKeys     = errors.New("no key for SRTP that is taken here")
)

// offeredSuites are what an offer of ours names, the best first. Tags of four bytes
// (AES128SHA32) are taken, not offered.
var offeredSuites = [...]srtp.Suite{srtp.AES256GCM, srtp.AES128GCM, srtp.AES128SHA80}

// key is our key of a suite, made when the party is first told it.
func (p *protection) key(suite srtp.Suite) srtp.Key {
	if _, ok := p.own[suite]; !ok {
		if p.own == nil {
			p.own = map[srtp.Suite]srtp.Key{}
		}
		p.own[suite] = srtp.NewKey(suite)
	}
	return p.own[suite]
}

// requires reports whether a party's audio is taken protected only. An emergency call is
// taken as it comes.
func (c *Call) requires(p *party) bool {
	return c.trunkOf(p).SRTP == trunk.Required && !c.decision.Unlimited
}

func (c *Call) trunkOf(p *party) trunk.Config { return c.manager.cfg.Trunks[p.trunk] }

// terms are how an offer of a party's can be taken.
type terms struct {
	crypto *sdp.Crypto // by this line of it
	key    srtp.Key    // which is this
	dtls   *media.DTLS // or by this handshake
}

func (t terms) plain() bool { return t.crypto == nil && t.dtls == nil }

// terms says how the audio of a party's offer can be taken, as its trunk says: the first
// line that is known, the offerer's preference (RFC 4568 §5.1.2), or a handshake. What is
// RTP/AVP may be plain, and have keys all the same (RFC 8643).
func (c *Call) terms(p *party, d *sdp.Description, m *sdp.Media) (terms, error) {
	cfg, profile := c.trunkOf(p), m.Profile()
	switch {
	case !cfg.Protects() && profile != sdp.Plain:
		return terms{}, errSRTPOff
	case !cfg.Protects():
		return terms{}, nil
	case cfg.Handshakes() && profile != sdp.SAVP:
		if dtls := c.handshake(p, d, m); dtls != nil {
			return terms{dtls: dtls}, nil
		}
	case !cfg.Handshakes() && profile != sdp.DTLS:
		for _, crypto := range m.Cryptos() {
			if key, err := keyOf(crypto); err == nil {
				return terms{crypto: &crypto, key: key}, nil
			}
		}
	}
	switch {
	case profile != sdp.Plain:
		return terms{}, errSRTPKeys
	case c.requires(p):
		return terms{}, errSRTPRequired
	}
	return terms{}, nil
}

// handshake is the one that an offer asks for, nil for none that there can be.
func (c *Call) handshake(p *party, d *sdp.Description, m *sdp.Media) *media.DTLS {
	fingerprints := usable(d.Fingerprints(m))
	setup, ok := d.Setup(m, sdp.Active).Answer() // RFC 4145 §4
	if len(fingerprints) == 0 || !ok {
		return nil
	}
	if d.Setup(m, sdp.Active) == sdp.ActPass {
		switch old := p.audio.agreed; {
		case old != nil && old.DTLS != nil && !old.DTLS.Client: // who began goes on to: RFC 8842 §5.3
			setup = sdp.Passive
		case old == nil && c.trunkOf(p).NAT: // nobody reaches him before he has sent something
			setup = sdp.Passive
		}
	}
	return &media.DTLS{Peer: srtp.Peer{Fingerprints: fingerprints, Client: setup == sdp.Active}, ID: d.TLSID(m)}
}

// usable are the fingerprints that a certificate can be known by.
func usable(told []sdp.Fingerprint) []srtp.Fingerprint {
	var fingerprints []srtp.Fingerprint
	for _, f := range told {
		if f := (srtp.Fingerprint{Hash: f.Hash, Sum: f.Sum}); f.Usable() {
			fingerprints = append(fingerprints, f)
		}
	}
	return fingerprints
}

// keyOf reads the key of a line.
func keyOf(crypto sdp.Crypto) (srtp.Key, error) {
	suite, ok := srtp.ParseSuite(crypto.Suite)
	if !ok {
		return srtp.Key{}, fmt.Errorf("suite %.40q of a=crypto", crypto.Suite)
	}
	return srtp.ParseKey(suite, []byte(crypto.Key))
}

// acceptable says what is wrong with how an offer of a party's is protected.
func (c *Call) acceptable(leg rtp.Leg, d *sdp.Description) error {
	if c.main >= len(d.Media) {
		return nil
	}
	m := d.Media[c.main]
	if m.Type != "audio" || m.Port == 0 || !m.RTP() {
		return nil
	}
	_, err := c.terms(c.parties[leg], d, m)
	return err
}

// takes says what is wrong with how a party's answer to an offer of ours is protected.
func (c *Call) takes(p *party, answer *sdp.Description) error {
	if c.main >= len(answer.Media) {
		return nil
	}
	m := answer.Media[c.main]
	if m.Type != "audio" || m.Port == 0 || !m.RTP() {
		return nil
	}
	_, err := c.agreed(p, answer, m)
	return err
}

// lock returns what makes a description of ours towards a party say how the audio is
// protected: what an answer to an offer of its says, or an offer of ours where offer is nil.
func (c *Call) lock(p *party, offer *sdp.Description) func(*sdp.Media) {
	if offer == nil {
		return c.offering(p)
	}
	m := offer.Media[c.main]
	if m.Type != "audio" || m.Port == 0 || !m.RTP() {
		return func(*sdp.Media) {}
	}
	t, err := c.terms(p, offer, m)
	if err != nil { // acceptable has said so before
		return func(*sdp.Media) {}
	}
	answer := func(*sdp.Media) {}
	switch {
	case t.plain():
		p.audio.agreed = nil
	case t.dtls != nil:
		setup := sdp.Passive
		if t.dtls.Client {
			setup = sdp.Active
		}
		p.audio.agreed = &media.Secure{DTLS: t.dtls}
		answer = func(own *sdp.Media) {
			own.SetDTLS(c.fingerprint(), setup)
			if m.Mux() {
				own.SetMux()
			}
		}
	default:
		at, _, err := offer.RTP(m)
		if now, was := (theirs{t.key, at}), p.audio.theirs; now != was && err == nil && !at.Addr().IsUnspecified() {
			if was != (theirs{}) {
				delete(p.audio.own, t.key.Suite())
			}
			p.audio.theirs = now
		}
		ours := p.audio.key(t.key.Suite())
		p.audio.agreed = &media.Secure{In: t.key, Out: ours}
		answer = func(own *sdp.Media) { own.SetCryptos([]sdp.Crypto{cryptoOf(t.crypto.Tag, ours)}) }
	}
	p.audio.proto = m.Proto
	return func(own *sdp.Media) {
		own.Proto = m.Proto
		answer(own)
	}
}

func cryptoOf(tag int, k srtp.Key) sdp.Crypto {
	return sdp.Crypto{Tag: tag, Suite: k.Suite().String(), Key: sdp.Secret(k.Material())}
}

// offering is lock for an offer: keys in RTP/AVP where they are optional (RFC 8643), which
// who does not know them passes over; what is agreed already stays as it is.
func (c *Call) offering(p *party) func(*sdp.Media) {
	cfg := c.trunkOf(p)
	if !cfg.Protects() {
		return func(*sdp.Media) {}
	}
	profile := func(*sdp.Media) {}
	switch {
	case p.audio.agreed != nil:
		profile = func(m *sdp.Media) { m.Proto = p.audio.proto }
	case c.requires(p) && cfg.Handshakes():
		profile = func(m *sdp.Media) { m.SetProfile(sdp.DTLS) }
	case c.requires(p):
		profile = func(m *sdp.Media) { m.SetProfile(sdp.SAVP) }
	}
	if cfg.Handshakes() {
		return func(m *sdp.Media) {
			profile(m)
			m.SetDTLS(c.fingerprint(), sdp.ActPass)
			m.SetMux()
		}
	}
	suites := offeredSuites[:]
	if agreed := p.audio.agreed; agreed != nil && !agreed.Out.IsZero() { // first, so that it is taken again
		first := agreed.Out.Suite()
		suites = append([]srtp.Suite{first}, slices.DeleteFunc(slices.Clone(suites), func(s srtp.Suite) bool { return s == first })...)
	}
	var cryptos []sdp.Crypto
	for i, suite := range suites {
		cryptos = append(cryptos, cryptoOf(i+1, p.audio.key(suite)))
	}
	return func(m *sdp.Media) {
		profile(m)
		m.SetCryptos(cryptos)
	}
}

func (c *Call) fingerprint() sdp.Fingerprint {
	f := c.manager.parts.Media.Fingerprint()
	return sdp.Fingerprint{Hash: f.Hash, Sum: f.Sum}
}

// said is in what way a party says something of itself.
type said uint8

const (
	asOffer  said = iota // of ours comes the answer
	asAnswer             // to an offer of ours
	asBefore             // elsewhere: it is agreed
)

// secured says how a party's audio is protected from now on, by what it says.
func (c *Call) secured(p *party, d *sdp.Description, m *sdp.Media, how said) (*media.Secure, error) {
	switch agreed := p.audio.agreed; how {
	case asAnswer:
		return c.answered(p, d, m)
	case asBefore:
		if agreed != nil && agreed.DTLS != nil { // its association was with other ports: the next offer makes another
			return &media.Secure{}, nil
		}
		return agreed, nil
	default:
		t, err := c.terms(p, d, m)
		if err != nil || agreed != nil { // what holds does so until the answer
			return agreed, err
		}
		if t.plain() {
			return nil, nil
		}
		return &media.Secure{}, nil
	}
}

// answered takes a party's answer to an offer of ours.
func (c *Call) answered(p *party, d *sdp.Description, m *sdp.Media) (*media.Secure, error) {
	agreed, err := c.agreed(p, d, m)
	if err != nil {
		return nil, err
	}
	p.audio.agreed, p.audio.proto = agreed, m.Proto
	if agreed != nil {
		if at, _, err := d.RTP(m); err == nil && !at.Addr().IsUnspecified() {
			now, was := theirs{agreed.In, at}, p.audio.theirs
			p.audio.theirs = now
			if was != (theirs{}) && now != was { // another device: it counts our packets from its first
				renewed := *agreed
				renewed.Renew = true
				return &renewed, nil
			}
		}
	}
	return agreed, nil
}

// agreed is what an answer and our offer before it come to. Whoever answers keys in RTP/AVP
// with RTP/SAVP means well.
func (c *Call) agreed(p *party, d *sdp.Description, m *sdp.Media) (*media.Secure, error) {
	cfg, profile := c.trunkOf(p), m.Profile()
	if !cfg.Protects() {
		if profile != sdp.Plain {
			return nil, errSRTPOff
		}
		return nil, nil
	}
	if cfg.Handshakes() {
		if fingerprints := usable(d.Fingerprints(m)); len(fingerprints) > 0 && profile != sdp.SAVP {
			client := d.Setup(m, sdp.Passive) == sdp.Passive // RFC 4145 §4: what an answer says by not saying it
			return &media.Secure{DTLS: &media.DTLS{Peer: srtp.Peer{Fingerprints: fingerprints, Client: client}, ID: d.TLSID(m)}}, nil
		}
	} else if cryptos := m.Cryptos(); len(cryptos) > 0 && profile != sdp.DTLS {
		key, err := keyOf(cryptos[0])
		if err != nil {
			return nil, err
		}
		ours, ok := p.audio.own[key.Suite()]
		if !ok {
			return nil, fmt.Errorf("answer takes %v, which was not offered", key.Suite())
		}
		return &media.Secure{In: key, Out: ours}, nil
	}
	switch {
	case profile != sdp.Plain:
		return nil, errSRTPKeys
	case c.requires(p):
		return nil, errSRTPRequired
	}
	return nil, nil
}

// unlock has what was agreed by an answer of ours hold for the packets, once it is on its
// way: who has not read it drops what a handshake begins with, and each time that this is
// repeated takes twice as long as the last.
func (c *Call) unlock(leg rtp.Leg) {
	p := c.parties[leg]
	if p.audio.remote == nil || p.audio.remote.Secure == p.audio.agreed {
		return
	}
	remote := *p.audio.remote
	remote.Secure = p.audio.agreed
	p.audio.remote = &remote
	if err := c.media.Connect(leg, remote); err != nil {
		c.log.Warn("keys not taken", "call_id", c.id, "leg", leg, "error", err)
	}
}

// unshaken takes the news of a handshake that came to nothing. A party that has not been
// answered, or has not answered, may begin it only then: it is begun again, and what is played
// to him meanwhile he does not hear.
func (c *Call) unshaken(b media.Broken) *End {
	p := c.parties[b.Leg]
	if playing := c.playing[b.Leg]; !p.answered && playing != nil {
		playing.Stop()
	}
	if !p.answered && p.audio.remote != nil && c.media.Connect(b.Leg, *p.audio.remote) == nil {
		return nil
	}
	return unprotected(b.Leg, b.Err)
}

// unprotected is the end of a call whose audio cannot be as protected as it has to be.
func unprotected(leg rtp.Leg, err error) *End { return &End{Cause: NotProtected, Leg: leg, Err: err} }

// warning tells a peer why its description is not taken (RFC 3261 §20.43): 399 is a text
// for people, 302 names transports of SIP.
func warning(err error) sip.Header {
	return sip.Header{Name: "Warning", Value: fmt.Sprintf("399 bewaard %q", err.Error())}
}
