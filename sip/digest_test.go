package sip

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	stack "github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
)

// digestOf is RFC 7616 §3.4 by hand, on the hash that the algorithm names. Want has
// what the request is judged by.
type digestOf struct {
	algorithm, user, realm, password, method, uri string
	nonce, nc, cnonce, qop, body                  string
}

func (d digestOf) response() string {
	name, session := strings.CutSuffix(d.algorithm, "-sess")
	h := func(parts ...string) string {
		text := []byte(strings.Join(parts, ":"))
		switch name {
		case "SHA-256":
			sum := sha256.Sum256(text)
			return hex.EncodeToString(sum[:])
		case "SHA-512-256":
			sum := sha512.Sum512_256(text)
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum(text)
		return hex.EncodeToString(sum[:])
	}
	a1 := h(d.user, d.realm, d.password)
	if session {
		a1 = h(a1, d.nonce, d.cnonce)
	}
	a2 := h(d.method, d.uri)
	if d.qop == "auth-int" {
		a2 = h(d.method, d.uri, h(d.body))
	}
	if d.qop == "" {
		return h(a1, d.nonce, a2)
	}
	return h(a1, d.nonce, d.nc, d.cnonce, d.qop, a2)
}

// What the tests reckon with gives the examples of RFC 2617 §3.5 and RFC 7616 §3.9.1.
func TestDigestByHand(t *testing.T) {
	rfc2617 := digestOf{"MD5", "Mufasa", "testrealm@host.com", "Circle Of Life", "GET", "/dir/index.html",
		"dcd98b7102dd2f0e8b11d0f600bfb0c093", "00000001", "0a4f113b", "auth", ""}
	rfc7616 := digestOf{"MD5", "Mufasa", "http-auth@example.org", "Circle of Life", "GET", "/dir/index.html",
		"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "auth", ""}
	sha256 := rfc7616
	sha256.algorithm = "SHA-256"
	for _, test := range []struct {
		digest digestOf
		want   string
	}{
		{rfc2617, "6629fae49393a05397450978507c4ef1"},
		{rfc7616, "8ca523f5e9506fed4657c9700eebdbec"},
		{sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
	} {
		if got := test.digest.response(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func password(word string) func() (string, error) {
	return func() (string, error) { return word, nil }
}

func newAuthorizer() *authorizer {
	return &authorizer{credentials: Credentials{User: "bewaard", Password: password("secret")}}
}

func newTestRequest(t *testing.T, method, body string) *stack.Request {
	t.Helper()
	text := method + " sip:100@carrier.example;transport=tcp SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=" + stack.GenerateBranch() +
		"\r\nFrom: <sip:a@192.0.2.1>;tag=a\r\nTo: <sip:b@192.0.2.5>\r\nCall-ID: x\r\nCSeq: 7 " + method +
		fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	msg, err := stack.ParseMessage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return msg.(*stack.Request)
}

// challenge is a 401 or 407 with these header lines.
func challenge(t *testing.T, code int, lines ...string) *stack.Response {
	t.Helper()
	text := fmt.Sprintf("SIP/2.0 %d No\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\nFrom: <sip:a@192.0.2.1>;tag=a\r\nTo: <sip:b@192.0.2.5>\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n%s\r\nContent-Length: 0\r\n\r\n",
		code, strings.Join(lines, "\r\n"))
	msg, err := stack.ParseMessage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return msg.(*stack.Response)
}

// judged reads the credentials in a request's header fields and checks each digest.
func judged(t *testing.T, name string, req *stack.Request) []*digest.Credentials {
	t.Helper()
	var all []*digest.Credentials
	for _, h := range req.GetHeaders(name) {
		c, err := digest.ParseCredentials(h.Value())
		if err != nil {
			t.Fatal(err)
		}
		judge(t, c, string(req.Method), req.Recipient.String(), string(req.Body()), "secret")
		all = append(all, c)
	}
	return all
}

func judge(t *testing.T, c *digest.Credentials, method, uri, body, password string) {
	t.Helper()
	if c.Username != "bewaard" || c.URI != uri {
		t.Errorf("got user %q, uri %q, want bewaard, %q", c.Username, c.URI, uri)
	}
	want := digestOf{c.Algorithm, "bewaard", c.Realm, password, method, uri, c.Nonce, fmt.Sprintf("%08x", c.Nc), c.Cnonce, c.QOP, body}.response()
	if c.Response != want {
		t.Errorf("%s, qop %q: got response %s, want %s", c.Algorithm, c.QOP, c.Response, want)
	}
}

// Each algorithm and quality of protection gives the digest that RFC 7616 says, in a
// copy of the request with the next number and another branch.
func TestCredentials(t *testing.T) {
	for _, test := range []struct{ params, qop string }{
		{``, ""},
		{`, algorithm=MD5, qop="auth"`, "auth"},
		{`, algorithm="MD5", qop="auth-int, auth", opaque="a\"b"`, "auth"},
		{`, algorithm=MD5, qop="auth-int"`, "auth-int"},
		{`, algorithm=MD5-sess, qop="auth"`, "auth"},
		{`, algorithm=SHA-256`, ""},
		{`, algorithm=SHA-256, qop=auth`, "auth"},
		{`, algorithm=SHA-256-sess, qop="auth-int"`, "auth-int"},
		{`, algorithm=SHA-512-256, qop="auth"`, "auth"},
		{`, algorithm=SHA-512-256-sess, qop="auth"`, "auth"},
	} {
		a, req := newAuthorizer(), newTestRequest(t, "INVITE", someSDP)
		next, err := a.challenged(req, challenge(t, 401, `WWW-Authenticate: Digest realm="r", nonce="n/1=="`+test.params))
		if err != nil {
			t.Errorf("%s: %v", test.params, err)
			continue
		}
		got := judged(t, "Authorization", next)
		if len(got) != 1 || got[0].QOP != test.qop || got[0].Nonce != "n/1==" {
			t.Errorf("%s: got %+v, want qop %q", test.params, got, test.qop)
		}
		if next.CSeq().SeqNo != 8 || req.CSeq().SeqNo != 7 {
			t.Errorf("got numbers %d after %d, want 8 after 7", next.CSeq().SeqNo, req.CSeq().SeqNo)
		}
		if next.Via().Value() == req.Via().Value() || string(next.Body()) != someSDP || len(req.GetHeaders("Authorization")) != 0 {
			t.Errorf("got Via %s, body %q, want another branch and the same body, and the first request untouched", next.Via().Value(), next.Body())
		}
	}
}

// Of several challenges of a realm the strongest is met, wherever it stands.
func TestStrongestChallenge(t *testing.T) {
	next, err := newAuthorizer().challenged(newTestRequest(t, "BYE", ""), challenge(t, 401,
		`WWW-Authenticate: Digest realm="r", nonce="1", algorithm=MD5, qop="auth"`,
		`WWW-Authenticate: Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth"`,
		`WWW-Authenticate: Digest realm="r", nonce="3", algorithm=SHA3-512, qop="auth"`,
		`WWW-Authenticate: Digest realm="r", nonce="4", algorithm=SHA-256, qop="auth"`))
	if err != nil {
		t.Fatal(err)
	}
	if got := judged(t, "Authorization", next); len(got) != 1 || got[0].Nonce != "2" {
		t.Errorf("got %+v, want the first of SHA-256", got)
	}
}

// Several realms, of the peer and of proxies, are met at once and one after the other;
// later requests of the dialog carry them all, each counted on.
func TestSeveralRealms(t *testing.T) {
	a, req := newAuthorizer(), newTestRequest(t, "INVITE", someSDP)
	next, err := a.challenged(req, challenge(t, 407,
		`Proxy-Authenticate: Digest realm="p, one", nonce="1", qop="auth",  Digest realm="p two",nonce="2"`, `WWW-Authenticate: Basic realm="r"`))
	if err != nil {
		t.Fatal(err)
	}
	if got := judged(t, "Proxy-Authorization", next); len(got) != 2 || got[0].Realm != "p, one" || got[1].Realm != "p two" {
		t.Fatalf("got %+v, want both proxies' realms", got)
	}
	next, err = a.challenged(next, challenge(t, 401, `www-authenticate: digest Realm=r, NONCE=un_quoted, qop="auth"`))
	if err != nil {
		t.Fatal(err)
	}
	if got := judged(t, "Authorization", next); len(got) != 1 || got[0].Nonce != "un_quoted" {
		t.Errorf("got %+v, want the peer's realm", got)
	}
	if got := judged(t, "Proxy-Authorization", next); len(got) != 2 || got[0].Nc != 2 {
		t.Errorf("got %+v, want both proxies' realms, the first for the second time", got)
	}
	bye := newTestRequest(t, "BYE", "")
	if err := a.authorize(bye); err != nil {
		t.Fatal(err)
	}
	if got := judged(t, "Proxy-Authorization", bye); len(got) != 2 || got[0].Nc != 3 {
		t.Errorf("got %+v in the BYE, want the third count", got)
	}
	if got := judged(t, "Authorization", bye); len(got) != 1 || got[0].Nc != 2 {
		t.Errorf("got %+v in the BYE, want the second count", got)
	}
	ack := newTestRequest(t, "ACK", "")
	repeatCredentials(next, ack)
	if got, want := ack.GetHeader("Authorization").Value(), next.GetHeader("Authorization").Value(); got != want || len(ack.GetHeaders("Proxy-Authorization")) != 2 {
		t.Errorf("got %s in the ACK, want the INVITE's own: %s", got, want)
	}
}

// Credentials that were refused are not shown again, but once more for a stale nonce.
func TestRejected(t *testing.T) {
	line := func(nonce, more string) string {
		return fmt.Sprintf(`WWW-Authenticate: Digest realm="r", nonce=%q, qop="auth"%s`, nonce, more)
	}
	for _, test := range []struct {
		name  string
		lines []string // of each response in turn
		want  []error
	}{
		{"same nonce", []string{line("1", ""), line("1", "")}, []error{nil, ErrRejected}},
		{"new nonce, not stale", []string{line("1", ""), line("2", ", stale=false")}, []error{nil, ErrRejected}},
		{"stale", []string{line("1", ""), line("2", ", stale=TRUE"), line("3", "")}, []error{nil, nil, ErrRejected}},
		{"stale for ever", []string{line("1", ""), line("2", `, stale="true"`), line("3", ", stale=true")}, []error{nil, nil, ErrRejected}},
	} {
		a, req := newAuthorizer(), newTestRequest(t, "REGISTER", "")
		for i, line := range test.lines {
			next, err := a.challenged(req, challenge(t, 401, line))
			if !errors.Is(err, test.want[i]) {
				t.Errorf("%s, response %d: got %v, want %v", test.name, i+1, err, test.want[i])
			}
			if err == nil {
				judged(t, "Authorization", next)
				req = next
			}
		}
		later := newTestRequest(t, "REGISTER", "")
		if err := a.authorize(later); err != nil || later.GetHeader("Authorization") != nil {
			t.Errorf("%s: got %v, %v in a later request, want what was refused left out", test.name, later.GetHeader("Authorization"), err)
		}
	}
}

// A request that carried an older challenge's credentials is sent again with a new
// nonce, said to be stale or not, but not with the nonce that it had.
func TestOldNonce(t *testing.T) {
	for _, test := range []struct {
		line string
		want error
	}{
		{`WWW-Authenticate: Digest realm="r", nonce="2", stale=true`, nil},
		{`WWW-Authenticate: Digest realm="r", nonce="2"`, nil},
		{`WWW-Authenticate: Digest realm="r", nonce="1"`, ErrRejected},
	} {
		a := newAuthorizer()
		if _, err := a.challenged(newTestRequest(t, "INVITE", ""), challenge(t, 401, `WWW-Authenticate: Digest realm="r", nonce="1"`)); err != nil {
			t.Fatal(err)
		}
		bye := newTestRequest(t, "BYE", "")
		if err := a.authorize(bye); err != nil {
			t.Fatal(err)
		}
		next, err := a.challenged(bye, challenge(t, 401, test.line))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.line, err, test.want)
		}
		if err == nil {
			if got := judged(t, "Authorization", next); len(got) != 1 || got[0].Nonce != "2" {
				t.Errorf("%s: got %+v, want nonce 2 alone", test.line, got)
			}
			if _, err := a.challenged(next, challenge(t, 401, `WWW-Authenticate: Digest realm="r", nonce="3"`)); !errors.Is(err, ErrRejected) {
				t.Errorf("%s: got %v for the second time, want %v", test.line, err, ErrRejected)
			}
		}
	}
}

// What cannot be met says why.
func TestUnmetChallenges(t *testing.T) {
	unreadable := errors.New("no such file")
	some := `WWW-Authenticate: Digest realm="r", nonce="1"`
	for _, test := range []struct {
		credentials Credentials
		line        string
		want        error
	}{
		{Credentials{}, some, ErrNoCredentials},
		{Credentials{User: "bewaard", Password: func() (string, error) { return "", unreadable }}, some, unreadable},
		{Credentials{User: "bewaard", Password: password("secret")}, `WWW-Authenticate: Digest realm="r", nonce="1", algorithm=SHA3-512`, ErrChallenge},
		{Credentials{User: "bewaard", Password: password("secret")}, `WWW-Authenticate: Digest realm="r", nonce="1", qop="sealed"`, ErrChallenge},
		{Credentials{User: "bewaard", Password: password("secret")}, `WWW-Authenticate: Digest realm="r", nonce="1", algorithm=MD5-sess`, ErrChallenge},
		{Credentials{User: "bewaard", Password: password("secret")}, `WWW-Authenticate: Basic realm="r"`, ErrChallenge},
		{Credentials{User: "bewaard", Password: password("secret")}, `Subject: none`, ErrChallenge},
	} {
		a := &authorizer{credentials: test.credentials}
		if next, err := a.challenged(newTestRequest(t, "INVITE", ""), challenge(t, 401, test.line)); !errors.Is(err, test.want) || next != nil {
			t.Errorf("%s: got %v, %v, want %v", test.line, next, err, test.want)
		}
	}
}

// A peer that always has another realm is given up, and is not remembered without end.
func TestEndlessRealms(t *testing.T) {
	a := newAuthorizer()
	for range 10 {
		req, sent := newTestRequest(t, "OPTIONS", ""), 0
		for {
			next, err := a.challenged(req, challenge(t, 401, fmt.Sprintf(`WWW-Authenticate: Digest realm=%q, nonce="1"`, stack.GenerateBranch())))
			if err != nil {
				break
			}
			req, sent = next, sent+1
		}
		if sent != mostRetries {
			t.Fatalf("got %d requests sent again, want %d", sent, mostRetries)
		}
	}
	if len(a.known) > mostRemembered || len(a.retries) > mostRemembered {
		t.Errorf("got %d challenges and %d requests remembered, want %d at most", len(a.known), len(a.retries), mostRemembered)
	}
}

// Challenges are read in the forms that peers write them in.
func TestParseChallenges(t *testing.T) {
	plain := digest.Challenge{Realm: "r", Nonce: "n"}
	for _, test := range []struct {
		field string
		want  []digest.Challenge
	}{
		{`Digest realm="r", nonce="n"`, []digest.Challenge{plain}},
		{"DIGEST\tREALM = \"r\"\t,Nonce =n", []digest.Challenge{plain}},
		{`Digest realm="r",,nonce="n",`, []digest.Challenge{plain}},
		{`Basic realm="b", Digest realm="r", nonce="n", Negotiate abc==, Digest realm="r", nonce="n"`, []digest.Challenge{plain, plain}},
		{`Digest realm="", nonce="n"`, []digest.Challenge{{Nonce: "n"}}},
		{`Digest realm="a \"b\", Digest c=d", nonce="n"`, []digest.Challenge{{Realm: `a "b", Digest c=d`, Nonce: "n"}}},
		{`Digest realm="r", nonce="n", qop="auth , AUTH-INT", stale=True, algorithm=sha-256, opaque="o", userhash=true, domain="sip:a", new=1`,
			[]digest.Challenge{{Realm: "r", Nonce: "n", QOP: []string{"auth", "auth-int"}, Stale: true, Algorithm: "sha-256", Opaque: "o", Userhash: true}}},
		{`Digest nonce="n"`, nil},
		{`Digest realm="r"`, nil},
		{`Digest realm="r", nonce="n`, nil},
		{`Digest`, nil},
		{``, nil},
		{`"`, nil},
	} {
		if diff := cmp.Diff(test.want, parseChallenges(test.field)); diff != "" {
			t.Errorf("%s: want -, got +\n%s", test.field, diff)
		}
	}
}

// Whatever a challenge says, what is sent back is one header line whose digest is right.
func FuzzChallenge(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=MD5-sess, opaque="\"", stale=true`)
	f.Add(`Digest realm="r", nonce="n", Digest realm="s", nonce="n", algorithm=SHA-256`)
	f.Add(`Basic YWJj==, Digest realm=a_b,nonce="a\\b"`)
	f.Fuzz(func(t *testing.T, field string) {
		a, req := newAuthorizer(), newTestRequest(t, "INVITE", someSDP)
		res := stack.NewResponse(401, "Unauthorized")
		res.AppendHeader(stack.NewHeader("WWW-Authenticate", field))
		next, err := a.challenged(req, res)
		if err != nil {
			return
		}
		for _, h := range next.GetHeaders("Authorization") {
			if strings.ContainsAny(h.Value(), "\r\n") {
				t.Errorf("got %q, want one line", h.Value())
			}
			c, err := digest.ParseCredentials(h.Value())
			if err != nil {
				t.Fatalf("%q: %v", h.Value(), err)
			}
			for _, k := range a.known {
				name, session := algorithm(k.Challenge)
				if !utf8.ValidString(field) || strings.ContainsFunc(field, func(r rune) bool { return r < ' ' || r > '~' }) || k.Userhash || c.Realm != k.Realm {
					continue
				}
				want := digestOf{name, "bewaard", k.Realm, "secret", "INVITE", req.Recipient.String(), k.Nonce, "00000001", c.Cnonce, c.QOP, someSDP}
				if session {
					want.algorithm += "-sess"
				}
				if c.Nonce != k.Nonce || c.Response != want.response() {
					t.Errorf("got nonce %q, response %s, want %q, %s", c.Nonce, c.Response, k.Nonce, want.response())
				}
			}
		}
	})
}

// Credentials for one realm are no other's: that is told of, and gets nothing to guess the
// password by, also where both challenge at once.
func TestForeignRealm(t *testing.T) {
	var heard []string
	a := &authorizer{credentials: Credentials{
		User: "us", Password: password("secret"), Realm: "carrier",
		Heard: func(realm string, met bool) { heard = append(heard, fmt.Sprint(realm, " ", met)) },
	}}
	invite := newTestRequest(t, "INVITE", "")
	if next, err := a.challenged(invite, challenge(t, 407, `Proxy-Authenticate: Digest realm="beyond", nonce="1"`)); !errors.Is(err, ErrRealm) || next != nil {
		t.Errorf("got %v, %v of another realm's challenge", next, err)
	}
	res := challenge(t, 407, `Proxy-Authenticate: Digest realm="carrier", nonce="2"`)
	res.AppendHeader(stack.NewHeader("Proxy-Authenticate", `Digest realm="beyond", nonce="3"`))
	next, err := a.challenged(invite, res)
	if err != nil {
		t.Fatal(err)
	}
	if got := next.GetHeaders("Proxy-Authorization"); len(got) != 1 || !strings.Contains(got[0].Value(), `realm="carrier"`) {
		t.Errorf("got %v, want credentials for the carrier alone", got)
	}
	if diff := cmp.Diff([]string{"beyond false", "carrier true", "beyond false"}, heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
}
