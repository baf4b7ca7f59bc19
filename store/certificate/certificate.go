// Package certificate makes and checks deletion certificates: signed statements that
// a recording is gone, for whoever asks years later, when nothing else is left of it.
// It is pure: keys and where certificates are kept are its caller's.
//
// A certificate's bytes are one line of JSON with its keys in a fixed order. Signed
// with Ed25519 (RFC 8032) are the bytes of the member certificate, behind a line that
// says what they are:
//
//	{"certificate":{"recording":"…",…},"key":"…","signature":"…"}
package certificate

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// purpose is signed before the certificate, so that a signature of the same key on
// something else can never be taken for one.
const purpose = "bewaard deletion certificate 1\n"

// Certificate says what was destroyed, why it was kept, and when its time was over.
// It has no data of a call's parties. Instants are UTC.
type Certificate struct {
	Recording string    `json:"recording"` // the id of the call and its recording
	Purpose   string    `json:"purpose"`
	Basis     string    `json:"basis"`
	Retention string    `json:"retention"`          // ISO 8601
	Purposes  []Purpose `json:"purposes,omitempty"` // all of them, where there were several; the one above was over last
	Made      time.Time `json:"made"`               // the call began
	Expired   time.Time `json:"expired"`
	Destroyed time.Time `json:"destroyed"` // the files had been deleted and seen to be gone
	Files     []File    `json:"files"`     // none where nothing was captured
	Epoch     *Epoch    `json:"epoch,omitempty"`
	Withdrawn uint64    `json:"withdrawn,omitempty"` // the journal's entry by which the last purpose was withdrawn, which is why it expired then
	Entry     uint64    `json:"entry"`               // the journal's, written before the first file was deleted
	EntryHash string    `json:"entry_hash"`          // its SHA-256, in hex
}

// Purpose is one of several that a recording was kept for.
type Purpose struct {
	Purpose   string `json:"purpose"`
	Basis     string `json:"basis"`
	Retention string `json:"retention"`
	Withdrawn bool   `json:"withdrawn,omitempty"`
}

// File is a file as it was kept.
type File struct {
	Format string `json:"format"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of what was on disk, in hex
}

// Epoch is whose key the files were encrypted for: copies of them elsewhere are noise
// once it is destroyed. When that is a certificate cannot know, since what else is sealed for
// it may be kept for longer: the journal says so then (epoch_key).
type Epoch struct {
	Name string    `json:"name"`
	Ends time.Time `json:"ends"` // the key is destroyed no earlier
}

// Signed is a certificate with who says so.
type Signed struct {
	Certificate Certificate `json:"certificate"`
	Key         Key         `json:"key"`       // the node's public key
	Signature   string      `json:"signature"` // base64
}

// Key is a node's public key.
type Key struct{ ed25519.PublicKey }

// SignRemoval signs that a certificate, by its Hash, was taken away since it was kept until then:
// whoever cannot sign certificates cannot make it look as if one was ever there.
func SignRemoval(recording, hash string, until time.Time, key ed25519.PrivateKey) string {
	return hex.EncodeToString(ed25519.Sign(key, removal(recording, hash, until)))
}

// VerifyRemoval reports whether SignRemoval has signed that with one of the keys.
func VerifyRemoval(signature, recording, hash string, until time.Time, keys ...Key) bool {
	sum, err := hex.DecodeString(signature)
	return err == nil && slices.ContainsFunc(keys, func(k Key) bool {
		return ed25519.Verify(k.PublicKey, removal(recording, hash, until), sum)
	})
}

func removal(recording, hash string, until time.Time) []byte {
	return fmt.Appendf(nil, "bewaard: certificate %s of %s was kept until %s", hash, recording, until.UTC().Format(time.RFC3339))
}

// String writes the key as 64 hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k.PublicKey) }

// MarshalText is String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKey(string(text))
	return err
}

// ParseKey reads a public key as String writes it.
func ParseKey(text string) (Key, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != ed25519.PublicKeySize {
		if strings.Contains(text, "PRIVATE KEY") { // nothing of it is repeated
			return Key{}, errors.New("that is a private key, which nobody is to have: give the public one, as bewaard keys public prints it")
		}
		return Key{}, fmt.Errorf("%d characters are not a public key of %d hexadecimal digits, as bewaard keys public prints it", len(strings.TrimSpace(text)), 2*ed25519.PublicKeySize)
	}
	return Key{key}, nil
}

// Is reports whether two keys are the same.
func (k Key) Is(other Key) bool { return bytes.Equal(k.PublicKey, other.PublicKey) }

// check holds a certificate against what is true of every one.
func (c *Certificate) check() error {
	for _, field := range [...]struct{ name, text string }{{"recording", c.Recording}, {"purpose", c.Purpose}, {"basis", c.Basis}} {
		if field.text == "" {
			return fmt.Errorf("it has no %s", field.name)
		}
	}
	instants := []*time.Time{&c.Made, &c.Expired, &c.Destroyed}
	if c.Epoch != nil {
		instants = append(instants, &c.Epoch.Ends)
	}
	for _, t := range instants {
		if *t = t.Round(0).UTC(); t.IsZero() || t.Year() < 1 || t.Year() > 9999 { // RFC 3339 §1 ends there
			return fmt.Errorf("%v is none of its instants", t)
		}
	}
	if c.Entry == 0 {
		return errors.New("it names no entry of the journal")
	}
	for _, f := range c.Files {
		if f.Bytes < 0 {
			return fmt.Errorf("a file of %d bytes", f.Bytes)
		}
	}
	return nil
}

// Sign returns the bytes of a signed certificate.
func Sign(c Certificate, key ed25519.PrivateKey) ([]byte, error) {
	if c.Files == nil {
		c.Files = []File{}
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", c.Recording, err)
	}
	message, err := encode(c)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", c.Recording, err)
	}
	signature := ed25519.Sign(key, append([]byte(purpose), message...))
	return encode(Signed{c, Key{key.Public().(ed25519.PublicKey)}, base64.StdEncoding.EncodeToString(signature)})
}

// ErrOtherKey is wrapped when a certificate is signed with another key than is known.
var ErrOtherKey = errors.New("signed with a key that is not known")

// Verify reads the bytes of a signed certificate and checks that one of the keys signed it.
func Verify(line []byte, keys ...Key) (Certificate, error) {
	s, err := Parse(line)
	if err != nil {
		return Certificate{}, err
	}
	for _, key := range keys {
		if key.Is(s.Key) {
			return s.Certificate, s.verify()
		}
	}
	return s.Certificate, fmt.Errorf("certificate of %s: %w: %s", s.Certificate.Recording, ErrOtherKey, s.Key)
}

// Parse reads the bytes of a signed certificate, in the form that Sign writes alone. It
// does not check the signature.
func Parse(line []byte) (Signed, error) {
	var s Signed
	if err := json.Unmarshal(line, &s); err != nil {
		return Signed{}, fmt.Errorf("read certificate: %w", err)
	}
	if err := s.Certificate.check(); err != nil {
		return Signed{}, fmt.Errorf("read certificate of %q: %w", s.Certificate.Recording, err)
	}
	again, err := encode(s)
	if err != nil {
		return Signed{}, fmt.Errorf("read certificate: %w", err)
	}
	if !bytes.Equal(line, again) {
		return Signed{}, fmt.Errorf("read certificate of %q: not in the form it is written in", s.Certificate.Recording)
	}
	return s, nil
}

func (s *Signed) verify() error {
	message, err := encode(s.Certificate)
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(s.Signature)
	if err != nil || !ed25519.Verify(s.Key.PublicKey, append([]byte(purpose), message...), signature) {
		return fmt.Errorf("certificate of %s: the signature is not that of key %s: one of both was changed", s.Certificate.Recording, s.Key)
	}
	return nil
}

// Hash returns the SHA-256 of a signed certificate's bytes, in hex: the journal has it.
func Hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// encode writes a value in one line. The order of its keys is that of its fields.
func encode(v any) ([]byte, error) {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line.Bytes(), []byte("\n")), nil
}
