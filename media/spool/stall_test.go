package spool_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/media/finalize"
	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/media/wav"
	"github.com/bewaard/bewaard/store/blob/directory"
)

// stalling is a disk that does not answer from one instant to another.
type stalling struct {
	spool.Disk
	from, to time.Time
}

func (s *stalling) Write(b []byte) (int, error) {
	if now := time.Now(); !now.Before(s.from) && now.Before(s.to) {
		time.Sleep(s.to.Sub(now))
	}
	return s.Disk.Write(b)
}

// tap has room for so many bytes a leg, as the relay's has.
type tap struct {
	room    int
	mu      sync.Mutex
	legs    [2][]byte
	dropped [2]uint64
}

func (t *tap) put(leg rtp.Leg, packet []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.legs[leg])+rtp.CapturedBytes(len(packet)) > t.room {
		t.dropped[leg]++
		return
	}
	t.legs[leg] = rtp.AppendCaptured(t.legs[leg], time.Now().UnixNano(), packet)
}

func (t *tap) Drain(keep func(rtp.Leg, []byte) error) error {
	t.mu.Lock()
	legs := t.legs
	t.legs = [2][]byte{}
	t.mu.Unlock()
	for leg, batch := range legs {
		if err := keep(rtp.Leg(leg), batch); err != nil {
			return err
		}
	}
	return nil
}

func (t *tap) Reported() []rtp.Reported { return nil }

func (t *tap) Dropped() [2]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// plainly are keys that wrap nothing.
type plainly struct{}

func (plainly) WrapSpool(key []byte) ([]byte, error)       { return bytes.Clone(key), nil }
func (plainly) UnwrapSpool(wrapped []byte) ([]byte, error) { return wrapped, nil }

// A disk that does not answer for half a minute costs what found no room meanwhile:
// it is counted, it is a gap of its own length, and nothing else is lost or moved.
func TestDiskStalls(t *testing.T) {
	const length, from, to = 60 * time.Second, 10 * time.Second, 40 * time.Second
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		dir, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		grant, err := spool.NewGrant(spool.Terms{
			Recording: "call", Purpose: "quality", Basis: "contract", Retention: "P14D", Rule: "all", Policy: "1", NotBefore: began,
		})
		if err != nil {
			t.Fatal(err)
		}
		codecs := []rtp.Codec{{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1}}
		f, err := spool.Create(dir, plainly{}, grant, spool.Header{Began: began, Legs: [2]spool.Leg{
			{Channel: 0, Side: "external", Codecs: codecs}, {Channel: 1, Side: "internal", Codecs: codecs},
		}})
		if err != nil {
			t.Fatal(err)
		}
		spool.PutBefore(f, func(d spool.Disk) spool.Disk { return &stalling{d, began.Add(from), began.Add(to)} })
		w, err := spool.NewWriter(spool.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		source := &tap{room: 32 << 10}
		if err := w.Attach(f, source); err != nil {
			t.Fatal(err)
		}
		for n := range int(length / (20 * time.Millisecond)) {
			time.Sleep(20 * time.Millisecond)
			for leg := range rtp.Leg(2) {
				source.put(leg, packet(n, uint32(leg)))
			}
		}
		if err := w.Detach(f); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if err := f.Close("bye"); err != nil {
			t.Fatal(err)
		}

		blobs, err := directory.Open(dir.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer blobs.Close()
		result, err := finalize.Run(t.Context(), finalize.Job{
			Spool: filepath.Join(dir.Name(), f.Name()), Keys: plainly{}, Formats: []string{finalize.WAV},
			Create: func(name string) (finalize.Blob, error) { return blobs.Create(name) },
		})
		if err != nil {
			t.Fatal(err)
		}
		dropped := source.Dropped()
		for leg, l := range result.Legs {
			gap := time.Duration(dropped[leg]) * 20 * time.Millisecond
			if l.Dropped != dropped[leg] || l.Lost != 0 || l.Late != 0 || l.Moves != 0 {
				t.Errorf("leg %d: got %+v, want %d dropped and nothing else missing", leg, l, dropped[leg])
			}
			if gap < 25*time.Second || gap > to-from {
				t.Errorf("leg %d: got %v dropped, want somewhat less than half a minute", leg, gap)
			}
			if got := silence(t, filepath.Join(dir.Name(), result.Files[0].Path), leg); got != gap {
				t.Errorf("leg %d: got %v of silence, want %v", leg, got, gap)
			}
		}
		if got := result.Ended.Sub(result.Began); got != length {
			t.Errorf("got a recording of %v, want %v", got, length)
		}
	})
}

// packet is never silent.
func packet(n int, ssrc uint32) []byte {
	b := []byte{2 << 6, 8}
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = binary.BigEndian.AppendUint32(b, uint32(160*n))
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, bytes.Repeat([]byte{alaw(8000)}, 160)...)
}

func alaw(sample int16) byte {
	var octet [1]byte
	g711.EncodeALaw(octet[:], []int16{sample})
	return octet[0]
}

// silence returns how long a channel of a recording is silent in one piece; there may
// be no other silence.
func silence(t *testing.T, path string, channel int) time.Duration {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := wav.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	samples, pieces, was := 0, 0, false
	var b [8192]int16
	for {
		n, err := r.Read(b[:])
		for i := channel; i < n; i += 2 {
			if is := b[i] == 0; is {
				samples++
				if !was {
					pieces++
				}
				was = true
			} else {
				was = false
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if pieces > 1 {
		t.Errorf("channel %d: got %d gaps, want one", channel, pieces)
	}
	return time.Duration(samples) * time.Second / 8000
}
