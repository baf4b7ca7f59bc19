package spool

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// maxEvents bounds the events that wait for the next write.
const maxEvents = 256

// File is the spool of a call in progress. Append and Close are for one
// goroutine at a time (the Writer's, while the file is attached to it), all
// other methods for any.
type File struct {
	// Immutable after Create.
	name      string
	id        string
	dir       *os.Root
	began     time.Time
	notBefore int64 // nanoseconds since 1970; the smallest number if exempt

	// Owned by whoever appends.
	disk       disk
	sealer     *sealer
	closed     bool
	unanswered []chan<- error // of the events in the frames that are being written

	early  atomic.Uint64
	paused atomic.Uint64

	mu     sync.Mutex
	events []Event // not yet written
	pauses []pause // in the order of their beginning; only the last can be open
	over   bool    // no event is written any more
	err    error   // the first that a write gave; nothing is written after it
}

// disk is the file that a File writes to.
type disk interface {
	io.Writer
	Sync() error
	Close() error
}

// pause is a time in which the capture is stopped, in nanoseconds since 1970.
type pause struct{ from, to int64 }

// Create makes the file <id>.spool in dir, which stays in use until Close, and
// writes its header, with the notice if there is one. The keys wrap the file's own. The
// grant gives the header's ID and Terms; Began and Legs are the caller's. A recording
// begins no earlier than its announcement ended: an earlier Began is moved there.
func Create(dir *os.Root, keys Keys, g Grant, h Header) (*File, error) {
	if g == (Grant{}) {
		return nil, fmt.Errorf("create spool: %w", ErrNoGrant)
	}
	h.Version, h.ID, h.Terms = version, g.terms.Recording, g.terms
	if h.Began.Before(h.Terms.NotBefore) && !h.Began.IsZero() {
		h.Began = h.Terms.NotBefore
	}
	h.Notice = h.Notice.counted()
	if err := h.validate(); err != nil {
		return nil, fmt.Errorf("create spool %s: %w", h.ID, err)
	}
	f := &File{
		name:      h.ID + Extension,
		id:        h.ID,
		dir:       dir,
		began:     h.Began,
		notBefore: math.MinInt64,
	}
	if !h.Terms.NotBefore.IsZero() {
		f.notBefore = h.Terms.NotBefore.UnixNano()
	}
	h.Began, h.Terms.NotBefore = h.Began.UTC(), h.Terms.NotBefore.UTC()
	header, err := f.begin(keys, h)
	if err != nil {
		return nil, fmt.Errorf("create spool %s: header: %w", h.ID, err)
	}
	header = f.sealer.appendNotice(header, h.Notice)
	disk, err := dir.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create spool %s: %w", h.ID, err)
	}
	if _, err := disk.Write(header); err != nil {
		return nil, errors.Join(fmt.Errorf("create spool %s: header: %w", h.ID, err), disk.Close(), dir.Remove(f.name))
	}
	f.disk = disk
	return f, nil
}

// begin makes the file's key and returns its first frames.
func (f *File) begin(keys Keys, h Header) ([]byte, error) {
	var m mark
	key := make([]byte, keyBytes)
	rand.Read(m[:])
	rand.Read(key)
	wrapped, err := keys.WrapSpool(key)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(keyHeader{version, m[:], wrapped})
	if err != nil {
		return nil, err
	}
	if len(payload) > maxPayloadBytes {
		return nil, fmt.Errorf("%d bytes, at most %d fit a frame", len(payload), maxPayloadBytes)
	}
	if f.sealer, err = newSealer(m, key); err != nil {
		return nil, err
	}
	first := append(beginFrame(nil, headerMark, keyFrame, 0), payload...)
	finishFrame(first, 0)
	return f.sealer.appendJSON(first, headerFrame, h)
}

// validate says why the header cannot begin a spool.
func (h Header) validate() error {
	if err := validID(h.ID); err != nil {
		return err
	}
	if h.Began.IsZero() {
		return errors.New("no begin of the capture")
	}
	for leg, l := range h.Legs {
		if l.Side != "external" && l.Side != "internal" {
			return fmt.Errorf("%v leg: side %q is neither external nor internal", rtp.Leg(leg), l.Side)
		}
	}
	if a, b := h.Legs[0].Channel, h.Legs[1].Channel; a|b != 1 || a&b != 0 {
		return fmt.Errorf("channels %d and %d of the legs are not 0 and 1", a, b)
	}
	if h.Notice != nil {
		return h.Notice.validate()
	}
	return nil
}

// ID returns the id of the recording.
func (f *File) ID() string { return f.id }

// Name returns the file's name in its directory.
func (f *File) Name() string { return f.name }

// Early returns how many packets were refused for being older than the end of
// the announcement.
func (f *File) Early() uint64 { return f.early.Load() }

// Paused returns how many packets were refused for having arrived while the
// capture was stopped.
func (f *File) Paused() uint64 { return f.paused.Load() }

// Err returns the first error that writing gave. A file that has one has
// failed: what is appended after it is thrown away.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Event adds an event, to be written with the next batch; it never waits for
// the disk, Written tells what the disk made of it. Without At it happened now. A CaptureStopped
// takes effect at once, also for packets that have arrived after its At and wait
// in the tap; one that no CaptureStarted follows is the end of the recording.
func (f *File) Event(e Event) error {
	err := f.add(e)
	if err != nil {
		answer(err, e.Written)
	}
	return err
}

// answer tells those who want to know what became of their events.
func answer(err error, written ...chan<- error) {
	for _, w := range written {
		if w == nil {
			continue
		}
		select {
		case w <- err:
		default: // it has no room: nobody is waited for
		}
	}
}

// add puts an event among those that wait.
func (f *File) add(e Event) error {
	if e.Kind == Excised && !e.To.After(e.From) {
		return fmt.Errorf("spool %s: excise from %v to %v", f.id, e.From, e.To)
	}
	if e.At.IsZero() {
		e.At = f.now()
	}
	at := e.At.UnixNano()
	e.At, e.From, e.To = e.At.UTC(), e.From.UTC(), e.To.UTC()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return f.err
	case f.over:
		return fmt.Errorf("event %s of spool %s: %w", e.Kind, f.id, os.ErrClosed)
	case len(f.events) == maxEvents:
		return fmt.Errorf("spool %s: %d events wait to be written", f.id, maxEvents)
	}
	f.events = append(f.events, e)
	open := len(f.pauses) > 0 && f.pauses[len(f.pauses)-1].to == math.MaxInt64
	switch {
	case e.Kind == CaptureStopped && !open:
		f.pauses = append(f.pauses, pause{at, math.MaxInt64})
	case e.Kind == CaptureStarted && open:
		f.pauses[len(f.pauses)-1].to = at
	}
	return nil
}

// now returns the time on the clock that the capture began on, so that a step
// of the system's clock during the call does not stretch or shrink it.
func (f *File) now() time.Time { return f.began.Add(time.Since(f.began)) }

// Append writes a leg's batch in one write, without the packets that arrived
// before the announcement ended or while the capture was stopped; these are counted.
func (f *File) Append(leg rtp.Leg, batch []byte) error {
	if err := f.Err(); err != nil {
		return err
	}
	buf, err := f.appendBatch(f.appendEvents(nil), leg, batch)
	if failed := f.write(buf); failed != nil { // the events are no worse for a bad batch
		return failed
	}
	return err
}

// appendBatch appends the frames of a batch to dst: one, unless the batch is
// larger than a frame may be.
func (f *File) appendBatch(dst []byte, leg rtp.Leg, batch []byte) ([]byte, error) {
	start := len(dst)
	dst = f.sealer.begin(dst, batchFrame, leg)
	for len(batch) > 0 {
		at, packet, rest, err := rtp.NextCaptured(batch)
		if err != nil {
			return dst[:start], fmt.Errorf("append to spool %s: %w", f.id, err)
		}
		captured := batch[:len(batch)-len(rest)]
		batch = rest
		switch {
		case at < f.notBefore:
			f.early.Add(1)
			continue
		case f.stoppedAt(at):
			f.paused.Add(1)
			continue
		}
		if held(dst, start)+rtp.CapturedBytes(len(packet)) > maxSealedBytes {
			dst = f.sealer.end(dst, start)
			start = len(dst)
			dst = f.sealer.begin(dst, batchFrame, leg)
		}
		dst = append(dst, captured...)
	}
	if held(dst, start) == 0 {
		return dst[:start], nil // nothing of the batch may be kept
	}
	return f.sealer.end(dst, start), nil
}

// appendReport appends the frame of a sender report, unless it came before the
// announcement ended or while the capture was stopped.
func (f *File) appendReport(dst []byte, r rtp.Reported) ([]byte, error) {
	if r.At < f.notBefore || f.stoppedAt(r.At) {
		return dst, nil
	}
	dst, err := f.sealer.appendJSON(dst, eventFrame, Event{Kind: SenderReported, At: time.Unix(0, r.At).UTC(), Leg: r.Leg, Report: &r})
	if err != nil {
		return dst, fmt.Errorf("report of spool %s: %w", f.id, err)
	}
	return dst, nil
}

// stoppedAt reports whether the capture was stopped at that nanosecond.
func (f *File) stoppedAt(at int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.pauses) - 1; i >= 0; i-- {
		if p := f.pauses[i]; at >= p.from {
			return at < p.to
		}
	}
	return false
}

// appendEvents appends the frames of the events that wait to dst, which is to be written next.
func (f *File) appendEvents(dst []byte) []byte {
	f.mu.Lock()
	events := f.events
	f.events = nil
	f.mu.Unlock()
	for _, e := range events {
		if e.Written != nil {
			f.unanswered = append(f.unanswered, e.Written)
		}
		var err error
		if dst, err = f.sealer.appendJSON(dst, eventFrame, e); err != nil {
			f.fail(fmt.Errorf("event %s of spool %s: %w", e.Kind, f.id, err))
		}
	}
	return dst
}

// write writes whole frames to the file, and tells those who wait for events among them.
func (f *File) write(frames []byte) error {
	err := f.put(frames)
	if len(f.unanswered) > 0 {
		answer(err, f.unanswered...)
		clear(f.unanswered)
		f.unanswered = f.unanswered[:0]
	}
	return err
}

func (f *File) put(frames []byte) error {
	if err := f.Err(); err != nil {
		return err
	}
	if len(frames) == 0 {
		return nil
	}
	n, err := f.disk.Write(frames)
	if err == nil && n < len(frames) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return f.fail(fmt.Errorf("write spool %s: %w", f.id, err))
	}
	return nil
}

// fail makes err the file's error unless it has one, and returns that.
func (f *File) fail(err error) error {
	f.mu.Lock()
	var never []Event
	if f.err == nil {
		f.err = err
		never, f.events = f.events, nil
	}
	err = f.err
	f.mu.Unlock()
	for _, e := range never {
		answer(err, e.Written)
	}
	return err
}

// Close writes what waits and the end, and closes the file when all of it is on
// the disk. It returns the file's first error; a file that has failed is closed
// without an end and read back as torn.
func (f *File) Close(reason string) error {
	if f.closed {
		return fmt.Errorf("close spool %s: %w", f.id, os.ErrClosed)
	}
	f.closed = true
	f.mu.Lock()
	f.over = true // none comes between the last events and the end
	f.mu.Unlock()
	frames := f.appendEvents(nil)
	frames, err := f.sealer.appendJSON(frames, endFrame, End{
		At:     f.ended().UTC(),
		Reason: reason,
		Early:  f.Early(),
		Paused: f.Paused(),
	})
	if err != nil {
		f.fail(fmt.Errorf("end of spool %s: %w", f.id, err))
	}
	f.write(frames)
	if err := f.disk.Sync(); err != nil {
		f.fail(fmt.Errorf("write spool %s: %w", f.id, err))
	}
	if err := f.disk.Close(); err != nil {
		f.fail(fmt.Errorf("close spool %s: %w", f.id, err))
	}
	if err := syncDirectory(f.dir); err != nil {
		f.fail(fmt.Errorf("write directory of spool %s: %w", f.id, err))
	}
	return f.Err()
}

// ended returns the recording's last instant: that of a stop which nothing
// followed, else now.
func (f *File) ended() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.pauses); n > 0 && f.pauses[n-1].to == math.MaxInt64 {
		return time.Unix(0, f.pauses[n-1].from)
	}
	return f.now()
}

// syncDirectory puts the names in dir on the disk.
func syncDirectory(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
