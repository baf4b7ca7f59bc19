package media

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// desk does what is done every few seconds, or every few seconds comes in, for all
// sessions: it reads RTCP, sends ours, and notices silence. Sockets leave what they get at
// the desk and go on; it may allocate and wait. Its goroutine lives from New to Close.
type desk struct {
	silence time.Duration
	letters chan letter
	lost    atomic.Uint64 // letters that found no room
	wake    chan struct{}
	stop    chan struct{}
	done    sync.WaitGroup

	mu  sync.Mutex
	due reporters // a heap, the next one due first
}

// letter is RTCP that came in on a leg.
type letter struct {
	session *Session
	leg     rtp.Leg
	from    netip.AddrPort
	at      time.Time
	b       []byte
}

// deskLetters is how many letters may wait: what two thousand calls bring in a second.
const deskLetters = 1024

func newDesk(silence time.Duration) *desk {
	d := &desk{silence: silence, letters: make(chan letter, deskLetters), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	d.done.Go(d.run) // ends with close
	return d
}

func (d *desk) close() {
	close(d.stop)
	d.done.Wait()
}

// reportInterval is the mean time between reports; each is between half and one and a half
// of it, so that those of many calls do not come at once (RFC 3550 §6.2, §6.3.1).
const reportInterval = 5 * time.Second

func nextReport(now time.Time) time.Time {
	return now.Add(reportInterval/2 + rand.N(reportInterval))
}

// add begins to report on a session.
func (d *desk) add(s *Session) {
	s.reporter = reporter{session: s, next: nextReport(time.Now())}
	d.mu.Lock()
	heap.Push(&d.due, &s.reporter)
	first := d.due[0] == &s.reporter
	d.mu.Unlock()
	if first {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// remove ends it. What is being done for the session is done to its end.
func (d *desk) remove(s *Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.reporter.place >= 0 {
		heap.Remove(&d.due, s.reporter.place)
	}
}

func (d *desk) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case l := <-d.letters:
			l.session.read(l)
			continue
		case <-timer.C:
		case <-d.wake:
		case <-d.stop:
			return
		}
		timer.Reset(d.report(time.Now()))
	}
}

// report deals with the sessions that are due and returns how long there is time.
func (d *desk) report(now time.Time) time.Duration {
	for {
		d.mu.Lock()
		if len(d.due) == 0 {
			d.mu.Unlock()
			return time.Hour
		}
		r := d.due[0]
		if wait := r.next.Sub(now); wait > 0 {
			d.mu.Unlock()
			return wait
		}
		r.next = nextReport(now)
		heap.Fix(&d.due, 0)
		d.mu.Unlock()
		r.session.report(now, d.silence)
	}
}

// reporter is a session's place at the desk.
type reporter struct {
	session *Session
	next    time.Time
	place   int // in the heap; -1 for none
}

type reporters []*reporter

func (r reporters) Len() int           { return len(r) }
func (r reporters) Less(i, j int) bool { return r[i].next.Before(r[j].next) }
func (r reporters) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].place, r[j].place = i, j
}
func (r *reporters) Push(x any) {
	x.(*reporter).place = len(*r)
	*r = append(*r, x.(*reporter))
}
func (r *reporters) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	(*r)[last] = nil
	*r, x.place = (*r)[:last], -1
	return x
}
