package media

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// onTime has the pacer's goroutine keep a thread, which goes before what else the machine
// does, if the process may: see loopNice.
func onTime() {
	runtime.LockOSThread() // not given back: the thread ends with the goroutine
	unix.Setpriority(unix.PRIO_PROCESS, 0, loopNice)
}

// sleep is the kernel's: a timer of the Go runtime is up to a millisecond late.
func sleep(d time.Duration) {
	span := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&span, nil) // a signal ends it early, which does no harm
}
