package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bewaard/bewaard/store"
)

func (s *Server) listPrompts(w http.ResponseWriter, _ *http.Request) {
	all, err := s.parts.Store.Prompts()
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, all)
}

func (s *Server) showPrompt(w http.ResponseWriter, r *http.Request) {
	uses, err := s.parts.Store.Prompt(r.PathValue("sha256"))
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, uses)
}

// exportPrompt sends a prompt's WAV file, as it was played.
func (s *Server) exportPrompt(w http.ResponseWriter, r *http.Request) {
	uses, err := s.parts.Store.Prompt(r.PathValue("sha256"))
	if err != nil {
		s.fail(w, err)
		return
	}
	p := uses[0]
	wav, err := s.parts.Store.PromptAudio(p)
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", contentTypes["wav"])
	w.Header().Set("Content-Length", strconv.Itoa(len(wav)))
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fmt.Sprintf("%s-%s-%.12s.wav", p.ID, p.Language, p.SHA256)))
	if _, err := w.Write(wav); err != nil {
		s.parts.Log.Warn("prompt not wholly sent", "sha256", p.SHA256, "error", err)
	}
}

// Prompts returns every announcement that was ever in use.
func (c *Client) Prompts(ctx context.Context) (all []store.Prompt, err error) {
	return all, c.decode(ctx, http.MethodGet, "prompts", &all)
}

// Prompt returns what an announcement was used as, by its SHA-256 or the beginning of it.
func (c *Client) Prompt(ctx context.Context, sha256 string) (uses []store.Prompt, err error) {
	return uses, c.decode(ctx, http.MethodGet, "prompts/"+url.PathEscape(sha256), &uses)
}

// PromptAudio returns its WAV file, to be read and closed, and a name for it.
func (c *Client) PromptAudio(ctx context.Context, sha256 string) (file io.ReadCloser, name string, err error) {
	return c.download(ctx, "prompts/"+url.PathEscape(sha256)+"/audio")
}
