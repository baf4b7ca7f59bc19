//go:build race

package finalize

// raced: the race detector makes everything slower, and allocations larger.
const raced = true
