package finalize

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

var update = flag.Bool("update", false, "rewrite testdata/*.spool and testdata/*.wav")

// golden are the captures behind testdata: two seconds each, the caller's tone
// at 440 Hz, the callee's at 1000 Hz. What they show stands in their names.
var golden = []struct {
	name   string
	make   func(c *capture, caller, callee *party)
	damage func(spool []byte) []byte
}{
	{name: "clean", make: sendBoth},
	{name: "loss-reorder-duplicate", make: func(c *capture, caller, callee *party) {
		r := rand.New(rand.NewPCG(1, 1))
		c.send(caller, c.length, func(int) time.Duration {
			if r.IntN(10) == 0 {
				return -1
			}
			return time.Duration(r.IntN(60)) * ms
		})
		c.send(callee, c.length, func(n int) time.Duration { return time.Duration(r.IntN(30)) * ms })
		for n := 0; n < 100; n += 7 {
			again := c.packets[n]
			c.add(again.leg, again.at+10*ms, again.raw)
		}
	}},
	{name: "wrap-restart", make: func(c *capture, caller, callee *party) {
		caller.sequence, caller.timestamp = 65520, 1<<32-4000
		c.send(caller, c.length, ideal)
		c.send(callee, 700*ms, ideal)
		callee.ssrc, callee.sequence, callee.timestamp = 77, 50000, 1<<31
		c.send(callee, 1400*ms, ideal)
		callee.timestamp += 1 << 30
		c.send(callee, c.length, ideal)
	}},
	{name: "late-start", make: func(c *capture, caller, callee *party) {
		c.send(caller, c.length, ideal)
		callee.pause(1234 * ms)
		callee.ptime = 30 * ms
		c.send(callee, c.length, func(n int) time.Duration { return time.Duration(max(0, 80-40*n)) * ms })
	}},
	{name: "silence-key-stop", make: func(c *capture, caller, callee *party) {
		c.send(caller, 500*ms, ideal)
		c.add(caller.leg, caller.from, packetOf(cn.PayloadType, false, caller.sequence, caller.timestamp, caller.ssrc, []byte{40}))
		caller.sequence++
		caller.pause(300 * ms)
		c.send(caller, c.length, ideal)
		c.send(callee, 600*ms, ideal)
		c.add(callee.leg, callee.from, packetOf(event.PayloadType, true, callee.sequence, callee.timestamp, callee.ssrc, []byte{9, 0x80, 0, 160}))
		callee.sequence++
		callee.pause(100 * ms)
		c.send(callee, c.length, ideal)
		c.event(1400*ms+1, spool.Event{Kind: spool.CaptureStopped, Reason: "card data"})
		c.event(1700*ms+1, spool.Event{Kind: spool.CaptureStarted})
	}},
	{name: "clock-slip", make: func(c *capture, caller, callee *party) {
		// 5000 ppm slow and fast: what two hundred do in a minute.
		c.send(caller, c.length, func(n int) time.Duration { return time.Duration(n) * 100 * time.Microsecond })
		c.send(callee, c.length, func(n int) time.Duration { return 10*ms - time.Duration(n)*100*time.Microsecond })
	}},
	{name: "hold-codec-ptime", make: func(c *capture, caller, callee *party) {
		c.send(caller, 600*ms, ideal)
		caller.payloadType, caller.ptime = pcmu.PayloadType, 60*ms
		c.send(caller, c.length, ideal)
		c.send(callee, 400*ms, ideal)
		callee.from += 900 * ms // held by one whose clock stands still
		callee.ptime = 10 * ms
		c.send(callee, c.length, ideal)
	}},
	{name: "torn", make: sendBoth, damage: func(b []byte) []byte { return b[:len(b)*2/3] }},
	{name: "damaged", make: sendBoth, damage: func(b []byte) []byte {
		b[len(b)/2] ^= 0x10
		return b
	}},
}

func sendBoth(c *capture, caller, callee *party) {
	c.send(caller, c.length, ideal)
	c.send(callee, c.length, ideal)
}

// The spools in testdata, written once and for all, give the recordings beside
// them to the bit: neither the format on disk nor the timeline changes unseen.
// The caller is heard on the left only, the callee on the right only.
func TestGolden(t *testing.T) {
	for _, g := range golden {
		c := &capture{id: g.name, length: 2 * time.Second}
		g.make(c, newParty(rtp.Caller, tone(440)), newParty(rtp.Callee, tone(1000)))
		spoolPath := filepath.Join("testdata", g.name+spool.Extension)
		if *update {
			updateSpool(t, spoolPath, c.write(t, t.TempDir()), g.damage)
		}
		out := directory(t)
		result, err := Run(t.Context(), Job{Spool: spoolPath, Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}})
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		got, err := out.ReadFile(result.Files[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		wavPath := filepath.Join("testdata", g.name+".wav")
		if *update {
			if err := os.WriteFile(wavPath, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(wavPath)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got another recording than testdata has", g.name)
		}
		if torn, damaged := g.name == "torn", g.name == "damaged"; result.Torn != torn || result.Damaged > 0 != damaged {
			t.Errorf("%s: got torn: %v, %d damaged", g.name, result.Torn, result.Damaged)
		}
		for channel, hz := range []float64{440, 1000} {
			samples := readWAV(t, wavPath)[channel]
			if own, other := level(samples, hz), level(samples, 1440-hz); own < 0.3 || other > 0.02 {
				t.Errorf("%s, channel %d: got %.3f of its energy at its own tone and %.3f at the other's", g.name, channel, own, other)
			}
		}
	}
}

// updateSpool rewrites a spool in testdata unless it says the same already: its
// mark is another each time.
func updateSpool(t *testing.T, path, written string, damage func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(written)
	if err != nil {
		t.Fatal(err)
	}
	if damage != nil {
		b = damage(b)
	}
	if old, err := os.ReadFile(path); err == nil && reflect.DeepEqual(framesOf(t, old), framesOf(t, b)) {
		return
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// framesOf returns what a spool says, and how it ends.
func framesOf(t *testing.T, b []byte) (said []any) {
	t.Helper()
	r, err := spool.NewReader(bytes.NewReader(b), plainly{})
	if err != nil {
		t.Fatal(err)
	}
	said = append(said, r.Header)
	for {
		f, err := r.Next()
		if err != nil {
			return append(said, err)
		}
		if batch, ok := f.(spool.Batch); ok {
			batch.Packets = bytes.Clone(batch.Packets)
			f = batch
		}
		said = append(said, f)
	}
}

// Every file in testdata belongs to a test.
func TestNoStrayGolden(t *testing.T) {
	for _, pattern := range []string{"*.spool", "*.wav"} {
		paths, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) != len(golden) {
			t.Errorf("got %s, want %d files %s", strings.Join(paths, ", "), len(golden), pattern)
		}
	}
}
