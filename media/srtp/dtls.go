package srtp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha256" // the hashes of fingerprints
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
)

// Fingerprint is a hash of a certificate (RFC 8122 §5).
type Fingerprint struct {
	Hash string // sha-256, sha-384 or sha-512
	Sum  string // its bytes
}

// hashes are those that a fingerprint is believed by. SHA-1 and MD5 are broken.
var hashes = map[string]crypto.Hash{"sha-256": crypto.SHA256, "sha-384": crypto.SHA384, "sha-512": crypto.SHA512}

// Usable reports whether a certificate can be known by the fingerprint.
func (f Fingerprint) Usable() bool {
	h, ok := hashes[f.Hash]
	return ok && len(f.Sum) == h.Size()
}

func (f Fingerprint) of(certificate []byte) bool {
	if !f.Usable() {
		return false
	}
	h := hashes[f.Hash].New()
	h.Write(certificate)
	return string(h.Sum(nil)) == f.Sum
}

// Identity is the certificate that we show in handshakes. It vouches for nothing: the
// session description does, with its fingerprint.
type Identity struct {
	certificate tls.Certificate
	fingerprint Fingerprint
}

// NewIdentity makes a certificate that says nothing of us, as RFC 5763 §6.2 would have it.
func NewIdentity() (*Identity, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of certificate for media: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make certificate for media: %w", err)
	}
	now := time.Now()
	text := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "media"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0), // longer than any process runs
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, text, text, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("make certificate for media: %w", err)
	}
	h := crypto.SHA256.New()
	h.Write(der)
	return &Identity{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private},
		fingerprint: Fingerprint{"sha-256", string(h.Sum(nil))},
	}, nil
}

// Fingerprint is what our session descriptions say of the certificate.
func (i *Identity) Fingerprint() Fingerprint { return i.fingerprint }

// errStranger ends a handshake with somebody else than the session description is of.
var errStranger = errors.New("the certificate has none of the fingerprints that were told")

// Peer is who a handshake is with.
type Peer struct {
	Fingerprints []Fingerprint // one of them is the certificate's
	Client       bool          // we begin
}

// Handshake agrees on keys over the packets' own way. The association lives until Close:
// the peer may not have heard its last words, and then asks for them again.
//
//	Begin ─ Run … Take, Take … ─┬─ keys ─ Take … ─ Close
//	                            └─ an error ─ Close
type Handshake struct {
	pipe   *pipe
	conn   *dtls.Conn
	client bool // we are
}

// The profiles of a handshake, the best first.
var profiles = []dtls.SRTPProtectionProfile{
	dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AES128_CM_HMAC_SHA1_32,
}

// flightInterval is how long a lost flight is waited for at first: RFC 6347 §4.2.4.1 has a
// second, and somebody is listening.
const flightInterval = 100 * time.Millisecond

// Begin makes a handshake, whose datagrams send is given. It starts with Run.
func (i *Identity) Begin(p Peer, send func([]byte) error) (*Handshake, error) {
	verify := func(certificates [][]byte, _ [][]*x509.Certificate) error {
		for _, f := range p.Fingerprints {
			if len(certificates) > 0 && f.of(certificates[0]) {
				return nil
			}
		}
		return errStranger
	}
	h := &Handshake{pipe: newPipe(send), client: p.Client}
	common := []dtls.Option{
		dtls.WithCertificates(i.certificate), dtls.WithInsecureSkipVerify(true), dtls.WithVerifyPeerCertificate(verify),
		dtls.WithSRTPProtectionProfiles(profiles...), dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithFlightInterval(flightInterval), dtls.WithMTU(1200), dtls.WithLoggerFactory(mute{}),
	}
	var err error
	if p.Client {
		var options []dtls.ClientOption
		for _, o := range common {
			options = append(options, o)
		}
		h.conn, err = dtls.ClientWithOptions(h.pipe, peerAddr{}, options...)
	} else {
		options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range common {
			options = append(options, o)
		}
		h.conn, err = dtls.ServerWithOptions(h.pipe, peerAddr{}, options...)
	}
	if err != nil {
		return nil, fmt.Errorf("begin DTLS handshake: %w", err)
	}
	return h, nil
}

// Take hands a datagram of the peer's to the handshake, and reports whether there was room
// for it. It does not wait.
func (h *Handshake) Take(b []byte) bool { return h.pipe.take(b) }

// Run waits until the keys are agreed: the peer's, and ours.
func (h *Handshake) Run(ctx context.Context) (in, out Key, err error) {
	if err := h.conn.HandshakeContext(ctx); err != nil {
		return in, out, fmt.Errorf("DTLS handshake: %w", err)
	}
	chosen, ok := h.conn.SelectedSRTPProtectionProfile()
	if !ok {
		return in, out, errors.New("DTLS handshake: the peer knows no use_srtp")
	}
	state, ok := h.conn.ConnectionState()
	if !ok {
		return in, out, errors.New("DTLS handshake: no state")
	}
	return h.export(&state, uint16(chosen))
}

// export derives the keys from what the handshake agreed on (RFC 5764 §4.2): both keys,
// the client's first, then both salts.
func (h *Handshake) export(state *dtls.State, chosen uint16) (in, out Key, err error) {
	suite := Suite(slices.IndexFunc(suites[:], func(s suiteFacts) bool { return s.profile == chosen }))
	if !suite.known() {
		return in, out, fmt.Errorf("DTLS handshake: profile %d", chosen)
	}
	key, salt := suites[suite].key, suites[suite].salt
	material, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*(key+salt))
	if err != nil {
		return in, out, fmt.Errorf("export keys of DTLS handshake: %w", err)
	}
	of := func(i int) Key {
		k := Key{suite: suite}
		copy(k.material[:], material[i*key:(i+1)*key])
		copy(k.material[key:], material[2*key+i*salt:2*key+(i+1)*salt])
		return k
	}
	if h.client {
		return of(1), of(0), nil
	}
	return of(0), of(1), nil
}

// Close ends the association. Run returns, if it has not.
func (h *Handshake) Close() { h.conn.Close() } // what cannot be said any more does not matter

// mute is a log that says nothing: what a handshake came to is Run's to tell.
type mute struct{}

func (m mute) NewLogger(string) logging.LeveledLogger { return m }
func (mute) Trace(string)                             {}
func (mute) Tracef(string, ...any)                    {}
func (mute) Debug(string)                             {}
func (mute) Debugf(string, ...any)                    {}
func (mute) Info(string)                              {}
func (mute) Infof(string, ...any)                     {}
func (mute) Warn(string)                              {}
func (mute) Warnf(string, ...any)                     {}
func (mute) Error(string)                             {}
func (mute) Errorf(string, ...any)                    {}
