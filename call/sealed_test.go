package call

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/seal"
)

// contents collects every version of every file below a directory that it gets to see.
type contents struct {
	directory string
	seen      map[string][][]byte // by path; a file that only grew is there once
}

func (c *contents) look(t *testing.T) {
	err := filepath.WalkDir(c.directory, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil // gone meanwhile
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return nil
		}
		versions := c.seen[name]
		if n := len(versions); n > 0 && bytes.HasPrefix(content, versions[n-1]) {
			versions[n-1] = content
		} else {
			c.seen[name] = append(versions, content)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// watch looks again and again until what it returns is called.
func (c *contents) watch(t *testing.T) (stop func()) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { // ends with stop
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.look(t)
			case <-done:
				c.look(t)
				return
			}
		}
	})
	return func() { close(done); watching.Wait() }
}

// has reports which files had that in them, whenever.
func (c *contents) has(what []byte) (names []string) {
	for name, versions := range c.seen {
		if slices.ContainsFunc(versions, func(v []byte) bool { return bytes.Contains(v, what) }) {
			names = append(names, name)
		}
	}
	return names
}

// Neither what is said nor who called is on the disk in the clear, at any time of a call or
// after it: not in the spool, the recording or the database.
func TestNothingInTheClearOnDisk(t *testing.T) {
	w := newWorld(t, options{})
	c := &contents{directory: w.dir, seen: map[string][][]byte{}}
	stop := c.watch(t)
	_, _, row := w.talk(bounded(t), w.carrier, w.pbx, "+31201234567", "+31209876543")
	stop()
	if row.State != store.StateKept {
		t.Fatalf("got row %s %s", row.State, row.Reason)
	}
	if names := c.has([]byte("bwrdspl2")); len(names) == 0 {
		t.Error("got no spool to see during the call")
	}
	left, right := w.channels(row)
	for name, channel := range map[string][]int16{"left": left, "right": right} {
		said := channel[len(channel)/2:][:40]
		var linear []byte
		for _, s := range said {
			linear = binary.LittleEndian.AppendUint16(linear, uint16(s))
		}
		aLaw, muLaw := make([]byte, len(said)), make([]byte, len(said))
		g711.EncodeALaw(aLaw, said)
		g711.EncodeMuLaw(muLaw, said)
		for encoding, pattern := range map[string][]byte{"linear": linear, "A-law": aLaw, "µ-law": muLaw} {
			if names := c.has(pattern); len(names) > 0 {
				t.Errorf("what is said on the %s, %s, is in %v", name, encoding, names)
			}
		}
	}
	if row.Caller == "" || row.Callee == "" || row.CallerCallID == "" {
		t.Fatalf("got row of %+v, want who called", row.Personal)
	}
	for _, secret := range []string{row.Caller[3:], row.Callee[3:], row.CallerCallID, row.CalleeCallID} {
		if names := c.has([]byte(secret)); secret != "" && len(names) > 0 {
			t.Errorf("%q is in %v", secret, names)
		}
	}
	content, err := w.store.OpenFile(row.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	opened, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	recorded := opened[len(opened)/2:][:160]
	if names := c.has(recorded); len(names) > 0 {
		t.Errorf("the recording is in %v", names)
	}
	c.seen["opened"] = [][]byte{opened} // where the search has to find it
	if names := c.has(recorded); len(names) != 1 {
		t.Errorf("got %v, want that the search finds what is there", names)
	}
}

// The key of a day's spools is destroyed when the last of them is finalized and the day is
// over, and not before.
func TestSpoolKeysRetire(t *testing.T) {
	k, s, row := newKeeper(t)
	if err := record(t, k, row).Close("hung_up"); err != nil {
		t.Fatal(err)
	}
	wrapped, err := spool.WrappedKey(k.spoolPath(row.ID))
	if err != nil {
		t.Fatal(err)
	}
	day, err := seal.SpoolDay(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	there := func() bool {
		t.Helper()
		_, err := os.Stat(filepath.Join(s.Directory(), "keys", "spool", string(day)+".key"))
		return err == nil
	}
	retire := func(now time.Time) {
		t.Helper()
		if err := k.retireDays(now); err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(72 * time.Hour)
	if retire(later); !there() {
		t.Fatal("the key of a spool that is left was destroyed")
	}
	change(t, s, row.ID, store.StateFinalizing, time.Now().Add(time.Hour))
	k.Finalize(row.ID)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if k.spools, err = os.OpenRoot(s.SpoolDirectory()); err != nil {
		t.Fatal(err)
	}
	defer k.spools.Close()
	if retire(day.End()); !there() {
		t.Error("the key was destroyed as the day ended")
	}
	if retire(later); there() {
		t.Error("nothing needs the key, and it is there")
	}
}
