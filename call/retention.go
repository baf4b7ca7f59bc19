package call

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
)

// retention is how long a recorded call is kept: its audio, who called, and the proof that
// both are gone.
type retention struct {
	audio, numbers, certificate policy.Period
}

func retentionOf(d *policy.Decision) retention {
	return retention{d.Retention, d.Numbers, d.Certificate}
}

// retentionIn reads a row's.
func retentionIn(r *store.Row) (k retention, err error) {
	for _, part := range []struct {
		text string
		into *policy.Period
	}{{r.Retention, &k.audio}, {r.RowRetention, &k.numbers}, {r.CertificateRetention, &k.certificate}} {
		if part.text == "" {
			continue
		}
		if *part.into, err = policy.ParsePeriod(part.text); err != nil {
			return k, err
		}
	}
	if k.audio.IsZero() {
		return k, fmt.Errorf("row %s has no retention", r.ID)
	}
	return k, nil
}

// write notes the periods in a row.
func (k retention) write(r *store.Row) {
	r.Retention = k.audio.String()
	if !k.numbers.IsZero() {
		r.RowRetention = k.numbers.String()
	}
	if !k.certificate.IsZero() {
		r.CertificateRetention = k.certificate.String()
	}
}

// expire works out what the periods come to for a call that ended then.
func (k retention) expire(r *store.Row, ended time.Time) {
	r.Expires, r.RowExpires, r.CertificateExpires = k.audio.After(ended), time.Time{}, time.Time{}
	last := r.Expires
	if !k.numbers.IsZero() {
		if numbers := k.numbers.After(ended); numbers.After(last) { // a row is kept as long as its recording
			r.RowExpires, last = numbers, numbers
		}
	}
	if !k.certificate.IsZero() {
		r.CertificateExpires = k.certificate.After(r.Expires)
		if r.CertificateExpires.Before(last) {
			r.CertificateExpires = last
		}
	}
}

// kept is a term as a row has it.
func kept(t policy.Term) store.Term {
	term := store.Term{Purpose: t.Purpose, Basis: string(t.Basis), Retention: t.Retention.String()}
	if !t.Numbers.IsZero() {
		term.RowRetention = t.Numbers.String()
	}
	if !t.Certificate.IsZero() {
		term.CertificateRetention = t.Certificate.String()
	}
	return term
}

// Made is what a row says of how its recording was made, to select from it.
func Made(r *store.Row) policy.Made {
	made := policy.Made{Rule: r.Rule, Direction: policy.Direction(r.Direction), Caller: r.Caller, Callee: r.Callee}
	for _, term := range r.AllTerms() {
		made.Purposes = append(made.Purposes, term.Purpose)
	}
	for _, a := range r.Told() {
		if !a.Complete {
			continue // told again, or not recorded
		}
		if made.Agreed = !a.OptedIn.IsZero(); !made.Agreed {
			break
		}
	}
	return made
}

// Select has a recording kept for a further purpose, as long as that lasts if it lasts longer.
func Select(r *store.Row, t policy.Term) error {
	terms := r.EveryTerm()
	for _, has := range terms {
		switch {
		case has.Purpose == t.Purpose && has.Withdrawn:
			return fmt.Errorf("%s was withdrawn from it, and is not given back", t.Purpose)
		case has.Purpose == t.Purpose:
			return fmt.Errorf("it is kept for %s already", t.Purpose)
		}
	}
	return settle(r, append(terms, kept(t)))
}

// Withdraw has a recording kept for a purpose no longer: as long as the others last, and
// where there are none, not at all. What the law obliges to keep stays.
func Withdraw(r *store.Row, purpose string) error {
	terms := r.EveryTerm()
	i := slices.IndexFunc(terms, func(t store.Term) bool { return t.Purpose == purpose && !t.Withdrawn })
	if i < 0 {
		return fmt.Errorf("it is not kept for %s", purpose)
	}
	if terms[i].Basis == string(policy.LegalObligation) {
		return fmt.Errorf("the law obliges to keep it for %s (basis %s): that is nobody's to withdraw", purpose, policy.LegalObligation)
	}
	terms[i].Withdrawn = true
	return settle(r, terms)
}

// settle makes a row that of the term which lasts longest, counted from the call's end; where
// all were withdrawn its time is over.
func settle(r *store.Row, terms []store.Term) error {
	if r.Ended.IsZero() {
		return errors.New("the call goes on")
	}
	var longest store.Row
	for _, t := range terms {
		if t.Withdrawn {
			continue
		}
		row := store.Row{ID: r.ID, Purpose: t.Purpose, Basis: t.Basis, Retention: t.Retention,
			RowRetention: t.RowRetention, CertificateRetention: t.CertificateRetention}
		keep, err := retentionIn(&row)
		if err != nil {
			return err
		}
		if keep.expire(&row, r.Ended); longest.Expires.IsZero() || row.Expires.After(longest.Expires) {
			longest = row
		}
	}
	if r.Terms = nil; len(terms) > 1 || terms[0].Withdrawn {
		r.Terms = terms
	}
	if longest.Expires.IsZero() {
		r.Expires, r.RowExpires = time.Now().UTC(), time.Time{}
		return nil
	}
	r.Purpose, r.Basis, r.Retention, r.Expires = longest.Purpose, longest.Basis, longest.Retention, longest.Expires
	r.RowRetention, r.RowExpires = longest.RowRetention, longest.RowExpires
	r.CertificateRetention, r.CertificateExpires = longest.CertificateRetention, longest.CertificateExpires
	return nil
}
