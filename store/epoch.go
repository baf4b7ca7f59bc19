package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
)

// destroyEpochs destroys the keys of the days that are over, unless something is sealed with
// them that is not due: a call that goes on, a legal hold. A file that cannot be deleted does
// not keep a key alive: without it the file is worth nothing. One epoch's error does not stop
// the others.
func (s *Store) destroyEpochs(ctx context.Context, now time.Time) error {
	over, err := s.keys.Over(now)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range over {
		if err := context.Cause(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := s.destroyEpoch(e, now); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// epochDestroyed is the reason by which the journal has that an epoch's key is destroyed.
const epochDestroyed = "it is over, and nothing that may stay is sealed to it: its key is destroyed"

func (s *Store) destroyEpoch(e seal.Epoch, now time.Time) error {
	needed, err := s.needed(e, now)
	if err != nil || needed {
		return err
	}
	if err := s.Note(journal.EpochKey, string(e), Act{Daemon, epochDestroyed}); err != nil {
		return err
	}
	if err := s.keys.Destroy(e); err != nil {
		return err
	}
	s.step("destroyed epoch " + string(e))
	s.log.Info("epoch destroyed: nothing that expired then can be opened any more", "epoch", e)
	return s.dropRowKeys(e)
}

// needed reports whether a row that is not due has something sealed to an epoch.
func (s *Store) needed(e seal.Epoch, now time.Time) (needed bool, err error) {
	after, end := label(string(e)), append(label(string(e)), bytes.Repeat([]byte{0xff}, instantBytes)...)
	for more := true; more && !needed; {
		err := s.db.View(func(tx table.Tx) error {
			keys := byEpoch.page(tx, after, end, rowsPerRead)
			for _, key := range keys {
				if needed = needsEpoch(tx, keyID(key[byEpoch.sought:]), now); needed {
					return nil
				}
			}
			if more = len(keys) == rowsPerRead; more {
				after = keys[len(keys)-1]
			}
			return nil
		})
		if err != nil {
			return false, fmt.Errorf("look for what needs epoch %s: %w", e, err)
		}
	}
	return needed, nil
}

// needsEpoch reports whether a row that has something sealed to an epoch is not due. One that
// cannot be read says nothing of itself: it stays where it is under legal hold.
func needsEpoch(tx table.Tx, id string, now time.Time) bool {
	row, err := get(tx, id)
	if err != nil {
		return heldIn(tx, id)
	}
	return !row.due(now)
}

// heldIn reports whether some legal hold knows a row, whatever the row says.
func heldIn(tx table.Tx, id string) bool {
	held := tx.Table(heldTable)
	for hold := range tx.Table(holdsTable).Ascend(nil) {
		if held.Get(heldKey(string(hold), id)) != nil {
			return true
		}
	}
	return false
}

// dropRowKeys deletes the row keys of an epoch, which nobody can open any more.
func (s *Store) dropRowKeys(e seal.Epoch) error {
	err := s.db.Update(func(tx table.Tx) error {
		keys := tx.Table(rowKeysTable)
		var ids [][]byte
		for id := range keys.Ascend([]byte(e)) {
			if !bytes.HasPrefix(id, []byte(e)) {
				break
			}
			ids = append(ids, bytes.Clone(id))
		}
		for _, id := range ids {
			if err := keys.Delete(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop row keys of epoch %s: %w", e, err)
	}
	return nil
}
