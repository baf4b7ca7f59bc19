package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
)

// Page is a page of rows, the newest first.
type Page struct {
	Rows []store.Row `json:"rows"`
	Next string      `json:"next,omitempty"` // for the after of the next page; none on the last
}

// Problem is an error as it is answered.
type Problem struct {
	Error string `json:"error"`
}

// EncodeQuery writes a query as the parameters that listCalls reads.
func EncodeQuery(q store.Query) url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("number", q.Number)
	set("agent", q.Agent)
	set("sip_call", q.SIPCall)
	set("purpose", q.Purpose)
	set("outcome", q.Outcome)
	set("state", string(q.State))
	set("direction", q.Direction)
	set("after", q.After)
	for name, t := range instants(&q) {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Held {
		v.Set("held", "true")
	}
	if q.Recorded {
		v.Set("recorded", "true")
	}
	return v
}

func decodeQuery(v url.Values) (store.Query, error) {
	q := store.Query{
		Number: v.Get("number"), Agent: v.Get("agent"), SIPCall: v.Get("sip_call"), Purpose: v.Get("purpose"), Outcome: v.Get("outcome"),
		State: store.State(v.Get("state")), Direction: v.Get("direction"), After: v.Get("after"),
		Held: v.Get("held") == "true", Recorded: v.Get("recorded") == "true",
	}
	for name, t := range instants(&q) {
		if text := v.Get(name); text != "" {
			var err error
			if *t, err = time.Parse(time.RFC3339, text); err != nil {
				return q, fmt.Errorf("%s: %q is not an instant such as 2026-11-24T09:00:00Z", name, text)
			}
		}
	}
	var err error
	q.Limit, err = decodeLimit(v)
	return q, err
}

func decodeLimit(v url.Values) (int, error) {
	text := v.Get("limit")
	if text == "" {
		return 0, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 {
		return 0, fmt.Errorf("limit: %q is not a number from 1", text)
	}
	return limit, nil
}

func instants(q *store.Query) map[string]*time.Time {
	return map[string]*time.Time{"from": &q.From, "to": &q.To, "expires_after": &q.ExpiresAfter, "expires_before": &q.ExpiresBefore}
}

// numbers writes the numbers that are asked for as the rows have them, and reports what is asked
// for and empty.
func (s *Server) numbers(q *store.Query, v url.Values) (err error) {
	if v.Has("number") {
		if q.Number, err = s.parts.Number(q.Number); err != nil {
			return err
		}
	}
	if v.Has("agent") {
		q.Agent, err = s.parts.Number(q.Agent)
	}
	if err == nil && v.Has("sip_call") && q.SIPCall == "" {
		err = errors.New("sip_call: it is empty")
	}
	return err
}

func (s *Server) listCalls(w http.ResponseWriter, r *http.Request) {
	q, err := decodeQuery(r.URL.Query())
	if err == nil {
		err = s.numbers(&q, r.URL.Query())
	}
	if err != nil {
		s.problem(w, http.StatusBadRequest, err)
		return
	}
	rows, next, err := s.parts.Store.List(r.Context(), q)
	if err != nil {
		s.fail(w, err)
		return
	}
	if len(rows) == 0 && q.Purpose != "" {
		if err := s.purpose(r.Context(), q.Purpose); err != nil {
			s.fail(w, err)
			return
		}
	}
	if err := s.parts.Store.NoteListed("", rows, q.Personal(), act(r)); err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, Page{Rows: rows, Next: next})
}

// errNoPurpose is wrapped where a purpose is asked for that there never was.
var errNoPurpose = errors.New("no purpose")

// purpose reports one that neither the configuration nor any row knows: a misspelt one,
// for which that there are no rows is no answer.
func (s *Server) purpose(ctx context.Context, name string) error {
	if slices.Contains(s.parts.Purposes(), name) {
		return nil
	}
	rows, _, err := s.parts.Store.List(ctx, store.Query{Purpose: name, Limit: 1})
	if err != nil || len(rows) > 0 {
		return err
	}
	return fmt.Errorf("%w %q in any row, nor in the configuration, which has %s", errNoPurpose, name, strings.Join(s.parts.Purposes(), ", "))
}

func (s *Server) showCall(w http.ResponseWriter, r *http.Request) {
	row, err := s.parts.Store.Get(r.PathValue("id"))
	if err == nil {
		err = s.parts.Store.NoteListed(row.ID, []store.Row{row}, false, act(r))
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, row)
}

// contentTypes of the formats: RFC 7845 §9, RFC 2361 for want of a registered one.
var contentTypes = map[string]string{"opus": "audio/ogg", "wav": "audio/wav", "wav-alaw": "audio/wav", "wav-ulaw": "audio/wav"}

// exportRecording sends what was recorded in the format that is asked for, or the first there
// is; with sealed=true the file as it lies on the disk.
func (s *Server) exportRecording(w http.ResponseWriter, r *http.Request) {
	row, err := s.parts.Store.Get(r.PathValue("id"))
	if err != nil {
		s.fail(w, err)
		return
	}
	if row.State == store.StateDestroyed {
		s.problem(w, http.StatusGone, fmt.Errorf("the recording of %s was destroyed on %s: bewaard recordings certificate %s is the proof", row.ID, row.Destroyed.Format(time.RFC3339), row.ID))
		return
	}
	wanted := r.PathValue("format")
	for _, f := range row.Files {
		if wanted != "" && f.Format != wanted {
			continue
		}
		e, err := s.open(f, r.URL.Query().Get("sealed") == "true")
		if errors.Is(err, seal.ErrSealed) {
			err = fmt.Errorf("%w: bewaard recordings export --sealed --reason TEXT %s gives the age file, and docs/operations.md says how that is opened with keys/epochs/%s.age and age", err, row.ID, f.Epoch)
		}
		if err != nil {
			s.fail(w, err)
			return
		}
		defer e.content.Close()
		if err := s.parts.Store.Note(journal.Export, row.ID, act(r)); err != nil {
			s.fail(w, err)
			return
		}
		s.parts.Log.Info("recording exported", "call_id", row.ID, "format", f.Format, "sealed", e.kind == sealedType)
		w.Header().Set("Content-Type", e.kind)
		w.Header().Set("Content-Length", strconv.FormatInt(e.bytes, 10))
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", e.name))
		if _, err := io.Copy(w, e.content); err != nil {
			s.parts.Log.Warn("recording not wholly sent", "call_id", row.ID, "error", err)
		}
		return
	}
	s.problem(w, http.StatusNotFound, noFile(&row, wanted))
}

// export is a file on its way out.
type export struct {
	content io.ReadCloser
	bytes   int64
	name    string
	kind    string // content type
}

// sealedType is the content type of an age file, for want of a registered one.
const sealedType = "application/octet-stream"

func (s *Server) open(f store.File, sealed bool) (export, error) {
	if sealed {
		file, err := s.parts.Store.OpenSealed(f)
		if err != nil {
			return export{}, err
		}
		return export{file, file.Size(), path.Base(f.Path), sealedType}, nil
	}
	content, err := s.parts.Store.OpenFile(f)
	if err != nil {
		return export{}, err
	}
	return export{content, content.Size(), strings.TrimSuffix(path.Base(f.Path), seal.Suffix), contentTypes[f.Format]}, nil
}

// noFile says what a row has instead of a file of that format.
func noFile(row *store.Row, format string) error {
	switch {
	case row.State == store.StateRecording || row.State == store.StateCalling:
		return fmt.Errorf("call %s goes on: a file of it is made after its end", row.ID)
	case row.State == store.StateFinalizing:
		return fmt.Errorf("the file of call %s is being made: try again", row.ID)
	case row.State == store.StateNotRecorded:
		return fmt.Errorf("call %s is not_recorded and has no recording: %s", row.ID, cmp.Or(row.Reason, "no reason is known"))
	case format == "" || len(row.Files) == 0 && row.State != store.StateKept:
		return fmt.Errorf("call %s is %s and has no recording", row.ID, row.State)
	case len(row.Files) == 0:
		return fmt.Errorf("call %s has no file", row.ID)
	}
	formats := make([]string, len(row.Files))
	for i, f := range row.Files {
		formats[i] = f.Format
	}
	return fmt.Errorf("call %s has no %s file; it has %s", row.ID, format, strings.Join(formats, " and "))
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoCertificate), errors.Is(err, store.ErrNoHold), errors.Is(err, store.ErrPrompt):
		status = http.StatusNotFound
	case errors.Is(err, errNoPurpose), errors.Is(err, store.ErrAct), errors.Is(err, errBadHold):
		status = http.StatusBadRequest
	case errors.Is(err, store.ErrFourEyes):
		status = http.StatusForbidden
	case errors.Is(err, store.ErrNothingHeld), errors.Is(err, store.ErrHeld), errors.Is(err, store.ErrCopying), errors.Is(err, ErrUnfit), errors.Is(err, seal.ErrSealed):
		status = http.StatusConflict
	case errors.Is(err, seal.ErrDestroyed):
		status = http.StatusGone
	}
	s.problem(w, status, err)
}

func (s *Server) problem(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(Problem{err.Error()})
}

func (s *Server) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.parts.Log.Debug("answer not sent", "error", err)
	}
}
