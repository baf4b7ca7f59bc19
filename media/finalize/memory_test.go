package finalize

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// sink counts frames and forgets them.
type sink struct{ frames int64 }

func (s *sink) write(frames []int16) error { s.frames += int64(len(frames) / 2); return nil }
func (s *sink) close(int64) error          { return nil }

// liveBytes returns how much memory is in use.
func liveBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// batches feeds a recording both legs of a call, half a second at a time, and
// calls each after every minute.
func batches(t testing.TB, rec *recording, length time.Duration, next func(leg rtp.Leg, n int) []byte, each func(minute int)) {
	t.Helper()
	var batch []byte
	n := 0
	for at := time.Duration(0); at < length; at += 500 * ms {
		for leg := range rtp.Leg(2) {
			batch = batch[:0]
			for i := range 25 {
				arrival := began.Add(at + time.Duration(i)*20*ms)
				batch = rtp.AppendCaptured(batch, arrival.UnixNano(), next(leg, n+i))
			}
			if err := rec.batch(spool.Batch{Leg: leg, Packets: batch}); err != nil {
				t.Fatal(err)
			}
		}
		n += 25
		if n%3000 == 0 {
			each(n / 3000)
		}
	}
}

// Memory does not grow with the call, nor by what a party can send: other streams
// all the time, packets of 60 KB, numbers out of all order. Most of it is the window
// of the recording, which is larger at higher rates.
func TestMemoryIsBounded(t *testing.T) {
	if raced || testing.Short() {
		t.Skip("too slow")
	}
	r := rand.New(rand.NewPCG(1, 1))
	payload := make([]byte, 160)
	huge := make([]byte, 60_000)
	ordinary := func(leg rtp.Leg, n int) []byte {
		return packetOf(8, false, uint16(n), uint32(n*160), uint32(leg), payload)
	}
	hostile := map[string]func(leg rtp.Leg, n int) []byte{
		"streams": func(leg rtp.Leg, n int) []byte {
			return packetOf(8, false, uint16(n), uint32(n*160), uint32(n), payload)
		},
		"huge": func(leg rtp.Leg, n int) []byte {
			return packetOf(8, false, uint16(n), uint32(n*60000), uint32(leg), huge)
		},
		"huge keys": func(leg rtp.Leg, n int) []byte {
			return packetOf(event.PayloadType, false, uint16(n), uint32(n*160), uint32(leg), huge)
		},
		"random": func(leg rtp.Leg, n int) []byte {
			return packetOf(uint8(r.IntN(16)), false, uint16(r.Uint32()), r.Uint32(), uint32(r.IntN(3)), payload)
		},
		"held back": func(leg rtp.Leg, n int) []byte { // each before the last
			return packetOf(8, false, uint16(-n), uint32(-n*160), uint32(leg), payload)
		},
	}
	inMemory(t, "four hours", 8000, 4*time.Hour, 16<<20, ordinary)
	inMemory(t, "at 48 kHz", 48000, 3*time.Minute, 40<<20, ordinary)
	for name, next := range hostile {
		inMemory(t, name, 8000, 3*time.Minute, 24<<20, next)
	}
	inMemory(t, "streams at 48 kHz", 48000, 2*time.Minute, 40<<20, hostile["streams"])
}

// inMemory fails if a recording has more than so many bytes in use after any minute.
func inMemory(t *testing.T, name string, hz int64, length time.Duration, maxLive int64, next func(leg rtp.Leg, n int) []byte) {
	t.Helper()
	before := liveBytes()
	c := &capture{}
	out := &sink{}
	rec := newRecording(c.header(), newStereo(hz, []output{out}))
	most := int64(0)
	batches(t, rec, length, next, func(minute int) {
		if minute > 3 && minute%30 != 0 {
			return // looking takes longer than the minute
		}
		most = max(most, liveBytes()-before)
	})
	if most > maxLive {
		t.Errorf("%s: got %d MiB in use, want less than %d", name, most>>20, maxLive>>20)
	}
	if want := samplesAt(length-writeLag-2*writeStep, hz); out.frames < want {
		t.Errorf("%s: got %d frames written, want at least %d", name, out.frames, want)
	}
	t.Logf("%s: %.1f MiB", name, float64(most)/(1<<20))
	runtime.KeepAlive(rec)
}

// Ten minutes of an ordinary call, from disk to disk.
func BenchmarkRun(b *testing.B) {
	const length = 10 * time.Minute
	c := &capture{length: length}
	c.send(newParty(rtp.Caller, tone(440)), length, ideal)
	c.send(newParty(rtp.Callee, noise(1)), length, ideal)
	path := c.write(b, b.TempDir())
	out := directory(b)
	for _, format := range []string{WAV, Opus} {
		b.Run(format, func(b *testing.B) {
			if format == Opus && !opus.Available {
				b.Skip("no Opus in this build")
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Run(b.Context(), Job{Spool: path, Keys: plainly{}, Create: into(b, out), Formats: []string{format}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(length.Seconds()*float64(b.N)/b.Elapsed().Seconds(), "x-real-time")
		})
	}
}

// Packets to their place, without any disk.
func BenchmarkPlace(b *testing.B) {
	c := &capture{}
	rec := newRecording(c.header(), newStereo(8000, nil))
	payload := make([]byte, 160)
	n := 0
	at := began
	b.ReportAllocs()
	for b.Loop() {
		raw := packetOf(8, false, uint16(n), uint32(n*160), 1, payload)
		batch := rtp.AppendCaptured(nil, at.UnixNano(), raw)
		if err := rec.batch(spool.Batch{Leg: rtp.Caller, Packets: batch}); err != nil {
			b.Fatal(err)
		}
		if n++; n%5_000_000 == 0 { // beyond maxLength
			at, rec = began, newRecording(c.header(), newStereo(8000, nil))
		}
		at = at.Add(20 * ms)
	}
}
