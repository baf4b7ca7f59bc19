package finalize

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// sender is a party whose clock runs by so many millionths too slow, in front
// of a network with jitter.
type sender struct {
	slowPPM float64
	jitter  func(at time.Duration, r *rand.Rand) time.Duration
	quiet   func(n int) bool
}

// placedPacket is what a timeline did with a packet.
type placedPacket struct {
	at    time.Duration // when its audio began, in truth
	off   time.Duration // how much later than in truth it was placed
	quiet bool
	over  time.Duration // how much of it covers what was placed before
}

// run sends 20 ms packets for a time through a timeline and returns how each
// was placed.
func (s sender) run(length time.Duration) (placed []placedPacket, moves int) {
	r := rand.New(rand.NewPCG(1, 2))
	tl := timeline{channelHz: 8000, clockHz: 8000}
	var waiting []audio
	end := int64(0)
	place := func() {
		a := waiting[0]
		waiting = waiting[1:]
		n := len(placed)
		quiet := s.quiet(n)
		position, slip := tl.place(a, quiet)
		truth := s.time(n)
		p := placedPacket{
			at:    truth,
			off:   time.Duration(position)*time.Second/8000 - truth,
			quiet: quiet,
		}
		if n > 0 && position < end {
			p.over = time.Duration(end-position) * time.Second / 8000
		}
		end = max(end, position+a.ticks+slip)
		placed = append(placed, p)
	}
	for n := 0; s.time(n) < length; n++ {
		sent := s.time(n + 1)
		a := audio{at: sent + s.jitter(sent, r), from: 1<<40 + int64(n)*160, ticks: 160}
		for len(waiting) > 0 && waiting[0].at <= a.at-lookAhead {
			place()
		}
		tl.observe(a)
		waiting = append(waiting, a)
	}
	for len(waiting) > 0 {
		place()
	}
	return placed, tl.moves
}

// time returns when the audio of a packet began.
func (s sender) time(n int) time.Duration {
	return time.Duration(float64(n) * float64(20*ms) * (1 + s.slowPPM*1e-6))
}

func loud(int) bool { return false }

// everyMinute is a party that takes a breath of a fifth of a second.
func everyMinute(n int) bool { return n%3000 < 10 }

func jitterUpTo(d time.Duration) func(time.Duration, *rand.Rand) time.Duration {
	return func(_ time.Duration, r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(d))) }
}

// A sender's clock that runs too fast or too slow does not take its channel away
// from the other in hours, whether it takes a breath now and then or never does;
// and nothing said is covered. It follows by slipping, not by jumps, where there is
// no silence to jump in.
func TestClockSkew(t *testing.T) {
	for _, test := range []struct {
		name  string
		ppm   float64
		quiet func(int) bool
		bound time.Duration
	}{
		{"slow, breathing", 100, everyMinute, drift + 2*ms},
		{"fast, breathing", -100, everyMinute, drift + 2*ms},
		{"slow, loud", 200, loud, drift + 3*ms},
		{"fast, loud", -200, loud, drift + 3*ms},
		{"true", 0, loud, 2 * ms},
	} {
		s := sender{slowPPM: test.ppm, jitter: jitterUpTo(40 * ms), quiet: test.quiet}
		placed, moves := s.run(4 * time.Hour)
		for _, p := range placed {
			if p.off > test.bound || p.off < -test.bound {
				t.Errorf("%s: got %v off after %v, want at most %v", test.name, p.off, p.at, test.bound)
				break
			}
			if p.over > 0 && !p.quiet {
				t.Errorf("%s: got %v of speech covered after %v, want none", test.name, p.over, p.at)
				break
			}
		}
		if test.name != "slow, breathing" && test.name != "fast, breathing" && moves > 0 {
			t.Errorf("%s: got %d moves, want none", test.name, moves)
		}
	}
}

// Jitter moves nothing, be it large and long, as long as some packets now and
// then come through without.
func TestJitterMovesNothing(t *testing.T) {
	for name, jitter := range map[string]func(time.Duration, *rand.Rand) time.Duration{
		"none":  func(time.Duration, *rand.Rand) time.Duration { return 0 },
		"large": jitterUpTo(200 * ms),
		"five seconds of congestion": func(at time.Duration, r *rand.Rand) time.Duration {
			if at := at % (30 * time.Second); 20*time.Second < at && at < 25*time.Second {
				return 600*ms + time.Duration(r.Int64N(int64(200*ms)))
			}
			return time.Duration(r.Int64N(int64(5 * ms)))
		},
	} {
		placed, moves := sender{jitter: jitter, quiet: everyMinute}.run(10 * time.Minute)
		first := placed[0].off
		for _, p := range placed {
			if p.off != first || p.off > 5*ms || p.off < 0 {
				t.Errorf("%s: got %v off after %v, want %v throughout", name, p.off, p.at, first)
				break
			}
		}
		if moves != 0 {
			t.Errorf("%s: got %d moves, want none", name, moves)
		}
	}
}

// When the path gets longer or shorter for good, the channel follows, exactly
// once; a longer path is noticed when nothing came by the shorter one for
// lookAhead, a shorter one at once.
func TestPathChange(t *testing.T) {
	const change = time.Minute
	for _, test := range []struct {
		name          string
		before, after time.Duration
	}{
		{"longer", 0, 80 * ms},
		{"shorter", 80 * ms, 0},
	} {
		placed, moves := sender{quiet: loud, jitter: func(at time.Duration, _ *rand.Rand) time.Duration {
			if at < change {
				return test.before
			}
			return test.after
		}}.run(2 * time.Minute)
		if moves != 1 {
			t.Errorf("%s: got %d moves, want 1", test.name, moves)
		}
		for _, p := range placed {
			want := test.before
			if p.at >= change+lookAhead+slot {
				want = test.after
			}
			if p.at >= change-20*ms && p.at < change+lookAhead+slot && p.off == test.after {
				continue
			}
			if p.off != want {
				t.Errorf("%s: got %v off at %v, want %v", test.name, p.off, p.at, want)
				break
			}
		}
	}
}

// What was said before a silence of a minute stays in its place, though nothing came
// meanwhile to have it placed.
func TestLongSilenceMovesNothingBefore(t *testing.T) {
	c := &capture{length: 100 * time.Second}
	said := noise(1)
	p := newParty(rtp.Caller, said)
	late := func(n int) time.Duration {
		if n%10 != 7 {
			return 50 * ms
		}
		return 0
	}
	c.send(p, 200*ms, late)
	p.from += 79_800 * ms // the slots of both are the same ones
	c.send(p, c.length, late)
	_, channels := finalized(t, c)
	wantAudio(t, channels[0], 0, 200*ms, said)
	wantSilence(t, channels[0], 200*ms, 80*time.Second)
	wantAudio(t, channels[0], 80*time.Second, c.length-60*ms, said)
}
