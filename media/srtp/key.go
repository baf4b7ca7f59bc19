package srtp

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// maxMaterial is the longest key with its salt.
const maxMaterial = 32 + 12

// Key is a suite's master key and salt. Keys are compared with ==; the zero is none.
type Key struct {
	suite    Suite
	material [maxMaterial]byte
}

// NewKey makes a key that nobody knows.
func NewKey(s Suite) Key {
	k := Key{suite: s}
	rand.Read(k.material[:suites[s].key+suites[s].salt]) // it does not fail
	return k
}

// ParseKey reads a key with the salt behind it, as session descriptions bring it. What is
// wrong with it is said without it.
func ParseKey(s Suite, material []byte) (Key, error) {
	if !s.known() {
		return Key{}, fmt.Errorf("key of %v", s)
	}
	if want := suites[s].key + suites[s].salt; len(material) != want {
		return Key{}, fmt.Errorf("key and salt of %d bytes for %v, which wants %d", len(material), s, want)
	}
	k := Key{suite: s}
	copy(k.material[:], material)
	return k, nil
}

// Suite is what the key is for.
func (k Key) Suite() Suite { return k.suite }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.suite == 0 }

// Material returns the key with the salt behind it: for the peer, and nobody else.
func (k Key) Material() []byte {
	s := suites[k.suite]
	return append([]byte(nil), k.material[:s.key+s.salt]...)
}

func (k Key) halves() (key, salt []byte) {
	s := suites[k.suite]
	return k.material[:s.key], k.material[s.key : s.key+s.salt]
}

// String says what the key is for, and nothing of it; so do the others, which are what
// printing, logging and marshalling would else look into it by.
func (k Key) String() string {
	if k.IsZero() {
		return "no key"
	}
	return "a key of " + k.suite.String()
}

// Format is fmt.Formatter's, for every verb.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// LogValue is slog.LogValuer's.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is encoding.TextMarshaler's.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
