package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bewaard/bewaard/store/journal"
)

const (
	compactFile = databaseFile + ".new" // being written
	retiredFile = databaseFile + ".old" // to be overwritten

	// compactBytes is how much one transaction of the copy takes.
	compactBytes = 4 << 20

	// compactEvery is after how long a database is written anew though little of it is
	// free: what was destroyed is not to stand in free pages for ever.
	compactEvery = 7 * 24 * time.Hour
	// compactFree is how much of it is free when it is written anew before that, and
	// compactFloor the size below which that says nothing.
	compactFree  = 0.5
	compactFloor = 64 << 20
)

// touchedBucket has the ids of rows that were written since a compaction began. It is
// there only while one goes on.
var (
	touchedBucket = []byte("touched")
	compactedKey  = []byte("compacted") // in meta: when it was last done
)

// ErrCopying is wrapped when the database is being copied already.
var ErrCopying = errors.New("the database is being copied by somebody else: try again later")

// Compaction is what Compact did.
type Compaction struct {
	Before, After int64         // bytes of the file
	Rows          int           // written meanwhile, and copied while the daemon waited
	Blocked       time.Duration // how long nobody could read or write
}

// Compact writes the database into a new file, without its free pages, and overwrites
// and removes the old one. Calls go on:
//
//	copy ─────────────────────────▶ lock ─ what was written since ─ swap ─ unlock ─▶ overwrite
//	(rows that are written are noted)
//
// Killed at any instant it leaves the old database or the new one, whole, and the next
// start overwrites the other.
func (s *Store) Compact(act Act) (c Compaction, err error) {
	if !s.copying.TryLock() {
		return c, fmt.Errorf("compact the database: %w", ErrCopying)
	}
	defer s.copying.Unlock()
	if err := s.Note(journal.Compact, "", act); err != nil {
		return c, fmt.Errorf("compact the database: %w", err)
	}
	if c, err = s.compact(); err != nil {
		return c, fmt.Errorf("compact the database: %w", err)
	}
	s.log.Info("database compacted", "before", c.Before, "after", c.After, "rows_meanwhile", c.Rows, "blocked", c.Blocked)
	s.metrics.blocked.Set(c.Blocked.Seconds())
	return c, nil
}

func (s *Store) compact() (c Compaction, err error) {
	if err := s.db.Update(startTouching); err != nil {
		return c, err
	}
	fresh, err := s.copyHot()
	if err != nil {
		return c, errors.Join(err, s.db.Update(stopTouching), s.eraseFile(compactFile))
	}
	s.blobs.step("copied")
	old, err := s.swap(fresh, &c)
	if err != nil {
		return c, errors.Join(err, fresh.Close(), s.db.Update(stopTouching), s.eraseFile(compactFile))
	}
	s.blobs.step("swapped")
	return c, errors.Join(old.Close(), s.eraseFile(retiredFile))
}

func startTouching(tx *bbolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists(touchedBucket)
	return err
}

func stopTouching(tx *bbolt.Tx) error {
	if tx.Bucket(touchedBucket) == nil {
		return nil
	}
	return tx.DeleteBucket(touchedBucket)
}

// touch notes that a row is written, if a compaction asks.
func touch(tx *bbolt.Tx, id string) error {
	if bucket := tx.Bucket(touchedBucket); bucket != nil {
		return bucket.Put([]byte(id), nil)
	}
	return nil
}

// copyHot copies the database as it is at one instant, while others write.
func (s *Store) copyHot() (*bbolt.DB, error) {
	// What a try before left, if it failed.
	if err := errors.Join(s.eraseFile(compactFile), s.eraseFile(retiredFile)); err != nil {
		return nil, err
	}
	options := *databaseOptions
	options.NoSync = true
	fresh, err := bbolt.Open(filepath.Join(s.directory, compactFile), 0o600, &options)
	if err != nil {
		return nil, err
	}
	// Not through s.db: that is for short transactions, and only Compact changes the database.
	err = s.db.DB.View(func(from *bbolt.Tx) error {
		return from.ForEach(func(name []byte, bucket *bbolt.Bucket) error { return copyLarge(fresh, name, bucket) })
	})
	if err != nil {
		return nil, errors.Join(err, fresh.Close())
	}
	fresh.NoSync, fresh.MaxBatchDelay = false, s.db.MaxBatchDelay
	return fresh, fresh.Sync()
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

// swap puts the copy in the database's place, with what was written since it was made,
// and returns the one before. Nobody reads or writes meanwhile.
func (s *Store) swap(fresh *bbolt.DB, c *Compaction) (old *bbolt.DB, err error) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	began := time.Now()
	defer func() { c.Blocked = time.Since(began) }()
	err = s.db.DB.View(func(from *bbolt.Tx) error {
		c.Before = from.Size()
		return fresh.Update(func(to *bbolt.Tx) (err error) {
			c.Rows, err = catchUp(to, from)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if err := s.rename(); err != nil {
		return nil, err
	}
	c.After = sizeOf(fresh)
	old, s.db.DB = s.db.DB, fresh
	return old, nil
}

func sizeOf(db *bbolt.DB) (size int64) {
	db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil }) // it fails only when closed
	return size
}

// rename gives the new file the database's name. The old one has a name as long as it has
// not been overwritten.
func (s *Store) rename() error {
	root := s.blobs.root
	if err := root.Link(databaseFile, retiredFile); err != nil {
		return err
	}
	if err := s.blobs.sync("."); err != nil {
		return err
	}
	s.blobs.step("linked")
	if err := root.Rename(compactFile, databaseFile); err != nil {
		return errors.Join(err, root.Remove(retiredFile))
	}
	if err := s.blobs.sync("."); err != nil { // there is no way back: the name is the new file's
		s.log.Error("directory not synced after a compaction", "error", err)
	}
	return nil
}

// catchUp brings a copy to what the database is now. Rows and what follows them are
// taken one by one, the journal from where the copy ends; all else is small.
func catchUp(to, from *bbolt.Tx) (rows int, err error) {
	err = from.Bucket(touchedBucket).ForEach(func(id, _ []byte) error {
		rows++
		return copyRow(to, from, id)
	})
	if err != nil {
		return rows, err
	}
	if err := copyTail(to.Bucket(journalBucket), from.Bucket(journalBucket)); err != nil {
		return rows, err
	}
	one := [][]byte{rowsBucket, certificatesBucket, journalBucket, touchedBucket}
	for _, x := range indexes {
		one = append(one, x.bucket)
	}
	err = from.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		if slices.ContainsFunc(one, func(b []byte) bool { return bytes.Equal(b, name) }) {
			return nil
		}
		return copyBucket(to, name, bucket)
	})
	if err != nil {
		return rows, err
	}
	if err := to.Bucket(metaBucket).Put(compactedKey, []byte(time.Now().UTC().Format(time.RFC3339))); err != nil {
		return rows, err
	}
	return rows, stopTouching(to)
}

func copyRow(to, from *bbolt.Tx, id []byte) error {
	var before *Row
	switch old, err := get(to, string(id)); {
	case err == nil:
		before = &old
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("row %s: %w", id, err)
	}
	row, err := get(from, string(id))
	switch {
	case err == nil:
		err = put(to, before, &row)
	case errors.Is(err, ErrNotFound) && before != nil:
		err = removeRow(to, before)
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("row %s: %w", id, err)
	}
	if signed := from.Bucket(certificatesBucket).Get(id); signed != nil {
		return to.Bucket(certificatesBucket).Put(id, signed)
	}
	return to.Bucket(certificatesBucket).Delete(id)
}

// copyTail copies what comes after the last key of a bucket that only grows.
func copyTail(to, from *bbolt.Bucket) error {
	last, _ := to.Cursor().Last()
	last = bytes.Clone(last)
	cursor := from.Cursor()
	key, value := cursor.Seek(last)
	if last != nil && bytes.Equal(key, last) {
		key, value = cursor.Next()
	}
	for ; key != nil; key, value = cursor.Next() {
		if err := to.Put(key, value); err != nil {
			return err
		}
	}
	return nil
}

// copyBucket copies a bucket anew, as a whole.
func copyBucket(to *bbolt.Tx, name []byte, from *bbolt.Bucket) error {
	if to.Bucket(name) != nil {
		if err := to.DeleteBucket(name); err != nil {
			return err
		}
	}
	bucket, err := to.CreateBucket(name)
	if err != nil {
		return err
	}
	return from.ForEach(bucket.Put)
}

// clearCopies overwrites and removes what a compaction that was killed left. It comes
// before the database is opened.
func (s *Store) clearCopies() error {
	root := s.blobs.root
	retired, err := root.Lstat(retiredFile)
	if err == nil {
		// Killed before the rename, both names are the database's.
		if current, err := root.Lstat(databaseFile); err != nil {
			return err
		} else if os.SameFile(current, retired) {
			if err := root.Remove(retiredFile); err != nil {
				return err
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(s.eraseFile(retiredFile), s.eraseFile(compactFile))
}

// eraseFile overwrites a file, deletes it and looks whether it is gone. That there is
// none is no error. What the disk does with what was overwritten is its own affair.
func (s *Store) eraseFile(name string) error {
	f, err := s.blobs.root.OpenFile(name, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("overwrite %s: %w", name, err)
	}
	info, err := f.Stat()
	if err == nil {
		_, err = io.CopyN(f, zeros{}, info.Size())
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("overwrite %s: %w", name, err)
	}
	_, err = s.blobs.removeFile(name)
	return errors.Join(err, s.blobs.sync("."))
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// compactIfDue compacts a database of which much is free, or that was not for long.
func (s *Store) compactIfDue(now time.Time) error {
	var size int64
	var last time.Time
	err := s.db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		text := tx.Bucket(metaBucket).Get(compactedKey)
		if text == nil {
			return nil
		}
		var err error
		last, err = time.Parse(time.RFC3339, string(text))
		return err
	})
	if err != nil {
		return fmt.Errorf("compact the database: %w", err)
	}
	free := s.db.freeBytes()
	why := ""
	switch {
	case size > compactFloor && float64(free) > compactFree*float64(size):
		why = fmt.Sprintf("%d of %d bytes are free", free, size)
	case free > 0 && now.Sub(last) > compactEvery:
		why = "a week has passed"
	default:
		return nil
	}
	_, err = s.Compact(Act{Daemon, why})
	if errors.Is(err, ErrCopying) {
		return nil // tomorrow
	}
	return err
}
