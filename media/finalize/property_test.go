package finalize

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/media/rtp"
)

// Whatever the network does to both legs at once (loss, reordering, duplicates,
// jitter), wherever sequence numbers and timestamps begin, wrap and start over,
// however late a party begins and however often it falls silent: every sample
// that arrived is where it was said, and everything else is silence.
func TestEverySampleWhereItWasSaid(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		c := &capture{
			id:     fmt.Sprintf("call-%d", run),
			left:   rapid.SampledFrom([]rtp.Leg{rtp.Caller, rtp.Callee}).Draw(rt, "left"),
			length: time.Duration(rapid.IntRange(1, 100_000).Draw(rt, "length in ms")) * ms,
		}
		var want [2][]int16
		var lost, duplicates [2]uint64
		for leg := range rtp.Leg(2) {
			n := newNetwork(rt, c, leg)
			n.send(rt)
			want[leg], lost[leg], duplicates[leg] = n.heard, n.lost, n.duplicates
		}
		result, channels := made(t, c.write(t, dir))
		wantLength(t, channels, c.length)
		for leg := range rtp.Leg(2) {
			got := channels[leg^c.left]
			for i, sample := range want[leg] {
				if got[i] != sample {
					rt.Logf("%+v", result.Legs[leg])
					rt.Fatalf("%v, sample %d, at %v: got %d, want %d", leg, i, time.Duration(i)*time.Second/8000, got[i], sample)
				}
			}
			l := result.Legs[leg]
			if l.Lost != lost[leg] || l.Duplicates != duplicates[leg] || l.Late+l.Unknown+l.Invalid+l.Moves != 0 {
				rt.Fatalf("%v: got %+v, want %d lost, %d duplicates and nothing else wrong", leg, l, lost[leg], duplicates[leg])
			}
		}
	})
}

// network brings one party's packets into a capture, and knows what is to be
// heard of them.
type network struct {
	capture *capture
	party   *party
	random  *rand.Rand
	path    time.Duration // the delay that none escapes
	jitter  time.Duration // at most, on top of it
	loss    float64

	heard      []int16
	lost       uint64 // within streams
	duplicates uint64
}

func newNetwork(t *rapid.T, c *capture, leg rtp.Leg) *network {
	seed := rapid.Uint64().Draw(t, "seed")
	p := newParty(leg, noise(seed))
	p.ptime = time.Duration(rapid.SampledFrom([]int{10, 20, 30, 60}).Draw(t, "ptime")) * ms
	p.sequence = uint16(rapid.SampledFrom([]int{0, 1, 65530, 40000}).Draw(t, "sequence"))
	p.timestamp = rapid.SampledFrom([]uint32{0, 1, 1<<31 - 1000, 1<<32 - 1000}).Draw(t, "timestamp")
	p.pause(time.Duration(rapid.IntRange(0, int(samplesAt(c.length, 8000))).Draw(t, "start in samples")) * 125 * time.Microsecond)
	return &network{
		capture: c,
		party:   p,
		random:  rand.New(rand.NewPCG(seed, uint64(leg))),
		path:    time.Duration(rapid.IntRange(0, 100_000).Draw(t, "path in us")) * time.Microsecond,
		jitter:  rapid.SampledFrom([]time.Duration{0, 5 * ms, 60 * ms, 200 * ms}).Draw(t, "jitter"),
		loss:    rapid.SampledFrom([]float64{0, 0.01, 0.3, 0.8}).Draw(t, "loss"),
		heard:   make([]int16, samplesAt(c.length, 8000)),
	}
}

// send sends until the capture ends; the party starts over now and then.
func (n *network) send(t *rapid.T) {
	p := n.party
	end := n.capture.length - n.path // what is sent later, the capture does not get
	for p.from+p.ptime <= end {
		until := p.from + time.Duration(rapid.IntRange(200, 60_000).Draw(t, "stream in ms"))*ms
		n.sendStream(min(until, end))
		timestamp := p.timestamp + rapid.Uint32Range(1<<24, 1<<31-1<<24).Draw(t, "timestamp jump")
		switch rapid.IntRange(0, 4).Draw(t, "then") {
		case 0:
			p.ssrc++
		case 1:
			p.ssrc, p.sequence, p.timestamp = p.ssrc+1, p.sequence+12345, timestamp
		case 2:
			p.timestamp = timestamp
		case 3:
			p.sequence, p.timestamp = p.sequence+30000, timestamp
		case 4:
			p.ssrc++
			p.pause(time.Duration(rapid.IntRange(0, 80_000).Draw(t, "silence in ms")) * ms)
		}
	}
}

// sendStream sends packets until the sender starts over. One of the first and
// then one of every second come without jitter, so that the path can be known.
func (n *network) sendStream(until time.Duration) {
	var (
		p        = n.party
		begin    = p.from
		unsteady = time.Duration(n.random.Int64N(int64(3 * time.Second))) // before the first without jitter
		lastTrue = begin
		isTrue   = false
		sequence int64          // of this stream's packets, from 0
		came     map[int64]bool = make(map[int64]bool)
		least    int64          = 1 << 62
		most     int64
	)
	for ; p.from+p.ptime <= until; sequence++ {
		from := p.from
		sent, raw := p.next()
		if n.random.IntN(400) == 0 {
			p.pause(time.Duration(n.random.Int64N(5000)) * ms)
		}
		last := p.from+p.ptime > until
		if n.random.Float64() < n.loss && !(last && !isTrue) {
			continue
		}
		at := sent + n.path
		if from-begin >= unsteady && (!isTrue || from-lastTrue >= time.Second) || last && !isTrue {
			isTrue, lastTrue = true, from
		} else if n.jitter > 0 {
			at += time.Duration(n.random.Int64N(int64(n.jitter)))
		}
		if at > n.capture.length {
			continue // the capture has ended
		}
		n.capture.add(p.leg, at, raw)
		n.hear(from)
		came[sequence] = true
		least, most = min(least, sequence), max(most, sequence)
		if again := at + time.Duration(n.random.Int64N(int64(500*ms))); n.random.IntN(20) == 0 && again <= n.capture.length {
			n.capture.add(p.leg, again, raw)
			n.duplicates++
		}
	}
	if len(came) > 0 {
		n.lost += uint64(most-least+1) - uint64(len(came))
	}
}

// hear notes that a packet will be heard, as late as the path is long.
func (n *network) hear(from time.Duration) {
	first := samplesAt(from, 8000)
	to := first + samplesAt(n.path, 8000)
	for i := range samplesAt(n.party.ptime, 8000) {
		if to+i < int64(len(n.heard)) {
			n.heard[to+i] = heard(n.party.audio(first + i))
		}
	}
}
