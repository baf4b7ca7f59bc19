//go:build race

package call

// raced: the race detector makes allocations larger.
const raced = true
