package sip

import "testing"

// Each REFER that we passed on is known to its sender by the Event that he expects; one that was
// sent anew by its new number, too, and nobody's is left alone.
func TestReferrals(t *testing.T) {
	var r referrals
	if got := r.translate("refer;id=3"); got != "refer;id=3" {
		t.Errorf("got %q before any REFER", got)
	}
	r.pass(3, "refer;id=20")
	r.pass(5, "refer;id=21")
	r.again(5, 6)
	for event, want := range map[string]string{
		"refer": "refer;id=20", "refer;id=3": "refer;id=20", "Refer ;x=y; ID= 5": "refer;id=21", "refer;id=6": "refer;id=21",
		"refer;id=4": "refer;id=4", "refer;id=x": "refer;id=x", "refer;id=4294967299": "refer;id=4294967299", "dialog;id=3": "dialog;id=3", "": "",
	} {
		if got := r.translate(event); got != want {
			t.Errorf("%q: got %q, want %q", event, got, want)
		}
	}
	for seq := range uint32(1000) {
		r.pass(seq+10, "refer")
	}
	if len(r.passed) != maxReferrals {
		t.Errorf("got %d remembered, want %d", len(r.passed), maxReferrals)
	}
}
