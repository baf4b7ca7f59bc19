package bolt

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/tabletest"
)

const name = "test.db"

// place is a directory with a database.
type place struct{ directory string }

func (p place) Open() (table.DB, error) {
	db, err := Open(p.directory, name, "appended")
	if err != nil {
		return nil, err
	}
	return db, nil
}

func (p place) Read(snapshot []byte, f func(table.Tx) error) error {
	file := filepath.Join(p.directory, "snapshot")
	if err := os.WriteFile(file, snapshot, 0o600); err != nil {
		return err
	}
	return Read(file, f)
}

func (p place) Holds(b []byte) (held bool, err error) {
	files, err := filepath.Glob(filepath.Join(p.directory, name+"*"))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return false, err
		}
		held = held || bytes.Contains(content, b)
	}
	return held, err
}

func TestConformance(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) tabletest.Place { return place{t.TempDir()} })
}

// What wraps a database so that it may fail does not make it another while it does not.
func TestFaultyConforms(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) tabletest.Place { return faulty{place{t.TempDir()}} })
}

type faulty struct{ place }

func (p faulty) Open() (table.DB, error) {
	db, err := p.place.Open()
	if err != nil {
		return nil, err
	}
	return &tabletest.Faulty{DB: db, Fail: func(string) error { return nil }}, nil
}

// Where a process may map little, a database is opened all the same.
func TestLittleToMap(t *testing.T) {
	if os.Getenv("BEWAARD_LITTLE_TO_MAP") == "" {
		if runtime.GOOS != "linux" || raced {
			t.Skip("it takes Linux, and no race detector, which maps much itself")
		}
		it, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		again := exec.Command("sh", "-c", "ulimit -v 16000000 && exec \"$0\" -test.run=^TestLittleToMap$", it)
		again.Env = append(os.Environ(), "BEWAARD_LITTLE_TO_MAP=1")
		if text, err := again.CombinedOutput(); err != nil {
			t.Errorf("got %v: %s", err, text)
		}
		return
	}
	p := place{t.TempDir()}
	db, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx table.Tx) error { return tx.Table("a").Put([]byte("k"), nil) }); err != nil {
		t.Error(err)
	}
	if _, err := db.Compact(); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// Pages that point anywhere are told as damage.
func TestReadDamaged(t *testing.T) {
	p := place{t.TempDir()}
	db, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx table.Tx) error {
		for i := range 1000 {
			if err := tx.Table("a").Put([]byte{byte(i), byte(i >> 8)}, make([]byte, 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(p.directory, name))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for at := 2 * os.Getpagesize(); at < len(whole); at += os.Getpagesize() { // the first two say where the rest is
		spoilt := bytes.Clone(whole)
		for i := range 200 {
			spoilt[at+i] ^= 0xa5
		}
		seen := 0
		err := p.Read(spoilt, func(tx table.Tx) error {
			for range tx.Table("a").Ascend(nil) {
				seen++
			}
			return nil
		})
		if err != nil {
			damaged++
		}
	}
	if damaged == 0 {
		t.Error("no page that was spoilt was told of")
	}
}
