package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Fault is one thing that is wrong with a file.
type Fault struct {
	File         string
	Line, Column int    // from 1
	Path         string // key, as purposes.quality.retention; empty for the file's syntax
	Message      string
}

// Error is the fault on one line: bewaard.yaml:12:5: purposes.quality.retention: missing.
func (f Fault) Error() string {
	line := fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Path != "" {
		line += f.Path + ": "
	}
	return oneLine(line + f.Message)
}

// oneLine escapes what would leave the line: keys may be anything.
func oneLine(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			escaped := strconv.QuoteRune(r)
			b.WriteString(escaped[1 : len(escaped)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Faults is everything that is wrong with a file, in the order of its lines.
type Faults []Fault

// Error is the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// positions are the lines and columns of keys and list items, by path.
type positions map[string]position

type position struct{ line, column int }

// of returns where a path is, or where the nearest key above it is that the file has:
// what is missing is missing there.
func (p positions) of(path string) (line, column int) {
	for path != "" {
		if at, ok := p[path]; ok {
			return at.line, at.column
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 1, 1
}
