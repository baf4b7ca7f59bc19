package store

import (
	"fmt"
	"slices"
)

// State is how far a row has come.
//
//	calling ─▶ recording ─▶ finalizing ─▶ kept ──┐
//	   │           │            ├────────────────┤
//	   │           │            │                ▼
//	   ├───────────┼────────────┴─▶ failed ──▶ expired ─▶ destroyed
//	   └───────────┴─▶ not_recorded ─────────────▲
//
// Only the sweeper goes along the arrows to expired and to destroyed. A finalizing
// row can expire: a spool that cannot be finalized is no reason to keep it.
type State string

// The states of a row.
const (
	StateCalling     State = "calling"      // from the INVITE on
	StateRecording   State = "recording"    // packets are kept
	StateFinalizing  State = "finalizing"   // the call is over, the recording is not yet made
	StateKept        State = "kept"         // there is a recording
	StateNotRecorded State = "not_recorded" // there is none and need not be; Reason says why
	StateFailed      State = "failed"       // there should be one and is not; Reason says why
	StateExpired     State = "expired"      // its files are being deleted
	StateDestroyed   State = "destroyed"    // files and personal fields are gone
)

// arrows are the ways from one state to another. A row may be changed without
// leaving its state in those that have a way out other than the sweeper's next step.
var arrows = map[State][]State{
	StateCalling:     {StateCalling, StateRecording, StateNotRecorded, StateFailed},
	StateRecording:   {StateRecording, StateFinalizing, StateNotRecorded, StateFailed},
	StateFinalizing:  {StateFinalizing, StateKept, StateFailed, StateExpired},
	StateKept:        {StateKept, StateExpired},
	StateNotRecorded: {StateNotRecorded, StateExpired},
	StateFailed:      {StateFailed, StateExpired},
	StateExpired:     {StateDestroyed},
	StateDestroyed:   {},
}

// states lists every state, in the order of a row's life.
var states = []State{
	StateCalling, StateRecording, StateFinalizing, StateKept, StateNotRecorded, StateFailed, StateExpired, StateDestroyed,
}

// States returns every state, in the order of a row's life.
func States() []State { return slices.Clone(states) }

// TransitionError is a change of a row's state that has no arrow.
type TransitionError struct{ From, To State }

func (e *TransitionError) Error() string {
	if e.From == e.To {
		return fmt.Sprintf("a row that is %s cannot be changed", e.From)
	}
	return fmt.Sprintf("no way from %s to %s", e.From, e.To)
}

func checkArrow(from, to State) error {
	if !slices.Contains(arrows[from], to) {
		return &TransitionError{from, to}
	}
	return nil
}

func (s State) known() bool { _, ok := arrows[s]; return ok }

// unfinished reports whether a call or a job is at work on the row, or was when the
// process died.
func (s State) unfinished() bool {
	return s == StateCalling || s == StateRecording || s == StateFinalizing
}

// expires reports whether a row's expiry counts: a call that is up has no end yet
// to count from, and what is destroyed is done with.
func (s State) expires() bool {
	return s != StateCalling && s != StateRecording && s != StateDestroyed
}
