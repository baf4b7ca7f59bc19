package finalize

import (
	"fmt"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// span is how long a recording is, which the spool alone tells.
type span struct {
	began   time.Time
	last    time.Duration // the latest instant that anything was captured
	stopped bool          // the capture, then
}

// note takes the next frame of the spool.
func (s *span) note(frame spool.Frame) (err error) {
	switch f := frame.(type) {
	case spool.Batch:
		err = s.batch(f)
	case spool.Event:
		_, err = s.event(f)
	case spool.End:
		err = s.end(f)
	}
	return err
}

// instant returns when t was on the recording.
func (s *span) instant(t time.Time) (time.Duration, error) {
	at := t.Sub(s.began)
	if at < -maxLength || at > maxLength {
		return 0, fmt.Errorf("captured at %v what began at %v: more than %v apart", t, s.began, maxLength)
	}
	return at, nil
}

func (s *span) batch(b spool.Batch) error {
	for packets := b.Packets; len(packets) > 0; {
		ns, _, rest, err := rtp.NextCaptured(packets)
		if err != nil {
			return nil
		}
		packets = rest
		at, err := s.instant(time.Unix(0, ns).UTC())
		if err != nil {
			return err
		}
		s.captured(at)
	}
	return nil
}

// event notes what happened to the capture, and returns when.
func (s *span) event(e spool.Event) (time.Duration, error) {
	at, err := s.instant(e.At)
	if err != nil {
		return 0, err
	}
	switch e.Kind {
	case spool.CaptureStopped:
		s.captured(at)
		s.stopped = true
	case spool.CaptureStarted:
		s.stopped = false
	}
	s.captured(at)
	return at, nil
}

// end notes how long the recording is.
func (s *span) end(e spool.End) error {
	at, err := s.instant(e.At)
	s.last = max(at, 0)
	return err
}

// captured notes that the capture ran at that instant.
func (s *span) captured(at time.Duration) {
	if !s.stopped {
		s.last = max(s.last, at)
	}
}
