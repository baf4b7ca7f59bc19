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
)

// Select returns the term by which a recording that was made for some purposes is kept for
// another one too: one that somebody picked from a buffer. What was recorded for anything
// else is for that alone (AVG article 5(1)(b)).
func (p *Policy) Select(made []string, purpose string, at time.Time) (Term, error) {
	to, known := p.cfg.Purposes[purpose]
	switch {
	case !known:
		return Term{}, fmt.Errorf("purpose %q: %w: the configuration has no such purpose", purpose, ErrNotSelectable)
	case to.Buffer:
		return Term{}, fmt.Errorf("purpose %q: %w: it is a buffer itself", purpose, ErrNotSelectable)
	case to.Balancing != nil && !at.Before(to.Balancing.due(p.cfg.reviewGrace())):
		return Term{}, fmt.Errorf("purpose %q: %w: its balancing is to be reviewed first", purpose, ErrNotSelectable)
	case !slices.ContainsFunc(made, func(name string) bool { return p.cfg.Purposes[name].Buffer }):
		return Term{}, fmt.Errorf("recorded for %q: %w: none of these is a buffer", made, ErrNotBuffered)
	}
	return to.term(purpose), nil
}

// term is a purpose as a recording has it.
func (p Purpose) term(name string) Term {
	return Term{Purpose: name, Basis: p.Basis, Retention: p.Retention.Audio, Numbers: p.Retention.Row, Certificate: p.Retention.certificate()}
}
