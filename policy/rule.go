package policy

import (
	"fmt"
	"slices"
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
	// Country of the far party, by his number: NL, DE; unknown where it cannot be told.
	Country []string `yaml:"country" json:"country,omitempty"`
	// Header are headers of the INVITE, and what one of their values is, whole or with a *
	// its beginning, whatever the case of its letters.
	Header map[string][]string `yaml:"header" json:"header,omitempty"`
	// Forwarded: only calls in which we take no part, or only the others.
	Forwarded *bool `yaml:"forwarded" json:"forwarded,omitempty"`
}

// Record is what a rule records for: {purpose: quality}, {purposes: [quality, orders]}, or the
// word none.
type Record struct {
	Purpose  string   `yaml:"purpose" json:"purpose,omitempty"`
	Purposes []string `yaml:"purposes" json:"purposes,omitempty"` // in place of purpose
	None     bool     `yaml:"-" json:"none,omitempty"`            // the word none was given
	// Parties are whose words are recorded: far, near or both. Default: both.
	Parties Audience `yaml:"parties" json:"parties,omitempty"`
	// Sample is the share of the rule's calls that is recorded, by the call's id alone.
	// Default: all.
	Sample Share `yaml:"sample" json:"sample,omitempty"`
	// Ceiling is how many recordings there are to be of a number of our side's in a calendar
	// month (UTC), by whichever rule. Default: no limit.
	Ceiling int `yaml:"ceiling" json:"ceiling,omitempty"`
}

// Names are the purposes, each once, in their order.
func (r Record) Names() []string {
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
	r.Purposes = slices.Clone(r.Purposes)
	if r.Parties == Both {
		r.Parties = ""
	}
	if r.Sample == everyCall {
		r.Sample = 0
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
