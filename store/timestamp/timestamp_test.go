package timestamp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/notaryproject/tspclient-go"

	"github.com/bewaard/bewaard/media/players"
)

var update = flag.Bool("update", false, "make testdata/*.tsr and roots.pem anew")

// head is what is stamped here.
var head = sha256.Sum256([]byte("the journal's head"))

// tsa is an authority made of openssl, with a root of its own.
type tsa struct {
	t         testing.TB
	directory string
	roots     *x509.CertPool
	rootFile  string
	issuers   *x509.CertPool // between it and the root
}

// kind is how an authority departs from a good one. Its zero value does not.
type kind struct {
	rsa        bool
	between    bool                    // a certificate is between its own and the root
	usages     []asn1.ObjectIdentifier // nil is timeStamping
	uncritical bool
	expired    bool
	name       string // nothing is "Time"
	config     string // added to openssl's section
}

var (
	timeStamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	codeSigning  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
)

func newTSA(t testing.TB, k kind) *tsa {
	t.Helper()
	players.Need(t, "openssl")
	a := &tsa{t: t, directory: t.TempDir(), roots: x509.NewCertPool(), issuers: x509.NewCertPool()}
	now := time.Now().Truncate(time.Second)
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour),
		}
	}
	authority := func(serial int64, name string) *x509.Certificate {
		c := template(serial, name)
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		return c
	}
	issuer, issuerKey := authority(1, "Root"), a.key(false)
	root := a.sign(issuer, issuer, issuerKey.Public(), issuerKey)
	a.roots.AddCert(root)
	a.rootFile = a.writeCertificate("root.pem", root)
	if k.between {
		key := a.key(false)
		between := a.sign(authority(2, "Between"), root, key.Public(), issuerKey)
		a.issuers.AddCert(between)
		a.writeCertificate("chain.pem", between)
		issuer, issuerKey = between, key
	}

	if k.name == "" {
		k.name = "Time"
	}
	leaf, key := template(3, k.name), a.key(k.rsa)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	if k.expired {
		leaf.NotAfter = now.Add(-time.Hour)
	}
	if k.usages == nil {
		k.usages = []asn1.ObjectIdentifier{timeStamping}
	}
	if len(k.usages) > 0 {
		usages, err := asn1.Marshal(k.usages)
		a.check(err)
		leaf.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: !k.uncritical, Value: usages}}
	}
	a.writeCertificate("tsa.pem", a.sign(leaf, issuer, key.Public(), issuerKey))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	a.check(err)
	a.write("tsa.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	a.write("serial", []byte("0A41\n"))
	a.write("tsa.cnf", []byte(`
[tsa]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 0.4.0.2023.1.1
digests = sha256
accuracy = secs:1, millisecs:500, microsecs:100
tsa_name = yes
ess_cert_id_alg = sha256
`+k.config+"\n"))
	return a
}

func (a *tsa) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *tsa) key(ofRSA bool) crypto.Signer {
	a.t.Helper()
	if ofRSA {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		a.check(err)
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	return key
}

func (a *tsa) sign(c, issuer *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, public, key)
	a.check(err)
	signed, err := x509.ParseCertificate(der)
	a.check(err)
	return signed
}

func (a *tsa) write(name string, b []byte) (path string) {
	a.t.Helper()
	path = filepath.Join(a.directory, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		a.t.Error(err) // a server's goroutine writes too
	}
	return path
}

func (a *tsa) writeCertificate(name string, c *x509.Certificate) (path string) {
	a.t.Helper()
	return a.write(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// openssl runs in the authority's directory.
func (a *tsa) openssl(args ...string) (string, error) {
	command := exec.Command("openssl", args...)
	command.Dir = a.directory
	out, err := command.CombinedOutput()
	return string(out), err
}

// reply answers a TimeStampReq.
func (a *tsa) reply(query []byte) []byte {
	a.write("query", query)
	if out, err := a.openssl("ts", "-reply", "-config", "tsa.cnf", "-section", "tsa", "-queryfile", "query", "-out", "response"); err != nil {
		a.t.Errorf("openssl ts -reply: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(a.directory, "response"))
	if err != nil {
		a.t.Error(err)
	}
	return b
}

// altered answers another TimeStampReq than it was sent.
func (a *tsa) altered(alter func(*tspclient.Request)) func([]byte) []byte {
	return func(query []byte) []byte {
		var r tspclient.Request
		if err := r.UnmarshalBinary(query); err != nil {
			a.t.Error(err)
		}
		alter(&r)
		query, err := r.MarshalBinary()
		if err != nil {
			a.t.Error(err)
		}
		return a.reply(query)
	}
}

// signs puts another signature, with this authority's certificate, on what another says.
// openssl ts does not sign with a certificate that is not for it, openssl cms does.
func (a *tsa) signs(reply func([]byte) []byte) func([]byte) []byte {
	return func(query []byte) []byte {
		var r tspclient.Response
		if err := r.UnmarshalBinary(reply(query)); err != nil {
			a.t.Error(err)
			return nil
		}
		token, err := r.SignedToken()
		if err != nil {
			a.t.Error(err)
			return nil
		}
		a.write("content", token.Content)
		if out, err := a.openssl("cms", "-sign", "-binary", "-nodetach", "-cades", "-nosmimecap", "-md", "sha256", "-econtent_type", "1.2.840.113549.1.9.16.1.4",
			"-in", "content", "-signer", "tsa.pem", "-inkey", "tsa.key", "-outform", "DER", "-out", "token"); err != nil {
			a.t.Errorf("openssl cms -sign: %v\n%s", err, out)
		}
		b, err := os.ReadFile(filepath.Join(a.directory, "token"))
		if err != nil {
			a.t.Error(err)
		}
		r.TimestampToken = asn1.RawValue{FullBytes: b}
		if b, err = r.MarshalBinary(); err != nil {
			a.t.Error(err)
		}
		return b
	}
}

// serve is an HTTP server that answers as it is told.
func serve(t testing.TB, reply func([]byte) []byte) string {
	t.Helper()
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if got := r.Header.Get("Content-Type"); err != nil || r.Method != http.MethodPost || got != "application/timestamp-query" {
			t.Errorf("got a %s of type %q (%v), want a POST of an application/timestamp-query", r.Method, got, err)
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		w.Write(reply(query))
	})
}

func serveHTTP(t testing.TB, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

func authority(t testing.TB, address string, roots *x509.CertPool) *Authority {
	t.Helper()
	a, err := New(address, roots)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What an authority says is kept as it came, read the same years later, and by openssl.
func TestStamp(t *testing.T) {
	for name, k := range map[string]kind{
		"ECDSA":     {},
		"chain":     {between: true, config: "certs = chain.pem"},
		"all named": {between: true, config: "certs = chain.pem\ness_cert_id_chain = yes"},
		"RSA":       {rsa: true},
		"no name":   {config: "tsa_name = no"},
		"fractions": {config: "clock_precision_digits = 3"},
		"ordered":   {config: "ordering = yes"},
		"SHA-512":   {config: "signer_digest = sha512\ness_cert_id_alg = sha512"},
	} {
		t.Run(name, func(t *testing.T) {
			tsa := newTSA(t, k)
			before := time.Now()
			response, s, err := authority(t, serve(t, tsa.reply), tsa.roots).Stamp(t.Context(), head)
			if err != nil {
				t.Fatal(err)
			}
			want := Stamp{
				At: s.At, Accuracy: 1500*time.Millisecond + 100*time.Microsecond,
				Authority: "CN=Time", Serial: "0x0A42", Policy: "0.4.0.2023.1.1", Trusted: true,
			}
			if diff := cmp.Diff(want, s); diff != "" {
				t.Errorf("stamp, -want +got:\n%s", diff)
			}
			if s.At.Location() != time.UTC || s.At.Before(before.Truncate(time.Second)) || s.At.After(time.Now()) {
				t.Errorf("got a stamp of %v, want one of about %v", s.At, before)
			}
			if again, err := Verify(response, head, tsa.roots); err != nil || again != s {
				t.Errorf("read again: got %+v, %v, want %+v", again, err, s)
			}
			want.Trusted = false
			if again, err := Verify(response, head, nil); err != nil || again != want {
				t.Errorf("read again without roots: got %+v, %v, want %+v", again, err, want)
			}
			synctest.Test(t, func(t *testing.T) { // its clock is before the certificate's time
				if _, err := Verify(response, head, tsa.roots); err != nil {
					t.Errorf("in %d: got error %v, want none", time.Now().Year(), err)
				}
			})
			kept := tsa.write("head.tsr", response)
			if out, err := tsa.openssl("ts", "-verify", "-in", kept, "-digest", hex.EncodeToString(head[:]), "-CAfile", tsa.rootFile); err != nil || !strings.Contains(out, "Verification: OK") {
				t.Errorf("openssl ts -verify: got %v, %s", err, out)
			}
			if out, err := tsa.openssl("ts", "-reply", "-in", kept, "-text"); err != nil || !strings.Contains(out, s.Serial) || !strings.Contains(out, s.Policy) {
				t.Errorf("openssl ts -reply -text: got %v, %s, want serial %s and policy %s in it", err, out, s.Serial, s.Policy)
			}
		})
	}
}

// Every request has a nonce of its own.
func TestNonce(t *testing.T) {
	tsa := newTSA(t, kind{})
	nonces := map[string]bool{}
	a := authority(t, serve(t, tsa.altered(func(r *tspclient.Request) { nonces[r.Nonce.String()] = true })), tsa.roots)
	for range 3 {
		if _, _, err := a.Stamp(t.Context(), head); err != nil {
			t.Fatal(err)
		}
	}
	if len(nonces) != 3 {
		t.Errorf("got nonces %v, want 3", nonces)
	}
}

// What is not a token for what was asked is not kept, and the error says why.
func TestStampRefuses(t *testing.T) {
	good := newTSA(t, kind{})
	granted := func(query []byte) []byte { // and nothing else
		b, err := asn1.Marshal(struct{ Status struct{ Status int } }{})
		if err != nil {
			t.Error(err)
		}
		return b
	}
	for _, test := range []struct {
		name  string
		reply func([]byte) []byte
		want  string
	}{
		{"nothing", func([]byte) []byte { return nil }, "read the response"},
		{"text", func([]byte) []byte { return []byte("<html>") }, "read the response"},
		{"no token", granted, "there is no token"},
		{"more", func(q []byte) []byte { return append(good.reply(q), 0, 0) }, "followed by 2 bytes"},
		{"huge", func(q []byte) []byte { return append(good.reply(q), make([]byte, maxBytes)...) }, "more than 65536 bytes"},
		{"rejected", newTSA(t, kind{config: "digests = sha512"}).reply, "rejected. Failure info: unrecognized or unsupported Algorithm Identifier"},
		{"other hash", good.altered(func(r *tspclient.Request) { r.MessageImprint.HashedMessage[0] ^= 1 }), "for another hash"},
		{"other algorithm", newTSA(t, kind{config: "digests = sm3"}).altered(func(r *tspclient.Request) {
			r.MessageImprint.HashAlgorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401} // as long
		}), "for a hash of algorithm 1.2.156.10197.1.401"},
		{"other nonce", good.altered(func(r *tspclient.Request) { r.Nonce.Add(r.Nonce, big.NewInt(1)) }), "another nonce"},
		{"no nonce", good.altered(func(r *tspclient.Request) { r.Nonce = nil }), "no nonce"},
		{"no certificate", good.altered(func(r *tspclient.Request) { r.CertReq = false }), "signing certificate not found"},
		{"no usage", newTSA(t, kind{usages: []asn1.ObjectIdentifier{}}).signs(good.reply), "must have and only have ExtKeyUsageTimeStamping"},
		{"other usage", newTSA(t, kind{usages: []asn1.ObjectIdentifier{codeSigning}}).signs(good.reply), "incompatible key usage"},
		{"one usage more", newTSA(t, kind{usages: []asn1.ObjectIdentifier{timeStamping, codeSigning}}).signs(good.reply), "must have and only have ExtKeyUsageTimeStamping"},
		{"usage is not critical", newTSA(t, kind{uncritical: true}).signs(good.reply), "must be set as critical"},
		{"expired", newTSA(t, kind{expired: true}).signs(good.reply), "expired"},
		{"name", newTSA(t, kind{name: "Time\x1b[2J"}).reply, `control character: "CN=Time\x1b[2J"`},
		{"no accuracy at all", newTSA(t, kind{config: "accuracy = secs:90000"}).reply, "no accuracy: 90000 s"},
		{"certificate by its SHA-1", newTSA(t, kind{config: "ess_cert_id_alg = sha1"}).reply, "SigningCertificateV2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := authority(t, serve(t, test.reply), nil)
			response, s, err := a.Stamp(t.Context(), head)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), a.String()) {
				t.Errorf("got error %v, want one with %q and the authority's URL", err, test.want)
			}
			if response != nil || s != (Stamp{}) {
				t.Errorf("got %d bytes and %+v besides, want nothing", len(response), s)
			}
		})
	}
	t.Run("what it is refused for is all that is wrong", func(t *testing.T) {
		if _, _, err := authority(t, serve(t, newTSA(t, kind{}).signs(good.reply)), nil).Stamp(t.Context(), head); err != nil {
			t.Errorf("got error %v, want none", err)
		}
	})
}

// With roots, another's authority is refused on the day, and when it is read.
func TestUntrusted(t *testing.T) {
	tsa, other := newTSA(t, kind{}), newTSA(t, kind{})
	address := serve(t, tsa.reply)
	var unknown x509.UnknownAuthorityError
	if _, _, err := authority(t, address, other.roots).Stamp(t.Context(), head); !errors.As(err, &unknown) {
		t.Errorf("got error %v, want an unknown authority", err)
	}
	response, s, err := authority(t, address, nil).Stamp(t.Context(), head)
	if err != nil || s.Trusted {
		t.Fatalf("without roots: got %+v, %v, want a stamp that is not trusted", s, err)
	}
	if s, err := Verify(response, head, other.roots); !errors.As(err, &unknown) || s != (Stamp{}) {
		t.Errorf("got %+v, error %v, want an unknown authority", s, err)
	}
	if _, err := Verify(response, head, x509.NewCertPool()); !errors.As(err, &unknown) {
		t.Errorf("no roots in the pool: got error %v, want an unknown authority", err)
	}
}

// A response without the certificate between its own and the root counts for who has that.
func TestBetween(t *testing.T) {
	tsa := newTSA(t, kind{between: true})
	address := serve(t, tsa.reply)
	var unknown x509.UnknownAuthorityError
	if _, _, err := authority(t, address, tsa.roots).Stamp(t.Context(), head); !errors.As(err, &unknown) {
		t.Errorf("with the root: got error %v, want an unknown authority", err)
	}
	if _, s, err := authority(t, address, tsa.issuers).Stamp(t.Context(), head); err != nil || !s.Trusted {
		t.Errorf("with what is between: got %+v, %v, want a trusted stamp", s, err)
	}
}

// What HTTP says comes before what is in it.
func TestHTTP(t *testing.T) {
	for _, test := range []struct {
		name   string
		handle http.HandlerFunc
		want   string
	}{
		{"status", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, "HTTP status 503"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/tsa", http.StatusMovedPermanently) }, "HTTP status 301"},
		{"type", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>log in</html>") }, `of type "text/html; charset=utf-8"`},
		{"torn", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/timestamp-reply")
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("0"))
		}, "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, _, err := authority(t, serveHTTP(t, test.handle), nil).Stamp(t.Context(), head); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

// Who waits can stop waiting.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else a client that goes away is not seen
		cancel()
		<-r.Context().Done()
	})
	if _, _, err := authority(t, address, nil).Stamp(ctx, head); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

// silent is a network on which nobody says a word.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// An authority that says nothing has half a minute.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authority(t, "http://tsa.example", nil)
		a.transport = silent{}
		start := time.Now()
		if _, _, err := a.Stamp(t.Context(), head); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("got error %v after %v, want %v after 30s", err, time.Since(start), context.DeadlineExceeded)
		}
	})
}

// A URL is http or https with a host. No password is repeated.
func TestNew(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"http://tsa.example/tsr", ""},
		{"https://bewaard:geheim@tsa.example:8443", ""},
		{"", "neither http:// nor https://"},
		{"tsa.example", "neither http:// nor https://"},
		{"ftp://bewaard:geheim@tsa.example", "neither http:// nor https://"},
		{"http:///tsr", "no host"},
		{"http://:80", "no host"},
		{"https://bewaard:geheim@tsa.example:port", "invalid port"},
		{"http://bewaard:geheim@tsa.example/\x7f", "invalid control character"},
	} {
		a, err := New(test.url, nil)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want one with %q", test.url, err, test.want)
		}
		if text := fmt.Sprint(a, err); strings.Contains(text, "geheim") {
			t.Errorf("%q: the password is in %q", test.url, text)
		}
	}
}

// kept is what testdata/good.tsr says. Made anew it has another At.
var kept = Stamp{
	At:       time.Date(2026, 11, 29, 0, 54, 28, 0, time.UTC),
	Accuracy: 1500*time.Millisecond + 100*time.Microsecond, Authority: "CN=Time", Serial: "0x0A42", Policy: "0.4.0.2023.1.1",
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What was kept is read for ever, with and without its root, and is for its hash alone.
func TestKept(t *testing.T) {
	if *update {
		remake(t)
	}
	response := testdata(t, "good.tsr")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(testdata(t, "roots.pem")) {
		t.Fatal("no root in testdata/roots.pem")
	}
	s, err := Verify(response, head, roots)
	if err != nil {
		t.Fatal(err)
	}
	want := kept
	want.Trusted = true
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("stamp, -want +got:\n%s", diff)
	}
	other := sha256.Sum256([]byte("another head"))
	if s, err := Verify(response, other, roots); err == nil || !strings.Contains(err.Error(), "for another hash: "+hex.EncodeToString(head[:])) || s != (Stamp{}) {
		t.Errorf("another hash: got %+v, error %v, want one that says for which it is", s, err)
	}
}

// remake makes the responses of testdata anew.
func remake(t *testing.T) {
	query, err := (&tspclient.Request{
		Version: 1, CertReq: true,
		MessageImprint: tspclient.MessageImprint{HashAlgorithm: pkix.AlgorithmIdentifier{Algorithm: oidSHA256}, HashedMessage: head[:]},
	}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]kind{"good.tsr": {}, "rsa.tsr": {rsa: true}, "rejected.tsr": {config: "digests = sha512"}} {
		tsa := newTSA(t, k)
		tsa.check(os.WriteFile(filepath.Join("testdata", name), tsa.reply(query), 0o644))
		if name == "good.tsr" {
			root, err := os.ReadFile(tsa.rootFile)
			tsa.check(err)
			tsa.check(os.WriteFile(filepath.Join("testdata", "roots.pem"), root, 0o644))
		}
	}
}

// Whatever byte is changed, the response is refused, or says what it said: what is not
// signed says nothing.
func TestAltered(t *testing.T) {
	for _, name := range []string{"good.tsr", "rsa.tsr"} {
		response := testdata(t, name)
		want, err := Verify(response, head, nil)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for i := range response {
			changed := bytes.Clone(response)
			changed[i] ^= 1 << (i % 8)
			s, err := Verify(changed, head, nil)
			switch {
			case err != nil:
				refused++
			case s != want:
				t.Errorf("%s, byte %d changed: got %+v, want %+v or an error", name, i, s, want)
			}
		}
		t.Logf("%s: %d of %d changes are refused", name, refused, len(response))
		if refused < len(response)*9/10 {
			t.Errorf("%s: %d of %d changes are refused, want nearly all", name, refused, len(response))
		}
	}
}

// Nothing that is not the kept response says anything else than it does.
func FuzzVerify(f *testing.F) {
	f.Add(testdata(f, "good.tsr"))
	f.Add(testdata(f, "rsa.tsr"))
	f.Add(testdata(f, "rejected.tsr"))
	said := map[Stamp]bool{}
	for _, name := range []string{"good.tsr", "rsa.tsr"} {
		s, err := Verify(testdata(f, name), head, nil)
		if err != nil {
			f.Fatal(err)
		}
		said[s] = true
	}
	f.Fuzz(func(t *testing.T, response []byte) {
		if s, err := Verify(response, head, nil); err == nil && !said[s] {
			t.Errorf("got %+v, want one of %v", s, said)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	response := testdata(b, "good.tsr")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(response, head, nil); err != nil {
			b.Fatal(err)
		}
	}
}
