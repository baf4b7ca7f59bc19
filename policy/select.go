package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	// ErrNotBuffered is wrapped where a recording is none that anything is selected from.
	ErrNotBuffered = errors.New("nothing is selected from it")
	// ErrNotSelectable is wrapped where nothing may be selected for a purpose.
	ErrNotSelectable = errors.New("nothing is selected for it")
	// ErrNotWithdrawn is wrapped where a recording stays for as long as its purpose says.
	ErrNotWithdrawn = errors.New("it is not withdrawn")
)

// Made is what is known of a recording from which somebody selects.
type Made struct {
	Purposes  []string // that it was made for
	Rule      string   // by which it was made
	Direction Direction
	// Caller and Callee are numbers, as Policy.Number writes them; empty where they are not known,
	// so that the far party's country is not either.
	Caller, Callee string
	// Agreed: everybody to whom it was announced pressed the key by which he agrees.
	Agreed bool
}

// SelectsFor reports whether recordings may be selected for a purpose: there are buffers that
// some rule records into, and it is none.
func (c Config) SelectsFor(purpose string) bool {
	return !c.Purposes[purpose].Buffer && slices.ContainsFunc(c.Rules, func(r Rule) bool {
		return r.records() && slices.ContainsFunc(r.Record.Names(), func(name string) bool { return c.Purposes[name].Buffer })
	})
}

// Select returns the term by which a recording that was made for some purposes is kept for
// another one too: one that somebody picked from a buffer. What was recorded for anything
// else is for that alone (AVG article 5(1)(b)). The recording has to have what the other purpose
// demands: the consent, and what the packs for the call want of the rule by which it was made. A
// rule that is no more is taken for one that gave nothing.
func (p *Policy) Select(m Made, purpose string, at time.Time) (Term, error) {
	to, known := p.cfg.Purposes[purpose]
	refused := func(why string) (Term, error) {
		return Term{}, fmt.Errorf("purpose %q: %w: %s", purpose, ErrNotSelectable, why)
	}
	switch {
	case !known:
		return refused("the configuration has no such purpose")
	case to.Buffer:
		return refused("it is a buffer itself")
	case to.Balancing != nil && !at.Before(to.Balancing.due(p.cfg.reviewGrace())):
		return refused("its balancing is to be reviewed first")
	case !slices.ContainsFunc(m.Purposes, func(name string) bool { return p.cfg.Purposes[name].Buffer }):
		return Term{}, fmt.Errorf("recorded for %q: %w: none of these is a buffer", m.Purposes, ErrNotBuffered)
	case to.Basis == Consent && !present(to.Consent) && !m.Agreed:
		return refused("it rests on consent by a key, and nobody pressed one in this call")
	}
	rule := Rule{Name: m.Rule}
	if i := slices.IndexFunc(p.cfg.Rules, func(r Rule) bool { return r.Name == m.Rule }); i >= 0 {
		rule = p.cfg.Rules[i]
	}
	country := p.view(Facts{Direction: m.Direction, Caller: m.Caller, Callee: m.Callee}).country
	for _, pack := range append(p.cfg.alwaysFor(to), p.cfg.Packs.of(country)...) {
		if lacks := p.cfg.lacks(fmt.Sprintf("rule %q", m.Rule), &rule, purpose, pack); len(lacks) > 0 {
			return refused(lacks[0].Error())
		}
	}
	return to.term(purpose), nil
}

// Withdraw says why a recording has to be kept for a purpose until its time is over; nil where
// it need not. What the configuration no longer knows has its row's basis alone.
func (p *Policy) Withdraw(purpose string) error {
	from := p.cfg.Purposes[purpose]
	if from.Basis == LegalObligation {
		return fmt.Errorf("purpose %q: %w: its basis is %s", purpose, ErrNotWithdrawn, from.Basis)
	}
	for _, name := range p.cfg.alwaysFor(from) {
		for _, d := range packs[name].demands {
			if d.complete {
				return fmt.Errorf("purpose %q: %w: pack %s (%s)", purpose, ErrNotWithdrawn, name, d.source)
			}
		}
	}
	return nil
}

// term is a purpose as a recording has it.
func (p Purpose) term(name string) Term {
	return Term{Purpose: name, Basis: p.Basis, Retention: p.Retention.Audio, Numbers: p.Retention.Row, Certificate: p.Retention.certificate()}
}
