package finalize

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// linear is a coding of 16-bit samples whose clock need not be its rate, as with G.722.
func linear(clockHz, hz int64) *coding {
	return &coding{
		name: "L16", clockHz: clockHz, hz: hz,
		newDecoder: newPlain(2, decodeL16),
		duration:   func(payload []byte) int64 { return int64(len(payload)) / 2 * clockHz / hz },
	}
}

// speaker sends 20 ms packets of one tone in any coding.
type speaker struct {
	rec       *recording
	leg       rtp.Leg
	toneHz    float64
	sequence  uint16
	timestamp uint32
	from      time.Duration
}

// say sends in a coding, under a payload type, until then; lost says which packets
// do not come.
func (s *speaker) say(t *testing.T, payloadType uint8, c *coding, until time.Duration, lost func(n int) bool) {
	t.Helper()
	s.rec.tracks[s.leg].codings[payloadType] = []use{{-1 << 63, c}}
	for n := 0; s.from < until; n++ {
		pcm := make([]int16, samplesAt(20*ms, c.hz))
		for i := range pcm {
			at := s.from.Seconds() + float64(i)/float64(c.hz)
			pcm[i] = int16(math.Round(10000 * math.Sin(2*math.Pi*s.toneHz*at)))
		}
		var payload []byte
		if c.name == "PCMA" {
			payload = make([]byte, len(pcm))
			g711.EncodeALaw(payload, pcm)
		} else {
			for _, sample := range pcm {
				payload = binary.BigEndian.AppendUint16(payload, uint16(sample))
			}
		}
		s.from += 20 * ms
		if raw := packetOf(payloadType, false, s.sequence, s.timestamp, 1, payload); lost == nil || !lost(n) {
			if err := s.rec.batch(spool.Batch{Leg: s.leg, Packets: rtp.AppendCaptured(nil, began.Add(s.from).UnixNano(), raw)}); err != nil {
				t.Fatal(err)
			}
		}
		s.sequence++
		s.timestamp += uint32(samplesAt(20*ms, c.clockHz))
	}
}

// frames is an output that remembers.
type frames struct{ channels [2][]int16 }

func (f *frames) write(frames []int16) error {
	for i, sample := range frames {
		f.channels[i%2] = append(f.channels[i%2], sample)
	}
	return nil
}
func (f *frames) close(int64) error { return nil }

// end ends a recording.
func (r *recording) finish(t *testing.T) {
	t.Helper()
	for _, track := range r.tracks {
		track.close()
	}
	if err := r.stereo.close(samplesAt(r.last, r.stereo.hz)); err != nil {
		t.Fatal(err)
	}
}

// noiseOf returns how far below a tone, in dB, what is not the tone at its own time
// is from one time to another.
func noiseOf(samples []int16, hz int64, toneHz float64, from, to time.Duration) float64 {
	var signal, noise float64
	for i := samplesAt(from, hz); i < samplesAt(to, hz); i++ {
		want := 10000 * math.Sin(2*math.Pi*toneHz*float64(i)/float64(hz))
		signal += want * want
		noise += (float64(samples[i]) - want) * (float64(samples[i]) - want)
	}
	return 10 * math.Log10(signal/noise)
}

// A party that goes from A-law to a codec of another rate and clock, and on to yet
// another, is heard at the channel's rate, at its own time, without a gap; so is one
// that loses packets on the way.
func TestCodecsOfOtherRates(t *testing.T) {
	alaw, _ := codingOf(pcma)
	for _, hz := range []int64{8000, 16000, 48000} {
		out := &frames{}
		rec := newRecording((&capture{}).header(), newStereo(hz, []output{out}))
		steady := &speaker{rec: rec, leg: rtp.Caller, toneHz: 1000}
		lossy := &speaker{rec: rec, leg: rtp.Callee, toneHz: 700}
		for n := range time.Duration(12) {
			until := (n + 1) * time.Second
			for _, s := range []*speaker{steady, lossy} {
				lost := func(i int) bool { return s == lossy && i%10 == 4 }
				switch n % 3 {
				case 0:
					s.say(t, 8, &alaw, until, lost)
				case 1:
					s.say(t, 96, linear(8000, 16000), until, lost)
				case 2:
					s.say(t, 97, linear(48000, 48000), until, lost)
				}
			}
		}
		rec.finish(t)
		for n := range time.Duration(12) {
			from := n * time.Second
			minDB := 60.0
			if n%3 == 0 {
				minDB = 36 // A-law
			}
			if db := noiseOf(out.channels[0], hz, 1000, from+8*ms, from+992*ms); db < minDB {
				t.Errorf("%d Hz, second %d: got the tone %.1f dB above noise, want %v", hz, n, db, minDB)
			}
			if db := noiseOf(out.channels[1], hz, 700, from+110*ms, from+270*ms); db < minDB {
				t.Errorf("%d Hz, second %d: got the tone between losses %.1f dB above noise, want %v", hz, n, db, minDB)
			}
			if db := noiseOf(out.channels[0], hz, 1000, from, from+time.Second); db < 30 {
				t.Errorf("%d Hz, second %d: got the tone %.1f dB above noise with the changes of codec, want 30", hz, n, db)
			}
			gap := out.channels[1][samplesAt(from+86*ms, hz):samplesAt(from+94*ms, hz)]
			for _, sample := range gap {
				if sample > 40 || sample < -40 {
					t.Errorf("%d Hz, second %d: got %d where a packet was lost, want silence", hz, n, sample)
					break
				}
			}
		}
		if got := rec.tracks[0].leg; got.Moves+got.Late+got.Invalid+got.Lost != 0 || got.Slipped != 0 {
			t.Errorf("%d Hz: got leg %+v, want nothing wrong", hz, got)
		}
		if got, want := rec.tracks[0].samples, samplesAt(12*time.Second, hz); got != want {
			t.Errorf("%d Hz: got %d samples placed, want %d", hz, got, want)
		}
	}
}

// A sender's clock that is off is followed at other rates too, and what slips is
// the same tone.
func TestSlipAtOtherRates(t *testing.T) {
	for _, test := range []struct {
		coding *coding
		hz     int64
	}{
		{linear(8000, 16000), 8000}, {linear(8000, 16000), 16000}, {linear(16000, 16000), 48000}, {linear(48000, 48000), 48000},
	} {
		c, hz := test.coding, test.hz
		out := &frames{}
		rec := newRecording((&capture{}).header(), newStereo(hz, []output{out}))
		track := rec.tracks[rtp.Caller]
		track.codings[96] = []use{{-1 << 63, c}}
		ticks, samples := samplesAt(20*ms, c.clockHz), samplesAt(20*ms, c.hz)
		for n := range int64(100 * 50) { // its packets come 200 ppm too slowly
			payload := make([]byte, 0, 2*samples)
			for i := range samples {
				level := 10000 * math.Sin(2*math.Pi*1000*float64(n*samples+i)/float64(c.hz))
				payload = binary.BigEndian.AppendUint16(payload, uint16(int16(level)))
			}
			at := began.Add(time.Duration(n+1) * 20004 * time.Microsecond)
			raw := packetOf(96, false, uint16(n), uint32(n*ticks), 1, payload)
			if err := rec.batch(spool.Batch{Packets: rtp.AppendCaptured(nil, at.UnixNano(), raw)}); err != nil {
				t.Fatal(err)
			}
		}
		rec.finish(t)
		leg := track.leg
		if leg.Moves != 0 || math.Abs(leg.SkewPPM+200) > 1 || math.Abs(leg.Slipped-0.014) > 0.003 {
			t.Errorf("%s %d Hz at %d Hz: got leg %+v, want a skew of -200 ppm and some 14 ms slipped", c.name, c.hz, hz, leg)
		}
		// The steepest step of the tone, and a little for slipping and filters.
		steepest := 2 * math.Pi * 1000 / float64(hz) * 10000 * 1.02
		for i := hz; i < int64(len(out.channels[0]))-hz; i++ {
			if step := math.Abs(float64(out.channels[0][i]) - float64(out.channels[0][i-1])); step > steepest {
				t.Errorf("%d Hz at %d Hz: got a step of %.0f at sample %d, want at most %.0f", c.hz, hz, step, i, steepest)
				break
			}
		}
	}
}

// What a codec's decoder refuses is counted and is a gap.
func TestPayloadThatIsNotItsCodecs(t *testing.T) {
	out := &frames{}
	rec := newRecording((&capture{}).header(), newStereo(16000, []output{out}))
	s := &speaker{rec: rec, leg: rtp.Caller, toneHz: 1000}
	s.say(t, 96, linear(8000, 16000), time.Second, nil)
	bad := packetOf(96, false, s.sequence, s.timestamp, 1, make([]byte, 639))
	if err := rec.batch(spool.Batch{Packets: rtp.AppendCaptured(nil, began.Add(s.from+20*ms).UnixNano(), bad)}); err != nil {
		t.Fatal(err)
	}
	s.sequence, s.timestamp, s.from = s.sequence+1, s.timestamp+160, s.from+20*ms
	s.say(t, 96, linear(8000, 16000), 2*time.Second, nil)
	rec.finish(t)
	if got := rec.tracks[0].leg; got.Invalid != 1 || got.Lost != 0 {
		t.Errorf("got leg %+v, want one invalid", got)
	}
	if db := noiseOf(out.channels[0], 16000, 1000, 1020*ms, 2*time.Second); db < 60 {
		t.Errorf("got the tone %.1f dB above noise behind it, want 60", db)
	}
}

// The recording has the rate of the codecs that the call began with.
func TestChannelRate(t *testing.T) {
	for _, test := range []struct {
		codecs []rtp.Codec
		want   int64
	}{
		{nil, 8000},
		{[]rtp.Codec{pcma, cn, event}, 8000},
		{[]rtp.Codec{{Name: "EVS", ClockHz: 16000}}, 8000},
	} {
		if got := channelHz(spool.Header{Legs: [2]spool.Leg{{}, {Codecs: test.codecs}}}); got != test.want {
			t.Errorf("%v: got %d Hz, want %d", test.codecs, got, test.want)
		}
	}
}
