package policy

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Basis is a lawful basis for recording, by the points of AVG/GDPR article 6(1).
type Basis string

const (
	Consent            Basis = "consent"             // 6(1)(a)
	Contract           Basis = "contract"            // 6(1)(b)
	LegalObligation    Basis = "legal_obligation"    // 6(1)(c)
	VitalInterests     Basis = "vital_interests"     // 6(1)(d)
	PublicTask         Basis = "public_task"         // 6(1)(e)
	LegitimateInterest Basis = "legitimate_interest" // 6(1)(f)
)

var bases = [...]string{
	string(Consent), string(Contract), string(LegalObligation),
	string(VitalInterests), string(PublicTask), string(LegitimateInterest),
}

// UnmarshalText reads a basis by its name; vital_interest, as it was spelt once, is
// vital_interests. Whether there is such a basis is Validate's to say.
func (b *Basis) UnmarshalText(text []byte) error {
	if *b = Basis(text); *b == "vital_interest" {
		*b = VitalInterests
	}
	return nil
}

// validateBasis holds a purpose to what its basis demands. optedIn tells whether every
// rule that records for it records only whom has pressed a key to agree.
func (p Purpose) validateBasis(f faults, optedIn bool) {
	for _, ground := range []struct {
		basis           Basis
		key, text, what string
		elsewhere       bool // it can be seen from the rules
	}{
		{Consent, "consent", p.Consent, "how it is given and can be shown (AVG art. 7(1)); or opt_in in every rule's announce", optedIn},
		{LegalObligation, "law", p.Law, "the law that obliges", false},
		{PublicTask, "statute", p.Statute, "the statute that gives the task", false},
	} {
		given := present(ground.text)
		switch {
		case p.Basis == ground.basis && !given && !ground.elsewhere:
			f.at(ground.key).add("missing: basis %s needs %s", ground.basis, ground.what)
		case p.Basis != ground.basis && given:
			f.at(ground.key).add("belongs to basis %s", ground.basis)
		}
	}
	switch at := f.at("balancing"); {
	case p.Basis == LegitimateInterest && p.Balancing == nil:
		at.add("missing: basis %s needs the record of the balancing: by, on, outcome, review", LegitimateInterest)
	case p.Basis != LegitimateInterest && p.Balancing != nil:
		at.add("belongs to basis %s", LegitimateInterest)
	case p.Balancing != nil:
		p.Balancing.validate(at)
	}
}

// optedIn reports whether every rule that records for a purpose, or selects for it by a key,
// asks for a key first by which the far party agrees, and there is such a rule.
func (c Config) optedIn(purpose string) bool {
	found := false
	for _, r := range c.Rules {
		if !r.records() || !slices.Contains(r.Record.Names(), purpose) && (r.Keys == nil || r.Keys.SelectFor != purpose) {
			continue
		}
		if r.Announce == nil || r.Announce.OptIn == "" {
			return false
		}
		found = true
	}
	return found
}

func (s Staff) validate(f faults) {
	switch reason, agreed := present(s.Reason), present(s.WorksCouncil) || !s.Notified.IsZero(); {
	case reason && agreed:
		f.at("reason").add("is in place of works_council and notified: give either")
	case reason:
	case !agreed:
		f.add("gives nothing: works_council (the reference of its consent) and notified (when the staff were told), or the reason why neither is needed")
	default:
		f.need("works_council", s.WorksCouncil)
		if s.Notified.IsZero() {
			f.at("notified").add("missing: the day on which the staff were told, such as 2026-10-01")
		}
	}
}

// foretold are the days of what is said to have been done that are yet to come.
func (c Config) foretold(now time.Time) []Fault {
	var all []Fault
	f := faults{all: &all}
	not := func(f faults, d Date) {
		if d.ahead(now) {
			f.add("%v is yet to come (it is %s by this machine's clock): give the day on which it was done", d, now.UTC().Format(time.DateOnly))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Purposes)) {
		at, p := f.at("purposes").at(name), c.Purposes[name]
		if p.Balancing != nil {
			not(at.at("balancing.on"), p.Balancing.On)
		}
		if p.Staff != nil {
			not(at.at("staff.notified"), p.Staff.Notified)
		}
	}
	if c.Staff != nil {
		not(f.at("staff.notified"), c.Staff.Notified)
	}
	return all
}

// What is longer than these is warned of: a balancing is weighed against a world that changes,
// and what no law wants kept so long is hardly needed (AVG article 5(1)(e)).
var (
	longReview    = Period{Years: 3}
	longRetention = Period{Years: 10}
)

// Warnings are what is allowed for now: balancings that are to be made again, or long after they
// were made, what is kept for very long without an obligation, and purposes for which nothing
// says by what right our own side is recorded.
func (c Config) Warnings(now time.Time) []Fault {
	var all []Fault
	f := faults{all: &all}.at("purposes")
	for _, name := range slices.Sorted(maps.Keys(c.Purposes)) {
		p := c.Purposes[name]
		if b := p.Balancing; b != nil && p.Basis == LegitimateInterest && !b.Review.IsZero() && !now.Before(b.Review.start()) {
			if due := b.due(c.reviewGrace()); now.Before(due) {
				f.at(name).at("balancing.review").add("the balancing was to be made again on %v; from %s on nothing more is recorded for %s", b.Review, due.Format(time.DateOnly), name)
			} else {
				f.at(name).at("balancing.review").add("the balancing was to be made again on %v: nothing is recorded for %s since %s", b.Review, name, due.Format(time.DateOnly))
			}
		}
		if b := p.Balancing; b != nil && !b.On.IsZero() && longReview.After(b.On.start()).Before(b.Review.start()) {
			f.at(name).at("balancing.review").add("%v is more than %d years after the balancing was made: make it again sooner", b.Review, longReview.Years)
		}
		if long := p.Retention.longest(); p.Basis != LegalObligation && longRetention.longest().Before(long.longest()) {
			f.at(name).at("retention").add("%v is more than %d years, and basis %s obliges to none: say less, or basis %s with the law", long, longRetention.Years, p.Basis, LegalObligation)
		}
		if p.Staff == nil && c.Staff == nil && c.inUse(name) {
			f.at(name).at("staff").add("missing: our own side is recorded too; give works_council and notified, or a reason, here or for all purposes in staff")
		}
	}
	return all
}

// inUse reports whether any rule records for a purpose.
func (c Config) inUse(purpose string) bool {
	return slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.records() && slices.Contains(r.Record.Names(), purpose) })
}

func (c Config) reviewGrace() Period { return cmp.Or(c.ReviewGrace, defaultReviewGrace) }

// defaultReviewGrace is how long after its time a balancing may still be made again.
var defaultReviewGrace = Period{Days: 90}
