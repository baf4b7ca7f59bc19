package opus

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// A packet's duration is that of table 2 in RFC 6716, times its frames; more than 120 ms
// there is not.
func TestSamples(t *testing.T) {
	const ms = 48
	perFrame := [32]int{
		10 * ms, 20 * ms, 40 * ms, 60 * ms, 10 * ms, 20 * ms, 40 * ms, 60 * ms, 10 * ms, 20 * ms, 40 * ms, 60 * ms,
		10 * ms, 20 * ms, 10 * ms, 20 * ms,
		120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960,
	}
	for config, want := range perFrame {
		toc := byte(config << 3)
		for frames, p := range map[int][]byte{1: {toc}, 2: {toc | 2}, 3: {toc | 3, 3}, 48: {toc | 3, 48}} {
			got, err := Samples(p)
			if tooLong := want*frames > MaxPacketSamples; tooLong != (err != nil) || !tooLong && got != want*frames {
				t.Errorf("configuration %d, %d frames: got %d and %v, want %d", config, frames, got, err, want*frames)
			}
		}
	}
	for _, p := range [][]byte{nil, {3}, {3, 0}} {
		if got, err := Samples(p); err == nil {
			t.Errorf("got %d samples of % x, want an error", got, p)
		}
	}
}

// made returns a packet of frames of these lengths, whose bytes all differ.
func made(toc byte, delimited bool, lengths ...int) []byte {
	f := frames{toc: toc, count: len(lengths)}
	octet := byte(0)
	for i, n := range lengths {
		f.frame[i] = make([]byte, n)
		for j := range f.frame[i] {
			octet++
			f.frame[i][j] = octet
		}
	}
	return f.append(nil, delimited)
}

// A packet goes through the framing that tells its length and back, with what stands
// behind it left alone.
func TestDelimited(t *testing.T) {
	const toc = 16 << 3 // 2.5 ms
	for _, lengths := range [][]int{{0}, {1}, {251}, {252}, {255}, {256}, {1275}, {3, 3}, {0, 0}, {3, 300}, {0, 1275}, {1, 2, 3}, {5, 5, 5}, {300, 0, 1275, 252, 251}, make([]int, 48)} {
		packet := made(toc, false, lengths...)
		delimited, err := AppendDelimited(nil, packet)
		if err != nil {
			t.Errorf("%v: %v", lengths, err)
			continue
		}
		if want := made(toc, true, lengths...); !bytes.Equal(delimited, want) {
			t.Errorf("%v: got % x, want % x", lengths, delimited, want)
		}
		got, rest, err := CutDelimited(nil, append(delimited, "behind"...))
		if err != nil || !bytes.Equal(got, packet) || string(rest) != "behind" {
			t.Errorf("%v: got % x, %q, %v; want % x", lengths, got, rest, err, packet)
		}
	}
}

// Padding is left out, in both framings.
func TestPadding(t *testing.T) {
	padded := append([]byte{16<<3 | 3, 0x40 | 2, 255, 1, 'a', 'b', 'c', 'd'}, make([]byte, 255)...)
	got, err := AppendDelimited(nil, padded)
	if want := []byte{16<<3 | 1, 2, 'a', 'b', 'c', 'd'}; err != nil || !bytes.Equal(got, want) {
		t.Errorf("got % x, %v; want % x", got, err, want)
	}
	padded = append([]byte{16<<3 | 3, 0xc0 | 2, 3, 1, 2, 'a', 'b', 'c', 0, 0, 0}, "behind"...)
	got, rest, err := CutDelimited(nil, padded)
	if want := []byte{16<<3 | 2, 1, 'a', 'b', 'c'}; err != nil || !bytes.Equal(got, want) || string(rest) != "behind" {
		t.Errorf("got % x, %q, %v; want % x", got, rest, err, want)
	}
}

// Packets that break the rules of RFC 6716 §3.4 are refused.
func TestMalformed(t *testing.T) {
	const toc = 16 << 3
	long := make([]byte, 1276)
	for _, packet := range [][]byte{
		{}, {toc | 1, 1}, {toc | 2}, {toc | 2, 2, 1}, {toc | 2, 252}, append([]byte{toc}, long...),
		{toc | 3}, {toc | 3, 0}, {toc | 3, 3, 1, 2}, {toc | 3, 0x82}, {toc | 3, 0x82, 9, 1}, {toc | 3, 0x41, 5, 1}, {toc | 3, 0x41, 255},
	} {
		if _, err := AppendDelimited(nil, packet); !errors.Is(err, ErrPacket) {
			t.Errorf("% .8x: got %v, want %v", packet, err, ErrPacket)
		}
	}
	for _, b := range [][]byte{{}, {toc}, {toc, 2, 1}, {toc | 1, 1, 1}, {toc | 2, 1, 1, 0}, {toc | 3, 0x41, 2, 1, 1, 0}} {
		if _, _, err := CutDelimited(nil, b); !errors.Is(err, ErrPacket) {
			t.Errorf("delimited % x: got %v, want %v", b, err, ErrPacket)
		}
	}
}

// No packet is allocated for.
func TestDelimitedAllocations(t *testing.T) {
	packet, memory := made(8, false, 40), make([]byte, 0, 100)
	if got := testing.AllocsPerRun(100, func() {
		delimited, _ := AppendDelimited(memory, packet)
		_, _, _ = CutDelimited(delimited[len(delimited):], delimited)
	}); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

// Whatever comes: what is a packet goes through the other framing and back, lasts as
// long as before, and is then in its plainest form, which does not change again.
func FuzzPacket(f *testing.F) {
	for _, lengths := range [][]int{{0}, {300}, {3, 3}, {3, 300}, {1, 2, 3}, {5, 5, 5}} {
		f.Add(made(1<<3, false, lengths...))
		f.Add(made(1<<3, true, lengths...))
	}
	f.Add([]byte{16<<3 | 3, 0x42, 2, 'a', 'b', 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if packet, rest, err := CutDelimited(nil, b); err == nil {
			if len(rest) > len(b) {
				t.Errorf("% x: got more than there was", b)
			}
			if err := plain(packet); err != nil {
				t.Errorf("% x: %v", b, err)
			}
		}
		samples, err := Samples(b)
		delimited, derr := AppendDelimited(nil, b)
		if derr != nil {
			return
		}
		packet, rest, cerr := CutDelimited(nil, delimited)
		after, aerr := Samples(packet)
		if err != nil || cerr != nil || aerr != nil || after != samples || len(rest) != 0 {
			t.Errorf("% x: got %v, %v, %v, %d samples for %d, and % x behind", b, err, cerr, aerr, after, samples, rest)
		}
		if err := plain(packet); err != nil {
			t.Errorf("% x: %v", b, err)
		}
	})
}

func plain(packet []byte) error {
	delimited, err := AppendDelimited(nil, packet)
	if err != nil {
		return err
	}
	again, rest, err := CutDelimited(nil, delimited)
	if err != nil || !bytes.Equal(again, packet) || len(rest) != 0 {
		return fmt.Errorf("got % x, % x, %v; want % x", again, rest, err, packet)
	}
	return nil
}

// Silence of every duration that a packet can have is one packet that lasts so long, and
// frames without a length keep the duration of those they stand for.
func TestSilence(t *testing.T) {
	for _, ms := range []float64{2.5, 5, 10, 20, 30, 40, 60, 80, 100, 120} {
		samples := int(ms * 48)
		packet := AppendSilence(nil, samples)
		if got, err := Samples(packet); got != samples || err != nil || Stereo(packet) || !Whole(packet) {
			t.Errorf("%v ms: got %x of %d samples, %v", ms, packet, got, err)
		}
		empty := AppendFrames(nil, packet[0], Frames(packet), nil)
		if got, err := Samples(empty); got != samples || err != nil || !Whole(empty) {
			t.Errorf("%v ms: got %x of %d samples, %v", ms, empty, got, err)
		}
		delimited, err := AppendDelimited(nil, empty)
		if back, rest, cut := CutDelimited(nil, delimited); err != nil || cut != nil || len(rest) > 0 || string(back) != string(empty) {
			t.Errorf("%v ms: got %x back of %x, %v, %v", ms, back, empty, err, cut)
		}
		if !Available {
			continue
		}
		d, err := NewDecoder(48000, 1)
		if err != nil {
			t.Fatal(err)
		}
		pcm := make([]int16, samples)
		if n, err := d.Decode(pcm, packet); n != samples || err != nil {
			t.Errorf("%v ms: got %d samples decoded, %v", ms, n, err)
		}
		for _, sample := range pcm {
			if sample != 0 {
				t.Errorf("%v ms: got a sample of %d, want silence", ms, sample)
				break
			}
		}
	}
}
