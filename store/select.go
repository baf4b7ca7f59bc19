package store

import (
	"fmt"
	"time"

	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

// Reassign changes for what a recording is kept, and so until when: it gets a further
// purpose (journal.Select) or loses one (journal.Withdraw). It is journalled in one commit
// with that. What is kept for longer is sealed for longer.
func (s *Store) Reassign(id string, action journal.Action, purpose string, act Act, change func(*Row) error) (Row, error) {
	fail := func(err error) (Row, error) { return Row{}, fmt.Errorf("%s for %s: %w", action, purpose, err) }
	why := act
	why.Reason = fmt.Sprintf("%s: %s", purpose, act.Reason)
	for _, a := range []Act{act, why} {
		if err := a.check(); err != nil {
			return fail(err)
		}
	}
	kinds := map[journal.Action]string{journal.Select: "selected", journal.Withdraw: "withdrawn"}
	row, err := s.update(id, func(r *Row) error {
		if r.State != StateKept && r.State != StateFinalizing {
			return fmt.Errorf("the call is %s: there is no recording to change", r.State)
		}
		if err := change(r); err != nil {
			return err
		}
		r.Events = append(r.Events, Event{At: time.Now().UTC(), Kind: kinds[action], By: act.Actor})
		return nil
	}, func(tx table.Tx, r *Row) error {
		head, err := note(tx, action, id, why)
		if err != nil {
			return err
		}
		for i := range r.Terms {
			if t := &r.Terms[i]; t.Withdrawn && t.Entry == 0 {
				t.Entry = head.Number
			}
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	if err := s.reseal(&row, row.Expires, row.Expires); err != nil {
		return fail(err)
	}
	s.log.Info("purposes of a recording changed", "call_id", id, "action", string(action), "purpose", purpose, "expires", row.Expires)
	return row, nil
}
