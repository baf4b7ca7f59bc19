package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bewaard/bewaard/store/journal"
)

var (
	torture     = flag.Int("torture", 4, "how often the torture test kills a process")
	tortureSeed = flag.Uint64("torture-seed", 0, "seed of the torture test; 0 for one of the clock")
)

// childVar names the directory that the process to be killed works in, and its seed.
const childVar = "BEWAARD_STORE_TORTURE"

func TestMain(m *testing.M) {
	if where := os.Getenv(childVar); where != "" {
		suffer(where)
		return
	}
	os.Exit(m.Run())
}

// suffer makes calls, sweeps, holds, snapshots and compactions until it is killed. What
// has returned, and so must outlast the kill, it says on standard output.
func suffer(where string) {
	directory, text, _ := strings.Cut(where, "|")
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(err)
	}
	s, err := Open(Config{Directory: directory}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	v := &victim{Store: s, sweeper: NewSweeper(s, SweepConfig{MaxShare: 1})}
	for worker := range uint64(3) {
		go v.work(rand.New(rand.NewPCG(seed, worker)))
	}
	select {} // until it is killed
}

type victim struct {
	*Store
	sweeper *Sweeper

	mu    sync.Mutex
	kept  []string
	holds []string
}

// say is what the parent relies on. A line is written whole or not at all.
func say(format string, args ...any) {
	os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n")
}

func (v *victim) work(r *rand.Rand) {
	for {
		err := v.act(r)
		if err != nil && !errors.Is(err, ErrCopying) && !errors.Is(err, ErrNothingHeld) && !errors.Is(err, ErrNoHold) {
			say("failed %v", err)
		}
	}
}

func (v *victim) act(r *rand.Rand) error {
	switch n := r.IntN(100); {
	case n < 70:
		return v.call(r)
	case n < 80:
		_, err := v.sweeper.Sweep(context.Background())
		return err
	case n < 86:
		return v.lay(r)
	case n < 90:
		return v.release()
	case n < 95:
		if err := v.Note(journal.Export, NewID(), anna); err != nil {
			return err
		}
		head, err := v.Head()
		say("head %v", head)
		return err
	case n < 97:
		return v.Snapshot(anna, func(journal.Head, int64) io.Writer { return io.Discard })
	case n < 98:
		_, err := v.Compact(anna)
		return err
	default:
		return NewCustodian(v.Store).Round(context.Background())
	}
}

// call is one from its beginning to its recording, if it gets that far.
func (v *victim) call(r *rand.Rand) error {
	row := calling()
	if err := v.Begin(row); err != nil {
		return err
	}
	say("begun %s", row.ID)
	expires := time.Now().Add(time.Duration(r.IntN(400)) * time.Millisecond)
	if r.IntN(3) == 0 {
		_, err := v.Update(row.ID, func(r *Row) error {
			r.State, r.Reason, r.Ended, r.Expires = StateNotRecorded, "no_rule", time.Now(), expires
			return nil
		})
		return err
	}
	if _, err := v.Update(row.ID, func(r *Row) error { granted(r); return nil }); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(v.SpoolDirectory(), row.ID+".spool"), []byte("packets"), 0o600); err != nil {
		return err
	}
	if _, err := v.Update(row.ID, func(r *Row) error { r.State, r.Ended = StateFinalizing, time.Now(); return nil }); err != nil {
		return err
	}
	name := path.Join(v.RecordingDirectory(row.Began), row.ID+".opus")
	w, err := v.CreateFile(name)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "sound"); err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := w.Commit(); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte("sound"))
	_, err = v.Update(row.ID, func(r *Row) error {
		r.State, r.Expires = StateKept, expires
		r.Files = []File{{Path: name, Format: "opus", Bytes: 5, Seconds: 1, SHA256: hex.EncodeToString(sum[:])}}
		return nil
	})
	if err != nil {
		return err
	}
	say("kept %s", row.ID)
	v.mu.Lock()
	v.kept = append(v.kept, row.ID)
	v.mu.Unlock()
	return v.RemoveSpool(row.ID)
}

func (v *victim) lay(r *rand.Rand) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.kept) == 0 {
		return nil
	}
	id := v.kept[len(v.kept)-1-r.IntN(min(5, len(v.kept)))]
	h, err := v.LayHold(context.Background(), Held{IDs: []string{id}}, time.Time{}, anna)
	if err != nil {
		return err
	}
	say("held %s %s", h.ID, id)
	v.holds = append(v.holds, h.ID)
	return nil
}

func (v *victim) release() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.holds) == 0 {
		return nil
	}
	id := v.holds[0]
	v.holds = v.holds[1:]
	say("releasing %s", id) // before: once it may have begun nobody relies on the hold
	_, err := v.ReleaseHold(id, bert)
	return err
}

// told is what processes that were killed had said.
type told struct {
	begun, kept map[string]bool
	held        map[string]string // hold → row
	heads       []journal.Head
	failed      []string
}

func (o *told) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 2 && words[0] == "begun":
			o.begun[words[1]] = true
		case len(words) == 2 && words[0] == "kept":
			o.kept[words[1]] = true
		case len(words) == 3 && words[0] == "held":
			o.held[words[1]] = words[2]
		case len(words) == 2 && words[0] == "releasing":
			delete(o.held, words[1])
		case len(words) == 3 && words[0] == "head":
			var h journal.Head
			number, err := strconv.ParseUint(words[1], 10, 64)
			if err == nil && h.Hash.UnmarshalText([]byte(words[2])) == nil {
				h.Number = number
				o.heads = append(o.heads, h)
			}
		case len(words) > 0 && words[0] == "failed":
			o.failed = append(o.failed, lines.Text())
		}
	}
}

// A process that is killed at any instant, again and again, in the middle of calls,
// sweeps, holds, snapshots and compactions, loses nothing that it had said was done:
// no row, no file that is kept or held, no entry of the journal. What is over goes, and
// an auditor finds nothing.
func TestKilledAnywhere(t *testing.T) {
	seed := *tortureSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-torture-seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 99))
	directory := t.TempDir()
	o := &told{begun: map[string]bool{}, kept: map[string]bool{}, held: map[string]string{}}
	for range *torture {
		o.read(killed(t, directory, r))
		checkSurvival(t, directory, o)
		if t.Failed() {
			t.Fatalf("seed %d; %s", seed, strings.Join(o.failed, "\n"))
		}
	}
	if len(o.failed) > 0 {
		t.Errorf("what a process could not do: %s", strings.Join(o.failed, "\n"))
	}
	t.Logf("%d calls, %d kept, %d held at the end, %d heads", len(o.begun), len(o.kept), len(o.held), len(o.heads))
}

// killed runs a process on the directory for a while, kills it and returns what it said.
func killed(t *testing.T, directory string, r *rand.Rand) io.Reader {
	t.Helper()
	var said strings.Builder
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", childVar, directory, r.Uint64()))
	child.Stdout, child.Stderr = &said, os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// What is waited for is the clock itself: an instant that nobody chose.
	<-time.After(100*time.Millisecond + time.Duration(r.IntN(400))*time.Millisecond)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait() // its error is that it was killed
	return strings.NewReader(said.String())
}

func checkSurvival(t *testing.T, directory string, o *told) {
	t.Helper()
	s := open(t, directory)
	defer s.Close()
	if report := reconcile(t, s); len(report.RowsWithoutFile)+len(report.Unreadable)+len(report.FilesOfOtherSize) > 0 {
		t.Errorf("got %+v", report)
	}
	left, err := s.Unfinished()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range left { // as the daemon does at its start, without making the recording
		update(t, s, row.ID, func(r *Row) { r.State, r.Reason, r.Expires = StateFailed, "daemon_died", time.Now().Add(-time.Second) })
	}
	w := NewSweeper(s, SweepConfig{MaxShare: 1})
	if got := sweep(t, w); got.Failed+got.Missing > 0 {
		t.Errorf("got %+v, want none failed, and no file missing", got)
	}
	for id := range o.begun {
		if _, err := s.Get(id); err != nil {
			t.Errorf("a row that was begun: %v", err)
		}
	}
	for id := range o.kept {
		if got := mustGet(t, s, id); got.State != StateKept && got.State != StateDestroyed {
			t.Errorf("got state %s of a recording that was kept", got.State)
		}
	}
	for hold, id := range o.held {
		if got := mustGet(t, s, id); got.State != StateKept || !got.held() {
			t.Errorf("got state %s, holds %v of a row under legal hold %s", got.State, got.Holds, hold)
		}
	}
	for _, name := range files(t, s) {
		if row := mustGet(t, s, ownerOf(name)); row.State == StateDestroyed || row.due(time.Now().Add(-time.Minute)) {
			t.Errorf("%s is there, and its row is %s", name, row.State)
		}
	}
	checkIndexes(t, s)
	a := &audited{Store: s, snapshot: filepath.Join(t.TempDir(), "audit.db")}
	a.take(t)
	if found, _ := a.audit(t, func(c *VerifyConfig) { c.Heads = o.heads }); found != nil {
		t.Errorf("got findings %s", strings.Join(found, "\n"))
	}
}
