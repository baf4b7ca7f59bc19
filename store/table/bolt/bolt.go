// Package bolt keeps tables in one file, by bbolt, which one process holds the lock of. It is
// the one package that imports bbolt.
//
// bbolt does not blank the pages that it frees, and its file does not get smaller: Compact
// writes the database into another file, and overwrites this one.
package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/bewaard/bewaard/store/disk"
	"github.com/bewaard/bewaard/store/table"
)

const (
	// lockTimeout is how long another process may take to let go of the database: a daemon that
	// is being restarted, not one that runs.
	lockTimeout = time.Second

	// groupDelay is how long a commit waits for others to join it. Two fsyncs are the price of
	// a commit, whether it carries one row or a thousand.
	groupDelay = time.Millisecond
)

const (
	// mapBytes is how much address space a database has from the first. One that outgrows it is
	// mapped anew, for which bbolt has those that write wait until nobody reads: for as long as
	// somebody takes a snapshot.
	mapBytes int64 = 64 << 30

	// appendedFill leaves a little room for what grows later.
	appendedFill = 0.9

	// growBytes is by how much the file grows.
	growBytes = 1 << 20
)

// options have a map for free pages, which keeps a commit's cost level when a sweep has freed
// many.
var options = bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType}

// mapSizes are how much is tried, one after the other: somebody may have bounded what a process
// may map (ulimit -v), and elsewhere a file is made as long as its map.
func mapSizes() []int64 {
	if strconv.IntSize < 64 || runtime.GOOS == "windows" {
		return []int64{0}
	}
	return []int64{mapBytes, mapBytes / 8, mapBytes / 64, 0}
}

// openFile opens a file with what is the same for each.
func openFile(file string, o bbolt.Options) (db *bbolt.DB, err error) {
	for _, size := range mapSizes() {
		o.InitialMmapSize = int(size)
		if db, err = bbolt.Open(file, 0o600, &o); !errors.Is(err, syscall.ENOMEM) {
			break
		}
	}
	switch {
	case errors.Is(err, syscall.ENOMEM):
		return nil, fmt.Errorf("map it into memory (is ulimit -v too little?): %w", err)
	case err != nil:
		return nil, locked(err)
	}
	db.MaxBatchDelay, db.AllocSize = groupDelay, growBytes
	return db, nil
}

// DB is a database in a file. Compact puts another file in its place while it is used: an open
// transaction keeps it from that, and once it waits no other is let in. So none is opened
// within another, and none stays open for long.
type DB struct {
	// Immutable after Open.
	root *disk.Root // the directory
	dir  string
	name string
	// appended are tables whose keys mostly grow: their pages are filled to appendedFill, and
	// those of the others to fill, so that what comes between has room.
	appended []string
	fill     float64
	// Step is called after every step of Compact that the disk sees. Tests copy the directory
	// there, as a crash would leave it.
	Step func(what string)

	copying sync.Mutex // who has it copies the database as a whole

	mu    sync.RWMutex // of what follows; a transaction has it for reading
	db    *bbolt.DB
	notes *notes // nil while no Compact goes on
}

// notes are the keys that were written since a Compact began.
type notes struct {
	mu   sync.Mutex
	keys keys
}

// keys are those of a table.
type keys map[string]map[string]bool

// Open opens the database in a directory, and makes it where it is missing. What a Compact that
// was killed has left goes. The keys of tables that are appended to come nearly in their order.
func Open(directory, name string, appended ...string) (*DB, error) {
	root, err := disk.Open(directory)
	if err != nil {
		return nil, err
	}
	d := &DB{root: root, dir: directory, name: name, appended: appended, fill: bbolt.DefaultFillPercent, Step: func(string) {}}
	before, _ := root.Lstat(name) // what is not there is made
	if d.db, err = openFile(d.path(name), options); err == nil {
		if err = d.stillThere(before); err == nil { // then the lock is ours
			err = d.clearCopies()
		}
		if err != nil {
			err = errors.Join(err, d.db.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

func locked(err error) error {
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return table.ErrLocked
	}
	return err
}

// stillThere looks whether the file has its name still: another process may have put another
// in its place while this one waited for the lock.
func (d *DB) stillThere(before fs.FileInfo) error {
	after, err := d.root.Lstat(d.name)
	if err == nil && before != nil && !os.SameFile(before, after) {
		err = table.ErrLocked
	}
	return err
}

func (d *DB) path(name string) string { return filepath.Join(d.dir, name) }

// Close waits for transactions to end.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.db.Close(), d.root.Close())
}

// View runs a transaction that only reads.
func (d *DB) View(f func(table.Tx) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.db.View(func(tx *bbolt.Tx) error { return f(&transaction{Tx: tx}) })
}

// Update runs one that may write.
func (d *DB) Update(f func(table.Tx) error) error { return d.write((*bbolt.DB).Update, f) }

// Batch is Update, together with others.
func (d *DB) Batch(f func(table.Tx) error) error { return d.write((*bbolt.DB).Batch, f) }

func (d *DB) write(run func(*bbolt.DB, func(*bbolt.Tx) error) error, f func(table.Tx) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var wrote keys // of the last time that f ran
	err := run(d.db, func(tx *bbolt.Tx) error {
		t := &transaction{Tx: tx, db: d}
		if d.notes != nil {
			t.wrote = keys{}
		}
		wrote = t.wrote
		return f(t)
	})
	if err == nil && d.notes != nil {
		d.notes.add(wrote)
	}
	return err
}

// add notes keys that were committed. Whoever reads the database since then has them, too.
func (n *notes) add(wrote keys) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, some := range wrote {
		for key := range some {
			n.keys.add(name, key)
		}
	}
}

// take returns the keys, and begins anew. Whoever reads the database afterwards has what was
// written to them.
func (n *notes) take() keys {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.keys
	n.keys = keys{}
	return taken
}

func (k keys) add(name, key string) {
	if k[name] == nil {
		k[name] = map[string]bool{}
	}
	k[name][key] = true
}

func (k keys) count() (n int) {
	for _, some := range k {
		n += len(some)
	}
	return n
}

// Size returns how much the file takes, and how much of it is free pages.
func (d *DB) Size() (size, free int64, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	err = d.db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })
	return size, int64(d.db.Stats().FreeAlloc), err
}

// Snapshot writes the file as it is at one instant. As long as it does the file grows where
// pages would have been used again.
func (d *DB) Snapshot(begin func(tx table.Tx, bytes int64) (io.Writer, error)) error {
	if !d.copying.TryLock() {
		return table.ErrCopying
	}
	defer d.copying.Unlock()
	// Without mu: this is long, and only Compact changes db.
	return d.db.View(func(tx *bbolt.Tx) error {
		w, err := begin(&transaction{Tx: tx}, tx.Size())
		if err != nil {
			return err
		}
		_, err = tx.WriteTo(w)
		return err
	})
}

// Read runs a transaction over a file that nobody writes to. Where a page of it cannot be
// followed the error wraps table.ErrDamaged.
func Read(file string, f func(table.Tx) error) (err error) {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return fmt.Errorf("open snapshot: %w", locked(err))
	}
	// Pages that point anywhere make bbolt panic, or fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", table.ErrDamaged, p)
		}
		err = errors.Join(err, db.Close())
	}()
	return db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("%w: the file has %d bytes and says that it has %d", table.ErrDamaged, info.Size(), tx.Size())
		}
		return f(&transaction{Tx: tx})
	})
}

// transaction is a table.Tx.
type transaction struct {
	*bbolt.Tx
	db     *DB // nil where nothing is written
	tables map[string]*bucket
	wrote  keys // nil where nobody wants to know
}

func (t *transaction) Table(name string) table.Table {
	b := t.tables[name]
	if b == nil {
		b = &bucket{t, name, t.Bucket([]byte(name))}
		if t.tables == nil {
			t.tables = map[string]*bucket{}
		}
		t.tables[name] = b
	}
	return b
}

func (t *transaction) Tables() iter.Seq[string] {
	return func(yield func(string) bool) {
		cursor := t.Cursor()
		for name, _ := cursor.First(); name != nil && yield(string(name)); name, _ = cursor.Next() {
		}
	}
}

// bucket is a table.Table.
type bucket struct {
	tx     *transaction
	name   string
	bucket *bbolt.Bucket // nil as long as nothing was put into it
}

// here is the value of a key that has none.
var here = []byte{}

func (b *bucket) Get(key []byte) []byte {
	if b.bucket == nil {
		return nil
	}
	value := b.bucket.Get(key)
	if value == nil { // bbolt says that of an empty one, too, until it is committed
		if found, _ := b.bucket.Cursor().Seek(key); bytes.Equal(found, key) {
			return here
		}
	}
	return value
}

func (b *bucket) Put(key, value []byte) (err error) {
	if b.bucket == nil {
		if b.bucket, err = b.tx.CreateBucketIfNotExists([]byte(b.name)); err != nil {
			return fmt.Errorf("make table %s: %w", b.name, err)
		}
	}
	if b.tx.db != nil {
		b.bucket.FillPercent = b.tx.db.fill
		if slices.Contains(b.tx.db.appended, b.name) {
			b.bucket.FillPercent = appendedFill
		}
	}
	if b.tx.wrote != nil {
		b.tx.wrote.add(b.name, string(key))
	}
	return b.bucket.Put(key, value)
}

func (b *bucket) Delete(key []byte) error {
	if b.bucket == nil {
		return nil
	}
	if b.tx.wrote != nil {
		b.tx.wrote.add(b.name, string(key))
	}
	return b.bucket.Delete(key)
}

func (b *bucket) Ascend(from []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if b.bucket == nil {
			return
		}
		cursor := b.bucket.Cursor()
		for key, value := cursor.Seek(from); key != nil && yield(key, value); key, value = cursor.Next() {
		}
	}
}

func (b *bucket) Descend(before []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if b.bucket == nil {
			return
		}
		cursor := b.bucket.Cursor()
		key, value := cursor.Last()
		if before != nil {
			if found, _ := cursor.Seek(before); found != nil {
				key, value = cursor.Prev()
			} else {
				key, value = cursor.Last()
			}
		}
		for ; key != nil && yield(key, value); key, value = cursor.Prev() {
		}
	}
}

// NoSync has commits wait neither for the disk nor for others: for what can begin anew, as
// tests do.
func (d *DB) NoSync(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.db.NoSync, d.db.MaxBatchDelay = on, groupDelay
	if on {
		d.db.MaxBatchDelay = 0
	}
}

// Filled has pages filled to the end, as Compact leaves them, by keys that come in their order.
func (d *DB) Filled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fill = 1
}

// Check follows every page, and says what is wrong with them.
func (d *DB) Check() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.db.View(func(tx *bbolt.Tx) error {
		var faults []error
		for fault := range tx.Check() {
			faults = append(faults, fault)
		}
		return errors.Join(faults...)
	})
}
