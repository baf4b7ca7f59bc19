//go:build !linux

package media

import "errors"

const defaultEngine = EnginePortable

func newEpoll(Config) (driver, error) { return nil, errors.New("engine: epoll is Linux's") }

// mark leaves packets as they are: the system's own policy marks them.
func mark(int, bool, int) error { return nil }
