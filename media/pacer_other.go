//go:build !linux

package media

import "time"

func onTime() {}

func sleep(d time.Duration) { time.Sleep(d) }
