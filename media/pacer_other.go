//go:build !linux

package media

import "time"

const pacerThreads = 0

func onTime() {}

func pause(d time.Duration) { time.Sleep(d) }
