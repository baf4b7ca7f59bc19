package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// customers is the rule of office that records for quality.
const customers = 6

func called(at string) Facts {
	t, err := time.Parse(time.DateOnly, at)
	if err != nil {
		panic(err)
	}
	return Facts{Direction: Inbound, Caller: "+31612345678", Callee: "+31201234567", Time: t.Add(12 * time.Hour)}
}

// A balancing that was not made again warns from the day of its review, and after the grace
// carries no recording any more.
func TestOverdueBalancing(t *testing.T) {
	for _, c := range []struct {
		at     string
		grace  Period
		warns  string
		record bool
	}{
		{"2027-10-31", Period{}, "", true},
		{"2027-11-01", Period{}, "was to be made again on 2027-11-01; from 2028-01-30 on nothing more", true},
		{"2028-01-29", Period{}, "was to be made again on 2027-11-01; from 2028-01-30 on nothing more", true},
		{"2028-01-30", Period{}, "nothing is recorded for quality since 2028-01-30", false},
		{"2027-11-01", Period{Days: 1}, "from 2027-11-02 on", true},
		{"2027-11-02", Period{Days: 1}, "nothing is recorded for quality since 2027-11-02", false},
	} {
		cfg := office()
		cfg.ReviewGrace, cfg.Staff = c.grace, &Staff{Reason: "owners only"}
		facts := called(c.at)
		d := compile(t, cfg).Decide(facts)
		if d.Record != c.record || !c.record && (d.Reason != IsOverdue || d.OnFailure != Continue || d.Rule != "customers") {
			t.Errorf("%s, grace %v: got %+v, want record %v", c.at, c.grace, d, c.record)
		}
		warnings := cfg.Warnings(facts.Time)
		if c.warns == "" && len(warnings) > 0 || c.warns != "" && (len(warnings) != 1 || warnings[0].Path != "purposes.quality.balancing.review" || !strings.Contains(warnings[0].Message, c.warns)) {
			t.Errorf("%s, grace %v: got warnings %v, want %q", c.at, c.grace, warnings, c.warns)
		}
	}
}

// Whether a call goes on whose purpose has lost its balancing is the purpose's to say.
func TestOverdueRefuses(t *testing.T) {
	cfg := office()
	quality := cfg.Purposes["quality"]
	quality.OnFailure = Refuse
	cfg.Purposes["quality"] = quality
	if d := compile(t, cfg).Decide(called("2030-01-01")); d.Record || d.Reason != IsOverdue || d.OnFailure != Refuse {
		t.Errorf("got %+v, want a refusal", d)
	}
}

// A recording for several purposes is kept until the last is over; one that is overdue, or
// withdrawn, leaves the others.
func TestSeveralPurposes(t *testing.T) {
	cfg := office()
	cfg.Rules[customers].Record = &Record{Purposes: []string{"quality", "orders"}}
	p := compile(t, cfg)
	quality, orders := Term{Purpose: "quality", Basis: LegitimateInterest, Retention: Period{Days: 14}, Certificate: Period{Years: 10}}, Term{Purpose: "orders", Basis: LegalObligation, Retention: Period{Years: 5}, Certificate: Period{Years: 10}}
	d := p.Decide(called("2026-11-24"))
	if diff := cmp.Diff(Terms{quality, orders}, d.Terms); diff != "" {
		t.Error(diff)
	}
	if !d.Record || d.Purpose != "orders" || d.Basis != LegalObligation || d.Retention != orders.Retention || d.OnFailure != Refuse {
		t.Errorf("got %+v, want what keeps it longest, and the strictest on_failure", d)
	}
	if d := p.Decide(called("2030-01-01")); !d.Record || len(d.Terms) != 1 || d.Purpose != "orders" {
		t.Errorf("got %+v, want what is not overdue", d)
	}
	end := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	left := d.Terms.Without("orders")
	if last, expires := left.Last(end); last != quality || !expires.Equal(time.Date(2026, 12, 8, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("without orders: got %v until %v, want quality for a fortnight", last, expires)
	}
	if len(d.Terms) != 2 {
		t.Error("Without changed what it was asked of")
	}
	if last, expires := left.Without("quality").Last(end); last != (Term{}) || !expires.Equal(end) {
		t.Errorf("without both: got %v until %v, want nothing and the end of the call", last, expires)
	}
}

// One purpose is the same policy, written either way.
func TestOnePurpose(t *testing.T) {
	cfg := office()
	want := compile(t, cfg).Version()
	cfg.Rules[customers].Record = &Record{Purposes: []string{"quality"}}
	if got := compile(t, cfg).Version(); got != want {
		t.Errorf("got version %s, want %s", got, want)
	}
	cfg.ReviewGrace = Period{Days: 90}
	if got := compile(t, cfg).Version(); got != want {
		t.Errorf("with the grace written out: got version %s, want %s", got, want)
	}
}

// Nothing said of our own side warns, once for each purpose that is recorded for.
func TestStaffWarnings(t *testing.T) {
	cfg := office()
	cfg.Purposes["unused"] = cfg.Purposes["orders"]
	orders := cfg.Purposes["orders"]
	orders.Staff = &Staff{WorksCouncil: "OR 2026-14", Notified: Date{2026, 10, 1}}
	cfg.Purposes["orders"] = orders
	warnings := cfg.Warnings(called("2026-11-24").Time)
	if len(warnings) != 1 || warnings[0].Path != "purposes.quality.staff" {
		t.Errorf("got %v, want a warning of quality", warnings)
	}
	cfg.Staff = &Staff{Reason: "owners only"}
	if warnings := cfg.Warnings(called("2026-11-24").Time); warnings != nil {
		t.Errorf("got %v, want none", warnings)
	}
}

// Today's spelling of article 6(1)(d), and the one before.
func TestVitalInterests(t *testing.T) {
	for _, text := range []string{"vital_interest", "vital_interests"} {
		var b Basis
		if err := b.UnmarshalText([]byte(text)); err != nil || b != VitalInterests {
			t.Errorf("%s: got %s, %v", text, b, err)
		}
	}
}

// Consent by a key needs no other evidence, where every rule of the purpose asks for it.
func TestConsentByKey(t *testing.T) {
	cfg := office()
	cfg.Purposes["quality"] = Purpose{Text: map[string]string{"nl": "Training"}, Basis: Consent, Retention: Retention{Audio: Period{Days: 14}}}
	if faults := cfg.Validate(); len(faults) != 1 || faults[0].Path != "purposes.quality.consent" {
		t.Errorf("got %v, want consent's evidence missing", faults)
	}
	for i, r := range cfg.Rules {
		if r.Announce != nil {
			r.Announce.OptIn = "1"
			cfg.Rules[i] = r
		}
	}
	if faults := cfg.Validate(); faults != nil {
		t.Errorf("with a key in every rule: got %v", faults)
	}
	cfg.Rules[customers].Announce.OptIn = ""
	if faults := cfg.Validate(); len(faults) != 1 {
		t.Errorf("with one rule that does not ask: got %v, want a fault", faults)
	}
}

// What is said to have been done was not done on a day that is yet to come.
func TestForetold(t *testing.T) {
	for _, c := range []struct {
		on, notified, own Date
		now               time.Time
		want              []string
	}{
		{Date{2026, 11, 24}, Date{2026, 11, 24}, Date{2026, 11, 24}, time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), nil},
		{Date{2026, 11, 24}, Date{2026, 11, 24}, Date{2026, 11, 24}, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), nil}, // UTC+14
		{Date{2026, 11, 24}, Date{2026, 11, 23}, Date{2026, 11, 23}, time.Date(2026, 11, 23, 9, 59, 0, 0, time.UTC), []string{
			"purposes.quality.balancing.on: 2026-11-24 is yet to come (it is 2026-11-23 by this machine's clock): give the day on which it was done",
		}},
		{Date{2090, 1, 1}, Date{2099, 1, 1}, Date{2098, 1, 1}, called("2026-11-24").Time, []string{
			"purposes.quality.balancing.on: 2090-01-01 is yet to come (it is 2026-11-24 by this machine's clock): give the day on which it was done",
			"purposes.quality.staff.notified: 2098-01-01 is yet to come (it is 2026-11-24 by this machine's clock): give the day on which it was done",
			"staff.notified: 2099-01-01 is yet to come (it is 2026-11-24 by this machine's clock): give the day on which it was done",
		}},
	} {
		cfg := office()
		quality := cfg.Purposes["quality"]
		quality.Balancing.On, quality.Balancing.Review = c.on, Date{2199, 1, 1}
		quality.Staff = &Staff{WorksCouncil: "OR 2026-14", Notified: c.own}
		cfg.Purposes["quality"] = quality
		cfg.Staff = &Staff{WorksCouncil: "OR 2026-14", Notified: c.notified}
		if diff := cmp.Diff(c.want, messages(compile(t, cfg).Prove(officeTrunks, c.now).Faults)); diff != "" {
			t.Errorf("%v: %s", c.now, diff)
		}
	}
}

// A balancing that holds for more than three years, and more than ten years of retention that no
// law demands, are warned of.
func TestLongWarnings(t *testing.T) {
	for _, c := range []struct {
		review Date
		keep   Retention
		basis  Basis
		want   []string
	}{
		{Date{2029, 11, 1}, Retention{Audio: Period{Years: 10}}, LegitimateInterest, nil},
		{Date{2029, 11, 2}, Retention{Audio: Period{Days: 14}}, LegitimateInterest, []string{"purposes.quality.balancing.review: 2029-11-02 is more than 3 years after the balancing was made: make it again sooner"}},
		{Date{2027, 11, 1}, Retention{Audio: Period{Years: 90}}, LegitimateInterest, []string{"purposes.quality.retention: P90Y is more than 10 years, and basis legitimate_interest obliges to none: say less, or basis legal_obligation with the law"}},
		{Date{2027, 11, 1}, Retention{Audio: Period{Days: 14}, Row: Period{Years: 10, Days: 1}}, LegitimateInterest, []string{"purposes.quality.retention: P10Y1D is more than 10 years, and basis legitimate_interest obliges to none: say less, or basis legal_obligation with the law"}},
		{Date{}, Retention{Audio: Period{Years: 90}}, LegalObligation, nil},
	} {
		cfg := office()
		cfg.Staff = &Staff{Reason: "owners only"}
		quality := cfg.Purposes["quality"]
		quality.Basis, quality.Retention, quality.Balancing.Review = c.basis, c.keep, c.review
		if c.basis == LegalObligation {
			quality.Balancing, quality.Law = nil, "a law"
		}
		cfg.Purposes["quality"] = quality
		compile(t, cfg)
		if diff := cmp.Diff(c.want, messages(cfg.Warnings(called("2026-11-24").Time))); diff != "" {
			t.Errorf("review %v, %v: %s", c.review, c.keep, diff)
		}
	}
}
