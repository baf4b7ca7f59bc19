package spool

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/media/rtp"
)

// listing returns the names of the files in dir.
func listing(t testing.TB, dir *os.Root) []string {
	t.Helper()
	entries, err := os.ReadDir(dir.Name())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What is appended comes back, in order, between header and end.
func TestRoundTrip(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	opus := []rtp.Codec{{Name: "OPUS", PayloadType: 111, ClockHz: 48000, Channels: 2}}
	first, second := batch(0, 20*time.Millisecond), batch(5*time.Millisecond)
	steps := []error{
		f.Append(rtp.Caller, first),
		f.Event(Event{Kind: CodecsChanged, At: began.Add(time.Second), Leg: rtp.Callee, Codecs: opus}),
		f.Append(rtp.Callee, second),
		f.Event(Event{Kind: Excised, At: began.Add(2 * time.Second), Leg: rtp.Callee, From: began.Add(time.Second), To: began.Add(2 * time.Second), Both: true}),
		f.Event(Event{Kind: CaptureStopped, At: began.Add(2 * time.Second), Reason: "objection", Cut: true}),
		f.Close("bye"),
	}
	for i, err := range steps {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}

	h, frames, err := read(t, dir, f.Name())
	if err != io.EOF {
		t.Errorf("got %v after the end, want io.EOF", err)
	}
	want := header()
	want.Version, want.ID, want.Terms = version, terms().Recording, terms()
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	wantFrames := []Frame{
		Batch{rtp.Caller, first},
		Event{Kind: CodecsChanged, At: began.Add(time.Second), Leg: rtp.Callee, Codecs: opus},
		Batch{rtp.Callee, second},
		Event{Kind: Excised, At: began.Add(2 * time.Second), Leg: rtp.Callee, From: began.Add(time.Second), To: began.Add(2 * time.Second), Both: true},
		Event{Kind: CaptureStopped, At: began.Add(2 * time.Second), Reason: "objection", Cut: true},
		End{At: began.Add(2 * time.Second), Reason: "bye"},
	}
	if diff := cmp.Diff(wantFrames, frames); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

// A spool is for its owner's eyes, is named after its recording, and never
// overwrites another.
func TestFileOnDisk(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	defer f.Close("")
	info, err := dir.Stat(terms().Recording + ".spool")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != 0o600 {
		t.Errorf("got mode %v, want 0600", got)
	}
	_, err = Create(dir, plainly{}, grant(t, terms()), header())
	wantErr(t, err, os.ErrExist)

	if id, ok := ID("/some/where/" + f.Name()); !ok || id != terms().Recording {
		t.Errorf("got id %q, %v of %q, want %q", id, ok, f.Name(), terms().Recording)
	}
	for _, name := range []string{"a.wav", ".spool", "a b.spool", "a.spool.part"} {
		if id, ok := ID(name); ok {
			t.Errorf("got id %q of %q, want none", id, name)
		}
	}
}

// A header that could not be finalized is refused before a file is made.
func TestCreateRefusesBadHeaders(t *testing.T) {
	for _, test := range []struct {
		spoil func(*Header)
		want  string
	}{
		{func(h *Header) { h.Began = time.Time{} }, "no begin"},
		{func(h *Header) { h.Legs[1].Side = "inside" }, "callee leg: side"},
		{func(h *Header) { h.Legs[1].Channel = 0 }, "channels 0 and 0"},
		{func(h *Header) { h.Legs[1].Channel = 2 }, "channels 0 and 2"},
		{func(h *Header) { h.Legs[0].Channel, h.Legs[1].Channel = -1, 0 }, "channels -1 and 0"},
	} {
		dir := directory(t)
		h := header()
		test.spoil(&h)
		_, err := Create(dir, plainly{}, grant(t, terms()), h)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got error %v, want one with %q", err, test.want)
		}
		if names := listing(t, dir); len(names) != 0 {
			t.Errorf("%s: got files %q, want none", test.want, names)
		}
	}
}

// While the capture is stopped nothing is kept, also of what had arrived but
// was not yet drained; the recording ends with a stop that nothing follows.
func TestStoppedCaptureKeepsNothing(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	for _, e := range []Event{
		{Kind: CaptureStarted, At: at(0)}, // it runs already
		{Kind: CaptureStopped, At: at(2)},
		{Kind: CaptureStopped, At: at(3)}, // it stands already
		{Kind: CaptureStarted, At: at(4)},
		{Kind: CaptureStopped, At: at(6)},
	} {
		if err := f.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	s := time.Second
	if err := f.Append(0, batch(1*s, 2*s-1, 2*s, 3*s, 4*s-1, 4*s, 5*s, 6*s, 7*s)); err != nil {
		t.Fatal(err)
	}
	f.Close("")
	_, frames, _ := read(t, dir, f.Name())
	if diff := cmp.Diff([]time.Duration{1 * s, 2*s - 1, 4 * s, 5 * s}, kept(t, frames, 0)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got := f.Paused(); got != 5 {
		t.Errorf("got %d paused packets, want 5", got)
	}
	if end := frames[len(frames)-1].(End); !end.At.Equal(at(6)) || end.Paused != 5 {
		t.Errorf("got end %+v, want at %v with 5 paused", end, at(6))
	}
}

// A batch larger than a frame becomes several frames, no packet of it split.
func TestLargeBatchIsSplitBetweenPackets(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	var b []byte
	for i := range 1000 {
		b = rtp.AppendCaptured(b, began.UnixNano()+int64(i), make([]byte, 1000))
	}
	if err := f.Append(0, b); err != nil {
		t.Fatal(err)
	}
	f.Close("")
	_, frames, err := read(t, dir, f.Name())
	if got := len(kept(t, frames, 0)); got != 1000 || err != io.EOF {
		t.Errorf("got %d packets and %v, want 1000 and io.EOF", got, err)
	}
	if got := len(frames); got != 5 {
		t.Errorf("got %d frames, want 4 batches and the end", got)
	}
}

// A malformed batch is refused whole.
func TestMalformedBatchIsRefused(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	b := batch(0, 1)
	wantErr(t, f.Append(0, b[:len(b)-1]), rtp.ErrBatch)
	if err := f.Append(0, batch(2)); err != nil {
		t.Fatal(err)
	}
	f.Close("")
	_, frames, _ := read(t, dir, f.Name())
	if diff := cmp.Diff([]time.Duration{2}, kept(t, frames, 0)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// A file whose disk is full has failed for good: it keeps its first error and
// takes nothing more, and what was written before is read back as torn.
func TestFullDisk(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	if err := f.Append(0, batch(0)); err != nil {
		t.Fatal(err)
	}
	disk := f.disk
	f.disk = fullDisk(t)
	first := f.Append(0, batch(1))
	wantErr(t, first, errAny)
	f.disk = disk
	for _, err := range []error{f.Append(0, batch(2)), f.Event(Event{Kind: CaptureStopped}), f.Err(), f.Close("")} {
		if err != first {
			t.Errorf("got error %v, want the first: %v", err, first)
		}
	}
	wantErr(t, f.Close(""), os.ErrClosed)
	_, frames, err := read(t, dir, f.Name())
	wantErr(t, err, ErrTorn)
	if diff := cmp.Diff([]time.Duration{0}, kept(t, frames, 0)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// fullDisk returns a file which nothing more can be written to.
func fullDisk(t testing.TB) *os.File {
	t.Helper()
	disk, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { disk.Close() })
	return disk
}

// Events that the disk cannot keep up with do not pile up without end.
func TestEventsAreBounded(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	for i := range maxEvents {
		if err := f.Event(Event{Kind: CodecsChanged, Reason: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, f.Event(Event{Kind: CodecsChanged}), errAny)
	if err := f.Close(""); err != nil {
		t.Fatal(err)
	}
	_, frames, _ := read(t, dir, f.Name())
	if got := len(frames); got != maxEvents+1 {
		t.Errorf("got %d frames, want %d events and the end", got, maxEvents)
	}
}

// Whoever pauses a recording is told by the file that it is paused, not by the one who
// asked: after the write that has the event, whatever the batch beside it is worth.
func TestWrittenIsToldByTheWrite(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	written := make(chan error, 1)
	if err := f.Event(Event{Kind: CaptureStopped, Written: written}); err != nil {
		t.Fatal(err)
	}
	if len(written) != 0 {
		t.Fatal("got an answer before anything was written")
	}
	wantErr(t, f.Append(rtp.Caller, []byte("no batch")), rtp.ErrBatch)
	wantAnswer(t, written, nil)

	if err := f.Event(Event{Kind: CaptureStarted, Written: written}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(""); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, written, nil)
	_, frames, _ := read(t, dir, f.Name())
	if got := len(frames); got != 3 {
		t.Errorf("got frames %+v, want both events and the end", frames)
	}
}

// An event that is never written is told so, once, whether the file fails, is closed, or
// has too many events that wait. Nobody is waited for who has no room for the answer.
func TestWrittenTellsWhyNot(t *testing.T) {
	dir := directory(t)
	f := create(t, dir, terms(), header())
	disk := f.disk
	f.disk = fullDisk(t)
	defer disk.Close()
	event := func() (written chan error) {
		written = make(chan error, 1)
		f.Event(Event{Kind: CaptureStopped, Written: written})
		return written
	}
	taken := event()
	f.Event(Event{Kind: CaptureStarted, Written: make(chan error)})
	frames := f.appendEvents(nil) // the writer has these
	waiting := event()
	wantErr(t, f.write(frames), errAny)
	for _, written := range []chan error{taken, waiting, event()} {
		wantAnswer(t, written, f.Err())
	}

	f = create(t, directory(t), terms(), header())
	for range maxEvents {
		f.Event(Event{Kind: CodecsChanged})
	}
	wantAnswer(t, event(), errAny)
	if err := f.Close(""); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, event(), os.ErrClosed)
}

func wantAnswer(t *testing.T, written chan error, want error) {
	t.Helper()
	select {
	case err := <-written:
		if want != nil || err != nil {
			wantErr(t, err, want)
		}
	default:
		t.Errorf("got no answer, want %v", want)
	}
}

// A time that ends before it begins cannot be excised.
func TestExcisedTimes(t *testing.T) {
	f := create(t, directory(t), terms(), header())
	defer f.Close("")
	for _, e := range []Event{{}, {From: began}, {From: began, To: began}, {From: began.Add(1), To: began}} {
		e.Kind = Excised
		wantErr(t, f.Event(e), errAny)
	}
}
