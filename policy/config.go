package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Config is the part of the configuration file that says what is recorded.
type Config struct {
	Purposes      map[string]Purpose      `yaml:"purposes" json:"purposes,omitempty"`
	Announcements map[string]Announcement `yaml:"announcements" json:"announcements,omitempty"`
	Rules         []Rule                  `yaml:"rules" json:"rules,omitempty"` // the first that matches decides
	// Lists are numbers by a name of their own.
	Lists map[string]List `yaml:"lists" json:"lists,omitempty"`
	// NeverRecord are numbers, and names of lists, of whose calls nothing is ever recorded,
	// whatever a rule says.
	NeverRecord []string `yaml:"never_record" json:"never_record,omitempty"`
	// Holidays are days for match.time.holidays.
	Holidays []Date `yaml:"holidays" json:"holidays,omitempty"`
	// Emergency numbers, besides the country's own and 112.
	Emergency []string `yaml:"emergency" json:"emergency,omitempty"`
	Calls     Calls    `yaml:"calls" json:"calls"`
	// Country in which numbers without a country code are dialled, as ISO 3166-1
	// has it in two letters. Default: NL.
	Country string `yaml:"country" json:"country"`
	// Packs constrain the rules by the law of places and trades.
	Packs *Packs `yaml:"packs" json:"packs,omitempty"`
	// Staff says by what right our own side is recorded, for every purpose that does not say.
	Staff *Staff `yaml:"staff" json:"staff,omitempty"`
	// ReviewGrace is how long after its review a balancing still holds. Default: P90D.
	ReviewGrace Period `yaml:"review_grace" json:"review_grace,omitzero"`
}

const defaultCountry = "NL"

// effective fills in what is left to defaults. The configuration must be valid.
func (c Config) effective() Config {
	c.Country = c.country()
	c.Calls.Retention = cmp.Or(c.Calls.Retention, Period{Days: 90})
	if c.ReviewGrace == defaultReviewGrace {
		c.ReviewGrace = Period{} // written out or not, it is the same
	}
	if c.Packs != nil {
		c.Packs = c.Packs.effective()
	}
	c.Lists = maps.Clone(c.Lists)
	for name, list := range c.Lists {
		c.Lists[name] = list.effective()
	}
	c.NeverRecord, c.Holidays = slices.Clone(c.NeverRecord), slices.Clone(c.Holidays)
	c.Purposes = maps.Clone(c.Purposes)
	for name := range c.Purposes {
		p := c.purpose(name)
		p.Packs = slices.Clone(p.Packs)
		p.OnFailure = cmp.Or(p.OnFailure, Continue)
		c.Purposes[name] = p
	}
	c.Rules = slices.Clone(c.Rules)
	for i, r := range c.Rules {
		if r.records() {
			c.Rules[i].Record = r.Record.effective()
		}
		if r.Announce != nil {
			told := *r.Announce
			told.Language, _ = c.language(told)
			c.Rules[i].Announce = &told
		}
	}
	return c
}

func (c Config) country() string { return cmp.Or(c.Country, defaultCountry) }

// language of an announcement: the one that the rule says, else the only one there is,
// else the country's own, where the country's code is that of its language (NL, DE,
// FR). It reports whether the prompt has it.
func (c Config) language(a Announce) (string, bool) {
	files := c.Announcements[a.Prompt].Files
	language := a.Language
	if language == "" {
		language = strings.ToLower(c.country())
		if len(files) == 1 {
			for language = range files {
			}
		}
	}
	_, ok := files[language]
	return language, ok
}
