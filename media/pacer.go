package media

import (
	"container/heap"
	"sync"
	"time"
)

// coalesce is how long a frame may wait so that one wake-up serves many.
const coalesce = time.Millisecond

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

// run sends what is due and sleeps until the next is.
func (p *pacer) run() {
	var due schedule
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p.mu.Lock()
		for _, b := range p.added {
			heap.Push(&due, b)
		}
		p.added = p.added[:0]
		p.mu.Unlock()
		now := time.Now()
		for len(due) > 0 && !due[0].next.After(now) {
			if due[0].send(now) {
				heap.Fix(&due, 0)
			} else {
				heap.Pop(&due)
			}
		}
		wait := time.Hour
		if len(due) > 0 {
			wait = max(time.Until(due[0].next), coalesce)
		}
		timer.Reset(wait)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-p.stop:
			for _, b := range due {
				b.Stop()
			}
			return
		}
	}
}

// schedule is a heap of playbacks, the next one due first.
type schedule []*Playback

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
