package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is the time of the week in which a rule holds, by the clock on the wall of
// its zone. Where To is not later than From it ends on the next day, and the days are
// those on which it begins.
type Window struct {
	Days []string `yaml:"days" json:"days,omitempty"` // mon to sun; default: every day
	From string   `yaml:"from" json:"from,omitempty"` // 09:00; default: the day's beginning
	To   string   `yaml:"to" json:"to,omitempty"`     // 17:00, no longer in it; default: the day's end, 24:00
	Zone string   `yaml:"zone" json:"zone,omitempty"` // Europe/Amsterdam; must be given
	// Holidays are the configuration's: except, and it does not begin on one; only, and it
	// begins on no other day. Default: they are days like others.
	Holidays string `yaml:"holidays" json:"holidays,omitempty"`
}

// window is a Window made ready.
type window struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes since midnight; to may be on the next day
	zone     *time.Location
	holidays map[Date]bool // nil where they do not matter
	only     bool          // on holidays, not on others
}

var weekdays = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const minutesADay = 24 * 60

// parse reads the window; its faults have the keys below the window.
func (w Window) parse(holidays []Date) (window, []Fault) {
	parsed := window{to: minutesADay}
	var faults []Fault
	report := func(path string, err error) {
		if err != nil {
			faults = append(faults, Fault{path, err.Error()})
		}
	}
	for i, name := range w.Days {
		weekday := slices.Index(weekdays[:], name)
		if weekday < 0 {
			report(fmt.Sprintf("days[%d]", i), fmt.Errorf("%.40q is none of %s", name, oneOf(weekdays[:])))
			continue
		}
		parsed.days[weekday] = true
	}
	if w.Days != nil && len(w.Days) == 0 {
		report("days", errors.New("is empty; leave it out for every day"))
	}
	if len(w.Days) == 0 {
		parsed.days = [7]bool{true, true, true, true, true, true, true}
	}
	var err error
	if w.From != "" {
		parsed.from, err = parseClock(w.From)
		report("from", err)
	}
	if w.To != "" {
		parsed.to, err = parseClock(w.To)
		report("to", err)
	}
	switch w.Holidays {
	case "":
	case "except", "only":
		if len(holidays) == 0 {
			report("holidays", errors.New("there are none: name the days in holidays, such as [2026-12-25]"))
		}
		parsed.only, parsed.holidays = w.Holidays == "only", map[Date]bool{}
		for _, day := range holidays {
			parsed.holidays[day] = true
		}
	default:
		report("holidays", fmt.Errorf("%.40q is neither except nor only", w.Holidays))
	}
	parsed.zone, err = parseZone(w.Zone)
	report("zone", err)
	if len(faults) == 0 && parsed.from%minutesADay == parsed.to%minutesADay && parsed.from != 0 {
		report("to", errors.New("the window begins and ends at the same time; leave both out for the whole day"))
	}
	if parsed.to <= parsed.from {
		parsed.to += minutesADay
	}
	return parsed, faults
}

// parseClock reads hh:mm as minutes since midnight; 24:00 is the day's end.
func parseClock(text string) (int, error) {
	fault := fmt.Errorf("%.40q is not a time of day such as 09:00", text)
	hh, mm, ok := strings.Cut(text, ":")
	if !ok || len(hh) != 2 || len(mm) != 2 || strings.Trim(hh+mm, "0123456789") != "" {
		return 0, fault
	}
	hours, _ := strconv.Atoi(hh)
	minutes, _ := strconv.Atoi(mm)
	if minutes > 59 || hours*60+minutes > minutesADay {
		return 0, fault
	}
	return hours*60 + minutes, nil
}

// parseZone refuses the machine's own zone: the same file must mean the same everywhere.
func parseZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, errors.New("missing: say whose clock it is, such as Europe/Amsterdam")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("no time zone %.40q is known here", name)
	}
	return zone, nil
}

// holds reports whether t is in the window.
func (w window) holds(t time.Time) bool {
	local := t.In(w.zone)
	minute := local.Hour()*60 + local.Minute()
	return w.begins(local) && w.from <= minute && minute < w.to ||
		w.begins(local.AddDate(0, 0, -1)) && minute+minutesADay < w.to
}

// begins reports whether the window begins on the day of a time in its zone.
func (w window) begins(local time.Time) bool {
	if w.holidays != nil && w.holidays[dateOf(local)] != w.only {
		return false
	}
	return w.days[local.Weekday()]
}
