package store

import (
	"fmt"
	"time"

	"github.com/bewaard/bewaard/store/journal"
)

// Reassign changes for what a recording is kept, and so until when: it gets a further
// purpose (journal.Select) or loses one (journal.Withdraw). It is journalled before; change
// is tried before that, and made after. What is kept for longer is sealed for longer.
func (s *Store) Reassign(id string, action journal.Action, purpose string, act Act, change func(*Row) error) (Row, error) {
	fail := func(err error) (Row, error) { return Row{}, fmt.Errorf("%s for %s: %w", action, purpose, err) }
	if err := act.check(); err != nil {
		return fail(err)
	}
	before, err := s.Get(id)
	if err != nil {
		return fail(err)
	}
	kinds := map[journal.Action]string{journal.Select: "selected", journal.Withdraw: "withdrawn"}
	reassign := func(r *Row) error {
		if r.State != StateKept && r.State != StateFinalizing {
			return fmt.Errorf("the call is %s: there is no recording to change", r.State)
		}
		if err := change(r); err != nil {
			return err
		}
		r.Events = append(r.Events, Event{At: time.Now().UTC(), Kind: kinds[action], By: act.Actor})
		return nil
	}
	tried := before.Clone()
	if err := reassign(&tried); err != nil {
		return fail(err)
	}
	why := act
	why.Reason = fmt.Sprintf("%s: %s", purpose, act.Reason)
	if err := s.Note(action, id, why); err != nil {
		return fail(err)
	}
	row, err := s.Update(id, reassign)
	if err != nil {
		return fail(err)
	}
	if row.Expires.After(before.Expires) {
		if err := s.reseal(&row, row.Expires, row.Expires); err != nil {
			return fail(err)
		}
	}
	s.log.Info("recording kept for other purposes", "call_id", id, "action", string(action), "purpose", purpose, "expires", row.Expires)
	return row, nil
}
