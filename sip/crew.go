package sip

import "sync"

// crew is the goroutines that a user agent started. Peers go on sending while it closes:
// who comes then is not started any more, and Wait waits for the others.
type crew struct {
	group sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// Go starts a goroutine, unless the crew is waited for already.
func (c *crew) Go(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.group.Go(do)
	}
}

// Wait starts no more and returns when all have ended.
func (c *crew) Wait() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.group.Wait()
}
