package finalize

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/players"
	"github.com/bewaard/bewaard/media/rtp"
)

// Chromium, which the pages play in, plays every format as long as it is, each party on its
// side.
func TestChromiumPlays(t *testing.T) {
	players.Need(t, "chromium")
	const length = 2 * time.Second
	narrow := &capture{length: length}
	narrow.send(newParty(rtp.Caller, tone(440)), length, ideal)
	narrow.send(newParty(rtp.Callee, tone(1000)), length, ideal)
	formats := []string{WAV, WAVALaw, WAVMuLaw}
	if opus.Available {
		formats = append(formats, Opus)
	}
	files := map[string][]byte{}
	make := func(name string, c *capture, formats []string, passthrough bool) {
		out := directory(t)
		result, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: formats, Passthrough: passthrough})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range result.Files {
			if files[name+f.Format], err = os.ReadFile(filepath.Join(out.Name(), f.Path)); err != nil {
				t.Fatal(err)
			}
		}
		if result.Passed != passthrough {
			t.Fatalf("got %+v", result)
		}
	}
	make("", narrow, formats, false)
	if opus.Available {
		wide := &capture{codecs: []rtp.Codec{opusCodec}, length: length}
		newPhone(t, rtp.Caller, opusCodec).send(wide, sine(440), never)
		newPhone(t, rtp.Callee, opusCodec).send(wide, sine(1000), never)
		make("passed-", wide, []string{Opus}, true)
	}
	heard := players.Chromium(t, files)
	if len(heard) != len(files) {
		t.Errorf("got %d of %d files played", len(heard), len(files))
	}
	for name, channels := range heard {
		if len(channels) != 2 || len(channels[0]) != 2*players.ChromiumHz {
			t.Errorf("%s: got %d channels of %d samples, want 2 of %d", name, len(channels), len(channels[0]), 2*players.ChromiumHz)
			continue
		}
		for channel, hz := range []float64{440, 1000} {
			var samples []int16
			for _, sample := range channels[channel][24000:72000] {
				samples = append(samples, int16(32767*sample))
			}
			if own, other := share(samples, hz, players.ChromiumHz), share(samples, 1440-hz, players.ChromiumHz); own < 0.9 || other > 0.02 {
				t.Errorf("%s, channel %d: got %.3f of its energy at its own tone and %.3f at the other's", name, channel, own, other)
			}
		}
	}
}
