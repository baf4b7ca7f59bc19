package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Period is a span of calendar time as ISO 8601 writes it: P14D, P6M, P1Y6M, PT1H.
// How many seconds it has depends on when it begins. The zero Period is none at all.
type Period struct {
	Years, Months, Days int
	Clock               time.Duration // the part behind T, in whole seconds
}

// maxYears bounds a period: what is to be kept longer is not retention.
const maxYears = 100

// unit is one designator of a period and what it counts, in the order ISO 8601 asks.
type unit struct {
	letter  byte
	seconds int64 // at most, to hold it against maxYears
}

var (
	dateUnits  = [...]unit{{'Y', 366 * day}, {'M', 31 * day}, {'D', day}}
	clockUnits = [...]unit{{'H', 3600}, {'M', 60}, {'S', 1}}
)

const day = 24 * 60 * 60

// ParsePeriod reads a period: PnYnMnDTnHnMnS with what is zero left out, or PnW. Zero,
// negative, fractional and longer than a hundred years are refused.
func ParsePeriod(text string) (Period, error) {
	fail := func(why string) (Period, error) {
		return Period{}, fmt.Errorf("period %.40q: %s", text, why)
	}
	const form = "not an ISO 8601 period such as P14D, P6M or P1Y6M"
	rest, ok := strings.CutPrefix(text, "P")
	if !ok {
		if strings.HasPrefix(text, "-P") {
			return fail("negative")
		}
		return fail(form)
	}
	date, clock, timed := strings.Cut(rest, "T")
	if timed && clock == "" || rest == "" {
		return fail(form)
	}
	var counts [3]int64
	var seconds int64
	if weeks, ok := strings.CutSuffix(date, "W"); ok && !timed {
		n, ok := count(weeks)
		if !ok {
			return fail(form)
		}
		counts[2], seconds = 7*n, 7*day*n
	} else if seconds, ok = counted(date, dateUnits[:], counts[:]); !ok {
		return fail(form)
	}
	var hms [3]int64
	clockSeconds, ok := counted(clock, clockUnits[:], hms[:])
	switch {
	case !ok:
		return fail(form)
	case seconds+clockSeconds == 0:
		return fail("zero")
	case seconds+clockSeconds > maxYears*366*day:
		return fail("longer than " + strconv.Itoa(maxYears) + " years")
	}
	return Period{
		Years: int(counts[0]), Months: int(counts[1]), Days: int(counts[2]),
		Clock: time.Duration(clockSeconds) * time.Second,
	}, nil
}

// counted reads numbers with their designators, each at most once and in order, and
// returns what they come to in seconds at most.
func counted(text string, units []unit, counts []int64) (seconds int64, ok bool) {
	for i, u := range units {
		digits := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 0 || text[digits] != u.letter {
			continue
		}
		n, ok := count(text[:digits])
		if !ok {
			return 0, false
		}
		counts[i] = n
		seconds += n * u.seconds
		text = text[digits+1:]
	}
	return seconds, text == ""
}

// count reads a whole number small enough that no sum of such overflows.
func count(digits string) (int64, bool) {
	if digits == "" || len(digits) > 10 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

// After returns the instant at which the period is over that began at t, in UTC: years
// and months first, where a day that the month lacks becomes the month's last, then
// days, then the clock.
func (p Period) After(t time.Time) time.Time {
	t = t.UTC()
	month := time.Date(t.Year()+p.Years, t.Month()+time.Month(p.Months), 1, 0, 0, 0, 0, time.UTC)
	last := month.AddDate(0, 1, -1).Day()
	midnight := month.AddDate(0, 0, min(t.Day(), last)-1+p.Days)
	sinceMidnight := t.Sub(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC))
	return midnight.Add(sinceMidnight + p.Clock)
}

// IsZero reports whether there is no period.
func (p Period) IsZero() bool { return p == Period{} }

// String writes the period as ISO 8601 does; the zero Period is empty.
func (p Period) String() string {
	if p.IsZero() {
		return ""
	}
	text := []byte{'P'}
	part := func(n int64, letter byte) {
		if n != 0 {
			text = append(strconv.AppendInt(text, n, 10), letter)
		}
	}
	part(int64(p.Years), 'Y')
	part(int64(p.Months), 'M')
	part(int64(p.Days), 'D')
	if p.Clock != 0 {
		text = append(text, 'T')
		seconds := int64(p.Clock / time.Second)
		part(seconds/3600, 'H')
		part(seconds/60%60, 'M')
		part(seconds%60, 'S')
	}
	return string(text)
}

// UnmarshalText reads what ParsePeriod reads.
func (p *Period) UnmarshalText(text []byte) error {
	parsed, err := ParsePeriod(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

// MarshalText writes what String writes.
func (p Period) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
