package finalize

import (
	"encoding/binary"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// What is excised is silent on the leg's channel, or on both, from its first sample to its
// last; beside it everything is heard, however long after it the event came.
func TestExcised(t *testing.T) {
	for _, left := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		c := &capture{length: 90 * time.Second, left: left}
		said := [2]func(int64) int16{noise(1), noise(2)} // by leg
		for leg := range rtp.Leg(2) {
			c.send(newParty(leg, said[leg]), c.length, ideal)
		}
		excise := func(at time.Duration, e spool.Event, from, to time.Duration) {
			e.Kind, e.From, e.To = spool.Excised, began.Add(from), began.Add(to)
			c.event(at, e)
		}
		odd := 123 * time.Microsecond // within a packet, and within a sample
		excise(4*time.Second, spool.Event{Leg: rtp.Callee}, 2*time.Second+odd, 3*time.Second)
		excise(80*time.Second, spool.Event{Leg: rtp.Caller, Both: true}, 5*time.Second, 6*time.Second)
		excise(81*time.Second, spool.Event{Leg: rtp.Callee}, -time.Second, 500*ms)
		excise(82*time.Second, spool.Event{Leg: rtp.Callee}, 300*ms, 800*ms) // over the last
		excise(83*time.Second, spool.Event{Leg: rtp.Caller}, 89*time.Second, time.Hour)

		result, channels := finalized(t, c)
		wantLength(t, channels, c.length)
		caller, callee := channels[left], channels[1-left]
		wantAudio(t, caller, 0, 5*time.Second, said[rtp.Caller])
		wantSilence(t, caller, 5*time.Second, 6*time.Second)
		wantAudio(t, caller, 6*time.Second, 89*time.Second, said[rtp.Caller])
		wantSilence(t, caller, 89*time.Second, 90*time.Second)

		wantSilence(t, callee, 0, 800*ms)
		wantAudio(t, callee, 800*ms, 2*time.Second, said[rtp.Callee])
		wantSilence(t, callee, 2*time.Second+odd, 3*time.Second)
		wantAudio(t, callee, 3*time.Second, 5*time.Second, said[rtp.Callee])
		wantSilence(t, callee, 5*time.Second, 6*time.Second)
		wantAudio(t, callee, 6*time.Second, 90*time.Second, said[rtp.Callee])
		if result.Cut != 0 {
			t.Errorf("got %v cut, want nothing", result.Cut)
		}
	}
}

// A pause that is cut is not in the recording: both channels go on with what was said when
// it was over. One that is not is silent for as long, and neither is one at the end.
func TestCutPauses(t *testing.T) {
	c := &capture{length: 100 * time.Second}
	said := [2]func(int64) int16{noise(1), noise(2)}
	for leg := range rtp.Leg(2) {
		c.send(newParty(leg, said[leg]), c.length, ideal)
	}
	pause := func(from, to time.Duration, cut bool) {
		c.event(from, spool.Event{Kind: spool.CaptureStopped, Cut: cut})
		c.event(from+1, spool.Event{Kind: spool.CaptureStopped, Cut: !cut}) // it has stopped already
		c.event(to, spool.Event{Kind: spool.CaptureStarted})
	}
	pause(10*time.Second, 12*time.Second, true)
	pause(20*time.Second, 21*time.Second, false)
	pause(30*time.Second, 80*time.Second, true) // longer than what is open at a time
	c.event(85*time.Second, spool.Event{Kind: spool.Excised, Leg: rtp.Caller, From: began.Add(82 * time.Second), To: began.Add(83 * time.Second)})
	result, channels := finalized(t, c)
	wantLength(t, channels, 48*time.Second)
	if result.Cut != 52*time.Second || result.Files[0].Seconds != 48 {
		t.Errorf("got %v cut and %v s left, want 52s and 48", result.Cut, result.Files[0].Seconds)
	}
	if got := result.Ended.Sub(result.Began).Round(ms); got != c.length {
		t.Errorf("got %v captured, want %v", got, c.length)
	}
	// What arrives as a capture stops was said before it: the packet that ends then is not kept.
	const packet = 20 * time.Millisecond
	for leg, channel := range channels {
		later := func(by time.Duration) func(int64) int16 {
			return func(sample int64) int16 { return said[leg](sample + samplesAt(by, 8000)) }
		}
		wantAudio(t, channel, 0, 10*time.Second-packet, said[leg])
		wantAudio(t, channel, 10*time.Second, 18*time.Second-packet, later(2*time.Second))
		wantSilence(t, channel, 18*time.Second, 19*time.Second-packet)
		wantAudio(t, channel, 19*time.Second, 28*time.Second-packet, later(2*time.Second))
		wantAudio(t, channel, 28*time.Second, 30*time.Second, later(52*time.Second))
		if leg == int(rtp.Caller) {
			wantSilence(t, channel, 30*time.Second, 31*time.Second)
		}
		wantAudio(t, channel, 31*time.Second, 48*time.Second, later(52*time.Second))
	}
}

// A recording that ends in a pause, or whose spool is torn in one, ends where that began.
func TestEndsInCutPause(t *testing.T) {
	c := &capture{length: 20 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	c.event(10*time.Second, spool.Event{Kind: spool.CaptureStopped, Cut: true})
	result, channels := finalized(t, c)
	wantLength(t, channels, 10*time.Second)
	if result.Cut != 0 {
		t.Errorf("got %v cut, want nothing", result.Cut)
	}
}

// keptFrames are the frames that an output was given.
type keptFrames struct {
	frames []int16
	closed int64
}

func (k *keptFrames) write(frames []int16) error { k.frames = append(k.frames, frames...); return nil }
func (k *keptFrames) close(frames int64) error   { k.closed = frames; return nil }

// Whatever is to be silent or cut, overlapping or out of order, and however the frames come
// in: every frame is decided by itself.
func TestEditorFrameByFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Int64Range(0, 200).Draw(t, "frames")
		some := func(name string) (some intervals) {
			for range rapid.IntRange(0, 5).Draw(t, name) {
				from := rapid.Int64Range(0, 220).Draw(t, "from")
				some = append(some, interval{from, from + rapid.Int64Range(-3, 60).Draw(t, "frames")})
			}
			return some
		}
		raw := edits{silent: [2]intervals{some("left"), some("right")}, cut: some("cut")}
		in := func(s intervals, i int64) bool {
			return slices.ContainsFunc(s, func(one interval) bool { return one.from <= i && i < one.to })
		}
		var frames, want []int16
		for i := range length {
			frames = append(frames, int16(1+i), int16(1000+i))
			if in(raw.cut, i) {
				continue
			}
			for channel, sample := range frames[2*i:] {
				if in(raw.silent[channel], i) {
					sample = 0
				}
				want = append(want, sample)
			}
		}
		var out keptFrames
		e := newEditor(raw.inOrder(), []output{&out})
		for rest := frames; len(rest) > 0; {
			n := 2 * rapid.IntRange(1, len(rest)/2).Draw(t, "at once")
			if err := e.write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := e.close(length); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out.frames, want) || out.closed != int64(len(want)/2) {
			t.Fatalf("got %v and %d at the close, want %v", out.frames, out.closed, want)
		}
	})
}

// noticeOf returns a notice with that audio.
func noticeOf(leg rtp.Leg, both bool, hz int, samples int, audio func(int64) int16) *spool.Notice {
	n := &spool.Notice{Prompt: "recorded", SHA256: "5f2c", Leg: leg, Both: both, Hz: hz}
	for i := range int64(samples) {
		n.L16 = append(n.L16, binary.BigEndian.AppendUint16(nil, uint16(audio(i))))
	}
	return n
}

// A recording with a notice begins with the prompt, sample by sample, on the channel of who
// was told, and goes on with what was captured; both are edited as if there were no notice.
func TestNotice(t *testing.T) {
	const samples = 8000*12/10 + 3 // not a whole number of packets
	spoken := noise(9)
	for _, both := range []bool{false, true} {
		c := &capture{length: 70 * time.Second, left: rtp.Callee, notice: noticeOf(rtp.Caller, both, 8000, samples, spoken)}
		said := [2]func(int64) int16{noise(1), noise(2)} // by leg
		for leg := range rtp.Leg(2) {
			c.send(newParty(leg, said[leg]), c.length, ideal)
		}
		c.event(60*time.Second, spool.Event{Kind: spool.Excised, Leg: rtp.Caller, From: began, To: began.Add(time.Second)})
		c.event(61*time.Second, spool.Event{Kind: spool.CaptureStopped, Cut: true})
		c.event(65*time.Second, spool.Event{Kind: spool.CaptureStarted})
		result, channels := finalized(t, c)
		length := samples * time.Second / 8000
		want := &Notice{Prompt: "recorded", SHA256: "5f2c", Length: length, Whole: true}
		if diff := cmp.Diff(want, result.Notice); diff != "" {
			t.Errorf("notice (-want +got):\n%s", diff)
		}
		if result.Cut != 4*time.Second || !result.Began.Equal(began) {
			t.Errorf("got %v cut of what began at %v, want 4s and %v", result.Cut, result.Began, began)
		}
		wantLength(t, channels, c.length+length-4*time.Second)
		callee, caller := channels[0], channels[1]
		for i := range int64(samples) {
			if got := [2]int16{caller[i], callee[i]}; got != [2]int16{spoken(i), map[bool]int16{true: spoken(i)}[both]} {
				t.Fatalf("sample %d of the notice: got %v, want %d", i, got, spoken(i))
			}
		}
		caller, callee = caller[samples:], callee[samples:]
		wantSilence(t, caller, 0, time.Second)
		wantAudio(t, caller, time.Second, 61*time.Second-20*ms, said[rtp.Caller])
		wantAudio(t, callee, 0, 61*time.Second-20*ms, said[rtp.Callee])
		wantAudio(t, callee, 61*time.Second, 66*time.Second, func(i int64) int16 { return said[rtp.Callee](i + 4*8000) })
	}
}

// A notice has the rate of the recording, is there where nothing was captured, and does not
// claim to be whole where its spool is damaged.
func TestNoticeAtOtherRates(t *testing.T) {
	const hz = 48000
	sine := func(i int64) int16 { return int16(8000 * math.Sin(2*math.Pi*440*float64(i)/hz)) }
	c := &capture{notice: noticeOf(rtp.Caller, false, hz, 3*hz, sine)}
	path := c.write(t, t.TempDir())
	result, channels := made(t, path)
	wantLength(t, channels, 3*time.Second)
	if got := level(channels[0][800:20000], 440); got < 0.99 {
		t.Errorf("got a level of %v, want the tone's", got)
	}
	if !result.Notice.Whole || result.Notice.Length != 3*time.Second {
		t.Errorf("got notice %+v, want all three seconds", result.Notice)
	}

	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole[200_000] ^= 1
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	result, channels = made(t, path)
	wantLength(t, channels, 3*time.Second)
	if result.Notice.Whole || result.Damaged == 0 {
		t.Errorf("got notice %+v and %d damaged, want neither whole", result.Notice, result.Damaged)
	}
}
