package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
)

// JournalPage is a page of the journal, the first entry first.
type JournalPage struct {
	Entries []journal.Entry `json:"entries"`
	Next    uint64          `json:"next,omitempty"` // for the after of the next page; none on the last
}

// EncodeJournalQuery writes a query as the parameters that listJournal reads.
func EncodeJournalQuery(q store.JournalQuery) url.Values {
	v := url.Values{}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Action != "" {
		v.Set("action", string(q.Action))
	}
	if q.Object != "" {
		v.Set("object", q.Object)
	}
	if q.After != 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

func decodeJournalQuery(v url.Values) (q store.JournalQuery, err error) {
	q.Action, q.Object = journal.Action(v.Get("action")), v.Get("object")
	if q.Action != "" && !slices.Contains(journal.Actions(), q.Action) {
		return q, fmt.Errorf("action: %q is none of %v", q.Action, journal.Actions())
	}
	if text := v.Get("since"); text != "" {
		if q.Since, err = time.Parse(time.RFC3339, text); err != nil {
			return q, fmt.Errorf("since: %q is not an instant such as 2026-11-24T09:00:00Z", text)
		}
	}
	if text := v.Get("after"); text != "" {
		if q.After, err = strconv.ParseUint(text, 10, 63); err != nil {
			return q, fmt.Errorf("after: %q is not the number of an entry", text)
		}
	}
	q.Limit, err = decodeLimit(v)
	return q, err
}

func (s *Server) listJournal(w http.ResponseWriter, r *http.Request) {
	q, err := decodeJournalQuery(r.URL.Query())
	if err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	entries, next, err := s.parts.Store.Journal(r.Context(), q)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, JournalPage{Entries: entries, Next: next})
}

// showCertificate sends the signed bytes, as they are kept.
func (s *Server) showCertificate(w http.ResponseWriter, r *http.Request) {
	signed, err := s.parts.Store.Certificate(r.PathValue("id"))
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(signed); err != nil {
		s.parts.Log.Debug("answer not sent", "error", err)
	}
}
