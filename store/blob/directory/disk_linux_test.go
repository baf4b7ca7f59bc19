package directory_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/bewaard/bewaard/store/blob/blobtest"
)

// On a full disk a blob cannot be committed, though whoever writes it does not look; what bore
// its name stays, nothing is left, and with room again all goes on.
func TestDiskFull(t *testing.T) {
	path, inside := blobtest.Mounted(t)
	if !inside {
		return
	}
	blobtest.Mount(t, path, "size=256k")
	s := open(t, path)
	check(t, begin(t, s, "d/a", "first").Commit())
	w, err := s.Create("d/a")
	check(t, err)
	for err == nil {
		_, err = w.Write(make([]byte, 10_000))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got error %v, want %v", err, syscall.ENOSPC)
	}
	if _, err := w.Write(nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got error %v of the next write, want %v", err, syscall.ENOSPC)
	}
	if err := w.Commit(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got error %v of the commit, want %v", err, syscall.ENOSPC)
	}
	check(t, w.Abort())
	if got, want := all(s), []string{"d/a"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if info, err := s.Stat("d/a"); err != nil || info.Size != 5 {
		t.Errorf("got %+v, %v, want what was there", info, err)
	}
	check(t, begin(t, s, "d/a", "second").Commit())
}
