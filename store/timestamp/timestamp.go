// Package timestamp has an outside authority say when a hash was there (RFC 3161), and
// checks years later that it did. It is the one package that imports tspclient-go, and
// knows nothing of what is hashed, nor of where responses are kept.
//
//	hash ─▶ TimeStampReq ─ POST ─▶ authority ─▶ TimeStampResp ─ checked ─▶ kept by the caller
//	                                                                          │ years later
//	Stamp: when, by whom ◀── Verify, or openssl ts -verify ◀──────────────────┘
//
// What is kept is the whole response, byte for byte as it came, so that an auditor needs
// nothing of ours:
//
//	openssl ts -verify -in head.tsr -digest <hash in hex> -CAfile roots.pem
//	openssl ts -reply -in head.tsr -text
//
// openssl holds the authority's certificate against today's date unless it has -attime;
// Verify always holds it against the instant in the token. Whether a certificate was
// revoked since neither of them asks: a key that was stolen can stamp any time.
//
// An authority has to name its certificate by SHA-256 or longer (RFC 5816), and sign with
// RSA or ECDSA: one that names it by SHA-1 alone, as RFC 3161 had it, is refused.
package timestamp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/notaryproject/tspclient-go"
)

const (
	// maxBytes is how long a response may be. With a chain of three certificates it has 6 KiB.
	maxBytes = 64 << 10
	// timeout is how long an authority may take.
	timeout = 30 * time.Second
	// nonceBits are what every authority takes.
	nonceBits = 64
	// maxAccuracy keeps an accuracy in what a Duration holds: less exact than a day says nothing of a day.
	maxAccuracy = 24 * time.Hour
)

// Stamp is what a token says.
type Stamp struct {
	At        time.Time     // UTC
	Accuracy  time.Duration // At is off by no more. Zero: the authority does not say
	Authority string        // its certificate's subject
	Serial    string        // of the token, in hex as openssl prints it
	Policy    string        // an OID: by what rules the authority works
	Trusted   bool          // its certificate was held against roots. Else anybody can have made it
}

// Authority is a time-stamping authority that is reached over HTTP.
type Authority struct {
	url       *url.URL
	roots     *x509.CertPool
	transport http.RoundTripper // nil is the default one
}

// New names the authority at a URL. A response counts only if its certificate leads to
// one of the roots; with nil any authority is believed. The roots are not those of TLS.
func New(address string, roots *x509.CertPool) (*Authority, error) {
	u, err := url.Parse(address)
	var parse *url.Error
	switch {
	case errors.As(err, &parse): // itself it repeats the URL, which can have a password
		return nil, fmt.Errorf("read the URL of a time-stamping authority: %w", parse.Err)
	case err != nil:
		return nil, fmt.Errorf("read the URL of a time-stamping authority: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("time-stamping authority %s: its URL begins with neither http:// nor https://", u.Redacted())
	case u.Hostname() == "":
		return nil, fmt.Errorf("time-stamping authority %s: its URL has no host", u.Redacted())
	}
	return &Authority{url: u, roots: roots}, nil
}

// String is the authority's URL, without a password.
func (a *Authority) String() string { return a.url.Redacted() }

// Stamp has the authority stamp a SHA-256. It returns the response's bytes, which are to
// be kept, and what they say.
func (a *Authority) Stamp(ctx context.Context, hash [sha256.Size]byte) (response []byte, s Stamp, err error) {
	defer func() {
		if err != nil {
			response, s, err = nil, Stamp{}, fmt.Errorf("have %x stamped by %s: %w", hash, a, err)
		}
	}()
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), nonceBits))
	if err != nil {
		return nil, Stamp{}, err
	}
	request := tspclient.Request{
		Version: 1,
		MessageImprint: tspclient.MessageImprint{
			HashAlgorithm: pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue},
			HashedMessage: hash[:],
		},
		Nonce:   nonce,
		CertReq: true,
	}
	query, err := request.MarshalBinary()
	if err != nil {
		return nil, Stamp{}, err
	}
	if response, err = a.post(ctx, query); err != nil {
		return nil, Stamp{}, err
	}
	s, err = verify(response, hash, nonce, a.roots)
	return response, s, err
}

// oidSHA256 is id-sha256, RFC 8017 Appendix B.1.
var oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}

// post sends a TimeStampReq and returns the body that comes back: RFC 3161 §3.4.
func (a *Authority) post(ctx context.Context, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url.String(), bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/timestamp-query")
	request.Close = true // once a day
	client := http.Client{
		Transport:     a.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a POST would become a GET
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %s", response.Status)
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "application/timestamp-reply" {
		return nil, fmt.Errorf("the response is of type %q, not application/timestamp-reply", response.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the response: %w", err)
	}
	return body, nil
}

// Verify checks a response as Stamp kept it, and that it is for the hash. With nil roots
// the signature is checked, and whose it is not: Stamp.Trusted is false then. Roots may
// hold an authority's intermediate certificates, which not every response has.
func Verify(response []byte, hash [sha256.Size]byte, roots *x509.CertPool) (Stamp, error) {
	s, err := verify(response, hash, nil, roots)
	if err != nil {
		return Stamp{}, fmt.Errorf("verify the time stamp of %x: %w", hash, err)
	}
	return s, nil
}

// Read returns when a response was made, and checks nothing of it.
func Read(response []byte) (time.Time, error) {
	token, err := parse(response)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the time stamp: %w", err)
	}
	info, err := token.Info()
	if err != nil {
		return time.Time{}, fmt.Errorf("read the time stamp: %w", err)
	}
	return info.GenTime.UTC(), nil
}

// verify checks what RFC 3161 §2.2 and §2.4.2 ask of who receives a response. A nil nonce
// is one that is not known any more.
func verify(response []byte, hash [sha256.Size]byte, nonce *big.Int, roots *x509.CertPool) (Stamp, error) {
	token, err := parse(response)
	if err != nil {
		return Stamp{}, err
	}
	info, err := token.Info()
	if err != nil {
		return Stamp{}, err
	}
	trusted := roots != nil
	if !trusted { // the certificate is its own root, so that all else is checked the same
		signer, err := token.SigningCertificate(&token.SignerInfos[0])
		if err != nil {
			return Stamp{}, err
		}
		roots = x509.NewCertPool()
		roots.AddCert(signer)
	}
	// The signature; the certificate is the one whose hash is signed, its extended key usage is
	// critical and timeStamping alone, and it and its chain were valid at the token's instant.
	chain, err := token.Verify(context.Background(), x509.VerifyOptions{Roots: roots, CurrentTime: info.GenTime})
	if err != nil {
		return Stamp{}, err
	}
	imprint := info.MessageImprint
	switch {
	case info.Version != 1:
		return Stamp{}, fmt.Errorf("a token of version %d, want 1", info.Version)
	case !imprint.HashAlgorithm.Algorithm.Equal(oidSHA256):
		return Stamp{}, fmt.Errorf("it is for a hash of algorithm %v, not for a SHA-256", imprint.HashAlgorithm.Algorithm)
	case !bytes.Equal(imprint.HashedMessage, hash[:]):
		return Stamp{}, fmt.Errorf("it is for another hash: %x", imprint.HashedMessage)
	case nonce != nil && info.Nonce == nil:
		return Stamp{}, errors.New("it has no nonce: it may be an older one")
	case nonce != nil && nonce.Cmp(info.Nonce) != 0:
		return Stamp{}, errors.New("it has another nonce than was asked with: it may be an older one")
	}
	s := Stamp{
		At:        info.GenTime.UTC(),
		Authority: chain[0].Subject.String(),
		Serial:    fmt.Sprintf("0x%X", info.SerialNumber.Bytes()),
		Policy:    info.Policy.String(),
		Trusted:   trusted,
	}
	if strings.ContainsFunc(s.Authority, unicode.IsControl) { // it is shown on terminals
		return Stamp{}, fmt.Errorf("the authority's name has a control character: %q", s.Authority)
	}
	s.Accuracy, err = accuracy(info.Accuracy)
	return s, err
}

// parse reads a response that is granted, and the one signature of its token.
func parse(response []byte) (*tspclient.SignedToken, error) {
	if len(response) > maxBytes {
		return nil, fmt.Errorf("the response has more than %d bytes", maxBytes)
	}
	var r tspclient.Response
	rest, err := asn1.Unmarshal(response, &r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the response: %w", err)
	case len(rest) > 0:
		return nil, fmt.Errorf("the response is followed by %d bytes", len(rest))
	}
	if err := r.Status.Err(); err != nil {
		return nil, fmt.Errorf("not granted, %.200q: %w", strings.Join(r.Status.StatusString, " "), err)
	}
	if len(r.TimestampToken.FullBytes) == 0 {
		return nil, errors.New("granted, but there is no token")
	}
	token, err := r.SignedToken()
	if err != nil {
		return nil, err
	}
	if len(token.SignerInfos) != 1 { // none but the authority's: RFC 3161 §2.4.2
		return nil, fmt.Errorf("the token has %d signatures, want 1", len(token.SignerInfos))
	}
	return token, nil
}

// accuracy reads an Accuracy, all of whose parts may be missing: RFC 3161 §2.4.2.
func accuracy(a tspclient.Accuracy) (time.Duration, error) {
	for _, part := range [...]struct{ got, most int }{
		{a.Seconds, int(maxAccuracy / time.Second)}, {a.Milliseconds, 999}, {a.Microseconds, 999},
	} {
		if part.got < 0 || part.got > part.most {
			return 0, fmt.Errorf("no accuracy: %d s, %d ms, %d µs", a.Seconds, a.Milliseconds, a.Microseconds)
		}
	}
	return time.Duration(a.Seconds)*time.Second + time.Duration(a.Milliseconds)*time.Millisecond +
		time.Duration(a.Microseconds)*time.Microsecond, nil
}
