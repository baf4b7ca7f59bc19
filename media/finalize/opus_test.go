package finalize

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/rtp"
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
		Spool:   c.write(t, t.TempDir()),
		Out:     out,
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
	d, err := opus.NewDecoder(8000, 2)
	if err != nil {
		t.Fatal(err)
	}
	var frames []int16
	pcm := make([]int16, 2*960)
	for {
		packet, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := d.Decode(pcm, packet)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, pcm[:n]...)
	}
	for i, sample := range frames[2*r.PreSkip/6:] {
		channels[i%2] = append(channels[i%2], sample)
	}
	return channels
}

// Lengths around packets and pages, and none at all, are all exact, and other
// programs agree.
func TestOpusLengths(t *testing.T) {
	if !opus.Available {
		t.Skip("no Opus in this build")
	}
	opusinfo, _ := exec.LookPath("opusinfo")
	for _, length := range []time.Duration{0, 1 * ms, 13 * ms, 20 * ms, 994 * ms, time.Second, 1001 * ms, 2 * time.Second} {
		c := &capture{length: length}
		c.send(newParty(rtp.Caller, tone(440)), c.length, ideal)
		out := directory(t)
		if _, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Out: out, Formats: []string{Opus}}); err != nil {
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
		if opusinfo == "" {
			continue
		}
		said, err := exec.Command(opusinfo, out.Name()+"/call.opus").CombinedOutput()
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
	result, err := Run(t.Context(), Job{Spool: path, Out: out, Formats: []string{Opus, WAV}})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Files) != 1 || result.Files[0].Format != WAV || len(result.Skipped) != 1 {
		t.Fatalf("got %+v, %v skipped, want WAV written and Opus skipped", result.Files, result.Skipped)
	}
	wantErr(t, result.Skipped[0], opus.ErrUnavailable)
	_, err = Run(t.Context(), Job{Spool: path, Out: out, Name: "other", Formats: []string{Opus}})
	wantErr(t, err, opus.ErrUnavailable)
	if _, err := out.Stat("other.opus.part"); !os.IsNotExist(err) {
		t.Errorf("got %v of the file that was not to be written, want none", err)
	}
}
