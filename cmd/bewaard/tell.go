package main

import (
	"fmt"
	"io"
	"time"

	"github.com/bewaard/bewaard/store"
)

// tell writes a row in words that need no manual.
func tell(w io.Writer, r *store.Row) error {
	t := teller{w: w}
	t.line("call", "%s, %s", r.ID, r.State)
	if r.Reason != "" {
		t.line("why", "%s", r.Reason)
	}
	if r.Caller != "" || r.Callee != "" {
		t.line("parties", "%s (%s) called %s (%s), %s", r.Caller, r.CallerTrunk, r.Callee, r.CalleeTrunk, r.Direction)
	} else {
		t.line("parties", "no longer known: their numbers went with the expiry")
	}
	for _, j := range r.Joined {
		from := ""
		if j.Call != "" {
			from = " from call " + j.Call
		}
		t.line("joined", "%s (%s) for the %s at %s%s", j.Number, j.Trunk, j.Leg, instant(j.At), from)
	}
	t.line("times", "began %s%s%s", instant(r.Began), then(", connected ", r.Answered), then(", ended ", r.Ended))
	if r.Outcome != "" {
		t.line("outcome", "%s: %s, by %s, SIP status %d", r.Outcome, r.Cause, r.EndedBy, r.SIPStatus)
	}
	if r.ContinuedIn != "" {
		t.line("", "a party went over to call %s", r.ContinuedIn)
	}
	if r.Purpose != "" {
		t.line("purpose", "%s, on the basis of %s, by rule %q of policy %.12s", r.Purpose, r.Basis, r.Rule, r.Policy)
	}
	if a := r.Announcement; a != nil {
		t.announcement(a)
	}
	if c := r.Recording; c != nil {
		t.line("recording", "%s s from %s; %s s of audio in both channels; %d packets lost, %d dropped", seconds(c.ExpectedSeconds), instant(c.Began), seconds(c.CapturedSeconds), c.Lost, c.Dropped)
		if c.Torn {
			t.line("", "the daemon died during the call: up to a second is missing at its end")
		}
	}
	for _, f := range r.Files {
		t.line("file", "%s, %s s, %d bytes, SHA-256 %s", f.Path, seconds(f.Seconds), f.Bytes, f.SHA256)
	}
	if !r.Destroyed.IsZero() {
		t.line("destroyed", "%s: files and numbers are gone", instant(r.Destroyed))
	} else if !r.Expires.IsZero() {
		t.line("expires", "%s", instant(r.Expires))
	}
	return t.err
}

func (t *teller) announcement(a *store.Announcement) {
	if a.Leg == "" {
		t.line("announced", "to nobody: %s", a.Exempt)
		return
	}
	whole := "whole"
	if !a.Complete {
		whole = "NOT WHOLE"
	}
	t.line("announced", "%s (%s) to the %s, %s: %d of %d packets in %s, %s to %s, %d interruptions", a.Prompt, a.Language, a.Leg, whole,
		a.Packets, a.Total, a.Codec, a.FirstAt.UTC().Format("15:04:05.000"), a.LastAt.UTC().Format("15:04:05.000"), a.Interruptions)
	t.line("", "%q, SHA-256 %s", a.Text, a.SHA256)
	t.line("", "proof: %s", proofs[a.Level])
}

// proofs say what a level of proof means.
var proofs = map[string]string{
	"sent":       "every packet left us; nothing came back that shows where to (sent)",
	"path_alive": "every packet left us, and audio came back from where they went (path_alive)",
	"confirmed":  "the far side reported that it received the last packet (confirmed)",
}

type teller struct {
	w   io.Writer
	err error
}

func (t *teller) line(name, format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, "%-10s  "+format+"\n", append([]any{name}, args...)...)
	}
}

func then(before string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return before + instant(t)
}
