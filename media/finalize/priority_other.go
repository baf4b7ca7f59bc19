//go:build !linux

package finalize

// lowerPriority does nothing: only Linux has priorities of threads.
func lowerPriority() error { return nil }
