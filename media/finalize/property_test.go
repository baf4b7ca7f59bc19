package finalize

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// Whatever the network does to both legs at once (loss, reordering, duplicates,
// jitter), wherever sequence numbers and timestamps begin, wrap, jump and start
// over, however late a party begins and however often it falls silent, with comfort
// noise or without, is held, or changes its codec and its packets' length, and
// whenever the capture is stopped: every sample that arrived is where it was said,
// and everything else is silence.
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
		stops := newStops(rt, c)
		var networks [2]*network
		for leg := range rtp.Leg(2) {
			networks[leg] = newNetwork(rt, c, leg, stops)
			networks[leg].send(rt)
		}
		result, channels := made(t, c.write(t, dir))
		wantLength(t, channels, c.length)
		for leg := range rtp.Leg(2) {
			n, got := networks[leg], channels[leg^c.left]
			stops.silence(n.heard)
			for i, sample := range n.heard {
				if got[i] != sample {
					rt.Logf("%+v", result.Legs[leg])
					rt.Fatalf("%v, sample %d, at %v: got %d, want %d", leg, i, time.Duration(i)*time.Second/8000, got[i], sample)
				}
			}
			l := result.Legs[leg]
			if l.Duplicates != n.duplicates || l.Late+l.Unknown+l.Invalid != 0 || l.Slipped != 0 {
				rt.Fatalf("%v: got %+v, want %d duplicates and nothing else wrong", leg, l, n.duplicates)
			}
			if !n.held && l.Moves != 0 || !n.unclear && l.Lost != n.lost {
				rt.Fatalf("%v: got %+v, want %d lost and no moves", leg, l, n.lost)
			}
		}
		if result.Paused != networks[0].paused+networks[1].paused {
			rt.Fatalf("got %d packets refused, want %d and %d", result.Paused, networks[0].paused, networks[1].paused)
		}
	})
}

// stops are when the capture was stopped: some seconds, and going on again a while
// before the end.
type stops [][2]time.Duration

func newStops(t *rapid.T, c *capture) (s stops) {
	const atMost, before = 4 * time.Second, 2 * time.Second
	at := time.Duration(0)
	for range rapid.IntRange(0, 3).Draw(t, "stops") {
		at += time.Duration(rapid.IntRange(20_000, 60_000).Draw(t, "until stop in ms")) * ms
		to := at + time.Duration(rapid.IntRange(1, int(atMost/ms)).Draw(t, "stop in ms"))*ms
		if to > c.length-before {
			break
		}
		c.event(at, spool.Event{Kind: spool.CaptureStopped})
		c.event(to, spool.Event{Kind: spool.CaptureStarted})
		s = append(s, [2]time.Duration{at, to})
		at = to
	}
	return s
}

// at reports whether the capture was stopped then.
func (s stops) at(at time.Duration) bool {
	for _, stop := range s {
		if stop[0] <= at && at < stop[1] {
			return true
		}
	}
	return false
}

// silence takes out what was said in the meantime: the first packets after it bring some.
func (s stops) silence(heard []int16) {
	for _, stop := range s {
		for i := samplesAt(stop[0], 8000); i < min(samplesAt(stop[1], 8000), int64(len(heard))); i++ {
			heard[i] = 0
		}
	}
}

// between reports whether the capture went on again between two instants.
func (s stops) between(from, to time.Duration) bool {
	for _, stop := range s {
		if from < stop[1] && stop[1] <= to {
			return true
		}
	}
	return false
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
	stops   stops
	says    lie
	said    time.Duration // when it last did

	heard      []int16
	lost       uint64 // within streams
	duplicates uint64
	paused     uint64
	held       bool
	unclear    bool // what was lost between streams, and what within
}

func newNetwork(t *rapid.T, c *capture, leg rtp.Leg, s stops) *network {
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
		jitter:  rapid.SampledFrom([]time.Duration{0, 5 * ms, 60 * ms, 200 * ms, 500 * ms}).Draw(t, "jitter"),
		loss:    rapid.SampledFrom([]float64{0, 0.01, 0.3, 0.8}).Draw(t, "loss"),
		stops:   s,
		says:    rapid.SampledFrom(lies).Draw(t, "reports"),
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
		switch rapid.IntRange(0, 5).Draw(t, "then") {
		case 0:
			p.ssrc++
		case 1:
			p.ssrc, p.sequence, p.timestamp = p.ssrc+1, p.sequence+12345, timestamp
		case 2: // comfort noise from about then can be of either stream
			n.unclear = n.unclear || n.jitter > 0
			p.timestamp = timestamp
		case 3:
			p.sequence, p.timestamp = p.sequence+30000, timestamp
		case 4:
			p.ssrc++
			p.pause(time.Duration(rapid.IntRange(0, 80_000).Draw(t, "silence in ms")) * ms)
		case 5: // held by one whose clock stands still meanwhile
			n.unclear, n.held = true, true
			p.from += time.Duration(rapid.IntRange(1500, 80_000).Draw(t, "held for ms")) * ms
		}
	}
}

// came is when a packet of a stream came first.
type came struct {
	sequence int64
	at       time.Duration
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
		all      []came
	)
	for sequence := int64(0); p.from+p.ptime <= until || len(all) > 0 && !isTrue && p.from+p.ptime <= n.capture.length-n.path; sequence++ {
		from, ptime, payloadType := p.from, p.ptime, p.payloadType
		sent, raw := p.next()
		n.report(sent)
		last := p.from+p.ptime > until
		if n.random.Float64() < n.loss && !(last && !isTrue) {
			continue
		}
		at := sent + n.path
		steady := from-begin >= unsteady && (!isTrue || from-lastTrue >= time.Second) || last && !isTrue
		if !steady && n.jitter > 0 {
			at += time.Duration(n.random.Int64N(int64(n.jitter)))
		}
		if !n.bring(at, raw) {
			continue
		}
		if steady {
			isTrue, lastTrue = true, from
		}
		n.hear(from, ptime, payloadType)
		all = append(all, came{sequence, at})
		if again := at + time.Duration(n.random.Int64N(int64(500*ms))); n.random.IntN(20) == 0 && n.bring(again, raw) {
			n.duplicates++
		}
		if isTrue && from-lastTrue < 500*ms && n.random.IntN(300) == 0 {
			before := p.sequence
			if n.falter(sent + n.path) {
				all = append(all, came{sequence + 1, sent + n.path})
			}
			sequence += int64(p.sequence - before)
		}
	}
	for i, c := range all[min(1, len(all)):] {
		if !n.stops.between(all[i].at, c.at) {
			n.lost += uint64(c.sequence - all[i].sequence - 1)
		}
	}
}

// lie is what a party says of its clocks: it gets the truth, and makes of it what it likes.
type lie func(r *rand.Rand, said rtp.Reported) rtp.Reported

const oneSecond = 1 << 32 // of NTP

var lies = []lie{
	nil, // it says nothing
	func(_ *rand.Rand, said rtp.Reported) rtp.Reported { return said },
	func(_ *rand.Rand, said rtp.Reported) rtp.Reported { // the timestamp of its last packet
		said.Timestamp -= 160
		return said
	},
	func(_ *rand.Rand, said rtp.Reported) rtp.Reported { // a clock that is wrong, though it goes right
		said.NTP -= 1000000 * oneSecond
		return said
	},
	func(_ *rand.Rand, said rtp.Reported) rtp.Reported { // one that stands
		said.NTP = 12345 * oneSecond
		return said
	},
	func(r *rand.Rand, said rtp.Reported) rtp.Reported { // one that jumps
		said.NTP += uint64(r.IntN(3)) * oneSecond
		return said
	},
	func(_ *rand.Rand, said rtp.Reported) rtp.Reported { // timestamps of another clock rate
		said.Timestamp *= 2
		return said
	},
	func(_ *rand.Rand, said rtp.Reported) rtp.Reported { // a wall clock that goes by another
		said.NTP *= 2
		return said
	},
	func(r *rand.Rand, said rtp.Reported) rtp.Reported {
		return rtp.Reported{SSRC: said.SSRC, NTP: r.Uint64(), Timestamp: r.Uint32(), Sender: r.Uint32()}
	},
	func(r *rand.Rand, said rtp.Reported) rtp.Reported { // of another stream
		said.SSRC += uint32(r.IntN(2))
		return said
	},
}

// report has the party say what its clocks show when it sends a packet, every two seconds
// or so.
func (n *network) report(sent time.Duration) {
	at := sent + n.path
	if n.says == nil || sent-n.said < 2*time.Second || at > n.capture.length {
		return
	}
	n.said = sent
	n.capture.report(n.party.leg, at, n.says(n.random, rtp.Reported{
		SSRC: n.party.ssrc, NTP: rtp.NTP(began.Add(sent)), Timestamp: n.party.timestamp, Sender: 1,
	}))
}

// bring has a packet arrive, and reports whether it was captured.
func (n *network) bring(at time.Duration, raw []byte) bool {
	if at > n.capture.length {
		return false // the capture has ended
	}
	n.capture.add(n.party.leg, at, raw)
	if n.stops.at(at) {
		n.paused++
		return false
	}
	return true
}

// falter has the party fall silent, with comfort noise that arrives then or without, or
// change what it sends, in the middle of a stream. It reports whether the capture
// got a packet of it.
func (n *network) falter(at time.Duration) bool {
	p := n.party
	pause := func() { p.pause(time.Duration(n.random.Int64N(5000)) * ms) }
	switch n.random.IntN(4) {
	case 0:
		pause()
	case 1:
		noise := packetOf(cn.PayloadType, false, p.sequence, p.timestamp, p.ssrc, []byte{40})
		p.sequence++
		defer pause()
		return n.bring(at, noise)
	case 2:
		p.ptime = time.Duration(10*(1+n.random.IntN(6))) * ms
	case 3:
		p.payloadType ^= pcma.PayloadType ^ pcmu.PayloadType
	}
	return false
}

// hear notes that a packet will be heard, as late as the path is long.
func (n *network) hear(from, ptime time.Duration, payloadType uint8) {
	said := heard
	if payloadType == pcmu.PayloadType {
		said = heardMuLaw
	}
	first := samplesAt(from, 8000)
	to := first + samplesAt(n.path, 8000)
	for i := range samplesAt(ptime, 8000) {
		if to+i < int64(len(n.heard)) {
			n.heard[to+i] = said(n.party.audio(first + i))
		}
	}
}
