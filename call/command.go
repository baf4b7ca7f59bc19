package call

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
)

// Command is what the PBX or an operator has done to the recording of a call.
type Command struct {
	Kind CommandKind
	By   string // who asked
	Tag  [2]string

	Purpose string // of Keep
}

// CommandKind says what a command does.
type CommandKind string

// The commands.
const (
	Pause   CommandKind = "pause"
	Resume  CommandKind = "resume"
	Stop    CommandKind = "stop"    // ends the recording; what there is is kept
	Discard CommandKind = "discard" // ends it; what there is is destroyed
	Tag     CommandKind = "tag"
	Keep    CommandKind = "select" // what goes into a buffer is kept for another purpose
)

// needs is what the rule has to allow for a command.
var needs = map[CommandKind]policy.Control{
	Pause: policy.ControlPause, Resume: policy.ControlPause, Stop: policy.ControlStop, Discard: policy.ControlDiscard, Tag: policy.ControlTag, Keep: policy.ControlSelect,
}

// Why a command is not obeyed.
var (
	ErrNoCall      = errors.New("no such call is up")
	ErrForbidden   = errors.New("the rule does not allow it")
	ErrNotRecorded = errors.New("the call is not being recorded")
	errPaused      = fmt.Errorf("%w: it is paused already", ErrConflict)
	errFarPaused   = fmt.Errorf("%w: the far party wants the pause", ErrConflict)
	errNotPaused   = fmt.Errorf("%w: it is not paused", ErrConflict)
	errOver        = fmt.Errorf("%w: it ended meanwhile", ErrNoCall)
	ErrConflict    = errors.New("nothing to do")
	ErrUnfit       = errors.New("the recording is not kept for it")
	ErrTag         = errors.New("a tag is a name of letters, digits, - and _, of at most 32, and a text of at most 128; a call has at most 16")
)

// Steer has a call obey a command, and returns when it has: a pause when what records
// says so. Its error is one of those above, or the context's.
func (m *Manager) Steer(ctx context.Context, id string, command Command) error {
	m.mu.Lock()
	c := m.active[id]
	m.mu.Unlock()
	answer := make(chan error, 1)
	if c == nil || !c.letters.send(letter{kind: commanded, command: &command, answer: answer}) {
		return ErrNoCall
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// obey does what a command says, as far as the rule lets it.
func (c *Call) obey(command Command, answer chan<- error) {
	switch control, known := needs[command.Kind]; {
	case !known:
		respond(answer, fmt.Errorf("%w: %q is no command", ErrForbidden, string(command.Kind)))
	case !slices.Contains(c.decision.Control, control):
		respond(answer, fmt.Errorf("%w: rule %q, control: %s", ErrForbidden, c.row.Rule, control))
	case command.Kind == Tag:
		respond(answer, c.tag(command.Tag[0], command.Tag[1]))
	case command.Kind == Keep:
		respond(answer, c.choose(command.Purpose, command.By))
	case command.Kind == Discard && c.recording != nil: // also of what was stopped
		c.discard("discarded", command.By, answer, nil)
	case c.silent != "" || c.recording == nil && (command.Kind == Pause || command.Kind == Resume):
		respond(answer, ErrNotRecorded)
	case command.Kind == Pause:
		c.pause(command.By, answer)
	case command.Kind == Resume:
		c.resume(command.By, answer)
	case command.Kind == Stop:
		c.conclude("stopped", command.By)
		respond(answer, nil)
	default:
		c.discard("discarded", command.By, answer, nil)
	}
}

// choose has what is recorded into a buffer kept for another purpose, too.
func (c *Call) choose(purpose, by string) error {
	if c.silent != "" {
		return ErrNotRecorded
	}
	if slices.ContainsFunc(c.decision.Terms, func(term policy.Term) bool { return term.Purpose == purpose }) {
		return fmt.Errorf("%w: it is kept for %s already", ErrConflict, purpose)
	}
	made := Made(&c.row)
	if a := c.decision.Announce; a != nil && a.OptIn != "" { // nothing is recorded before he has pressed it
		made.Agreed = true
	}
	term, err := c.rules.Select(made, purpose, time.Now())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	c.keptFor(append(slices.Clip(c.decision.Terms), term))
	c.mark("selected", by)
	if c.recording != nil {
		retentionOf(&c.decision).expire(&c.row, c.started.UTC())
	}
	c.update(c.row.State)
	return nil
}

// keptFor has the recording kept for these purposes, until the last of them is over.
func (c *Call) keptFor(terms policy.Terms) {
	d := &c.decision
	last, _ := terms.Last(c.began)
	d.Terms, d.Purpose, d.Basis, d.Retention, d.Numbers, d.Certificate = terms, last.Purpose, last.Basis, last.Retention, last.Numbers, last.Certificate
	c.purposes()
}

const maxTags, maxTagName, maxTagText = 16, 32, 128

// tag notes something with the call.
func (c *Call) tag(name, text string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	_, known := c.row.Tags[name]
	if name == "" || len(name) > maxTagName || strings.Trim(name, letters) != "" || len(text) > maxTagText || !known && len(c.row.Tags) == maxTags ||
		strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ErrTag
	}
	tags := map[string]string{}
	maps.Copy(tags, c.row.Tags) // what was handed to the store stays as it was
	tags[name] = text
	c.row.Tags = tags
	c.update(c.row.State)
	return nil
}

// narrow has the call recorded for one of its rule's purposes alone, the PBX's choice.
func (c *Call) narrow(purpose string) error {
	for _, term := range c.decision.Terms {
		if term.Purpose == purpose {
			c.keptFor(policy.Terms{term})
			return nil
		}
	}
	return fmt.Errorf("%q is no purpose of the rule's", purpose)
}

// ours is how headers begin that are between the PBX and us: they go no further.
const ours = "X-Bewaard-"

// instruct takes what the PBX says of the recording in the headers of its INVITE or answer.
// What the rule does not allow is not done, and logged.
func (c *Call) instruct(leg rtp.Leg, headers []sip.Header) {
	if c.side(leg) != policy.Near {
		return
	}
	for _, h := range headers {
		name, ok := strings.CutPrefix(h.Name, ours)
		if !ok {
			continue
		}
		control, err := policy.Control(strings.ToLower(name)), error(nil)
		switch {
		case control == "record" && strings.EqualFold(h.Value, "off"):
			if control = policy.ControlOff; c.silent == "" && slices.Contains(c.decision.Control, control) {
				c.cease()
				c.silent = "off"
				continue
			}
		case control == policy.ControlPurpose && slices.Contains(c.decision.Control, control):
			if err = c.narrow(strings.TrimSpace(h.Value)); err == nil {
				continue
			}
		case control == policy.ControlSelect && slices.Contains(c.decision.Control, control):
			if err = c.choose(strings.TrimSpace(h.Value), "header"); err == nil {
				continue
			}
		case control == policy.ControlTag && slices.Contains(c.decision.Control, control):
			name, text, _ := strings.Cut(h.Value, "=")
			err = c.tag(strings.TrimSpace(name), strings.TrimSpace(text))
			if err == nil {
				continue
			}
		}
		if c.silent == "" {
			c.log.Warn("header of the PBX not obeyed", "call_id", c.id, "header", h.Name, "rule", c.row.Rule, "error", errors.Join(err, ErrForbidden))
		}
	}
}
