package spool

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A grant needs every term, and an announcement or a written reason for having
// none, not both.
func TestGrantNeedsEveryTerm(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*Terms)
		want  string
	}{
		{"recording", func(t *Terms) { t.Recording = "" }, "no recording id"},
		{"path", func(t *Terms) { t.Recording = "../escape" }, "character"},
		{"long id", func(t *Terms) { t.Recording = strings.Repeat("a", 65) }, "65 characters"},
		{"purpose", func(t *Terms) { t.Purpose = "" }, "no purpose"},
		{"basis", func(t *Terms) { t.Basis = "" }, "no lawful basis"},
		{"retention", func(t *Terms) { t.Retention = "" }, "no retention"},
		{"rule", func(t *Terms) { t.Rule = "" }, "no rule"},
		{"policy", func(t *Terms) { t.Policy = "" }, "no policy version"},
		{"announcement", func(t *Terms) { t.NotBefore = time.Time{} }, "neither announced nor exempt"},
		{"both", func(t *Terms) { t.Exempt = "internal call" }, "both announced and exempt"},
	} {
		terms := terms()
		test.spoil(&terms)
		g, err := NewGrant(terms)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.name, err, test.want)
		}
		if g != (Grant{}) {
			t.Errorf("%s: got a grant with the error", test.name)
		}
	}
}

// Without a grant no file comes into being.
func TestNoGrantNoFile(t *testing.T) {
	dir := directory(t)
	_, err := Create(dir, plainly{}, Grant{}, header())
	wantErr(t, err, ErrNoGrant)
	if names := listing(t, dir); len(names) != 0 {
		t.Errorf("got files %q, want none", names)
	}
}

// A header's terms are the grant's, whatever its maker put there.
func TestTermsAreTheGrants(t *testing.T) {
	dir := directory(t)
	h := header()
	h.ID, h.Terms.Purpose = "another", "another"
	f := create(t, dir, terms(), h)
	if err := f.Close(""); err != nil {
		t.Fatal(err)
	}
	got, _, _ := read(t, dir, f.Name())
	if diff := cmp.Diff(terms(), got.Terms); diff != "" {
		t.Errorf("terms (-want +got):\n%s", diff)
	}
	if got.ID != terms().Recording {
		t.Errorf("got id %q, want %q", got.ID, terms().Recording)
	}
}

// Packets that arrived before the announcement ended are refused and counted,
// to the nanosecond.
func TestNothingIsKeptBeforeTheAnnouncementEnded(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	edge := announced.Sub(began)
	if err := f.Append(0, batch(edge-time.Hour, edge-1, edge, edge+1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Append(1, batch(edge-2, edge-1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(""); err != nil {
		t.Fatal(err)
	}
	_, frames, _ := read(t, dir, f.Name())
	if diff := cmp.Diff([]time.Duration{edge, edge + 1}, kept(t, frames, 0)); diff != "" {
		t.Errorf("caller's packets (-want +got):\n%s", diff)
	}
	if got := kept(t, frames, 1); got != nil {
		t.Errorf("got %v of the callee, want nothing", got)
	}
	if got := f.Early(); got != 4 {
		t.Errorf("got %d early packets, want 4", got)
	}
	if end := frames[len(frames)-1].(End); end.Early != 4 {
		t.Errorf("got %d early packets in the end, want 4", end.Early)
	}
}

// An exempt recording keeps everything, and its reason.
func TestExemptKeepsEverything(t *testing.T) {
	dir := directory(t)
	exempt := terms()
	exempt.NotBefore, exempt.Exempt = time.Time{}, "announced by the carrier"
	f := create(t, dir, exempt, header())
	if err := f.Append(0, batch(time.Duration(math.MinInt32), 0)); err != nil {
		t.Fatal(err)
	}
	f.Close("")
	h, frames, _ := read(t, dir, f.Name())
	if got := kept(t, frames, 0); len(got) != 2 {
		t.Errorf("got %v, want both packets", got)
	}
	if h.Terms.Exempt != exempt.Exempt || !h.Terms.NotBefore.IsZero() {
		t.Errorf("got terms %+v, want %+v", h.Terms, exempt)
	}
}

// A recording begins no earlier than its announcement ended.
func TestBeginIsMovedToTheAnnouncementsEnd(t *testing.T) {
	dir := directory(t)
	h := header()
	h.Began = announced.Add(-time.Second)
	f := create(t, dir, terms(), h)
	f.Close("")
	got, _, _ := read(t, dir, f.Name())
	if !got.Began.Equal(announced) {
		t.Errorf("got begin %v, want %v", got.Began, announced)
	}
}
