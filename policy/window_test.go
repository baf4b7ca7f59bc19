package policy

import (
	"testing"
	"time"
)

// A window holds from its first minute up to its last, by the clock of its zone.
func TestWindow(t *testing.T) {
	office := Window{Days: []string{"mon", "tue"}, From: "09:00", To: "17:00", Zone: "Europe/Amsterdam"}
	night := Window{Days: []string{"sat"}, From: "22:00", To: "06:00", Zone: "Europe/Amsterdam"}
	monday := Window{Days: []string{"mon"}, Zone: "UTC"}
	for _, c := range []struct {
		name   string
		window Window
		at     string
		want   bool
	}{
		{"before nine", office, "2026-11-23T08:59:59+01:00", false},
		{"nine", office, "2026-11-23T09:00:00+01:00", true},
		{"just before five", office, "2026-11-23T16:59:59+01:00", true},
		{"five", office, "2026-11-23T17:00:00+01:00", false},
		{"another day", office, "2026-11-25T12:00:00+01:00", false},
		{"said in UTC", office, "2026-11-23T08:00:00Z", true},
		{"nine in summer", office, "2026-07-06T07:00:00Z", true},
		{"Saturday's night", night, "2026-11-28T22:00:00+01:00", true},
		{"Sunday morning is its end", night, "2026-11-29T05:59:59+01:00", true},
		{"Sunday six", night, "2026-11-29T06:00:00+01:00", false},
		{"Sunday's own night", night, "2026-11-29T22:00:00+01:00", false},
		{"Saturday morning is Friday's", night, "2026-11-28T05:00:00+01:00", false},
		{"the hour that is not there", night, "2026-03-29T03:30:00+02:00", true},
		{"a whole day", monday, "2026-11-23T00:00:00Z", true},
		{"to its end", monday, "2026-11-23T23:59:59Z", true},
		{"and no further", monday, "2026-11-24T00:00:00Z", false},
		{"every day", Window{From: "12:00", Zone: "UTC"}, "2026-11-24T23:00:00Z", true},
		{"up to midnight", Window{From: "12:00", To: "24:00", Zone: "UTC"}, "2026-11-24T23:59:00Z", true},
		{"from midnight", Window{To: "12:00", Zone: "UTC"}, "2026-11-24T11:59:00Z", true},
		{"no longer", Window{To: "12:00", Zone: "UTC"}, "2026-11-24T12:00:00Z", false},
		{"midnight to midnight", Window{From: "00:00", To: "00:00", Zone: "UTC"}, "2026-11-24T12:00:00Z", true},
	} {
		w, faults := c.window.parse(nil)
		if len(faults) > 0 {
			t.Fatalf("%s: %v", c.name, faults)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.holds(at); got != c.want {
			t.Errorf("%s: got %v at %s, want %v", c.name, got, c.at, c.want)
		}
	}
}
