package call

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
)

// Each part is kept for its own calendar time; the numbers never go before the audio, nor
// the proof before them. What a row says comes to the same.
func TestRetention(t *testing.T) {
	at := func(text string) time.Time {
		if text == "" {
			return time.Time{}
		}
		instant, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return instant.Add(12 * time.Hour)
	}
	for _, c := range []struct {
		audio, numbers, certificate string
		ended                       string
		expires, row, proof         string
	}{
		{"P14D", "", "P10Y", "2026-11-01", "2026-11-15", "", "2036-11-15"},
		{"P14D", "P90D", "P10Y", "2026-11-01", "2026-11-15", "2027-01-30", "2036-11-15"},
		{"P14D", "P7D", "P10Y", "2026-11-01", "2026-11-15", "", "2036-11-15"},
		{"P14D", "P1Y", "P1M", "2026-11-01", "2026-11-15", "2027-11-01", "2027-11-01"},
		{"P1M", "P3M", "P1Y", "2027-11-30", "2027-12-30", "2028-02-29", "2028-12-30"}, // a leap day, a month that ends early
	} {
		var d policy.Decision
		for text, into := range map[string]*policy.Period{c.audio: &d.Retention, c.numbers: &d.Numbers, c.certificate: &d.Certificate} {
			if text == "" {
				continue
			}
			var err error
			if *into, err = policy.ParsePeriod(text); err != nil {
				t.Fatal(err)
			}
		}
		var row store.Row
		retentionOf(&d).write(&row)
		read, err := retentionIn(&row)
		if err != nil {
			t.Fatal(err)
		}
		read.expire(&row, at(c.ended))
		want := store.Row{Retention: c.audio, RowRetention: c.numbers, CertificateRetention: c.certificate,
			Expires: at(c.expires), RowExpires: at(c.row), CertificateExpires: at(c.proof)}
		if diff := cmp.Diff(want, row); diff != "" {
			t.Errorf("%+v, -want +got:\n%s", c, diff)
		}
	}
	if _, err := retentionIn(&store.Row{}); err == nil {
		t.Error("got no error for a row without retention")
	}
}

// Who was told and pressed the key agreed; one who did not is enough that nobody did.
func TestMade(t *testing.T) {
	pressed := store.Announcement{Complete: true, OptedIn: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	told, cut := store.Announcement{Complete: true}, store.Announcement{}
	for _, c := range []struct {
		own     *store.Announcement
		further []store.Announcement
		want    bool
	}{
		{nil, nil, false}, {&store.Announcement{Exempt: "in writing"}, nil, false}, {&cut, nil, false}, {&told, nil, false},
		{&pressed, nil, true}, {&pressed, []store.Announcement{cut, pressed}, true}, {&pressed, []store.Announcement{told, pressed}, false},
		{&told, []store.Announcement{pressed}, false},
	} {
		row := store.Row{Rule: "customers", Purpose: "window", Direction: "inbound", Announcement: c.own, Further: c.further}
		row.Caller = "+31612345678"
		want := policy.Made{Rule: "customers", Purposes: []string{"window"}, Direction: policy.Inbound, Caller: "+31612345678", Agreed: c.want}
		if diff := cmp.Diff(want, Made(&row)); diff != "" {
			t.Errorf("%+v, %+v: %s", c.own, c.further, diff)
		}
	}
}

// A recording that is selected lives as long as the longest of its purposes, and losing
// one shortens it at once: to what the others say, or to now.
func TestSelectAndWithdraw(t *testing.T) {
	ended := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	buffer := policy.Term{Purpose: "window", Basis: policy.Contract, Retention: policy.Period{Days: 14}, Certificate: policy.Period{Years: 10}}
	complaint := policy.Term{Purpose: "complaint", Basis: policy.Contract, Retention: policy.Period{Months: 6}, Numbers: policy.Period{Years: 1}}
	row := store.Row{ID: "id", Ended: ended}
	if err := settle(&row, []store.Term{kept(buffer)}); err != nil {
		t.Fatal(err)
	}
	before := row.Clone()
	if err := Select(&row, complaint); err != nil {
		t.Fatal(err)
	}
	if row.Purpose != "complaint" || row.Basis != "contract" || !row.Expires.Equal(ended.AddDate(0, 6, 0)) || !row.RowExpires.Equal(ended.AddDate(1, 0, 0)) || len(row.Terms) != 2 {
		t.Errorf("got %+v, want it kept for the complaint", row)
	}
	if err := Select(&row, complaint); err == nil {
		t.Error("got no error for a purpose that it has")
	}
	if err := Withdraw(&row, "quality"); err == nil {
		t.Error("got no error for a purpose that it has not")
	}
	if err := Withdraw(&row, "complaint"); err != nil {
		t.Fatal(err)
	}
	before.Terms = []store.Term{kept(buffer), kept(complaint)}
	before.Terms[1].Withdrawn = true
	if diff := cmp.Diff(before, row); diff != "" {
		t.Errorf("row that lost the purpose again, -want +got:\n%s", diff)
	}
	if err := Withdraw(&row, "window"); err != nil || row.Expires.After(time.Now()) || row.Purpose != "window" {
		t.Errorf("got %+v, %v, want it due, and for what it was kept", row, err)
	}
	for _, gone := range []policy.Term{complaint, buffer} {
		if err := Select(&row, gone); err == nil || !strings.Contains(err.Error(), "was withdrawn") {
			t.Errorf("got %v, want that %s is not given back", err, gone.Purpose)
		}
	}
	// What is selected after that is for its own time, not for what was withdrawn.
	law := policy.Term{Purpose: "orders", Basis: policy.LegalObligation, Retention: policy.Period{Days: 7}}
	if err := Select(&row, law); err != nil || row.Purpose != "orders" || !row.Expires.Equal(ended.AddDate(0, 0, 7)) || len(row.AllTerms()) != 1 {
		t.Errorf("got %+v, %v, want it kept for orders alone", row, err)
	}
	if err := Withdraw(&row, "orders"); err == nil || !strings.Contains(err.Error(), "the law obliges") || row.AllTerms()[0].Purpose != "orders" {
		t.Errorf("got %v, want that the law obliges", err)
	}
	if err := Select(&store.Row{Purpose: "window"}, complaint); err == nil {
		t.Error("got no error for a call that goes on")
	}
}
