//go:build race

package media

// raced: the race detector makes pools forget.
const raced = true
