package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Trunk is what Prove has to know of a trunk.
type Trunk struct {
	Name, Side string
	Route      string // the trunk that its calls go to
	EarlyMedia bool
	Trusted    bool // headers are believed of it
}

// Path is one way that calls take through the rules: to a rule, from one trunk to another.
type Path struct {
	Rule     string
	Facts    Facts // of a call that takes it
	Decision Decision
	Outcomes []Outcome // what may become of such a call; the usual first
}

// Outcome is what becomes of a call in one case.
type Outcome struct {
	Case     string // empty for the usual
	Then     string
	Recorded bool
	Told     bool // everybody outside, before anything is recorded
}

// Proof is what can be said of all calls that there may be.
type Proof struct {
	Paths    []Path
	Faults   []Fault // ways that are recorded unannounced, or against a pack; and days that are yet to come
	Warnings []Fault // rules that no call comes to, and purposes for which not all of a buffer can be selected
}

// Prove looks for a call for every rule and every pair of trunks, confirms it by Explain, and
// holds all that may become of it against the promise that nothing is recorded before the far
// party was told, unless it is written why not. Times are looked for from now on. What a
// configuration says to have been done is not to lie ahead of now.
//
// Numbers fall into as many classes as there are patterns, since one pattern lies within another
// or apart from it; so do a header's values. Of each class one number is tried, of every
// condition only the values that no earlier rule takes unless it must. So a rule without a call
// is one that no call reaches, but for countries: of each a few numbers are tried besides.
func (p *Policy) Prove(trunks []Trunk, now time.Time) Proof {
	s := p.newSearch(trunks, now)
	proof := Proof{Faults: p.cfg.foretold(now)}
	for i, rule := range p.cfg.Rules {
		reached := false
		for _, w := range s.ways {
			sample, ok := s.call(w, i, nil)
			if !ok {
				continue
			}
			reached = true
			path, fault := p.path(w, i, sample)
			proof.Paths = append(proof.Paths, path)
			if fault != nil {
				proof.Faults = append(proof.Faults, *fault)
			}
		}
		if !reached {
			proof.Warnings = append(proof.Warnings, Fault{fmt.Sprintf("rules[%d]", i), s.unreached(i)})
			if a := rule.Announce; rule.records() && a != nil && cmp.Or(a.To, Far) == Near && cmp.Or(rule.Record.Parties, Both).Has(Far) { // one may come that was not found
				proof.Faults = append(proof.Faults, Fault{fmt.Sprintf("rules[%d].announce.to", i), "would record a far party who was not told, should a call come to it; let him hear it (to: far or both), or record nothing of him (record.parties: near)"})
			}
		}
		if rule.records() {
			proof.Faults = append(proof.Faults, s.againstPacks(i)...)
			proof.Warnings = append(proof.Warnings, s.unselectable(i)...)
		}
	}
	return proof
}

// path confirms a sample call, and says what may become of such.
func (p *Policy) path(w way, rule int, f Facts) (Path, *Fault) {
	steps, d := p.Explain(f)
	path := Path{p.cfg.Rules[rule].Name, f, d, d.outcomes(w)}
	at := fmt.Sprintf("rules[%d]", rule)
	if len(steps) != rule+1 || !steps[rule].Matched {
		return path, &Fault{at, "cannot be proved: " + Sample(f) + " is decided otherwise"} // a fault of ours
	}
	for _, o := range path.Outcomes {
		if o.Recorded && !o.Told && d.Exempt == "" {
			in := ""
			if o.Case != "" {
				in = ", " + o.Case
			}
			if w.through() {
				return path, &Fault{at + ".announce.to", fmt.Sprintf("records two parties outside, not both of whom were told%s: %s; let both hear it (to: both), or write why nobody has to (exempt)", in, Sample(f))}
			}
			return path, &Fault{at + ".announce.to", fmt.Sprintf("records a far party who was not told%s: %s; let him hear it (to: far or both), or record nothing of him (record.parties: near)", in, Sample(f))}
		}
	}
	return path, nil
}

// Sample writes a call in words.
func Sample(f Facts) string {
	s := fmt.Sprintf("%s, from %s (%s) to %s (%s), at %s", f.Direction, cmp.Or(f.Caller, Withheld), f.FromTrunk, f.Callee, f.ToTrunk, f.Time.UTC().Format("2006-01-02T15:04Z07:00"))
	if f.Forwarded {
		s += ", forwarded"
	}
	for _, name := range sortedKeys(f.Headers) {
		s += fmt.Sprintf(", with %s: %s", name, strings.Join(f.Headers[name], ", "))
	}
	return s
}

// outcomes are what may become of a call that was decided so.
func (d Decision) outcomes(w way) []Outcome {
	if !d.Record {
		return []Outcome{{Then: "not recorded: " + d.Reason}}
	}
	unrecorded := "goes on unrecorded"
	if d.OnFailure == Refuse {
		unrecorded = "is refused, or ended"
	}
	var all []Outcome
	may := func(when, then string, recorded, told bool) { all = append(all, Outcome{when, then, recorded, told}) }
	a := d.Announce
	if a == nil {
		may("", "recorded for "+d.purposes()+"; told in writing: "+d.Exempt, true, false)
		may("the recorder fails", unrecorded, false, false)
		may("transferred to a call of another rule", "the recording ends", false, false)
		return all
	}
	told := a.To.Has(Far) || d.Parties == Near // of who is recorded
	if w.through() {                           // the callee, near by our count, is outside too
		told = a.To == Both
	}
	when := a.When
	if before := when == Early || when == Ringing; before && !w.from.EarlyMedia {
		when = Answered
	}
	may("", fmt.Sprintf("recorded for %s; %s told of %s in %s, %s", d.purposes(), a.To, a.Prompt, a.Language, when), true, told)
	if when != Answered {
		may("the INVITE has no offer", "told after the answer", true, told)
	}
	if a.Replays > 0 {
		may("the announcement is interrupted", fmt.Sprintf("played again, %d times at most; then the call %s", a.Replays, unrecorded), false, told)
	} else {
		may("the announcement is interrupted", unrecorded, false, told)
	}
	if a.OptIn != "" {
		may("nobody presses "+a.OptIn, unrecorded, false, told)
	}
	if a.OptOut != "" {
		may(a.OptOut+" is pressed", "goes on unrecorded", false, told)
	}
	if k := d.Keys.Object; k != "" {
		may(k+" is pressed in the call", "what there is is destroyed; goes on unrecorded", false, told)
	}
	if k := d.Keys.Pause; k != "" {
		may("our party presses "+k, "paused", false, told)
	}
	switch ours := "our party refers it to somebody outside"; {
	case !a.Transfers:
		may("transferred to somebody outside", "the recording ends", false, told)
	case d.Forwarded == "" && !w.through():
		may("the far party is transferred", "who comes is told, and recorded from then on", true, told)
		may(ours, "the recording ends: nobody of ours is left (forwarded)", false, told)
	default:
		may("transferred to somebody outside", "told again, and recorded from then on", true, told)
	}
	may("the recorder fails", unrecorded, false, told)
	return all
}

// purposes are those of a recording, as words.
func (d Decision) purposes() string {
	names := make([]string, len(d.Terms))
	for i, t := range d.Terms {
		names[i] = t.Purpose
	}
	return strings.Join(names, " and ")
}

// againstPacks looks for calls of a rule that come to it with a country whose pack it breaks.
func (s *search) againstPacks(rule int) (faults []Fault) {
	p, said := s.policy, map[Fault]bool{}
	for _, country := range s.countries {
		for _, pack := range p.cfg.Packs.of(country) {
			if !p.unmet[breach{p.cfg.Rules[rule].Name, pack}] {
				continue
			}
			for _, w := range s.ways {
				sample, ok := s.call(w, rule, func(c string) bool { return c == country })
				if !ok {
					continue
				}
				for _, purpose := range p.cfg.Rules[rule].Record.Names() {
					for _, fault := range p.cfg.breaches(rule, purpose, pack) {
						if !said[fault] {
							said[fault] = true
							fault.Message += "; it is broken by a call such as this: " + Sample(sample)
							faults = append(faults, fault)
						}
					}
				}
				break
			}
		}
	}
	return faults
}

// unselectable looks for calls that come to a rule which records into a buffer, and from which
// nothing is selected for some purpose: it is not what the pack for their country demands.
func (s *search) unselectable(rule int) (faults []Fault) {
	p, said := s.policy, map[Fault]bool{}
	if !slices.ContainsFunc(p.cfg.Rules[rule].Record.Names(), func(name string) bool { return p.cfg.Purposes[name].Buffer }) {
		return nil
	}
	for _, country := range s.countries {
		var found []Fault
		for _, pack := range p.cfg.Packs.of(country) {
			for _, purpose := range p.cfg.selectable() {
				for _, fault := range p.cfg.lacks("", nil, purpose, pack) {
					if !said[fault] {
						found = append(found, fault)
					}
				}
			}
		}
		if len(found) == 0 {
			continue
		}
		for _, w := range s.ways {
			sample, ok := s.call(w, rule, func(c string) bool { return c == country })
			if !ok {
				continue
			}
			for _, fault := range found {
				said[fault] = true
				fault.Message += "; nothing is selected for it from a call such as this: " + Sample(sample)
				faults = append(faults, fault)
			}
			break
		}
	}
	return faults
}

// unreached says why no call comes to a rule.
func (s *search) unreached(rule int) string {
	shadows := map[int]bool{}
	for _, w := range s.ways {
		for _, by := range s.winners(w, rule) {
			shadows[by] = true
		}
	}
	if len(shadows) == 0 {
		return "no call that these trunks can bring matches it, but for emergency calls and numbers that are never recorded"
	}
	names := make([]string, 0, len(shadows))
	for i, r := range s.policy.cfg.Rules {
		if shadows[i] {
			names = append(names, fmt.Sprintf("%q", r.Name))
		}
	}
	return "no call comes to it: each that matches is taken before by rule " + strings.Join(names, ", ")
}

// texts are what patterns are or begin with, sorted.
func texts(patterns []pattern) []string {
	var all []string
	for _, p := range patterns {
		all = append(all, p.text)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
