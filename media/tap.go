package media

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// Tap holds copies of a call's packets until the recorder fetches them: a ring of
// bytes a leg, with one producer, the leg's socket, and one consumer, Drain. Neither
// waits for the other: a copy that finds no room is dropped and counted.
//
// Beside the packets it holds what the peers' sender reports say of their clocks, which
// the desk brings.
type Tap struct {
	legs [2]queue

	mu       sync.Mutex
	reported []rtp.Reported
	reportAt [2]int64 // when the last of each leg came
}

const (
	// maxReported is how many sender reports wait for the recorder. More say nothing new.
	maxReported = 16
	// reportedEvery is the least time between two of a leg: a peer that sends more of them
	// does not make the spool longer (RFC 3550 §6.2 has one every five seconds).
	reportedEvery = time.Second
)

// NewTap makes a tap with room for so many bytes a leg, framing included.
func NewTap(bytesPerLeg int) *Tap {
	t := &Tap{}
	t.Grow(bytesPerLeg)
	return t
}

// Grow gives a tap room for so many bytes a leg from now on, if it has less: for when a
// call goes over to a codec that sends more. Nothing that it holds is lost or changes its
// order. It is for one goroutine at a time.
func (t *Tap) Grow(bytesPerLeg int) {
	for leg := range t.legs {
		t.legs[leg].grow(bytesPerLeg)
	}
}

// Leave has nothing of a leg kept from now on, or all again.
func (t *Tap) Leave(leg rtp.Leg, on bool) { t.legs[leg].left.Store(on) }

// queue is a leg's rings: the one that is filled, and those before it, which are emptied
// first. Mostly that is the same one.
type queue struct {
	last     atomic.Pointer[ring] // that is filled
	draining *ring                // the consumer's
	dropped  atomic.Uint64
	left     atomic.Bool // nothing is kept
}

func (q *queue) grow(bytes int) {
	now, bigger := q.last.Load(), &ring{buf: make([]byte, bytes)}
	switch {
	case now == nil:
		q.draining = bigger
	case bytes <= len(now.buf):
		return
	default:
		now.next.Store(bigger)
	}
	q.last.Store(bigger)
}

// put copies a packet and reports whether there was room. It is called from one
// goroutine at a time.
func (q *queue) put(at int64, packet []byte) bool {
	if q.left.Load() {
		return true
	}
	if !q.last.Load().put(at, packet) {
		q.dropped.Add(1)
		return false
	}
	return true
}

// drain hands over what there is. It is called from one goroutine at a time.
func (q *queue) drain(leg rtp.Leg, keep func(rtp.Leg, []byte) error) error {
	for {
		over := q.draining.left()
		if err := q.draining.drain(leg, keep); err != nil || !over {
			return err
		}
		q.draining = q.draining.next.Load()
	}
}

// ring is memory that is filled at one end and emptied at the other. A batch never
// wraps: what does not fit behind the last one starts again at the front, and end
// says where the full part behind stops. A ring that is empty starts again at the front too:
// that is the memory which the cache still has.
//
//	0        head          tail      len
//	|--------|xxxxxxxxxxxxx|---------|       tail ≥ head
//	|xxxxxxxx|-------------|xxxxx|---|       tail < head: up to end, then from 0
//	         tail          head  end
type ring struct {
	buf  []byte
	at   atomic.Uint64        // head, which the consumer moves, and tail, the producer: 32 bits each
	end  atomic.Uint32        // written before tail goes back to the front
	next atomic.Pointer[ring] // that is filled instead of this one; nil for none
}

// left reports whether the ring is filled no more: something was put into one behind it. The
// tail of one that was filled is never at the front again.
func (r *ring) left() bool {
	for next := r.next.Load(); next != nil; next = next.next.Load() {
		if _, tail := next.bounds(); tail != 0 {
			return true
		}
	}
	return false
}

// bounds are the first byte not drained and the first not filled.
func (r *ring) bounds() (head, tail uint32) {
	at := r.at.Load()
	return uint32(at >> 32), uint32(at)
}

func (r *ring) moveHead(from, to uint32) { r.at.Add((uint64(to) - uint64(from)) << 32) }

// moveTail leaves the head alone: the lower half holds from, so nothing is carried.
func (r *ring) moveTail(from, to uint32) { r.at.Add(uint64(to) - uint64(from)) }

// put copies a packet and reports whether there was room.
func (r *ring) put(at int64, packet []byte) bool {
	n := uint32(rtp.CapturedBytes(len(packet)))
	head, tail := r.bounds()
	free := uint32(len(r.buf)) - tail
	switch {
	case tail == head: // the consumer touches nothing of an empty ring
		if n > uint32(len(r.buf)) {
			return false
		}
		rtp.AppendCaptured(r.buf[:0:n], at, packet)
		r.at.Store(uint64(n))
		return true
	case tail < head:
		free = head - tail - 1 // never equal: that would read as empty
	case n > free && n < head:
		rtp.AppendCaptured(r.buf[:0:n], at, packet)
		r.end.Store(tail)
		r.moveTail(tail, n)
		return true
	}
	if n > free {
		return false
	}
	rtp.AppendCaptured(r.buf[tail:tail:tail+n], at, packet)
	r.moveTail(tail, tail+n)
	return true
}

// drain hands over what there is.
func (r *ring) drain(leg rtp.Leg, keep func(rtp.Leg, []byte) error) error {
	head, tail := r.bounds()
	if tail < head {
		if end := r.end.Load(); head < end {
			if err := keep(leg, r.buf[head:end]); err != nil {
				return err
			}
		}
		r.moveHead(head, 0)
		head = 0
	}
	if head < tail {
		if err := keep(leg, r.buf[head:tail]); err != nil {
			return err
		}
		r.moveHead(head, tail)
	}
	return nil
}

// Drain calls keep with the batches that have gathered, each leg's in the order of
// arrival. A batch is valid during the call only. It is for one goroutine at a time.
func (t *Tap) Drain(keep func(leg rtp.Leg, batch []byte) error) error {
	for leg := range t.legs {
		if err := t.legs[leg].drain(rtp.Leg(leg), keep); err != nil {
			return err
		}
	}
	return nil
}

// report puts a sender report among those that wait, if it has a right to be there.
func (t *Tap) report(r rtp.Reported) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := t.reportAt[r.Leg]; last != 0 && r.At-last < int64(reportedEvery) || len(t.reported) == maxReported {
		return
	}
	t.reportAt[r.Leg] = r.At
	t.reported = append(t.reported, r)
}

// Reported takes the sender reports that have gathered.
func (t *Tap) Reported() []rtp.Reported {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.reported
	t.reported = nil
	return taken
}

// Dropped returns how many packets of each leg found no room.
func (t *Tap) Dropped() [2]uint64 {
	return [2]uint64{t.legs[0].dropped.Load(), t.legs[1].dropped.Load()}
}
