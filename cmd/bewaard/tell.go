package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
)

// tell writes a row in words that need no manual.
func tell(w io.Writer, r *store.Row) error {
	t := teller{w: w}
	t.line("call", "%s, %s", r.ID, r.State)
	if r.Reason != "" {
		t.line("why", "%s", word(whys, r.Reason))
	}
	if r.Sealed {
		t.line("parties", "sealed: the master identity is on another machine, or their key was destroyed; %s, from %s to %s", r.Direction, r.CallerTrunk, r.CalleeTrunk)
	} else if r.Caller != "" || r.Callee != "" {
		t.line("parties", "%s (%s) called %s (%s), %s", r.Caller, r.CallerTrunk, r.Callee, r.CalleeTrunk, r.Direction)
		if len(r.Agents) > 0 {
			t.line("", "of ours: %s", strings.Join(r.Agents, ", "))
		}
		for _, leg := range []struct{ name, id string }{{"caller", r.CallerCallID}, {"callee", r.CalleeCallID}} {
			if leg.id != "" {
				t.line("", "SIP Call-ID of the %s's leg: %s", leg.name, leg.id)
			}
		}
	} else {
		t.line("parties", "no longer known: their numbers went with the recording")
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
		t.line("outcome", "%s: %s", r.Outcome, ending(r))
	}
	if r.ContinuedIn != "" {
		t.line("", "a party went over to call %s", r.ContinuedIn)
	}
	for _, term := range r.EveryTerm() {
		withdrawn := ""
		if term.Withdrawn {
			withdrawn = ", withdrawn"
		}
		t.line("purpose", "%s, on the basis of %s, for %s%s, by rule %q of policy %.12s", term.Purpose, term.Basis, term.Retention, withdrawn, r.Rule, r.Policy)
	}
	for _, a := range r.Told() {
		t.announcement(a)
	}
	for _, e := range r.Events {
		t.line("event", "%s: %s%s", instant(e.At), word(deeds, e.Kind), by(e.By))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Tags)) {
		t.line("tag", "%s: %s", name, r.Tags[name])
	}
	if r.Recording != nil {
		t.recording(r)
	}
	for _, a := range r.Audio {
		t.audio(a)
	}
	for _, f := range r.Files {
		gone := ""
		if r.State == store.StateDestroyed {
			gone = "(destroyed) "
		}
		t.line("file", gone+"%s, %s s, %d bytes, SHA-256 %s", f.Path, seconds(f.Seconds), f.Bytes, f.SHA256)
		if f.Epoch != "" {
			t.line("", "sealed to %s; in it %d bytes, SHA-256 %s", f.Epoch, f.ContentBytes, f.ContentSHA256)
		}
	}
	for _, id := range r.Holds {
		t.line("held", "by legal hold %s: not destroyed before that is removed", id)
	}
	if !r.Destroyed.IsZero() {
		t.destroyed(r)
	} else if r.Ended.IsZero() {
		t.line("expires", "not while the call goes on: its time counts from the end")
	} else if !r.Expires.IsZero() {
		t.line("expires", "%s", instant(r.Expires))
	}
	return t.err
}

// destroyed tells what is gone, and when the rest goes.
func (t *teller) destroyed(r *store.Row) {
	switch {
	case !r.Cleared.IsZero():
		t.line("destroyed", "%s: files are gone; %s: numbers are", instant(r.Destroyed), instant(r.Cleared))
	case r.RowExpires.After(r.Destroyed):
		t.line("destroyed", "%s: files are gone; numbers go on %s", instant(r.Destroyed), instant(r.RowExpires))
	default:
		t.line("destroyed", "%s: files and numbers are gone", instant(r.Destroyed))
	}
	if !r.CertificateExpires.IsZero() {
		t.line("", "what is left, and its certificate if it was recorded, goes on %s", instant(r.CertificateExpires))
	}
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
	t.line("announced", "%s (%s) to the %s, %s: %d of %d packets in %s%s%s", a.Prompt, a.Language, a.Leg, whole,
		a.Packets, a.Total, a.Codec, spell(a.FirstAt, a.LastAt), times(", ", a.Interruptions, "interruption"))
	t.line("", "%q, SHA-256 %s", a.Text, a.SHA256)
	t.line("", "to hear it: bewaard prompts export %.12s", a.SHA256)
	if !a.Complete {
		t.line("", "proof: none, it was cut short")
		return
	}
	t.line("", "proof: %s", proofs[a.Level])
	if !a.OptedIn.IsZero() {
		t.line("", "the %s agreed, by key, at %s", a.Leg, instant(a.OptedIn))
	}
}

// audio tells how a party's audio came in.
func (t *teller) audio(a store.Audio) {
	if a.Packets == 0 {
		t.line("audio", "from the %s: none", a.Leg)
		return
	}
	silent := ""
	if a.Silent {
		silent = "; for a long time nothing came"
	}
	trip := ""
	if a.RoundTrip > 0 {
		trip = fmt.Sprintf(", round trip %.0f ms", a.RoundTrip)
	}
	t.line("audio", "from the %s, %s: %d packets, %d lost, jitter %.1f ms%s, MOS %.1f%s", a.Leg, a.Codec, a.Packets, a.Lost, a.JitterMS, trip, a.MOS, silent)
	t.line("", "%s", protection(a))
}

// protection says how a party's packets were protected.
func protection(a store.Audio) string {
	how, suite, _ := strings.Cut(a.Protection, " ")
	var keys string
	switch how {
	case "":
		return "not protected between the " + a.Leg + " and us"
	case "sdes":
		keys = "keys from the session descriptions (SDES)"
	case "dtls":
		keys = "keys by a handshake (DTLS)"
	default:
		keys = "keys by " + how
	}
	said := fmt.Sprintf("protected between the %s and us: SRTP, %s, %s", a.Leg, suite, keys)
	if a.Unprotected > 0 {
		said += fmt.Sprintf("; %d of the packets came while they were NOT", a.Unprotected)
	}
	return said
}

// recording tells what was captured. The time is that of the file; each of its two channels
// has as much, full or silent.
func (t *teller) recording(r *store.Row) {
	c := r.Recording
	switch {
	case r.Ended.IsZero() && r.Reason != "":
		t.line("recording", "from %s, and ended; its file is made after the call", instant(c.Began))
		return
	case r.Ended.IsZero():
		t.line("recording", "from %s, and goes on", instant(c.Began))
		return
	case c.ExpectedSeconds == 0:
		t.line("recording", "from %s%s", instant(c.Began), then(" to ", c.Ended))
		return
	}
	share := min(100*c.CapturedSeconds/(float64(c.Channels())*c.ExpectedSeconds), 100)
	of := "both channels counted"
	if c.Parties != "" {
		of = fmt.Sprintf("of the %s party alone", c.Parties)
	}
	t.line("recording", "%s s from %s, of which packets fill %.0f %%, %s; %d packets lost, %d dropped",
		seconds(c.ExpectedSeconds), instant(c.Began), share, of, c.Lost, c.Dropped)
	if c.NoticeSeconds > 0 {
		t.line("", "the files begin with the announcement, as it was made: %s s", seconds(c.NoticeSeconds))
	}
	if c.CutSeconds > 0 {
		t.line("", "%s s of pauses are cut out", seconds(c.CutSeconds))
	}
	if c.Torn {
		t.line("", "the daemon died during the call: up to a second is missing at its end")
	}
}

// ending says why a call ended, and what its caller was told.
func ending(r *store.Row) string {
	s := strings.ReplaceAll(word(endings, r.Cause), "PARTY", r.EndedBy)
	if r.SIPStatus != 0 {
		s += fmt.Sprintf("; the caller's INVITE got SIP status %d", r.SIPStatus)
	}
	return s
}

// endings say what the causes of a call's end mean; PARTY is who caused it.
var endings = map[string]string{
	string(call.HungUp):           "the PARTY hung up",
	string(call.Cancelled):        "the caller gave up before he was answered",
	string(call.Rejected):         "the PARTY refused",
	string(call.WentSilent):       "no audio came from the PARTY for long",
	string(call.NoAnswer):         "it rang for as long as we let it",
	string(call.Unreachable):      "the PARTY's side did not respond, or could not be sent to",
	string(call.NoRoute):          "the caller's trunk leads nowhere",
	string(call.BadOffer):         "the PARTY's session description cannot be read",
	string(call.NoAudio):          "the PARTY has no audio over RTP",
	string(call.NotProtected):     "the PARTY's audio is not protected as its trunk's srtp has it",
	string(call.NoCodec):          "no codec that both sides, or the recording, can have",
	string(call.NoPorts):          "we had no RTP ports left",
	string(call.NotAcknowledged):  "the PARTY never acknowledged a response of ours",
	string(call.SessionExpired):   "nobody said any more that the call goes on",
	string(call.TrunkFull):        "the PARTY's trunk had as many calls as it may",
	string(call.NoDialog):         "it was to take the place of a call that is not there",
	string(call.Transferred):      "the PARTY went over to another call",
	string(call.RecordingRefused): "it could not be recorded, and the purpose wants no call then",
	string(call.ShuttingDown):     "the daemon was stopped",
	string(call.SignallingFailed): "a response to the PARTY could not be sent",
	"daemon_died":                 "the daemon died during the call",
}

// whys say for what reason a call is not recorded, or not to its end.
var whys = map[string]string{
	policy.NoRule:      "no rule matches",
	policy.ByRule:      "the rule says so",
	policy.IsEmergency: "it is an emergency call: neither announced, delayed nor recorded",
	policy.IsForwarded: "nobody of ours takes part in it, and the rule gives no reason to record it still",
	policy.IsClaimed:   "nobody of ours takes part in it, says a trunk that is not trusted, and the rule gives no reason to record it still",
	policy.IsSpecial:   "a party's number is one of those that are never recorded",
	policy.SampledOut:  "the rule records a share of its calls, and this one is not in it",
	policy.IsCeiling:   "as many calls as the rule wants of that number of ours were recorded this month, or how many is not known",
	policy.BreaksPack:  "the rule does not meet what the law of the far party's country demands, by its pack",
	policy.NobodyOurs:  "the rule records our side alone, and nobody of it takes part in it",
	policy.IsOverdue:   "the balancing of interests that it rests on was not made again in time",

	"not_connected":            "the parties were never connected",
	"row_not_written":          "its row could not be written in time",
	"codec":                    "no codec that is recorded was offered",
	"not_listening":            "who was to be told was on hold: he would not have heard it",
	"announcement_failed":      "the announcement could not be played",
	"announcement_interrupted": "the announcement was cut short",
	"opted_out":                "who was told refused, by key",
	"not_opted_in":             "who was told did not agree, by key, in time",
	"objected":                 "the far party objected while it was recorded: what was captured since it came in is destroyed",
	"stopped":                  "it was ended before the call; what there was is kept",
	"discarded":                "it was ended before the call, and what was captured is destroyed",
	"off":                      "the PBX said so, by a header",
	"no_grant":                 "nobody was told, and there is no written reason why not",
	"disk":                     "the disk could not be written to",
	"transferred":              "somebody came in by a transfer who was not told",
	"finalize":                 "no file could be made of what was captured; the log says why",
	"daemon_died":              "the daemon died during the call",
}

// deeds say what was done to a recording.
var deeds = map[string]string{
	"paused":         "paused",
	"resumed":        "resumed",
	"pause_ignored":  "asked to pause, which it was already",
	"resume_ignored": "asked to resume, though not paused",
	"objected":       "the far party objected: what was captured was destroyed",
	"stopped":        "ended; what there was is kept",
	"selected":       "kept for a further purpose",
	"withdrawn":      "no longer kept for one of its purposes",
	"excised":        "a number that the far party pressed is taken out",
	"discarded":      "ended, and what was captured was destroyed",
}

// by says who did it.
func by(who string) string {
	switch who {
	case "":
		return ""
	case "far", "near":
		return ", by a key of the " + who + " party"
	case "limit":
		return ", since a pause had lasted as long as it may"
	}
	return ", by " + who
}

// word is a row's word in words, with the row's own in brackets.
func word(words map[string]string, w string) string {
	if said, ok := words[w]; ok {
		return said + " (" + w + ")"
	}
	return w
}

func spell(from, to time.Time) string {
	if from.IsZero() {
		return ""
	}
	const layout = "15:04:05.000"
	return ", " + from.UTC().Format(layout) + " to " + to.UTC().Format(layout)
}

// times writes how many of a thing there are, nothing for none.
func times(before string, n int, thing string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return before + "1 " + thing
	}
	return fmt.Sprintf("%s%d %ss", before, n, thing)
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
