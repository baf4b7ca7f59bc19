package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

// journalTable is number, big endian → the entry's bytes.
var journalTable = "journal"

// Daemon is the actor of what the daemon does by itself.
const Daemon = "daemon"

// HeadFile is the name, in the store's directory, of the file that the journal's head
// is appended to every day, to be copied to where nobody who can write here can.
const HeadFile = "journal-head.txt"

// Act is who does something to what is kept, and why. Neither names a call's party: the
// journal is kept for ever.
type Act struct {
	Actor  string
	Reason string
}

// ErrAct is wrapped when an actor or a reason is none that the journal can take.
var ErrAct = errors.New("not for the journal")

// subject matches what may be somebody's number or address.
var subject = regexp.MustCompile(`\+[\d ().-]{7,}|(^|[^\d-])0[\d ().-]{8,}|\S@\S`)

// namesSubject reports whether a text seems to have somebody's number or address: one
// of seven digits after a plus, of nine that begin with 0. A date has eight.
func namesSubject(text string) bool {
	for _, found := range subject.FindAllString(text, -1) {
		digits := 0
		for _, r := range found {
			if r >= '0' && r <= '9' {
				digits++
			}
		}
		if strings.Contains(found, "@") || digits >= 9 || strings.HasPrefix(found, "+") && digits >= 7 {
			return true
		}
	}
	return false
}

// check reports what cannot stand in the journal. Whoever does something by himself
// says why.
func (a Act) check() error {
	switch {
	case a.Actor == "":
		return fmt.Errorf("%w: nobody is named who does it", ErrAct)
	case a.Actor != Daemon && strings.TrimSpace(a.Reason) == "":
		return fmt.Errorf("%w: no reason is given: say why", ErrAct)
	case a.Actor != Daemon && namesSubject(a.Reason):
		return fmt.Errorf("%w: the reason has what looks like a number or an address of a person: the journal is kept for ever, name a case instead", ErrAct)
	}
	for _, text := range []string{a.Actor, a.Reason} {
		if err := journal.CheckText(text); err != nil {
			return fmt.Errorf("%w: %w", ErrAct, err)
		}
	}
	return nil
}

// Note writes into the journal that something is about to be done: it is on disk when
// Note returns nil, and where it returns an error the deed must be left undone.
func (s *Store) Note(action journal.Action, object string, act Act) error {
	if err := act.check(); err != nil {
		return fmt.Errorf("journal %s of %q: %w", action, object, err)
	}
	err := s.commit(func(tx table.Tx) (refusal, err error) {
		_, err = note(tx, action, object, act)
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("journal %s of %q: %w", action, object, err)
	}
	return nil
}

// NoteListed journals that somebody is about to see rows that say who called, or to learn which
// have the number that he asks for: how many, not which. He need not say why. Where the rows
// say nothing of that there is no entry.
func (s *Store) NoteListed(object string, rows []Row, byNumber bool, act Act) error {
	named := 0
	for i := range rows {
		if !rows[i].Personal.empty() {
			named++
		}
	}
	why := fmt.Sprintf("listed rows with numbers: %d", named)
	switch {
	case byNumber:
		why = fmt.Sprintf("listed rows of a number: %d", len(rows))
	case named == 0:
		return nil
	}
	if act.Reason != "" {
		if err := act.check(); err != nil { // it is his own, and may name nobody
			return err
		}
		why += ": " + act.Reason
	}
	act.Reason = why
	return s.Note(journal.List, object, act)
}

// note appends an entry within a transaction: it is on disk if and only if what the
// transaction does is.
func note(tx table.Tx, action journal.Action, object string, act Act) (journal.Head, error) {
	entries := tx.Table(journalTable)
	head, err := readHead(tx)
	if err != nil {
		return journal.Head{}, err
	}
	line, next, err := head.Next(journal.Entry{At: time.Now(), Actor: act.Actor, Action: action, Object: object, Reason: act.Reason})
	if err != nil {
		return journal.Head{}, err
	}
	return next, entries.Put(numberKey(next.Number), line)
}

func numberKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func keyNumber(key []byte) uint64 {
	if len(key) != 8 {
		return 0 // no number of ours
	}
	return binary.BigEndian.Uint64(key)
}

func readHead(tx table.Tx) (journal.Head, error) {
	var line []byte
	for _, line = range tx.Table(journalTable).Descend(nil) {
		break
	}
	head, err := journal.HeadOf(line)
	if err != nil {
		return head, fmt.Errorf("the journal's last entry: %w", err)
	}
	return head, nil
}

// Head returns the journal's head.
func (s *Store) Head() (head journal.Head, err error) {
	err = s.db.View(func(tx table.Tx) error {
		head, err = readHead(tx)
		return err
	})
	return head, err
}

// JournalQuery says which entries Journal returns. A zero field asks for nothing.
type JournalQuery struct {
	Since  time.Time
	Action journal.Action
	Object string
	After  uint64 // the number of the last entry of the page before
	Limit  int    // entries at most, 1,000 at most. Default: 100
}

func (q *JournalQuery) limit() int { return (&Query{Limit: q.Limit}).limit() }

func (q *JournalQuery) matches(e *journal.Entry) bool {
	return (q.Action == "" || q.Action == e.Action) && (q.Object == "" || q.Object == e.Object) && !e.At.Before(q.Since)
}

// Journal returns a page of entries, the first first, and the number to ask for After
// to have the next page: 0 when there is none.
func (s *Store) Journal(ctx context.Context, q JournalQuery) (entries []journal.Entry, next uint64, err error) {
	for more := true; more; {
		if err := context.Cause(ctx); err != nil {
			return nil, 0, fmt.Errorf("read the journal: %w", err)
		}
		err := s.db.View(func(tx table.Tx) (err error) {
			more, err = journalPage(tx, &q, &entries)
			return err
		})
		if err != nil {
			return nil, 0, fmt.Errorf("read the journal: %w", err)
		}
		if more && len(entries) == q.limit() {
			return entries, q.After, nil
		}
	}
	return entries, 0, nil
}

// noted returns when an entry was written, zero where there is none that can be read.
func (s *Store) noted(number uint64) (at time.Time, err error) {
	err = s.db.View(func(tx table.Tx) error {
		at = notedIn(tx, number)
		return nil
	})
	return at, err
}

func notedIn(tx table.Tx, number uint64) time.Time {
	e, err := journal.Decode(tx.Table(journalTable).Get(numberKey(number)))
	if err != nil {
		return time.Time{}
	}
	return e.At
}

// journalPage looks at some entries, takes those asked for and moves After on.
func journalPage(tx table.Tx, q *JournalQuery, entries *[]journal.Entry) (more bool, err error) {
	seen := 0
	for key, line := range tx.Table(journalTable).Ascend(numberKey(q.After + 1)) {
		if seen++; seen > rowsPerRead || len(*entries) == q.limit() {
			return true, nil
		}
		e, err := journal.Decode(line)
		if err != nil {
			return false, err
		}
		if q.matches(&e) {
			*entries = append(*entries, e)
		}
		q.After = keyNumber(key)
	}
	return false, nil
}

// Witness appends the journal's head to the file of heads and logs it. It is for once a
// day: who copies these lines elsewhere can show later that nothing was changed.
func (s *Store) Witness() error {
	_, err := s.witness()
	return err
}

func (s *Store) witness() (head journal.Head, err error) {
	if head, err = s.Head(); err != nil {
		return head, fmt.Errorf("witness the journal's head: %w", err)
	}
	line := fmt.Sprintf("%s %v\n", time.Now().UTC().Format(time.RFC3339), head)
	if err := s.appendHead(line); err != nil {
		return head, fmt.Errorf("append the journal's head to %s: %w", HeadFile, err)
	}
	s.metrics.witnessed(head)
	s.log.Info("journal head", "entries", head.Number, "sha256", head.Hash.String())
	return head, nil
}

func (s *Store) appendHead(line string) error {
	f, err := s.disk.OpenFile(HeadFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Sync(), f.Close(), s.disk.Sync("."))
}

// ReadHeads reads a file of heads as Witness writes it: a line has an instant, a number
// and a hash.
func ReadHeads(text []byte) (heads []journal.Head, err error) {
	for i, line := range bytes.Split(text, []byte("\n")) {
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		var head journal.Head
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: want an instant, a number and a hash", i+1)
		}
		if head.Number, err = strconv.ParseUint(string(fields[1]), 10, 64); err != nil {
			return nil, fmt.Errorf("line %d: %.40q is not the number of an entry", i+1, fields[1])
		}
		if err := head.Hash.UnmarshalText(fields[2]); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		heads = append(heads, head)
	}
	return heads, nil
}
