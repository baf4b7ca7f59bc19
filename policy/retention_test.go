package policy

import (
	"encoding/json"
	"testing"
)

// A retention of the audio alone is a period; one of more is a mapping. A configuration
// that says no more than before has the version that it had.
func TestRetention(t *testing.T) {
	var r Retention
	if err := r.UnmarshalText([]byte("P14D")); err != nil || r != (Retention{Audio: Period{Days: 14}}) {
		t.Errorf("got %+v, %v, want 14 days of audio", r, err)
	}
	if err := r.UnmarshalText([]byte("14D")); err == nil {
		t.Error("got no error for 14D")
	}
	for want, r := range map[string]Retention{
		`"P14D"`:                              {Audio: Period{Days: 14}},
		`{"audio":"P14D","row":"P3M"}`:        {Audio: Period{Days: 14}, Row: Period{Months: 3}},
		`{"audio":"P1D","certificate":"P5Y"}`: {Audio: Period{Days: 1}, Certificate: Period{Years: 5}},
	} {
		if got, err := json.Marshal(r); string(got) != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if got := (Retention{}).certificate(); got != (Period{Years: 10}) {
		t.Errorf("got %v for the certificate, want ten years", got)
	}
}
