// Package finalize turns one spool into one recording: the offline half of media.
//
//	spool ─┬─ track caller ── streams ─┬─ voice ────┐
//	       │                           └─ timeline ─┼─▶ stereo ── editor ─┬─▶ WAV
//	       └─ track callee ── … ────────────────────┘                     └─▶ Ogg-Opus
//
// A track takes one leg's packets to its channel: a stream puts the packets of
// one sender in order, its voice decodes them, its timeline says where on the
// channel each belongs and follows a clock that is not ours, and stereo holds the
// stretch of the recording that is open. The editor begins with the notice, silences
// what was excised and leaves out what was cut. A Pool makes one recording after the other.
//
// What is lost is silence of the same length; so are comfort noise, keys, a held
// party, a stopped capture and what was excised. The recording is as long as the
// capture was, but for pauses that are cut and a notice that it begins with.
//
// Everything streams: memory does not grow with the call.
//
// The package knows nothing of calls, of rows, or of how long to keep what it
// makes; the spool says all it needs. Nor does it know where that is kept: see Blob.
package finalize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// maxLength is how long a recording can be: beyond it, it is rather a clock that
// went wrong.
const maxLength = 36 * time.Hour

// Job is one recording to be made.
type Job struct {
	Spool   string                          // path of the spool
	Keys    spool.Keys                      // that open it
	Create  func(name string) (Blob, error) // begins a file where files go, over what a try before left
	Name    string                          // their name there without extension, with slashes; the recording's id if empty
	Formats []string                        // Opus, WAV, WAVALaw, WAVMuLaw; a file each
	Opus    OpusConfig
	Expires time.Time // stands in the tags of formats that have any; none if zero
	// Seal, if set, makes the writer that a file goes through on its way to the disk. Its
	// Close completes what was written; Suffix is added to the files' names.
	Seal   func(io.Writer) (io.WriteCloser, error)
	Suffix string

	Try int // which try this is, 1 the first, if the one who asks for it keeps count

	// Passthrough has a call that was Opus on the wire kept as its packets, where they fit a
	// file: see Result.Encoded.
	Passthrough bool

	progress *progress // nil if nobody wants to know
	packet   int64     // samples of every packet, if they are kept; 0 for not
}

// Result is a recording that was made.
type Result struct {
	ID      string
	Terms   spool.Terms
	Expires time.Time // the job's: what its Seal was made for
	Began   time.Time // first and last instant captured
	Ended   time.Time
	Cut     time.Duration // how much of that was taken out, where a capture stopped with spool.Event.Cut
	Notice  *Notice       // what the files begin with, in front of Began; nil for nothing
	Reason  string        // why the capture ended; empty if torn
	Files   []File
	Skipped []error // formats that this build cannot write
	Passed  bool    // the packets of the Opus file are those of the call
	Encoded string  // why not, where that was asked for
	Legs    [2]Leg  // by rtp.Leg
	Early   uint64  // packets refused for being older than the end of the announcement
	Paused  uint64  // packets refused while the capture was stopped
	Torn    bool    // the spool has no end: what was not on the disk is missing
	Damaged int     // stretches of the spool that were damaged and are missing
}

// Notice is an announcement that a recording begins with: the first instant captured is
// so much later in its files.
type Notice struct {
	Prompt string
	SHA256 string // of the prompt's file, in hex
	Length time.Duration
	Whole  bool // else the spool was damaged there, and silence stands for what is missing
}

// File is a recording in one format: as it lies on the disk, and what it says where that
// is sealed.
type File struct {
	Path    string // as the job's Create was asked for it
	Format  string
	Bytes   int64
	Seconds float64
	SHA256  string // in hex

	ContentBytes  int64
	ContentSHA256 string
}

// Leg is what became of one leg's packets.
type Leg struct {
	Packets    uint64 // in the spool
	Lost       uint64 // never brought by the network
	Dropped    uint64 // by the tap
	Duplicates uint64
	Reordered  uint64
	Late       uint64  // behind the place where they belong; not heard
	Unknown    uint64  // of a payload type that was not negotiated or that we do not decode
	Invalid    uint64  // not RTP, or not what their codec makes
	Streams    uint64  // a sender, or a sender that started over
	Moves      uint64  // corrections of a stream's place in time at once
	Snapped    uint64  // packets left out, or places left empty, to follow a clock; of packets that are kept
	Slipped    float64 // seconds by which streams were corrected in speech, little by little
	SkewPPM    float64 // by how much the sender's clock runs fast, in millionths; 0 if not watched for a minute
	Seconds    float64 // of audio

	Reports     uint64  // the sender's, of its own clocks
	Ignored     uint64  // of those: what they say does not fit the packets, or each other
	Aligned     uint64  // streams that found their place by them
	ReportedPPM float64 // SkewPPM by them: against the sender's clock on the wall
}

// Run makes one recording. Its files appear under their names only when all of them
// are complete, one after the other; a second run replaces them. After an error some may have
// appeared: the next try replaces these too. The spool stays.
// Where this build lacks a format, the others are written and the reason stands
// in Skipped; an error is returned only if there is nothing to write.
func Run(ctx context.Context, job Job) (Result, error) {
	in, err := spool.Open(job.Spool, job.Keys)
	if err != nil {
		return Result{}, fmt.Errorf("finalize: %w", err)
	}
	defer in.Close()
	result, err := run(ctx, job, in)
	if err != nil {
		return Result{}, fmt.Errorf("finalize %s: %w", in.Header.ID, err)
	}
	return result, nil
}

func run(ctx context.Context, job Job, in *spool.Reader) (Result, error) {
	hz := channelHz(in.Header)
	edits, err := readEdits(job, hz)
	if err != nil {
		return Result{}, err
	}
	why := ""
	if job.Passthrough && slices.Contains(job.Formats, Opus) {
		if job.packet, why, err = survey(job, hz, edits); err != nil {
			return Result{}, err
		}
		if why != "" {
			job.packet = 0
		}
	}
	captured := samplesAt(edits.length, hz)
	files, skipped, err := createFiles(job, in.Header, hz, edits.frames(captured))
	if err != nil {
		return Result{}, err
	}
	rec := newRecording(in.Header, newStereo(hz, []output{newEditor(edits, files.outputs())}))
	rec.progress, rec.stereo.total = job.progress, captured
	passed := files.passage()
	for _, t := range rec.tracks {
		t.passage, t.decodes = passed, passed == nil || len(files.open) > 1
	}
	result, err := rec.render(ctx, in)
	if err != nil {
		return Result{}, errors.Join(err, files.discard())
	}
	result.Skipped, result.Expires = skipped, job.Expires
	result.Passed, result.Encoded = passed != nil, why
	result.Cut = durationOf(edits.left(rec.stereo.start), hz)
	if n := in.Header.Notice; n != nil {
		result.Notice = &Notice{Prompt: n.Prompt, SHA256: n.SHA256, Length: durationOf(int64(len(edits.notice)), hz), Whole: edits.whole}
	}
	seconds := float64(edits.frames(rec.stereo.start)) / float64(hz)
	if result.Files, err = files.keep(seconds); err != nil {
		return Result{}, errors.Join(err, files.discard())
	}
	return result, nil
}

// durationSince returns how long after its capture began that nanosecond was.
func durationSince(h spool.Header, ns int64) time.Duration {
	return time.Unix(0, ns).Sub(h.Began)
}

func durationOf(frames, hz int64) time.Duration {
	return time.Duration(frames) * time.Second / time.Duration(hz)
}

// recording is a recording in the making.
type recording struct {
	header spool.Header
	stereo *stereo
	tracks [2]*track // by rtp.Leg

	progress *progress // nil if nobody wants to know

	malformed int // batches that did not end where they should

	span
}

func newRecording(h spool.Header, s *stereo) *recording {
	r := &recording{header: h, stereo: s, span: span{began: h.Began}}
	for leg, l := range h.Legs {
		r.tracks[leg] = newTrack(l.Channel, l.Codecs, s)
	}
	return r
}

// render reads the spool to its end and writes all frames.
func (r *recording) render(ctx context.Context, in *spool.Reader) (Result, error) {
	result := Result{ID: r.header.ID, Terms: r.header.Terms, Began: r.header.Began, Torn: true}
	for {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		frame, err := in.Next()
		r.progress.note(in)
		if err == io.EOF || err == spool.ErrTorn {
			break
		}
		if err != nil {
			return Result{}, err
		}
		switch f := frame.(type) {
		case spool.Batch:
			err = r.batch(f)
		case spool.Event:
			err = r.event(f)
		case spool.End:
			result.Torn, result.Reason, result.Early, result.Paused = false, f.Reason, f.Early, f.Paused
			err = r.end(f)
		}
		if err != nil {
			return Result{}, err
		}
	}
	for leg, t := range r.tracks {
		result.Legs[leg] = t.close()
	}
	result.Damaged = in.Damaged() + r.malformed
	result.Ended = r.header.Began.Add(r.last)
	return result, r.stereo.close(samplesAt(r.last, r.stereo.hz))
}

// batch takes a leg's packets to its track.
func (r *recording) batch(b spool.Batch) error {
	own, other := r.tracks[b.Leg], r.tracks[b.Leg.Other()]
	for packets := b.Packets; len(packets) > 0; {
		ns, packet, rest, err := rtp.NextCaptured(packets)
		if err != nil { // its checksum is right: it was written so
			r.malformed++
			return nil
		}
		packets = rest
		at, err := r.instant(time.Unix(0, ns).UTC())
		if err != nil {
			return err
		}
		own.take(at, packet)
		other.place(at - 2*lookAhead) // else it would wait for a leg that is silent
		if err := r.stereo.arrived(at); err != nil {
			return err
		}
		r.captured(at)
	}
	return nil
}

// event notes what happened to the capture.
func (r *recording) event(e spool.Event) error {
	at, err := r.span.event(e)
	if err != nil {
		return err
	}
	switch e.Kind {
	case spool.CodecsChanged:
		r.tracks[e.Leg].codings.change(at, e.Codecs)
	case spool.SenderReported:
		if e.Report != nil {
			r.tracks[e.Leg].report(at, *e.Report)
		}
	case spool.PacketsDropped:
		for leg, t := range r.tracks {
			t.leg.Dropped = e.Dropped[leg]
		}
	case spool.CaptureStarted:
		for _, t := range r.tracks {
			t.resumed = append(t.resumed, at)
		}
	}
	return nil
}
