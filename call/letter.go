package call

import (
	"sync"

	"github.com/bewaard/bewaard/sip"
)

// letter is what calls say to each other: one asks for a party of another, and that gives
// it or refuses. A command comes the same way, from outside.
type letter struct {
	kind letterKind
	from *Call
	leg  *sip.Leg // asked: the party is wanted that this leg's is joined to
	gift *party   // given
	call string   // whose that was

	command *Command
	answer  chan<- error // with room for one
}

type letterKind uint8

const (
	asked letterKind = iota
	given
	refused
	commanded
)

// letters is where a call gets them. Nobody waits: what finds no room, or comes after the
// call's end, is not taken.
type letters struct {
	in chan letter

	mu     sync.Mutex
	closed bool
}

// lettersQueue is how many letters wait for a call.
const lettersQueue = 4

func newLetters() *letters { return &letters{in: make(chan letter, lettersQueue)} }

// send reports whether the letter is taken.
func (b *letters) send(l letter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	select {
	case b.in <- l:
		return true
	default:
		return false
	}
}

// close takes no more letters and answers those that are left.
func (b *letters) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	for { // unlocked: a refusal goes to a call that may be closing too
		select {
		case l := <-b.in:
			l.refuse()
		default:
			return
		}
	}
}

// refuse says no, and lets nobody hang in the air.
func (l letter) refuse() {
	switch l.kind {
	case asked:
		l.from.letters.send(letter{kind: refused})
	case given:
		l.gift.leg.Hangup(480, "Temporarily Unavailable")
		l.gift.place.Release()
	case commanded:
		l.answer <- errOver
	}
}
