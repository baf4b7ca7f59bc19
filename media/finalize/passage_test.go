package finalize

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/oggopus"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/players"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

var opusCodec = rtp.Codec{Name: "OPUS", PayloadType: 111, ClockHz: 48000, Channels: 2}

// passedThrough makes an Opus recording of a capture's packets.
func passedThrough(t *testing.T, c *capture, formats ...string) (Result, *oggopus.Reader, string) {
	t.Helper()
	if !opus.Available {
		t.Skip("built without cgo, hence without Opus")
	}
	out := directory(t)
	result, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: append([]string{Opus}, formats...), Passthrough: true})
	if err != nil {
		t.Fatal(err)
	}
	f, err := out.Open(result.Files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := oggopus.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return result, r, filepath.Join(out.Name(), result.Files[0].Path)
}

// spokenAt returns the packets of each channel that somebody sent, by the time at which they
// are heard.
func spokenAt(t *testing.T, r *oggopus.Reader) (packets [2]map[time.Duration][]byte, places int) {
	t.Helper()
	for channel := range packets {
		packets[channel] = map[time.Duration][]byte{}
	}
	granule := -int64(r.PreSkip)
	for ; ; places++ {
		packet, samples, err := r.Next()
		if err == io.EOF {
			return packets, places
		}
		if err != nil {
			t.Fatal(err)
		}
		split, err := r.Split(packet)
		if err != nil {
			t.Fatal(err)
		}
		for channel, one := range split {
			if len(one) > 3 { // else it is a gap's
				packets[channel][durationOf(granule, opusClockHz)] = bytes.Clone(one)
			}
		}
		granule += int64(samples)
	}
}

// A call in Opus is kept as its packets, byte for byte, each where it was said to half a
// packet, with silence between them; the file is as long as the capture, and sounds.
func TestPassthrough(t *testing.T) {
	for name, formats := range map[string][]string{"alone": nil, "beside WAV": {WAV}} {
		t.Run(name, func(t *testing.T) {
			c := &capture{codecs: []rtp.Codec{opusCodec}, length: 6*time.Second + 3*ms}
			lost := func(n int) bool { return n%40 == 7 || n >= 100 && n < 150 }
			newPhone(t, rtp.Caller, opusCodec).send(c, sine(440), lost)
			from := len(c.packets)
			newPhone(t, rtp.Callee, opusCodec).send(c, sine(1000), lost)
			for i := range c.packets[from:] {
				c.packets[from+i].at += 7 * ms
			}
			var sent [2][][]byte
			var at [2][]time.Duration
			for _, p := range c.packets {
				if p.at <= c.length {
					sent[p.leg] = append(sent[p.leg], p.raw[rtp.HeaderBytes:])
					at[p.leg] = append(at[p.leg], p.at-20*ms)
				}
			}
			result, r, path := passedThrough(t, c, formats...)
			if !result.Passed || result.Encoded != "" || result.Files[0].Seconds != 6.003 {
				t.Fatalf("got %+v, want the packets kept, 6.003 s long", result)
			}
			packets, _ := spokenAt(t, r)
			if got, want := r.Total48k(), int64(6003*48); got != want {
				t.Errorf("got %d samples at 48 kHz, want %d", got, want)
			}
			for leg := range rtp.Leg(2) {
				if got := len(packets[leg]); got != len(sent[leg]) {
					t.Errorf("%v: got %d packets, want %d", leg, got, len(sent[leg]))
				}
				for when, packet := range packets[leg] {
					found := false
					for i := range sent[leg] {
						if off := when - at[leg][i]; off.Abs() <= 10*ms && bytes.Equal(packet, sent[leg][i]) {
							found = true
						}
					}
					if !found {
						t.Fatalf("%v: got %d bytes at %v that nobody sent then", leg, len(packet), when)
					}
				}
			}
			for _, leg := range result.Legs {
				if leg.Invalid+leg.Late+leg.Snapped != 0 || leg.Seconds < 4.5 || leg.Seconds > 6 {
					t.Errorf("got %+v", leg)
				}
			}
			wantPlayable(t, path)
		})
	}
}

// wantPlayable fails unless players take a file, and hear each party on its side.
func wantPlayable(t *testing.T, path string) {
	t.Helper()
	if players.Have(t, "opusinfo") {
		if said, err := exec.Command("opusinfo", path).CombinedOutput(); err != nil || bytes.Contains(said, []byte("WARNING")) {
			t.Errorf("opusinfo: %v\n%s", err, said)
		}
	}
	if !players.Have(t, "ffmpeg") {
		return
	}
	cmd := exec.Command("ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ar", "8000", "-ac", "2", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	raw, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("ffmpeg: %v: %s", err, &said)
	}
	var channels [2][]int16
	for i := 0; i+1 < len(raw); i += 2 {
		channels[i/2%2] = append(channels[i/2%2], int16(binary.LittleEndian.Uint16(raw[i:])))
	}
	for channel, hz := range []float64{440, 1000} {
		if got := share(channels[channel][8000:9000], hz, 8000); got < 0.9 {
			t.Errorf("channel %d: got %.3f of the energy at its tone", channel, got)
		}
		loudest := int16(0)
		for _, sample := range channels[channel][19000:23000] { // in the gap of a second
			loudest = max(loudest, sample, -sample)
		}
		if loudest > 100 {
			t.Errorf("channel %d: got a sample of %d where nothing was said, want silence", channel, loudest)
		}
	}
}

// tagged is an Opus packet of 20 ms that says which it is.
func tagged(n int) []byte { return binary.BigEndian.AppendUint32([]byte{1 << 3}, uint32(n)) }

// Two parties whose clocks part, over networks with jitter and loss, stay within 20 ms of the
// wall clock though their packets are moved, hence not always of each other, and lose no more
// than their clocks gain.
func TestPassthroughFollowsClocks(t *testing.T) {
	const length = 10 * time.Minute
	c := &capture{codecs: []rtp.Codec{opusCodec}, length: length}
	var truth [2][]time.Duration
	ppm := [2]float64{200, -200}
	for leg := range rtp.Leg(2) {
		r := rand.New(rand.NewPCG(uint64(leg), 7))
		for n := 0; ; n++ {
			at := time.Duration(float64(n*20*int(ms)) / (1 + ppm[leg]*1e-6))
			sent := at + 20*ms
			if sent+40*ms > length {
				break
			}
			truth[leg] = append(truth[leg], at)
			if r.IntN(50) > 0 {
				c.add(leg, sent+time.Duration(r.Int64N(int64(40*ms))), packetOf(111, false, uint16(n), uint32(n*960), uint32(leg), tagged(n)))
			}
		}
	}
	result, reader, _ := passedThrough(t, c)
	if !result.Passed {
		t.Fatalf("got it encoded: %s", result.Encoded)
	}
	packets, _ := spokenAt(t, reader)
	var errs [2]map[uint32]time.Duration // by the number of the packet, which the two clocks give within 240 ms of each other
	for leg := range packets {
		worst := time.Duration(0)
		errs[leg] = map[uint32]time.Duration{}
		for when, packet := range packets[leg] {
			n := binary.BigEndian.Uint32(packet[1:])
			errs[leg][n] = when - truth[leg][n]
			worst = max(worst, errs[leg][n].Abs())
		}
		if worst > 20*ms {
			t.Errorf("leg %d: got a packet %v off, want at most 20 ms", leg, worst)
		}
		snapped := result.Legs[leg].Snapped
		if snapped < 4 || snapped > 10 { // 120 ms are six packets
			t.Errorf("leg %d: got %d packets left out or put in, want six or so", leg, snapped)
		}
		if got, want := len(packets[leg])+10, int(result.Legs[leg].Packets); got < want {
			t.Errorf("leg %d: got %d packets of %d", leg, got-10, want)
		}
		t.Logf("leg %d: %v off at worst, %d snapped", leg, worst, snapped)
	}
	apart := time.Duration(0)
	for n, err := range errs[0] {
		if other, ok := errs[1][n]; ok {
			apart = max(apart, (err - other).Abs())
		}
	}
	if apart > 36*ms {
		t.Errorf("got the channels %v apart, want at most 36 ms", apart)
	}
	t.Logf("%v apart at worst", apart)
}

// What does not fit a file of packets is encoded, and says why.
func TestPassthroughNotPossible(t *testing.T) {
	say := func(c *capture, leg rtp.Leg, pt uint8, ssrc uint32, from, n int, payload ...byte) {
		for i := from; i < from+n; i++ {
			c.add(leg, time.Duration(i+1)*20*ms, packetOf(pt, false, uint16(i), uint32(i*960), ssrc, payload))
		}
	}
	packet := tagged(1)
	for why, change := range map[string]func(c *capture){
		"nobody said anything":                func(c *capture) { c.packets = nil },
		"the callee sent PCMA":                func(c *capture) { say(c, rtp.Callee, 8, 2, 100, 1, 1, 2, 3) },
		"the callee sent stereo":              func(c *capture) { say(c, rtp.Callee, 111, 2, 100, 1, 1<<3|4, 2, 3) },
		"packets of 20ms and 60ms":            func(c *capture) { say(c, rtp.Callee, 111, 2, 100, 1, 3<<3, 2, 3) },
		"the caller sent two streams at once": func(c *capture) { say(c, rtp.Caller, 111, 9, 30, 150, packet...) },
		"some of it is left out": func(c *capture) {
			c.event(time.Second, spool.Event{Kind: spool.Excised, From: began, To: began.Add(time.Second)})
		},
		"not both parties began with Opus": func(c *capture) { c.codecs = []rtp.Codec{pcma} },
		"":                                 func(c *capture) { say(c, rtp.Caller, 111, 9, 180, 10, packet...) }, // one stream after the other
	} {
		c := &capture{codecs: []rtp.Codec{opusCodec}, length: 4 * time.Second}
		say(c, rtp.Caller, 111, 1, 0, 180, packet...)
		change(c)
		result, _, _ := passedThrough(t, c)
		if result.Encoded != why || result.Passed != (why == "") {
			t.Errorf("got %q, passed %v, want %q", result.Encoded, result.Passed, why)
		}
	}
}

// A packet whose frames are not there does not get into the file.
func TestPassthroughOfDamagedPackets(t *testing.T) {
	c := &capture{codecs: []rtp.Codec{opusCodec}, length: time.Second}
	for n := range 40 {
		payload := tagged(n)
		if n%10 == 5 {
			payload = []byte{0<<3 | 2, 250, 1} // two frames of 10 ms, the first longer than the packet
		}
		c.add(rtp.Caller, time.Duration(n+1)*20*ms, packetOf(111, false, uint16(n), uint32(n*960), 1, payload))
	}
	result, r, _ := passedThrough(t, c)
	packets, places := spokenAt(t, r)
	if !result.Passed || result.Legs[0].Invalid != 4 || len(packets[0]) != 36 || places < 50 {
		t.Errorf("got %d packets in %d places: %+v, %s", len(packets[0]), places, result.Legs[0], result.Encoded)
	}
}

// Whatever packets of Opus the parties send: those that are said to fit a file get into one
// of the capture's length. Input is packets, each behind
//
//	| leg, SSRC | arrival (10 ms after the last, signed) | timestamp (10 ms after the last, signed) | length |
func FuzzPassage(f *testing.F) {
	if !opus.Available {
		f.Skip("built without cgo, hence without Opus")
	}
	one := append([]byte{0, 2, 2, 5}, tagged(1)...)
	f.Add(append(one, one...))
	f.Add(bytes.Repeat(append(one, 1, 0, 2, 3, 0xfb, 2, 0), 9))
	f.Add(append(one, append([]byte{2, 127, 100, 5}, tagged(2)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &capture{codecs: []rtp.Codec{opusCodec}}
		h := c.header()
		var (
			batches []spool.Batch
			at      time.Duration
			stamps  [2]uint32
			s       surveyor
		)
		for leg, l := range h.Legs {
			s.codings[leg] = newCodings()
			s.codings[leg].change(-1<<63, l.Codecs)
		}
		for n := uint16(0); len(b) >= 4; n++ {
			leg, size := rtp.Leg(b[0]&1), min(int(b[3]), len(b)-4)
			at += time.Duration(int8(b[1])) * 10 * ms
			stamps[leg] += uint32(int32(int8(b[2])) * 480)
			raw := packetOf(111, false, n, stamps[leg], uint32(b[0]>>1), b[4:4+size])
			batches = append(batches, spool.Batch{Leg: leg, Packets: rtp.AppendCaptured(nil, began.Add(at).UnixNano(), raw)})
			b = b[4+size:]
		}
		for _, batch := range batches {
			s.batch(batch, h)
		}
		if s.why != "" || s.samples == 0 {
			return
		}
		var file bytes.Buffer
		p := newPassage(&file, s.samples, h, Job{})
		rec := newRecording(h, newStereo(opusClockHz, []output{newEditor(edits{}, []output{p})}))
		for _, track := range rec.tracks {
			track.passage, track.decodes = p, false
		}
		for _, batch := range batches {
			if err := rec.batch(batch); err != nil {
				t.Fatal(err)
			}
		}
		for _, track := range rec.tracks {
			track.close()
		}
		length := samplesAt(rec.last, opusClockHz)
		if err := rec.stereo.close(length); err != nil {
			t.Fatalf("%d packets of %d samples: %v", len(batches), s.samples, err)
		}
		r, err := oggopus.NewReader(&file)
		for err == nil {
			_, _, err = r.Next()
		}
		if err != io.EOF || r.Total48k() != length {
			t.Errorf("got %d samples, want %d: %v", r.Total48k(), length, err)
		}
	})
}
