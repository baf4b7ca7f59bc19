package store

import (
	"sync"

	"go.etcd.io/bbolt"
)

// database is a bbolt database that another can take the place of while it is used:
// Compact does that. An open transaction keeps it from happening, and once it waits no
// other is let in: so none is opened within another, and none stays open for long.
type database struct {
	mu sync.RWMutex
	*bbolt.DB
}

// View runs a read transaction.
func (d *database) View(f func(*bbolt.Tx) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.DB.View(f)
}

// Update runs a transaction of its own.
func (d *database) Update(f func(*bbolt.Tx) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.DB.Update(f)
}

// Batch runs a transaction together with others.
func (d *database) Batch(f func(*bbolt.Tx) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.DB.Batch(f)
}

// freeBytes returns how much of the file is free pages.
func (d *database) freeBytes() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return int64(d.DB.Stats().FreeAlloc)
}
