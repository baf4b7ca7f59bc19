package media

import (
	"container/heap"
	"sync"
	"time"
)

// coalesce is how long a frame may wait so that one wake-up serves many. They are at whole
// multiples of it: so each frame of a playback waits as long as the one before, and their
// distances stay even.
const coalesce = time.Millisecond

// maxSleep is how long a playback that was just added may wait for its first frame.
const maxSleep = 5 * time.Millisecond

// pacer sends the frames of all playbacks, each on its own absolute schedule. Its
// goroutine lives from New to Close.
type pacer struct {
	wake chan struct{}
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	added []*Playback
}

func newPacer() *pacer {
	p := &pacer{wake: make(chan struct{}, 1), stop: make(chan struct{})}
	p.done.Go(p.run) // ends with close
	return p
}

func (p *pacer) add(b *Playback) {
	p.mu.Lock()
	p.added = append(p.added, b)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pacer) close() {
	close(p.stop)
	p.done.Wait()
}

// run sends what is due and sleeps until the next is: while nothing plays, until something
// does, else so that what is added meanwhile does not wait long.
func (p *pacer) run() {
	onTime()
	var due schedule
	began := time.Now()
	for {
		p.mu.Lock()
		for _, b := range p.added {
			heap.Push(&due, b)
		}
		p.added = p.added[:0]
		p.mu.Unlock()
		due.send(time.Now())
		if len(due) == 0 {
			select {
			case <-p.wake:
			case <-p.stop:
				return
			}
			continue
		}
		select {
		case <-p.stop:
			for _, b := range due {
				b.Stop()
			}
			return
		default:
		}
		pause(min(time.Until(due.wake(began)), maxSleep))
	}
}

// schedule is a heap of playbacks, the next one due first.
type schedule []*Playback

// send sends what is due.
func (s *schedule) send(now time.Time) {
	for len(*s) > 0 && !(*s)[0].next.After(now) {
		if (*s)[0].send(now) {
			heap.Fix(s, 0)
		} else {
			heap.Pop(s)
		}
	}
}

// wake returns when the next is to be sent, by a clock that goes in steps of coalesce.
func (s schedule) wake(began time.Time) time.Time {
	return s[0].next.Add((coalesce - s[0].next.Sub(began)%coalesce) % coalesce)
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].next.Before(s[j].next) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(*Playback)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	b := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return b
}
