// Package blobtest is for tests: it holds an implementation of blob.Store to what package blob
// says, and makes any store fail where a test wants it to.
package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bewaard/bewaard/store/blob"
)

// Run holds an implementation to what package blob says. Every test has a place of its own,
// empty, and opens stores on it one after the other or at once: a store that is opened without
// the last one being closed finds what a crash leaves.
func Run(t *testing.T, place func(t *testing.T) (open func() blob.Store)) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"kept", (*suite).kept},
		{"replaced", (*suite).replaced},
		{"aborted", (*suite).aborted},
		{"ended", (*suite).ended},
		{"whole or not at all", (*suite).whole},
		{"left by a crash", (*suite).crashed},
		{"removed while written", (*suite).taken},
		{"begun twice", (*suite).twice},
		{"removed", (*suite).removed},
		{"replaced while read", (*suite).replacedWhileRead},
		{"read at any place", (*suite).readAnywhere},
		{"large", (*suite).large},
		{"not there", (*suite).notThere},
		{"names", (*suite).names},
		{"odd names", (*suite).oddNames},
		{"directories", (*suite).directories},
		{"many", (*suite).many},
		{"at once", (*suite).atOnce},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, open: place(t)}
			s.Store = s.reopened()
			test.run(s)
		})
	}
}

// suite is one test and its store.
type suite struct {
	*testing.T
	blob.Store
	open func() blob.Store
}

// reopened opens a store on the same place. It is closed after the test.
func (s *suite) reopened() blob.Store {
	store := s.open()
	s.Cleanup(func() {
		if err := store.Close(); err != nil {
			s.Errorf("close: %v", err)
		}
	})
	return store
}

func (s *suite) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// want fails if an error does not wrap what it should, or does not name its blob.
func (s *suite) want(err, want error, name string) {
	s.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
		s.Errorf("got error %v, want one that names %q and wraps %v", err, name, want)
	}
}

// put creates a blob, in pieces.
func (s *suite) put(name string, pieces ...[]byte) {
	s.Helper()
	w := s.begin(name, pieces...)
	s.check(w.Commit())
}

func (s *suite) begin(name string, pieces ...[]byte) blob.Writer {
	s.Helper()
	w, err := s.Create(name)
	s.check(err)
	for _, piece := range pieces {
		if n, err := w.Write(piece); err != nil || n != len(piece) {
			s.Fatalf("write %d bytes of %s: got %d, %v", len(piece), name, n, err)
		}
	}
	return w
}

// content reads a blob.
func content(store blob.Store, name string) ([]byte, error) {
	r, err := store.Open(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, r.Size())
	n, err := r.ReadAt(b, 0)
	if err == io.EOF && n == len(b) {
		err = nil
	}
	return b, errors.Join(err, r.Close())
}

// wantContent fails if a blob is not so: to read, to ask and to list.
func (s *suite) wantContent(store blob.Store, name string, want []byte) {
	s.Helper()
	if got, err := content(store, name); err != nil || !bytes.Equal(got, want) {
		s.Errorf("%s: got %d bytes, %.20q…, %v, want %d, %.20q…", name, len(got), got, err, len(want), want)
	}
	if got, err := store.Stat(name); err != nil || got != (blob.Info{Name: name, Size: int64(len(want))}) {
		s.Errorf("%s: got %+v, %v, want %d bytes", name, got, err, len(want))
	}
}

// wantNone fails if there is such a blob.
func (s *suite) wantNone(store blob.Store, name string) {
	s.Helper()
	_, err := store.Open(name)
	s.want(err, fs.ErrNotExist, name)
	_, err = store.Stat(name)
	s.want(err, fs.ErrNotExist, name)
}

// wantAll fails if there are other blobs in a directory and below, finished or not.
func (s *suite) wantAll(store blob.Store, directory string, want ...string) {
	s.Helper()
	var got []string
	for info, err := range store.Walk(directory) {
		s.check(err)
		if info.Unfinished() != strings.HasSuffix(info.Name, blob.PartSuffix) {
			s.Errorf("got unfinished %v of %s", info.Unfinished(), info.Name)
		}
		got = append(got, info.Name)
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		s.Errorf("walk %s: got %.200q, want %.200q", directory, got, want)
	}
}

// wantListed fails if there are others in a directory, but for directories.
func (s *suite) wantListed(directory string, want ...string) {
	s.Helper()
	var got []string
	for name, err := range s.List(directory) {
		s.check(err)
		if slices.Contains(want, name) || !s.isDirectory(name) {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		s.Errorf("list %s: got %.200q, want %.200q", directory, got, want)
	}
}

func (s *suite) isDirectory(name string) bool {
	for range s.Walk(name) {
		return true
	}
	return false
}

// random makes bytes that look like what is sealed.
func random(seed uint64, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b) // it never fails
	return b
}

// What is committed is there, for others who open the place too, whatever its pieces were; an
// empty blob as well.
func (s *suite) kept() {
	s.put("2026/11/24/a.opus.age", []byte("one "), nil, []byte("two "), []byte("three"))
	s.put("2026/11/24/empty")
	s.put("top", []byte{0})
	for _, store := range []blob.Store{s.Store, s.reopened()} {
		s.wantContent(store, "2026/11/24/a.opus.age", []byte("one two three"))
		s.wantContent(store, "2026/11/24/empty", nil)
		s.wantContent(store, "top", []byte{0})
		s.wantAll(store, ".", "2026/11/24/a.opus.age", "2026/11/24/empty", "top")
	}
}

// What bears the name stays until another is committed in its place, longer or shorter.
func (s *suite) replaced() {
	s.put("d/a", []byte("first"))
	for _, next := range [][]byte{[]byte("2"), nil, random(1, 100_000)} {
		before, err := content(s, "d/a")
		s.check(err)
		w := s.begin("d/a", next)
		s.wantContent(s, "d/a", before)
		s.check(w.Commit())
		s.wantContent(s, "d/a", next)
		s.wantAll(s, ".", "d/a")
	}
}

// What is aborted leaves nothing, and what bore the name as it was.
func (s *suite) aborted() {
	s.check(s.begin("d/a", random(1, 100_000)).Abort())
	s.wantNone(s, "d/a")
	s.check(s.begin("d/a").Abort())
	s.wantAll(s, ".")

	s.put("d/a", []byte("first"))
	s.check(s.begin("d/a", []byte("second")).Abort())
	s.wantContent(s, "d/a", []byte("first"))
	s.wantAll(s, ".", "d/a")
}

// A Writer ends once; it may be aborted when it has ended. So does a Reader.
func (s *suite) ended() {
	w := s.begin("d/a", []byte("first"))
	s.check(w.Commit())
	s.want(w.Commit(), fs.ErrClosed, "d/a")
	_, err := w.Write([]byte("more"))
	s.want(err, fs.ErrClosed, "d/a")
	s.check(w.Abort())
	s.wantContent(s, "d/a", []byte("first"))

	w = s.begin("d/b", []byte("first"))
	s.check(w.Abort())
	s.check(w.Abort())
	s.want(w.Commit(), fs.ErrClosed, "d/b")
	_, err = w.Write([]byte("more"))
	s.want(err, fs.ErrClosed, "d/b")
	s.wantNone(s, "d/b")

	r, err := s.Open("d/a")
	s.check(err)
	s.check(r.Close())
	_, err = r.ReadAt(make([]byte, 1), 0)
	s.want(err, fs.ErrClosed, "d/a")
}

// Whoever looks while a blob is replaced again and again sees one of them, whole.
func (s *suite) whole() {
	contents := [][]byte{random(1, 300_000), random(2, 10), random(3, 70_000)}
	s.put("d/a", contents[0])
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() { // ends when all are committed
		for {
			got, err := content(s, "d/a")
			if err != nil || !slices.ContainsFunc(contents, func(c []byte) bool { return bytes.Equal(c, got) }) {
				s.Errorf("got %d bytes, %v, want one of those committed", len(got), err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for n := range 30 {
		c := contents[n%len(contents)]
		s.put("d/a", c[:len(c)/2], c[len(c)/2:])
	}
	close(done)
	looking.Wait()
}

// What a crash leaves of a blob does not bear its name. It may be listed, as unfinished, can
// be removed, and does not stand in the way of the next try.
func (s *suite) crashed() {
	s.begin("d/a", []byte("what was written of it"))
	s.begin("d/b", []byte("again"))
	s.put("d/c", []byte("kept"))
	crashed := s.Store
	s.Store = s.reopened()
	s.wantNone(s, "d/a")
	for info, err := range s.Walk(".") {
		s.check(err)
		if info.Name != "d/c" && info.Name != "d/a"+blob.PartSuffix && info.Name != "d/b"+blob.PartSuffix {
			s.Errorf("got %+v after a crash", info)
		}
	}
	_, err := s.Open("d/a" + blob.PartSuffix)
	s.want(err, fs.ErrInvalid, "d/a"+blob.PartSuffix)

	if _, err := s.Remove("d/a" + blob.PartSuffix); err != nil {
		s.Error(err)
	}
	s.check(s.Sync("d"))
	s.put("d/b", []byte("b"))
	for _, store := range []blob.Store{s.Store, crashed} {
		s.wantAll(store, ".", "d/b", "d/c")
		s.wantContent(store, "d/b", []byte("b"))
	}
}

// What was removed while it was written is not committed: its time was over.
func (s *suite) taken() {
	w := s.begin("d/a", []byte("first"))
	if _, err := s.Remove("d/a" + blob.PartSuffix); err != nil {
		s.Error(err)
	}
	s.want(w.Commit(), fs.ErrNotExist, "d/a")
	s.check(w.Abort())
	s.wantNone(s, "d/a")
	s.wantAll(s, ".")
}

// Of two Writers of one name the later one can be committed, and has the name then.
func (s *suite) twice() {
	for _, commit := range []bool{false, true} {
		first := s.begin("d/a", []byte("first"))
		second := s.begin("d/a", []byte("sec"))
		if commit {
			if err := first.Commit(); err == nil {
				s.wantContent(s, "d/a", []byte("first"))
			}
		}
		s.check(first.Abort())
		if _, err := second.Write([]byte("ond")); err != nil {
			s.Error(err)
		}
		s.check(second.Commit())
		s.wantContent(s, "d/a", []byte("second"))
		s.wantAll(s, ".", "d/a")
	}
}

// What is removed is gone, for others too; its size is known. That there is none is not an error.
func (s *suite) removed() {
	s.put("d/a", random(1, 12345))
	s.put("d/b", []byte("b"))
	for _, want := range []int64{12345, 0} {
		if freed, err := s.Remove("d/a"); err != nil || freed != want {
			s.Errorf("got %d bytes freed, %v, want %d", freed, err, want)
		}
		s.check(s.Sync("d"))
		for _, store := range []blob.Store{s.Store, s.reopened()} {
			s.wantNone(store, "d/a")
			s.wantAll(store, ".", "d/b")
		}
	}
	if freed, err := s.Remove("none/at/all"); err != nil || freed != 0 {
		s.Errorf("got %d bytes freed, %v of what never was", freed, err)
	}
	s.put("d/a", []byte("anew"))
	s.wantContent(s, "d/a", []byte("anew"))
}

// A Reader goes on with what it opened, or fails.
func (s *suite) replacedWhileRead() {
	old := random(1, 200_000)
	for _, away := range []func(){
		func() { s.put("d/a", random(2, 200_000)) },
		func() { _, err := s.Remove("d/a"); s.check(err) },
	} {
		s.put("d/a", old)
		r, err := s.Open("d/a")
		s.check(err)
		away()
		for _, at := range []int64{0, 150_000} {
			b := make([]byte, 1000)
			if _, err := r.ReadAt(b, at); err == nil && !bytes.Equal(b, old[at:at+1000]) {
				s.Errorf("at %d: got another blob than was opened", at)
			}
		}
		s.check(r.Close())
	}
}

// Any place of a blob can be read, by several at once; at its end io.EOF says so.
func (s *suite) readAnywhere() {
	want := random(1, 1<<20+17)
	s.put("d/a", want)
	r, err := s.Open("d/a")
	s.check(err)
	size := int64(len(want))
	if r.Size() != size {
		s.Errorf("got size %d, want %d", r.Size(), size)
	}
	var readers sync.WaitGroup
	for seed := range uint64(4) {
		readers.Go(func() { // ends after its reads
			places := rand.New(rand.NewPCG(seed, 1))
			for range 50 {
				at := places.Int64N(size)
				b := make([]byte, min(1+places.Int64N(100_000), size-at))
				if n, err := r.ReadAt(b, at); n != len(b) || err != nil && err != io.EOF || !bytes.Equal(b, want[at:at+int64(n)]) {
					s.Errorf("at %d: got %d of %d bytes, %v, or others than were written", at, n, len(b), err)
				}
			}
		})
	}
	readers.Wait()
	b := make([]byte, 10)
	for _, test := range []struct {
		at   int64
		want int
	}{{size - 4, 4}, {size, 0}, {size + 100, 0}} {
		if n, err := r.ReadAt(b, test.at); n != test.want || err != io.EOF {
			s.Errorf("at %d of %d: got %d bytes, %v, want %d and %v", test.at, size, n, err, test.want, io.EOF)
		}
	}
	if n, err := r.ReadAt(b, -1); n != 0 || err == nil || err == io.EOF {
		s.Errorf("at -1: got %d bytes, %v, want an error", n, err)
	}
	s.check(r.Close())
}

// A blob of 20 MiB that comes in pieces of all sizes is what was written.
func (s *suite) large() {
	want := random(1, 20<<20)
	sizes := rand.New(rand.NewPCG(1, 1))
	var pieces [][]byte
	for rest := want; len(rest) > 0; {
		n := min(sizes.IntN(200_000), len(rest))
		pieces = append(pieces, rest[:n])
		rest = rest[n:]
	}
	s.put("d/large", pieces...)
	s.wantContent(s, "d/large", want)
	if freed, err := s.Remove("d/large"); err != nil || freed != int64(len(want)) {
		s.Errorf("got %d bytes freed, %v, want %d", freed, err, len(want))
	}
}

// What is not there is said to be, by its name. A directory that is not there is empty.
func (s *suite) notThere() {
	s.wantNone(s, "a")
	s.wantNone(s, "none/a")
	s.put("d/a", nil)
	s.wantNone(s, "d/b")
	s.wantNone(s, "d") // a directory is no blob
	s.wantListed("none")
	s.wantAll(s, "none")
	s.check(s.Sync("none"))
	if freed, err := s.Remove("d"); err != nil || freed != 0 {
		s.Errorf("got %d bytes freed, %v of a directory, want nothing", freed, err)
	}
	s.wantContent(s, "d/a", nil)
}

// What is no name is refused, whatever is to be done.
func (s *suite) names() {
	s.put("d/a", []byte("a"))
	for _, name := range []string{"", ".", "..", "/", "/etc/passwd", "../a", "d/../../a", "d/../a", "./a", "d/", "d//a", "d/.", "a/..", "nul\x00"} {
		_, err := s.Create(name)
		s.want(err, fs.ErrInvalid, name)
		_, err = s.Open(name)
		s.want(err, fs.ErrInvalid, name)
		_, err = s.Stat(name)
		s.want(err, fs.ErrInvalid, name)
		_, err = s.Remove(name)
		s.want(err, fs.ErrInvalid, name)
		if name == "." {
			continue // a directory it is
		}
		s.want(s.Sync(name), fs.ErrInvalid, name)
		n := 0
		for got, err := range s.List(name) {
			if s.want(err, fs.ErrInvalid, name); got != name {
				s.Errorf("got an error of %q from listing %q", got, name)
			}
			n++
		}
		for got, err := range s.Walk(name) {
			if s.want(err, fs.ErrInvalid, name); got.Name != name {
				s.Errorf("got an error of %q from walking %q", got.Name, name)
			}
			n++
		}
		if n != 2 {
			s.Errorf("got %d errors from listing and walking %q, want 2", n, name)
		}
	}
	for _, name := range []string{"d/b" + blob.PartSuffix, blob.PartSuffix} {
		_, err := s.Create(name)
		s.want(err, fs.ErrInvalid, name)
		_, err = s.Open(name)
		s.want(err, fs.ErrInvalid, name)
	}
	s.wantAll(s, ".", "d/a")
}

// A name may have any character in it: nothing is taken for another one, or for a pattern.
func (s *suite) oddNames() {
	want := []string{}
	for _, name := range []string{
		" ", "a b", "ä", "日本", "%2f", "%", "+", "a+b", "#", "?x=1&y=2", "'", `"`, "*", "[a]", "$(x)", ";", "-rf", "~", ".hidden", "..x", "x..", "...",
		"a", "a:b", "a@b", "a,b", "<a>", "a.part.b", "parts", "part", strings.Repeat("x", 200),
	} {
		want = append(want, "odd/"+name+"/b", "odd/"+name+"/"+name)
	}
	slices.Sort(want)
	want = slices.Compact(want)
	for _, name := range want {
		s.put(name, []byte(name))
	}
	s.wantAll(s, ".", slices.Clone(want)...)
	for _, name := range want {
		s.wantContent(s, name, []byte(name))
		if freed, err := s.Remove(name); err != nil || freed != int64(len(name)) {
			s.Errorf("remove %q: got %d, %v", name, freed, err)
		}
	}
	s.wantAll(s, ".")
}

// List gives what is in a directory, Walk what is below it, too; neither what only begins alike.
func (s *suite) directories() {
	for _, name := range []string{"a", "d/a", "d/e/a", "d/e/b", "dd/a", "d-/a"} {
		s.put(name, []byte(name))
	}
	s.begin("d/e/c", []byte("more")) // and never committed
	s.wantListed(".", "a")
	s.wantListed("d", "d/a")
	s.wantAll(s, "d/e/f")
	s.wantAll(s, "dd", "dd/a")
	for _, directory := range []string{".", "d", "d/e"} {
		for info, err := range s.Walk(directory) {
			s.check(err)
			if !info.Unfinished() && info.Size != int64(len(info.Name)) {
				s.Errorf("got %+v, want %d bytes", info, len(info.Name))
			}
		}
	}
	s.wantAll(s, "d", "d/a", "d/e/a", "d/e/b", "d/e/c"+blob.PartSuffix)
	s.wantListed("d/e", "d/e/a", "d/e/b", "d/e/c"+blob.PartSuffix)
	for range s.Walk(".") {
		break // whoever has enough may stop
	}
	for range s.List(".") {
		break
	}
}

// manyNames is more than any listing has on two pages.
const manyNames = 2100

// Thousands of names are all listed, each once. What is removed while it is listed does not
// hide what is not; in the end all of it is gone.
func (s *suite) many() {
	var names []string
	for n := range manyNames {
		names = append(names, fmt.Sprintf("2026/11/24/%05d.opus.age", n))
	}
	var writers sync.WaitGroup
	for part := range slices.Chunk(names, manyNames/7) {
		writers.Go(func() { // ends when its part is there
			for _, name := range part {
				w, err := s.Create(name)
				if err == nil {
					err = w.Commit()
				}
				if err != nil {
					s.Error(err)
				}
			}
		})
	}
	writers.Wait()
	s.wantListed("2026/11/24", slices.Clone(names)...)
	s.wantAll(s, "2026", slices.Clone(names)...)
	s.wantListed(".")

	seen := map[string]int{}
	for name, err := range s.List("2026/11/24") {
		s.check(err)
		seen[name]++
		if _, err := s.Remove(name); err != nil {
			s.Error(err)
		}
	}
	for _, name := range names {
		if seen[name] != 1 {
			s.Errorf("got %s %d times, want it once", name, seen[name])
		}
	}
	s.wantListed("2026/11/24")
	s.wantAll(s, ".")
}

// Blobs that are created, read and removed at once, in directories that come to be with them,
// have nothing to do with each other.
func (s *suite) atOnce() {
	var users sync.WaitGroup
	for user := range 8 {
		users.Go(func() { // ends after its blobs
			for n := range 10 {
				name, want := fmt.Sprintf("new/%d/%d/a", n, user%2), random(uint64(user), 1000*user)
				name += fmt.Sprint(user)
				w, err := s.Create(name)
				if err == nil {
					_, err = w.Write(want)
					err = errors.Join(err, w.Commit())
				}
				if err != nil {
					s.Error(err)
					continue
				}
				if got, err := content(s, name); err != nil || !bytes.Equal(got, want) {
					s.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(want))
				}
				if freed, err := s.Remove(name); err != nil || freed != int64(len(want)) {
					s.Errorf("%s: got %d bytes freed, %v, want %d", name, freed, err, len(want))
				}
			}
		})
	}
	users.Wait()
	s.wantAll(s, ".")
}
