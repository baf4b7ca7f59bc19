package blobtest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// mountedVar tells a test that it runs in a process with mounts of its own.
const mountedVar = "BEWAARD_TEST_MOUNTED"

// Mounted runs the rest of a test in a process that may mount what only it sees, on a
// directory; where the system does not let it, the test is skipped.
func Mounted(t *testing.T) (directory string, inside bool) {
	t.Helper()
	if directory := os.Getenv(mountedVar); directory != "" {
		return directory, true
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

// Mount mounts a file system in memory, with these options of tmpfs.
func Mount(t *testing.T, directory, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, options); err != nil {
		t.Skipf("no file system of its own: %v", err)
	}
}
