// Package directory keeps blobs as files in a directory of this machine.
//
//	Create ─ <name>.part ─ Commit: fsync ─ rename ─ fsync of its directory and all above ─▶ <name>
//
// What somebody else put there is listed too, so that it is noticed. Only files can be opened:
// no links, no pipes. Directories stay when they are empty.
package directory

import (
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"syscall"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/disk"
)

// readNames is how many names are read of a directory at once.
const readNames = 1024

// Store keeps blobs in a directory.
type Store struct{ root *disk.Root }

var _ blob.Store = (*Store)(nil)

// Open opens a directory, which has to be there.
func Open(directory string) (*Store, error) {
	root, err := disk.Open(directory)
	if err != nil {
		return nil, err
	}
	return &Store{root}, nil
}

// Close lets go of the directory.
func (s *Store) Close() error { return s.root.Close() }

// failed is an error that names what it is about, once.
func failed(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	switch inner := err.(type) {
	case *fs.PathError:
		err = inner.Err
	case *os.LinkError:
		err = inner.Err
	}
	return &fs.PathError{Op: doing, Path: name, Err: err}
}

// Create begins a blob.
func (s *Store) Create(name string) (blob.Writer, error) {
	w, err := s.create(name)
	if err != nil {
		return nil, failed("create blob", name, err)
	}
	return w, nil
}

func (s *Store) create(name string) (*writer, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, err
	}
	if err := s.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return nil, err
	}
	part := name + blob.PartSuffix
	// Not written over: another Writer may still write to it.
	if _, err := s.root.Remove(part); err != nil {
		return nil, err
	}
	f, err := s.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &writer{root: s.root, name: name, part: part, file: f}, nil
}

// Open opens a blob for reading.
func (s *Store) Open(name string) (blob.Reader, error) {
	if _, err := s.stat(name); err != nil { // before it is opened: a pipe would wait for a writer
		return nil, failed("open blob", name, err)
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, failed("open blob", name, err)
	}
	info, err := f.Stat() // of what is open: it may have been replaced
	if err != nil {
		return nil, failed("open blob", name, errors.Join(err, f.Close()))
	}
	return &reader{name, f, info.Size()}, nil
}

// Stat says what is known of a blob.
func (s *Store) Stat(name string) (blob.Info, error) {
	info, err := s.stat(name)
	if err != nil {
		return blob.Info{}, failed("stat blob", name, err)
	}
	return blob.Info{Name: name, Size: info.Size()}, nil
}

func (s *Store) stat(name string) (fs.FileInfo, error) {
	if err := blob.CheckName(name); err != nil {
		return nil, err
	}
	info, err := s.root.Lstat(name)
	switch {
	case errors.Is(err, syscall.ENOTDIR): // a blob is where its directory would be
		return nil, fs.ErrNotExist
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fs.ErrNotExist
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a file")
	}
	return info, nil
}

// Remove removes a blob, finished or not.
func (s *Store) Remove(name string) (freed int64, err error) {
	if err = blob.CheckRemovable(name); err == nil {
		freed, err = s.root.Remove(name)
	}
	if errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTDIR) {
		return 0, nil // no blob
	}
	return freed, failed("remove blob", name, err)
}

// Sync has what was removed in a directory stay removed after a loss of power.
func (s *Store) Sync(directory string) error {
	err := blob.CheckDirectory(directory)
	if err == nil {
		err = s.root.Sync(directory)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return failed("sync directory", directory, err)
}

// List gives the names of what is in a directory, other directories' too.
func (s *Store) List(directory string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for name, err := range read(s, directory, (*os.File).Readdirnames) {
			if err != nil {
				yield(directory, err)
				return
			}
			if !yield(below(directory, name), nil) {
				return
			}
		}
	}
}

// below is path.Join of what is clean already.
func below(directory, name string) string {
	if directory == "." {
		return name
	}
	return directory + "/" + name
}

// Walk gives all that is in a directory and below.
func (s *Store) Walk(directory string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) { s.walk(directory, yield) }
}

// walk reports whether it is to go on.
func (s *Store) walk(directory string, yield func(blob.Info, error) bool) bool {
	for entry, err := range read(s, directory, (*os.File).ReadDir) {
		if err != nil {
			return yield(blob.Info{Name: directory}, err)
		}
		name, more := below(directory, entry.Name()), true
		if entry.IsDir() {
			more = s.walk(name, yield)
		} else if info, err := entry.Info(); err == nil {
			more = yield(blob.Info{Name: name, Size: info.Size()}, nil)
		} else if !errors.Is(err, fs.ErrNotExist) { // else it was removed meanwhile
			more = yield(blob.Info{Name: name}, failed("stat blob", name, err))
		}
		if !more {
			return false
		}
	}
	return true
}

// read reads a directory by next, which is Readdirnames or, seven times as slow, ReadDir: of
// a directory in a root that asks for each file. One that is not there is empty; after an
// error it ends.
func read[entry any](s *Store, directory string, next func(*os.File, int) ([]entry, error)) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		var d *os.File
		err := blob.CheckDirectory(directory)
		if err == nil {
			d, err = s.root.Open(directory)
		}
		if err == nil {
			defer d.Close() // it was only read
		}
		for err == nil {
			var entries []entry
			entries, err = next(d, readNames)
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}
		if err != io.EOF && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			yield(*new(entry), failed("list directory", directory, err))
		}
	}
}

// writer is a blob that is being written. The file stays open to the end, so that nobody
// else's can be taken for it.
//
//	writing ─┬─ Commit ─┬──────────▶ done
//	   │     └─ Write ──┴─▶ failed ─┐
//	   └──────────────────── Abort ─┴─▶ done
type writer struct {
	root       *disk.Root
	name, part string
	file       *os.File // nil when done
	err        error    // of what failed
}

func (w *writer) Write(b []byte) (n int, err error) {
	switch {
	case w.file == nil:
		return 0, failed("write blob", w.name, fs.ErrClosed)
	case w.err != nil:
		return 0, w.err
	}
	n, err = w.file.Write(b)
	w.err = failed("write blob", w.name, err)
	return n, w.err
}

func (w *writer) Commit() error {
	switch {
	case w.file == nil:
		return failed("commit blob", w.name, fs.ErrClosed)
	case w.err != nil:
		return w.err
	}
	if w.err = failed("commit blob", w.name, w.rename()); w.err != nil {
		return w.err
	}
	file := w.file
	w.file = nil
	return failed("commit blob", w.name, errors.Join(file.Close(), w.root.SyncUp(path.Dir(w.name))))
}

// errTaken is wrapped where somebody began the blob anew.
var errTaken = errors.New("somebody else has begun it anew")

func (w *writer) rename() error {
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := w.own(); err != nil {
		return err
	}
	return w.root.Rename(w.part, w.name)
}

// own says why the part is not what is written here, if so.
func (w *writer) own() error {
	written, err := w.file.Stat()
	if err != nil {
		return err
	}
	part, err := w.root.Lstat(w.part)
	if err == nil && !os.SameFile(written, part) {
		err = errTaken
	}
	return err
}

func (w *writer) Abort() error {
	if w.file == nil {
		return nil
	}
	err := w.own()
	if err == nil {
		_, err = w.root.Remove(w.part)
	} else if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errTaken) {
		err = nil
	}
	file := w.file
	w.file = nil
	return failed("abort blob", w.name, errors.Join(err, file.Close()))
}

// reader is a blob that is open.
type reader struct {
	name string
	file *os.File
	size int64
}

func (r *reader) Size() int64 { return r.size }

func (r *reader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.file.ReadAt(b, at)
	if err == io.EOF {
		return n, io.EOF
	}
	return n, failed("read blob", r.name, err)
}

func (r *reader) Close() error { return failed("close blob", r.name, r.file.Close()) }
