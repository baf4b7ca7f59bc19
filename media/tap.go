package media

import (
	"sync/atomic"

	"github.com/bewaard/bewaard/media/rtp"
)

// Tap holds copies of a call's packets until the recorder fetches them: a ring of
// bytes a leg, with one producer, the leg's socket, and one consumer, Drain. Neither
// waits for the other: a copy that finds no room is dropped and counted.
type Tap struct{ legs [2]ring }

// NewTap makes a tap with room for so many bytes a leg, framing included.
func NewTap(bytesPerLeg int) *Tap {
	t := &Tap{}
	for leg := range t.legs {
		t.legs[leg].buf = make([]byte, bytesPerLeg)
	}
	return t
}

// ring is memory that is filled at one end and emptied at the other. A batch never
// wraps: what does not fit behind the last one, or finds the ring empty, starts again at
// the front, and end says where the full part behind stops.
//
//	0        head          tail      len
//	|--------|xxxxxxxxxxxxx|---------|       tail ≥ head
//	|xxxxxxxx|-------------|xxxxx|---|       tail < head: up to end, then from 0
//	         tail          head  end
type ring struct {
	buf     []byte
	head    atomic.Uint32 // first byte not drained; the consumer's
	tail    atomic.Uint32 // first byte not filled; the producer's
	end     atomic.Uint32 // written before tail goes back to the front
	dropped atomic.Uint64
}

// put copies a packet and reports whether there was room. It is called from one
// goroutine at a time.
func (r *ring) put(at int64, packet []byte) bool {
	n := uint32(rtp.CapturedBytes(len(packet)))
	head, tail := r.head.Load(), r.tail.Load()
	switch {
	case tail == head && n < head: // empty: the memory at the front is what the cache has
		r.end.Store(tail)
		tail = 0
	case tail < head:
		if tail+n >= head { // never equal: that would read as empty
			r.dropped.Add(1)
			return false
		}
	case tail+n <= uint32(len(r.buf)):
	case n < head:
		r.end.Store(tail)
		tail = 0
	default:
		r.dropped.Add(1)
		return false
	}
	rtp.AppendCaptured(r.buf[tail:tail:tail+n], at, packet)
	r.tail.Store(tail + n)
	return true
}

// drain hands over what there is. It is called from one goroutine at a time.
func (r *ring) drain(leg rtp.Leg, keep func(rtp.Leg, []byte) error) error {
	head, tail := r.head.Load(), r.tail.Load()
	if tail < head {
		if end := r.end.Load(); head < end {
			if err := keep(leg, r.buf[head:end]); err != nil {
				return err
			}
		}
		r.head.Store(0)
		head = 0
	}
	if head < tail {
		if err := keep(leg, r.buf[head:tail]); err != nil {
			return err
		}
		r.head.Store(tail)
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

// Dropped returns how many packets of each leg found no room.
func (t *Tap) Dropped() [2]uint64 {
	return [2]uint64{t.legs[0].dropped.Load(), t.legs[1].dropped.Load()}
}
