package finalize

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/players"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// An Opus recording is as long as the capture to the sample, has each party on
// its side, and says of itself its id, purpose and expiry, nothing else.
func TestOpus(t *testing.T) {
	if !opus.Available {
		t.Skip("no Opus in this build")
	}
	c := &capture{length: 5*time.Second + 3*ms}
	c.send(newParty(rtp.Caller, tone(440)), c.length, ideal)
	c.send(newParty(rtp.Callee, tone(1000)), c.length, ideal)
	out := directory(t)
	result, err := Run(t.Context(), Job{
		Keys: plainly{}, Spool: c.write(t, t.TempDir()),
		Create:  into(t, out),
		Formats: []string{Opus, WAV},
		Expires: time.Date(2026, 12, 8, 10, 0, 0, 0, time.FixedZone("", 3600)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Files) != 2 || result.Files[0].Format != Opus || result.Files[0].Seconds != 5.003 || result.Skipped != nil {
		t.Fatalf("got %+v, %v skipped, want 5.003 seconds in both formats", result.Files, result.Skipped)
	}

	f, err := out.Open("call.opus")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := oggopus.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"RECORDING", "call"}, {"PURPOSE", "quality"}, {"EXPIRES", "2026-12-08T09:00:00Z"}}
	if diff := cmp.Diff(want, r.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	channels := decoded(t, r)
	if got, want := r.Total48k(), int64(5003*48); got != want {
		t.Errorf("got %d samples at 48 kHz, want %d", got, want)
	}
	for channel, hz := range []float64{440, 1000} {
		samples := channels[channel][8000:32000] // without the edges
		if own, other := level(samples, hz), level(samples, 1440-hz); own < 0.9 || other > 0.02 {
			t.Errorf("channel %d: got %.3f of its energy at its own tone and %.3f at the other's", channel, own, other)
		}
	}
	// Both recordings show the same at the same time.
	left := readWAV(t, out.Name()+"/call.wav")[0]
	at, best := 0, 0.0
	for shift := -8; shift <= 8; shift++ { // less than half a period
		sum := 0.0
		for i := 8000; i < 8000+1600; i++ {
			sum += float64(left[i]) * float64(channels[0][i+shift])
		}
		if sum > best {
			at, best = shift, sum
		}
	}
	if at < -2 || at > 2 {
		t.Errorf("got Opus %d samples off WAV, want at most 2", at)
	}
}

// decoded returns what a player plays of a file, at 8 kHz.
func decoded(t testing.TB, r *oggopus.Reader) (channels [2][]int16) {
	t.Helper()
	var decoders [2]*opus.Decoder
	for channel := range channels {
		if r.Streams != 2 {
			t.Fatalf("got %d streams, want one a party", r.Streams)
		}
		d, err := opus.NewDecoder(8000, 1)
		if err != nil {
			t.Fatal(err)
		}
		decoders[channel] = d
	}
	pcm := make([]int16, 960)
	for {
		packet, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		split, err := r.Split(packet)
		if err != nil {
			t.Fatal(err)
		}
		for channel, d := range decoders {
			n, err := d.Decode(pcm, split[channel])
			if err != nil {
				t.Fatal(err)
			}
			channels[channel] = append(channels[channel], pcm[:n]...)
		}
	}
	for i := range channels {
		channels[i] = channels[i][r.PreSkip/6:]
	}
	return channels
}

// What one party says leaves nothing on the other's channel, though both speak.
func TestOpusPartiesApart(t *testing.T) {
	if !opus.Available {
		t.Skip("no Opus in this build")
	}
	c := &capture{length: 4 * time.Second}
	c.send(newParty(rtp.Caller, tone(440)), c.length, ideal)
	c.send(newParty(rtp.Callee, func(n int64) int16 { return noise(1)(n) / 4 }), c.length, ideal)
	out := directory(t)
	if _, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: []string{Opus}}); err != nil {
		t.Fatal(err)
	}
	f, err := out.Open("call.opus")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := oggopus.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	both := decoded(t, r)[0][8000:24000]

	c = &capture{length: 4 * time.Second}
	c.send(newParty(rtp.Caller, tone(440)), c.length, ideal)
	if _, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: []string{Opus}}); err != nil {
		t.Fatal(err)
	}
	alone, err := out.Open("call.opus")
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if r, err = oggopus.NewReader(alone); err != nil {
		t.Fatal(err)
	}
	if want := decoded(t, r)[0][8000:24000]; !slices.Equal(both, want) {
		t.Error("got another left channel where the right one has noise, want the same to the bit")
	}
}

// Settings reach the encoders: more bits make a longer file, and what cannot be is said.
func TestOpusConfig(t *testing.T) {
	if !opus.Available {
		t.Skip("no Opus in this build")
	}
	c := &capture{length: 4 * time.Second}
	c.send(newParty(rtp.Caller, tone(440)), c.length, ideal)
	path := c.write(t, t.TempDir())
	size := func(o OpusConfig) int64 {
		result, err := Run(t.Context(), Job{Spool: path, Keys: plainly{}, Create: into(t, directory(t)), Formats: []string{Opus}, Opus: o})
		if err != nil {
			t.Fatal(err)
		}
		return result.Files[0].Bytes
	}
	usual := size(OpusConfig{})
	if few, many, dtx := size(OpusConfig{BitRate: 8000}), size(OpusConfig{BitRate: 48000, Complexity: 10}), size(OpusConfig{DTX: true}); few >= usual || many <= usual || dtx >= usual {
		t.Errorf("got %d bytes, %d with few bits, %d with many, %d with DTX", usual, few, many, dtx)
	}
	for _, o := range []OpusConfig{{Complexity: 11}, {Complexity: -1}, {BitRate: 5999}, {BitRate: 256_001}} {
		if o.Validate() == nil {
			t.Errorf("%+v: got no fault", o)
		}
	}
}

// G.711 that is kept as G.711 is what the parties sent, in a file half as long.
func TestWAVOfG711(t *testing.T) {
	c := &capture{length: 2 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	out := directory(t)
	result, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: []string{WAVALaw, WAV, WAVMuLaw}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		path  string
		bytes int64
	}{{"call.alaw.wav", 58 + 32000}, {"call.wav", 44 + 64000}, {"call.ulaw.wav", 58 + 32000}} {
		if f := result.Files[i]; f.Path != want.path || f.Bytes != want.bytes {
			t.Errorf("got %s of %d bytes, want %s of %d", f.Path, f.Bytes, want.path, want.bytes)
		}
	}
	if !slices.Equal(readWAV(t, out.Name()+"/call.alaw.wav")[0], readWAV(t, out.Name()+"/call.wav")[0]) {
		t.Error("got other samples in A-law than in linear ones of a call in A-law")
	}
}

// Lengths around packets and pages, and none at all, are all exact, and other
// programs agree.
func TestOpusLengths(t *testing.T) {
	if !opus.Available {
		t.Skip("no Opus in this build")
	}
	opusinfo := players.Have(t, "opusinfo")
	for _, length := range []time.Duration{0, 1 * ms, 13 * ms, 20 * ms, 994 * ms, time.Second, 1001 * ms, 2 * time.Second} {
		c := &capture{length: length}
		c.send(newParty(rtp.Caller, tone(440)), c.length, ideal)
		out := directory(t)
		if _, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: []string{Opus}}); err != nil {
			t.Errorf("%v: %v", length, err)
			continue
		}
		f, err := out.Open("call.opus")
		if err != nil {
			t.Fatal(err)
		}
		r, err := oggopus.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		decoded(t, r)
		f.Close()
		if got, want := r.Total48k(), int64(length/ms)*48; got != want {
			t.Errorf("%v: got %d samples at 48 kHz, want %d", length, got, want)
		}
		if !opusinfo {
			continue
		}
		said, err := exec.Command("opusinfo", out.Name()+"/call.opus").CombinedOutput()
		if err != nil || strings.Contains(strings.ToLower(string(said)), "warning") {
			t.Errorf("%v: opusinfo: %v\n%s", length, err, said)
		}
	}
}

// Without Opus in the build, a job that wants it says so; the other formats are
// written all the same.
func TestOpusUnavailable(t *testing.T) {
	if opus.Available {
		t.Skip("Opus is in this build")
	}
	wantErr(t, CheckFormat(Opus), opus.ErrUnavailable)
	c := &capture{length: time.Second}
	path := c.write(t, t.TempDir())
	out := directory(t)
	result, err := Run(t.Context(), Job{Spool: path, Keys: plainly{}, Create: into(t, out), Formats: []string{Opus, WAV}})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Files) != 1 || result.Files[0].Format != WAV || len(result.Skipped) != 1 {
		t.Fatalf("got %+v, %v skipped, want WAV written and Opus skipped", result.Files, result.Skipped)
	}
	wantErr(t, result.Skipped[0], opus.ErrUnavailable)
	_, err = Run(t.Context(), Job{Spool: path, Keys: plainly{}, Create: into(t, out), Name: "other", Formats: []string{Opus}})
	wantErr(t, err, opus.ErrUnavailable)
	if _, err := out.Stat("other.opus.part"); !os.IsNotExist(err) {
		t.Errorf("got %v of the file that was not to be written, want none", err)
	}
}

// A packet of a recording is encoded and written without an allocation.
func TestOpusOutputAllocations(t *testing.T) {
	if !opus.Available {
		t.Skip("no Opus in this build")
	}
	o, err := newOpusOutput(io.Discard, 8000, spool.Header{ID: "call"}, Job{})
	if err != nil {
		t.Fatal(err)
	}
	frames := make([]int16, 2*160*100)
	for i := range frames {
		frames[i] = noise(1)(int64(i)) / 4
	}
	if err := o.write(frames); err != nil { // pages get their memory
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(100, func() { _ = o.write(frames[:320]) }); got != 0 {
		t.Errorf("got %v allocations a packet, want none", got)
	}
}

// A second of a call in which one party speaks.
func BenchmarkOpusOutput(b *testing.B) {
	if !opus.Available {
		b.Skip("no Opus in this build")
	}
	for _, hz := range []int64{8000, 16000, 48000} {
		b.Run(fmt.Sprint(hz), func(b *testing.B) {
			o, err := newOpusOutput(io.Discard, hz, spool.Header{ID: "call"}, Job{})
			if err != nil {
				b.Fatal(err)
			}
			frames := make([]int16, 2*hz)
			for i := int64(0); i < hz; i++ {
				at := float64(i) / float64(hz)
				for harmonic := 1.0; harmonic <= 12; harmonic++ {
					frames[2*i] += int16(4000 / harmonic * math.Sin(2*math.Pi*harmonic*(120*at+20*at*at)) * max(0, math.Sin(2*math.Pi*4*at)))
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := o.write(frames); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
