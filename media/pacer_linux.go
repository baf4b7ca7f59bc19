package media

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// pacerThreads is how many processors of the runtime the pacer keeps while a prompt plays:
// it sleeps as the event loops do, without telling.
const pacerThreads = 1

// onTime has the pacer's goroutine keep a thread, which goes before what else the machine
// does, if the process may: see loopNice.
func onTime() {
	runtime.LockOSThread() // not given back: the thread ends with the goroutine
	unix.Setpriority(unix.PRIO_PROCESS, 0, loopNice)
}
