package dtmf

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/resample"
	"github.com/bewaard/bewaard/media/wav"
	"github.com/bewaard/bewaard/prompts"
)

// amplitude of a sine at a level in dBm0: one of full scale has 3.14.
func amplitude(dBm0 float64) float64 { return 32124 * math.Pow(10, (dBm0-3.14)/20) }

// sound is audio in the making.
type sound struct {
	pcm    []int16
	random *rand.Rand
}

func newSound() *sound { return &sound{random: rand.New(rand.NewPCG(1, 2))} }

// sine is one tone of a sound.
type sine struct{ hz, dBm0 float64 }

// play appends so many samples of sines.
func (s *sound) play(samples int, sines ...sine) *sound {
	phases := make([]float64, len(sines))
	for i := range phases {
		phases[i] = s.random.Float64() * 2 * math.Pi
	}
	for n := range samples {
		x := 0.0
		for i, one := range sines {
			x += amplitude(one.dBm0) * math.Sin(2*math.Pi*one.hz*float64(n)/clockHz+phases[i])
		}
		s.pcm = append(s.pcm, clip(x))
	}
	return s
}

func clip(x float64) int16 { return int16(max(-32768, min(32767, math.Round(x)))) }

func ms(n float64) int { return int(n * clockHz / 1000) }

// key returns a key's sines, each at that level.
func key(k byte, dBm0 float64) []sine {
	at := bytes.IndexByte([]byte(keys), k)
	return []sine{{tones[at/4], dBm0}, {tones[4+at%4], dBm0}}
}

// noise adds white noise at a level.
func (s *sound) noise(dBm0 float64) *sound {
	rms := amplitude(dBm0) / math.Sqrt2
	for i, x := range s.pcm {
		s.pcm[i] = clip(float64(x) + s.random.NormFloat64()*rms)
	}
	return s
}

// heard returns what is heard of a sound in packets of so many samples.
func (s *sound) heard(law Law, packet int) (digits []Digit) {
	d := New(func(digit Digit) { digits = append(digits, digit) })
	payload := make([]byte, len(s.pcm))
	if law == ALaw {
		g711.EncodeALaw(payload, s.pcm)
	} else {
		g711.EncodeMuLaw(payload, s.pcm)
	}
	for at := 0; at < len(payload); at += packet {
		d.Take(uint32(at), law, payload[at:min(at+packet, len(payload))])
	}
	d.Reset()
	return digits
}

// pressed returns the keys alone.
func pressed(digits []Digit) string {
	var b []byte
	for _, d := range digits {
		b = append(b, d.Key)
	}
	return string(b)
}

// Every key is heard at the edges of what Q.24 wants heard, wherever the blocks begin, in
// packets of every length, in either law; and when it was is told.
func TestHeard(t *testing.T) {
	off := func(part float64) func([]sine) {
		return func(s []sine) { s[0].hz, s[1].hz = s[0].hz*(1+part), s[1].hz*(1-part) }
	}
	level := func(row, column float64) func([]sine) {
		return func(s []sine) { s[0].dBm0, s[1].dBm0 = row, column }
	}
	for name, change := range map[string]func([]sine){
		"as it is":                  func([]sine) {},
		"row high, column low":      off(0.015),
		"row low, column high":      off(-0.015),
		"both high":                 func(s []sine) { s[0].hz *= 1.015; s[1].hz *= 1.015 },
		"both low":                  func(s []sine) { s[0].hz *= 0.985; s[1].hz *= 0.985 },
		"faint":                     level(-25, -25),
		"loud":                      level(-3, -3),
		"column 4 dB above":         level(-10, -6),
		"row 8 dB above":            level(-6, -14),
		"faint, row 8 dB above":     level(-17, -25),
		"faint, column 4 dB above":  level(-25, -21),
		"row 8 dB above, both high": func(s []sine) { level(-6, -14)(s); s[0].hz *= 1.015; s[1].hz *= 1.015 },
	} {
		t.Run(name, func(t *testing.T) {
			for i := range keys {
				for start := 0; start < block; start += 3 {
					sines := key(keys[i], -10)
					change(sines)
					from := ms(50) + start
					to := from + ms(40)
					s := newSound()
					s.random = rand.New(rand.NewPCG(uint64(i), uint64(start)))
					s.play(from).play(to-from, sines...).play(ms(50))
					got := s.heard(Law(start%2), ms([]float64{10, 20, 30, 60}[start%4]))
					if pressed(got) != keys[i:i+1] {
						t.Fatalf("%c from sample %d: got %q", keys[i], start, pressed(got))
					}
					begin, end := int(int32(got[0].From)), int(got[0].To)
					if begin > from || begin < from-2*block || end < to || end > to+2*block {
						t.Errorf("%c from %d to %d: got it from %d to %d", keys[i], from, to, begin, end)
					}
				}
			}
		})
	}
}

// What Q.24 wants not heard is not.
func TestNotHeard(t *testing.T) {
	sounds := map[string]*sound{
		"too faint":   newSound().play(ms(200), key('5', -30)...),
		"silence":     newSound().play(ms(1000)),
		"row alone":   newSound().play(ms(500), sine{770, -10}),
		"column":      newSound().play(ms(500), sine{1336, -10}),
		"two rows":    newSound().play(ms(500), sine{770, -10}, sine{941, -10}),
		"two keys":    newSound().play(ms(500), sine{770, -10}, sine{941, -10}, sine{1336, -10}),
		"row 12 dB":   newSound().play(ms(500), sine{770, -6}, sine{1336, -18}),
		"column 8":    newSound().play(ms(500), sine{770, -14}, sine{1336, -6}),
		"ringing":     newSound().play(ms(1000), sine{425, -10}),
		"dial tone":   newSound().play(ms(1000), sine{350, -13}, sine{440, -13}),
		"busy tone":   newSound().play(ms(1000), sine{480, -13}, sine{620, -13}),
		"beep":        newSound().play(ms(200), sine{1400, -10}),
		"fax":         newSound().play(ms(500), sine{1100, -10}),
		"modem":       newSound().play(ms(500), sine{2100, -10}),
		"information": newSound().play(ms(330), sine{950, -13}).play(ms(330), sine{1400, -13}).play(ms(330), sine{1800, -13}),
	}
	for start := range block {
		sounds[fmt.Sprintf("23 ms from sample %d", start)] = newSound().play(start).play(ms(23), key('5', -10)...).play(ms(100))
	}
	for i := range keys {
		for tone := range 2 {
			for _, part := range []float64{0.965, 1.035} {
				sines := key(keys[i], -10)
				sines[tone].hz *= part
				sounds[fmt.Sprintf("%c with %.0f Hz", keys[i], sines[tone].hz)] = newSound().play(ms(500), sines...)
			}
		}
	}
	for name, s := range sounds {
		s.play(ms(100))
		for _, law := range []Law{ALaw, MuLaw} {
			if got := s.heard(law, ms(20)); got != nil {
				t.Errorf("%s, law %d: got %q, want nothing", name, law, pressed(got))
			}
		}
	}
}

// A hole of 10 ms is in one key; a pause of 40 ms is between two, even of the same one.
func TestHolesAndPauses(t *testing.T) {
	for start := range block {
		five := key('5', -10)
		s := newSound().play(start).play(ms(60), five...).play(ms(10)).play(ms(60), five...).play(ms(100))
		if got := s.heard(ALaw, ms(20)); pressed(got) != "5" {
			t.Errorf("hole, from sample %d: got %q, want 5", start, pressed(got))
		} else if to := start + ms(130); int(got[0].To) < to {
			t.Errorf("hole, from sample %d: got it until %d, want it until %d", start, got[0].To, to)
		}
		s = newSound().play(start).play(ms(50), five...).play(ms(40)).play(ms(50), five...).play(ms(40)).play(ms(50), key('6', -10)...).play(ms(100))
		if got := s.heard(MuLaw, ms(20)); pressed(got) != "556" {
			t.Errorf("pause, from sample %d: got %q, want 556", start, pressed(got))
		}
	}
}

// A key that is held is told after two seconds, and not again when it is let go.
func TestHeldKey(t *testing.T) {
	got := newSound().play(ms(4000), key('0', -10)...).play(ms(100)).heard(ALaw, ms(20))
	if pressed(got) != "0" || got[0].To < longest || int(got[0].To) > longest+ms(50) {
		t.Errorf("got %+v, want one 0 of two seconds", got)
	}
}

// What the network does: a lost packet within a key leaves one key, what is lost is
// nothing that was heard, and a stream that starts over tells the key that was down.
func TestGaps(t *testing.T) {
	s := newSound().play(ms(40)).play(ms(160), key('7', -10)...).play(ms(200))
	payload := make([]byte, len(s.pcm))
	g711.EncodeALaw(payload, s.pcm)
	packet := ms(20)
	for name, test := range map[string]struct {
		skip func(n int) bool
		move func(n int) uint32
		want string
	}{
		"lost":             {func(n int) bool { return n == 6 }, nil, "7"},
		"three lost":       {func(n int) bool { return n >= 5 && n < 8 }, nil, "7"},
		"all but 20 ms":    {func(n int) bool { return n != 4 && n < 12 }, nil, ""},
		"starts over":      {nil, func(n int) uint32 { return uint32(n/5) * 1e6 }, "77"},
		"comes late":       {nil, func(n int) uint32 { return -(uint32(n/5) * 2000) }, "7"},
		"wraps":            {nil, func(int) uint32 { return math.MaxUint32 - 1000 }, "7"},
		"silence in front": {nil, func(n int) uint32 { return uint32(min(n, 1)) * 80000 }, "7"},
	} {
		var digits []Digit
		d := New(func(digit Digit) { digits = append(digits, digit) })
		for n := range len(payload) / packet {
			if test.skip != nil && test.skip(n) {
				continue
			}
			timestamp := uint32(n * packet)
			if test.move != nil {
				timestamp += test.move(n)
			}
			d.Take(timestamp, ALaw, payload[n*packet:][:packet])
		}
		d.Reset()
		if got := pressed(digits); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// Noise 15 dB below the tones hides next to no key, and is none itself.
func TestNoise(t *testing.T) {
	missed := 0
	for i := range 800 {
		s := newSound()
		s.random = rand.New(rand.NewPCG(3, uint64(i)))
		s.play(ms(100)).play(ms(50), key(keys[i%16], -13)...).play(ms(100)).noise(-25)
		if got := pressed(s.heard(Law(i%2), ms(20))); got == "" {
			missed++
		} else if got != keys[i%16:i%16+1] {
			t.Errorf("got %q, want %c", got, keys[i%16])
		}
	}
	if missed > 2 {
		t.Errorf("missed %d of 800 keys", missed)
	}
	for _, level := range []float64{-10, -20, -30} {
		if got := newSound().play(ms(300_000)).noise(level).heard(ALaw, ms(20)); got != nil {
			t.Errorf("got %q in noise of %v dBm0", pressed(got), level)
		}
	}
}

// speech is a built-in announcement at 8 kHz.
func speech(t *testing.T, language string) []int16 {
	t.Helper()
	b, err := prompts.WAV(language)
	if err != nil {
		t.Fatal(err)
	}
	r, err := wav.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var samples []int16
	for {
		part := make([]int16, 8000)
		n, err := r.Read(part)
		samples = append(samples, part[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	to8, err := resample.New(r.Hz, 8000)
	if err != nil {
		t.Fatal(err)
	}
	return to8.Flush(to8.Process(nil, samples))
}

// Speech presses no key, however fast or loud it is: at many pitches its harmonics come by
// all pairs of tones.
func TestSpeech(t *testing.T) {
	for _, language := range prompts.Languages() {
		said := speech(t, language)
		for pitch := 0.6; pitch < 1.7; pitch += 0.02 {
			for _, gain := range []float64{0.3, 1, 4} {
				s := newSound()
				for at := 0.0; at < float64(len(said)-1); at += pitch {
					i := int(at)
					x := float64(said[i]) + (at-float64(i))*(float64(said[i+1])-float64(said[i]))
					s.pcm = append(s.pcm, clip(gain*x))
				}
				if got := s.heard(ALaw, ms(20)); got != nil {
					t.Errorf("%s at %.2f of its pitch and %.1f of its level: got %+v", language, pitch, gain, got)
				}
			}
		}
	}
}

// Nothing is allocated for a packet.
func TestAllocations(t *testing.T) {
	s := newSound().play(ms(60), key('5', -10)...).play(ms(60))
	payload := make([]byte, len(s.pcm))
	g711.EncodeALaw(payload, s.pcm)
	told := 0
	d := New(func(Digit) { told++ })
	timestamp := uint32(0)
	allocations := testing.AllocsPerRun(100, func() {
		d.Take(timestamp, ALaw, payload)
		timestamp += uint32(len(payload))
	})
	if allocations != 0 || told < 100 {
		t.Errorf("got %v allocations a packet and %d keys, want 0 and one each", allocations, told)
	}
}

// Whatever comes, every key is a key, ends behind its beginning and is told in order.
func FuzzTake(f *testing.F) {
	s := newSound().play(ms(60), key('5', -10)...).play(ms(60))
	payload := make([]byte, len(s.pcm))
	g711.EncodeALaw(payload, s.pcm)
	f.Add(uint32(0), uint32(160), payload)
	f.Add(uint32(math.MaxUint32), uint32(200), payload)
	f.Add(uint32(0), uint32(10), []byte{})
	f.Fuzz(func(t *testing.T, first, step uint32, audio []byte) {
		digits := 0
		d := New(func(digit Digit) {
			digits++
			if bytes.IndexByte([]byte(keys), digit.Key) < 0 || int32(digit.To-digit.From) < (onset+2)*block {
				t.Errorf("got %+v", digit)
			}
		})
		packets := 0
		for ; len(audio) > 0; packets++ {
			n := min(160, len(audio))
			d.Take(first, Law(packets%2), audio[:n])
			audio, first = audio[n:], first+step
		}
		d.Reset()
		d.Reset()
		if most := 160 * packets / (onset * block); digits > most {
			t.Errorf("got %d keys in %d packets", digits, packets)
		}
	})
}

func BenchmarkTake(b *testing.B) {
	s := newSound().play(ms(20), key('5', -10)...)
	payload := make([]byte, len(s.pcm))
	g711.EncodeALaw(payload, s.pcm)
	d := New(func(Digit) {})
	b.ReportAllocs()
	timestamp := uint32(0)
	for b.Loop() {
		d.Take(timestamp, ALaw, payload)
		timestamp += 160
	}
}
