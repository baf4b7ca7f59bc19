// Package journal is a chain of entries that say who did what to what is kept, and
// why: each names the hash of the one before it, so that whoever has a later hash can
// see whether an earlier entry was changed, left out or put in. It is pure: where
// entries are kept is its caller's.
//
//	entry 1 ◀─ SHA-256 ─ entry 2 ◀─ SHA-256 ─ entry 3 ◀─ SHA-256 ─ head
//
// An entry's bytes are one line of JSON, its keys in a fixed order: the SHA-256 of a
// line is what the next line has as previous, and any tool can compute it.
//
// The chain shows that nothing was changed since somebody else was told a head. Who
// has the database and tells nobody a head can write it anew.
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// Action is what was done, or was about to be.
type Action string

// The actions. Those that take something away are written before it is done.
const (
	NodeKey      Action = "node_key"      // the node signs certificates with that public key from now on
	Listen       Action = "listen"        // somebody hears a recording
	Export       Action = "export"        // a recording leaves the daemon
	List         Action = "list"          // rows that say who called are shown, or looked for by a number
	Hold         Action = "hold"          // a legal hold is laid
	Release      Action = "release"       // a legal hold is taken away
	Keep         Action = "keep"          // a recording is kept from now on, for what and until when
	Select       Action = "select"        // a recording gets another purpose
	Withdraw     Action = "withdraw"      // a recording loses a purpose
	Stop         Action = "stop"          // somebody ends the recording of a call that goes on; what there is is kept
	Delete       Action = "delete"        // somebody has a recording destroyed before its time
	Objection    Action = "objection"     // a party of the call objected: what was captured goes
	Expire       Action = "expire"        // its time is over: its files are about to be deleted
	Destroy      Action = "destroy"       // its files are gone; the reason is its certificate's hash
	Sweep        Action = "sweep"         // calls that were never to be recorded lose their numbers
	Remove       Action = "remove"        // what was left of a destroyed row is removed, with its certificate
	GuardTripped Action = "guard_tripped" // nothing is destroyed until somebody confirms the clock
	ConfirmClock Action = "confirm_clock" // somebody says that the clock is right
	Snapshot     Action = "snapshot"      // a copy of the database is made
	Compact      Action = "compact"       // the database is written anew, without its free pages
	Reconcile    Action = "reconcile"     // files and rows were compared, and did not agree
	EpochKey     Action = "epoch_key"     // an epoch's key is made or destroyed
	Reseal       Action = "reseal"        // a recording is encrypted for another epoch
)

// Actions lists every action.
func Actions() []Action {
	return []Action{NodeKey, Listen, Export, List, Hold, Release, Keep, Select, Withdraw, Stop, Delete, Objection, Expire, Destroy, Sweep, Remove,
		GuardTripped, ConfirmClock, Snapshot, Compact, Reconcile, EpochKey, Reseal}
}

// Hash is the SHA-256 of an entry's bytes. Zero before the first entry.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes the hash in hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("a hash of %d characters, want %d", len(text), hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Entry is one line of the journal. It never holds data of a call's parties: an
// object is an id, and a reason is in the words of who acts.
type Entry struct {
	Number   uint64    `json:"number"` // from 1
	At       time.Time `json:"at"`     // UTC
	Actor    string    `json:"actor"`
	Action   Action    `json:"action"`
	Object   string    `json:"object"` // of a recording or hold, or what the action is about
	Reason   string    `json:"reason"`
	Previous Hash      `json:"previous"` // of the entry before
}

const (
	// maxText is how many bytes an actor, object or reason may have.
	maxText = 1000
	// maxEntry is how many bytes an entry can have: every byte of its texts escaped.
	maxEntry = 3*6*maxText + 1000
)

// check holds an entry against what is true of every entry.
func (e *Entry) check() error {
	if e.Number == 0 {
		return errors.New("its number is 0")
	}
	if !slices.Contains(Actions(), e.Action) {
		return fmt.Errorf("no action %q", e.Action)
	}
	if year := e.At.Year(); e.At.Location() != time.UTC || year < 1 || year > 9999 { // RFC 3339 §1 ends there
		return fmt.Errorf("%v is no instant in UTC", e.At)
	}
	if e.Actor == "" {
		return errors.New("no actor")
	}
	for _, field := range [...]struct{ name, text string }{{"actor", e.Actor}, {"object", e.Object}, {"reason", e.Reason}} {
		if err := CheckText(field.text); err != nil {
			return fmt.Errorf("%s: %w", field.name, err)
		}
	}
	return nil
}

// CheckText reports what no actor, object or reason can be.
func CheckText(text string) error {
	switch {
	case len(text) > maxText:
		return fmt.Errorf("it has %d bytes, %d are the most", len(text), maxText)
	case !utf8.ValidString(text):
		return errors.New("it is not UTF-8")
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return fmt.Errorf("it has a control character, %U", r)
		}
	}
	return nil
}

// Encode returns the entry's bytes: those that are kept and hashed.
func (e Entry) Encode() ([]byte, error) {
	e.At = e.At.Round(0).UTC()
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("journal entry %d: %w", e.Number, err)
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return nil, fmt.Errorf("journal entry %d: %w", e.Number, err)
	}
	return bytes.TrimSuffix(line.Bytes(), []byte("\n")), nil
}

// Decode reads an entry's bytes. It takes them only as Encode writes them: two lines
// that say the same and differ would have two hashes.
func Decode(line []byte) (Entry, error) {
	if len(line) > maxEntry {
		return Entry{}, fmt.Errorf("read journal entry: it has %d bytes, %d are the most", len(line), maxEntry)
	}
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return Entry{}, fmt.Errorf("read journal entry: %w", err)
	}
	again, err := e.Encode()
	if err != nil {
		return Entry{}, fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(line, again) {
		return Entry{}, fmt.Errorf("read journal entry %d: not in the form it is written in", e.Number)
	}
	return e, nil
}

// HashOf returns the hash of an entry's bytes.
func HashOf(line []byte) Hash { return sha256.Sum256(line) }

// Head is the last entry of a chain. Zero of an empty one.
type Head struct {
	Number uint64 `json:"number"`
	Hash   Hash   `json:"hash"`
}

// HeadOf returns the head of a chain that ends with these bytes, none for an empty chain.
func HeadOf(line []byte) (Head, error) {
	if line == nil {
		return Head{}, nil
	}
	e, err := Decode(line)
	return Head{e.Number, HashOf(line)}, err
}

// Next returns the entry, its number and previous hash made those that follow the
// head, as bytes, and the head that it then is.
func (h Head) Next(e Entry) (line []byte, head Head, err error) {
	e.Number, e.Previous = h.Number+1, h.Hash
	line, err = e.Encode()
	return line, Head{e.Number, HashOf(line)}, err
}

// String writes a head as a line of a file of heads has it: its number and its hash.
func (h Head) String() string { return fmt.Sprintf("%d %s", h.Number, h.Hash) }
