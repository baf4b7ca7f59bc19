package register

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/policy"
)

var update = flag.Bool("update", false, "rewrite testdata")

func period(t *testing.T, text string) policy.Period {
	t.Helper()
	p, err := policy.ParsePeriod(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// everything has each kind of purpose and rule.
func everything(t *testing.T) policy.Config {
	recorded := &policy.Announce{Prompt: "recorded", OptOut: "9"}
	return policy.Config{
		Purposes: map[string]policy.Purpose{
			"quality": {
				Text: map[string]string{"en": "Training\nand quality", "nl": "Training en kwaliteit"}, Basis: policy.LegitimateInterest,
				Balancing: &policy.Balancing{By: "privacy officer", On: policy.Date{Year: 2026, Month: 11, Day: 1}, Outcome: "Training outweighs", Review: policy.Date{Year: 2027, Month: 11, Day: 1}},
				Retention: policy.Retention{Audio: period(t, "P14D")}, Owner: "head of service", DPIA: "DPIA 2026-03",
				Recipients: []string{"Trainers BV", "Coaches BV", "Auditors BV"}, ThirdCountries: []string{"United Kingdom"},
			},
			"orders": {
				Text: map[string]string{"en": "Record of orders", "nl": "Vastleggen van orders"}, Basis: policy.LegalObligation, Law: "MiFID II, article 16(7)",
				Retention: policy.Retention{Audio: period(t, "P5Y"), Row: period(t, "P6Y"), Certificate: period(t, "P1Y1M1DT1H1M1S")}, OnFailure: policy.Refuse,
				Staff: &policy.Staff{Reason: "Only the owners take these calls"},
			},
			"recent":     {Text: map[string]string{"en": "What was just said"}, Basis: policy.Contract, Retention: policy.Retention{Audio: period(t, "PT2H")}, Buffer: true},
			"complaints": {Text: map[string]string{"en": "Complaints"}, Basis: policy.PublicTask, Statute: "Gemeentewet", Retention: policy.Retention{Audio: period(t, "P1Y")}},
			"research":   {Text: map[string]string{"en": "Research"}, Basis: policy.Consent, Consent: "by key", Retention: policy.Retention{Audio: period(t, "P2M")}},
		},
		Announcements: map[string]policy.Announcement{"recorded": {Text: map[string]string{"en": "This call is recorded."}, Files: map[string]string{"en": "x.wav"}}},
		Staff:         &policy.Staff{WorksCouncil: "OR 2026-14", Notified: policy.Date{Year: 2026, Month: 10, Day: 1}},
		Rules: []policy.Rule{
			{Name: "private", Match: policy.Match{To: []string{"299"}}, Record: &policy.Record{None: true}},
			{Name: "desk", Match: policy.Match{From: []string{"201"}}, Record: &policy.Record{Purpose: "orders"}, Exempt: "Told in the client agreement", Forwarded: "The desk's mobiles"},
			{Name: "agreed", Match: policy.Match{To: []string{"202"}}, Record: &policy.Record{Purpose: "research"}, Announce: &policy.Announce{Prompt: "recorded", OptIn: "1", To: policy.Both}},
			{Name: "in", Match: policy.Match{Direction: policy.Inbound}, Record: &policy.Record{Purposes: []string{"quality", "recent"}, Sample: 2500}, Announce: recorded, Keys: &policy.Keys{Object: "*9"}},
			{Name: "out", Match: policy.Match{Direction: policy.Outbound}, Record: &policy.Record{Purpose: "quality", Parties: policy.Far}, Announce: recorded},
		},
	}
}

func made(t *testing.T, cfg policy.Config, c Controller, m Measures, language string) *Register {
	t.Helper()
	rules, err := policy.Compile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(rules, c, m, language, time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	r.Policy = strings.Repeat("0", 64) // what is hashed is policy's to test
	return r
}

// Each text says, in each language, what the configuration does: testdata has them.
func TestTexts(t *testing.T) {
	c := Controller{Name: "Voorbeeld BV", Contact: "privacy@voorbeeld.example", DPO: "fg@voorbeeld.example", Authority: "Autoriteit Persoonsgegevens"}
	m := Measures{Sealed: true, Signalling: []string{"carrier"}, Audio: []string{"carrier"}, PlainAudio: []string{"pbx", "other"}, Timestamps: "https://tsa.example"}
	for _, language := range Languages {
		r := made(t, everything(t), c, m, language)
		for _, kind := range []Kind{Processing, Callers, Staff} {
			var got bytes.Buffer
			if err := r.Write(&got, kind); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join("testdata", string(kind)+"."+language+".md")
			if *update {
				if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// The least that a configuration may say gives whole texts too, and what they lack is named.
func TestOpen(t *testing.T) {
	cfg := everything(t)
	cfg.Staff = nil
	cfg.Rules = cfg.Rules[4:]
	cfg.Purposes["quality"] = policy.Purpose{Text: map[string]string{"en": "Training"}, Basis: policy.Contract, Retention: policy.Retention{Audio: period(t, "P14D")}}
	r := made(t, cfg, Controller{Name: "Voorbeeld BV", Contact: "x"}, Measures{}, "nl")
	for kind, want := range map[Kind][]string{
		Processing: {"organisation.dpo", "purposes.quality.text.nl", "purposes.quality.recipients", "purposes.quality.staff"},
		Callers:    {"organisation.authority", "organisation.dpo", "purposes.quality.text.nl", "purposes.quality.recipients"},
		Staff:      {"organisation.authority", "organisation.dpo", "purposes.quality.text.nl", "purposes.quality.recipients", "purposes.quality.staff"},
	} {
		var keys []string
		for _, open := range r.Open(kind) {
			key, _, _ := strings.Cut(open, ":")
			keys = append(keys, key)
		}
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
		var text bytes.Buffer
		if err := r.Write(&text, kind); err != nil || strings.Contains(text.String(), "<no value>") || strings.Contains(text.String(), "\n\n\n") {
			t.Errorf("%s, %v: got %s", kind, err, &text)
		}
	}
	if full := made(t, everything(t), Controller{Name: "a", Contact: "b", DPO: "c", Authority: "d"}, Measures{}, "en"); slices.ContainsFunc(full.Open(Processing), func(s string) bool { return !strings.Contains(s, "recipients") }) {
		t.Errorf("got %q, want only recipients", full.Open(Processing))
	}
}

// A machine reads the same; periods are as ISO 8601 has them.
func TestJSON(t *testing.T) {
	b, err := json.Marshal(made(t, everything(t), Controller{Name: "a", Contact: "b"}, Measures{}, "en"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"calls":"P90D"`, `"audio":"P5Y","row":"P6Y","certificate":"P1Y1M1DT1H1M1S"`, `"article":"6(1)(f)"`, `"selected":true`, `"share":"25%"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("got %s, want %s in it", b, want)
		}
	}
	if _, err := New(nil, Controller{}, Measures{}, "fr", time.Now()); err == nil || err.Error() != `language "fr": there are en and nl` {
		t.Errorf("got %v of a language that there is not", err)
	}
}
