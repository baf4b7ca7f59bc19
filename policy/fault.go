package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Path    string // key, as purposes.quality.retention or rules[0].record.purpose
	Message string
}

func (f Fault) Error() string { return f.Path + ": " + f.Message }

// missing is the message for what has to be there.
const missing = "missing"

// faults gathers, below one key.
type faults struct {
	path string
	all  *[]Fault
}

// at returns the same gathering below a key: a name, or an [index].
func (f faults) at(key string) faults {
	if f.path != "" && !strings.HasPrefix(key, "[") {
		key = "." + key
	}
	return faults{f.path + key, f.all}
}

func (f faults) index(i int) faults { return f.at(fmt.Sprintf("[%d]", i)) }

func (f faults) add(format string, args ...any) {
	*f.all = append(*f.all, Fault{f.path, fmt.Sprintf(format, args...)})
}

// need reports a text that is not there.
func (f faults) need(key, text string) {
	if !present(text) {
		f.at(key).add(missing)
	}
}

func present(text string) bool { return strings.TrimSpace(text) != "" }

// Validate reports every fault of the configuration at once.
func (c Config) Validate() []Fault {
	var all []Fault
	f := faults{all: &all}
	if !phonenumbers.GetSupportedRegions()[c.country()] {
		f.at("country").add("%.40q is not a country in two capitals (ISO 3166-1), such as NL", c.country())
		c.Country = "" // what hangs on it is judged by the default
	}
	for _, name := range slices.Sorted(maps.Keys(c.Purposes)) {
		at := f.at("purposes").at(name)
		at.name(name)
		c.purpose(name).validate(at, c.optedIn(name))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Announcements)) {
		at := f.at("announcements").at(name)
		at.name(name)
		c.Announcements[name].validate(at)
	}
	if c.Packs != nil {
		c.Packs.validate(f.at("packs"))
	}
	numbers := newNumbering(c.country(), nil)
	for _, name := range slices.Sorted(maps.Keys(c.Lists)) {
		at := f.at("lists").at(name)
		at.listName(name, numbers)
		c.Lists[name].validate(at, numbers)
	}
	c.validatePatterns(f.at("never_record"), c.NeverRecord, numbers)
	for i, day := range c.Holidays {
		if day.IsZero() {
			f.at("holidays").index(i).add("missing: a day such as 2026-12-25")
		}
	}
	first := map[string]int{}
	for i, r := range c.Rules {
		at := f.at("rules").index(i)
		if before, taken := first[r.Name]; taken && r.Name != "" {
			at.at("name").add("%.40q is the name of rules[%d] too", r.Name, before)
		} else {
			first[r.Name] = i
		}
		c.validateRule(at, r, numbers)
	}
	c.validatePacks(f)
	f.at("calls.retention").retention(c.Calls.Retention, false)
	f.at("review_grace").retention(c.ReviewGrace, false)
	if longest := (Period{Years: 1}).longest(); longest.Before(c.ReviewGrace.longest()) {
		f.at("review_grace").add("%v is more than a year: what is not weighed again in that time holds no more", c.ReviewGrace)
	}
	if c.Staff != nil {
		c.Staff.validate(f.at("staff"))
	}
	for i, number := range c.Emergency {
		if digits, ok := dialledDigits(number); !ok {
			f.at("emergency").index(i).add("%.40q is not a number", number)
		} else if strings.HasSuffix(digits, "*") {
			f.at("emergency").index(i).add("%.40q is not a number: each is written whole", number)
		}
	}
	return all
}

// name holds the name of a purpose or an announcement against what may stand in
// metrics' labels, tags and URLs.
func (f faults) name(name string) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	if name == "" || len(name) > 64 || strings.Trim(name, letters) != "" {
		f.add("the name is to be made of letters, digits, - and _, 64 at most")
	}
}

func (p Purpose) validate(f faults, optedIn bool) {
	f.at("text").texts(p.Text)
	if p.Basis == "" {
		f.at("basis").add("missing: one of %s", oneOf(bases[:]))
	} else if !slices.Contains(bases[:], string(p.Basis)) {
		f.at("basis").add("%.40q is not a lawful basis; it is one of %s", string(p.Basis), oneOf(bases[:]))
	}
	p.validateBasis(f, optedIn)
	f.at("packs").packs(p.Packs)
	if p.Staff != nil {
		p.Staff.validate(f.at("staff"))
	}
	p.Retention.validate(f.at("retention"))
	switch p.OnFailure {
	case "", Continue, Refuse:
	default:
		f.at("on_failure").add("%.40q is neither %s nor %s", string(p.OnFailure), Continue, Refuse)
	}
}

func (b Balancing) validate(f faults) {
	f.need("by", b.By)
	f.need("outcome", b.Outcome)
	if b.On.IsZero() {
		f.at("on").add(missing)
	}
	if b.Review.IsZero() {
		f.at("review").add(missing)
	} else if !b.On.Before(b.Review) {
		f.at("review").add("%v is not later than %v, when it was made", b.Review, b.On)
	}
}

// retention holds a period that did not come through ParsePeriod to the same rules.
func (f faults) retention(p Period, needed bool) {
	if p.IsZero() {
		if needed {
			f.add("missing: a period such as P14D")
		}
		return
	}
	if parsed, err := ParsePeriod(p.String()); err != nil || parsed != p {
		f.add("%v is not longer than nothing, in whole seconds, and at most %d years", p, maxYears)
	}
}

func (a Announcement) validate(f faults) {
	f.at("text").texts(a.Text)
	if len(a.Files) == 0 {
		f.at("files").add("missing: the prompt's file by language, such as {nl: prompts/nl.wav}")
		return
	}
	for _, language := range slices.Sorted(maps.Keys(a.Files)) {
		at := f.at("files").at(language)
		if a.Files[language] == "" {
			at.add(missing)
		}
		if _, ok := a.Text[language]; !ok && len(a.Text) > 0 {
			at.add("text has no %s: what is said is kept in writing", language)
		}
	}
	for _, language := range slices.Sorted(maps.Keys(a.Text)) {
		if _, ok := a.Files[language]; !ok {
			f.at("text").at(language).add("files has no %s", language)
		}
	}
}

// texts wants at least one language, and something in each.
func (f faults) texts(byLanguage map[string]string) {
	if len(byLanguage) == 0 {
		f.add("missing: by language, such as {nl: …, en: …}")
	}
	for _, language := range slices.Sorted(maps.Keys(byLanguage)) {
		if len(language) < 2 || strings.Trim(language, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			f.at(language).add("is not a language such as nl or en (RFC 5646)")
		}
		f.need(language, byLanguage[language])
	}
}

func (c Config) validateRule(f faults, r Rule, numbers numbering) {
	f.need("name", r.Name)
	c.validateMatch(f.at("match"), r.Match, numbers)
	if !r.records() {
		const nothing = "there is nothing to say it of: the rule does not record; give record: {purpose: …}"
		if r.Announce != nil {
			f.at("announce").add(nothing)
		}
		if r.Exempt != "" {
			f.at("exempt").add(nothing)
		}
		if r.Forwarded != "" {
			f.at("forwarded").add(nothing)
		}
		if r.Keys != nil {
			f.at("keys").add(nothing)
		}
		if r.Beep != nil {
			f.at("beep").add(nothing)
		}
		if len(r.Control) > 0 {
			f.at("control").add(nothing)
		}
		return
	}
	c.validateRecord(f.at("record"), *r.Record)
	if r.Forwarded != "" {
		f.need("forwarded", r.Forwarded)
	}
	switch exempt := strings.TrimSpace(r.Exempt) != ""; {
	case r.Announce == nil && !exempt:
		f.at("announce").add("missing: what is recorded is announced, or exempt gives the written reason why not")
	case r.Announce != nil && exempt:
		f.at("exempt").add("the calls are announced: give either announce or exempt")
	case r.Announce != nil:
		c.validateAnnounce(f.at("announce"), *r.Announce, r.Match.Direction)
	}
	if r.Forwarded != "" && r.Record.Parties == Near {
		f.at("record.parties").add("nobody of ours takes part in the calls that forwarded is about")
	}
	if r.Keys != nil {
		c.validateKeys(f.at("keys"), *r.Keys)
	}
	if r.Beep != nil {
		r.Beep.validate(f.at("beep"))
	}
	validateControls(f.at("control"), r.Control)
}

func (c Config) validateRecord(f faults, r Record) {
	known := func(f faults, name string) {
		if name == "" {
			f.add(missing)
		} else if _, ok := c.Purposes[name]; !ok {
			f.add("there is no purpose %.40q%s", name, known(c.Purposes))
		}
	}
	switch {
	case r.Purposes == nil:
		known(f.at("purpose"), r.Purpose)
	case r.Purpose != "":
		f.at("purposes").add("is in place of purpose: give either")
	case len(r.Purposes) == 0:
		f.at("purposes").add("is empty: name what is recorded for, or give record: none")
	}
	f.at("parties").audience(r.Parties)
	if r.Sample < 0 || r.Sample > everyCall {
		f.at("sample").add("%v is not a share above 0%% and at most 100%%", r.Sample)
	}
	if r.Ceiling < 0 {
		f.at("ceiling").add("%d is below nothing; give record: none for no recording", r.Ceiling)
	}
	for i, name := range r.Purposes {
		known(f.at("purposes").index(i), name)
		if name != "" && slices.Index(r.Purposes, name) < i {
			f.at("purposes").index(i).add("%.40q is there twice", name)
		}
	}
}

func (c Config) validateMatch(f faults, m Match, numbers numbering) {
	switch m.Direction {
	case "", Inbound, Outbound:
	default:
		f.at("direction").add("%.40q is neither %s nor %s", string(m.Direction), Inbound, Outbound)
	}
	for _, list := range []struct {
		key   string
		items []string
		all   string
	}{{"trunk", m.Trunk, "every trunk"}, {"from", m.From, "everyone"}, {"to", m.To, "everyone"}, {"country", m.Country, "every country"}} {
		if list.items != nil && len(list.items) == 0 { // it would match as if it were not there
			f.at(list.key).add("is empty; leave it out for %s", list.all)
		}
	}
	for i, trunk := range m.Trunk {
		if trunk == "" {
			f.at("trunk").index(i).add(missing)
		}
	}
	c.validatePatterns(f.at("from"), m.From, numbers)
	c.validatePatterns(f.at("to"), m.To, numbers)
	for i, country := range m.Country {
		if country != Elsewhere && !IsCountry(country) {
			f.at("country").index(i).add("%.40q is neither a country in two capitals (ISO 3166-1), such as NL, nor %s", country, Elsewhere)
		}
	}
	validateHeaders(f.at("header"), m.Header)
	if m.Time != nil {
		_, wrong := m.Time.parse(c.Holidays)
		for _, fault := range wrong {
			f.at("time").at(fault.Path).add("%s", fault.Message)
		}
	}
}

func validateHeaders(f faults, headers map[string][]string) {
	first := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := f.at(name)
		if !isToken(name) {
			at.add("is not the name of a header (RFC 3261 §25.1)")
		}
		if other, twice := first[strings.ToLower(name)]; twice {
			at.add("is the same header as %s", other)
		}
		first[strings.ToLower(name)] = name
		if len(headers[name]) == 0 {
			at.add("is empty: a value such as gold, or the beginning of one such as gold*; * is any")
		}
		for i, value := range headers[name] {
			switch start, _ := strings.CutSuffix(value, "*"); {
			case !present(value):
				at.index(i).add("missing: a value such as gold, or the beginning of one such as gold*; * is any")
			case strings.Contains(start, "*"):
				at.index(i).add("%.40q: the * for what follows stands at the end only", value)
			}
		}
	}
}

// isToken reports whether a name can be that of a header.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-.!%*_+`'~", r))
	})
}

// oneOf lists words.
func oneOf(words []string) string { return strings.Join(words, ", ") }

// known tells what there is where a name was not found.
func known[T any](named map[string]T) string {
	if len(named) == 0 {
		return "; there are none"
	}
	return "; there is " + strings.Join(slices.Sorted(maps.Keys(named)), ", ")
}
