package rtp

import (
	"math"
	"testing"
	"time"
)

// The estimate is what ITU-T G.107 gives: 4.41 at its best, less with loss, delay and a
// worse codec, never out of its scale.
func TestMOS(t *testing.T) {
	for _, c := range []struct {
		name string
		q    Quality
		want float64
	}{
		{"G.711, nothing lost", Quality{Codec: "PCMA"}, 4.41},
		{"one in a hundred lost", Quality{Codec: "PCMA", Lost: 0.01}, 4.33},
		{"one in ten lost", Quality{Codec: "PCMU", Lost: 0.1}, 3.41},
		{"G.729", Quality{Codec: "G729"}, 4.10},
		{"600 ms there and back", Quality{Codec: "PCMA", RoundTrip: 600 * time.Millisecond}, 3.88},
		{"nothing came", Quality{Codec: "PCMA", Lost: 1}, 1.18},
		{"unknown codec", Quality{Codec: "X"}, 4.41},
	} {
		if got := c.q.MOS(); math.Abs(got-c.want) > 0.05 {
			t.Errorf("%s: got %.3f, want %.2f", c.name, got, c.want)
		}
	}
}

// NTP times and spans go there and back.
func TestNTP(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 250_000_000, time.UTC)
	if got := NTP(at); got>>32 != 4002523200 || got&0xffffffff != 1<<30 {
		t.Errorf("got %x", got)
	}
	for _, d := range []time.Duration{0, time.Millisecond, -1500 * time.Millisecond, time.Hour} {
		if got := NTPDuration(NTP(at), NTP(at.Add(d))); got < d-time.Microsecond || got > d+time.Microsecond {
			t.Errorf("got %v for %v", got, d)
		}
	}
	if got := MiddlesDuration(Middles(1500 * time.Millisecond)); got < 1499*time.Millisecond || got > 1501*time.Millisecond {
		t.Errorf("got %v", got)
	}
}

// What comes twice is counted once, and does not hide a loss; what comes late is no loss.
func TestReceptionDuplicates(t *testing.T) {
	var r Reception
	for _, sequence := range []uint16{10, 11, 11, 13, 12, 12, 13, 16, 9} {
		r.Take(Header{SSRC: 1, Sequence: sequence}, 0, 8000, true)
	}
	if r.Lost() != 2 || r.Duplicates() != 3 || r.Reordered() != 2 {
		t.Errorf("got %d lost, %d duplicates, %d reordered; want 2 (14, 15), 3, 2", r.Lost(), r.Duplicates(), r.Reordered())
	}
}
