package finalize

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// workerNice is a worker's nice value: it gets a tenth of a core that a thread which
// relays wants too. Less would cost the calls: the collector stops the world, and
// waits for every thread to come to where it can stop. That takes half a second where
// one has nice 19 or SCHED_IDLE and the machine is busy (docs/decisions/0014).
const workerNice = 10

// lowerPriority gives the calling thread a low priority, for good.
func lowerPriority() error {
	tid := unix.Gettid()
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, tid) // 20 − nice: getpriority(2)
	if err != nil {
		return fmt.Errorf("get priority of thread: %w", err)
	}
	// Also out of a real-time policy that the daemon may run under.
	nice := max(20-raw, workerNice)
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: int32(nice)}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("set priority of thread: %w", err)
	}
	return nil
}
