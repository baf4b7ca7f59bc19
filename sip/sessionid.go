package sip

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"

	stack "github.com/emiago/sipgo/sip"
)

// sessionID is what a leg knows of Session-ID (RFC 7989): each party's identifier goes to
// the other unchanged, so that a call can be followed through every box on its way. For a
// party that has none we make one. Its lock is its own: both legs of a call read both.
type sessionID struct {
	mu   sync.Mutex
	peer string // the leg's own party's; "" while it has told none
	made string // ours for it, if the other party has to be told one
}

// nobody stands for an identifier that is not known yet (RFC 7989 §5).
const nobody = "00000000000000000000000000000000"

// learn takes the peer's identifier from a message of its.
func (s *sessionID) learn(msg stack.Message) {
	id, _, _ := strings.Cut(first(msg, "Session-ID"), ";")
	id = strings.ToLower(strings.TrimSpace(id))
	if b, err := hex.DecodeString(id); err != nil || len(b) != 16 || id == nobody {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peer = id
}

// told returns the peer's own identifier, or nobody.
func (s *sessionID) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.peer, nobody)
}

// party returns the identifier by which the other party is told of the leg's.
func (s *sessionID) party() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer != "" {
		return s.peer
	}
	if s.made == "" {
		b := make([]byte, 16)
		rand.Read(b)                                // never fails
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a UUID of version 4 (RFC 9562 §5.4)
		s.made = hex.EncodeToString(b)
	}
	return s.made
}

// identify says in a message to a leg whose call it is: the other party's identifier, and
// the leg's own.
func (l *Leg) identify(msg stack.Message) {
	if partner := l.partner.Load(); partner != nil {
		msg.AppendHeader(stack.NewHeader("Session-ID", partner.ids.party()+";remote="+l.ids.told()))
	}
}
