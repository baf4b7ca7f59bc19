package finalize

import (
	"cmp"
	"io"
	"slices"
	"time"

	"github.com/bewaard/bewaard/media/resample"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// edits are what a spool asks of the recording beside what was captured: a notice that it
// begins with, times that are silent on a channel, and times that are not in it at all.
// They are read before the first frame is written, since an event may tell of what was
// long before it; so is how long the capture was, since a WAV file says so at its beginning,
// and what is sealed cannot be changed later.
type edits struct {
	length time.Duration // of the capture

	notice []int16 // at the recording's rate
	told   [2]bool // the channels that the notice is on
	whole  bool    // the notice, as it was read

	silent [2]intervals // by channel
	cut    intervals
}

// interval is some frames of the capture, up to the one in front of to.
type interval struct{ from, to int64 }

// intervals are in order and do not touch.
type intervals []interval

// readEdits reads a spool's notice and its events, and how long it is.
func readEdits(job Job, hz int64) (edits, error) {
	in, err := spool.Open(job.Spool, job.Keys)
	if err != nil {
		return edits{}, err
	}
	defer in.Close() // it was only read
	var (
		e       edits
		notice  []byte
		stopped *spool.Event // since which nothing is captured
		length  = span{began: in.Header.Began}
	)
	for {
		frame, err := in.Next()
		if err == io.EOF || err == spool.ErrTorn {
			e.length = length.last
			e.begin(in.Header, notice, hz)
			return e.inOrder(), nil
		}
		if err != nil {
			return edits{}, err
		}
		if err := length.note(frame); err != nil {
			return edits{}, err
		}
		if part, ok := frame.(spool.NoticeAudio); ok && in.Header.Notice != nil && len(notice)+len(part.L16) <= in.Header.Notice.Bytes {
			notice = append(notice, part.L16...)
		}
		event, ok := frame.(spool.Event)
		if !ok {
			continue
		}
		at := func(t time.Time) int64 { return max(samplesAt(t.Sub(in.Header.Began), hz), 0) }
		switch event.Kind {
		case spool.Excised:
			for leg, l := range in.Header.Legs {
				if event.Both || rtp.Leg(leg) == event.Leg {
					e.silent[l.Channel] = append(e.silent[l.Channel], interval{at(event.From), at(event.To)})
				}
			}
		case spool.CaptureStopped:
			if stopped == nil {
				stopped = &event
			}
		case spool.CaptureStarted:
			if stopped != nil {
				e.stop(*stopped, interval{at(stopped.At), at(event.At)})
			}
			stopped = nil
		}
	}
}

// stop leaves out a time when nothing was captured, or has it silent: the first packets behind
// it bring what was said just before they came, when nothing was to be kept yet.
func (e *edits) stop(at spool.Event, i interval) {
	if at.Cut {
		e.cut = append(e.cut, i)
		return
	}
	for channel := range e.silent {
		e.silent[channel] = append(e.silent[channel], i)
	}
}

// begin has the recording begin with the notice of a spool, of which so much was read. It
// keeps its length where some of it is damaged.
func (e *edits) begin(h spool.Header, l16 []byte, hz int64) {
	n := h.Notice
	if n == nil {
		return
	}
	e.whole = len(l16) == n.Bytes
	for leg, l := range h.Legs {
		e.told[l.Channel] = n.Both || rtp.Leg(leg) == n.Leg
	}
	e.notice = make([]int16, n.Bytes/2)
	decodeL16(e.notice[:len(l16)/2], l16)
	if int64(n.Hz) == hz {
		return
	}
	r, err := resample.New(n.Hz, int(hz))
	if err != nil {
		panic(err) // both are 8000, 16000 or 48000
	}
	e.notice = r.Flush(r.Process(nil, e.notice))
}

func (e edits) inOrder() edits {
	for channel := range e.silent {
		e.silent[channel] = e.silent[channel].inOrder()
	}
	e.cut = e.cut.inOrder()
	return e
}

// inOrder puts intervals in order and joins those that touch.
func (s intervals) inOrder() (joined intervals) {
	slices.SortFunc(s, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	for _, next := range s {
		if last := len(joined) - 1; last >= 0 && next.from <= joined[last].to {
			joined[last].to = max(joined[last].to, next.to)
		} else if next.from < next.to {
			joined = append(joined, next)
		}
	}
	return joined
}

// frames returns how many frames the recording of a capture of so many has.
func (e edits) frames(captured int64) int64 {
	return int64(len(e.notice)) + captured - e.left(captured)
}

// left returns how many frames of a capture of so many are cut.
func (e edits) left(captured int64) (frames int64) {
	for _, s := range e.cut {
		frames += max(min(s.to, captured)-s.from, 0)
	}
	return frames
}

// editor takes the frames of a capture to the outputs, as the edits have them.
type editor struct {
	edits
	outputs []output
	begun   bool
	at      int64 // frames of the capture that were taken
	silent  [2]intervals
	cut     intervals // as the edits have them, without those that have passed
}

func newEditor(e edits, outputs []output) *editor {
	return &editor{edits: e, outputs: outputs, silent: e.silent, cut: e.cut}
}

// begin writes the notice, once.
func (e *editor) begin() error {
	if e.begun {
		return nil
	}
	e.begun = true
	frames := make([]int16, 2*len(e.notice))
	for i, sample := range e.notice {
		for channel, told := range e.told {
			if told {
				frames[2*i+channel] = sample
			}
		}
	}
	return e.put(frames)
}

// write silences what is to be silent, in place, and writes what is not cut.
func (e *editor) write(frames []int16) error {
	if err := e.begin(); err != nil {
		return err
	}
	here := interval{e.at, e.at + int64(len(frames)/2)}
	e.at = here.to
	for channel := range e.silent {
		for _, s := range e.silent[channel].within(here) {
			for i := s.from - here.from; i < s.to-here.from; i++ {
				frames[2*i+int64(channel)] = 0
			}
		}
	}
	from := here.from
	for _, s := range e.cut.within(here) {
		if err := e.put(frames[2*(from-here.from) : 2*(s.from-here.from)]); err != nil {
			return err
		}
		from = s.to
	}
	return e.put(frames[2*(from-here.from):])
}

// within drops the intervals that are before here and returns the parts of the others in it.
func (s *intervals) within(here interval) (parts intervals) {
	for len(*s) > 0 && (*s)[0].to <= here.from {
		*s = (*s)[1:]
	}
	for _, one := range *s {
		if one.from >= here.to {
			break
		}
		parts = append(parts, interval{max(one.from, here.from), min(one.to, here.to)})
	}
	return parts
}

func (e *editor) put(frames []int16) error {
	if len(frames) == 0 {
		return nil
	}
	for _, out := range e.outputs {
		if err := out.write(frames); err != nil {
			return err
		}
	}
	return nil
}

// close ends the recording of a capture of so many frames.
func (e *editor) close(captured int64) error {
	if err := e.begin(); err != nil {
		return err
	}
	for _, out := range e.outputs {
		if err := out.close(e.frames(captured)); err != nil {
			return err
		}
	}
	return nil
}
