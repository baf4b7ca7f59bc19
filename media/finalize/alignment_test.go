package finalize

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

var long = flag.Bool("long", false, "score alignment over four hours, not over a quarter of one")

// clickEvery is the time between two clicks that a party makes, clickSamples how
// long one is.
const (
	clickEvery   = 5 * time.Second
	clickSamples = 40
)

// clock is a party whose clock is off, behind a network with a path, jitter and loss.
// It hums without a pause and clicks at every full clickEvery of true time.
type clock struct {
	fastPPM float64
	breath  func(at time.Duration) bool // it says nothing then
	path    time.Duration
	jitter  time.Duration
	loss    float64
}

// packets calls each with what the party sends until the time given, in the order
// of arrival at intervals of half a second.
func (c clock) packets(leg rtp.Leg, length time.Duration, send func(until time.Duration, batch []byte) error) error {
	var (
		r       = rand.New(rand.NewPCG(uint64(leg), 7))
		second  = 8000 * (1 + c.fastPPM*1e-6) // of true time, in samples of the party
		pcm     = make([]int16, 160)
		payload = make([]byte, 160)
		held    []arrived
		until   = 500 * ms
	)
	for n := 0; ; n++ {
		first := float64(n) * 160
		at := time.Duration(first / second * float64(time.Second))
		sent := time.Duration((first + 160) / second * float64(time.Second))
		for sent > until {
			var batch []byte
			rest := held[:0]
			for _, p := range held {
				if p.at < until {
					batch = rtp.AppendCaptured(batch, began.Add(p.at).UnixNano(), p.raw)
				} else {
					rest = append(rest, p)
				}
			}
			held = rest
			if err := send(until, batch); err != nil || until >= length {
				return err
			}
			until += 500 * ms
		}
		for i := range pcm {
			pcm[i] = c.sample(first+float64(i), second, c.breath != nil && c.breath(at))
		}
		g711.EncodeALaw(payload, pcm)
		if r.Float64() < c.loss {
			continue
		}
		arrival := sent + c.path
		if c.jitter > 0 {
			arrival += time.Duration(r.Int64N(int64(c.jitter)))
		}
		held = append(held, arrived{leg, arrival, packetOf(8, false, uint16(n), uint32(n*160), uint32(leg), payload)})
	}
}

// sample returns a sample of the party by its own clock.
func (c clock) sample(n, second float64, breath bool) int16 {
	every := clickEvery.Seconds() * second
	if since := math.Mod(n, every); since < clickSamples {
		return 24000
	}
	if breath {
		return 0
	}
	return int16(1500 * math.Sin(n/7))
}

// clicks is an output that notes where each channel clicks.
type clicks struct {
	at     int64
	in     [2]int64 // the last click's sample
	places [2][]int64
}

func (c *clicks) write(frames []int16) error {
	for i, sample := range frames {
		at := c.at + int64(i/2)
		if sample > 16000 && at > c.in[i%2] {
			c.places[i%2] = append(c.places[i%2], at)
			c.in[i%2] = at + 4000
		}
	}
	c.at += int64(len(frames) / 2)
	return nil
}

func (c *clicks) close(int64) error { return nil }

// errors returns how far each click is from its true time plus the path, by its
// number, and how many were heard.
func (c *clicks) errors(channel int, path time.Duration) map[int64]time.Duration {
	errs := map[int64]time.Duration{}
	for _, place := range c.places[channel] {
		at := time.Duration(place)*time.Second/8000 - path
		n := int64((at + clickEvery/2) / clickEvery)
		errs[n] = at - time.Duration(n)*clickEvery
	}
	return errs
}

// scored plays two parties into a recording and returns the clicks heard.
func scored(t *testing.T, parties [2]clock, length time.Duration) (*clicks, [2]Leg) {
	t.Helper()
	out := &clicks{in: [2]int64{-1, -1}}
	rec := newRecording((&capture{}).header(), newStereo(8000, []output{out}))
	turn := [2]chan []byte{make(chan []byte), make(chan []byte)}
	for leg := range rtp.Leg(2) {
		go func() { // ends with its party, which is read to its end below
			defer close(turn[leg])
			parties[leg].packets(leg, length, func(_ time.Duration, batch []byte) error { turn[leg] <- batch; return nil })
		}()
	}
	for batch := range turn[0] {
		for leg, packets := range [2][]byte{batch, <-turn[1]} {
			if err := rec.batch(spool.Batch{Leg: rtp.Leg(leg), Packets: packets}); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-turn[1]
	legs := [2]Leg{rec.tracks[0].close(), rec.tracks[1].close()}
	if err := rec.stereo.close(samplesAt(rec.last, 8000)); err != nil {
		t.Fatal(err)
	}
	return out, legs
}

// Two parties whose clocks part by 400 ppm, over networks with jitter and loss,
// stay within 20 ms of each other and of the wall clock for hours: those who take
// breath and those who never do. -long makes it four hours.
func TestAlignment(t *testing.T) {
	length := 15 * time.Minute
	if *long {
		length = 4 * time.Hour
	}
	breathing := func(at time.Duration) bool { return at%(7*time.Second) > 6500*ms }
	for _, test := range []struct {
		name    string
		parties [2]clock
		skewPPM float64 // how exactly it is measured
	}{
		{"loud", [2]clock{{fastPPM: 200, path: 10 * ms, jitter: 40 * ms}, {fastPPM: -200, path: 10 * ms, jitter: 40 * ms}}, 1},
		{"breathing", [2]clock{{fastPPM: 200, path: 10 * ms, jitter: 40 * ms, loss: 0.02, breath: breathing}, {fastPPM: -200, path: 10 * ms, jitter: 80 * ms, loss: 0.02, breath: breathing}}, 1},
		{"half a second of jitter", [2]clock{{fastPPM: 200, jitter: 500 * ms, loss: 0.05}, {fastPPM: -200, jitter: 500 * ms, loss: 0.05}}, 5},
		{"true and slow", [2]clock{{path: 5 * ms}, {fastPPM: -100, path: 30 * ms, jitter: 20 * ms, loss: 0.01}}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if (raced || testing.Short()) && test.name != "loud" {
				t.Skip("too slow")
			}
			start := time.Now()
			out, legs := scored(t, test.parties, length)
			var errs [2]map[int64]time.Duration
			var worst [2]time.Duration
			for leg, party := range test.parties {
				errs[leg] = out.errors(leg, party.path)
				for _, err := range errs[leg] {
					worst[leg] = max(worst[leg], err.Abs())
				}
				if want := int(float64(length/clickEvery) * (0.98 - party.loss)); len(errs[leg]) < want {
					t.Errorf("leg %d: got %d clicks, want at least %d", leg, len(errs[leg]), want)
				}
				if worst[leg] > 20*ms {
					t.Errorf("leg %d: got a click %v off the wall clock, want at most 20 ms", leg, worst[leg])
				}
				if off := math.Abs(legs[leg].SkewPPM - party.fastPPM); off > test.skewPPM {
					t.Errorf("leg %d: got a skew of %.2f ppm, want %v within %v", leg, legs[leg].SkewPPM, party.fastPPM, test.skewPPM)
				}
			}
			var apart time.Duration
			for n, err := range errs[0] {
				if other, ok := errs[1][n]; ok {
					apart = max(apart, (err - other).Abs())
				}
			}
			if apart > 20*ms {
				t.Errorf("got the channels %v apart, want at most 20 ms", apart)
			}
			t.Logf("%v of call in %v: %v and %v off the wall clock at worst, %v apart; skew %.2f and %.2f ppm, %.2f and %.2f s slipped, %d and %d moves",
				length, time.Since(start).Round(ms), worst[0], worst[1], apart, legs[0].SkewPPM, legs[1].SkewPPM,
				legs[0].Slipped, legs[1].Slipped, legs[0].Moves, legs[1].Moves)
		})
	}
}

// Whatever the clocks, paths and networks of two parties are, and however they talk:
// their channels are where they spoke, within 20 ms.
func TestAlignmentOfAnyClocks(t *testing.T) {
	if raced || testing.Short() {
		t.Skip("too slow")
	}
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 3))
		var parties [2]clock
		for leg := range parties {
			talk, rest := time.Duration(1+r.IntN(30))*time.Second, time.Duration(1+r.IntN(8))*time.Second
			parties[leg] = clock{
				fastPPM: r.Float64()*400 - 200,
				path:    time.Duration(r.IntN(100)) * ms,
				jitter:  time.Duration(r.IntN(500)) * ms,
				loss:    r.Float64() * 0.2,
				breath:  func(at time.Duration) bool { return leg == 0 && at%(talk+rest) > talk },
			}
		}
		out, legs := scored(t, parties, 4*time.Minute)
		for leg, party := range parties {
			errs := out.errors(leg, party.path)
			if len(errs) < 30 {
				t.Errorf("seed %d, leg %d: got %d clicks of %+v", seed, leg, len(errs), party)
			}
			for n, err := range errs {
				if err.Abs() > 20*ms {
					t.Errorf("seed %d, leg %d: got a click %v off at %v, of %+v: %+v", seed, leg, err, time.Duration(n)*clickEvery, party, legs[leg])
					break
				}
			}
		}
	}
}
