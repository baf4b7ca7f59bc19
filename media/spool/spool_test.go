package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

var (
	began     = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	announced = began.Add(-time.Millisecond)
)

// plainly are keys that wrap nothing: what is under test is not whose they are.
type plainly struct{}

func (plainly) WrapSpool(key []byte) ([]byte, error)       { return bytes.Clone(key), nil }
func (plainly) UnwrapSpool(wrapped []byte) ([]byte, error) { return wrapped, nil }

func terms() Terms {
	return Terms{
		Recording: "019ab1c2-0000-7000-8000-000000000001",
		Purpose:   "quality",
		Basis:     "legitimate_interest",
		Retention: "P14D",
		Rule:      "customers",
		Policy:    "5f2c",
		NotBefore: announced,
	}
}

func grant(t testing.TB, terms Terms) Grant {
	t.Helper()
	g, err := NewGrant(terms)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func header() Header {
	codecs := []rtp.Codec{{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1}}
	return Header{
		Began: began,
		Legs: [2]Leg{
			rtp.Caller: {Channel: 0, Side: "external", Codecs: codecs},
			rtp.Callee: {Channel: 1, Side: "internal", Codecs: codecs},
		},
	}
}

func directory(t testing.TB) *os.Root {
	t.Helper()
	dir, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func create(t testing.TB, dir *os.Root, terms Terms, h Header) *File {
	t.Helper()
	f, err := Create(dir, plainly{}, grant(t, terms), h)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// batch returns packets that arrived at these times after the recording's
// begin, each with its place in the batch as content.
func batch(after ...time.Duration) []byte {
	var b []byte
	for i, d := range after {
		b = rtp.AppendCaptured(b, began.Add(d).UnixNano(), fmt.Appendf(nil, "packet %d", i))
	}
	return b
}

// arrivals returns when the packets of a batch arrived, after the recording's begin.
func arrivals(t testing.TB, b []byte) []time.Duration {
	t.Helper()
	var after []time.Duration
	for len(b) > 0 {
		at, _, rest, err := rtp.NextCaptured(b)
		if err != nil {
			t.Fatal(err)
		}
		after = append(after, time.Unix(0, at).Sub(began))
		b = rest
	}
	return after
}

// readAll returns a spool's frames, with copies of their batches, and the error
// that ended them.
func readAll(r *Reader) ([]Frame, error) {
	var frames []Frame
	for {
		f, err := r.Next()
		if err != nil {
			return frames, err
		}
		if b, ok := f.(Batch); ok {
			b.Packets = append([]byte(nil), b.Packets...)
			f = b
		}
		frames = append(frames, f)
	}
}

// read returns all that is in the spool of that name.
func read(t testing.TB, dir *os.Root, name string) (Header, []Frame, error) {
	t.Helper()
	r, err := Open(filepath.Join(dir.Name(), name), plainly{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	frames, err := readAll(r)
	if _, again := r.Next(); again != err {
		t.Errorf("got %v from Next after the end, want %v again", again, err)
	}
	return r.Header, frames, err
}

// kept returns the arrivals of all packets of a leg.
func kept(t testing.TB, frames []Frame, leg rtp.Leg) []time.Duration {
	t.Helper()
	var after []time.Duration
	for _, f := range frames {
		if b, ok := f.(Batch); ok && b.Leg == leg {
			after = append(after, arrivals(t, b.Packets)...)
		}
	}
	return after
}

// tap is a source that is filled by hand.
type tap struct {
	batches chan legBatch
	reports chan rtp.Reported
	dropped [2]atomic.Uint64
	drained chan struct{} // of size 1, gets a value at every drain
}

type legBatch struct {
	leg   rtp.Leg
	batch []byte
}

func newTap() *tap {
	return &tap{batches: make(chan legBatch, 1000), reports: make(chan rtp.Reported, 10), drained: make(chan struct{}, 1)}
}

func (s *tap) Drain(keep func(rtp.Leg, []byte) error) error {
	select {
	case s.drained <- struct{}{}:
	default:
	}
	for {
		select {
		case b := <-s.batches:
			if err := keep(b.leg, b.batch); err != nil {
				return err
			}
			for i := range b.batch {
				b.batch[i] = 0xff // valid during the call only
			}
		default:
			return nil
		}
	}
}

func (s *tap) Reported() (taken []rtp.Reported) {
	for len(s.reports) > 0 {
		taken = append(taken, <-s.reports)
	}
	return taken
}

func (s *tap) Dropped() [2]uint64 { return [2]uint64{s.dropped[0].Load(), s.dropped[1].Load()} }

var errAny = errors.New("any error")

// wantErr fails unless err is want, or any error if want is errAny.
func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if want == errAny && err != nil {
		return
	}
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}
