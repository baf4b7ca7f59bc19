// Package policy decides about recording: facts about a call in, a decision out.
//
//	Config ─ Validate ─▶ []Fault
//	   │
//	Compile ─▶ Policy ◀── Facts (direction, trunks, numbers, time)
//	             │
//	             ├─ emergency number? ─▶ hands off; one that is never recorded? ─▶ not recorded
//	             ├─ first rule that matches, if any; what packs demand of it for that country
//	             └─▶ Decision: record? purpose, basis, retention, announcement, or why not
//
// Prove says of a Policy what holds of all calls that there may be.
//
// The package is pure: it has no clock, opens nothing, and knows nothing of SIP, media,
// rows or files. Time comes with the facts. It is the one package that knows how telephone
// numbers are written, and the door to nyaruka/phonenumbers.
package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Direction says which way a call goes, seen from our PBX.
type Direction string

const (
	Inbound  Direction = "inbound"  // it came in from a carrier
	Outbound Direction = "outbound" // our PBX sent it
)

// Facts are what is known of a call when its INVITE is in.
type Facts struct {
	Direction          Direction
	FromTrunk, ToTrunk string    // trunks of the caller's and the callee's leg
	FromSide, ToSide   string    // their sides: internal or external
	Caller, Callee     string    // as signalled: a user part, a SIP, tel or service URI; empty when withheld
	Time               time.Time // when the INVITE came
	Asserted           []string  // numbers that a trunk which is trusted says the caller has (RFC 3325)
	Vouched            bool      // a trunk that is trusted says so of the caller, not he himself (RFC 3325, RFC 7090)
	Forwarded          bool      // the INVITE says that another number was called first (RFC 5806, RFC 7044)
	Claimed            bool      // and it is the word of a trunk that is not trusted

	ID      string              // the call's own, which samples go by
	Country string              // of the far party, where it is not to be told from his number
	Headers map[string][]string // of the INVITE, by names in lower case: those of Policy.Headers
	// RecordedThisMonth is how many recordings there are of our side's number since the month
	// began; below 0 that is not known, and rules with a ceiling do not record.
	RecordedThisMonth int
}

// forwarded reports whether nobody on our side may be in the call: it was diverted,
// or it comes from outside and goes back out.
func (f Facts) forwarded() bool { return f.Forwarded || f.through() }

func (f Facts) through() bool { return f.FromSide == "external" && f.ToSide == "external" }

// Reasons for which a call is not recorded.
const (
	NoRule      = "no_rule"           // no rule matches
	ByRule      = "rule"              // the rule that matches says so
	IsEmergency = "emergency"         // an emergency number is called, or calls
	IsForwarded = "forwarded"         // we take no part in the call, and the rule does not say why it may be recorded still
	IsClaimed   = "forwarded_claimed" // the same, by the word of a trunk that is not trusted
	IsSpecial   = "special_number"    // one of the numbers that are never recorded, or a helpline
	SampledOut  = "sampled_out"       // the rule records a share of its calls, and this one is not in it
	IsCeiling   = "ceiling"           // as much as the rule wants is recorded of this number of ours this month
	BreaksPack  = "pack"              // the rule does not meet what the pack for the far party's country demands
	NobodyOurs  = "nobody_ours"       // our side alone would be recorded, and nobody of it is in the call
	IsOverdue   = "balancing_overdue" // the balancing that every purpose rests on was not made again in time
)

// Decision is what is to be done with one call.
type Decision struct {
	Policy string // version of the policy that decided
	Rule   string // name of the rule that matched; empty when none was
	Record bool
	Reason string // why it is not recorded: one of the reasons above

	// Emergency: the call may be neither announced, delayed nor recorded.
	Emergency bool
	// Unlimited: nor may any limit keep it out. Who merely says that he is an emergency centre
	// is not let past these.
	Unlimited bool

	// What follows is set only where the call is recorded; OnFailure also where a mere claim
	// keeps it from that: whoever makes it is believed, for the caller's sake, but nobody gets by
	// it around a recording without which there is to be no call; and where it is our own doing.
	Terms     Terms // of every purpose
	Purpose   string
	Basis     Basis
	Retention Period // of the purpose that keeps it longest, as are Purpose and Basis
	// Numbers is how long the row says who called, if longer than the audio is kept;
	// Certificate how long the proof is kept that it is not.
	Numbers     Period
	Certificate Period
	OnFailure   OnFailure
	Parties     Audience  // whose words are recorded
	Announce    *Announce // what the parties are told; defaults filled in
	Exempt      string    // written reason why nobody is told; set if and only if Announce is nil
	Forwarded   string    // written reason why a forwarded call is recorded
	Keys        Keys      // what the parties may press; defaults filled in
	Beep        *Beep     // nil for none
	Control     []Control // what the PBX and operators may do

	// KeepRow is how long the row of a call is kept of which there is no recording.
	KeepRow Period
}

// Fails reports whether a call should have been recorded that is not for such a reason, so that
// its purpose's on_failure counts. The others are as they are meant.
func Fails(reason string) bool {
	return reason == IsClaimed || reason == BreaksPack || reason == IsOverdue
}

// Step is what became of one rule on the way to a decision.
type Step struct {
	Rule    string
	Matched bool
	Why     string // what did not fit, or "matches"; numbers in it are whole
}

// breach is a rule that does not meet a pack's demands.
type breach struct{ rule, pack string }

// Policy is a configuration made ready to decide by. It does not change and may be
// used by many goroutines at once.
type Policy struct {
	version string
	cfg     Config
	rules   []matcher
	numbers numbering
	never   numbers             // never recorded
	help    map[string]struct{} // helplines
	unmet   map[breach]bool     // of the packs by country
	// countries: some rule, or packs, ask for the far party's.
	countries bool
}

// Compile makes a policy of a configuration. Its error joins every Fault.
func Compile(cfg Config) (*Policy, error) {
	if faults := cfg.Validate(); len(faults) > 0 {
		errs := make([]error, len(faults))
		for i, f := range faults {
			errs[i] = f
		}
		return nil, errors.Join(errs...)
	}
	cfg = cfg.effective()
	version, err := cfg.version()
	if err != nil {
		return nil, err
	}
	p := &Policy{version: version, cfg: cfg, numbers: newNumbering(cfg.Country, cfg.Emergency)}
	never, err := cfg.patterns(cfg.NeverRecord, p.numbers)
	if err != nil {
		return nil, fmt.Errorf("compile never_record: %w", err)
	}
	p.countries = cfg.Packs != nil && len(cfg.Packs.ByCountry) > 0
	p.never, p.help = newNumbers(never), helplinesOf(p.numbers)
	p.unmet = map[breach]bool{}
	for i, r := range cfg.Rules {
		if r.records() {
			for _, pack := range cfg.Packs.every() {
				for _, purpose := range r.Record.Names() {
					if len(cfg.breaches(i, purpose, pack)) > 0 {
						p.unmet[breach{r.Name, pack}] = true
					}
				}
			}
		}
		m, err := cfg.newMatcher(r.Match, p.numbers)
		if err != nil {
			return nil, fmt.Errorf("compile rule %s: %w", r.Name, err)
		}
		p.rules = append(p.rules, m)
		p.countries = p.countries || len(m.Country) > 0
	}
	return p, nil
}

// version is the SHA-256 of the configuration as JSON, which is canonical: fields in
// the order of the types, map keys sorted, defaults filled in.
func (c Config) version() (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("hash policy: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Version names the policy by its content: 64 hexadecimal digits, the same for the
// same configuration on every machine.
func (p *Policy) Version() string { return p.version }

// Config is what the policy was made of, with its defaults. It is not to be changed.
func (p *Policy) Config() Config { return p.cfg }

// Number writes a number, as signalled, the way rules see it: in E.164 where it is a
// subscriber's, else as dialled; Withheld where nobody gave one.
func (p *Policy) Number(signalled string) string { return p.numbers.normalise(signalled) }

// Near writes the number of our side's party of a call, as Number does.
func (p *Policy) Near(f Facts) string {
	if f.Direction == Outbound {
		return p.Number(f.Caller)
	}
	return p.Number(f.Callee)
}

// Sought writes a number that somebody looks for as Number wrote those that there are. What
// is no number is an error.
func (p *Policy) Sought(text string) (string, error) { return p.numbers.sought(text) }

// Headers are the headers that rules ask for, in lower case: the facts of a call have to have them.
func (p *Policy) Headers() []string {
	var names []string
	for _, m := range p.rules {
		for _, h := range m.headers {
			names = append(names, h.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Counts reports whether some rule has a ceiling: only then RecordedThisMonth is asked for.
func (p *Policy) Counts() bool {
	return slices.ContainsFunc(p.cfg.Rules, func(r Rule) bool { return r.records() && r.Record.Ceiling > 0 })
}

// Decide says what is to be done with a call. The first rule that matches decides.
func (p *Policy) Decide(f Facts) Decision {
	return p.decide(f, func(int, condition, *view) {})
}

// Explain decides as Decide does and tells what became of each rule up to the one
// that matched. Emergency calls, and those with numbers that are never recorded, are decided
// before any rule: they have no steps.
func (p *Policy) Explain(f Facts) ([]Step, Decision) {
	var steps []Step
	d := p.decide(f, func(rule int, unmet condition, v *view) {
		steps = append(steps, Step{p.cfg.Rules[rule].Name, unmet == "", p.rules[rule].why(unmet, v)})
	})
	return steps, d
}

// decide tells tried of every rule that it holds against the call.
func (p *Policy) decide(f Facts, tried func(rule int, unmet condition, v *view)) Decision {
	d := Decision{Policy: p.version, KeepRow: p.cfg.Calls.Retention}
	// A caller with an emergency number is the emergency centre, calling back. An
	// extension of ours may well have the digits of one.
	called, callsBack := p.numbers.emergency(f.Callee), f.Direction == Inbound && p.numbers.emergency(f.Caller)
	if called || callsBack {
		d.Reason, d.Emergency, d.Unlimited = IsEmergency, true, called || f.Vouched
		return d
	}
	v := p.view(f)
	if p.special(&v) {
		d.Reason = IsSpecial
		return d
	}
	for i, m := range p.rules {
		unmet := m.mismatch(&v)
		tried(i, unmet, &v)
		if unmet == "" {
			p.apply(p.cfg.Rules[i], &v, &d)
			return d
		}
	}
	d.Reason = NoRule
	return d
}

// special reports whether a party has a number that is never recorded, by what it says or by
// what its trunk says of it. A helpline is one outside: an extension of ours may have its digits,
// as with emergency numbers.
func (p *Policy) special(v *view) bool {
	outside := []string{v.far()}
	if v.through() {
		outside = []string{v.caller, v.callee}
	}
	for _, number := range outside {
		if _, help := p.help[number]; help {
			return true
		}
	}
	return p.never.has(v.caller) || p.never.has(v.callee) ||
		slices.ContainsFunc(v.Asserted, func(number string) bool { return p.never.has(p.numbers.normalise(number)) })
}

// countriesOf are those of the parties outside: one, or two where nobody of ours is in the call.
func (p *Policy) countriesOf(v *view) []string {
	countries := []string{v.country}
	if v.through() && p.countries {
		if other := p.numbers.countryOf(v.callee); v.Direction == Inbound && other != v.country {
			countries = append(countries, other)
		}
	}
	return countries
}

// apply fills in a decision by the rule that matched.
func (p *Policy) apply(rule Rule, f *view, d *Decision) {
	d.Rule = rule.Name
	if !rule.records() {
		d.Reason = ByRule
		return
	}
	terms, onFailure := p.terms(rule, f.Time)
	switch {
	case !f.forwarded():
	case rule.Forwarded != "":
		d.Forwarded = rule.Forwarded
	case f.Claimed && !f.through():
		d.Reason, d.OnFailure = IsClaimed, onFailure
		return
	default:
		d.Reason = IsForwarded
		return
	}
	switch {
	case slices.ContainsFunc(p.countriesOf(f), func(country string) bool { return p.breaks(d.Rule, country) }):
		d.Reason, d.OnFailure = BreaksPack, onFailure
	case len(terms) == 0:
		d.Reason, d.OnFailure = IsOverdue, onFailure
	case rule.Record.Parties == Near && f.through():
		d.Reason = NobodyOurs
	case !rule.Record.Sample.takes(f.ID):
		d.Reason = SampledOut
	case rule.Record.Ceiling > 0 && (f.RecordedThisMonth < 0 || f.RecordedThisMonth >= rule.Record.Ceiling):
		d.Reason = IsCeiling
	}
	if d.Reason != "" {
		d.Forwarded = ""
		return
	}
	last, _ := terms.Last(f.Time)
	d.Record, d.Terms, d.OnFailure = true, terms, onFailure
	d.Purpose, d.Basis, d.Retention = last.Purpose, last.Basis, last.Retention
	d.Numbers, d.Certificate = last.Numbers, last.Certificate
	d.Control, d.Parties = rule.Control, cmp.Or(rule.Record.Parties, Both)
	if rule.Keys != nil {
		d.Keys = rule.Keys.effective()
	}
	if rule.Beep != nil {
		d.Beep = &Beep{rule.Beep.Every, cmp.Or(rule.Beep.To, Both)}
	}
	if rule.Announce == nil {
		d.Exempt = rule.Exempt
		return
	}
	told := rule.Announce.effective(f.Direction, f.far())
	d.Announce = &told
}

// breaks reports whether the packs for a country demand what a rule does not give: then nothing
// is recorded by it.
func (p *Policy) breaks(rule, country string) bool {
	return slices.ContainsFunc(p.cfg.Packs.of(country), func(pack string) bool { return p.unmet[breach{rule, pack}] })
}

// Unmet are the demands of the packs for a call's country that the rule does not meet which it
// comes to, each at the key that would.
func (p *Policy) Unmet(f Facts) (all []Fault) {
	v, d := p.view(f), p.Decide(f)
	for i, r := range p.cfg.Rules {
		if r.Name != d.Rule || !r.records() {
			continue
		}
		for _, country := range p.countriesOf(&v) {
			for _, pack := range p.cfg.Packs.of(country) {
				for _, purpose := range r.Record.Names() {
					all = append(all, p.cfg.breaches(i, purpose, pack)...)
				}
			}
		}
	}
	return all
}

// terms are those of a rule's purposes for which anything may be recorded at that time, and
// what becomes of a call that is not: one purpose that refuses it is enough.
func (p *Policy) terms(rule Rule, at time.Time) (Terms, OnFailure) {
	var terms Terms
	onFailure := Continue
	for _, name := range rule.Record.Names() {
		purpose := p.cfg.Purposes[name]
		if purpose.OnFailure == Refuse {
			onFailure = Refuse
		}
		if b := purpose.Balancing; b == nil || at.Before(b.due(p.cfg.reviewGrace())) {
			terms = append(terms, purpose.term(name))
		}
	}
	return terms, onFailure
}
