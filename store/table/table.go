// Package table is what rows lie in: tables of keys, in the order of their bytes, with a
// value each, that are changed in transactions. It is an interface; package bolt is a file.
//
//	DB ──▶ Tx ──▶ Table ──▶ key → value
//
// Everything that the store promises stands on five things that every implementation has to
// keep, and that package tabletest holds it to:
//
//   - A transaction is on the disk, wholly, when it returns nil; otherwise it never was.
//   - It sees the tables as they were at one instant, and what it wrote itself.
//   - Those that write come one after the other.
//   - Keys come in their order, however many there are.
//   - An error of the database while a transaction reads ends it with that error, whatever its
//     function returns: what could not be read is never taken for what is not there.
package table

import (
	"errors"
	"io"
	"iter"
	"time"
)

var (
	// ErrLocked is wrapped where another process has the database.
	ErrLocked = errors.New("another bewaard has it open")
	// ErrCopying is wrapped where somebody copies the database as a whole already.
	ErrCopying = errors.New("the database is being copied by somebody else: try again later")
	// ErrDamaged is wrapped where the database itself cannot be followed.
	ErrDamaged = errors.New("the database is damaged: what follows could not be read")
)

// DB is a database. Its methods may be called from several goroutines.
type DB interface {
	// View runs a transaction that only reads. It is to be short: while it lasts, no page that
	// it sees is used again.
	View(func(Tx) error) error
	// Update runs one that may write. Where the function returns an error nothing is changed.
	Update(func(Tx) error) error
	// Batch is Update, but several share one commit: it may run the function again.
	Batch(func(Tx) error) error
	// Size returns how much the database takes, and how much of that is free.
	Size() (bytes, free int64, err error)
	// Snapshot writes the database as it is at one instant while others go on: begin is told how
	// many bytes come, and says where they go. Package bolt's Read reads them.
	Snapshot(begin func(tx Tx, bytes int64) (io.Writer, error)) error
	// Compact sees to it that what was deleted, or replaced, before it began cannot be read from
	// the database's files any more. Others go on meanwhile.
	Compact() (Compaction, error)
	// Close waits for transactions to end.
	Close() error
}

// Compaction is what Compact did.
type Compaction struct {
	Before, After int64         // bytes
	Keys          int           // written meanwhile, and copied while others waited
	Blocked       time.Duration // how long nobody could read or write
}

// Tx is a transaction. It, its tables, and every key and value that they return end with it;
// one goroutine uses it.
type Tx interface {
	// Table returns a table. One that nobody has put anything into is empty.
	Table(name string) Table
	// Tables yields the names of those that there are.
	Tables() iter.Seq[string]
}

// Table is one table in a transaction. No key is empty.
type Table interface {
	// Get returns a key's value: nil where the key is not there, and never nil where it is.
	Get(key []byte) []byte
	// Put sets a key's value. Neither may be changed before the transaction is over.
	Put(key, value []byte) error
	// Delete takes a key away. That it is not there is no error.
	Delete(key []byte) error
	// Ascend yields keys in their order, from that one on; all for nil. Nothing may be written
	// to the table meanwhile.
	Ascend(from []byte) iter.Seq2[[]byte, []byte]
	// Descend yields keys in the reverse order, from the last that comes before that one; from
	// the last of all for nil. Nothing may be written to the table meanwhile.
	Descend(before []byte) iter.Seq2[[]byte, []byte]
}
