package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
)

// Steering is what can be done to the recording of a call that is up: pause, resume, stop
// (what there is is kept), discard (it is destroyed), tag, select (what goes into a buffer is
// kept for another purpose). To stop and to discard want a reason, which is journalled.
var Steering = []string{"pause", "resume", "stop", "discard", "tag", "select"}

// TagText is the body of a tag, something to note with the call, and of a selection: the
// purpose.
type TagText struct {
	Name    string `json:"name,omitempty"`
	Text    string `json:"text,omitempty"`
	Purpose string `json:"purpose,omitempty"`
}

// Refused is why something that was asked for is not done, and as which status that is told.
type Refused struct {
	Status int
	Err    error
}

func (r *Refused) Error() string { return r.Err.Error() }
func (r *Refused) Unwrap() error { return r.Err }

const maxBody = 4 << 10

// steer has something done to the recording of a call, and answers when it is done: a pause
// when what records says so.
func (s *Server) steer(w http.ResponseWriter, r *http.Request) {
	what := r.PathValue("what")
	if !slices.Contains(Steering, what) {
		s.problem(w, http.StatusNotFound, fmt.Errorf("there is no %q; there is %s", what, strings.Join(Steering, ", ")))
		return
	}
	var tag TagText
	if what == "tag" || what == "select" {
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		in.DisallowUnknownFields()
		if err := in.Decode(&tag); err != nil {
			s.problem(w, http.StatusBadRequest, fmt.Errorf(`body: want {"name": "…", "text": "…"} of a tag, {"purpose": "…"} to select: %w`, err))
			return
		}
	}
	if err := s.noteSteering(r.PathValue("id"), what, act(r)); err != nil {
		s.fail(w, err)
		return
	}
	err := s.parts.Steer(r.Context(), r.PathValue("id"), what, act(r).Actor, tag)
	var refused *Refused
	switch {
	case errors.As(err, &refused):
		s.problem(w, refused.Status, err)
	case err != nil:
		s.fail(w, err)
	default:
		s.parts.Log.Info("recording steered", "call_id", r.PathValue("id"), "what", what)
		s.answer(w, struct{}{})
	}
}

// noteSteering journals what leaves less of a recording than there would have been, and why;
// what is under legal hold is not discarded.
func (s *Server) noteSteering(id, what string, by store.Act) error {
	action, noted := map[string]journal.Action{"stop": journal.Stop, "discard": journal.Delete}[what]
	if !noted {
		return nil
	}
	row, err := s.parts.Store.Get(id)
	switch {
	case err != nil:
		return err
	case what == "discard" && len(row.Holds) > 0:
		return fmt.Errorf("discard %s: it is %w: %s; release that first, or stop the recording", id, store.ErrHeld, strings.Join(row.Holds, ", "))
	}
	return s.parts.Store.Note(action, id, by)
}

// Steer has something done to the recording of a call that is up: one of Steering. To stop
// and to discard want a reason.
func (c *Client) Steer(ctx context.Context, id, what, reason string, tag TagText) error {
	var body any
	if what == "tag" || what == "select" {
		body = tag
	}
	path := "calls/" + url.PathEscape(id) + "/" + what
	if reason != "" {
		path += "?" + because(reason)
	}
	return c.post(ctx, path, body)
}
