package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// pack is what the law of a place, or of a trade, demands of recording, and what it makes the
// default. It is no legal advice: it keeps a configuration from saying what breaks it.
type pack struct {
	about     string
	retention Period    // default for a purpose without
	onFailure OnFailure // the same
	demands   []demand
}

// demand is one thing that a pack asks of a rule or its purposes: the one field that is set
// beside source.
type demand struct {
	source string // where it comes from, in few words

	told      Audience // these are told, whatever is written of exemptions
	optIn     bool     // who is told agrees by a key
	reminded  Reminder // the far party is told, or hears a beep at least so often
	notice    bool     // an announcement stands in the recording, too
	objection bool     // a key to refuse or object by, where the basis is one that can be objected to; where it is consent, one that withdraws it at any time
	complete  bool     // every call is recorded whole, and nobody takes of a recording: no sample, ceiling, refusal, pause or discarding
	pause     bool     // recording can be paused
	staff     bool     // what our own side's being recorded rests on is written
	onFailure OnFailure
	atLeast   Period // retention
	atMost    Period // retention, but for a legal obligation
}

// Reminder is the longest time between two beeps.
type Reminder time.Duration

// packs are the ones that there are. Each demand names its source; docs/policy.md has them in
// words.
var packs = map[string]pack{
	"nl": {
		about: "the Netherlands",
		demands: []demand{
			{source: "AVG art. 21(1) and 7(3): who is recorded can object, or withdraw his consent", objection: true},
			{source: "WOR art. 27(1)(k) and (l), AVG art. 13: staff are recorded too", staff: true},
		},
	},
	"de": {
		about: "Germany: both sides agree",
		demands: []demand{
			{source: "StGB § 201(1) no. 1: what is said in private is not recorded without everybody's consent", told: Both},
			{source: "StGB § 201(1) no. 1: what is said in private is not recorded without everybody's consent", optIn: true},
			{source: "DSGVO art. 21(1) and 7(3): who is recorded can object, or withdraw his consent", objection: true},
			{source: "BetrVG § 87(1) no. 6: staff are recorded too", staff: true},
		},
	},
	"fr": {
		about: "France",
		demands: []demand{
			{source: "RGPD art. 13, Code pénal art. 226-1: who is recorded is told", told: Far},
			{source: "RGPD art. 21(1) and 7(3): who is recorded can object, or withdraw his consent", objection: true},
			{source: "CNIL, « L'écoute et l'enregistrement des appels »: six months at most", atMost: Period{Months: 6}},
			{source: "Code du travail art. L1222-4: staff are told", staff: true},
		},
	},
	"uk": {
		about: "the United Kingdom",
		demands: []demand{
			{source: "UK GDPR art. 21(1) and 7(3): who is recorded can object, or withdraw his consent", objection: true},
			{source: "SI 2018/356: all who use the system, staff too, are informed", staff: true},
		},
	},
	"us-all-party": {
		about: "states of the USA where every party has to know, such as California and Washington",
		demands: []demand{
			{source: "Cal. Penal Code § 632, CPUC General Order 107-B: an announcement or a beep", reminded: Reminder(15 * time.Second)},
			{source: "RCW 9.73.030(3): the announcement is recorded as well", notice: true},
			{source: "Cal. Penal Code § 632: every party, staff too", staff: true},
		},
	},
	"mifid": {
		about:     "investment services in the European Union",
		retention: Period{Years: 5}, onFailure: Refuse,
		demands: []demand{
			{source: "MiFID II art. 16(7): a call that cannot be recorded is not made", onFailure: Refuse},
			{source: "MiFID II art. 16(7): five years at least", atLeast: Period{Years: 5}},
			{source: "Regulation 2017/565 art. 76(10): nothing is altered or deleted", complete: true},
		},
	},
	"pci": {
		about: "payment cards",
		demands: []demand{
			{source: "PCI DSS 3.3.1: card verification codes are not kept", pause: true},
		},
	},
}

// Packs says which packs constrain the rules.
type Packs struct {
	Always []string `yaml:"always,list" json:"always,omitempty"` // whatever the call
	// ByCountry are those for calls with a country, by ISO 3166-1.
	ByCountry map[string]string `yaml:"by_country" json:"by_country,omitempty"`
	// Unknown is the one for countries that ByCountry does not name, and where the far
	// party's cannot be told; or strictest, all that ByCountry names. Default: strictest.
	Unknown string `yaml:"unknown" json:"unknown,omitempty"`
}

const strictest = "strictest"

// effective writes the default as nothing, as it is where nobody wrote it.
func (p Packs) effective() *Packs {
	if p.Unknown == strictest {
		p.Unknown = ""
	}
	p.Always, p.ByCountry = slices.Clone(p.Always), maps.Clone(p.ByCountry)
	return &p
}

// of are the packs for calls with a country.
func (p *Packs) of(country string) []string {
	if p == nil || len(p.ByCountry) == 0 {
		return nil
	}
	if name, ok := p.ByCountry[country]; ok {
		return []string{name}
	}
	if p.Unknown != "" && p.Unknown != strictest {
		return []string{p.Unknown}
	}
	names := slices.Sorted(maps.Values(p.ByCountry))
	return slices.Compact(names)
}

// every are the packs that hang on a country.
func (p *Packs) every() []string {
	if p == nil {
		return nil
	}
	names := slices.Collect(maps.Values(p.ByCountry))
	if p.Unknown != "" {
		names = append(names, p.Unknown)
	}
	return names
}

func (p Packs) validate(f faults) {
	f.at("always").packs(p.Always)
	for _, country := range slices.Sorted(maps.Keys(p.ByCountry)) {
		at := f.at("by_country").at(country)
		if !IsCountry(country) {
			at.add("is not a country in two capitals (ISO 3166-1), such as NL")
		}
		at.pack(p.ByCountry[country])
	}
	switch at := f.at("unknown"); {
	case p.Unknown == "":
	case len(p.ByCountry) == 0:
		at.add("says nothing without by_country")
	case p.Unknown != strictest:
		at.pack(p.Unknown)
	}
}

func (f faults) packs(names []string) {
	for i, name := range names {
		f.index(i).pack(name)
	}
}

func (f faults) pack(name string) {
	if _, ok := packs[name]; !ok {
		f.add("there is no pack %.40q; there is %s", name, strings.Join(slices.Sorted(maps.Keys(packs)), ", "))
	}
}

// purpose returns a purpose with the defaults of the packs that are always its own.
func (c Config) purpose(name string) Purpose {
	p := c.Purposes[name]
	for _, pack := range c.alwaysFor(p) {
		p.Retention.Audio = cmp.Or(p.Retention.Audio, packs[pack].retention)
		p.OnFailure = cmp.Or(p.OnFailure, packs[pack].onFailure)
	}
	return p
}

// alwaysFor are the packs that hold for a purpose whatever the call: its own, then everybody's.
func (c Config) alwaysFor(p Purpose) []string {
	names := slices.Clone(p.Packs)
	if c.Packs != nil {
		names = append(names, c.Packs.Always...)
	}
	return names
}

// validatePacks holds every rule to the packs that are always its own. Those by country hang
// on which calls can reach it: see Prove.
func (c Config) validatePacks(f faults) {
	said := map[Fault]bool{}
	for i, r := range c.Rules {
		if !r.records() {
			continue
		}
		names := r.Record.Names()
		if r.Keys != nil {
			names = append(slices.Clone(names), r.Keys.SelectFor)
		}
		for _, name := range names {
			c.validatePurposePacks(f, fmt.Sprintf("rules[%d]", i), &r, name, said)
		}
	}
	for _, name := range c.selectable() {
		c.validatePurposePacks(f, "", nil, name, said)
	}
}

// validatePurposePacks holds one purpose of a rule, or one by itself, to the packs that are always
// its own; what was said is not said again.
func (c Config) validatePurposePacks(f faults, at string, r *Rule, name string, said map[Fault]bool) {
	purpose, ok := c.Purposes[name]
	if !ok {
		return
	}
	for _, pack := range c.alwaysFor(purpose) {
		for _, fault := range c.lacks(at, r, name, pack) {
			if !said[fault] {
				*f.all = append(*f.all, fault)
			}
			said[fault] = true
		}
	}
}

// selectable are the purposes for which recordings are selected from a buffer, if there is one,
// sorted.
func (c Config) selectable() []string {
	var names []string
	buffered := false
	for _, name := range slices.Sorted(maps.Keys(c.Purposes)) {
		if c.Purposes[name].Buffer {
			buffered = true
		} else {
			names = append(names, name)
		}
	}
	if !buffered {
		return nil
	}
	return names
}

// breaches are the demands of a pack that a rule, recording for one of its purposes, does not
// meet: each at the key that would.
func (c Config) breaches(rule int, purpose, pack string) []Fault {
	return c.lacks(fmt.Sprintf("rules[%d]", rule), &c.Rules[rule], purpose, pack)
}

// lacks are the demands of a pack that a rule, if one is given, and a purpose do not meet. What
// the rule does not record for is selected from what it records: then nothing is asked of which
// calls it records.
func (c Config) lacks(at string, r *Rule, purpose, name string) []Fault {
	var all []Fault
	f := faults{all: &all}
	selected := r == nil || !r.records() || !slices.Contains(r.Record.Names(), purpose)
	for _, d := range packs[name].demands {
		if selected && (d.complete || d.onFailure != "") {
			continue
		}
		before := len(all)
		if r != nil {
			d.check(f.at(at), *r, c.Purposes[purpose].Basis)
		}
		d.checkPurpose(f.at("purposes").at(purpose), c.purpose(purpose), c.Staff != nil)
		for i := range all[before:] {
			all[before+i].Message += fmt.Sprintf(": pack %s (%s)", name, d.source)
		}
	}
	return all
}

// check holds a rule to what its calls need, for a purpose on such a basis.
func (d demand) check(f faults, r Rule, basis Basis) {
	announce := f.at("announce")
	objects := r.Keys != nil && r.Keys.Object != ""
	refuses := r.Announce != nil && (r.Announce.OptOut != "" || r.Announce.OptIn != "")
	switch {
	case d.objection && basis == Consent && !objects: // a key at the beginning gives it, and withdraws nothing
		f.at("keys.object").add("missing: a key by which to withdraw consent at any time; basis %s demands it", basis)
	case d.objection && (basis == LegitimateInterest || basis == PublicTask) && !objects && !refuses:
		f.at("keys.object").add("missing: a key by which to object during the call, or announce.opt_out; basis %s demands it", basis)
	case d.told != "" && r.Announce == nil:
		announce.add("missing: calls have to be announced, to: %s", d.told)
	case d.told != "" && !covers(cmp.Or(r.Announce.To, Far), d.told):
		announce.at("to").add("has to be %s", d.told)
	case d.optIn && (r.Announce == nil || r.Announce.OptIn == ""):
		announce.at("opt_in").add("missing: a key by which to agree")
	case d.reminded != 0 && (r.Announce == nil || !cmp.Or(r.Announce.To, Far).Has(Far)) && !r.beeps(time.Duration(d.reminded)):
		announce.add("missing: the far party has to be told, or to hear a beep every %v at least (beep)", time.Duration(d.reminded))
	case d.notice && r.Announce != nil && !r.Announce.Notice:
		announce.at("notice").add("missing: has to be true")
	case d.pause && (r.Keys == nil || r.Keys.Pause == "") && !slices.Contains(r.Control, ControlPause):
		f.at("keys.pause").add("missing: a key, or control: [pause], by which to pause")
	case d.complete:
		d.checkComplete(f, r)
	}
}

// checkComplete wants every call of a rule recorded, and kept.
func (d demand) checkComplete(f faults, r Rule) {
	if r.Record.Sample != 0 && r.Record.Sample != everyCall {
		f.at("record.sample").add("every call has to be recorded")
	}
	if r.Record.Ceiling != 0 {
		f.at("record.ceiling").add("every call has to be recorded")
	}
	if r.Record.Parties != "" && r.Record.Parties != Both {
		f.at("record.parties").add("every call has to be recorded whole")
	}
	if r.Announce != nil && r.Announce.OptOut != "" {
		f.at("announce.opt_out").add("nobody may refuse and go on with the call")
	}
	if r.Keys != nil && r.Keys.Object != "" {
		f.at("keys.object").add("no recording may be destroyed before its time")
	}
	if r.Keys != nil && r.Keys.Pause != "" {
		f.at("keys.pause").add("every call has to be recorded whole")
	}
	for i, control := range r.Control {
		switch control {
		case ControlDiscard, ControlOff:
			f.at("control").index(i).add("every call has to be recorded, and kept")
		case ControlPause, ControlStop:
			f.at("control").index(i).add("every call has to be recorded whole")
		case ControlPurpose: // it takes the place of those that the rule records for
			f.at("control").index(i).add("every call has to be recorded for this purpose, whatever a header says")
		}
	}
}

// checkPurpose holds a purpose to what concerns it alone.
func (d demand) checkPurpose(f faults, p Purpose, staffed bool) {
	switch {
	case d.staff && p.Staff == nil && !staffed:
		f.at("staff").add("missing: works_council and notified, or a reason, here or for all purposes")
	case d.onFailure != "" && cmp.Or(p.OnFailure, Continue) != d.onFailure:
		f.at("on_failure").add("has to be %s", d.onFailure)
	case !d.atLeast.IsZero() && !p.Retention.Audio.IsZero() && p.Retention.Audio.longest().Before(d.atLeast.longest()):
		f.at("retention").add("%v is shorter than %v", p.Retention.Audio, d.atLeast)
	case !d.atMost.IsZero() && p.Basis != LegalObligation && d.atMost.longest().Before(p.Retention.Audio.longest()):
		f.at("retention").add("%v is longer than %v", p.Retention.Audio, d.atMost)
	}
}

// beeps reports whether the far party hears a beep at least so often.
func (r Rule) beeps(often time.Duration) bool {
	return r.Beep != nil && r.Beep.Every <= often && cmp.Or(r.Beep.To, Both).Has(Far)
}

// covers reports whether everybody of one audience is in another.
func covers(a, wanted Audience) bool { return a == Both || a == wanted }

// longest is the end of a period that began in a year of its own, to compare periods by.
func (p Period) longest() time.Time { return p.After(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)) }
