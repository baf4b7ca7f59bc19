package interop

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// step is one line of a script. README.md describes the language.
type step struct {
	line     int
	kind     kind
	dialog   string // a is the first
	method   string // of a request
	code     int    // of a response
	options  map[string]string
	headers  []string
	has      []string
	hasnot   []string
	pause    time.Duration
	branches [][]step // of an either
}

type kind uint8

const (
	sends kind = iota + 1
	receives
	pauses
	either // some exchanges, in any order
)

// flags are the options without a value.
var flags = map[string]bool{"?": true, "again": true, "bare": true, "rel": true, "retrans": true, "lost": true, "first": true}

// valued are those with one, beside h, has and hasnot.
var valued = map[string]bool{
	"sdp": true, "to": true, "from": true, "tag": true, "of": true, "rel": true, "type": true, "body": true, "uri": true, "cseq": true, "hops": true, "branch": true, "rack": true,
}

func (s *step) is(flag string) bool { _, ok := s.options[flag]; return ok }

func (s *step) response() bool { return s.kind == sends && s.code != 0 }

// parseScript reads a party's script.
func parseScript(name, text string) (*party, error) {
	p := &party{name: name}
	// The innermost list of steps is the one that grows: the script's, or a branch's.
	var branches [][]step
	inside := false
	add := func(s step) {
		switch n := len(p.later); {
		case inside:
			branches[len(branches)-1] = append(branches[len(branches)-1], s)
		case n > 0:
			p.later[n-1].steps = append(p.later[n-1].steps, s)
		default:
			p.steps = append(p.steps, s)
		}
	}
	for i, line := range strings.Split(text, "\n") {
		words, err := split(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		fault := func(why string) (*party, error) { return nil, fmt.Errorf("line %d: %s: %s", i+1, why, line) }
		switch words[0] {
		case "tcp":
			p.tcp = true
		case "ipv6":
			p.ipv6 = true
		case "echo":
			p.echo = true
		case "port":
			if p.port, err = strconv.Atoi(words[1]); err != nil {
				return fault("not a port")
			}
		case "call":
			if len(words) != 2 || inside || len(p.later) > 0 {
				return fault("a second call, and one only, is told by a pattern")
			}
			p.later = append(p.later, laterCall{match: words[1]})
		case "any":
			if inside {
				return fault("any within any")
			}
			branches, inside = [][]step{nil}, true
		case "or":
			if !inside {
				return fault("or without any")
			}
			branches = append(branches, nil)
		case "end":
			if !inside || len(branches) < 2 {
				return fault("end without any and or")
			}
			for _, branch := range branches {
				if len(branch) == 0 || branch[0].kind != receives {
					return fault("a branch begins with what is received")
				}
			}
			inside = false
			add(step{line: i + 1, kind: either, branches: branches})
		default:
			s, err := parseStep(words)
			if err != nil {
				return fault(err.Error())
			}
			s.line = i + 1
			add(s)
		}
	}
	if inside {
		return nil, fmt.Errorf("any without end")
	}
	if len(p.steps) == 0 {
		return nil, fmt.Errorf("is empty")
	}
	return p, nil
}

func parseStep(words []string) (step, error) {
	s := step{dialog: "a", options: map[string]string{}}
	sign := words[0]
	if len(sign) == 2 {
		s.dialog, sign = sign[:1], sign[1:]
	}
	if len(words) < 2 {
		return s, fmt.Errorf("says nothing")
	}
	switch sign {
	case ".":
		var err error
		s.kind = pauses
		s.pause, err = time.ParseDuration(words[1])
		return s, err
	case ">":
		s.kind = sends
	case "<":
		s.kind = receives
	default:
		return s, fmt.Errorf("begins with none of > < . any or end")
	}
	if code, err := strconv.Atoi(words[1]); err == nil {
		s.code = code
	} else {
		s.method = words[1]
	}
	for _, word := range words[2:] {
		key, value, has := strings.Cut(word, "=")
		switch {
		case has && key == "h":
			s.headers = append(s.headers, value)
		case has && key == "has":
			s.has = append(s.has, value)
		case has && key == "hasnot":
			s.hasnot = append(s.hasnot, value)
		case has && valued[key], !has && flags[key]:
			s.options[key] = value
		default:
			return s, fmt.Errorf("unknown option %q", word)
		}
	}
	return s, nil
}

// split takes a line apart at blanks that are not within quotes, "…" or '…'; the quotes
// go, and nothing else has a meaning within them.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	started := false
	var quote rune
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, started = r, true
		case r == ' ' || r == '\t':
			if started {
				words = append(words, word.String())
			}
			word.Reset()
			started = false
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote is open: %s", line)
	}
	if started {
		words = append(words, word.String())
	}
	return words, nil
}
