package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
)

// ErrUnfit is wrapped by what Parts.Select and Parts.Withdraw refuse.
var ErrUnfit = errors.New("refused")

// selectRecording keeps a recording for a further purpose.
func (s *Server) selectRecording(w http.ResponseWriter, r *http.Request) {
	s.reassign(w, r, journal.Select, s.parts.Select)
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
