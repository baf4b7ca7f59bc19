package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/media/rtp"
)

// sample returns a spool as bytes, the frames in it, and where in it the header
// and each frame end.
func sample(t testing.TB) (file []byte, frames []Frame, ends []int) {
	t.Helper()
	dir := directory(t)
	f := create(t, dir, terms(), header())
	size := func() int {
		info, err := dir.Stat(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Size())
	}
	ends = append(ends, size())
	for i := range 4 {
		f.Append(rtp.Leg(i%2), batch(time.Duration(i)*time.Millisecond, time.Duration(i)*time.Millisecond+1))
		ends = append(ends, size())
	}
	f.Event(Event{Kind: CaptureStopped, At: began.Add(time.Second)})
	f.Event(Event{Kind: CaptureStarted, At: began.Add(2 * time.Second)})
	f.Append(rtp.Caller, batch(3*time.Second))
	f.Event(Event{Kind: CaptureStopped, At: began.Add(4 * time.Second)})
	if err := f.Close("bye"); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, size())
	_, frames, err := read(t, dir, f.Name())
	if err != io.EOF {
		t.Fatal(err)
	}
	file, err = os.ReadFile(filepath.Join(dir.Name(), f.Name()))
	if err != nil {
		t.Fatal(err)
	}
	return file, frames, ends
}

// A spool that is cut off anywhere gives every frame that is whole, then
// ErrTorn; cut off in its header, it is none.
func TestTornAnywhere(t *testing.T) {
	file, frames, ends := sample(t)
	for n := range file {
		r, err := NewReader(bytes.NewReader(file[:n]), plainly{})
		if n < ends[0] {
			if !errors.Is(err, ErrHeader) {
				t.Fatalf("cut at %d: got %v, want %v", n, err, ErrHeader)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		got, err := readAll(r)
		if err != ErrTorn {
			t.Fatalf("cut at %d: got %v, want %v", n, err, ErrTorn)
		}
		if len(got) >= len(frames) || !reflect.DeepEqual(got, slices.Clip(frames[:len(got)])) && len(got) > 0 {
			t.Fatalf("cut at %d: got %v, want a beginning of %v", n, got, frames)
		}
		whole := 0
		for _, end := range ends[1:] {
			if end <= n {
				whole++
			}
		}
		if len(got) < whole {
			t.Fatalf("cut at %d: got %d frames, want at least the %d whole ones", n, len(got), whole)
		}
		if r.Damaged() != 0 {
			t.Fatalf("cut at %d: got %d damaged, want 0", n, r.Damaged())
		}
	}
}

// One flipped bit costs one frame, counted, and never changes another.
func TestFlippedBit(t *testing.T) {
	file, frames, ends := sample(t)
	for bit := range len(file) * 8 {
		flipped := bytes.Clone(file)
		flipped[bit/8] ^= 1 << (bit % 8)
		r, err := NewReader(bytes.NewReader(flipped), plainly{})
		if bit/8 < ends[0] {
			if !errors.Is(err, ErrHeader) {
				t.Fatalf("bit %d of the header: got %v, want %v", bit, err, ErrHeader)
			}
			continue
		}
		if err != nil {
			t.Fatalf("bit %d: %v", bit, err)
		}
		got, err := readAll(r)
		if len(got) == len(frames)-1 && err == ErrTorn && r.Damaged() == 0 {
			if !reflect.DeepEqual(got, frames[:len(got)]) {
				t.Fatalf("bit %d of the end: got %v, want all but the end", bit, got)
			}
			continue
		}
		if err != io.EOF || len(got) != len(frames)-1 || r.Damaged() != 1 {
			t.Fatalf("bit %d: got %d of %d frames, %d damaged, %v; want one lost and io.EOF", bit, len(got), len(frames), r.Damaged(), err)
		}
		for i := range frames {
			if left := slices.Delete(slices.Clone(frames), i, i+1); reflect.DeepEqual(got, left) {
				break
			} else if i == len(frames)-1 {
				t.Fatalf("bit %d: got %v, want %v without one", bit, got, frames)
			}
		}
	}
}

// Whatever is damaged, and however often: what is read is some of what was
// written, in its order.
func TestDamageNeverInventsFrames(t *testing.T) {
	file, frames, ends := sample(t)
	rapid.Check(t, func(t *rapid.T) {
		damaged := bytes.Clone(file)
		for range rapid.IntRange(1, 8).Draw(t, "damages") {
			from := rapid.IntRange(ends[0], len(damaged)-1).Draw(t, "from")
			n := min(rapid.IntRange(1, 300).Draw(t, "length"), len(damaged)-from)
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				copy(damaged[from:], rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "garbage"))
			case 1:
				damaged = slices.Delete(damaged, from, from+n)
			case 2:
				clear(damaged[from : from+n]) // as a file system leaves after a power cut
			}
			if len(damaged) == ends[0] {
				break
			}
		}
		r, err := NewReader(bytes.NewReader(damaged), plainly{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(r)
		if err != io.EOF && err != ErrTorn {
			t.Fatalf("got %v at the end, want io.EOF or %v", err, ErrTorn)
		}
		rest := frames
		for _, g := range got {
			i := slices.IndexFunc(rest, func(f Frame) bool { return reflect.DeepEqual(f, g) })
			if i < 0 {
				t.Fatalf("got %v, want some of %v in order", got, frames)
			}
			rest = rest[i+1:]
		}
	})
}

// Nobody can put a frame into their own audio: a frame inside a packet bears
// another mark, and is not found even when the frame around it is damaged.
func TestForgedFrameInsideAPacket(t *testing.T) {
	other, _, ends := sample(t)
	dir := directory(t)
	f := create(t, dir, terms(), header())
	f.Append(0, rtp.AppendCaptured(nil, began.UnixNano(), other)) // with header, batches and end of another spool
	f.Append(1, batch(0))
	f.Close("")
	file, err := os.ReadFile(filepath.Join(dir.Name(), f.Name()))
	if err != nil {
		t.Fatal(err)
	}
	file[ends[0]+frameHeaderBytes+2] ^= 1
	r, err := NewReader(bytes.NewReader(file), plainly{})
	if err != nil {
		t.Fatal(err)
	}
	frames, err := readAll(r)
	if err != io.EOF || len(frames) != 2 || r.Damaged() != 1 {
		t.Errorf("got %v and %v with %d damaged, want the second batch and the end with 1 damaged", frames, err, r.Damaged())
	}
}

// An error of the disk is neither damage nor the end of the spool.
func TestDiskErrorIsReported(t *testing.T) {
	file, _, ends := sample(t)
	broken := errors.New("input/output error")
	for _, n := range []int{0, 10, ends[0], ends[1] + 5} {
		r, err := NewReader(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)), plainly{})
		if err == nil {
			_, err = readAll(r)
		}
		if !errors.Is(err, broken) || errors.Is(err, ErrTorn) || errors.Is(err, ErrHeader) {
			t.Errorf("disk broken at %d: got %v, want %v", n, err, broken)
		}
	}
}

// A file that is not there, not a spool, or a later version's is refused with the reason.
func TestOpenRefuses(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none.spool"), plainly{})
	wantErr(t, err, os.ErrNotExist)

	text := filepath.Join(t.TempDir(), "text.spool")
	if err := os.WriteFile(text, []byte("not a spool, though long enough for a frame"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(text, plainly{})
	wantErr(t, err, ErrHeader)

	payload, err := json.Marshal(keyHeader{version + 1, make([]byte, 8), make([]byte, keyBytes)})
	if err != nil {
		t.Fatal(err)
	}
	frame := append(beginFrame(nil, headerMark, keyFrame, 0), payload...)
	finishFrame(frame, 0)
	_, err = NewReader(bytes.NewReader(frame), plainly{})
	wantErr(t, err, ErrHeader)
}

// The reader takes any bytes: it ends, and its frames fit in the file.
func FuzzReader(f *testing.F) {
	file, _, ends := sample(f)
	f.Add(file)
	f.Add(file[:ends[2]+7])
	f.Add(file[:ends[0]])
	flipped := bytes.Clone(file)
	flipped[ends[1]+30] ^= 0x40
	f.Add(flipped)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		read := func(in io.Reader) (frames []Frame, damaged int, err error) {
			r, err := NewReader(in, plainly{})
			if err != nil {
				return nil, 0, err
			}
			frames, err = readAll(r)
			if err != io.EOF && err != ErrTorn {
				t.Fatalf("got %v at the end, want io.EOF or %v", err, ErrTorn)
			}
			return frames, r.Damaged(), nil
		}
		frames, damaged, err := read(bytes.NewReader(file))
		if n := (len(frames) + damaged) * frameHeaderBytes; n > len(file) && damaged == 0 {
			t.Errorf("got %d frames in %d bytes", len(frames), len(file))
		}
		again, damaged2, err2 := read(iotest.OneByteReader(bytes.NewReader(file)))
		if !reflect.DeepEqual(frames, again) || (err == nil) != (err2 == nil) || damaged != damaged2 {
			t.Errorf("got %d frames, %d damaged, %v read whole; %d, %d, %v read by the byte", len(frames), damaged, err, len(again), damaged2, err2)
		}
	})
}
