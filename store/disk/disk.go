// Package disk is a directory whose files outlast a loss of power once a method says that
// they do, and that cannot be left: by no name and by no link.
//
//	WriteWhole   part ─ write ─ fsync ─ rename ─ fsync of its directory and all above
//	Remove       unlink ─ look again                  (Sync makes it last)
//	Erase        zeros ─ fsync ─ unlink ─ look again ─ fsync of its directory
//
// It knows nothing of what is in the files. All else that can be done to them is os.Root's.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// PartSuffix ends the name of a file that WriteWhole has not completed.
const PartSuffix = ".part"

// Root is an open directory. Its methods may be called from several goroutines, but for two
// that write the same file. Names are relative to it, with slashes.
type Root struct{ *os.Root }

// Open opens a directory, which has to be there.
func Open(directory string) (*Root, error) {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, err
	}
	return &Root{root}, nil
}

// Sync makes what was created, renamed and removed in a directory outlast a loss of power.
func (r *Root) Sync(directory string) error {
	d, err := r.Root.Open(directory)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SyncUp does so for a directory and all above it: they may be new themselves.
func (r *Root) SyncUp(directory string) error {
	for ; ; directory = path.Dir(directory) {
		if err := r.Sync(directory); err != nil || directory == "." {
			return err
		}
	}
}

// Exists reports whether there is a file, a directory or a link of that name.
func (r *Root) Exists(name string) (bool, error) {
	_, err := r.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// WriteWhole writes a file, or writes it anew. After a crash it is there as a whole, or as it
// was before; when nil is returned it outlasts a loss of power. Its directory has to be there.
func (r *Root) WriteWhole(name string, content []byte) error {
	part := name + PartSuffix
	err := r.writePart(part, content)
	if err == nil {
		err = r.Rename(part, name)
	}
	if err != nil {
		if there, _ := r.Exists(part); there {
			err = errors.Join(err, r.Erase(part)) // it may be a key
		}
		return err
	}
	return r.SyncUp(path.Dir(name))
}

func (r *Root) writePart(part string, content []byte) error {
	f, err := r.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// Remove deletes a file, looks whether it is gone, and returns how many bytes it had. That
// there is none is not an error: somebody else may have been faster. A directory is one, and
// wraps syscall.EISDIR. It outlasts a loss of power after Sync.
func (r *Root) Remove(name string) (freed int64, err error) {
	info, err := r.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case info.IsDir():
		return 0, &fs.PathError{Op: "remove", Path: name, Err: syscall.EISDIR}
	}
	if err := r.Root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	switch _, err := r.Lstat(name); {
	case err == nil:
		return 0, &fs.PathError{Op: "remove", Path: name, Err: errors.New("it is still there")}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	return info.Size(), nil
}

// Erase overwrites a file with zeros, deletes it and looks whether it is gone; when nil is
// returned that outlasts a loss of power. That there is none is not an error. What the disk
// does with what was overwritten is its own affair: flash keeps it, and file systems that
// copy on write. Another link to the file has the zeros too.
func (r *Root) Erase(name string) error {
	err := r.overwrite(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a crash may have come before the sync
	case err != nil:
		return fmt.Errorf("overwrite %s: %w", name, err)
	default:
		if _, err := r.Remove(name); err != nil {
			return err
		}
	}
	return r.Sync(path.Dir(name))
}

func (r *Root) overwrite(name string) error {
	f, err := r.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = io.CopyN(f, zeros{}, info.Size())
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
