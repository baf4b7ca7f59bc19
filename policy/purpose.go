package policy

// Basis is a lawful basis for recording, by the points of AVG/GDPR article 6(1).
type Basis string

const (
	Consent            Basis = "consent"             // 6(1)(a)
	Contract           Basis = "contract"            // 6(1)(b)
	LegalObligation    Basis = "legal_obligation"    // 6(1)(c)
	VitalInterest      Basis = "vital_interest"      // 6(1)(d)
	PublicTask         Basis = "public_task"         // 6(1)(e)
	LegitimateInterest Basis = "legitimate_interest" // 6(1)(f)
)

var bases = [...]string{
	string(Consent), string(Contract), string(LegalObligation),
	string(VitalInterest), string(PublicTask), string(LegitimateInterest),
}

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
	Retention Period            `yaml:"retention" json:"retention"`           // counted from the end of the call, in UTC
	OnFailure OnFailure         `yaml:"on_failure" json:"on_failure"`         // default: continue
}

// Balancing records that the interest in recording was weighed against the parties'.
type Balancing struct {
	By      string `yaml:"by" json:"by"` // who weighed
	On      Date   `yaml:"on" json:"on"`
	Outcome string `yaml:"outcome" json:"outcome"`
	Review  Date   `yaml:"review" json:"review"` // when it is to be weighed again
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
