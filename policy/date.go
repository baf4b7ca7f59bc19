package policy

import (
	"fmt"
	"time"
)

// Date is a day of the calendar, written 2026-11-01. The zero Date is none.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads a date as ISO 8601 and RFC 3339 write it.
func ParseDate(text string) (Date, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return Date{}, fmt.Errorf("date %.40q: not a day such as 2026-11-01", text)
	}
	return dateOf(t), nil
}

// dateOf is the day of an instant by its own zone.
func dateOf(t time.Time) Date { return Date{t.Year(), t.Month(), t.Day()} }

// IsZero reports whether there is no date.
func (d Date) IsZero() bool { return d == Date{} }

// Before reports whether d is an earlier day than e.
func (d Date) Before(e Date) bool { return d.start().Before(e.start()) }

// ahead reports whether the day has begun nowhere yet: it does so first at UTC+14.
func (d Date) ahead(now time.Time) bool {
	return !d.IsZero() && now.Add(14*time.Hour).Before(d.start())
}

func (d Date) start() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }

// String writes the date; the zero Date is empty.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.start().Format(time.DateOnly)
}

// UnmarshalText reads what ParseDate reads.
func (d *Date) UnmarshalText(text []byte) error {
	parsed, err := ParseDate(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// MarshalText writes what String writes.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
