// Package tabletest holds implementations of table.DB to what the store builds on, and makes
// them fail.
package tabletest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bewaard/bewaard/store/table"
)

// Place is where a database lies: what is opened again after it was closed has what it had.
type Place interface {
	Open() (table.DB, error)
	// Read runs a transaction over what Snapshot wrote.
	Read(snapshot []byte, f func(table.Tx) error) error
	// Holds reports whether the bytes can be read where the database lies.
	Holds(b []byte) (bool, error)
}

// Run holds an implementation to everything that package table says of it.
func Run(t *testing.T, place func(t *testing.T) Place) {
	for name, test := range map[string]func(*testing.T, Place){
		"values":       values,
		"order":        order,
		"empty tables": emptyTables,
		"rollback":     rollback,
		"own writes":   ownWrites,
		"one instant":  oneInstant,
		"one writer":   oneWriter,
		"batch":        batch,
		"durable":      durable,
		"locked":       locked,
		"snapshot":     snapshot,
		"compact":      compact,
		"under load":   underLoad,
		"large":        large,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

func open(t *testing.T, p Place) table.DB {
	t.Helper()
	db, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) // a test that closes it has looked at the error
	return db
}

func update(t *testing.T, db table.DB, f func(table.Tx) error) {
	t.Helper()
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
}

// content returns everything that a transaction sees.
func content(tx table.Tx) map[string]string {
	all := map[string]string{}
	for name := range tx.Tables() {
		for key, value := range tx.Table(name).Ascend(nil) {
			all[name+"/"+string(key)] = string(value)
		}
	}
	return all
}

func contentOf(t *testing.T, db table.DB) (all map[string]string) {
	t.Helper()
	if err := db.View(func(tx table.Tx) error { all = content(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%q", got), fmt.Sprintf("%q", want); g != w {
		t.Errorf("%s: got %.400s, want %.400s", what, g, w)
	}
}

// A key has its last value; an empty value is one; what is not there has none.
func values(t *testing.T, p Place) {
	db := open(t, p)
	odd := string([]byte{0, 0xff, 0, 'a'})
	look := func(tx table.Tx) error {
		a := tx.Table("a")
		if v := a.Get([]byte("empty")); v == nil || len(v) != 0 {
			t.Errorf("got %#v of an empty value, want one that is there", v)
		}
		if v := a.Get([]byte("nil")); v == nil || len(v) != 0 {
			t.Errorf("got %#v of a value that was nil, want one that is there and empty", v)
		}
		want(t, "replaced", string(a.Get([]byte("twice"))), "second")
		want(t, "odd bytes", string(a.Get([]byte(odd))), odd)
		for _, key := range []string{"gone", "never", "twic", "twice2", "zz"} {
			if v := a.Get([]byte(key)); v != nil {
				t.Errorf("got %q of %s, which is not there", v, key)
			}
		}
		want(t, "the same key of another table", string(tx.Table("b").Get([]byte("twice"))), "b")
		return nil
	}
	update(t, db, func(tx table.Tx) error {
		a := tx.Table("a")
		err := errors.Join(a.Put([]byte("empty"), []byte{}), a.Put([]byte("nil"), nil), a.Put([]byte("twice"), []byte("first")),
			a.Put([]byte("twice"), []byte("second")), a.Put([]byte(odd), []byte(odd)), a.Put([]byte("gone"), []byte("x")),
			a.Delete([]byte("gone")), a.Delete([]byte("never")), tx.Table("b").Put([]byte("twice"), []byte("b")))
		return errors.Join(err, look(tx))
	})
	if err := db.View(look); err != nil {
		t.Fatal(err)
	}
}

// Keys come in the order of their bytes, both ways, from wherever one begins.
func order(t *testing.T, p Place) {
	db := open(t, p)
	var keys []string
	for i := range 3000 { // more than one page
		keys = append(keys, fmt.Sprintf("%c%d", 'a'+i%7, i*i), string([]byte{byte(i), byte(i >> 8), 0xff}))
	}
	update(t, db, func(tx table.Tx) error {
		for _, key := range keys {
			if err := tx.Table("t").Put([]byte(key), []byte("v"+key)); err != nil {
				return err
			}
		}
		return nil
	})
	slices.Sort(keys)
	keys = slices.Compact(keys)
	err := db.View(func(tx table.Tx) error {
		for _, from := range []string{"", "\x00", keys[0], keys[1234], keys[1234] + "\x00", "c", keys[len(keys)-1], "\xff\xff\xff\xff"} {
			i, _ := slices.BinarySearch(keys, from)
			want(t, fmt.Sprintf("up from %q", from), collect(t, tx.Table("t").Ascend([]byte(from))), keys[i:])
			before := slices.Clone(keys[:i])
			slices.Reverse(before)
			if from != "" {
				want(t, fmt.Sprintf("down from %q", from), collect(t, tx.Table("t").Descend([]byte(from))), before)
			}
		}
		all := slices.Clone(keys)
		want(t, "up", collect(t, tx.Table("t").Ascend(nil)), all)
		slices.Reverse(all)
		want(t, "down", collect(t, tx.Table("t").Descend(nil)), all)
		n := 0
		for range tx.Table("t").Ascend(nil) {
			if n++; n == 3 {
				break // who has seen enough may stop
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func collect(t *testing.T, seq func(func(key, value []byte) bool)) []string {
	keys := []string{}
	for key, value := range seq {
		if string(value) != "v"+string(key) {
			t.Errorf("got value %q of %q", value, key)
		}
		keys = append(keys, string(key))
	}
	return keys
}

// A table that nobody wrote to is empty, and is not there before somebody does.
func emptyTables(t *testing.T, p Place) {
	db := open(t, p)
	look := func(tx table.Tx) error {
		a := tx.Table("a")
		if a.Get([]byte("x")) != nil {
			t.Error("got a value out of nothing")
		}
		for range a.Ascend(nil) {
			t.Error("got a key out of nothing")
		}
		for range a.Descend([]byte("x")) {
			t.Error("got a key out of nothing")
		}
		for name := range tx.Tables() {
			t.Errorf("there is a table %s", name)
		}
		return nil
	}
	update(t, db, func(tx table.Tx) error { return errors.Join(look(tx), tx.Table("a").Delete([]byte("x"))) })
	if err := db.View(look); err != nil {
		t.Fatal(err)
	}
	update(t, db, func(tx table.Tx) error { return tx.Table("a").Put([]byte("x"), nil) })
	err := db.View(func(tx table.Tx) error {
		want(t, "tables", slices.Collect(tx.Tables()), []string{"a"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var errRefused = errors.New("refused")

// A transaction that returns an error, or panics, has changed nothing.
func rollback(t *testing.T, p Place) {
	db := open(t, p)
	update(t, db, func(tx table.Tx) error { return tx.Table("a").Put([]byte("k"), []byte("before")) })
	before := contentOf(t, db)
	spoil := func(tx table.Tx) error {
		err := errors.Join(tx.Table("a").Put([]byte("k"), []byte("after")), tx.Table("a").Put([]byte("l"), nil),
			tx.Table("b").Put([]byte("k"), nil), tx.Table("a").Delete([]byte("k")))
		return errors.Join(err, errRefused)
	}
	for name, run := range map[string]func(func(table.Tx) error) error{"update": db.Update, "batch": db.Batch} {
		if err := run(spoil); !errors.Is(err, errRefused) {
			t.Errorf("%s: got %v, want the function's error", name, err)
		}
		want(t, name, contentOf(t, db), before)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic was kept from who should know")
			}
		}()
		db.Update(func(tx table.Tx) error {
			if err := spoil(tx); err != nil {
				panic("x")
			}
			return nil
		})
	}()
	want(t, "panic", contentOf(t, db), before)
	if err := db.View(func(table.Tx) error { return errRefused }); !errors.Is(err, errRefused) {
		t.Errorf("view: got %v, want the function's error", err)
	}
}

// A transaction sees what it wrote itself, in order.
func ownWrites(t *testing.T, p Place) {
	db := open(t, p)
	update(t, db, func(tx table.Tx) error { return tx.Table("a").Put([]byte("m"), []byte("vm")) })
	update(t, db, func(tx table.Tx) error {
		a := tx.Table("a")
		if err := errors.Join(a.Put([]byte("z"), []byte("vz")), a.Put([]byte("b"), []byte("vb")), a.Delete([]byte("m"))); err != nil {
			return err
		}
		want(t, "seen", collect(t, tx.Table("a").Ascend(nil)), []string{"b", "z"})
		one, other := tx.Table("new"), tx.Table("new")
		if err := one.Put([]byte("k"), []byte("vk")); err != nil {
			return err
		}
		want(t, "seen through another handle", collect(t, other.Ascend(nil)), []string{"k"})
		return nil
	})
}

// Who reads sees one instant, whatever is written meanwhile.
func oneInstant(t *testing.T, p Place) {
	db := open(t, p)
	update(t, db, func(tx table.Tx) error { return tx.Table("a").Put([]byte("k"), []byte("before")) })
	err := db.View(func(tx table.Tx) error {
		before := content(tx)
		done := make(chan error)
		go func() {
			done <- db.Update(func(tx table.Tx) error {
				return errors.Join(tx.Table("a").Put([]byte("k"), []byte("after")), tx.Table("a").Put([]byte("l"), nil))
			})
		}()
		if err := <-done; err != nil {
			return err
		}
		want(t, "seen", content(tx), before)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "afterwards", contentOf(t, db), map[string]string{"a/k": "after", "a/l": ""})
}

// Those that write come one after the other: no sum is lost.
func oneWriter(t *testing.T, p Place) {
	db := open(t, p)
	var working sync.WaitGroup
	for i := range 8 {
		working.Go(func() { // ends with its sums
			run := db.Update
			if i%2 == 0 {
				run = db.Batch
			}
			for range 25 {
				if err := run(add); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	want(t, "sum", len(contentOf(t, db)["sum/n"]), 200)
}

// add makes a value one longer.
func add(tx table.Tx) error {
	old := tx.Table("sum").Get([]byte("n"))
	return tx.Table("sum").Put([]byte("n"), append(bytes.Clone(old), 'x'))
}

// Of those that share a commit each gets its own error, and only its own is undone.
func batch(t *testing.T, p Place) {
	db := open(t, p)
	var working sync.WaitGroup
	for i := range 64 {
		working.Go(func() { // ends with its commit
			err := db.Batch(func(tx table.Tx) error {
				if err := tx.Table("a").Put([]byte{byte(i), 'k'}, nil); err != nil {
					return err
				}
				if i%8 == 3 {
					return errRefused
				}
				return nil
			})
			if refused := errors.Is(err, errRefused); refused != (i%8 == 3) || err != nil && !refused {
				t.Errorf("%d: got %v", i, err)
			}
		})
	}
	working.Wait()
	got := contentOf(t, db)
	for i := range 64 {
		if _, there := got["a/"+string([]byte{byte(i), 'k'})]; there != (i%8 != 3) {
			t.Errorf("%d: there %v", i, there)
		}
	}
}

// What was committed is there when the database is opened again.
func durable(t *testing.T, p Place) {
	db := open(t, p)
	update(t, db, func(tx table.Tx) error { return tx.Table("a").Put([]byte("k"), []byte("v")) })
	if err := db.Batch(add); err != nil {
		t.Fatal(err)
	}
	before := contentOf(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, "opened again", contentOf(t, open(t, p)), before)
}

// A database has one owner at a time, and a second one is told so.
func locked(t *testing.T, p Place) {
	db := open(t, p)
	if other, err := p.Open(); !errors.Is(err, table.ErrLocked) {
		t.Errorf("got %v, %v, want that somebody else has it", other, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, p)
}

// A snapshot has one instant, though others write while it is taken; one is taken at a time.
func snapshot(t *testing.T, p Place) {
	db := open(t, p)
	update(t, db, func(tx table.Tx) error { return tx.Table("a").Put([]byte("k"), bytes.Repeat([]byte("v"), 100_000)) })
	var taken bytes.Buffer
	var announced int64
	var before map[string]string
	err := db.Snapshot(func(tx table.Tx, n int64) (io.Writer, error) {
		before, announced = content(tx), n
		update(t, db, func(tx table.Tx) error { return tx.Table("a").Put([]byte("l"), []byte("later")) })
		if err := db.Snapshot(func(table.Tx, int64) (io.Writer, error) { return io.Discard, nil }); !errors.Is(err, table.ErrCopying) {
			t.Errorf("a second one: got %v, want %v", err, table.ErrCopying)
		}
		if _, err := db.Compact(); !errors.Is(err, table.ErrCopying) {
			t.Errorf("a compaction: got %v, want %v", err, table.ErrCopying)
		}
		return &taken, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "bytes", int64(taken.Len()), announced)
	err = p.Read(taken.Bytes(), func(tx table.Tx) error {
		want(t, "read", content(tx), before)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cut := taken.Bytes()[:taken.Len()/2]
	if err := p.Read(cut, func(tx table.Tx) error { content(tx); return nil }); err == nil {
		t.Error("half a snapshot was read as a whole one")
	}
	if err := db.Snapshot(func(table.Tx, int64) (io.Writer, error) { return nil, errRefused }); !errors.Is(err, errRefused) {
		t.Errorf("got %v, want the function's error", err)
	}
}

// What was deleted and replaced cannot be read any more once the database is compacted, and
// all else is as it was.
func compact(t *testing.T, p Place) {
	db := open(t, p)
	const secret, replaced = "a number that has to go 0612", "another one that was 0687"
	update(t, db, func(tx table.Tx) error {
		for i := range 2000 {
			if err := tx.Table("a").Put(fmt.Append(nil, i), []byte(strings.Repeat("v", 200))); err != nil {
				return err
			}
		}
		return errors.Join(tx.Table("a").Put([]byte("k"), []byte(secret)), tx.Table("a").Put([]byte("l"), []byte(replaced)))
	})
	update(t, db, func(tx table.Tx) error {
		for i := range 1900 {
			if err := tx.Table("a").Delete(fmt.Append(nil, i)); err != nil {
				return err
			}
		}
		return errors.Join(tx.Table("a").Delete([]byte("k")), tx.Table("a").Put([]byte("l"), []byte("kept value")))
	})
	before := contentOf(t, db)
	c, err := db.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if c.After >= c.Before {
		t.Errorf("got %+v, want it smaller", c)
	}
	want(t, "content", contentOf(t, db), before)
	for what, gone := range map[string]bool{secret: true, replaced: true, "kept value": false} {
		if held, err := p.Holds([]byte(what)); err != nil || held == gone {
			t.Errorf("%q can be read: %v, %v", what, held, err)
		}
	}
	if size, free, err := db.Size(); err != nil || size <= 0 || free < 0 || free > size {
		t.Errorf("got %d bytes, %d of them free, %v", size, free, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, "opened again", contentOf(t, open(t, p)), before)
}

// While many write, replace and delete, compactions and snapshots lose nothing: what was
// committed is what a model of it says.
func underLoad(t *testing.T, p Place) {
	db := open(t, p)
	var stop atomic.Bool
	var working sync.WaitGroup
	models := make([]map[string]string, 4)
	for i := range models {
		model := map[string]string{}
		models[i] = model
		working.Go(func() { // ends with stop
			for n := 0; !stop.Load(); n++ {
				key, value := fmt.Sprintf("%d-%d", i, n%97), fmt.Sprint(n)
				gone := n%5 == 0
				err := db.Batch(func(tx table.Tx) error {
					if gone {
						return tx.Table("a").Delete([]byte(key))
					}
					return errors.Join(tx.Table("a").Put([]byte(key), []byte(value)), tx.Table(fmt.Sprint("of", n%3)).Put([]byte(key), []byte(value)))
				})
				if err != nil {
					t.Error(err)
					return
				}
				if delete(model, "a/"+key); !gone {
					model["a/"+key], model[fmt.Sprintf("of%d/%s", n%3, key)] = value, value
				}
			}
		})
	}
	for range 6 {
		time.Sleep(20 * time.Millisecond) // some of them come through
		if _, err := db.Compact(); err != nil {
			t.Error(err)
		}
		if err := db.Snapshot(func(table.Tx, int64) (io.Writer, error) { return io.Discard, nil }); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	working.Wait()
	all := map[string]string{}
	for _, model := range models {
		maps.Copy(all, model)
	}
	want(t, "content", contentOf(t, db), all)
}

// A value may be of a megabyte, and a transaction of many keys.
func large(t *testing.T, p Place) {
	db := open(t, p)
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	update(t, db, func(tx table.Tx) error {
		for i := range 20_000 {
			if err := tx.Table("keys").Put(fmt.Appendf(nil, "%08d", i*7919%20_000), nil); err != nil {
				return err
			}
		}
		return tx.Table("a").Put([]byte("k"), value)
	})
	err := db.View(func(tx table.Tx) error {
		n := 0
		for key := range tx.Table("keys").Ascend(nil) {
			if string(key) != fmt.Sprintf("%08d", n) {
				t.Fatalf("got key %q as number %d", key, n)
			}
			n++
		}
		want(t, "keys", n, 20_000)
		if !bytes.Equal(tx.Table("a").Get([]byte("k")), value) {
			t.Error("a large value came back as another")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
