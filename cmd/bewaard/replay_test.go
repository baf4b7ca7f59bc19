package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/store"
)

// What another policy would have made of calls is told way by way, the most frequent first,
// with what rows do not tell.
func TestEffect(t *testing.T) {
	cfg, err := config.Parse("bewaard.yaml", []byte(`organisation: {name: Voorbeeld BV, contact: privacy@voorbeeld.example}
trunks:
  pbx: {side: internal, peers: [sip:10.0.0.5]}
  carrier: {side: external, peers: [sip:10.0.0.1]}
purposes: {quality: {text: {en: Training}, basis: contract, retention: P1M}}
announcements: {recorded: {text: {en: Recorded.}, files: {en: "embedded:en"}}}
rules:
  - {name: gold, match: {header: {X-Customer: gold}}, record: none}
  - {name: diverted, match: {forwarded: true}, record: none}
  - {name: in, match: {direction: inbound}, record: {purpose: quality, ceiling: 2}, announce: {prompt: recorded}}
`))
	if err != nil {
		t.Fatal(err)
	}
	l, err := prove(cfg, nil, time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	row := func(id, rule, purpose, retention, reason string) store.Row {
		at = at.Add(-time.Hour) // the newest first
		return store.Row{
			ID: id, Direction: "inbound", CallerTrunk: "carrier", CalleeTrunk: "gone", Personal: store.Personal{Caller: "+31612345678", Callee: "+31205550100"},
			Began: at, Ended: at.Add(time.Minute), Rule: rule, Purpose: purpose, Retention: retention, Reason: reason, Basis: map[bool]string{true: "contract"}[purpose != ""],
		}
	}
	gone := row("gone", "in", "quality", "P1M", "")
	gone.Caller, gone.Callee = "", ""
	up := row("up", "", "", "", "")
	up.Ended, up.Direction, up.CallerTrunk, up.CalleeTrunk = time.Time{}, "outbound", "pbx", "carrier"
	same := row("same", "gold", "", "", "rule") // by a header that it does not tell
	same.Policy = l.rules.Version()
	two := row("two", "in", "quality", "P5Y", "")
	two.Terms = []store.Term{{Purpose: "quality", Retention: "P1M"}, {Purpose: "orders", Retention: "P5Y"}}
	told := row("told", "in", "quality", "P1M", "")
	told.Announcement = &store.Announcement{Exempt: "by contract"}
	e := effectOn([]store.Row{
		up, gone, same, two,
		row("f", "in", "quality", "P14D", ""),     // beyond the ceiling, which the two first reach
		row("e", "in", "quality", "P1M", ""),      // the same
		row("d", "in", "quality", "P14D", "disk"), // for longer
		row("c", "", "", "", "no_rule"),           // no longer
		row("b", "diverted", "", "", "rule"),      // the row does not tell that it was forwarded
		row("a", "diverted", "", "", "forwarded"), // the same as it was but for the reason
		told, // it was not
		row("0", "in", "quality", "P14D", "disk"), // for longer
	}, l)
	var got strings.Builder
	if err := e.write(&got); err != nil {
		t.Fatal(err)
	}
	const want = `12 calls: 9 would be decided otherwise; 6 were to be recorded, 2 would be
1 of them cannot be decided: their numbers are gone, or sealed
CALLS  WAS                                              WOULD BE                                     SUCH AS
2      rule "in": recorded for quality (contract), P14D            rule "in": not recorded (ceiling)            f
1      no rule: not recorded (no_rule)                  rule "in": not recorded (ceiling)            c
1      rule "diverted": not recorded (forwarded)        rule "diverted": not recorded (rule)         a
1      rule "diverted": not recorded (rule)             rule "in": not recorded (ceiling)         b
1      rule "in": recorded for orders, quality (contract), P5Y      rule "in": not recorded (ceiling)            two
1      rule "in": recorded for quality (contract), P14D            rule "in": recorded for quality (contract), P1M         0
1      rule "in": recorded for quality (contract), P1M             rule "in": not recorded (ceiling)            e
1 rule "in": recorded for quality (contract), P1M, untold rule "in": recorded for quality (contract), P1M told
note: rule "gold" asks for header X-Customer, which rows do not keep: no call is taken to have it
note: rule "diverted" asks whether calls are forwarded, which rows tell only of those that were not recorded for that
note: rows do not keep when parties were to be told, nor which keys they had: changes of those do not show
note: ceilings count what this policy would have recorded since the first of these calls
`
	if diff := cmp.Diff(squeeze(want), squeeze(got.String())); diff != "" {
		t.Error(diff)
	}
}

// squeeze takes a table's columns for what they say.
func squeeze(table string) []string {
	var lines []string
	for line := range strings.Lines(table) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}
