package blobtest_test

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/blob/blobtest"
	"github.com/bewaard/bewaard/store/blob/directory"
)

func faulty(t *testing.T, path string, fail func(op, name string) error) blob.Store {
	t.Helper()
	s, err := directory.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return blobtest.Faulty(s, fail)
}

// A store that never fails is as the one behind it.
func TestNeverFails(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		path := t.TempDir()
		return func() blob.Store { return faulty(t, path, func(string, string) error { return nil }) }
	})
}

// write creates a blob, and aborts it where it cannot be committed.
func write(s blob.Store, name string) error {
	w, err := s.Create(name)
	if err != nil {
		return err
	}
	w.Write([]byte("content")) // Commit fails after it
	if err := w.Commit(); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

// Every operation fails where it is told to, by an error that names its blob, and has done
// nothing, but for those that fail afterwards.
func TestFails(t *testing.T) {
	create := func(s blob.Store) error { return write(s, "d/new") }
	read := func(s blob.Store) error {
		r, err := s.Open("d/old")
		if err == nil {
			_, err = r.ReadAt(make([]byte, 1), 0)
			err = errors.Join(err, r.Close())
		}
		return err
	}
	remove := func(s blob.Store) error { _, err := s.Remove("d/old"); return err }
	const all = "d/old"
	for _, test := range []struct {
		op, name string
		do       func(blob.Store) error
		left     string
	}{
		{blobtest.Create, "d/new", create, all},
		{blobtest.Write, "d/new", create, all},
		{blobtest.Commit, "d/new", create, all},
		{blobtest.Committed, "d/new", create, "d/new " + all},
		{blobtest.Abort, "d/new", func(s blob.Store) error {
			w, err := s.Create("d/new")
			if err != nil {
				return err
			}
			return w.Abort()
		}, "d/new.part " + all},
		{blobtest.Open, "d/old", read, all},
		{blobtest.Read, "d/old", read, all},
		{blobtest.Stat, "d/old", func(s blob.Store) error { _, err := s.Stat("d/old"); return err }, all},
		{blobtest.Remove, "d/old", remove, all},
		{blobtest.Removed, "d/old", remove, ""},
		{blobtest.Sync, "d", func(s blob.Store) error { return s.Sync("d") }, all},
		{blobtest.List, "d", func(s blob.Store) (err error) {
			for _, err = range s.List("d") {
			}
			return err
		}, all},
		{blobtest.Walk, "d", func(s blob.Store) (err error) {
			for _, err = range s.Walk("d") {
			}
			return err
		}, all},
	} {
		path := t.TempDir()
		fails := false
		s := faulty(t, path, func(op, name string) error {
			if fails && op == test.op && name == test.name {
				return syscall.EIO
			}
			return nil
		})
		if err := write(s, "d/old"); err != nil {
			t.Fatal(err)
		}
		fails = true
		if err := test.do(s); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), test.name) {
			t.Errorf("%s: got error %v, want one that names %s and wraps %v", test.op, err, test.name, syscall.EIO)
		}
		fails = false
		left := map[string]bool{}
		for info, err := range s.Walk(".") {
			if err != nil {
				t.Fatal(err)
			}
			left[info.Name] = true
		}
		want := strings.Fields(test.left)
		for _, name := range want {
			if !left[name] {
				t.Errorf("%s: %s is not there", test.op, name)
			}
		}
		if len(left) != len(want) {
			t.Errorf("%s: got %v, want %q", test.op, left, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}

	s := faulty(t, t.TempDir(), func(op, _ string) error {
		if op == blobtest.Close {
			return fs.ErrClosed
		}
		return nil
	})
	if err := s.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got error %v of closing, want %v", err, fs.ErrClosed)
	}
}
