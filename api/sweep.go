package api

import (
	"errors"
	"net/http"

	"github.com/bewaard/bewaard/store"
)

// forecastRows is how many of the rows that are due a forecast names.
const forecastRows = 1000

func (s *Server) forecastSweep(w http.ResponseWriter, r *http.Request) {
	forecast, err := s.parts.Sweeper.DryRun(r.Context(), forecastRows)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, forecast)
}

func (s *Server) sweep(w http.ResponseWriter, r *http.Request) {
	result, err := s.parts.Sweeper.Sweep(r.Context())
	if errors.Is(err, store.ErrClockGuard) {
		s.problem(w, http.StatusConflict, err)
		return
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, result)
}

func (s *Server) confirmClock(w http.ResponseWriter, r *http.Request) {
	if err := s.parts.Sweeper.ConfirmClock(act(r)); err != nil {
		s.fail(w, err)
		return
	}
	s.parts.Log.Warn("clock confirmed: what is due may be destroyed")
	s.answer(w, struct{}{})
}
