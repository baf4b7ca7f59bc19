package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// List is numbers by a name that rules and never_record may use in place of them.
type List struct {
	Numbers []string `yaml:"numbers,list" json:"numbers"` // as in match.from: +31201234567, +3120*, 299
	// File has more of them, a line each; what is behind a # is for people.
	File string `yaml:"file" json:"-"`
	// Read is what the file has: whoever reads the configuration fills it in by ReadList.
	Read []Entry `yaml:"-" json:"-"`
}

// Entry is a number, or what numbers begin with, in a list's file.
type Entry struct {
	Line int // from 1
	Text string
}

// ReadList reads the text of a list's file. It is never nil.
func ReadList(text []byte) []Entry {
	entries := []Entry{}
	line := 0
	for raw := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		line++
		number, _, _ := strings.Cut(string(raw), "#")
		if number = strings.TrimSpace(number); number != "" {
			entries = append(entries, Entry{line, number})
		}
	}
	return entries
}

// effective puts what the file has with the rest: the policy is what it says, wherever that stood.
func (l List) effective() List {
	numbers := slices.Clone(l.Numbers)
	for _, e := range l.Read {
		numbers = append(numbers, e.Text)
	}
	return List{Numbers: numbers}
}

func (l List) validate(f faults, n numbering) {
	for i, text := range l.Numbers {
		if _, err := parsePattern(text, n); err != nil {
			f.index(i).add("%v", err)
		}
	}
	for _, e := range l.Read {
		if _, err := parsePattern(e.Text, n); err != nil {
			f.at("file").add("line %d: %v", e.Line, err)
		}
	}
	switch {
	case l.File == "" && len(l.Numbers) == 0:
		f.add("is empty: numbers, or the file that has them")
	case l.File != "" && l.Read != nil && len(l.Read) == 0:
		f.at("file").add("has no numbers")
	}
}

// listName holds the name of a list against what would be taken for a number.
func (f faults) listName(name string, n numbering) {
	if _, err := parsePattern(name, n); err == nil {
		f.add("the name of a list is not to be a number, nor %s", Withheld)
		return
	}
	f.name(name)
}

// patterns makes patterns of numbers and names of lists.
func (c Config) patterns(texts []string, n numbering) (all []pattern, err error) {
	for _, text := range texts {
		numbers := []string{text}
		if list, ok := c.Lists[text]; ok {
			numbers = list.effective().Numbers
		}
		for _, number := range numbers {
			p, err := parsePattern(number, n)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// validatePatterns holds each of a list of numbers and names of lists against what there is.
func (c Config) validatePatterns(f faults, texts []string, n numbering) {
	for i, text := range texts {
		if _, ok := c.Lists[text]; ok {
			continue
		}
		if _, err := parsePattern(text, n); err != nil {
			lists := ""
			if len(c.Lists) > 0 {
				lists = fmt.Sprintf("; nor is it a list%s", known(c.Lists))
			}
			f.index(i).add("%v%s", err, lists)
		}
	}
}

// numbers are patterns made ready: a number is among them or not, however many they are.
type numbers struct {
	patterns []pattern
	whole    map[string]struct{}
	begin    map[string]struct{}
	longest  int // of those that it may begin with
}

func newNumbers(patterns []pattern) numbers {
	n := numbers{patterns: patterns, whole: map[string]struct{}{}, begin: map[string]struct{}{}}
	for _, p := range patterns {
		if p.prefix {
			n.begin[p.text] = struct{}{}
			n.longest = max(n.longest, len(p.text))
		} else {
			n.whole[p.text] = struct{}{}
		}
	}
	return n
}

func (n numbers) none() bool { return len(n.patterns) == 0 }

// has reports whether a normalised number is among them.
func (n numbers) has(number string) bool {
	if _, ok := n.whole[number]; ok {
		return true
	}
	if len(n.begin) == 0 {
		return false
	}
	for i := range min(len(number), n.longest) + 1 {
		if _, ok := n.begin[number[:i]]; ok {
			return true
		}
	}
	return false
}
