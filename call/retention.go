package call

import (
	"fmt"
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
