package store

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/store/seal"
)

// Row is what is known of one call: who, when, by which rule, what the far party
// was told, what was recorded, until when it may be kept. Instants are UTC.
type Row struct {
	ID     string `json:"id"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // why not_recorded or failed, in one word

	Direction   string `json:"direction,omitempty"`
	CallerTrunk string `json:"caller_trunk,omitempty"`
	CalleeTrunk string `json:"callee_trunk,omitempty"`

	Personal
	// Sealed says that Personal is there and cannot be read here: the master identity is on
	// another machine.
	Sealed bool `json:"sealed,omitempty"`

	Began    time.Time `json:"began"`
	Answered time.Time `json:"answered,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`

	Outcome   string `json:"outcome,omitempty"`
	Cause     string `json:"cause,omitempty"`
	EndedBy   string `json:"ended_by,omitempty"` // the leg that ended the call
	SIPStatus int    `json:"sip_status,omitempty"`

	ContinuedIn string `json:"continued_in,omitempty"` // the call that a party went over to by a transfer

	Rule      string    `json:"rule,omitempty"`
	Policy    string    `json:"policy,omitempty"` // version of the policy that decided
	Purpose   string    `json:"purpose,omitempty"`
	Basis     string    `json:"basis,omitempty"`
	Retention string    `json:"retention,omitempty"` // ISO 8601
	Expires   time.Time `json:"expires,omitzero"`

	Terms []Term `json:"terms,omitempty"` // every purpose that it is kept for, where it is more than one

	// How long the personal fields are kept, where that is longer than the recording, and how
	// long what is left, with the certificate: ISO 8601, and the instants that they come to.
	RowRetention         string    `json:"row_retention,omitempty"`
	RowExpires           time.Time `json:"row_expires,omitzero"`
	CertificateRetention string    `json:"certificate_retention,omitempty"`
	CertificateExpires   time.Time `json:"certificate_expires,omitzero"`

	Announcement *Announcement  `json:"announcement,omitempty"` // to the far party, or to who was told alone
	Further      []Announcement `json:"further_announcements,omitempty"`
	Events       []Event        `json:"events,omitempty"` // what was done to the recording, in order
	Recording    *Recording     `json:"recording,omitempty"`
	Tries        int            `json:"tries,omitempty"` // begun to make the recording's files
	Files        []File         `json:"files,omitempty"`
	Audio        []Audio        `json:"audio,omitempty"` // of the legs that RTP came on

	Holds []string `json:"holds,omitempty"` // ids of the legal holds that it is under

	Entry     uint64    `json:"entry,omitempty"`    // the journal's, that its files were about to be deleted
	Discarded time.Time `json:"discarded,omitzero"` // when what was captured was gone, before the row's own time
	Destroyed time.Time `json:"destroyed,omitzero"` // when the files were gone, and the personal fields but for RowExpires
	Cleared   time.Time `json:"cleared,omitzero"`   // when the personal fields were gone, if later

	// Personal as it is kept; a row that was read and not opened has these alone.
	part   *sealedPart
	tokens []token // of the numbers in it
}

// Personal is what tells who called. It lies in the database sealed to the epoch on which the
// personal fields expire, and is gone when the row is destroyed, or at RowExpires.
type Personal struct {
	Caller string `json:"caller,omitempty"`
	Callee string `json:"callee,omitempty"`
	// Agents are the numbers of ours that were in the call, who was first first.
	Agents       []string `json:"agents,omitempty"`
	CallerCallID string   `json:"caller_call_id,omitempty"` // SIP Call-ID of the caller leg
	CalleeCallID string   `json:"callee_call_id,omitempty"`

	Joined []Joined `json:"joined,omitempty"` // in their order

	Tags map[string]string `json:"tags,omitempty"` // whatever a PBX or a program has noted
}

func (p *Personal) empty() bool {
	return p.Caller == "" && p.Callee == "" && p.CallerCallID == "" && p.CalleeCallID == "" && len(p.Agents) == 0 && len(p.Joined) == 0 && len(p.Tags) == 0
}

// numbers yields every party's number, as often as it is there.
func (p *Personal) numbers(yield func(string) bool) {
	if p.Caller != "" && !yield(p.Caller) || p.Callee != "" && !yield(p.Callee) {
		return
	}
	for _, j := range p.Joined {
		if j.Number != "" && !yield(j.Number) {
			return
		}
	}
}

// Term is one purpose of a recording, on its own basis and for its own time. A recording is
// kept until the last of its terms is over; the row's own purpose is that one's.
type Term struct {
	Purpose              string `json:"purpose"`
	Basis                string `json:"basis"`
	Retention            string `json:"retention"` // ISO 8601, as those that follow
	RowRetention         string `json:"row_retention,omitempty"`
	CertificateRetention string `json:"certificate_retention,omitempty"`
	// Withdrawn says that it is no longer kept for that, since that entry of the journal.
	Withdrawn bool   `json:"withdrawn,omitempty"`
	Entry     uint64 `json:"entry,omitempty"`
}

// AllTerms returns every purpose that the row is kept for, its own alone too.
func (r *Row) AllTerms() []Term {
	return slices.DeleteFunc(r.EveryTerm(), func(t Term) bool { return t.Withdrawn })
}

// EveryTerm returns those that were withdrawn, too.
func (r *Row) EveryTerm() []Term {
	switch {
	case len(r.Terms) > 0:
		return slices.Clone(r.Terms)
	case r.Purpose == "":
		return nil
	}
	return []Term{{Purpose: r.Purpose, Basis: r.Basis, Retention: r.Retention, RowRetention: r.RowRetention, CertificateRetention: r.CertificateRetention}}
}

// withdrawn returns the entry of the journal since which the row is kept for nothing, 0 where
// something is left.
func (r *Row) withdrawn() (entry uint64) {
	for _, t := range r.EveryTerm() {
		if !t.Withdrawn {
			return 0
		}
		entry = max(entry, t.Entry)
	}
	return entry
}

// purposes are those that the row is found by: its own and those of its terms.
func (r *Row) purposes() []string {
	var purposes []string
	if r.Purpose != "" {
		purposes = append(purposes, r.Purpose)
	}
	for _, t := range r.AllTerms() {
		if !slices.Contains(purposes, t.Purpose) {
			purposes = append(purposes, t.Purpose)
		}
	}
	return purposes
}

// Joined is a party that came into the call later: called for the number dialled, which
// redirected the call, or put into a party's place by a transfer.
type Joined struct {
	At     time.Time `json:"at"`
	Leg    string    `json:"leg"` // whose place
	Trunk  string    `json:"trunk"`
	Number string    `json:"number"`
	Call   string    `json:"call,omitempty"` // that it was in before
}

// Announcement is the proof of what a party was told before it was recorded.
type Announcement struct {
	Prompt   string `json:"prompt,omitempty"`
	Language string `json:"language,omitempty"`
	Text     string `json:"text,omitempty"`
	SHA256   string `json:"sha256,omitempty"` // of the prompt's file, in hex

	Leg           string    `json:"leg,omitempty"` // the leg it was played to
	Codec         string    `json:"codec,omitempty"`
	Packets       int       `json:"packets"` // sent
	Total         int       `json:"total"`   // of the prompt
	FirstSequence uint16    `json:"first_sequence"`
	LastSequence  uint16    `json:"last_sequence"`
	FirstAt       time.Time `json:"first_at,omitzero"`
	LastAt        time.Time `json:"last_at,omitzero"`
	Complete      bool      `json:"complete"` // every packet was sent, uninterrupted
	Interruptions int       `json:"interruptions,omitempty"`
	OptedIn       time.Time `json:"opted_in,omitzero"` // when the listener pressed the key by which he agreed

	Level                string  `json:"level,omitempty"`                 // sent, path_alive or confirmed
	AcknowledgedSequence uint32  `json:"acknowledged_sequence,omitempty"` // highest extended one in a receiver report (RFC 3550 §6.4.1)
	AcknowledgedLoss     float64 `json:"acknowledged_loss,omitempty"`     // ratio lost in that report

	Exempt string `json:"exempt,omitempty"` // the written reason why nobody was told
}

// Become makes a row what its call says of it, but for what the store has noted there since.
func (r *Row) Become(by Row) {
	by.Holds, by.Tries, by.Entry, by.Discarded = r.Holds, r.Tries, r.Entry, r.Discarded
	if by.CertificateExpires.IsZero() {
		by.CertificateExpires = r.CertificateExpires
	}
	*r = by
}

// Tell adds what a party was told: as the row's own announcement, or as a further one, in
// place of what the same leg was told before it was interrupted.
func (r *Row) Tell(a *Announcement, own bool) {
	if own {
		r.Announcement = a
		return
	}
	r.Further = slices.Clone(r.Further)
	for i, before := range r.Further {
		if before.Leg == a.Leg && (!before.Complete || before.FirstAt.Equal(a.FirstAt)) {
			r.Further[i] = *a
			return
		}
	}
	r.Further = append(r.Further, *a)
}

// Told returns every announcement of the row, to be changed in place.
func (r *Row) Told() (all []*Announcement) {
	if r.Announcement != nil {
		all = append(all, r.Announcement)
	}
	for i := range r.Further {
		all = append(all, &r.Further[i])
	}
	return all
}

// Event is something that was done to a recording while the call was on.
type Event struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`         // paused, resumed, objected, stopped, discarded, selected, withdrawn
	By   string    `json:"by,omitempty"` // far, near, header, limit, or who asked over HTTP
}

// Recording is what was captured of a call, against what should have been.
type Recording struct {
	Began           time.Time `json:"began,omitzero"`
	Ended           time.Time `json:"ended,omitzero"`
	Parties         string    `json:"parties,omitempty"` // far or near, where only that one is recorded
	ExpectedSeconds float64   `json:"expected_seconds"`
	CapturedSeconds float64   `json:"captured_seconds"`
	Lost            uint64    `json:"lost"`                     // packets the network never brought
	Dropped         uint64    `json:"dropped"`                  // packets we threw away
	NoticeSeconds   float64   `json:"notice_seconds,omitempty"` // of the announcement that the files begin with, before Began
	CutSeconds      float64   `json:"cut_seconds,omitempty"`    // of pauses that are not in the files
	Torn            bool      `json:"torn,omitempty"`
}

// Channels is how many parties are recorded.
func (r *Recording) Channels() int {
	if r.Parties != "" {
		return 1
	}
	return 2
}

// Audio is what the network brought of a party's audio until the call ended, and what
// the party reported of ours.
type Audio struct {
	Leg        string  `json:"leg"`
	Codec      string  `json:"codec,omitempty"`
	Packets    uint64  `json:"packets"`
	Lost       uint64  `json:"lost"`
	Duplicates uint64  `json:"duplicates,omitempty"`
	Reordered  uint64  `json:"reordered,omitempty"`
	Rejected   uint64  `json:"rejected,omitempty"`      // from elsewhere than the party
	JitterMS   float64 `json:"jitter_ms"`               // RFC 3550 §6.4.1
	MOS        float64 `json:"mos"`                     // 1–4.5, ITU-T G.107
	RoundTrip  float64 `json:"round_trip_ms,omitempty"` // between the party and us
	PeerLost   uint64  `json:"peer_lost,omitempty"`     // of what we sent, as the party reported
	PeerJitter float64 `json:"peer_jitter_ms,omitempty"`
	Silent     bool    `json:"silent,omitempty"` // nothing came for long when something should have
	// Protection is how the packets between the party and us were protected, or were last: "sdes"
	// or "dtls", how the keys were agreed, and the suite; "" for never. Unprotected is how many
	// packets came while they were not.
	Protection  string `json:"protection,omitempty"`
	Unprotected uint64 `json:"unprotected,omitempty"`
}

// File is one file of a recording, as it lies on the disk: an age file, sealed to the epoch on
// which the recording expires.
type File struct {
	Path    string     `json:"path"` // relative to the store's directory, with slashes
	Format  string     `json:"format"`
	Bytes   int64      `json:"bytes"`
	Seconds float64    `json:"seconds"`
	SHA256  string     `json:"sha256"`          // of the sealed file, in hex
	Epoch   seal.Epoch `json:"epoch,omitempty"` // empty of one that was made before there were keys

	ContentBytes  int64  `json:"content_bytes,omitempty"`  // of what is sealed in it
	ContentSHA256 string `json:"content_sha256,omitempty"` // the same, in hex
}

// captured reports whether there was something of the call to destroy, or still is.
func (r *Row) captured() bool { return r.Recording != nil || len(r.Files) > 0 }

// discarding reports whether what was captured is to be destroyed at once, and is not yet.
func (r *Row) discarding() bool {
	return r.State == StateNotRecorded && r.Entry != 0 && r.Discarded.IsZero()
}

// keeping says for what a recording is kept, and until when, as the journal has it.
func (r *Row) keeping() string {
	if entry := r.withdrawn(); entry != 0 {
		return fmt.Sprintf("for nothing, since entry %d, until %s", entry, r.Expires.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("for %s for %s, until %s", r.Purpose, r.Retention, r.Expires.Format(time.RFC3339Nano))
}

// clearPersonal takes away what tells who called.
func (r *Row) clearPersonal() {
	r.Personal, r.Sealed, r.part, r.tokens = Personal{}, false, nil, nil
}

// personal reports whether the row says who called.
func (r *Row) personal() bool { return r.part != nil || !r.Personal.empty() }

// due reports whether the row's time is over.
func (r *Row) due(now time.Time) bool {
	return r.State.expires() && !r.held() && !r.Expires.IsZero() && !r.Expires.After(now)
}

// named reports whether a destroyed row still says who called, as it may until RowExpires.
func (r *Row) named() bool {
	return r.State == StateDestroyed && r.RowExpires.After(r.Destroyed) && r.Cleared.IsZero()
}

// held reports whether the row is under legal hold.
func (r *Row) held() bool { return len(r.Holds) > 0 }

// check holds a row against what is true of every row.
func (r *Row) check() error {
	if err := checkID(r.ID); err != nil {
		return err
	}
	if !r.State.known() {
		return fmt.Errorf("unknown state %q", r.State)
	}
	if r.Began.IsZero() {
		return errors.New("no beginning")
	}
	for _, t := range r.instants() {
		if year := t.UTC().Year(); year < 0 || year > 9999 { // RFC 3339 §1 ends there
			return fmt.Errorf("an instant in the year %d", year)
		}
	}
	if (r.State == StateDestroyed) == r.Destroyed.IsZero() {
		return errors.New("destroyed without saying when, or not destroyed and saying when")
	}
	switch r.State {
	case StateRecording, StateFinalizing, StateKept:
		if r.Purpose == "" || r.Basis == "" || r.Retention == "" {
			return fmt.Errorf("%s without purpose, basis and retention", r.State)
		}
	}
	if r.State.expires() && r.State != StateFinalizing && r.Expires.IsZero() {
		return fmt.Errorf("%s without an expiry", r.State)
	}
	if r.held() && (r.State == StateExpired || r.State == StateDestroyed && !r.named()) {
		return fmt.Errorf("%s, and %w", r.State, ErrHeld)
	}
	if r.State == StateNotRecorded && len(r.Files) > 0 {
		return fmt.Errorf("%s with files", r.State)
	}
	for _, f := range r.Files {
		if !r.owns(f.Path) {
			return fmt.Errorf("file %q is not one of recordings/…/%s.*", f.Path, r.ID)
		}
	}
	return nil
}

// owns reports whether a path can be one of the row's recordings. The sweeper
// deletes what rows name: a row must not be able to name another's file.
func (r *Row) owns(name string) bool {
	return belowRecordings(name) && strings.HasPrefix(path.Base(name), r.ID+".")
}

// instants returns every instant of the row.
func (r *Row) instants() []*time.Time {
	instants := []*time.Time{&r.Began, &r.Answered, &r.Ended, &r.Expires, &r.RowExpires, &r.CertificateExpires, &r.Discarded, &r.Destroyed, &r.Cleared}
	for _, a := range r.Told() {
		instants = append(instants, &a.FirstAt, &a.LastAt, &a.OptedIn)
	}
	for i := range r.Events {
		instants = append(instants, &r.Events[i].At)
	}
	if c := r.Recording; c != nil {
		instants = append(instants, &c.Began, &c.Ended)
	}
	for i := range r.Joined {
		instants = append(instants, &r.Joined[i].At)
	}
	return instants
}

// inUTC brings every instant to UTC and takes the monotonic reading off, so that a
// row reads the same before and after it was kept.
func (r *Row) inUTC() {
	for _, t := range r.instants() {
		*t = t.Round(0).UTC()
	}
}

// Equal reports whether two rows say the same, whatever they are sealed with.
func (r Row) Equal(other Row) bool {
	r.part, r.tokens, other.part, other.tokens = nil, nil, nil, nil
	return reflect.DeepEqual(r, other)
}

// Clone returns a copy that shares no memory with the row.
func (r Row) Clone() Row {
	if r.Announcement != nil {
		announcement := *r.Announcement
		r.Announcement = &announcement
	}
	if r.Recording != nil {
		recording := *r.Recording
		r.Recording = &recording
	}
	r.Files, r.Joined, r.Audio, r.Holds = slices.Clone(r.Files), slices.Clone(r.Joined), slices.Clone(r.Audio), slices.Clone(r.Holds)
	r.Further, r.Events, r.Tags, r.Terms = slices.Clone(r.Further), slices.Clone(r.Events), maps.Clone(r.Tags), slices.Clone(r.Terms)
	r.tokens = slices.Clone(r.tokens) // part is never changed
	return r
}
