package policy

import (
	"slices"
	"time"
)

// OnFailure says what becomes of a call that should be recorded and cannot be.
type OnFailure string

const (
	Continue OnFailure = "continue" // it goes on unrecorded
	Refuse   OnFailure = "refuse"   // it is refused, or ended
)

// Purpose is what recordings are made for, why that is lawful, and how long they are kept.
type Purpose struct {
	Text      map[string]string `yaml:"text" json:"text"` // by language
	Basis     Basis             `yaml:"basis" json:"basis"`
	Consent   string            `yaml:"consent" json:"consent,omitempty"`     // with consent: how it is given and can be shown (article 7(1))
	Law       string            `yaml:"law" json:"law,omitempty"`             // with legal_obligation: the law that obliges
	Statute   string            `yaml:"statute" json:"statute,omitempty"`     // with public_task: the statute that gives the task
	Balancing *Balancing        `yaml:"balancing" json:"balancing,omitempty"` // with legitimate_interest
	Retention Retention         `yaml:"retention" json:"retention"`
	Buffer    bool              `yaml:"buffer" json:"buffer,omitempty"` // recordings are selected from it for other purposes, or go
	OnFailure OnFailure         `yaml:"on_failure" json:"on_failure"`   // default: continue
	Staff     *Staff            `yaml:"staff" json:"staff,omitempty"`   // default: the configuration's
	Packs     []string          `yaml:"packs" json:"packs,omitempty"`   // that constrain what is recorded for it, besides the configuration's

	// For the register and the notices.
	Owner          string   `yaml:"owner" json:"owner,omitempty"`                     // who answers for it
	DPIA           string   `yaml:"dpia" json:"dpia,omitempty"`                       // reference of the impact assessment (AVG article 35)
	Recipients     []string `yaml:"recipients" json:"recipients,omitempty"`           // who gets recordings besides us
	ThirdCountries []string `yaml:"third_countries" json:"third_countries,omitempty"` // where those are outside the EU, and by what safeguards
}

// Balancing records that the interest in recording was weighed against the parties'.
type Balancing struct {
	By      string `yaml:"by" json:"by"` // who weighed
	On      Date   `yaml:"on" json:"on"`
	Outcome string `yaml:"outcome" json:"outcome"`
	Review  Date   `yaml:"review" json:"review"` // when it is to be weighed again
}

// due is when nothing more is recorded on the strength of the balancing: it was not made
// again for so long after its time.
func (b Balancing) due(grace Period) time.Time { return grace.After(b.Review.start()) }

// Staff says by what right our own side, which is in every recording, is recorded too: the
// works council agreed and the staff were told (in the Netherlands WOR article 27(1)(k) and (l)
// and AVG article 13, in Germany BetrVG § 87(1) no. 6), or a reason why that is not needed.
type Staff struct {
	WorksCouncil string `yaml:"works_council" json:"works_council,omitempty"` // reference of its consent
	Notified     Date   `yaml:"notified" json:"notified,omitzero"`            // when the staff were told
	Reason       string `yaml:"reason" json:"reason,omitempty"`               // in place of both
}

// Term is one purpose of a recording, on its own basis and for its own time.
type Term struct {
	Purpose     string
	Basis       Basis
	Retention   Period // of the recording
	Numbers     Period // who called, where that is kept longer
	Certificate Period // that it is gone
}

// Terms are the purposes of one recording. It is kept until the last of them is over.
type Terms []Term

// Last returns the term that keeps a recording longest whose time counts from end, and when
// that is over. Without terms there is nothing to keep it for: the instant is end.
func (t Terms) Last(end time.Time) (last Term, expires time.Time) {
	expires = end.UTC()
	for _, term := range t {
		if over := term.Retention.After(end); over.After(expires) {
			last, expires = term, over
		}
	}
	return last, expires
}

// Without returns what is left where a purpose no longer holds, such as when consent is
// withdrawn (AVG article 7(3)) or an objection upheld (article 21). The time of what is left
// is as if the recording had never been made for that.
func (t Terms) Without(purpose string) Terms {
	return slices.DeleteFunc(slices.Clone(t), func(term Term) bool { return term.Purpose == purpose })
}

// Announcement is a prompt: what is said, and the file that says it, by language.
type Announcement struct {
	Text  map[string]string `yaml:"text" json:"text"`
	Files map[string]string `yaml:"files" json:"files"`
}

// Calls says what is kept of a call that is not recorded.
type Calls struct {
	// Retention is how long its row is kept. Default: P90D.
	Retention Period `yaml:"retention" json:"retention,omitzero"`
}
