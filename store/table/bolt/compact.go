package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bewaard/bewaard/store/table"
)

const (
	newSuffix     = ".new" // being written
	retiredSuffix = ".old" // to be overwritten

	// compactBytes is how much one transaction of the copy takes.
	compactBytes = 4 << 20

	// fewKeys is how many may be copied while others wait.
	fewKeys = 1000
	// rounds is after how many what is left is copied all the same.
	rounds = 20
)

// Compact writes the database into a new file, without its free pages, and overwrites and
// removes the old one:
//
//	copy ─▶ what was written since, ─▶ lock ─ the last few keys ─ swap ─ unlock ─▶ overwrite
//	        again, as long as it is much
//
// Killed at any instant it leaves the old file or the new one, whole, and the next Open
// overwrites the other.
func (d *DB) Compact() (c table.Compaction, err error) {
	if !d.copying.TryLock() {
		return c, table.ErrCopying
	}
	defer d.copying.Unlock()
	n := &notes{keys: keys{}}
	d.note(n)
	defer d.note(nil)
	fresh, err := d.copyHot()
	if err != nil {
		return c, errors.Join(err, d.root.Erase(d.name+newSuffix))
	}
	d.Step("copied")
	old, err := d.replace(fresh, n, &c)
	if old == nil {
		return c, errors.Join(err, fresh.Close(), d.root.Erase(d.name+newSuffix))
	}
	d.Step("swapped")
	if err = errors.Join(err, old.Close()); err != nil {
		return c, err // a loss of power may bring the old one back: it is not overwritten
	}
	return c, d.root.Erase(d.name + retiredSuffix)
}

// note has the keys noted that are written from now on, by transactions that begin from now
// on: no other is under way.
func (d *DB) note(n *notes) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = n
}

// copyHot copies the database as it is at one instant, while others write.
func (d *DB) copyHot() (*bbolt.DB, error) {
	// What a try before left, if it failed: after the name is sure to be the other file's.
	if err := d.root.Sync("."); err != nil {
		return nil, err
	}
	if err := errors.Join(d.root.Erase(d.name+newSuffix), d.root.Erase(d.name+retiredSuffix)); err != nil {
		return nil, err
	}
	unsynced := options
	unsynced.NoSync, unsynced.NoGrowSync = true, true
	fresh, err := openFile(d.path(d.name+newSuffix), unsynced)
	if err != nil {
		return nil, err
	}
	// Without mu: this is long, and only Compact changes db.
	err = d.db.View(func(from *bbolt.Tx) error {
		return from.ForEach(func(name []byte, bucket *bbolt.Bucket) error { return copyLarge(fresh, name, bucket) })
	})
	if err != nil {
		return nil, errors.Join(err, fresh.Close())
	}
	return fresh, nil
}

// copyLarge copies a bucket, some of it a transaction. Each of these ends before the one
// that it reads from: bbolt keeps no copy of a value until it commits. (Its own Compact
// commits the last one later, and so is not for a database that others write to.)
func copyLarge(fresh *bbolt.DB, name []byte, from *bbolt.Bucket) error {
	cursor := from.Cursor()
	key, value := cursor.First()
	for more := true; more; more = key != nil {
		err := fresh.Update(func(to *bbolt.Tx) error {
			bucket, err := to.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			bucket.FillPercent = 1 // keys come in their order
			for size := 0; key != nil && size < compactBytes; key, value = cursor.Next() {
				if err := bucket.Put(key, value); err != nil {
					return err
				}
				size += len(key) + len(value)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replace puts the copy in the database's place, with what was written since it was made,
// and returns the one before: nil where it could not. Nobody reads or writes while the last
// of it is copied.
func (d *DB) replace(fresh *bbolt.DB, n *notes, c *table.Compaction) (old *bbolt.DB, err error) {
	for range rounds {
		wrote := n.take()
		if err := d.catchUp(fresh, wrote, c); err != nil {
			return nil, err
		}
		if wrote.count() < fewKeys {
			break
		}
	}
	if err := fresh.Sync(); err != nil {
		return nil, err
	}
	fresh.NoSync, fresh.NoGrowSync, fresh.MaxBatchDelay = d.db.NoSync, d.db.NoGrowSync, d.db.MaxBatchDelay
	d.mu.Lock()
	defer d.mu.Unlock()
	began := time.Now()
	defer func() { c.Blocked = time.Since(began) }()
	if err := d.catchUp(fresh, n.take(), c); err != nil {
		return nil, err
	}
	if c.Before, err = sizeOf(d.db); err == nil {
		c.After, err = sizeOf(fresh)
	}
	if err != nil {
		return nil, err
	}
	if err := d.rename(); err != nil {
		return nil, err
	}
	old, d.db = d.db, fresh
	return old, d.root.Sync(".") // there is no way back: the name is the new file's
}

func sizeOf(db *bbolt.DB) (size int64, err error) {
	err = db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	return size, err
}

// catchUp brings keys of the copy to what the database has now.
func (d *DB) catchUp(fresh *bbolt.DB, wrote keys, c *table.Compaction) error {
	c.Keys += wrote.count()
	return d.db.View(func(from *bbolt.Tx) error {
		return fresh.Update(func(to *bbolt.Tx) error {
			source, copied := &transaction{Tx: from}, &transaction{Tx: to}
			for name, some := range wrote {
				is, becomes := source.Table(name), copied.Table(name)
				for key := range some {
					err := error(nil)
					if value := is.Get([]byte(key)); value != nil {
						err = becomes.Put([]byte(key), value)
					} else {
						err = becomes.Delete([]byte(key))
					}
					if err != nil {
						return fmt.Errorf("copy table %s: %w", name, err)
					}
				}
			}
			return nil
		})
	})
}

// rename gives the new file the database's name. The old one has a name as long as it has
// not been overwritten.
func (d *DB) rename() error {
	if err := d.root.Link(d.name, d.name+retiredSuffix); err != nil {
		return err
	}
	if err := d.root.Sync("."); err != nil {
		return err
	}
	d.Step("linked")
	if err := d.root.Rename(d.name+newSuffix, d.name); err != nil {
		_, removed := d.root.Remove(d.name + retiredSuffix)
		return errors.Join(err, removed)
	}
	return nil
}

// clearCopies overwrites and removes what a Compact that was killed left.
func (d *DB) clearCopies() error {
	retired, err := d.root.Lstat(d.name + retiredSuffix)
	if err == nil {
		// Killed before the rename, both names are the database's.
		if current, err := d.root.Lstat(d.name); err != nil {
			return err
		} else if os.SameFile(current, retired) {
			if _, err := d.root.Remove(d.name + retiredSuffix); err != nil {
				return err
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(d.root.Sync("."), d.root.Erase(d.name+retiredSuffix), d.root.Erase(d.name+newSuffix))
}
