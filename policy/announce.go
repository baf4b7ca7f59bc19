package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// When says at which moment of the call the announcement is played.
type When string

const (
	Early    When = "early"    // in early media, before the PBX rings; inbound only
	Ringing  When = "ringing"  // in early media, while the PBX rings; inbound only
	Connect  When = "connect"  // after we have answered the caller, before the PBX rings; inbound only
	Answered When = "answered" // when the callee has answered, before the parties hear each other
)

// defaultWhen is when an announcement is played if the rule does not say.
func defaultWhen(d Direction) When {
	if d == Inbound {
		return Early
	}
	return Answered
}

// Audience is who hears something, seen from our PBX.
type Audience string

const (
	Far  Audience = "far"  // the party outside
	Near Audience = "near" // the party at our PBX
	Both Audience = "both"
)

// Has reports whether the party of a side (far or near) is in the audience.
func (a Audience) Has(side Audience) bool { return a == Both || a == side }

// Meanwhile is what the near party hears while the far one alone is told after the answer.
type Meanwhile string

const (
	Silence     Meanwhile = "silence"
	RingingTone Meanwhile = "ringing"
)

// Announce is what is played before anything is recorded, and the keys by which who hears
// it may refuse or has to agree.
type Announce struct {
	Prompt string `yaml:"prompt" json:"prompt"`
	// Language of the prompt. Default: the only one it has, or the country's own.
	Language string `yaml:"language" json:"language"`
	// Languages by the beginning of the far party's number, such as {+32: fr}: the longest
	// that fits goes before Language.
	Languages map[string]string `yaml:"languages" json:"languages,omitempty"`
	// When it is played. Default: early for inbound calls, answered for outbound
	// ones. Early is the call's to put off where the trunk carries no early media.
	When When `yaml:"when" json:"when,omitempty"`
	// To whom it is played: far, near or both. Nothing is recorded before all of them
	// have heard it out. Default: far.
	To Audience `yaml:"to" json:"to,omitempty"`
	// OptOut is the key that lets a listener refuse: 0 to 9, * or #. Default: none.
	OptOut string `yaml:"opt_out" json:"opt_out,omitempty"`
	// OptIn is the key that every listener has to press: who does not is not recorded.
	// Default: none.
	OptIn string `yaml:"opt_in" json:"opt_in,omitempty"`
	// Within is how long after the prompt's end OptIn is waited for. Default: 8s.
	Within time.Duration `yaml:"within" json:"within,omitempty"`
	// Replays is how often the prompt is played from its start again after something
	// interrupted it. Default: 0, the call goes on unrecorded.
	Replays int `yaml:"replays" json:"replays,omitempty"`
	// Meanwhile is what the near party, if it is not told itself, hears after the answer:
	// silence or ringing. Default: silence.
	Meanwhile Meanwhile `yaml:"meanwhile" json:"meanwhile,omitempty"`
	// Notice has the recording begin with the prompt, as it was made, not as it was heard.
	// Default: false.
	Notice bool `yaml:"notice" json:"notice,omitempty"`
	// Transfers has a far party who comes into the call later told too, and recorded from
	// then on. Default: false, the recording ends.
	Transfers bool `yaml:"transfers" json:"transfers,omitempty"`
}

const (
	defaultWithin = 8 * time.Second
	maxWithin     = time.Minute
	maxReplays    = 5
)

// effective fills in what is left to defaults, for a far party with that number.
func (a Announce) effective(d Direction, far string) Announce {
	a.When = cmp.Or(a.When, defaultWhen(d))
	a.To = cmp.Or(a.To, Far)
	a.Meanwhile = cmp.Or(a.Meanwhile, Silence)
	if a.OptIn != "" {
		a.Within = cmp.Or(a.Within, defaultWithin)
	}
	longest := ""
	for prefix, language := range a.Languages {
		if len(prefix) > len(longest) && strings.HasPrefix(far, prefix) {
			longest, a.Language = prefix, language
		}
	}
	return a
}

// Keys are what parties may press while they are recorded: one to four keys each, of 0 to
// 9, * and #.
type Keys struct {
	// Object lets the far party object at any time: capture stops, what was captured is
	// destroyed, and the call goes on.
	Object string `yaml:"object" json:"object,omitempty"`
	// Confirm is the announcement that tells of it. Default: a tone.
	Confirm string `yaml:"confirm" json:"confirm,omitempty"`
	// Pause and Resume are the near party's. Resume may be the same as Pause, which is its
	// default.
	Pause  string `yaml:"pause" json:"pause,omitempty"`
	Resume string `yaml:"resume" json:"resume,omitempty"`
	// Select is the near party's too: what is recorded into a buffer is kept for the purpose
	// SelectFor.
	Select    string `yaml:"select" json:"select,omitempty"`
	SelectFor string `yaml:"select_for" json:"select_for,omitempty"`
	// PauseLimit is after how long a pause ends by itself, with an alarm. Default: 5m.
	PauseLimit time.Duration `yaml:"pause_limit" json:"pause_limit,omitempty"`
	// Paused is what becomes of a pause's time in the recording: silence or cut. Default:
	// silence.
	Paused Paused `yaml:"paused" json:"paused,omitempty"`
}

// Paused says what a pause is in the recording.
type Paused string

const (
	PausedSilence Paused = "silence" // of the same length
	PausedCut     Paused = "cut"     // nothing: what follows is moved up
)

const (
	defaultPauseLimit = 5 * time.Minute
	maxPauseLimit     = 4 * time.Hour
	maxKeys           = 4
)

// effective fills in what is left to defaults.
func (k Keys) effective() Keys {
	k.Resume = cmp.Or(k.Resume, k.Pause)
	k.PauseLimit = cmp.Or(k.PauseLimit, defaultPauseLimit)
	k.Paused = cmp.Or(k.Paused, PausedSilence)
	return k
}

// Beep is a short tone that reminds the parties of the recording.
type Beep struct {
	Every time.Duration `yaml:"every" json:"every"`
	To    Audience      `yaml:"to" json:"to,omitempty"` // default: both
}

const minBeep, maxBeep = 5 * time.Second, 10 * time.Minute

// Control is something that the PBX or an operator may do to a recording, by a header or
// over HTTP.
type Control string

const (
	ControlPause   Control = "pause"   // pause and resume
	ControlStop    Control = "stop"    // end it: what there is is kept
	ControlDiscard Control = "discard" // end it and destroy what there is
	ControlOff     Control = "off"     // by header: not to begin it
	ControlPurpose Control = "purpose" // by header: to choose another purpose of the rule's
	ControlTag     Control = "tag"     // to note something with it
	ControlSelect  Control = "select"  // to keep what goes into a buffer for another purpose
)

var controls = []Control{ControlPause, ControlStop, ControlDiscard, ControlOff, ControlPurpose, ControlTag, ControlSelect}

func (c Config) validateAnnounce(f faults, a Announce, direction Direction) {
	if a.Prompt == "" {
		f.at("prompt").add(missing)
	} else if prompt, ok := c.Announcements[a.Prompt]; !ok {
		f.at("prompt").add("there is no announcement %.40q%s", a.Prompt, known(c.Announcements))
	} else {
		languages := strings.Join(slices.Sorted(maps.Keys(prompt.Files)), ", ")
		language, ok := c.language(a)
		switch {
		case ok || len(prompt.Files) == 0:
		case a.Language == "":
			f.at("language").add("missing: the prompt has %s", languages)
		default:
			f.at("language").add("the prompt has no %.40q; it has %s", language, languages)
		}
		for _, prefix := range slices.Sorted(maps.Keys(a.Languages)) {
			at := f.at("languages").at(prefix)
			if digits, plus := strings.CutPrefix(prefix, "+"); !plus || digits == "" || strings.Trim(digits, "0123456789") != "" {
				at.add("is not the beginning of a number such as +32")
			}
			if _, ok := prompt.Files[a.Languages[prefix]]; !ok && len(prompt.Files) > 0 {
				at.add("the prompt has no %.40q; it has %s", a.Languages[prefix], languages)
			}
		}
	}
	switch a.When {
	case "", Answered:
	case Early, Ringing, Connect:
		if direction != Inbound {
			f.at("when").add("%s plays to the caller before the PBX has answered: match direction: %s, or leave when out", a.When, Inbound)
		}
	default:
		f.at("when").add("%.40q is none of %s, %s, %s, %s", string(a.When), Early, Ringing, Connect, Answered)
	}
	f.at("to").audience(a.To)
	f.at("opt_out").key(a.OptOut)
	f.at("opt_in").key(a.OptIn)
	if a.OptIn != "" && a.OptIn == a.OptOut {
		f.at("opt_out").add("%s agrees already: opt_in", a.OptIn)
	}
	switch {
	case a.Within == 0:
	case a.OptIn == "":
		f.at("within").add("there is nothing to wait for: give opt_in")
	case a.Within < time.Second || a.Within > maxWithin:
		f.at("within").add("%v is not between 1s and %v", a.Within, maxWithin)
	}
	if a.Replays < 0 || a.Replays > maxReplays {
		f.at("replays").add("%d is not between 0 and %d", a.Replays, maxReplays)
	}
	switch a.Meanwhile {
	case "", Silence, RingingTone:
	default:
		f.at("meanwhile").add("%.40q is neither %s nor %s", string(a.Meanwhile), Silence, RingingTone)
	}
}

func (f faults) audience(a Audience) {
	switch a {
	case "", Far, Near, Both:
	default:
		f.add("%.40q is none of %s, %s, %s", string(a), Far, Near, Both)
	}
}

const keypad = "0123456789*#"

// key wants one key, or none.
func (f faults) key(key string) {
	if key != "" && (len(key) != 1 || !strings.Contains(keypad, key)) {
		f.add("%.40q is not a key: 0 to 9, * or #", key)
	}
}

func (c Config) validateKeys(f faults, k Keys) {
	effective := k.effective()
	all := []struct{ key, keys string }{{"object", k.Object}, {"pause", k.Pause}, {"resume", k.Resume}, {"select", k.Select}}
	for _, one := range all {
		if one.keys != "" && (len(one.keys) > maxKeys || strings.Trim(one.keys, keypad) != "") {
			f.at(one.key).add("%.40q is not one to %d keys of 0 to 9, * and #", one.keys, maxKeys)
		}
	}
	if k.Pause == "" {
		for _, of := range []struct {
			key   string
			given bool
		}{{"resume", k.Resume != ""}, {"pause_limit", k.PauseLimit != 0}, {"paused", k.Paused != ""}} {
			if of.given {
				f.at(of.key).add("there is no pause: give pause")
			}
		}
	}
	if k.Pause != effective.Resume && (strings.HasPrefix(k.Pause, effective.Resume) || strings.HasPrefix(effective.Resume, k.Pause)) {
		f.at("resume").add("%s and %s begin alike: nobody could press the longer one", k.Pause, effective.Resume)
	}
	switch to, ok := c.Purposes[k.SelectFor]; {
	case k.Select == "" && k.SelectFor == "":
	case k.Select == "":
		f.at("select_for").add("there is no key for it: give select")
	case k.SelectFor == "":
		f.at("select_for").add("missing: the purpose that select keeps it for")
	case !ok:
		f.at("select_for").add("there is no purpose %.40q%s", k.SelectFor, known(c.Purposes))
	case to.Buffer:
		f.at("select_for").add("%s is a buffer itself", k.SelectFor)
	}
	for _, one := range all {
		if k.Select != "" && one.key != "select" && one.key != "object" && one.keys != "" && (strings.HasPrefix(k.Select, one.keys) || strings.HasPrefix(one.keys, k.Select)) {
			f.at("select").add("%s and %s (%s) begin alike", k.Select, one.keys, one.key)
		}
	}
	if k.PauseLimit != 0 && (k.PauseLimit < time.Second || k.PauseLimit > maxPauseLimit) {
		f.at("pause_limit").add("%v is not between 1s and %v", k.PauseLimit, maxPauseLimit)
	}
	switch k.Paused {
	case "", PausedSilence, PausedCut:
	default:
		f.at("paused").add("%.40q is neither %s nor %s", string(k.Paused), PausedSilence, PausedCut)
	}
	switch _, ok := c.Announcements[k.Confirm]; {
	case k.Confirm == "":
	case !ok:
		f.at("confirm").add("there is no announcement %.40q%s", k.Confirm, known(c.Announcements))
	case k.Object == "":
		f.at("confirm").add("there is nothing to confirm: give object")
	default:
		if _, ok := c.language(Announce{Prompt: k.Confirm}); !ok {
			f.at("confirm").add("the announcement %s has several languages and none of them is the country's", k.Confirm)
		}
	}
}

func (b Beep) validate(f faults) {
	if b.Every < minBeep || b.Every > maxBeep {
		f.at("every").add("%v is not between %v and %v", b.Every, minBeep, maxBeep)
	}
	f.at("to").audience(b.To)
}

func validateControls(f faults, given []Control) {
	for i, one := range given {
		if !slices.Contains(controls, one) {
			words := make([]string, len(controls))
			for i, c := range controls {
				words[i] = string(c)
			}
			f.index(i).add("%.40q is none of %s", string(one), oneOf(words))
		}
	}
}

// ConfirmLanguage is the language in which an objection is confirmed to a far party who was
// told in that one: the same where the announcement has it.
func (p *Policy) ConfirmLanguage(confirm, told string) string {
	if _, ok := p.cfg.Announcements[confirm].Files[told]; ok {
		return told
	}
	language, _ := p.cfg.language(Announce{Prompt: confirm})
	return language
}
