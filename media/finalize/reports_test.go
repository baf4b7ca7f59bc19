package finalize

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// twoStreams is a party that goes on under another SSRC after 20 seconds, over a network that
// no packet of the second gets through without delay, and says what its clocks show.
func twoStreams(t *testing.T, say func(n int, r rtp.Reported) rtp.Reported) (Leg, [2][]int16) {
	t.Helper()
	const change, length = 20 * time.Second, 28 * time.Second
	c := &capture{length: length + 2*time.Second}
	p, r := newParty(rtp.Caller, tone(440)), rand.New(rand.NewPCG(1, 2))
	reported := 0
	for p.from < length {
		if p.from == change {
			p.ssrc, p.timestamp = p.ssrc+1, 0x8000_0000
		}
		at, raw := p.next()
		if at <= change {
			c.add(rtp.Caller, at, raw)
		} else {
			c.add(rtp.Caller, at+60*ms+time.Duration(r.Int64N(int64(400*ms))), raw)
		}
		if at%(2*time.Second) == time.Second && at != change {
			c.report(rtp.Caller, at+10*ms, say(reported, rtp.Reported{SSRC: p.ssrc, NTP: rtp.NTP(began.Add(at)), Timestamp: p.timestamp, Sender: 1}))
			reported++
		}
	}
	result, channels := finalized(t, c)
	return result.Legs[rtp.Caller], channels
}

// A stream that jitter hides is heard where the one before it says that it belongs, and
// nowhere else than without reports where these are not to be believed.
func TestReportsPlaceTheNextStream(t *testing.T) {
	begin := func(channel []int16) time.Duration { // of the second stream, after a silence as long as it is late
		for i := samplesAt(20*time.Second, 8000); ; i++ {
			if channel[i] != 0 && channel[i+1] != 0 {
				return time.Duration(i)*time.Second/8000 - 20*time.Second
			}
		}
	}
	silent := func(_ int, r rtp.Reported) rtp.Reported { r.SSRC = 7; return r }
	leg, channels := twoStreams(t, silent)
	late := begin(channels[0])
	if leg.Aligned != 0 || late < 40*ms {
		t.Fatalf("got the second stream %v late without reports (%+v), want 60 ms or so", late, leg)
	}
	leg, channels = twoStreams(t, func(_ int, r rtp.Reported) rtp.Reported { return r })
	if got := begin(channels[0]); leg.Aligned != 1 || leg.Ignored != 0 || got > 2*ms {
		t.Errorf("got the second stream %v late with reports (%+v), want 0", got, leg)
	}
	for name, lie := range map[string]func(int, rtp.Reported) rtp.Reported{
		"no wall clock": func(_ int, r rtp.Reported) rtp.Reported { r.NTP = 0; return r },
		"one that jumps": func(n int, r rtp.Reported) rtp.Reported {
			r.NTP += uint64(n/3) << 32
			return r
		},
		"one a third of a second off, once": func(n int, r rtp.Reported) rtp.Reported {
			if n > 8 {
				r.NTP -= 1 << 32 / 3
			}
			if n == 11 {
				r.NTP += 1 << 32 / 3
			}
			return r
		},
		"another's":  func(n int, r rtp.Reported) rtp.Reported { r.Sender = uint32(n / 10); return r },
		"nobody's":   func(_ int, r rtp.Reported) rtp.Reported { r.Sender = 0; return r },
		"much later": func(n int, r rtp.Reported) rtp.Reported { r.Timestamp += uint32(8000 * n); return r },
		"too early to be jitter": func(n int, r rtp.Reported) rtp.Reported {
			if n >= 10 {
				r.NTP -= 1 << 31
			}
			return r
		},
	} {
		leg, channels := twoStreams(t, lie)
		if got := begin(channels[0]); got != late || leg.Aligned != 0 {
			t.Errorf("%s: got the second stream %v late (%+v), want %v, as without reports", name, got, leg, late)
		}
	}
}

// Reports tell a sender's clock from its wall clock, to the millionth in some minutes.
func TestReportedSkew(t *testing.T) {
	const length = 5 * time.Minute
	for _, ppm := range []float64{0, 80, -150} {
		c := &capture{length: length}
		p := newParty(rtp.Caller, tone(440))
		for p.from+p.ptime < length {
			slow := time.Duration(float64(p.from) / (1 + ppm*1e-6))
			at, raw := p.next()
			c.add(rtp.Caller, slow+p.ptime, raw)
			if at%(5*time.Second) == 0 {
				c.report(rtp.Caller, slow+p.ptime, rtp.Reported{SSRC: p.ssrc, NTP: rtp.NTP(began.Add(slow)), Timestamp: p.timestamp - 160, Sender: 1})
			}
		}
		result, _ := finalized(t, c)
		if leg := result.Legs[rtp.Caller]; math.Abs(leg.ReportedPPM-ppm) > 1 || leg.Ignored != 0 {
			t.Errorf("got %.2f ppm by %d reports of which %d ignored, want %v", leg.ReportedPPM, leg.Reports, leg.Ignored, ppm)
		}
	}
}
