package api

import (
	"context"
	"net/http"
)

// Reloaded is what came of reading the configuration anew.
type Reloaded struct {
	File   string `json:"file"`   // that was read
	Policy string `json:"policy"` // version that new calls begin with
	Was    string `json:"was"`    // the one before
	// Restart names the sections that changed and are read at the start only.
	Restart []string `json:"restart"`
	// Warnings are what the configuration is warned of, one a line.
	Warnings []string `json:"warnings"`
	// Effect says, in words, what of the last day's calls would have been decided otherwise.
	Effect string `json:"effect"`
}

// reload has the configuration read anew. What is wrong with it is the caller's fault.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	reloaded, err := s.parts.Reload(r.Context())
	if err != nil {
		s.problem(w, http.StatusUnprocessableEntity, err)
		return
	}
	s.answer(w, reloaded)
}

// Reload has the daemon read its configuration anew.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	return r, c.decode(ctx, http.MethodPost, "reload", &r)
}
