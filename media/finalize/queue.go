package finalize

import (
	"container/heap"
	"time"
)

// pending is a spool that is to be finalized, is being so, or waits for its next try.
type pending struct {
	spool string
	since time.Time // when its call ended

	// Guarded by the pool's mu.
	tries   int // ended so far, each with an error
	running bool
	timer   *time.Timer // until its next try; nil if it does not wait for one

	progress progress
}

// queue is the spools that wait for a worker, the one whose call ended first in front.
type queue []*pending

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].since.Before(q[j].since) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*pending)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = nil
	*q = (*q)[:len(*q)-1]
	return last
}

func (q *queue) add(p *pending) { heap.Push(q, p) }

// first removes the spool in front.
func (q *queue) first() *pending { return heap.Pop(q).(*pending) }
