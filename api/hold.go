package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/bewaard/bewaard/store"
)

// errBadHold is wrapped when a request for a legal hold cannot be understood.
var errBadHold = errors.New("legal hold")

// maxIDs is how many calls can be named at once.
const maxIDs = 10_000

func (s *Server) listHolds(w http.ResponseWriter, _ *http.Request) {
	holds, err := s.parts.Store.Holds()
	if err != nil {
		s.fail(w, err)
		return
	}
	if holds == nil {
		holds = []store.LegalHold{}
	}
	s.answer(w, holds)
}

func (s *Server) layHold(w http.ResponseWriter, r *http.Request) {
	held, until, err := s.decodeHeld(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	h, err := s.parts.Store.LayHold(r.Context(), held, until, act(r))
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, h)
}

// decodeHeld reads what is to be held: the ids in the body, or what the query asks for.
func (s *Server) decodeHeld(r *http.Request) (held store.Held, until time.Time, err error) {
	v := r.URL.Query()
	if text := v.Get("until"); text != "" {
		if until, err = time.Parse(time.RFC3339, text); err != nil {
			return held, until, fmt.Errorf("%w: until: %q is not an instant such as 2026-11-24T09:00:00Z", errBadHold, text)
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 64*maxIDs))
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &held.IDs)
	}
	if err != nil {
		return held, until, fmt.Errorf("%w: the body is no list of ids: %w", errBadHold, err)
	}
	if len(held.IDs) > 0 {
		return held, until, nil
	}
	if held.Query, err = decodeQuery(v); err == nil {
		err = s.numbers(&held.Query, v)
	}
	if err == nil && held.Query == (store.Query{}) {
		err = errors.New("nothing says which calls: give ids, or what they are like")
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errBadHold, err)
	}
	return held, until, err
}

func (s *Server) releaseHold(w http.ResponseWriter, r *http.Request) {
	h, err := s.parts.Store.ReleaseHold(r.PathValue("id"), act(r))
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, h)
}

// Holds returns the legal holds that there are.
func (c *Client) Holds(ctx context.Context) (holds []store.LegalHold, err error) {
	return holds, c.decode(ctx, http.MethodGet, "legal-holds", &holds)
}

// LayHold lays a legal hold; without an instant it lasts until it is released.
func (c *Client) LayHold(ctx context.Context, held store.Held, until time.Time, reason string) (h store.LegalHold, err error) {
	v := EncodeQuery(held.Query)
	v.Set("reason", reason)
	if !until.IsZero() {
		v.Set("until", until.UTC().Format(time.RFC3339))
	}
	body, err := json.Marshal(held.IDs)
	if err != nil {
		return h, err
	}
	return h, c.send(ctx, http.MethodPost, "legal-holds?"+v.Encode(), body, &h)
}

// ReleaseHold takes a legal hold away.
func (c *Client) ReleaseHold(ctx context.Context, id, reason string) (h store.LegalHold, err error) {
	return h, c.decode(ctx, http.MethodDelete, "legal-holds/"+url.PathEscape(id)+"?"+because(reason), &h)
}
