package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
)

// rowKeysTable has the keys that personal parts are sealed with, each sealed to its epoch:
// epoch, then id → age file.
var rowKeysTable = "row_keys"

func rowKeyKey(e seal.Epoch, id string) []byte { return []byte(string(e) + id) }

// epoch is the one on which the personal fields expire: with the recording, or later. A row
// that says nothing of that yet is given the day on which the call began; whatever has one
// that is not due keeps an epoch alive. Where files were sealed to a later one it goes along, and
// what is under legal hold stays in the later one that it was sealed to for that.
func (r *Row) epoch() seal.Epoch {
	expires := r.Expires
	if r.RowExpires.After(expires) {
		expires = r.RowExpires
	}
	if expires.IsZero() {
		expires = r.Began
	}
	epoch := seal.EpochOf(expires)
	for _, f := range r.Files {
		epoch = max(epoch, f.Epoch)
	}
	if r.held() && r.part != nil {
		epoch = max(epoch, r.part.Epoch)
	}
	return epoch
}

// seal seals the row's personal part, so that it can be put. A row that was not opened keeps
// the part that it has, in the epoch that it was sealed to. Where the epoch is destroyed
// already the time of what would be sealed to it is over, and it goes.
func (s *Store) seal(tx table.Tx, r *Row) error { return s.sealTo(tx, r, r.epoch()) }

func (s *Store) sealTo(tx table.Tx, r *Row, epoch seal.Epoch) error {
	if r.Personal.empty() {
		return nil
	}
	key, err := s.keys.RowKey(epoch)
	if errors.Is(err, seal.ErrDestroyed) {
		s.log.Warn("row written after the end of its epoch: its numbers are dropped", "call_id", r.ID, "epoch", epoch)
		r.clearPersonal()
		return nil
	}
	if err != nil {
		return err
	}
	personal, err := json.Marshal(r.Personal)
	if err != nil {
		return fmt.Errorf("encode personal part of row %s: %w", r.ID, err)
	}
	r.part = &sealedPart{key.Epoch, key.ID, key.Seal(r.ID, personal)}
	r.tokens = s.tokens(r)
	keys := tx.Table(rowKeysTable)
	if id := rowKeyKey(key.Epoch, key.ID); keys.Get(id) == nil {
		return keys.Put(id, key.Sealed)
	}
	return nil
}

// What a row is found by beside numbers: none has a zero in it.
const (
	agentKind = "agent\x00"
	callKind  = "call\x00"
)

// agents are the numbers of ours: of a row that an earlier version wrote, whoever called out or
// was called.
func (r *Row) agents() []string {
	switch {
	case len(r.Agents) > 0:
		return r.Agents
	case r.Direction == "inbound":
		return []string{r.Callee}
	case r.Direction == "outbound":
		return []string{r.Caller}
	}
	return nil
}

// tokens returns what a row is found by, each once.
func (s *Store) tokens(r *Row) []token {
	p := &r.Personal
	var tokens []token
	add := func(kind, text string) {
		if t := token(s.keys.Token(kind + text)); text != "" && !slices.Contains(tokens, t) {
			tokens = append(tokens, t)
		}
	}
	for number := range p.numbers {
		add("", number)
	}
	for _, agent := range r.agents() {
		add(agentKind, agent)
	}
	add(callKind, p.CallerCallID)
	add(callKind, p.CalleeCallID)
	return tokens
}

// open makes a row's personal part readable, if the master identity is here. What cannot be
// opened is no reason not to show the rest.
func (s *Store) open(tx table.Tx, r *Row) {
	if r.part == nil {
		return
	}
	sealed := tx.Table(rowKeysTable).Get(rowKeyKey(r.part.Epoch, r.part.Key))
	key, err := s.keys.OpenRowKey(r.part.Epoch, r.part.Key, slices.Clone(sealed))
	if err == nil {
		err = r.openWith(key)
	}
	if err != nil {
		r.Sealed = true
		if !errors.Is(err, seal.ErrSealed) && !errors.Is(err, seal.ErrDestroyed) {
			s.unreadable(r.ID, err)
		}
	}
}

// reopen is open for a row that is to be changed, which is possible for what this process has
// sealed today even where the master identity is elsewhere: its expiry may move.
func (s *Store) reopen(tx table.Tx, r *Row) {
	if r.part == nil {
		return
	}
	if key := s.keys.Made(r.part.Key); key != nil && key.Epoch == r.part.Epoch && r.openWith(key) == nil {
		return
	}
	s.open(tx, r)
}

func (r *Row) openWith(key *seal.RowKey) error {
	personal, err := key.Open(r.ID, r.part.Data)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(personal, &r.Personal); err != nil {
		return fmt.Errorf("decode personal part: %w", err)
	}
	return nil
}
