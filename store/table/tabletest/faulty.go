package tabletest

import (
	"io"

	"github.com/bewaard/bewaard/store/table"
)

// Faulty is a database that fails where a test has it fail: with EIO, ENOSPC, whatever. What
// fails has changed nothing, as every implementation promises.
type Faulty struct {
	table.DB
	// Fail returns the error by which what is about to be done fails, or nil: "view",
	// "update", "put", "delete", "commit", "snapshot", "compact". Those of tables have its name
	// behind, "put rows". Several goroutines may call it.
	Fail func(what string) error
}

func (d *Faulty) View(f func(table.Tx) error) error {
	if err := d.Fail("view"); err != nil {
		return err
	}
	return d.DB.View(f)
}

func (d *Faulty) Update(f func(table.Tx) error) error {
	if err := d.Fail("update"); err != nil {
		return err
	}
	return d.DB.Update(d.failing(f))
}

func (d *Faulty) Batch(f func(table.Tx) error) error {
	if err := d.Fail("update"); err != nil {
		return err
	}
	return d.DB.Batch(d.failing(f))
}

// failing is a transaction that may fail, as the last thing when it commits. Once it did it
// fails again when the database runs it again.
func (d *Faulty) failing(f func(table.Tx) error) func(table.Tx) error {
	var failed error
	fail := func(what string) error {
		if failed == nil {
			failed = d.Fail(what)
		}
		return failed
	}
	return func(tx table.Tx) error {
		if failed != nil {
			return failed
		}
		if err := f(&faultyTx{tx, fail}); err != nil {
			return err
		}
		return fail("commit")
	}
}

func (d *Faulty) Snapshot(begin func(tx table.Tx, bytes int64) (io.Writer, error)) error {
	if err := d.Fail("snapshot"); err != nil {
		return err
	}
	return d.DB.Snapshot(begin)
}

func (d *Faulty) Compact() (table.Compaction, error) {
	if err := d.Fail("compact"); err != nil {
		return table.Compaction{}, err
	}
	return d.DB.Compact()
}

type faultyTx struct {
	table.Tx
	fail func(what string) error
}

func (tx *faultyTx) Table(name string) table.Table {
	return &faultyTable{tx.Tx.Table(name), name, tx.fail}
}

type faultyTable struct {
	table.Table
	name string
	fail func(what string) error
}

func (t *faultyTable) Put(key, value []byte) error {
	if err := t.fail("put " + t.name); err != nil {
		return err
	}
	return t.Table.Put(key, value)
}

func (t *faultyTable) Delete(key []byte) error {
	if err := t.fail("delete " + t.name); err != nil {
		return err
	}
	return t.Table.Delete(key)
}
