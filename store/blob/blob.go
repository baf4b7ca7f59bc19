// Package blob says what a store of blobs does, whatever it stands on: a directory, or an
// object store that another machine has.
//
// A blob is a sealed file of a recording: written once, from its beginning to its end, read at
// any place, and removed for good.
//
//	Create ─▶ Writer ─ Write … ─┬─ Commit ─▶ it bears its name ─ Open, Stat ─ Remove ─ Sync
//	                            └─ Abort ──▶ nothing
//
// Names are paths with slashes, as path.Clean has them, below the store. No blob's name is a
// directory of another's. A directory is there when something is in it; who creates a blob
// does not have to make it. An unfinished blob, that a crash left or that somebody is at, has
// its name with PartSuffix: so it is listed and can be removed, but neither opened nor created.
//
// An error names its blob. It wraps fs.ErrInvalid where that is no name, fs.ErrNotExist where
// what is asked for is not there, fs.ErrClosed after the end of a Writer or Reader.
//
// The package knows nothing of keys, rows or what is to be removed when. Package blobtest
// holds an implementation to all this.
package blob

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
)

// Store keeps blobs. Its methods may be called from several goroutines.
type Store interface {
	// Create begins a blob, and does away with what was left of another try at it. Of one name
	// one Writer at a time is to be committed; with two, what bears the name is that of one.
	Create(name string) (Writer, error)

	// Open opens a blob for reading. It goes on to read what it opened when that is replaced or
	// removed meanwhile, or fails: it never mixes two.
	Open(name string) (Reader, error)

	// Stat says what is known of a blob without reading it.
	Stat(name string) (Info, error)

	// Remove removes a blob, finished or not, and says how many bytes it had. When it returns
	// nil the blob is not there: it was looked for again. That there is none is not an error.
	Remove(name string) (freed int64, err error)

	// Sync has what was removed in a directory stay removed after a loss of power. That there is
	// no such directory is not an error.
	Sync(directory string) error

	// List gives the names of what is in a directory, not below it, unfinished ones too, in
	// no order; "." is the store. It reads names only, since a busy day has 100,000: those of
	// directories may be among them. What comes or goes meanwhile may be missing. After an
	// error, which comes with the directory, it ends.
	List(directory string) iter.Seq2[string, error]

	// Walk gives every blob in a directory and below, unfinished ones too, in no order. A directory that cannot be
	// read is an error with its name, after which the others follow.
	Walk(directory string) iter.Seq2[Info, error]

	// Close lets go of the store. Writers are aborted or committed before, Readers closed.
	Close() error
}

// Writer is a blob that is being written. It is one goroutine's.
type Writer interface {
	// Write adds to the blob. After a failure Commit fails too.
	io.Writer

	// Commit gives the blob its name, whole, in place of what bears it. When it returns nil that
	// outlasts a loss of power. Where it fails nobody knows whether it was done, but what bears
	// the name is whole; Abort then does away with what is left.
	Commit() error

	// Abort does away with what was written. After a Commit that was done it does nothing.
	Abort() error
}

// Reader is a blob that is open. It can be read by several goroutines.
type Reader interface {
	io.ReaderAt
	Size() int64
	io.Closer
}

// Info is what is known of a blob without reading it.
type Info struct {
	Name string
	Size int64 // in bytes; of an unfinished one what is on the disk by now, if that can be known
}

// Unfinished reports whether it does not bear its own name yet.
func (i Info) Unfinished() bool { return Unfinished(i.Name) }

// PartSuffix ends the name of an unfinished blob.
const PartSuffix = ".part"

// Unfinished reports whether a name is that of an unfinished blob.
func Unfinished(name string) bool { return strings.HasSuffix(name, PartSuffix) }

// CheckName says why a blob cannot bear a name, if so. It wraps fs.ErrInvalid.
func CheckName(name string) error {
	if Unfinished(name) {
		return fmt.Errorf("it ends with %s: %w", PartSuffix, fs.ErrInvalid)
	}
	return CheckRemovable(name)
}

// CheckRemovable does so for what may be unfinished.
func CheckRemovable(name string) error {
	if name == "." {
		return fmt.Errorf("it is the store: %w", fs.ErrInvalid)
	}
	return CheckDirectory(name)
}

// CheckDirectory does so for a directory, which may be the store: ".".
func CheckDirectory(name string) error {
	if path.Clean(name) != name || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
		return fmt.Errorf("it is no path below the store: %w", fs.ErrInvalid)
	}
	return nil
}
