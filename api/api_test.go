package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
)

// daemon is a server with a store of two rows: an answered call with a recording and a
// rejected one.
type daemon struct {
	*testing.T
	directory string
	server    *Server
	client    *Client
	kept      store.Row
	rejected  store.Row
	ready     error
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	// A socket's path is short: not every temporary directory's is.
	directory, err := os.MkdirTemp("/tmp", "bw")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := store.Open(store.Config{Directory: directory}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{T: t, directory: directory}
	d.server, err = New(Config{Listen: netip.MustParseAddrPort("127.0.0.1:0")}, Parts{
		Store: s, Sweeper: store.NewSweeper(s, store.SweepConfig{}), Gatherer: prometheus.NewRegistry(),
		Ready: func() error { return d.ready }, Log: log, Purposes: func() []string { return []string{"orders", "training"} },
		Number: func(text string) (string, error) {
			if text == "" {
				return "", errors.New("no number")
			}
			return strings.ReplaceAll(text, " ", ""), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.server.Serve()
	t.Cleanup(func() {
		if err := d.server.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		s.Close()
		os.RemoveAll(directory)
	})
	d.client = Dial(directory)
	d.fill(s)
	return d
}

func (d *daemon) fill(s *store.Store) {
	d.Helper()
	now := time.Now().UTC()
	begin := func(change func(*store.Row)) store.Row {
		r := store.Row{ID: store.NewID(), State: store.StateCalling, Began: now, Personal: store.Personal{Caller: "+31612345678", Callee: "+31205550100"}, Expires: now.AddDate(0, 0, 90)}
		change(&r)
		if err := s.Begin(r); err != nil {
			d.Fatal(err)
		}
		return r
	}
	d.kept = begin(func(r *store.Row) { r.Purpose, r.Basis, r.Retention = "quality", "contract", "P14D" })
	name := s.RecordingDirectory(now) + "/" + d.kept.ID + ".wav.age"
	var sealed bytes.Buffer
	epoch := seal.EpochOf(d.kept.Expires)
	w, err := s.Keys().Seal(epoch, &sealed)
	if err != nil {
		d.Fatal(err)
	}
	io.WriteString(w, "RIFF")
	if err := w.Close(); err != nil {
		d.Fatal(err)
	}
	file, err := s.CreateFile(name)
	if err != nil {
		d.Fatal(err)
	}
	file.Write(sealed.Bytes()) // its error is Commit's
	if err := file.Commit(); err != nil {
		d.Fatal(err)
	}
	for _, state := range []store.State{store.StateRecording, store.StateFinalizing, store.StateKept} {
		_, err := s.Update(d.kept.ID, func(r *store.Row) error {
			r.State, r.Files = state, []store.File{{Path: name, Format: "wav", Bytes: int64(sealed.Len()), ContentBytes: 4, Epoch: epoch}}
			return nil
		})
		if err != nil {
			d.Fatal(err)
		}
	}
	d.rejected = begin(func(r *store.Row) { r.Caller = "+31301234567" })
	if _, err := s.Update(d.rejected.ID, func(r *store.Row) error { r.State = store.StateNotRecorded; return nil }); err != nil {
		d.Fatal(err)
	}
}

// Rows are listed by what is asked, page by page, and shown one by one.
func TestCalls(t *testing.T) {
	d := newDaemon(t)
	for name, test := range map[string]struct {
		q    store.Query
		want int
	}{
		"all":           {store.Query{}, 2},
		"recorded":      {store.Query{Recorded: true}, 1},
		"by number":     {store.Query{Number: "+31301234567"}, 1},
		"spaced":        {store.Query{Number: "+31 30 123 4567"}, 1},
		"by purpose":    {store.Query{Purpose: "quality"}, 1},
		"by state":      {store.Query{State: store.StateNotRecorded}, 1},
		"in the future": {store.Query{From: time.Now().Add(time.Hour)}, 0},
		"expiring":      {store.Query{ExpiresAfter: time.Now(), ExpiresBefore: time.Now().AddDate(1, 0, 0)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := d.client.Calls(t.Context(), test.q)
			if err != nil || len(page.Rows) != test.want {
				t.Errorf("got %d rows, %v, want %d", len(page.Rows), err, test.want)
			}
		})
	}
	if page, err := d.client.Calls(t.Context(), store.Query{Purpose: "orders"}); err != nil || len(page.Rows) > 0 {
		t.Errorf("got %+v, %v for a purpose without rows, want none", page, err)
	}
	if page, err := d.client.Calls(t.Context(), store.Query{Purpose: "quality", From: time.Now().Add(time.Hour)}); err != nil || len(page.Rows) > 0 {
		t.Errorf("got %+v, %v for a purpose of rows alone, want none", page, err)
	}
	if _, err := d.client.Calls(t.Context(), store.Query{Purpose: "qualty"}); err == nil || !strings.Contains(err.Error(), `no purpose "qualty" in any row, nor in the configuration, which has orders, training`) {
		t.Errorf("got %v, want that there is no such purpose", err)
	}
	first, err := d.client.Calls(t.Context(), store.Query{Limit: 1})
	if err != nil || len(first.Rows) != 1 || first.Next == "" {
		t.Fatalf("got %+v, %v, want one row and more to come", first, err)
	}
	second, err := d.client.Calls(t.Context(), store.Query{Limit: 1, After: first.Next})
	if err != nil || len(second.Rows) != 1 || second.Rows[0].ID == first.Rows[0].ID {
		t.Errorf("got %+v, %v, want the other row", second, err)
	}
	row, err := d.client.Call(t.Context(), d.kept.ID)
	if err != nil || row.Purpose != "quality" {
		t.Errorf("got %+v, %v", row, err)
	}
	if _, err := d.client.Call(t.Context(), store.NewID()); err == nil || !strings.Contains(err.Error(), "no such row") {
		t.Errorf("got %v, want no such row", err)
	}
}

// A recording is handed out opened, or as it lies on the disk; a format that is not there is said.
func TestRecording(t *testing.T) {
	d := newDaemon(t)
	for _, format := range []string{"wav", ""} {
		file, name, err := d.client.Recording(t.Context(), d.kept.ID, format, "case 17", false)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if b, err := io.ReadAll(file); string(b) != "RIFF" || name != d.kept.ID+".wav" || err != nil {
			t.Errorf("format %q: got %q in %s, %v", format, b, name, err)
		}
	}
	file, name, err := d.client.Recording(t.Context(), d.kept.ID, "", "case 17", true)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if b, err := io.ReadAll(file); !strings.HasPrefix(string(b), "age-encryption.org/v1") || name != d.kept.ID+".wav.age" || err != nil {
		t.Errorf("sealed: got %.30q in %s, %v, want an age file", b, name, err)
	}
	for id, want := range map[string]string{
		d.kept.ID:     "has no opus file; it has wav",
		d.rejected.ID: "is not_recorded and has no recording: no reason is known",
	} {
		if _, _, err := d.client.Recording(t.Context(), id, "opus", "case 17", false); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Nothing is due; a sweep destroys nothing.
func TestSweep(t *testing.T) {
	d := newDaemon(t)
	f, err := d.client.Forecast(t.Context())
	if err != nil || f.Due != 0 || f.Of != 2 {
		t.Errorf("got %+v, %v, want none of 2 due", f, err)
	}
	if r, err := d.client.Sweep(t.Context()); err != nil || r != (store.SweepResult{}) {
		t.Errorf("got %+v, %v, want nothing done", r, err)
	}
	if err := d.client.ConfirmClock(t.Context(), "looked at it"); err != nil {
		t.Errorf("confirm: %v", err)
	}
}

// Over HTTP there are metrics and health, and no rows.
func TestPublic(t *testing.T) {
	d := newDaemon(t)
	get := func(path string) int {
		res, err := http.Get("http://" + d.server.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/api/v1/calls": 404, "/api/v1/recordings/x/wav": 404, "/": 404} {
		if got := get(path); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
	d.ready = errors.New("draining")
	if got := get("/readyz"); got != 503 {
		t.Errorf("/readyz: got %d while draining, want 503", got)
	}
}

// The socket is the owner's alone, and a question that makes no sense is said to.
func TestSocket(t *testing.T) {
	d := newDaemon(t)
	info, err := os.Stat(filepath.Join(d.directory, SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	for _, query := range []string{"limit=none", "limit=0", "from=yesterday", "number="} {
		body, err := d.client.do(t.Context(), http.MethodGet, "calls?"+query)
		if err == nil {
			body.Close()
			t.Errorf("%s: got an answer", query)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(d.directory, SocketName), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := d.client.Calls(t.Context(), store.Query{}); err == nil || !strings.HasSuffix(err.Error(), "ask as the daemon's user or root") {
			t.Errorf("got %v, want who may ask", err)
		}
	}
	if _, err := Dial(t.TempDir()).Calls(t.Context(), store.Query{}); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("got %v, want ErrNoDaemon", err)
	}
}

// A query survives its way as parameters.
func FuzzQuery(f *testing.F) {
	f.Add("number=%2B31&recorded=true&limit=5&from=2026-11-24T09:00:00Z")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.NewRequest(http.MethodGet, "http://x/?", nil)
		if err != nil {
			return
		}
		r.URL.RawQuery = text
		q, err := decodeQuery(r.URL.Query())
		if err != nil {
			return
		}
		again, err := decodeQuery(EncodeQuery(q))
		if err != nil {
			t.Fatalf("got error %v for %q", err, EncodeQuery(q).Encode())
		}
		a, _ := json.Marshal(q)
		b, _ := json.Marshal(again)
		if string(a) != string(b) {
			t.Errorf("got %s, want %s", b, a)
		}
	})
}

// Nothing leaves without a reason, and the journal says before it does who asked for it.
func TestExportIsJournalled(t *testing.T) {
	d := newDaemon(t)
	for _, reason := range []string{"", "asked for by +31612345678"} {
		if _, _, err := d.client.Recording(t.Context(), d.kept.ID, "", reason, false); err == nil || !strings.Contains(err.Error(), "not for the journal") {
			t.Errorf("reason %q: got error %v, want it refused", reason, err)
		}
	}
	file, _, err := d.client.Recording(t.Context(), d.kept.ID, "", "case 17", false)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	page, err := d.client.Journal(t.Context(), store.JournalQuery{Action: journal.Export})
	if err != nil || len(page.Entries) != 1 {
		t.Fatalf("got %+v, %v, want one entry", page, err)
	}
	e := page.Entries[0]
	if e.Object != d.kept.ID || e.Reason != "case 17" || !strings.Contains(e.Actor, "uid "+strconv.Itoa(os.Getuid())) {
		t.Errorf("got %+v, want that this user exported %s for case 17", e, d.kept.ID)
	}
	if _, err := d.client.Journal(t.Context(), store.JournalQuery{Action: "burn"}); err == nil {
		t.Error("got no error for an action that there is not")
	}
	if _, err := d.client.Certificate(t.Context(), d.kept.ID); err == nil || !strings.Contains(err.Error(), "no deletion certificate: the call is kept") {
		t.Errorf("got error %v, want that it is kept", err)
	}
}

// A legal hold is laid on ids or on what calls are like, listed, and released.
func TestHolds(t *testing.T) {
	d := newDaemon(t)
	byID, err := d.client.LayHold(t.Context(), store.Held{IDs: []string{d.kept.ID}}, time.Time{}, "case 17")
	if err != nil || byID.Rows != 1 {
		t.Fatalf("got %+v, %v, want one call held", byID, err)
	}
	byTime, err := d.client.LayHold(t.Context(), store.Held{Query: store.Query{From: d.kept.Began.Add(-time.Hour)}}, time.Now().Add(time.Hour), "case 18")
	if err != nil || byTime.Rows != 2 || byTime.Until.IsZero() {
		t.Fatalf("got %+v, %v, want two calls held for an hour", byTime, err)
	}
	if _, err := d.client.LayHold(t.Context(), store.Held{}, time.Time{}, "all"); err == nil || !strings.Contains(err.Error(), "nothing says which calls") {
		t.Errorf("got error %v, want that nothing says which calls", err)
	}
	if page, err := d.client.Calls(t.Context(), store.Query{Held: true}); err != nil || len(page.Rows) != 2 {
		t.Errorf("got %+v, %v, want both calls as held", page, err)
	}
	holds, err := d.client.Holds(t.Context())
	if err != nil || len(holds) != 2 || holds[0].ID != byID.ID || holds[1].ID != byTime.ID {
		t.Errorf("got %+v, %v, want both holds", holds, err)
	}
	for _, id := range []string{byTime.ID, byID.ID} {
		if _, err := d.client.ReleaseHold(t.Context(), id, "settled"); err != nil {
			t.Error(err)
		}
	}
	if page, err := d.client.Calls(t.Context(), store.Query{Held: true}); err != nil || len(page.Rows) != 0 {
		t.Errorf("got %+v, %v, want none held any more", page, err)
	}
	if _, err := d.client.ReleaseHold(t.Context(), byID.ID, "settled"); err == nil || !strings.Contains(err.Error(), "no such legal hold") {
		t.Errorf("got error %v, want no such legal hold", err)
	}
}

// A recording that goes on is stopped or discarded with a reason, which is journalled before;
// what is under legal hold is not discarded.
func TestSteer(t *testing.T) {
	d := newDaemon(t)
	var done []string
	d.server.parts.Steer = func(_ context.Context, _, what, _ string, _ TagText) error {
		done = append(done, what)
		return nil
	}
	id := d.kept.ID
	for _, what := range []string{"stop", "discard"} {
		if err := d.client.Steer(t.Context(), id, what, "", TagText{}); err == nil || !strings.Contains(err.Error(), "no reason is given") {
			t.Errorf("%s: got %v, want that it needs a reason", what, err)
		}
		if err := d.client.Steer(t.Context(), id, what, "case 17", TagText{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := d.client.Steer(t.Context(), id, "pause", "", TagText{}); err != nil {
		t.Errorf("pause: %v", err)
	}
	hold, err := d.client.LayHold(t.Context(), store.Held{IDs: []string{id}}, time.Time{}, "case 18")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.client.Steer(t.Context(), id, "discard", "case 17", TagText{}); err == nil || !strings.Contains(err.Error(), "under legal hold: "+hold.ID) {
		t.Errorf("got %v, want that it is held", err)
	}
	if want := []string{"stop", "discard", "pause"}; !slices.Equal(done, want) {
		t.Errorf("got %v done, want %v", done, want)
	}
	page, err := d.client.Journal(t.Context(), store.JournalQuery{Object: id, Limit: 3})
	if err != nil || len(page.Entries) != 3 || page.Entries[1].Action != "stop" || page.Entries[2].Action != "delete" || page.Entries[2].Reason != "case 17" {
		t.Errorf("got journal %+v, %v", page, err)
	}
}

// Who sees numbers, or asks for one, is journalled, by how many rows and not by which number.
func TestListedIsJournalled(t *testing.T) {
	d := newDaemon(t)
	for _, q := range []store.Query{{}, {Number: "+31301234567"}, {State: store.StateFailed}} {
		if _, err := d.client.Calls(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.client.Call(t.Context(), d.kept.ID); err != nil {
		t.Fatal(err)
	}
	page, err := d.client.Journal(t.Context(), store.JournalQuery{Action: journal.List})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range page.Entries {
		got = append(got, e.Object+" "+e.Reason)
	}
	want := []string{" listed rows with numbers: 2", " listed rows of a number: 1", d.kept.ID + " listed rows with numbers: 1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
