package policy

import (
	"testing"
	"time"
)

// announcing is a configuration with one rule, changed.
func announcing(change func(*Rule)) Config {
	r := Rule{Name: "all", Record: &Record{Purpose: "quality"}, Match: Match{Direction: Inbound}, Announce: &Announce{Prompt: "recorded", Language: "nl"}}
	change(&r)
	return Config{
		Purposes: map[string]Purpose{"quality": {Text: map[string]string{"nl": "x"}, Basis: Contract, Retention: Retention{Audio: Period{Days: 14}}}},
		Announcements: map[string]Announcement{
			"recorded": {Text: map[string]string{"nl": "x", "en": "x"}, Files: map[string]string{"nl": "nl.wav", "en": "en.wav"}},
			"stopped":  {Text: map[string]string{"nl": "x"}, Files: map[string]string{"nl": "s.wav"}},
		},
		Rules: []Rule{r},
	}
}

// What is said of announcements, keys, beeps and controls makes sense, or is a fault at its key.
func TestAnnounceFaults(t *testing.T) {
	for _, test := range []struct {
		want   string // of the first fault; "" for none
		change func(*Rule)
	}{
		{"", func(r *Rule) {}},
		{"", func(r *Rule) { r.Announce.When, r.Announce.To = Connect, Both }},
		{"rules[0].announce.when", func(r *Rule) { r.Match.Direction, r.Announce.When = Outbound, Ringing }},
		{"rules[0].announce.when", func(r *Rule) { r.Announce.When = "later" }},
		{"rules[0].announce.to", func(r *Rule) { r.Announce.To = "all" }},
		{"rules[0].announce.opt_in", func(r *Rule) { r.Announce.OptIn = "12" }},
		{"rules[0].announce.opt_out", func(r *Rule) { r.Announce.OptIn, r.Announce.OptOut = "1", "1" }},
		{"rules[0].announce.within", func(r *Rule) { r.Announce.Within = time.Second }},
		{"rules[0].announce.within", func(r *Rule) { r.Announce.OptIn, r.Announce.Within = "1", time.Hour }},
		{"rules[0].announce.replays", func(r *Rule) { r.Announce.Replays = 6 }},
		{"rules[0].announce.meanwhile", func(r *Rule) { r.Announce.Meanwhile = "music" }},
		{"rules[0].announce.languages.31", func(r *Rule) { r.Announce.Languages = map[string]string{"31": "nl"} }},
		{"rules[0].announce.languages.+32", func(r *Rule) { r.Announce.Languages = map[string]string{"+32": "fr"} }},
		{"", func(r *Rule) { r.Keys = &Keys{Object: "*9", Pause: "*1", Resume: "*2", Confirm: "stopped"} }},
		{"", func(r *Rule) { r.Keys = &Keys{Pause: "*1"} }},
		{"rules[0].keys.object", func(r *Rule) { r.Keys = &Keys{Object: "A"} }},
		{"rules[0].keys.pause", func(r *Rule) { r.Keys = &Keys{Pause: "12345"} }},
		{"rules[0].keys.resume", func(r *Rule) { r.Keys = &Keys{Pause: "*1", Resume: "*12"} }},
		{"rules[0].keys.pause_limit", func(r *Rule) { r.Keys = &Keys{PauseLimit: time.Minute} }},
		{"rules[0].keys.pause_limit", func(r *Rule) { r.Keys = &Keys{Pause: "1", PauseLimit: time.Millisecond} }},
		{"rules[0].keys.paused", func(r *Rule) { r.Keys = &Keys{Pause: "1", Paused: "loud"} }},
		{"rules[0].keys.confirm", func(r *Rule) { r.Keys = &Keys{Object: "9", Confirm: "nowhere"} }},
		{"rules[0].keys.confirm", func(r *Rule) { r.Keys = &Keys{Confirm: "stopped"} }},
		{"rules[0].beep.every", func(r *Rule) { r.Beep = &Beep{Every: time.Second} }},
		{"rules[0].beep.to", func(r *Rule) { r.Beep = &Beep{Every: time.Minute, To: "nobody"} }},
		{"rules[0].control[1]", func(r *Rule) { r.Control = []Control{ControlStop, "hang up"} }},
		{"rules[0].keys", func(r *Rule) { r.Record, r.Announce, r.Keys = nil, nil, &Keys{Object: "9"} }},
	} {
		got := announcing(test.change).Validate()
		switch {
		case test.want == "" && len(got) > 0:
			t.Errorf("got %v, want no fault", got)
		case test.want != "" && (len(got) == 0 || got[0].Path != test.want):
			t.Errorf("got %v, want a fault at %s", got, test.want)
		}
	}
}

// A decision has the defaults filled in, and the language of the far party's number.
func TestAnnounceDecision(t *testing.T) {
	p, err := Compile(announcing(func(r *Rule) {
		r.Match.Direction = ""
		r.Announce.Languages = map[string]string{"+4": "nl", "+44": "en"}
		r.Announce.OptIn = "1"
		r.Keys, r.Beep = &Keys{Pause: "*1", Object: "9", Confirm: "stopped"}, &Beep{Every: time.Minute}
	}))
	if err != nil {
		t.Fatal(err)
	}
	d := p.Decide(Facts{Direction: Outbound, FromSide: "internal", ToSide: "external", Caller: "201", Callee: "+442079460000"})
	a := d.Announce
	if a == nil || a.When != Answered || a.To != Far || a.Language != "en" || a.Within != defaultWithin || a.Meanwhile != Silence {
		t.Errorf("got %+v, want English after the answer, to the far party", a)
	}
	if d.Keys.Resume != "*1" || d.Keys.PauseLimit != defaultPauseLimit || d.Keys.Paused != PausedSilence || d.Beep.To != Both {
		t.Errorf("got %+v and %+v, want the defaults filled in", d.Keys, d.Beep)
	}
	if d := p.Decide(Facts{Direction: Inbound, FromSide: "external", ToSide: "internal", Caller: "+31612345678"}); d.Announce.Language != "nl" || d.Announce.When != Early {
		t.Errorf("got %+v, want Dutch and early", d.Announce)
	}
	if got := p.ConfirmLanguage("stopped", "en") + p.ConfirmLanguage("recorded", "en"); got != "nlen" {
		t.Errorf("got %s, want what there is, and what was heard before", got)
	}
}
