package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
)

// resealAhead is how long before the end of its epoch something is sealed anew. Rounds are a
// day apart, and a machine can be off for some.
const resealAhead = 7 * 24 * time.Hour

// resealFiles seals the files of a row to a later epoch, and its personal part with them, where
// the one that they have ends before they may go. So an epoch can be destroyed, with all else
// that expired then, though something of it is kept. Where the master identity is elsewhere
// that cannot be done, and the epoch stays: see destroyEpochs.
//
//	new file written, synced ─ commit: the row names it, journal ─ old file deleted
func (s *Store) resealFiles(row *Row, until time.Time) error {
	return s.reseal(row, until, time.Now().Add(resealAhead))
}

// Reseal seals the files of a recording for as long as it is kept, where that became longer
// while they were made.
func (s *Store) Reseal(id string) error {
	row, err := s.Get(id)
	if err == nil && row.State == StateKept {
		err = s.reseal(&row, row.Expires, row.Expires)
	}
	if err != nil {
		return fmt.Errorf("reseal %s: %w", id, err)
	}
	return nil
}

// reseal does so where the epoch ends before by, too.
func (s *Store) reseal(row *Row, until, by time.Time) error {
	ends := func(f File) bool { return f.Epoch != "" && f.Epoch.End().Before(until) && f.Epoch.End().Before(by) }
	if s.keys.Sealed() || !slices.ContainsFunc(row.Files, ends) {
		return nil
	}
	s.resealing.Lock()
	defer s.resealing.Unlock()
	current, err := s.Get(row.ID) // somebody may have been faster
	if err != nil {
		return err
	}
	for _, f := range current.Files {
		if !ends(f) {
			continue
		}
		if err := s.resealFile(&current, f, seal.EpochOf(until)); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

func (s *Store) resealFile(row *Row, f File, to seal.Epoch) error {
	fresh := f
	fresh.Epoch, fresh.Path = to, path.Join(path.Dir(f.Path), nameFor(row.ID, f.Path, to))
	err := s.sealAnew(f, &fresh)
	if err == nil {
		s.step("sealed anew")
		err = s.commitResealed(row, f, fresh)
	}
	obsolete := f.Path
	if err != nil {
		obsolete = fresh.Path // it may be there all the same
	}
	_, removed := s.removeFile(obsolete)
	if errors.Is(err, errNotKept) {
		err = nil // what it was sealed anew for is over
	}
	return errors.Join(err, removed, s.syncFiles(path.Dir(obsolete)))
}

// commitResealed has a row name the fresh file instead of the one before.
func (s *Store) commitResealed(row *Row, f, fresh File) error {
	return s.commit(func(tx table.Tx) (refusal, err error) {
		old, err := get(tx, row.ID)
		if err != nil {
			return err, nil
		}
		if old.State == StateExpired || old.State == StateDestroyed || old.due(time.Now()) || !old.held() && fresh.Epoch > seal.EpochOf(old.Expires) {
			return errNotKept, nil
		}
		i := slices.Index(old.Files, f)
		if i < 0 {
			return errors.New("the row has another file by now"), nil
		}
		updated := old.Clone()
		updated.Files[i] = fresh
		s.open(tx, &updated)
		if err := s.seal(tx, &updated); err != nil {
			return nil, err
		}
		if _, err := note(tx, journal.Reseal, row.ID, Act{Daemon, fmt.Sprintf("from epoch %s to %s", f.Epoch, fresh.Epoch)}); err != nil {
			return nil, err
		}
		return nil, put(tx, &old, &updated)
	})
}

// resealPersonal seals the personal part of a row under legal hold to a later epoch, where the
// one that it has ends before it may go: that of a call without files, and of a recording that
// was destroyed before.
func (s *Store) resealPersonal(row *Row, until time.Time) error {
	ahead, to := time.Now().Add(resealAhead), seal.EpochOf(until)
	if s.keys.Sealed() || row.part == nil || !row.part.Epoch.End().Before(until) || !row.part.Epoch.End().Before(ahead) {
		return nil
	}
	return s.commit(func(tx table.Tx) (refusal, err error) {
		old, err := get(tx, row.ID)
		if err != nil {
			return err, nil
		}
		if !old.held() || old.part == nil || old.part.Epoch >= to {
			return nil, nil // released meanwhile, or sealed anew with its files
		}
		updated := old.Clone()
		if s.open(tx, &updated); updated.Sealed {
			return errors.New("its numbers cannot be opened"), nil
		}
		if err := s.sealTo(tx, &updated, to); err != nil {
			return nil, err
		}
		if _, err := note(tx, journal.Reseal, row.ID, Act{Daemon, fmt.Sprintf("its numbers, from epoch %s to %s", old.part.Epoch, to)}); err != nil {
			return nil, err
		}
		return nil, put(tx, &old, &updated)
	})
}

// errNotKept is wrapped where something was sealed anew that is not kept for so long any more.
var errNotKept = errors.New("it is not kept for so long any more")

// sealAnew writes a file's content for another epoch, beside it, and says the rest of the fresh
// file.
func (s *Store) sealAnew(f File, fresh *File) error {
	content, err := s.OpenFile(f)
	if err != nil {
		return err
	}
	defer content.Close() // it was only read
	w, err := s.CreateFile(fresh.Path)
	if err != nil {
		return err
	}
	sealed, plain, written := sha256.New(), sha256.New(), counter(0)
	sealing, err := s.keys.Seal(fresh.Epoch, io.MultiWriter(w, sealed, &written))
	if err == nil {
		fresh.ContentBytes, err = io.Copy(io.MultiWriter(sealing, plain), content)
		err = errors.Join(err, sealing.Close())
	}
	fresh.Bytes = int64(written)
	fresh.SHA256, fresh.ContentSHA256 = hex.EncodeToString(sealed.Sum(nil)), hex.EncodeToString(plain.Sum(nil))
	if err == nil && f.ContentSHA256 != "" && fresh.ContentSHA256 != f.ContentSHA256 {
		err = errors.New("what is in it is not what its row says")
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

// counter counts the bytes that are written.
type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

// nameFor is a file's name once it is sealed to an epoch other than that of its recording:
// <id>.<epoch>.opus.age.
func nameFor(id, name string, to seal.Epoch) string {
	return id + "." + string(to) + "." + formatOf(id, name)
}

// formatOf is what a file's name has behind the id, and the epoch if it has one: opus.age.
func formatOf(id, name string) string {
	rest := strings.TrimPrefix(path.Base(name), id+".")
	if first, behind, found := strings.Cut(rest, "."); found {
		if _, err := seal.ParseEpoch(first); err == nil {
			return behind
		}
	}
	return rest
}
