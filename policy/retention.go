package policy

import (
	"cmp"
	"encoding/json"
)

// Retention is how long what there is of a recorded call is kept: P14D, or
// {audio: P14D, row: P90D, certificate: P10Y}. Audio and row count from the end of the
// call, the certificate from when the audio's time is over. All in UTC.
type Retention struct {
	Audio       Period `yaml:"audio"`
	Row         Period `yaml:"row"`         // who called whom. Default: as long as the audio, and never shorter
	Certificate Period `yaml:"certificate"` // that it is destroyed, and what is left of the row. Default: P10Y
}

// keepCertificate is how long a certificate is kept unless the purpose says otherwise.
var keepCertificate = Period{Years: 10}

// UnmarshalText reads a period, for the audio.
func (r *Retention) UnmarshalText(text []byte) (err error) {
	*r = Retention{}
	r.Audio, err = ParsePeriod(string(text))
	return err
}

// MarshalJSON writes a retention as shortly as it can be written in the configuration.
func (r Retention) MarshalJSON() ([]byte, error) {
	if r.Row.IsZero() && r.Certificate.IsZero() {
		return json.Marshal(r.Audio)
	}
	return json.Marshal(struct {
		Audio       Period `json:"audio"`
		Row         Period `json:"row,omitzero"`
		Certificate Period `json:"certificate,omitzero"`
	}{r.Audio, r.Row, r.Certificate})
}

func (r Retention) validate(f faults) {
	if !r.Row.IsZero() || !r.Certificate.IsZero() {
		f.at("audio").retention(r.Audio, true)
		f.at("row").retention(r.Row, false)
		f.at("certificate").retention(r.Certificate, false)
		return
	}
	f.retention(r.Audio, true)
}

// longest is for how long anything personal is kept: audio, or numbers.
func (r Retention) longest() Period {
	if r.Audio.longest().Before(r.Row.longest()) {
		return r.Row
	}
	return r.Audio
}

// Effective is the retention with its defaults.
func (r Retention) Effective() Retention {
	return Retention{r.Audio, cmp.Or(r.Row, r.Audio), r.certificate()}
}

// certificate is the period with its default.
func (r Retention) certificate() Period { return cmp.Or(r.Certificate, keepCertificate) }
