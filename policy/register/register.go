// Package register says in words what a configuration has recorded: the register of processing
// (AVG/GDPR article 30(1)), and what callers and our own staff are to be told beforehand
// (article 13).
//
//	policy.Config ─ activities ─┬─ JSON
//	                            └─ a template in the reader's language ─▶ Markdown
//
// It says what the configuration says, and names what that leaves open. It knows nothing of
// calls, and gives no advice.
package register

import (
	"cmp"
	"embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/bewaard/bewaard/policy"
)

// Controller is who decides what is recorded and why (AVG article 4(7)).
type Controller struct {
	Name      string `json:"name"`
	Contact   string `json:"contact"`
	DPO       string `json:"dpo,omitempty"`       // where the data protection officer is reached
	Authority string `json:"authority,omitempty"` // where complaints go
}

// Measures are the safeguards of article 32(1) that depend on the configuration. Those that
// nobody can turn off are in the texts.
type Measures struct {
	Sealed     bool     `json:"sealed"`                // what opens recordings is on another machine
	Signalling []string `json:"signalling,omitempty"`  // trunks whose signalling is all by TLS
	Audio      []string `json:"audio,omitempty"`       // trunks whose audio has to be protected
	Timestamps string   `json:"timestamps,omitempty"`  // who says when the journal's heads were there
	PlainAudio []string `json:"plain_audio,omitempty"` // trunks whose audio may go unprotected
}

// Register is what is recorded, and for what.
type Register struct {
	Controller Controller `json:"controller"`
	Policy     string     `json:"policy"` // its hash
	On         time.Time  `json:"on"`     // when this was made
	Measures   Measures   `json:"measures"`
	Activities []Activity `json:"activities"`
	// Calls is how long it is kept who called whom without a recording.
	Calls policy.Period `json:"calls"`

	language string
}

// Activity is a purpose, and all that is done for it.
type Activity struct {
	Purpose        string            `json:"purpose"`
	Text           string            `json:"text"`
	Basis          policy.Basis      `json:"basis"`
	Article        string            `json:"article"` // of the AVG
	Ground         string            `json:"ground,omitempty"`
	Balancing      *policy.Balancing `json:"balancing,omitempty"`
	Staff          *policy.Staff     `json:"staff,omitempty"`
	Owner          string            `json:"owner,omitempty"`
	DPIA           string            `json:"dpia,omitempty"`
	Recipients     []string          `json:"recipients,omitempty"`
	ThirdCountries []string          `json:"third_countries,omitempty"`
	Retention      Kept              `json:"retention"`
	Buffer         bool              `json:"buffer,omitempty"`
	Selected       bool              `json:"selected,omitempty"` // from buffers; nothing is recorded for it at once, if it has no rules
	Rules          []Telling         `json:"rules,omitempty"`

	translated bool // the text is in the register's language
}

// Kept is for how long: periods as ISO 8601 writes them.
type Kept struct {
	Audio       policy.Period `json:"audio"`
	Row         policy.Period `json:"row"`
	Certificate policy.Period `json:"certificate"`
}

// Telling is a rule that records, and how those are told whom it records.
type Telling struct {
	Rule      string           `json:"rule"`
	Direction policy.Direction `json:"direction,omitempty"`
	Prompt    string           `json:"prompt,omitempty"`
	Said      string           `json:"said,omitempty"`
	To        policy.Audience  `json:"to,omitempty"`
	OptIn     string           `json:"opt_in,omitempty"`
	OptOut    string           `json:"opt_out,omitempty"`
	Object    string           `json:"object,omitempty"`
	Exempt    string           `json:"exempt,omitempty"`
	Forwarded string           `json:"forwarded,omitempty"`
	Share     string           `json:"share,omitempty"`
	Parties   policy.Audience  `json:"parties,omitempty"` // far or near, where only that one is recorded
}

// articles are the points of article 6(1), by basis.
var articles = map[policy.Basis]string{
	policy.Consent: "6(1)(a)", policy.Contract: "6(1)(b)", policy.LegalObligation: "6(1)(c)",
	policy.VitalInterests: "6(1)(d)", policy.PublicTask: "6(1)(e)", policy.LegitimateInterest: "6(1)(f)",
}

// New gathers what a configuration records; its texts are in the language, where there are
// some.
func New(rules *policy.Policy, c Controller, m Measures, language string, now time.Time) (*Register, error) {
	if !slices.Contains(Languages, language) {
		return nil, fmt.Errorf("language %.20q: there are %s", language, strings.Join(Languages, " and "))
	}
	cfg := rules.Config()
	r := &Register{Controller: c, Policy: rules.Version(), On: now.UTC().Truncate(time.Second), Measures: m, Calls: cfg.Calls.Retention, language: language}
	for _, name := range slices.Sorted(maps.Keys(cfg.Purposes)) {
		p := cfg.Purposes[name]
		terms := p.Retention.Effective()
		r.Activities = append(r.Activities, Activity{
			Purpose: name, Text: inLanguage(p.Text, language, name), Basis: p.Basis, Article: articles[p.Basis],
			Ground: cmp.Or(p.Consent, p.Law, p.Statute), Balancing: p.Balancing, Staff: cmp.Or(p.Staff, cfg.Staff),
			Owner: p.Owner, DPIA: p.DPIA, Recipients: p.Recipients, ThirdCountries: p.ThirdCountries,
			Retention: Kept{terms.Audio, terms.Row, terms.Certificate}, Buffer: p.Buffer,
			Selected: cfg.SelectsFor(name), Rules: tellings(cfg, name, language),
			translated: p.Text[language] != "",
		})
	}
	return r, nil
}

// tellings are the rules that record for a purpose.
func tellings(cfg policy.Config, purpose, language string) (all []Telling) {
	for _, r := range cfg.Rules {
		if r.Record == nil || r.Record.None || !slices.Contains(r.Record.Names(), purpose) {
			continue
		}
		t := Telling{Rule: r.Name, Direction: r.Match.Direction, Exempt: r.Exempt, Forwarded: r.Forwarded, Parties: r.Record.Parties}
		if r.Record.Sample != 0 {
			t.Share = r.Record.Sample.String()
		}
		if a := r.Announce; a != nil {
			t.Prompt, t.To = a.Prompt, cmp.Or(a.To, policy.Far)
			t.OptIn, t.OptOut = a.OptIn, a.OptOut
			t.Said = inLanguage(cfg.Announcements[a.Prompt].Text, language, "")
		}
		if r.Keys != nil {
			t.Object = r.Keys.Object
		}
		all = append(all, t)
	}
	return all
}

// inLanguage is a text in a language, or else in the first that there is.
func inLanguage(texts map[string]string, language, otherwise string) string {
	if text := texts[language]; text != "" {
		return text
	}
	for _, other := range slices.Sorted(maps.Keys(texts)) {
		if texts[other] != "" {
			return texts[other]
		}
	}
	return otherwise
}

// Active are the activities for which something is recorded or selected.
func (r *Register) Active() []Activity {
	return slices.DeleteFunc(slices.Clone(r.Activities), func(a Activity) bool { return len(a.Rules) == 0 && !a.Selected })
}

// Press is what somebody may press, each key once.
type Press struct {
	Keys   []string
	Always bool // every rule of the activity has one
}

// OptIns are the keys by which somebody agrees, OptOuts those by which he refuses when he is told,
// Objections those by which he does so later; nil where there is none.
func (a Activity) OptIns() *Press     { return a.press(func(t Telling) string { return t.OptIn }) }
func (a Activity) OptOuts() *Press    { return a.press(func(t Telling) string { return t.OptOut }) }
func (a Activity) Objections() *Press { return a.press(func(t Telling) string { return t.Object }) }

func (a Activity) press(key func(Telling) string) *Press {
	p := &Press{Always: true}
	for _, t := range a.Rules {
		switch k := key(t); {
		case k == "":
			p.Always = false
		case !slices.Contains(p.Keys, k):
			p.Keys = append(p.Keys, k)
		}
	}
	if len(p.Keys) == 0 {
		return nil
	}
	return p
}

// Withdrawable reports whether some activity rests on consent.
func (r *Register) Withdrawable() bool {
	return slices.ContainsFunc(r.Active(), func(a Activity) bool { return a.Basis == policy.Consent })
}

// Objectionable reports whether article 21(1) gives a right to object to some activity.
func (r *Register) Objectionable() bool {
	return slices.ContainsFunc(r.Active(), func(a Activity) bool {
		return a.Basis == policy.LegitimateInterest || a.Basis == policy.PublicTask
	})
}

// Open names what a text should say and the configuration does not, by its keys: for who
// publishes it.
func (r *Register) Open(kind Kind) (open []string) {
	if r.Controller.Authority == "" && kind != Processing {
		open = append(open, "organisation.authority: where people may complain (AVG art. 13(2)(d))")
	}
	if r.Controller.DPO == "" {
		open = append(open, "organisation.dpo: the data protection officer, if there is one (AVG art. 13(1)(b), 30(1)(a))")
	}
	for _, a := range r.Active() {
		at := "purposes." + a.Purpose
		if !a.translated {
			open = append(open, fmt.Sprintf("%s.text.%s: its text is in another language", at, r.language))
		}
		if len(a.Recipients) == 0 {
			open = append(open, at+".recipients: who gets recordings besides the controller, if anybody (AVG art. 13(1)(e), 30(1)(d))")
		}
		if a.Staff == nil && kind != Callers {
			open = append(open, at+".staff: by what right our own staff are recorded (AVG art. 13, WOR art. 27(1)(l))")
		}
	}
	return open
}

// Languages are those that there are texts in.
var Languages = []string{"en", "nl"}

// Kind is which text.
type Kind string

const (
	Processing Kind = "register" // of article 30
	Callers    Kind = "callers"  // the notice to those outside
	Staff      Kind = "staff"    // the notice to our own
)

//go:embed *.tmpl
var texts embed.FS

// Write writes a text as Markdown.
func (r *Register) Write(w io.Writer, kind Kind) error {
	name := fmt.Sprintf("%s.%s.tmpl", kind, r.language)
	t, err := template.New(name).Funcs(template.FuncMap{
		"period": func(p policy.Period) string { return inWords(p, r.language) },
		"list":   func(items []string) string { return enumerate(items, and[r.language]) },
		"either": func(items []string) string { return enumerate(items, or[r.language]) },
		"line":   line,
		"day":    func(t time.Time) string { return t.Format(time.DateOnly) },
	}).ParseFS(texts, name)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// line makes one line of a text that a configuration wrapped.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }

var (
	and = map[string]string{"en": " and ", "nl": " en "}
	or  = map[string]string{"en": " or ", "nl": " of "}
)

// enumerate writes a, b and c.
func enumerate(items []string, last string) string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = line(item)
	}
	if len(lines) < 2 {
		return strings.Join(lines, "")
	}
	return strings.Join(lines[:len(lines)-1], ", ") + last + lines[len(lines)-1]
}

// units of a period, one and several, by language.
var units = map[string][6][2]string{
	"en": {{"year", "years"}, {"month", "months"}, {"day", "days"}, {"hour", "hours"}, {"minute", "minutes"}, {"second", "seconds"}},
	"nl": {{"jaar", "jaar"}, {"maand", "maanden"}, {"dag", "dagen"}, {"uur", "uur"}, {"minuut", "minuten"}, {"seconde", "seconden"}},
}

// inWords writes a period as people say it.
func inWords(p policy.Period, language string) string {
	clock := int(p.Clock / time.Second)
	var parts []string
	for i, n := range []int{p.Years, p.Months, p.Days, clock / 3600, clock / 60 % 60, clock % 60} {
		switch {
		case n == 1:
			parts = append(parts, "1 "+units[language][i][0])
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, units[language][i][1]))
		}
	}
	return enumerate(parts, and[language])
}

// Exempted reports whether some rule tells nobody.
func (r *Register) Exempted() bool {
	return slices.ContainsFunc(r.Active(), func(a Activity) bool {
		return slices.ContainsFunc(a.Rules, func(t Telling) bool { return t.Exempt != "" })
	})
}
