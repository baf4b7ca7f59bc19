package sip

import (
	"sync"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// order has the requests of one leg handled in the order in which they came: sipgo gives
// each a goroutine of its own, and a BYE must not overtake the ACK before it.
//
//	transport ─ arrive ─▶ sipgo's goroutine ─ turn … handled … done
type order struct {
	mu      sync.Mutex
	highest uint32 // number of a request; what is not above it came before, or is late
	waiting []*arrival
}

// arrival is one request that came and is not handled yet.
type arrival struct {
	seq  uint32
	ack  bool
	done chan struct{}
}

// patience is how long a request waits for the one before it. That one is missing only
// if sipgo lost it, as where there is no way to answer it.
const patience = 500 * time.Millisecond

// arrive notes a request, in the transport's own goroutine. An ACK is noted when it is
// awaited; another never reaches the leg by itself.
func (o *order) arrive(req *stack.Request, awaited bool) {
	if req.CSeq() == nil || req.IsCancel() || req.IsAck() && !awaited {
		return
	}
	a := &arrival{seq: req.CSeq().SeqNo, ack: req.IsAck(), done: make(chan struct{})}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !a.ack && a.seq <= o.highest || a.ack && o.find(a.seq, true) >= 0 { // repeated
		return
	}
	o.highest = max(o.highest, a.seq)
	o.waiting = append(o.waiting, a)
}

// turn waits until every request that came before this one is handled. What it returns
// is to be called when this one is.
func (o *order) turn(req *stack.Request, over <-chan struct{}) (done func()) {
	o.mu.Lock()
	at := o.find(req.CSeq().SeqNo, req.IsAck())
	if at < 0 {
		o.mu.Unlock()
		return func() {}
	}
	self := o.waiting[at]
	before := append([]*arrival(nil), o.waiting[:at]...)
	o.mu.Unlock()
	for _, a := range before {
		lost := time.NewTimer(patience)
		select {
		case <-a.done:
		case <-lost.C:
			o.drop(a)
		case <-over:
		}
		lost.Stop()
	}
	return func() { o.drop(self) }
}

func (o *order) find(seq uint32, ack bool) int {
	for i, a := range o.waiting {
		if a.seq == seq && a.ack == ack {
			return i
		}
	}
	return -1
}

func (o *order) drop(a *arrival) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.waiting {
		if o.waiting[i] == a {
			o.waiting = append(o.waiting[:i], o.waiting[i+1:]...)
			close(a.done)
			return
		}
	}
}

// came ends the wait for an ACK that the INVITE's own transaction brought.
func (o *order) came(seq uint32) {
	o.mu.Lock()
	at := o.find(seq, true)
	var a *arrival
	if at >= 0 {
		a = o.waiting[at]
	}
	o.mu.Unlock()
	if a != nil {
		o.drop(a)
	}
}
