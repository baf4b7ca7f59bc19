package spool

import (
	"errors"
	"fmt"
	"time"
)

// ErrNoGrant is returned when a spool is created with the zero Grant.
var ErrNoGrant = errors.New("no grant")

// Terms are what a recording is made under. They stand in the spool's header.
type Terms struct {
	Recording string `json:"recording"` // id of the recording, its call and its row
	Purpose   string `json:"purpose"`
	Basis     string `json:"basis"`     // lawful basis
	Retention string `json:"retention"` // ISO 8601 calendar period, as P14D
	Rule      string `json:"rule"`      // name of the rule that matched
	Policy    string `json:"policy"`    // version of the policy the rule stands in

	// NotBefore is when the announcement ended: no packet that arrived before
	// it is kept. It is absent from exempt recordings only.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Exempt is the written reason why nothing had to be announced.
	Exempt string `json:"exempt,omitempty"`
}

// Grant is the leave to record one call. NewGrant is the only way to one.
type Grant struct {
	terms Terms
}

// NewGrant returns a grant with these terms. Every term must be given, and
// either the end of the announcement or the reason why there was none, not both.
func NewGrant(t Terms) (Grant, error) {
	if err := validID(t.Recording); err != nil {
		return Grant{}, fmt.Errorf("grant a recording: %w", err)
	}
	for _, term := range []struct{ name, text string }{
		{"purpose", t.Purpose},
		{"lawful basis", t.Basis},
		{"retention", t.Retention},
		{"rule", t.Rule},
		{"policy version", t.Policy},
	} {
		if term.text == "" {
			return Grant{}, fmt.Errorf("grant recording %s: no %s", t.Recording, term.name)
		}
	}
	switch {
	case t.NotBefore.IsZero() && t.Exempt == "":
		return Grant{}, fmt.Errorf("grant recording %s: neither announced nor exempt", t.Recording)
	case !t.NotBefore.IsZero() && t.Exempt != "":
		return Grant{}, fmt.Errorf("grant recording %s: both announced and exempt", t.Recording)
	}
	return Grant{t}, nil
}

// Terms returns what the grant was made with.
func (g Grant) Terms() Terms { return g.terms }

// validID says why id cannot be the id of a recording, which is also a file's name.
func validID(id string) error {
	if id == "" {
		return errors.New("no recording id")
	}
	if len(id) > 64 {
		return fmt.Errorf("recording id of %d characters", len(id))
	}
	for _, c := range []byte(id) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-':
		default:
			return fmt.Errorf("recording id %q: character %q", id, c)
		}
	}
	return nil
}
