package sim

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/srtp"
	"github.com/bewaard/bewaard/sip/sdp"
)

// SRTP is how a phone protects what it says, and wants what it hears protected.
type SRTP struct {
	Key      srtp.Key // in its descriptions, of every call: what it says are tones
	DTLS     bool     // by a handshake instead
	Optional bool     // what it offers is RTP/AVP all the same
}

// secure is a line's protection.
type secure struct {
	proto  string // of the stream
	tag    int
	key    srtp.Key
	theirs srtp.Key // the other side's, of its description
	in     srtp.In
	out    srtp.Out

	// Of a handshake.
	identity *srtp.Identity
	setup    sdp.Setup
	send     func([]byte) error
	shaking  atomic.Pointer[srtp.Handshake]
	busy     sync.WaitGroup
}

// newSecure returns nil where nothing is protected.
func newSecure(cfg SRTP, send func([]byte) error) (*secure, error) {
	s := &secure{key: cfg.Key, tag: 1, send: send}
	switch {
	case cfg.DTLS:
		s.proto, s.setup = "UDP/TLS/RTP/SAVP", sdp.ActPass
		var err error
		if s.identity, err = srtp.NewIdentity(); err != nil {
			return nil, err
		}
	case !cfg.Key.IsZero():
		s.proto = "RTP/SAVP"
	default:
		return nil, nil
	}
	if cfg.Optional {
		s.proto = "RTP/AVP"
	}
	return s, nil
}

// profile is what the m= line says.
func (s *secure) profile() string {
	if s == nil {
		return "RTP/AVP"
	}
	return s.proto
}

// lines are what the description says besides.
func (s *secure) lines() string {
	if s == nil {
		return ""
	}
	m := &sdp.Media{Type: "audio", Proto: s.proto}
	if s.identity != nil {
		f := s.identity.Fingerprint()
		m.SetDTLS(sdp.Fingerprint{Hash: f.Hash, Sum: f.Sum}, s.setup)
		m.SetMux()
	} else {
		m.SetCryptos([]sdp.Crypto{{Tag: s.tag, Suite: s.key.Suite().String(), Key: sdp.Secret(s.key.Material())}})
	}
	_, lines, _ := strings.Cut(string((&sdp.Description{Media: []*sdp.Media{m}}).Bytes()), "\r\n") // behind m=
	return lines
}

var (
	errNotProtected = errors.New("the other side does not protect what it says")
	errProtected    = errors.New("the other side protects what it says")
)

// hear takes how the other side protects the stream: an offer, or the answer to ours.
func (s *secure) hear(d *sdp.Description, m *sdp.Media, offer bool) error {
	if offer {
		s.proto = m.Proto
	}
	if s.identity != nil {
		return s.shake(d, m, offer)
	}
	for _, c := range m.Cryptos() {
		if suite, ok := srtp.ParseSuite(c.Suite); !ok || suite != s.key.Suite() {
			continue
		}
		theirs, err := srtp.ParseKey(s.key.Suite(), []byte(c.Key))
		if err != nil {
			return err
		}
		s.tag, s.theirs = c.Tag, theirs
		if _, err := s.out.Rekey(s.key); err != nil {
			return err
		}
		return s.in.Rekey(theirs)
	}
	return errNotProtected
}

// shake begins the handshake, once. A line ends it with end.
func (s *secure) shake(d *sdp.Description, m *sdp.Media, offer bool) error {
	told, setup := d.Fingerprints(m), d.Setup(m, sdp.Active)
	switch {
	case s.shaking.Load() != nil:
		return nil
	case len(told) == 0:
		return errNotProtected
	case offer:
		s.setup, _ = setup.Answer()
	case setup == sdp.Passive:
		s.setup = sdp.Active
	default:
		s.setup = sdp.Passive
	}
	peer := srtp.Peer{Client: s.setup == sdp.Active}
	for _, f := range told {
		peer.Fingerprints = append(peer.Fingerprints, srtp.Fingerprint{Hash: f.Hash, Sum: f.Sum})
	}
	h, err := s.identity.Begin(peer, s.send)
	if err != nil {
		return err
	}
	s.shaking.Store(h)
	s.busy.Go(func() { // ends with the keys, or with end
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		in, out, err := h.Run(ctx)
		if err != nil { // silence will tell
			return
		}
		s.in.Rekey(in) // both are what the handshake made
		s.out.Rekey(out)
	})
	return nil
}

// plain makes a datagram plain, nil for what is no packet.
func (s *secure) plain(b []byte) []byte {
	if h := s.shaking.Load(); h != nil && len(b) > 0 && b[0] >= 20 && b[0] <= 63 {
		h.Take(b)
		return nil
	}
	b, err := s.in.RTP(b)
	if err != nil {
		return nil
	}
	return b
}

func (s *secure) end() {
	if h := s.shaking.Load(); h != nil {
		h.Close()
	}
	s.busy.Wait()
}
