package prompt

import (
	"math"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
)

// A tone has its frequency, level and length, is silent where it should be, and begins and
// ends without a click.
func TestTone(t *testing.T) {
	p, err := Tone("two", Sound{1000, 100 * time.Millisecond, -10}, Sound{Length: 60 * time.Millisecond}, Sound{2000, 40 * time.Millisecond, -10})
	if err != nil {
		t.Fatal(err)
	}
	f, ok := p.Frames("PCMA", 8000)
	if !ok || p.Duration != 200*time.Millisecond || len(f.Payloads) != 10 {
		t.Fatalf("got %v in %d frames, want 200ms in 10", p.Duration, len(f.Payloads))
	}
	var pcm []int16
	for _, payload := range f.Payloads {
		part := make([]int16, len(payload))
		g711.DecodeALaw(part, payload)
		pcm = append(pcm, part...)
	}
	power := func(samples []int16, hz float64) float64 { // in dBm0, of a sine of that frequency
		var re, im float64
		for i, s := range samples {
			re += float64(s) * math.Cos(2*math.Pi*hz*float64(i)/8000)
			im += float64(s) * math.Sin(2*math.Pi*hz*float64(i)/8000)
		}
		return 20*math.Log10(2*math.Hypot(re, im)/float64(len(samples))/32124) + 3.14
	}
	for _, one := range []struct {
		from, to int
		hz       float64
	}{{80, 720, 1000}, {1360, 1520, 2000}} {
		if got := power(pcm[one.from:one.to], one.hz); math.Abs(got+10) > 0.3 {
			t.Errorf("got %.1f dBm0 at %v Hz, want -10", got, one.hz)
		}
	}
	for i, s := range pcm[800:1280] {
		if s > 16 || s < -16 {
			t.Fatalf("got %d in the silence, sample %d", s, i)
		}
	}
	for _, edge := range []int16{pcm[0], pcm[1], pcm[798], pcm[799]} {
		if edge > 700 || edge < -700 {
			t.Errorf("got %d at an edge, want it to begin and end softly", edge)
		}
	}
}

// What could not be heard as it is meant is refused.
func TestToneRefused(t *testing.T) {
	for _, s := range []Sound{{}, {Hz: 4000, Length: time.Second}, {Hz: -1, Length: time.Second}, {Hz: 400, Length: time.Second, DBm0: 4}} {
		if _, err := Tone("bad", s); err == nil {
			t.Errorf("got no error of %+v", s)
		}
	}
}

// The tones that there are are played in every codec.
func TestTonesThatThereAre(t *testing.T) {
	for want, make := range map[time.Duration]func() (*Prompt, error){
		200 * time.Millisecond: Beep, 400 * time.Millisecond: Paused, 300 * time.Millisecond: Resumed,
	} {
		p, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if p.Duration != want {
			t.Errorf("got %s of %v, want %v", p.ID, p.Duration, want)
		}
		for _, c := range codecs {
			if _, ok := p.Frames(c.name, c.clockHz); !ok && Plays(c.name, c.clockHz) {
				t.Errorf("%s is not played in %s", p.ID, c.name)
			}
		}
	}
}
