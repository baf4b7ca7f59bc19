package media

import (
	"sync"
	"time"
)

// portGrace is how long a pair of ports rests after use: packets that were under way
// to one call must not reach the next.
const portGrace = 2 * time.Second

// ports hands out pairs of an even port for RTP and the odd one above it for RTCP
// (RFC 3550 §11), the one that has rested longest first. Taking and giving back
// cost the same whatever the range.
type ports struct {
	mu   sync.Mutex
	free []pair // a ring
	head int
	n    int
	used int

	exhausted uint64 // times that there was none
}

type pair struct {
	rtp     uint16
	resting time.Time // until then
}

func newPorts(p Ports) *ports {
	first := uint32(p.First) + uint32(p.First)%2
	r := &ports{}
	for port := first; port+1 <= uint32(p.Last); port += 2 {
		r.free = append(r.free, pair{rtp: uint16(port)})
	}
	r.n = len(r.free)
	return r
}

// take returns the RTP port of a free pair, and false when there is none.
func (r *ports) take() (uint16, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 || time.Now().Before(r.free[r.head].resting) {
		r.exhausted++
		return 0, false
	}
	p := r.free[r.head]
	r.head = (r.head + 1) % len(r.free)
	r.n--
	r.used++
	return p.rtp, true
}

// giveBack returns a pair.
func (r *ports) giveBack(port uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free[(r.head+r.n)%len(r.free)] = pair{port, time.Now().Add(portGrace)}
	r.n++
	r.used--
}

func (r *ports) counts() (used int, exhausted uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used, r.exhausted
}

func (r *ports) size() int { return len(r.free) }
