package media

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
)

// octets are A-law of a constant.
func octets(sample int16, n int) []byte {
	pcm, payload := make([]int16, n), make([]byte, n)
	for i := range pcm {
		pcm[i] = sample
	}
	g711.EncodeALaw(payload, pcm)
	return payload
}

func linear(payload []byte) []int16 {
	pcm := make([]int16, len(payload))
	g711.DecodeALaw(pcm, payload)
	return pcm
}

// A beep is laid over what is said, sample by sample, from one packet to the next, whatever
// their length; what is captured is without it, and behind it all is as it was.
func TestBeepIsMixed(t *testing.T) { eachEngine(t, testBeepIsMixed) }

func testBeepIsMixed(t T) {
	s, caller, callee := openSession(t)
	tap := NewTap(32 << 10)
	s.Capture(tap)
	s.Relay(rtp.Caller, true)
	said := octets(1000, 240)
	relay := func() []byte {
		caller.send(caller.packet(8, said...))
		_, payload := callee.receive()
		return payload
	}
	relay()
	if err := s.Beep(rtp.Callee, Frames{PayloadType: 8, Payloads: [][]byte{octets(500, 160), octets(-700, 160)}}); err != nil {
		t.Fatal(err)
	}
	caller.send(caller.packet(13, 40)) // comfort noise is no G.711
	if _, payload := callee.receive(); len(payload) != 1 || payload[0] != 40 {
		t.Errorf("got comfort noise %v, want it as it was", payload)
	}
	got := append(relay(), relay()...)
	for i, sample := range linear(got) {
		want := 1000.0
		switch {
		case i < 160:
			want += 500
		case i < 320:
			want -= 700
		}
		if math.Abs(float64(sample)-want) > 40 { // A-law's step, there and in either part
			t.Fatalf("sample %d: got %d, want %v", i, sample, want)
		}
	}
	if got := relay(); string(got) != string(said) {
		t.Error("got something else than was said behind the beep")
	}
	if s.legs[rtp.Callee].mix.Load() != nil {
		t.Error("the beep is not over")
	}
	tap.Drain(func(_ rtp.Leg, batch []byte) error {
		for len(batch) > 0 {
			_, packet, rest, err := rtp.NextCaptured(batch)
			if err != nil {
				t.Fatal(err)
			}
			batch = rest
			if p := packet[rtp.HeaderBytes:]; len(p) > 1 && string(p) != string(said) {
				t.Error("the beep was captured")
			}
		}
		return nil
	})
}

// Where there is nothing to lay it over, a beep is played; but not to who is being told
// something, and not so that a prompt would be interrupted.
func TestBeepIsPlayed(t *testing.T) { eachEngine(t, testBeepIsPlayed) }

func testBeepIsPlayed(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	tone := Frames{PayloadType: 8, Samples: 160, Payloads: [][]byte{octets(500, 160)}}
	played := func() {
		t.Helper()
		if _, payload := callee.receive(); string(payload) != string(tone.Payloads[0]) {
			t.Errorf("got %d octets, want the tone's", len(payload))
		}
		<-s.legs[rtp.Callee].playback.Load().Done()
	}
	if err := s.Beep(rtp.Callee, tone); err != nil { // nobody has said anything yet
		t.Fatal(err)
	}
	played()
	caller.send(caller.packet(9, 1, 2, 3))
	callee.receive()
	tone.PayloadType = 9
	if err := s.Beep(rtp.Callee, tone); err != nil {
		t.Fatal(err)
	}
	played()
	prompt, err := s.Play(rtp.Callee, Frames{PayloadType: 8, Samples: 160, Payloads: [][]byte{{1}, {2}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Beep(rtp.Callee, tone); !errors.Is(err, ErrPlaying) {
		t.Errorf("got %v, want %v", err, ErrPlaying)
	}
	<-prompt.Done()
	if !prompt.Result().Complete {
		t.Errorf("got %+v, want a prompt that nobody interrupted", prompt.Result())
	}
	if s.legs[rtp.Callee].prompt.Load() != prompt {
		t.Error("what is known of the prompt does not stand")
	}
}

// A beep that finds nothing to be laid over in time is given up, and too loud a sum is cut
// off, not turned over.
func TestMixEnds(t *testing.T) {
	loud := octets(30000, 10)
	m := &mix{payloadType: 8, left: octets(30000, 20), until: int64(time.Second)}
	if !m.lay(8, 0, loud) || linear(loud)[0] < 30000 {
		t.Errorf("got %d, want a sum that is cut off, and more to come", linear(loud)[0])
	}
	if !m.lay(9, 1, loud) || m.lay(9, int64(time.Second), loud) {
		t.Error("want it to wait until its time is over")
	}
	if m.lay(8, 2, loud) {
		t.Error("want it to be over with its last octet")
	}
	said := bytes.Repeat([]byte{0xff}, 160) // silence, in µ-law
	other := &mix{payloadType: 8, left: octets(8000, 160), until: int64(time.Second)}
	other.lay(0, 0, said)
	pcm := make([]int16, 160)
	g711.DecodeMuLaw(pcm, said)
	if pcm[80] < 7000 || pcm[80] > 9000 {
		t.Errorf("got %d of a tone in the other law, want what it was", pcm[80])
	}
	if got := testing.AllocsPerRun(100, func() {
		m := mix{payloadType: 8, left: loud, until: 1}
		m.lay(8, 0, loud)
	}); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}
