package directory_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

// mountedVar tells a test that it runs in a process with mounts of its own.
const mountedVar = "BEWAARD_DIRECTORY_MOUNTED"

// mounted runs the rest of a test in a process that has a small file system of its own; where
// the system does not let it, the test is skipped.
func mounted(t *testing.T, options string) (path string, inside bool) {
	t.Helper()
	if path := os.Getenv(mountedVar); path != "" {
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, options); err != nil {
			t.Skipf("no file system of its own: %v", err)
		}
		return path, true
	}
	child := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), mountedVar+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	said, err := child.CombinedOutput()
	switch _, ran := errors.AsType[*exec.ExitError](err); {
	case bytes.Contains(said, []byte("--- SKIP")):
		t.Skipf("%s", said)
	case err != nil && !ran:
		t.Skipf("no process with mounts of its own: %v", err)
	case err != nil:
		t.Fatalf("%s", said)
	}
	return "", false
}

// On a full disk a blob cannot be committed, though whoever writes it does not look; what bore
// its name stays, nothing is left, and with room again all goes on.
func TestDiskFull(t *testing.T) {
	path, inside := mounted(t, "size=256k")
	if !inside {
		return
	}
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
