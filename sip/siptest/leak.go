package siptest

import (
	"regexp"
	"runtime"
	"strings"
)

var bubbleOf = regexp.MustCompile(`^goroutine \d+ \[[^\]]*(synctest bubble \d+)\]`)

// Goroutines returns how many goroutines the synctest bubble has that it is called in, and
// what they do. runtime.NumGoroutine counts the runtime's own as well, which come and go.
func Goroutines() (n int, stacks string) {
	buf := make([]byte, 1<<20)
	stacks = string(buf[:runtime.Stack(buf, true)])
	bubble := bubbleOf.FindStringSubmatch(stacks) // the caller's own is the first
	if bubble == nil {
		panic("siptest: Goroutines is called outside a bubble")
	}
	for _, stack := range strings.Split(stacks, "\n\n") {
		if m := bubbleOf.FindStringSubmatch(stack); m != nil && m[1] == bubble[1] {
			n++
		}
	}
	return n, stacks
}
