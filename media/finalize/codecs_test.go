package finalize

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/g722"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/wav"
)

// phone is a party with a codec: what it says becomes packets of 20 ms.
type phone struct {
	leg    rtp.Leg
	codec  rtp.Codec
	hz     int
	encode func(pcm []int16) []byte
}

// newPhone returns one whose Opus packets carry what the packets before them said.
func newPhone(t testing.TB, leg rtp.Leg, codec rtp.Codec) *phone {
	t.Helper()
	s := &phone{leg: leg, codec: codec, hz: codec.ClockHz}
	octets := func(encode func(dst []byte, pcm []int16), size func(samples int) int) func([]int16) []byte {
		return func(pcm []int16) []byte {
			b := make([]byte, size(len(pcm)))
			encode(b, pcm)
			return b
		}
	}
	same := func(n int) int { return n }
	switch codec.Name {
	case "PCMA":
		s.encode = octets(g711.EncodeALaw, same)
	case "PCMU":
		s.encode = octets(g711.EncodeMuLaw, same)
	case "G722":
		s.hz = 16000
		s.encode = octets(g722.NewEncoder().Encode, func(n int) int { return n / 2 })
	case "L16":
		s.encode = func(pcm []int16) (b []byte) {
			for _, sample := range pcm {
				b = binary.BigEndian.AppendUint16(b, uint16(sample))
			}
			return b
		}
	case "OPUS":
		if !opus.Available {
			t.Skip("built without cgo, hence without Opus")
		}
		e, err := opus.NewEncoder(opus.Config{Hz: 48000, Channels: 1, BitRate: 32_000, ExpectedLoss: 0.2})
		if err != nil {
			t.Fatal(err)
		}
		s.encode = func(pcm []int16) []byte {
			b := make([]byte, opus.MaxPacketBytes)
			n, err := e.Encode(b, pcm)
			if err != nil {
				t.Fatal(err)
			}
			return b[:n]
		}
	}
	return s
}

// send has the party say something, for as long as the capture is, over a network that
// loses some packets.
func (s *phone) send(c *capture, say func(seconds float64) float64, lost func(n int) bool) {
	pcm, ticks := make([]int16, s.hz/50), uint32(s.codec.ClockHz/50)
	for n := 0; time.Duration(n+1)*20*ms <= c.length; n++ {
		for i := range pcm {
			pcm[i] = int16(say(float64(n*len(pcm)+i) / float64(s.hz)))
		}
		raw := packetOf(s.codec.PayloadType, n == 0, uint16(n), uint32(n)*ticks, 0x1000+uint32(s.leg), s.encode(pcm))
		if !lost(n) {
			c.add(s.leg, time.Duration(n+1)*20*ms, raw)
		}
	}
}

func never(int) bool { return false }

func sine(hz float64) func(float64) float64 {
	return func(at float64) float64 { return 8000 * math.Sin(2*math.Pi*hz*at) }
}

// share is the part of a signal's energy at a frequency.
func share(samples []int16, hz float64, rate int) float64 {
	var re, im, energy float64
	for i, s := range samples {
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re, im, energy = re+float64(s)*cos, im+float64(s)*sin, energy+float64(s)*float64(s)
	}
	if energy == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / (energy * float64(len(samples)))
}

// recorded returns a capture's recording at whatever rate it has.
func recorded(t testing.TB, c *capture) (result Result, channels [2][]int16, hz int) {
	t.Helper()
	out := directory(t)
	result, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(out.Name(), result.Files[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := wav.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]int16, 8192); ; {
		n, err := r.Read(b)
		for i, sample := range b[:n] {
			channels[i%2] = append(channels[i%2], sample)
		}
		if err == io.EOF {
			return result, channels, r.Hz
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Every codec is recorded at the rate of its audio, each party on its side, up to the
// highest tone that it carries.
func TestCodecs(t *testing.T) {
	for _, c := range []struct {
		codec    rtp.Codec
		hz       int
		low, top float64 // tones of the two parties
	}{
		{pcma, 8000, 440, 3000},
		{pcmu, 8000, 440, 3000},
		{rtp.Codec{Name: "G722", PayloadType: 9, ClockHz: 8000, Channels: 1}, 16000, 440, 6500},
		{rtp.Codec{Name: "OPUS", PayloadType: 111, ClockHz: 48000, Channels: 2}, 48000, 440, 6500},
		{rtp.Codec{Name: "L16", PayloadType: 96, ClockHz: 8000, Channels: 1}, 8000, 440, 3000},
		{rtp.Codec{Name: "L16", PayloadType: 97, ClockHz: 16000, Channels: 1}, 16000, 440, 7000},
		{rtp.Codec{Name: "L16", PayloadType: 98, ClockHz: 48000, Channels: 1}, 48000, 440, 20000},
	} {
		t.Run(fmt.Sprintf("%s %d", c.codec.Name, c.codec.ClockHz), func(t *testing.T) {
			call := &capture{codecs: []rtp.Codec{c.codec, event}, length: 3 * time.Second}
			newPhone(t, rtp.Caller, c.codec).send(call, sine(c.low), never)
			newPhone(t, rtp.Callee, c.codec).send(call, sine(c.top), never)
			result, channels, hz := recorded(t, call)
			if hz != c.hz {
				t.Fatalf("got a recording at %d Hz, want %d", hz, c.hz)
			}
			for leg, l := range result.Legs {
				if l.Packets != 150 || l.Lost+l.Unknown+l.Invalid+l.Moves != 0 || math.Abs(l.Seconds-3) > 0.01 {
					t.Errorf("leg %d: got %+v, want 150 packets of 3 s", leg, l)
				}
			}
			for channel, own := range []float64{c.low, c.top} {
				middle := channels[channel][hz/2 : 5*hz/2]
				if got := share(middle, own, hz); got < 0.9 {
					t.Errorf("channel %d: got %.3f of its energy at %.0f Hz, want 0.9", channel, got, own)
				}
				if got := share(middle, c.low+c.top-own, hz); got > 0.001 {
					t.Errorf("channel %d: got %.4f of its energy at the other's tone", channel, got)
				}
			}
		})
	}
}

// A recording has the rate of what both parties can, not of all that one of them offered.
func TestRateIsOfBoth(t *testing.T) {
	g722 := rtp.Codec{Name: "G722", PayloadType: 9, ClockHz: 8000, Channels: 1}
	c := &capture{length: time.Second}
	h := c.header()
	h.Legs[0].Codecs, h.Legs[1].Codecs = []rtp.Codec{g722, pcma}, []rtp.Codec{pcma, event}
	if got := channelHz(h); got != 8000 {
		t.Errorf("got %d Hz where one party has G.711 only, want 8000", got)
	}
	h.Legs[1].Codecs = []rtp.Codec{pcma, g722}
	if got := channelHz(h); got != 16000 {
		t.Errorf("got %d Hz where both have G.722, want 16000", got)
	}
}

// Packets of Opus that are lost one at a time are heard all the same, as the next one
// carries them; a few in a row are drawn out of what came before; a long loss is silence.
// The recording is as long as ever, and what follows is in its place.
func TestOpusLoss(t *testing.T) {
	codec := rtp.Codec{Name: "OPUS", PayloadType: 111, ClockHz: 48000, Channels: 2}
	say := func(at float64) (sum float64) { // a voice in syllables
		for harmonic := 1.0; harmonic <= 12; harmonic++ {
			sum += 6000 * math.Sin(2*math.Pi*harmonic*(120*at+10*at*at)) / harmonic
		}
		return sum * max(0, math.Sin(2*math.Pi*7*at))
	}
	call := func(lost func(n int) bool) (Result, []int16) {
		c := &capture{codecs: []rtp.Codec{codec}, length: 4 * time.Second}
		newPhone(t, rtp.Caller, codec).send(c, say, lost)
		result, channels, _ := recorded(t, c)
		return result, channels[0]
	}
	_, intact := call(never)
	frame := func(pcm []int16, n int) []int16 { return pcm[n*960 : (n+1)*960] }
	snr := func(want, got []int16) float64 {
		signal, noise := 1.0, 1.0
		for i := range want {
			s, n := float64(want[i]), float64(want[i])-float64(got[i])
			signal, noise = signal+s*s, noise+n*n
		}
		return 10 * math.Log10(signal/noise)
	}

	result, single := call(func(n int) bool { return n%10 == 5 })
	if l := result.Legs[0]; l.Lost != 20 || l.Moves != 0 || math.Abs(l.Seconds-4) > 0.01 {
		t.Errorf("got %+v, want 20 lost and all 4 s of audio", l)
	}
	var want, got []int16
	for n := 5; n < 200; n += 10 {
		want, got = append(want, frame(intact, n)...), append(got, frame(single, n)...)
	}
	if got := snr(want, got); got < 10 {
		t.Errorf("got %.1f dB of what packets said that were lost, want 10", got)
	}

	result, several := call(func(n int) bool { return n >= 52 && n < 55 || n >= 100 && n < 130 })
	if l := result.Legs[0]; l.Lost != 33 || l.Moves != 0 {
		t.Errorf("got %+v, want 33 lost", l)
	}
	loud := func(pcm []int16) (sum float64) {
		for _, s := range pcm {
			sum += float64(s) * float64(s)
		}
		return sum
	}
	if got, want := loud(frame(several, 52)), loud(frame(intact, 52)); got < want/10 {
		t.Errorf("got %.0f of the energy of the first of three that were lost, %.0f was there", got, want)
	}
	for n := 100; n < 130; n++ {
		if loud(frame(several, n)) != 0 {
			t.Errorf("packet %d of a long loss is not silence", n)
		}
	}
	if got := snr(intact[140*960:], several[140*960:]); len(several) != len(intact) || got < 15 {
		t.Errorf("got %d samples, and %.1f dB of what follows; want %d and 15", len(several), got, len(intact))
	}
}

// What is none of a codec's payloads is counted, and the rest is heard.
func TestInvalidPayloads(t *testing.T) {
	for _, codec := range []rtp.Codec{
		{Name: "OPUS", PayloadType: 96, ClockHz: 48000, Channels: 2}, {Name: "L16", PayloadType: 96, ClockHz: 16000, Channels: 1},
	} {
		c := &capture{codecs: []rtp.Codec{codec}, length: 2 * time.Second}
		s := newPhone(t, rtp.Caller, codec)
		encode, n := s.encode, 0
		s.encode = func(pcm []int16) []byte {
			if n++; n%10 == 0 {
				return []byte{3, 2, 1}
			}
			return encode(pcm)
		}
		s.send(c, sine(440), never)
		result, channels, hz := recorded(t, c)
		if l := result.Legs[0]; l.Invalid != 10 || l.Seconds < 1.79 {
			t.Errorf("%s: got %+v, want 10 invalid of 100", codec.Name, l)
		}
		if got := share(channels[0][hz/10:hz/10+hz/50], 440, hz); got < 0.9 {
			t.Errorf("%s: got %.3f of the energy at the tone", codec.Name, got)
		}
	}
}

// DTX: packets that are not sent are silence, not loss.
func TestOpusDTX(t *testing.T) {
	codec := rtp.Codec{Name: "OPUS", PayloadType: 111, ClockHz: 48000, Channels: 2}
	c := &capture{codecs: []rtp.Codec{codec}, length: 4 * time.Second}
	s := newPhone(t, rtp.Caller, codec)
	pcm, sequence := make([]int16, 960), uint16(0)
	for n := range 200 {
		at := time.Duration(n+1) * 20 * ms
		if n >= 50 && n < 150 && n%20 != 0 {
			continue // the sender says nothing, but every 400 ms
		}
		for i := range pcm {
			pcm[i] = 0
			if n < 50 || n >= 150 {
				pcm[i] = int16(sine(440)(float64(n*960+i) / 48000))
			}
		}
		c.add(rtp.Caller, at, packetOf(111, n == 0, sequence, uint32(n*960), 1, s.encode(pcm)))
		sequence++
	}
	result, channels, hz := recorded(t, c)
	if l := result.Legs[0]; l.Lost != 0 || l.Streams != 1 || l.Moves != 0 {
		t.Errorf("got %+v, want none lost", l)
	}
	for _, from := range []int{hz / 5, 31 * hz / 10} {
		if got := share(channels[0][from:from+hz/2], 440, hz); got < 0.9 {
			t.Errorf("at %d: got %.3f of the energy at the tone", from, got)
		}
	}
	if len(channels[0]) != 4*hz {
		t.Errorf("got %d samples, want %d", len(channels[0]), 4*hz)
	}
}
