package finalize

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// niceOfThread returns the nice value of the thread that runs this.
func niceOfThread(t *testing.T) int {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		t.Error(err)
	}
	return 20 - raw
}

// A worker has a low priority, and nobody else inherits it: its thread is thrown away.
func TestWorkersHaveLowPriority(t *testing.T) {
	ours := niceOfThread(t)
	var theirs int
	p, err := NewPool(t.Context(), Config{
		Job:  func(string) (Job, error) { theirs = niceOfThread(t); return Job{}, errors.New("nothing to do") },
		Done: func(string, Result, error) {},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Submit("any", time.Now())
	p.Close()
	if want := max(ours, workerNice); theirs != want {
		t.Errorf("got a worker of nice %d, want %d", theirs, want)
	}

	const threads = 16
	var locked, done sync.WaitGroup
	locked.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			locked.Done()
			locked.Wait() // so that each has a thread of its own
			if got := niceOfThread(t); got != ours {
				t.Errorf("got a thread of nice %d after the pool has ended, want %d", got, ours)
			}
		})
	}
	done.Wait()
}
