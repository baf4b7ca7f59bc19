package call

import (
	"runtime"
	"testing"
)

// Two calls that ask each other for a party may end at the same time: refusing what is
// left in the box holds no lock that the other's refusal waits for.
func TestLettersAreRefusedUnlocked(t *testing.T) {
	a, b := &Call{letters: newLetters()}, &Call{letters: newLetters()}
	if !a.letters.send(letter{kind: asked, from: b}) {
		t.Fatal("the letter was not taken")
	}
	b.letters.mu.Lock() // as while b closes
	closed := make(chan struct{})
	go func() { a.letters.close(); close(closed) }()
	for len(a.letters.in) > 0 {
		runtime.Gosched()
	}
	free := a.letters.mu.TryLock()
	if free {
		a.letters.mu.Unlock()
	}
	b.letters.mu.Unlock()
	<-closed
	if !free {
		t.Error("the box is locked while a refusal waits for another call")
	}
	if got := <-b.letters.in; got.kind != refused {
		t.Errorf("got letter %d, want refused", got.kind)
	}
}
