package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
)

// ErrUnfit is wrapped by what Parts.Select and Parts.Withdraw refuse.
var ErrUnfit = errors.New("refused")

// selectRecording keeps a recording for a further purpose.
func (s *Server) selectRecording(w http.ResponseWriter, r *http.Request) {
	id, purpose, by := r.PathValue("id"), r.URL.Query().Get("purpose"), act(r)
	if row, err := s.parts.Store.Get(id); err == nil && row.State == store.StateRecording {
		s.selectRecorded(w, r, id, purpose, by)
		return
	}
	s.reassign(w, r, journal.Select, s.parts.Select)
}

// selectRecorded has a recording that is being made kept for a further purpose: the call's own
// to do. It stands in the journal before.
func (s *Server) selectRecorded(w http.ResponseWriter, r *http.Request, id, purpose string, by store.Act) {
	why := by
	why.Reason = fmt.Sprintf("%s: %s", purpose, by.Reason)
	if err := s.parts.Store.Note(journal.Select, id, why); err != nil {
		s.fail(w, err)
		return
	}
	var refused *Refused
	err := s.parts.Steer(r.Context(), id, "select", by.Actor, TagText{Purpose: purpose})
	switch {
	case errors.As(err, &refused):
		s.problem(w, refused.Status, err)
	case err != nil:
		s.fail(w, err)
	default:
		s.showCall(w, r)
	}
}

// withdrawRecording keeps it for a purpose no longer.
func (s *Server) withdrawRecording(w http.ResponseWriter, r *http.Request) {
	s.reassign(w, r, journal.Withdraw, s.parts.Withdraw)
}

func (s *Server) reassign(w http.ResponseWriter, r *http.Request, action journal.Action, change func(*store.Row, string) error) {
	purpose := r.URL.Query().Get("purpose")
	row, err := s.parts.Store.Reassign(r.PathValue("id"), action, purpose, act(r), func(row *store.Row) error { return change(row, purpose) })
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, row)
}

// Select keeps a recording for a further purpose, for which its own, a buffer, lets it be
// selected.
func (c *Client) Select(ctx context.Context, id, purpose, reason string) (row store.Row, err error) {
	return row, c.decode(ctx, http.MethodPost, "recordings/"+url.PathEscape(id)+"/select?"+forPurpose(purpose, reason), &row)
}

// Withdraw keeps a recording for a purpose no longer.
func (c *Client) Withdraw(ctx context.Context, id, purpose, reason string) (row store.Row, err error) {
	return row, c.decode(ctx, http.MethodPost, "recordings/"+url.PathEscape(id)+"/withdraw?"+forPurpose(purpose, reason), &row)
}

func forPurpose(purpose, reason string) string {
	return url.Values{"purpose": {purpose}, "reason": {reason}}.Encode()
}
