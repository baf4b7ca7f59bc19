package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
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

func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Path, b.Path))
	})
}

// Join makes one error of what was found in several rounds: the Faults among them in the
// order of the file's lines, without those that follow from one found before at the same key
// or above it; other errors behind them. Nil ones are left out, and of nothing comes nil.
func Join(errs ...error) error {
	var joined Faults
	var rest []error
	for _, err := range errs {
		found, ok := err.(Faults)
		if !ok && err != nil {
			rest = append(rest, err)
		}
		before := joined
		for _, fault := range found {
			if !slices.ContainsFunc(before, func(b Fault) bool { return below(fault.Path, b.Path) }) {
				joined = append(joined, fault)
			}
		}
	}
	joined.sort()
	switch {
	case joined == nil:
		return errors.Join(rest...)
	case rest == nil:
		return joined
	}
	return errors.Join(append([]error{joined}, rest...)...)
}

// below reports whether a path is another one, or leads to something in it.
func below(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || strings.IndexAny(rest, ".[") == 0)
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
