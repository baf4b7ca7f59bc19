//go:build race

package srtp

// raced: the race detector makes pools forget.
const raced = true
