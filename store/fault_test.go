package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/store/blob/blobtest"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table/bolt"
	"github.com/bewaard/bewaard/store/table/tabletest"
)

var faults = flag.Bool("faults", false, "the test of faults has each operation fail in every way, not in one of three")

// fault has the n-th operation of database and recordings fail with EIO, and those after it
// too where it lasts.
type fault struct {
	at    int // 0: none
	lasts bool

	mu   sync.Mutex
	n    int
	what string // that failed first, "" as long as nothing did
	gone bool
}

func (f *fault) fail(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if f.at == 0 || f.gone || f.n < f.at || f.n > f.at && !f.lasts {
		return nil
	}
	if f.what == "" {
		f.what = what
	}
	return syscall.EIO
}

// mend ends it, and reports whether anything failed.
func (f *fault) mend() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	return f.what != ""
}

// life is that of some recordings, in a store that may have a fault.
type life struct {
	*testing.T
	*Store
	where   string
	file    *bolt.DB
	fault   *fault
	sweeper *Sweeper
	moment

	kept, swept, objected, silent Row
}

// moment is what there is after a step.
type moment struct {
	at     time.Time
	told   []journal.Head
	states map[string]State
	files  []string
}

// open opens the store. What it does before it is open does not fail.
func (l *life) open() {
	s, err := Open(Config{Directory: l.where}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		l.Fatal(err)
	}
	l.file = s.db.(*bolt.DB)
	l.file.NoSync(true)
	s.db = &tabletest.Faulty{DB: s.db, Fail: l.fault.fail}
	fail := func(op, name string) error { return l.fault.fail(op + " " + name) }
	s.recordings, s.spools = blobtest.Faulty(s.recordings, fail), blobtest.Faulty(s.spools, fail)
	l.Store, l.sweeper = s, NewSweeper(s, SweepConfig{MaxShare: 1})
}

// A life's steps. Each can be done again, whether it was done, half done or not done.
var lifeSteps = []struct {
	name string
	do   func(l *life) error
}{
	{"begin", func(l *life) error {
		for _, row := range []Row{l.kept, l.swept, l.objected, l.silent} {
			if err := l.Begin(row); err != nil && !errors.Is(err, ErrExists) {
				return err
			}
		}
		return nil
	}},
	{"not recorded", func(l *life) error {
		_, err := l.Update(l.silent.ID, func(r *Row) error {
			r.State, r.Reason, r.Expires, r.CertificateExpires = StateNotRecorded, "no_rule", r.Began.Add(day), r.Began.Add(45*day)
			return nil
		})
		return err
	}},
	{"record", func(l *life) error {
		for _, row := range []Row{l.kept, l.swept, l.objected} {
			if _, err := l.Update(row.ID, func(r *Row) error { granted(r); return nil }); err != nil {
				return err
			}
			write(l.T, l.Store, spoolDirectory+"/"+row.ID+".spool", "packets")
		}
		return nil
	}},
	{"discard", func(l *life) error {
		row, err := l.Get(l.objected.ID)
		if err == nil && row.Entry == 0 {
			row.part, row.tokens = nil, nil // as the call has it, who knows nothing of seals
			row.Reason, row.Expires = "objected", row.Began.Add(3*day)
			err = l.Discard(row, Act{Daemon, "a party objected"})
		}
		if err != nil {
			return err
		}
		return l.FinishDiscard(row.ID)
	}},
	{"hang up", func(l *life) error {
		for _, row := range []Row{l.kept, l.swept} {
			_, err := l.Update(row.ID, func(r *Row) error {
				r.State, r.Ended, r.Expires = StateFinalizing, time.Now(), r.Began.Add(4*day)
				if r.ID == l.kept.ID {
					r.Expires = r.Began.Add(400 * day)
				}
				r.RowExpires, r.CertificateExpires = r.Expires.Add(30*day), r.Expires.Add(5000*day)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"die at it", func(l *life) error {
		w, err := l.CreateFile(l.recorded(l.swept))
		if err == nil {
			_, err = io.WriteString(w, "half of it") // and nobody ends it
		}
		return err
	}},
	{"reconcile", func(l *life) error { _, err := l.Reconcile(l.Context()); return err }},
	{"make", func(l *life) error { return errors.Join(l.make(l.kept), l.make(l.swept)) }},
	{"select", func(l *life) error {
		return errors.Join(l.selected(l.kept, 500*day), l.selected(l.swept, 8*day))
	}},
	{"listen", (*life).listen},
	{"round", (*life).round},
	{"hold", func(l *life) error {
		row, err := l.Get(l.swept.ID)
		if err == nil && !row.held() {
			_, err = l.LayHold(l.Context(), Held{IDs: []string{l.swept.ID}}, time.Time{}, anna)
		}
		return err
	}},
	{"nights", func(l *life) error {
		return l.passed(12*day, 6*day, func() error { return errors.Join(l.sweep(), l.round()) })
	}},
	{"listen again", (*life).listen},
	{"release", func(l *life) error {
		holds, err := l.Holds()
		for _, h := range holds {
			_, failed := l.ReleaseHold(h.ID, bert)
			err = errors.Join(err, failed)
		}
		return errors.Join(err, l.sweep())
	}},
	{"come back", func(l *life) error {
		write(l.T, l.Store, l.recorded(l.swept), "from a backup")
		return l.start()
	}},
	{"forget", func(l *life) error { return l.passed(50*day, 20*day, l.sweep) }},
	{"compact", func(l *life) error { _, err := l.Compact(anna); return err }},
	{"snapshot", func(l *life) error {
		return l.Snapshot(anna, func(journal.Head, int64) io.Writer { return io.Discard })
	}},
	{"close", func(l *life) error {
		err := l.Close()
		l.open()
		return err
	}},
}

// recorded is a row's file as it is made.
func (l *life) recorded(row Row) string {
	return path.Join(l.RecordingDirectory(row.Began), row.ID+".opus.age")
}

// start is what the daemon does first.
func (l *life) start() error {
	report, err := l.Recover(l.Context())
	for _, name := range report.SpoolsLeft {
		err = errors.Join(err, l.RemoveSpool(ownerOf(name)))
	}
	return errors.Join(err, NewCustodian(l.Store).round(l.Context(), false))
}

// make makes a recording as the keeper does.
func (l *life) make(row Row) error {
	row, err := l.Get(row.ID)
	if err != nil {
		return err
	}
	if row.State == StateFinalizing {
		if err := l.finalize(row); err != nil {
			return err
		}
	}
	return errors.Join(l.Reseal(row.ID), l.RemoveSpool(row.ID))
}

func (l *life) finalize(row Row) error {
	const content = "sound"
	f := File{Path: l.recorded(row), Format: "opus", Seconds: 1, Epoch: seal.EpochOf(row.Expires), ContentBytes: int64(len(content))}
	w, err := l.CreateFile(f.Path)
	if err != nil {
		return err
	}
	hash, written := sha256.New(), counter(0)
	sealing, err := l.keys.Seal(f.Epoch, io.MultiWriter(w, hash, &written))
	if err == nil {
		_, err = io.WriteString(sealing, content)
		err = errors.Join(err, sealing.Close())
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	f.Bytes, f.SHA256, f.ContentSHA256 = int64(written), hex.EncodeToString(hash.Sum(nil)), hashOf([]byte(content))
	_, err = l.Update(row.ID, func(r *Row) error { r.State, r.Files = StateKept, []File{f}; return nil })
	return err
}

// selected keeps a recording for something else, and for longer.
func (l *life) selected(row Row, kept time.Duration) error {
	row, err := l.Get(row.ID)
	switch {
	case err != nil:
		return err
	case row.Purpose == "complaint":
		return nil // and so refused
	}
	_, err = l.Reassign(row.ID, journal.Select, "complaint", anna, func(r *Row) error {
		r.Purpose, r.Expires = "complaint", r.Began.Add(kept)
		return nil
	})
	return err
}

// listen reads what is kept.
func (l *life) listen() error {
	for _, row := range []Row{l.kept, l.swept} {
		row, err := l.Get(row.ID)
		if err != nil {
			return err
		}
		content, err := l.OpenFile(row.Files[0])
		if err != nil {
			return err
		}
		b, err := io.ReadAll(content)
		if err == nil && string(b) != "sound" {
			l.Errorf("got %q of %s, want what was recorded", b, row.Files[0].Path)
		}
		if err := errors.Join(err, content.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) round() error { return NewCustodian(l.Store).Round(l.Context()) }

// sweep is one that comes when what failed before is tried again. Who was there when the clock
// was moved says that it is right.
func (l *life) sweep() error {
	time.Sleep(2 * time.Minute)
	_, err := l.sweeper.Sweep(l.Context())
	if errors.Is(err, ErrClockGuard) {
		if err := l.sweeper.ConfirmClock(anna); err != nil {
			return err
		}
		_, err = l.sweeper.Sweep(l.Context())
	}
	return err
}

// passed lets days pass, with what is done meanwhile at the beginning of each of these.
func (l *life) passed(until, each time.Duration, do func() error) error {
	for {
		if err := do(); err != nil || !time.Now().Before(l.swept.Began.Add(until)) {
			return err
		}
		time.Sleep(each)
	}
}

// look notes what there is, and looks whether it is in order.
func (l *life) look() {
	m := moment{at: time.Now(), told: l.told, states: map[string]State{}, files: files(l, l.Store)}
	for _, row := range []Row{l.kept, l.swept, l.objected, l.silent} {
		got, err := l.Get(row.ID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			l.Error(err)
		}
		m.states[row.ID] = got.State
		if got.State == StateDestroyed && got.captured() {
			if _, err := l.Certificate(row.ID); err != nil {
				l.Error(err)
			}
		}
	}
	report, err := l.inspect(l.Context(), true)
	if diff := cmp.Diff(Report{}, report); err != nil || diff != "" {
		l.Errorf("got error %v, report, -want +got:\n%s", err, diff)
	}
	faulty := l.db
	l.db = l.file
	checkIndexes(l, l.Store)
	l.db = faulty
	a := &audited{Store: l.Store, snapshot: filepath.Join(l.TempDir(), "audit.db")}
	a.take(l)
	if found, _ := a.audit(l, func(c *VerifyConfig) { c.Heads = l.told }); found != nil {
		l.Errorf("got findings %s", strings.Join(found, "\n"))
	}
	head, err := l.Head()
	if err != nil {
		l.Error(err)
	}
	m.told = append(slices.Clip(m.told), head)
	l.moment = m
}

// Whatever operation of the database or of the recordings' store fails, or was done and says
// that it failed: whoever asked for it is told; once the fault is gone it can be done again,
// by who goes on or after a new start, and then all is as if nothing had failed.
func TestEachOperationFails(t *testing.T) {
	before := make([]*life, len(lifeSteps)+1) // each step, without a fault
	synctest.Test(t, func(bubble *testing.T) {
		l := &life{T: bubble, where: t.TempDir(), fault: &fault{}, kept: calling(), swept: calling(), objected: calling(), silent: calling()}
		l.open()
		for i, step := range lifeSteps {
			l.look()
			was := *l
			was.where = t.TempDir()
			if err := errors.Join(os.CopyFS(was.where, os.DirFS(l.where)), closeKeys(was.where)); err != nil {
				t.Fatal(err)
			}
			before[i] = &was
			if err := step.do(l); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		l.look()
		before[len(lifeSteps)] = l
		l.Close()
	})
	ways := []struct{ lasts, again bool }{{false, false}, {false, true}, {true, true}}
	for i, step := range lifeSteps {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			for n, failed := 1, true; failed; n++ {
				for w, way := range ways {
					if !*faults && (i+n)%len(ways) != w {
						continue
					}
					t.Run(fmt.Sprintf("%d/%+v", n, way), func(t *testing.T) {
						synctest.Test(t, func(bubble *testing.T) {
							l := *before[i]
							l.T, l.where, l.fault = bubble, t.TempDir(), &fault{at: n, lasts: way.lasts}
							failed = l.fails(before[i].where, i, way.again, before[i+1].moment)
							if bubble.Failed() {
								t.Logf("%s had failed", l.fault.what)
							}
						})
					})
				}
			}
		})
	}
}

// fails does a step with a fault, and again without, and holds what there is then against what
// there is to be. It reports whether anything failed.
func (l *life) fails(from string, i int, again bool, want moment) bool {
	if err := errors.Join(os.CopyFS(l.where, os.DirFS(from)), closeKeys(l.where)); err != nil {
		l.Fatal(err)
	}
	time.Sleep(time.Until(l.at))
	l.open()
	defer func() { l.Close() }()
	step := lifeSteps[i]
	err := step.do(l)
	failed := l.fault.mend()
	if err != nil && (!failed || !errors.Is(err, syscall.EIO)) {
		l.Fatalf("%s: got error %v, want one that wraps %v, if any", step.name, err, syscall.EIO)
	}
	if !failed {
		return false
	}
	if again {
		if err := l.Close(); err != nil {
			l.Error(err)
		}
		l.open()
		if err := l.start(); err != nil {
			l.Errorf("at the next start: %v", err)
		}
	}
	if err := step.do(l); err != nil {
		l.Fatalf("%s, done again: got error %v, want none", step.name, err)
	}
	if !again {
		if err := l.round(); err != nil {
			l.Errorf("in the next round: %v", err)
		}
	}
	l.look()
	if diff := cmp.Diff(want.states, l.states); diff != "" {
		l.Errorf("states, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want.files, l.files); diff != "" {
		l.Errorf("files, -want +got:\n%s", diff)
	}
	return true
}
