package sip

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"

	stack "github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// Credentials are who we are to a peer that challenges (RFC 3261 §22). The zero value
// meets no challenge.
type Credentials struct {
	User string
	// Password is asked for each time it is needed, so it may come from a file that
	// changes. It must be safe for several goroutines.
	Password func() (string, error)
	// Realm is the one whose challenges are met; "" is any. Who has the answer to a challenge of
	// his own may guess the password by it.
	Realm string
	// Heard is told of each realm that challenges, and whether it is met; it must be safe for
	// several goroutines. Nil tells nobody.
	Heard func(realm string, met bool)
}

// meets reports whether a realm's challenges are met, and tells of it.
func (c Credentials) meets(realm string) bool {
	met := c.Realm == "" || c.Realm == realm
	if c.Heard != nil {
		c.Heard(realm, met)
	}
	return met
}

// What a challenged request ends with.
var (
	ErrNoCredentials = errors.New("challenged, and there are no credentials")
	ErrChallenge     = errors.New("no challenge that can be met") // none of digest, or of an algorithm that we know
	ErrRealm         = errors.New("challenged by another realm than the credentials are for")
	ErrRejected      = errors.New("credentials rejected")
)

// authorizer meets the challenges of one dialog or one registration and remembers them,
// so that its later requests are not challenged again (RFC 3261 §22.2, §22.3).
type authorizer struct {
	credentials Credentials

	mu      sync.Mutex
	known   []*known // the last challenge of each protection space
	retries []retry  // the last requests that met a challenge
}

// space is a protection space: of the peer itself or of a proxy before it.
type space struct {
	credentials string // the header field that is sent
	realm       string
}

// kinds of challenge and the field that answers each (RFC 3261 §22.2, §22.3).
var authKinds = [...]struct{ challenge, credentials string }{
	{"WWW-Authenticate", "Authorization"},
	{"Proxy-Authenticate", "Proxy-Authorization"},
}

// known is a challenge that we can meet.
type known struct {
	space
	digest.Challenge
	// One for all requests: the session variants hash it into the key (RFC 7616 §3.4.2).
	cnonce string
	count  int // requests sent with the nonce
}

// retry is a request that was sent again with credentials.
type retry struct {
	branch string
	times  int            // that it was sent again
	stale  map[space]bool // the spaces it met: whether again, for a nonce that was stale
}

const (
	// mostRetries is how often one request may be challenged: by itself, by some
	// proxies on its way, and by each once more for a stale nonce.
	mostRetries = 6
	// mostRemembered bounds what a peer can make an authorizer remember.
	mostRemembered = 16
)

// challenged returns the request to be sent after a request of ours was answered with
// 401 or 407: a copy with a new branch, the next number and the credentials that are
// asked for. Whoever counts a dialog's requests sets the number (RFC 3261 §12.2.1.1).
//
// Credentials that were just refused are not sent again, unless the peer says that the
// nonce alone was stale, and then once.
func (a *authorizer) challenged(req *stack.Request, res *stack.Response) (*stack.Request, error) {
	if a.credentials.Password == nil {
		return nil, ErrNoCredentials
	}
	password, err := a.credentials.Password()
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.retryOf(req)
	again := retry{branch: stack.GenerateBranch(), times: before.times + 1, stale: map[space]bool{}}
	for s, stale := range before.stale {
		again.stale[s] = stale
	}
	if again.times > mostRetries {
		return nil, ErrRejected
	}
	met, rejected, foreign := false, false, false
	for _, k := range demanded(res) {
		if !a.credentials.meets(k.realm) {
			foreign = true
			continue
		}
		wasStale, retried := before.stale[k.space]
		switch shown := shownNonce(req, k.space); {
		case retried && (wasStale || !k.Stale), !retried && shown == k.Nonce && !k.Stale:
			rejected = true
			a.forget(k.space)
		default:
			met = true
			again.stale[k.space] = shown != "" && k.Stale
			a.remember(k)
		}
	}
	switch {
	case !met && rejected:
		return nil, ErrRejected
	case !met && foreign:
		return nil, ErrRealm
	case !met:
		return nil, ErrChallenge
	}
	next := req.Clone()
	next.Via().Params.Add("branch", again.branch)
	next.CSeq().SeqNo++
	a.retries = append(a.retries, again)
	if len(a.retries) > mostRemembered {
		a.retries = slices.Delete(a.retries, 0, 1)
	}
	if err := a.sign(next, password); err != nil {
		return nil, err
	}
	return next, nil
}

// authorize adds credentials for the challenges that came before, to a request that has
// its final request URI and body.
func (a *authorizer) authorize(req *stack.Request) error {
	a.mu.Lock()
	none := len(a.known) == 0
	a.mu.Unlock()
	if none {
		return nil
	}
	password, err := a.credentials.Password()
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sign(req, password)
}

// repeatCredentials gives the ACK of a 2xx the credentials of its INVITE: an ACK
// cannot be challenged (RFC 3261 §22.1).
func repeatCredentials(invite, ack *stack.Request) {
	for _, kind := range authKinds {
		for _, h := range invite.GetHeaders(kind.credentials) {
			ack.AppendHeader(stack.HeaderClone(h))
		}
	}
}

// sign replaces a request's credentials. The caller holds mu.
func (a *authorizer) sign(req *stack.Request, password string) error {
	for _, kind := range authKinds {
		for req.RemoveHeader(kind.credentials) {
		}
	}
	for _, k := range a.known {
		value, err := k.meet(req, a.credentials.User, password)
		if err != nil {
			return fmt.Errorf("compute the digest: %w", err)
		}
		req.AppendHeader(stack.NewHeader(k.credentials, value))
	}
	return nil
}

func (a *authorizer) retryOf(req *stack.Request) retry {
	branch, _ := req.Via().Params.Get("branch")
	for _, r := range a.retries {
		if r.branch == branch {
			return r
		}
	}
	return retry{}
}

func (a *authorizer) remember(k *known) {
	if i := slices.IndexFunc(a.known, func(o *known) bool { return o.space == k.space }); i >= 0 {
		if a.known[i].Nonce == k.Nonce {
			k.cnonce, k.count = a.known[i].cnonce, a.known[i].count
		}
		a.known[i] = k
		return
	}
	if len(a.known) == mostRemembered {
		a.known = slices.Delete(a.known, 0, 1)
	}
	a.known = append(a.known, k)
}

func (a *authorizer) forget(s space) {
	a.known = slices.DeleteFunc(a.known, func(k *known) bool { return k.space == s })
}

// demanded returns the challenge to meet of each protection space in the response. A
// proxy that forked gathers challenges of both kinds in one response (RFC 3261 §16.7).
//
// RFC 8760 §2.4 leaves the choice among several to local policy: the strongest, so
// that nobody on the way can talk us down by adding or moving a field.
func demanded(res *stack.Response) []*known {
	var all []*known
	for _, kind := range authKinds {
		for _, c := range challenges(res, kind.challenge) {
			strength := strengthOf(c)
			if strength == 0 {
				continue
			}
			k := &known{space: space{kind.credentials, c.Realm}, Challenge: c, cnonce: newTag()}
			i := slices.IndexFunc(all, func(o *known) bool { return o.space == k.space })
			switch {
			case i < 0:
				all = append(all, k)
			case strength > strengthOf(all[i].Challenge):
				all[i] = k
			}
		}
	}
	return all
}

// strengthOf ranks a challenge's algorithm (RFC 8760 §2.2, RFC 7616 §6.1); 0 is one
// that we cannot meet.
func strengthOf(c digest.Challenge) int {
	if len(c.QOP) > 0 && !c.SupportsQOP("auth") && !c.SupportsQOP("auth-int") {
		return 0
	}
	name, session := algorithm(c)
	if session && len(c.QOP) == 0 { // it needs our nonce, which goes with a qop only
		return 0
	}
	switch name {
	case "MD5":
		return 1
	case "SHA-256":
		return 2
	case "SHA-512-256":
		return 3
	}
	return 0
}

// algorithm returns the name of the hash and whether it is the session variant.
func algorithm(c digest.Challenge) (name string, session bool) {
	name, session = strings.CutSuffix(strings.ToUpper(c.Algorithm), "-SESS")
	if c.Algorithm == "" { // RFC 3261 §22.4
		name = "MD5"
	}
	return name, session
}

// meet returns the credentials of one request.
func (k *known) meet(req *stack.Request, user, password string) (string, error) {
	k.count++
	options := digest.Options{
		Method: string(req.Method), URI: req.Recipient.String(), Count: k.count, Cnonce: k.cnonce,
		Username: user, Password: password,
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body())), nil },
	}
	challenge := k.Challenge
	name, session := algorithm(challenge)
	if session { // the library knows the plain variants
		challenge.Algorithm = name
		options.A1 = sessionKey(name, user+":"+k.Realm+":"+password, k.Nonce+":"+k.cnonce)
	}
	credentials, err := digest.Digest(&challenge, options)
	if err != nil {
		return "", err
	}
	credentials.Algorithm = k.Algorithm
	return credentials.String(), nil
}

// sessionKey is H(A1) of a session variant (RFC 7616 §3.4.2).
func sessionKey(name, secret, nonces string) string {
	var h hash.Hash
	switch name {
	case "SHA-256":
		h = sha256.New()
	case "SHA-512-256":
		h = sha512.New512_256()
	default:
		h = md5.New()
	}
	h.Write([]byte(secret))
	inner := hex.EncodeToString(h.Sum(nil))
	h.Reset()
	h.Write([]byte(inner + ":" + nonces))
	return hex.EncodeToString(h.Sum(nil))
}

// shownNonce returns the nonce that the request's credentials for a space have.
func shownNonce(req *stack.Request, s space) string {
	for _, h := range req.GetHeaders(s.credentials) {
		// What we wrote reads like a challenge: realm and nonce are all that matters.
		for _, c := range parseChallenges(h.Value()) {
			if c.Realm == s.realm {
				return c.Nonce
			}
		}
	}
	return ""
}
