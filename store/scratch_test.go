package store

import (
	"fmt"
	"os"
	"testing"
)

// What is kept beside a verification is there, in memory or in its file, until it is deleted;
// the file goes with it.
func TestScratch(t *testing.T) {
	s, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	const n = scratchKeys + scratchKeys/2
	for i := range n {
		if err := s.put(fmt.Sprintf("a %07d", i), numberKey(uint64(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < n; i += 2 {
		if err := s.delete(fmt.Sprintf("a %07d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.put("b 0", numberKey(7)); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"a 0000000": false, "a 0000001": true, fmt.Sprintf("a %07d", n-1): true, fmt.Sprintf("a %07d", n-2): false, "b 0": true, "c": false} {
		if got := s.has(key); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
	seen := 0
	err = s.each("a ", func(rest string, value []byte) error {
		if want := fmt.Sprintf("%07d", 2*seen+1); rest != want || keyNumber(value) != uint64(2*seen+1) {
			return fmt.Errorf("got %s: %d, want %s", rest, keyNumber(value), want)
		}
		seen++
		return nil
	})
	if err != nil || seen != n/2 {
		t.Errorf("got %d, %v, want %d", seen, err, n/2)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.directory); !os.IsNotExist(err) {
		t.Errorf("got %v, want the directory gone", err)
	}
}
