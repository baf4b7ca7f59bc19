package blobtest

import (
	"io/fs"
	"iter"

	"github.com/bewaard/bewaard/store/blob"
)

// What can be made to fail, each with the name of its blob or directory. All but the last two
// come before anything is done.
const (
	Create = "create"
	Write  = "write"
	Commit = "commit"
	Abort  = "abort"
	Open   = "open"
	Read   = "read"
	Stat   = "stat"
	Remove = "remove"
	Sync   = "sync"
	List   = "list"
	Walk   = "walk"
	Close  = "close" // with the name "."

	Committed = "committed" // after it: the blob bears its name, and whoever wrote it does not know
	Removed   = "removed"   // after it: the blob is gone, and whoever removed it does not know
)

// Faulty is a store whose operations fail as fail says; where it returns nil they go on to the
// store. It is called by all who use the store, at once if they do.
func Faulty(store blob.Store, fail func(op, name string) error) blob.Store {
	return &faulty{store, fail}
}

type faulty struct {
	store blob.Store
	fails func(op, name string) error
}

// fail asks whether an operation fails, and names what it is about.
func (f *faulty) fail(op, name string) error {
	if err := f.fails(op, name); err != nil {
		return &fs.PathError{Op: op + " blob", Path: name, Err: err}
	}
	return nil
}

func (f *faulty) Create(name string) (blob.Writer, error) {
	if err := f.fail(Create, name); err != nil {
		return nil, err
	}
	w, err := f.store.Create(name)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{Writer: w, faulty: f, name: name}, nil
}

func (f *faulty) Open(name string) (blob.Reader, error) {
	if err := f.fail(Open, name); err != nil {
		return nil, err
	}
	r, err := f.store.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultyReader{r, f, name}, nil
}

func (f *faulty) Stat(name string) (blob.Info, error) {
	if err := f.fail(Stat, name); err != nil {
		return blob.Info{}, err
	}
	return f.store.Stat(name)
}

func (f *faulty) Remove(name string) (freed int64, err error) {
	if err := f.fail(Remove, name); err != nil {
		return 0, err
	}
	if freed, err = f.store.Remove(name); err != nil {
		return 0, err
	}
	if err := f.fail(Removed, name); err != nil {
		return 0, err
	}
	return freed, nil
}

func (f *faulty) Sync(directory string) error {
	if err := f.fail(Sync, directory); err != nil {
		return err
	}
	return f.store.Sync(directory)
}

func (f *faulty) List(directory string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := f.fail(List, directory); err != nil {
			yield(directory, err)
			return
		}
		f.store.List(directory)(yield)
	}
}

func (f *faulty) Walk(directory string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := f.fail(Walk, directory); err != nil {
			yield(blob.Info{Name: directory}, err)
			return
		}
		f.store.Walk(directory)(yield)
	}
}

func (f *faulty) Close() error {
	if err := f.fail(Close, "."); err != nil {
		return err
	}
	return f.store.Close()
}

type faultyWriter struct {
	blob.Writer
	faulty *faulty
	name   string
	err    error // of a Write or Commit
}

func (w *faultyWriter) Write(b []byte) (int, error) {
	if w.err == nil {
		w.err = w.faulty.fail(Write, w.name)
	}
	if w.err != nil {
		return 0, w.err
	}
	return w.Writer.Write(b)
}

func (w *faultyWriter) Commit() error {
	if w.err == nil {
		w.err = w.faulty.fail(Commit, w.name)
	}
	if w.err != nil {
		return w.err
	}
	if err := w.Writer.Commit(); err != nil {
		return err
	}
	return w.faulty.fail(Committed, w.name)
}

func (w *faultyWriter) Abort() error {
	if err := w.faulty.fail(Abort, w.name); err != nil {
		return err
	}
	return w.Writer.Abort()
}

type faultyReader struct {
	blob.Reader
	faulty *faulty
	name   string
}

func (r *faultyReader) ReadAt(b []byte, at int64) (int, error) {
	if err := r.faulty.fail(Read, r.name); err != nil {
		return 0, err
	}
	return r.Reader.ReadAt(b, at)
}
