package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParsePeriod(t *testing.T) {
	for _, c := range []struct {
		text string
		want Period
	}{
		{"P14D", Period{Days: 14}},
		{"P6M", Period{Months: 6}},
		{"P5Y", Period{Years: 5}},
		{"P1Y6M", Period{Years: 1, Months: 6}},
		{"P1Y6M3DT4H5M6S", Period{1, 6, 3, 4*time.Hour + 5*time.Minute + 6*time.Second}},
		{"P2W", Period{Days: 14}},
		{"PT5S", Period{Clock: 5 * time.Second}},
		{"PT90M", Period{Clock: 90 * time.Minute}},
		{"P0Y14D", Period{Days: 14}},
		{"P100Y", Period{Years: 100}},
	} {
		if got, err := ParsePeriod(c.text); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
}

func TestParsePeriodFaults(t *testing.T) {
	const form = "not an ISO 8601 period such as P14D, P6M or P1Y6M"
	for text, want := range map[string]string{
		"":                   form,
		"14D":                form,
		"14 days":            form,
		"P":                  form,
		"PT":                 form,
		"P1DT":               form,
		"PD":                 form,
		"P6M1Y":              form,
		"P1D1D":              form,
		"P1H":                form,
		"PT1D":               form,
		"P1W2D":              form,
		"PW":                 form,
		"p14d":               form,
		" P14D":              form,
		"P14D ":              form,
		"P+14D":              form,
		"P-14D":              form,
		"P1.5Y":              form,
		"PT0.5S":             form,
		"P١D":                form,
		"P99999999999D":      form,
		"-P14D":              "negative",
		"P0D":                "zero",
		"P0W":                "zero",
		"PT0S":               "zero",
		"P0Y0M0DT0H0M0S":     "zero",
		"P101Y":              "longer than 100 years",
		"P9999999999Y":       "longer than 100 years",
		"P9999999999W":       "longer than 100 years",
		"PT9999999999H":      "longer than 100 years",
		"P100YT1S":           "longer than 100 years",
		"P4000000000Y4000D":  "longer than 100 years",
		"PT9999999999M9999S": "longer than 100 years",
	} {
		_, err := ParsePeriod(text)
		if err == nil || err.Error() != `period "`+text+`": `+want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// Years and months come first, a day that the month lacks becomes its last, then days
// are counted, then the clock; all in UTC.
func TestPeriodAfter(t *testing.T) {
	for _, c := range []struct{ from, period, want string }{
		{"2026-11-24T10:00:00Z", "P14D", "2026-12-08T10:00:00Z"},
		{"2026-01-31T23:59:59Z", "P1M", "2026-02-28T23:59:59Z"},
		{"2028-01-31T00:00:00Z", "P1M", "2028-02-29T00:00:00Z"},
		{"2026-08-31T00:00:00Z", "P6M", "2027-02-28T00:00:00Z"},
		{"2028-02-29T12:00:00Z", "P1Y", "2029-02-28T12:00:00Z"},
		{"2028-02-29T12:00:00Z", "P4Y", "2032-02-29T12:00:00Z"},
		{"2026-01-31T00:00:00Z", "P1M1D", "2026-03-01T00:00:00Z"},
		{"2026-12-31T00:00:00Z", "P2M", "2027-02-28T00:00:00Z"},
		{"2026-03-31T00:00:00Z", "P1Y6M", "2027-09-30T00:00:00Z"},
		{"2026-10-31T00:00:00Z", "P18M", "2028-04-30T00:00:00Z"},
		{"2026-12-31T23:59:55Z", "PT5S", "2027-01-01T00:00:00Z"},
		{"2026-03-28T02:30:00+01:00", "P1D", "2026-03-29T01:30:00Z"}, // Amsterdam's clocks go forward: UTC's do not
		{"2026-11-30T23:30:00-05:00", "P3M", "2027-03-01T04:30:00Z"}, // it is December already, in UTC
	} {
		from, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		period, err := ParsePeriod(c.period)
		if err != nil {
			t.Fatal(err)
		}
		if got := period.After(from).Format(time.RFC3339); got != c.want {
			t.Errorf("%s after %s: got %s, want %s", c.period, c.from, got, c.want)
		}
	}
}

func genPeriod(t *rapid.T) Period {
	p := Period{
		Years: rapid.IntRange(0, 40).Draw(t, "years"), Months: rapid.IntRange(0, 240).Draw(t, "months"),
		Days: rapid.IntRange(0, 4000).Draw(t, "days"), Clock: time.Duration(rapid.IntRange(0, 1e6).Draw(t, "seconds")) * time.Second,
	}
	if p.IsZero() {
		p.Days = 1
	}
	return p
}

func genTime(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds since 1970"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
}

// What String writes, ParsePeriod reads as the same period.
func TestPeriodText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genPeriod(t)
		got, err := ParsePeriod(want.String())
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", want, got, err, want)
		}
	})
}

// A period ends after it begins, and a longer one later.
func TestPeriodGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, from := genPeriod(t), genTime(t)
		end := p.After(from)
		if !end.After(from) {
			t.Errorf("%v from %v: got %v, want later", p, from, end)
		}
		for _, longer := range []Period{
			{p.Years, p.Months, p.Days + 1, p.Clock}, {p.Years, p.Months + 1, p.Days, p.Clock},
			{p.Years + 1, p.Months, p.Days, p.Clock}, {p.Years, p.Months, p.Days, p.Clock + time.Second},
		} {
			if got := longer.After(from); !got.After(end) {
				t.Errorf("%v from %v: got %v, want later than %v's %v", longer, from, got, p, end)
			}
		}
	})
}

// What begins on a later day never ends on an earlier one.
func TestPeriodKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, from := genPeriod(t), genTime(t)
		p.Clock = 0
		later := from.AddDate(0, 0, rapid.IntRange(0, 400).Draw(t, "days later"))
		first, second := p.After(from).Truncate(day*time.Second), p.After(later).Truncate(day*time.Second)
		if second.Before(first) {
			t.Errorf("%v: got %v from %v, and %v from %v", p, first, from, second, later)
		}
	})
}

// Months alone end in the month that many later, on the same day or on that month's
// last where it has no such day, at the same time.
func TestPeriodMonths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Period{Years: rapid.IntRange(0, 40).Draw(t, "years"), Months: rapid.IntRange(1, 240).Draw(t, "months")}
		from := genTime(t).UTC()
		got := p.After(from)
		if months := 12*(got.Year()-from.Year()) + int(got.Month()-from.Month()); months != 12*p.Years+p.Months {
			t.Errorf("%v from %v: got %v, %d months later", p, from, got, months)
		}
		tomorrow := got.AddDate(0, 0, 1)
		if got.Day() != from.Day() && (got.Day() > from.Day() || tomorrow.Month() == got.Month()) {
			t.Errorf("%v from %v: got %v, want the same day or the month's last before it", p, from, got)
		}
		if !got.Truncate(day * time.Second).Add(from.Sub(from.Truncate(day * time.Second))).Equal(got) {
			t.Errorf("%v from %v: got %v, want the same time of day", p, from, got)
		}
	})
}

// Whatever ParsePeriod takes is longer than nothing and survives being written.
func FuzzParsePeriod(f *testing.F) {
	for _, seed := range []string{"P14D", "P1Y6M", "P2W", "PT1H30M", "P1Y2M3DT4H5M6S", "P0D", "-P1D", "P1.5Y", "PT", "P9999999999Y"} {
		f.Add(seed)
	}
	from := time.Date(2028, 2, 29, 23, 59, 59, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePeriod(text)
		if err != nil {
			if !p.IsZero() {
				t.Errorf("%q: got %+v with error %v", text, p, err)
			}
			return
		}
		end := p.After(from)
		if !end.After(from) || end.After(from.AddDate(maxYears+1, 0, 0)) {
			t.Errorf("%q: got end %v of what began %v", text, end, from)
		}
		if again, err := ParsePeriod(p.String()); err != nil || again != p {
			t.Errorf("%q: got %+v, %v from %s, want %+v", text, again, err, p, p)
		}
	})
}
