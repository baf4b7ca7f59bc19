package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Rule says of some calls what is done with them.
type Rule struct {
	Name  string `yaml:"name" json:"name"`
	Match Match  `yaml:"match" json:"match"`
	// Record names the purposes. Absent or "none": the calls are not recorded.
	Record *Record `yaml:"record" json:"record,omitempty"`
	// Announce says what the far party is told before anything is recorded.
	Announce *Announce `yaml:"announce" json:"announce,omitempty"`
	// Exempt is the written reason why nobody is told, in place of Announce.
	Exempt string `yaml:"exempt" json:"exempt,omitempty"`
	// Forwarded is the written reason why calls are recorded in which we take no part:
	// diverted ones, and those from one carrier to another. Without, they are not.
	Forwarded string `yaml:"forwarded" json:"forwarded,omitempty"`
	// Keys are what the parties may press while they are recorded.
	Keys *Keys `yaml:"keys" json:"keys,omitempty"`
	// Beep reminds them of it. Default: none.
	Beep *Beep `yaml:"beep" json:"beep,omitempty"`
	// Control is what the PBX and operators may do to the recording. Default: nothing.
	Control []Control `yaml:"control" json:"control,omitempty"`
}

func (r Rule) records() bool { return r.Record != nil && !r.Record.None }

// Match says which calls a rule is for: those of which everything holds that is given.
type Match struct {
	Direction Direction `yaml:"direction" json:"direction,omitempty"`
	Trunk     []string  `yaml:"trunk" json:"trunk,omitempty"` // the call comes from or goes to one of these trunks
	From      []string  `yaml:"from" json:"from,omitempty"`   // the caller's number is one of these: +31201234567, +31*, anonymous
	To        []string  `yaml:"to" json:"to,omitempty"`       // the number called is one of these
	Time      *Window   `yaml:"time" json:"time,omitempty"`
}

// Record is what a rule records for: {purpose: quality}, {purposes: [quality, orders]}, or the
// word none.
type Record struct {
	Purpose  string   `yaml:"purpose" json:"purpose,omitempty"`
	Purposes []string `yaml:"purposes" json:"purposes,omitempty"` // in place of purpose
	None     bool     `yaml:"-" json:"none,omitempty"`            // the word none was given
}

// names are the purposes, each once, in their order.
func (r Record) names() []string {
	if r.Purpose != "" {
		return []string{r.Purpose}
	}
	return r.Purposes
}

// effective writes one purpose one way.
func (r Record) effective() *Record {
	if len(r.Purposes) == 1 && r.Purpose == "" {
		r.Purpose, r.Purposes = r.Purposes[0], nil
	}
	return &r
}

// UnmarshalText reads the word none.
func (r *Record) UnmarshalText(text []byte) error {
	if string(text) != "none" {
		return fmt.Errorf("%.40q is neither none nor {purpose: …}", text)
	}
	*r = Record{None: true}
	return nil
}

// matcher is a Match made ready.
type matcher struct {
	Match
	from, to []pattern
	window   *window
}

func newMatcher(m Match, n numbering) (matcher, error) {
	made := matcher{Match: m}
	for _, side := range []struct {
		texts    []string
		patterns *[]pattern
	}{{m.From, &made.from}, {m.To, &made.to}} {
		for _, text := range side.texts {
			p, err := parsePattern(text, n)
			if err != nil {
				return matcher{}, err
			}
			*side.patterns = append(*side.patterns, p)
		}
	}
	if m.Time != nil {
		w, faults := m.Time.parse()
		if len(faults) > 0 {
			return matcher{}, faults[0]
		}
		made.window = &w
	}
	return made, nil
}

// condition is one thing that a Match may ask of a call; the empty one is none.
type condition string

const (
	byDirection condition = "direction"
	byTrunk     condition = "trunk"
	byCaller    condition = "from"
	byCallee    condition = "to"
	byTime      condition = "time"
)

// mismatch returns the first condition that the call does not meet, if any.
func (m matcher) mismatch(f Facts, caller, callee string) condition {
	switch {
	case m.Direction != "" && f.Direction != m.Direction:
		return byDirection
	case len(m.Trunk) > 0 && !slices.Contains(m.Trunk, f.FromTrunk) && !slices.Contains(m.Trunk, f.ToTrunk):
		return byTrunk
	case len(m.from) > 0 && !anyMatches(m.from, caller):
		return byCaller
	case len(m.to) > 0 && !anyMatches(m.to, callee):
		return byCallee
	case m.window != nil && !m.window.holds(f.Time):
		return byTime
	}
	return ""
}

// why puts a mismatch in words, for whoever asks with numbers of his own: they are whole.
func (m matcher) why(unmet condition, f Facts, caller, callee string) string {
	switch unmet {
	case byDirection:
		return fmt.Sprintf("direction is %s, not %s", f.Direction, m.Direction)
	case byTrunk:
		return fmt.Sprintf("trunks are %s and %s, not %s", f.FromTrunk, f.ToTrunk, strings.Join(m.Trunk, " or "))
	case byCaller:
		return fmt.Sprintf("caller %s is not among from", caller)
	case byCallee:
		return fmt.Sprintf("callee %s is not among to", callee)
	case byTime:
		return fmt.Sprintf("%s is outside the window", f.Time.In(m.window.zone).Format("Mon 15:04 MST"))
	}
	return "matches"
}

func anyMatches(patterns []pattern, number string) bool {
	return slices.ContainsFunc(patterns, func(p pattern) bool { return p.matches(number) })
}
