package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
)

// headHeader is where the answer to a request for a snapshot has the journal's head.
const headHeader = "Bewaard-Journal-Head"

func (s *Server) snapshot(w http.ResponseWriter, r *http.Request) {
	begun := false
	err := s.parts.Store.Snapshot(act(r), func(head journal.Head, bytes int64) io.Writer {
		begun = true
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(bytes, 10))
		w.Header().Set(headHeader, head.String())
		return w
	})
	switch {
	case err != nil && begun: // who asks sees that bytes are missing
		s.parts.Log.Warn("snapshot not wholly sent", "error", err)
	case err != nil:
		s.fail(w, err)
	}
}

func (s *Server) compact(w http.ResponseWriter, r *http.Request) {
	c, err := s.parts.Store.Compact(act(r))
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, c)
}

// Compact has the database written anew, without its free pages.
func (c *Client) Compact(ctx context.Context, reason string) (done store.Compaction, err error) {
	return done, c.decode(ctx, http.MethodPost, "compact?"+because(reason), &done)
}

// Snapshot writes the database as it is at one instant, and returns the journal's head
// in it and how many bytes it has. After an error what was written is not to be used.
func (c *Client) Snapshot(ctx context.Context, w io.Writer, reason string) (head string, bytes int64, err error) {
	res, err := c.ask(ctx, http.MethodPost, "snapshot?"+because(reason), nil)
	if err != nil {
		return "", 0, err
	}
	bytes, err = io.Copy(w, res.Body)
	if err == nil && bytes != res.ContentLength {
		err = fmt.Errorf("%d bytes came, want %d", bytes, res.ContentLength)
	}
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return "", 0, fmt.Errorf("ask %s: snapshot: %w", c.socket, err)
	}
	return res.Header.Get(headHeader), bytes, nil
}
