package store

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// Keys sort as their instants do, before 1970 and after 2262 too, and give back
// what they were made of.
func TestIndexKeys(t *testing.T) {
	id := NewID()
	instants := []time.Time{
		{},
		time.Date(1969, 12, 31, 23, 59, 59, 999e6, time.UTC),
		time.Unix(0, 0).UTC(),
		noon,
		noon.Add(time.Millisecond),
		time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	}
	var keys [][]byte
	for _, at := range instants {
		key := indexKey(at, id)
		keys = append(keys, key)
		if got := keyInstant(key); !got.Equal(at) {
			t.Errorf("got instant %v, want %v", got, at)
		}
		if got := keyID(key); got != id {
			t.Errorf("got id %s, want %s", got, id)
		}
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Error("got keys out of order")
	}
}
