//go:build !race

package finalize

const raced = false
