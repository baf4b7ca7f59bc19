package finalize

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/blob/blobtest"
	blobs "github.com/bewaard/bewaard/store/blob/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// Each party is heard on its own side, sample for sample, and the recording is
// as long as the capture.
func TestTwoParties(t *testing.T) {
	for _, left := range []rtp.Leg{rtp.Caller, rtp.Callee} {
		c := &capture{left: left, length: 10*time.Second + 7*ms}
		callers, callees := noise(1), noise(2)
		c.send(newParty(rtp.Caller, callers), c.length, ideal)
		callee := newParty(rtp.Callee, callees)
		callee.payloadType = pcmu.PayloadType
		callee.audio = tone(1000)
		c.send(callee, c.length, ideal)
		result, channels := finalized(t, c)
		wantLength(t, channels, c.length)
		wantAudio(t, channels[rtp.Caller^left], 0, 10*time.Second, callers)
		if got := level(channels[rtp.Callee^left][:80000], 1000); got < 0.99 {
			t.Errorf("left is %v: got %.3f of the callee's energy at 1000 Hz, want all", left, got)
		}
		if got := result.Ended.Sub(result.Began).Truncate(ms); got != c.length {
			t.Errorf("got %v captured, want %v", got, c.length)
		}
		want := Leg{Packets: 500, Streams: 1, Seconds: 10}
		if diff := cmp.Diff([2]Leg{want, want}, result.Legs); diff != "" {
			t.Errorf("legs (-want +got):\n%s", diff)
		}
		if result.Torn || result.Damaged != 0 || result.Reason != "bye" || result.ID != "call" {
			t.Errorf("got result %+v, want one of a whole spool", result)
		}
		if diff := cmp.Diff(terms("call"), result.Terms); diff != "" {
			t.Errorf("terms (-want +got):\n%s", diff)
		}
	}
}

// A lost packet is silence of its length, a duplicate is heard once, a packet
// that comes late is where it belongs; all are counted.
func TestLossDuplicatesReordering(t *testing.T) {
	c := &capture{length: 10 * time.Second}
	said := noise(1)
	p := newParty(rtp.Caller, said)
	p.sequence, p.timestamp = 65500, 1<<32-50*160 // both wrap
	c.send(p, c.length, func(n int) time.Duration {
		switch {
		case n%50 == 10:
			return -1
		case n%50 == 20:
			return 70 * ms
		}
		return 0
	})
	for _, twice := range []int{5, 100, 300} {
		again := c.packets[twice]
		c.add(again.leg, again.at+300*ms, again.raw)
	}
	result, channels := finalized(t, c)
	for n := range 500 {
		at := time.Duration(n) * 20 * ms
		if n%50 == 10 {
			wantSilence(t, channels[0], at, at+20*ms)
		} else {
			wantAudio(t, channels[0], at, at+20*ms, said)
		}
	}
	wantSilence(t, channels[1], 0, c.length)
	want := Leg{Packets: 493, Lost: 10, Duplicates: 3, Reordered: 10, Streams: 1, Seconds: 9.8}
	if diff := cmp.Diff(want, result.Legs[0]); diff != "" {
		t.Errorf("caller's leg (-want +got):\n%s", diff)
	}
}

// The first packet may be late without its channel being so.
func TestLateFirstPacketShiftsNothing(t *testing.T) {
	for _, delay := range []time.Duration{15 * ms, 90 * ms, 3 * time.Second} {
		c := &capture{length: 20 * time.Second}
		said := noise(1)
		p := newParty(rtp.Caller, said)
		p.pause(4 * time.Second)
		c.send(p, c.length, func(n int) time.Duration {
			if n == 0 {
				return delay
			}
			return 0
		})
		result, channels := finalized(t, c)
		wantSilence(t, channels[0], 0, 4*time.Second)
		wantAudio(t, channels[0], 4*time.Second, c.length, said)
		if got := result.Legs[0].Moves; got != 0 {
			t.Errorf("first packet %v late: got %d moves, want 0", delay, got)
		}
	}
}

// What the network held up and brings all at once is heard where it belongs.
func TestStallBelongsWhereItWasSaid(t *testing.T) {
	c := &capture{length: 30 * time.Second}
	said := noise(1)
	c.send(newParty(rtp.Caller, said), c.length, func(n int) time.Duration {
		if sent := time.Duration(n+1) * 20 * ms; sent > 10*time.Second && sent < 17*time.Second {
			return 17*time.Second - sent + time.Duration(n)*100*time.Microsecond
		}
		return 0
	})
	_, channels := finalized(t, c)
	wantAudio(t, channels[0], 0, c.length, said)
}

// A sender whose clock stands still while it sends nothing is heard when it
// sends again, not when its clock says.
func TestSenderWhoseClockStoodStill(t *testing.T) {
	c := &capture{length: 60 * time.Second}
	said := noise(1)
	p := newParty(rtp.Caller, said)
	c.send(p, 20*time.Second, ideal)
	p.from += 15 * time.Second // without its timestamp
	c.send(p, c.length, ideal)
	_, channels := finalized(t, c)
	wantAudio(t, channels[0], 0, 20*time.Second, said)
	wantSilence(t, channels[0], 20*time.Second, 35*time.Second)
	wantAudio(t, channels[0], 35*time.Second, c.length, said)
}

// However a sender starts over, what it says stays where it was said.
func TestSenderStartsOver(t *testing.T) {
	for name, restart := range map[string]func(*party){
		"SSRC":               func(p *party) { p.ssrc++ },
		"all":                func(p *party) { p.ssrc, p.sequence, p.timestamp = 7, 7, 7 },
		"sequence":           func(p *party) { p.sequence += 30000 },
		"sequence, little":   func(p *party) { p.sequence -= 400 },
		"timestamp":          func(p *party) { p.timestamp += 1 << 31 },
		"timestamp, little":  func(p *party) { p.timestamp += 8000 },
		"timestamp, back":    func(p *party) { p.timestamp -= 8000 },
		"sequence and clock": func(p *party) { p.sequence, p.timestamp = 9, 9 },
	} {
		c := &capture{length: 20 * time.Second}
		said := noise(1)
		p := newParty(rtp.Callee, said)
		p.sequence, p.timestamp = 40000, 1<<30
		c.send(p, 10*time.Second, ideal)
		restart(p)
		c.send(p, c.length, ideal)
		result, channels := finalized(t, c)
		wantAudio(t, channels[1], 0, c.length, said)
		if got := result.Legs[1]; got.Streams != 2 || got.Late != 0 || got.Duplicates != 0 {
			t.Errorf("%s: got leg %+v, want two streams and nothing late", name, got)
		}
		if t.Failed() {
			t.Fatalf("sender started over with its %s", name)
		}
	}
}

// A party that begins late begins where it began.
func TestLateStart(t *testing.T) {
	c := &capture{length: 100 * time.Second}
	said := noise(1)
	p := newParty(rtp.Callee, said)
	p.pause(90*time.Second + 125*time.Microsecond)
	c.send(p, c.length, ideal)
	_, channels := finalized(t, c)
	wantLength(t, channels, c.length)
	wantSilence(t, channels[1], 0, 90*time.Second)
	wantAudio(t, channels[1], 90*time.Second+125*time.Microsecond, c.length-21*ms, said)
}

// A party that falls silent is heard to its end, though the other talks on.
func TestOnePartyStops(t *testing.T) {
	c := &capture{length: 150 * time.Second}
	brief, long := noise(1), noise(2)
	c.send(newParty(rtp.Caller, brief), 5*time.Second, ideal)
	c.send(newParty(rtp.Callee, long), c.length, ideal)
	_, channels := finalized(t, c)
	wantAudio(t, channels[0], 0, 5*time.Second, brief)
	wantSilence(t, channels[0], 5*time.Second, c.length)
	wantAudio(t, channels[1], 0, c.length, long)
}

// Comfort noise and keys are time, not audio, and no loss; a payload type that
// nobody announced is counted.
func TestWhatIsNotAudio(t *testing.T) {
	c := &capture{length: 10 * time.Second}
	said := noise(1)
	p := newParty(rtp.Caller, said)
	c.send(p, 2*time.Second, ideal)
	c.add(p.leg, p.from, packetOf(cn.PayloadType, false, p.sequence, p.timestamp, p.ssrc, []byte{40}))
	p.sequence++
	p.pause(time.Second)
	c.send(p, 5*time.Second, ideal)
	for n := range 10 { // one key: its packets bear the time of its beginning
		c.add(p.leg, p.from+time.Duration(n)*20*ms, packetOf(event.PayloadType, n == 0, p.sequence, p.timestamp, p.ssrc, []byte{5, 10, 0, byte(n)}))
		p.sequence++
	}
	p.pause(200 * ms)
	c.add(p.leg, p.from, packetOf(99, false, p.sequence, p.timestamp, p.ssrc, make([]byte, 160)))
	p.sequence++
	p.pause(20 * ms)
	c.send(p, c.length, ideal)
	c.add(p.leg, 3*time.Second, []byte("not RTP"))

	result, channels := finalized(t, c)
	wantAudio(t, channels[0], 0, 2*time.Second, said)
	wantSilence(t, channels[0], 2*time.Second, 3*time.Second)
	wantAudio(t, channels[0], 3*time.Second, 5*time.Second, said)
	wantSilence(t, channels[0], 5*time.Second, 5220*ms)
	wantAudio(t, channels[0], 5220*ms, c.length, said)
	want := Leg{Packets: 451, Unknown: 1, Invalid: 1, Streams: 1, Seconds: 8.78}
	if diff := cmp.Diff(want, result.Legs[0]); diff != "" {
		t.Errorf("caller's leg (-want +got):\n%s", diff)
	}
}

// A codec that is negotiated during the call is known from then on, and to the
// party that uses it before the answer was seen.
func TestCodecChange(t *testing.T) {
	dynamic := pcma
	dynamic.PayloadType = 96
	c := &capture{codecs: []rtp.Codec{amr}, length: 10 * time.Second}
	said := noise(1)
	p := newParty(rtp.Caller, said)
	p.payloadType = amr.PayloadType
	c.send(p, 2*time.Second, ideal)
	p.payloadType = dynamic.PayloadType
	c.event(2*time.Second+200*ms, spool.Event{Kind: spool.CodecsChanged, Leg: rtp.Caller, Codecs: []rtp.Codec{dynamic}})
	c.send(p, 5*time.Second, ideal)
	// The same payload type gets another meaning, and its first one back.
	c.event(5*time.Second+1, spool.Event{Kind: spool.CodecsChanged, Leg: rtp.Caller, Codecs: []rtp.Codec{{Name: "AMR", PayloadType: 96, ClockHz: 8000}}})
	c.send(p, 6*time.Second, ideal)
	c.event(6*time.Second+1, spool.Event{Kind: spool.CodecsChanged, Leg: rtp.Caller, Codecs: []rtp.Codec{dynamic}})
	c.send(p, c.length, ideal)
	result, channels := finalized(t, c)
	wantSilence(t, channels[0], 0, 2*time.Second)
	wantAudio(t, channels[0], 2*time.Second, 5*time.Second, said)
	wantSilence(t, channels[0], 5*time.Second, 6*time.Second)
	wantAudio(t, channels[0], 6*time.Second, c.length, said)
	if got := result.Legs[0]; got.Unknown != 150 || got.Lost != 0 {
		t.Errorf("got leg %+v, want 150 unknown and none lost", got)
	}
}

// While the capture is stopped time goes by, and what was said then is neither
// heard nor lost; what the tap dropped is not the network's loss either.
func TestStoppedCapture(t *testing.T) {
	c := &capture{length: 20 * time.Second}
	said := noise(1)
	c.event(5*time.Second+1, spool.Event{Kind: spool.CaptureStopped, Reason: "card data"})
	c.event(8*time.Second+1, spool.Event{Kind: spool.CaptureStarted})
	c.event(12*time.Second, spool.Event{Kind: spool.PacketsDropped, Dropped: [2]uint64{5, 0}})
	c.send(newParty(rtp.Caller, said), c.length, func(n int) time.Duration {
		if n >= 500 && n < 507 { // five of them dropped by the tap
			return -1
		}
		return 0
	})
	result, channels := finalized(t, c)
	wantLength(t, channels, c.length)
	wantAudio(t, channels[0], 0, 5*time.Second, said)
	wantSilence(t, channels[0], 5*time.Second, 8*time.Second)
	wantAudio(t, channels[0], 8*time.Second, 10*time.Second, said)
	want := Leg{Packets: 1000 - 150 - 7, Lost: 2, Dropped: 5, Streams: 1, Seconds: 16.86}
	if diff := cmp.Diff(want, result.Legs[0]); diff != "" {
		t.Errorf("caller's leg (-want +got):\n%s", diff)
	}
	if result.Paused != 150 {
		t.Errorf("got %d packets refused while stopped, want 150", result.Paused)
	}
}

// The recording of a call that stopped capturing before its end ends there.
func TestEndsWithTheCapture(t *testing.T) {
	c := &capture{length: 3 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), 10*time.Second, ideal)
	result, channels := finalized(t, c)
	wantLength(t, channels, c.length)
	if got := result.Ended.Sub(result.Began).Truncate(ms); got != c.length {
		t.Errorf("got %v captured, want %v", got, c.length)
	}
}

// Packets of 60 ms are sent later than packets of 20 ms; what was said at the
// same time is heard at the same time.
func TestPacketTimesDoNotPartTheChannels(t *testing.T) {
	c := &capture{length: 12 * time.Second}
	said := noise(1)
	c.send(newParty(rtp.Caller, said), c.length, ideal)
	p := newParty(rtp.Callee, said)
	p.ptime = 60 * ms
	c.send(p, 6*time.Second, ideal)
	p.ptime = 10 * ms
	c.send(p, c.length, ideal)
	_, channels := finalized(t, c)
	if diff := cmp.Diff(channels[0], channels[1]); diff != "" {
		t.Error("got different channels, want the same")
	}
}

// Two streams of a leg at once are both heard.
func TestTwoStreamsAreMixed(t *testing.T) {
	c := &capture{length: 5 * time.Second}
	c.send(newParty(rtp.Caller, tone(500)), c.length, ideal)
	other := newParty(rtp.Caller, tone(1700))
	other.ssrc = 99
	c.send(other, c.length, ideal)
	_, channels := finalized(t, c)
	for _, hz := range []float64{500, 1700} {
		if got := level(channels[0], hz); got < 0.49 {
			t.Errorf("got %.3f of the energy at %v Hz, want half", got, hz)
		}
	}
}

// A call of which nothing was captured gives silence of its length, one that had
// no length an empty file.
func TestNothingCaptured(t *testing.T) {
	for _, length := range []time.Duration{0, 100 * time.Second} {
		_, channels := finalized(t, &capture{length: length})
		wantLength(t, channels, length)
		wantSilence(t, channels[0], 0, length)
	}
}

// A spool torn by a crash gives all that was on the disk, up to its last packet.
func TestTornSpool(t *testing.T) {
	c := &capture{length: 10 * time.Second}
	said := noise(1)
	c.send(newParty(rtp.Caller, said), c.length, ideal)
	path := c.write(t, t.TempDir())
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	result, channels := made(t, path)
	length := result.Ended.Sub(result.Began)
	if !result.Torn || length < 4*time.Second || length > 5*time.Second {
		t.Errorf("got %v, torn: %v, want half of the recording, torn", length, result.Torn)
	}
	wantLength(t, channels, length)
	wantAudio(t, channels[0], 0, length, said)
}

// Damage costs what was damaged: the rest stays where it was.
func TestDamagedSpool(t *testing.T) {
	c := &capture{length: 10 * time.Second}
	said := noise(1)
	c.send(newParty(rtp.Caller, said), c.length, ideal)
	path := c.write(t, t.TempDir())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	result, channels := made(t, path)
	wantLength(t, channels, c.length)
	wantAudio(t, channels[0], 0, 4*time.Second, said)
	wantAudio(t, channels[0], 6*time.Second, c.length, said)
	if result.Damaged != 1 || result.Torn || result.Legs[0].Packets != 475 {
		t.Errorf("got %d damaged, torn: %v, %d packets; want 1, whole, 475", result.Damaged, result.Torn, result.Legs[0].Packets)
	}
}

// inverter stands in for what seals: it writes each octet's complement, and an end.
type inverter struct{ w io.Writer }

func (i inverter) Write(b []byte) (int, error) {
	inverted := make([]byte, len(b))
	for n := range b {
		inverted[n] = ^b[n]
	}
	return i.w.Write(inverted)
}

func (i inverter) Close() error { _, err := io.WriteString(i.w, "end"); return err }

// What is sealed goes to the disk through its sealer alone, from the beginning to the end, and
// has the same content: a torn spool, whose end no frame tells, too.
func TestSealed(t *testing.T) {
	for _, torn := range []bool{false, true} {
		c := &capture{length: 70 * time.Second}
		c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
		name := c.write(t, t.TempDir())
		if torn {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, info.Size()-100); err != nil {
				t.Fatal(err)
			}
		}
		for _, format := range []string{WAV, WAVALaw, Opus} {
			if CheckFormat(format) != nil {
				continue
			}
			out := directory(t)
			job := Job{Spool: name, Keys: plainly{}, Create: into(t, out), Name: "call", Formats: []string{format}}
			plain, err := Run(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			want, err := out.ReadFile(plain.Files[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			job.Suffix, job.Seal = ".inverted", func(w io.Writer) (io.WriteCloser, error) { return inverter{w}, nil }
			result, err := Run(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			f := result.Files[0]
			sealed, err := out.ReadFile(plain.Files[0].Path + ".inverted")
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(sealed)
			if f.Path != plain.Files[0].Path+".inverted" || f.Bytes != int64(len(sealed)) || f.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%s, torn %v: got %+v of %d bytes sealed", format, torn, f, len(sealed))
			}
			if f.ContentBytes != int64(len(want)) || f.ContentSHA256 != plain.Files[0].SHA256 {
				t.Errorf("%s, torn %v: got content %d, %s, want that of %+v", format, torn, f.ContentBytes, f.ContentSHA256, plain.Files[0])
			}
			for i := range sealed[:len(sealed)-3] {
				sealed[i] = ^sealed[i]
			}
			if !bytes.Equal(sealed[:len(sealed)-3], want) || string(sealed[len(sealed)-3:]) != "end" {
				t.Errorf("%s, torn %v: what went through the sealer is not the file", format, torn)
			}
		}
	}
}

// Files are named and described as they are, lie where the job wants them, and
// only they do; a second run replaces them with the same.
func TestFiles(t *testing.T) {
	c := &capture{length: 2 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	out := directory(t)
	job := Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Name: "2026/11/24/call", Formats: []string{WAV}}
	var last File
	for run := range 2 {
		result, err := Run(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		b, err := out.ReadFile("2026/11/24/call.wav")
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		want := File{Path: "2026/11/24/call.wav", Format: WAV, Bytes: 44 + 2*16000*2, Seconds: 2, SHA256: hex.EncodeToString(sum[:])}
		want.ContentBytes, want.ContentSHA256 = want.Bytes, want.SHA256
		if diff := cmp.Diff([]File{want}, result.Files); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		if run == 1 && want != last {
			t.Errorf("got %+v from the second run, want %+v", want, last)
		}
		last = want
	}
	if got := filesUnder(t, out); !cmp.Equal(got, []string{"2026/11/24/call.wav"}) {
		t.Errorf("got files %q, want the recording only", got)
	}
	info, err := out.Stat(last.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != 0o600 {
		t.Errorf("got mode %v, want 0600", got)
	}
}

// filesUnder returns the paths of all files in dir.
func filesUnder(t testing.TB, dir *os.Root) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir.Name(), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir.Name(), path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What a killed job left in the way is written over, and none of it stays.
func TestKilledJobStartsOver(t *testing.T) {
	c := &capture{length: 2 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	job := Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, directory(t)), Formats: []string{WAV}}
	clean, err := Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	out := directory(t)
	job.Create = into(t, out)
	if err := out.WriteFile("call.wav"+blob.PartSuffix, make([]byte, 2*clean.Files[0].Bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(clean, again); diff != "" {
		t.Errorf("result (-clean +after a kill):\n%s", diff)
	}
	if got := filesUnder(t, out); !cmp.Equal(got, []string{"call.wav"}) {
		t.Errorf("got files %q, want the recording only", got)
	}
}

// A job that comes to nothing leaves nothing.
func TestFailedJobLeavesNothing(t *testing.T) {
	c := &capture{length: 2 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	path := c.write(t, t.TempDir())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name    string
		ctx     context.Context
		prepare func(*os.Root, *Job)
		want    error
	}{
		{"context has ended", ended, func(*os.Root, *Job) {}, context.Canceled},
		{"no spool", t.Context(), func(_ *os.Root, j *Job) { j.Spool = "none" }, os.ErrNotExist},
		{"no format", t.Context(), func(_ *os.Root, j *Job) { j.Formats = nil }, errAny},
		{"unknown format", t.Context(), func(_ *os.Root, j *Job) { j.Formats = []string{"mp3"} }, errAny},
		{"name outside", t.Context(), func(_ *os.Root, j *Job) { j.Name = "../call" }, errAny},
		{"name taken by a directory", t.Context(), func(out *os.Root, j *Job) {
			if err := out.Mkdir("call.wav", 0o700); err != nil {
				t.Fatal(err)
			}
		}, errAny},
	} {
		out := directory(t)
		job := Job{Spool: path, Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}}
		test.prepare(out, &job)
		result, err := Run(test.ctx, job)
		wantErr(t, err, test.want)
		if result.ID != "" {
			t.Errorf("%s: got a result with the error", test.name)
		}
		if got := filesUnder(t, out); got != nil {
			t.Errorf("%s: got files %q, want none", test.name, got)
		}
	}
}

// A disk that fails while files are written leaves none of them; one that fails when they get
// their names, those that have theirs. The next try makes all of them, as they would have been.
func TestDiskFails(t *testing.T) {
	c := &capture{length: 2 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	job := Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, directory(t)), Formats: []string{WAV, WAVALaw}}
	clean, err := Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		op, name string
		left     []string
	}{
		{blobtest.Create, "call.wav", nil},
		{blobtest.Create, "call.alaw.wav", nil},
		{blobtest.Write, "call.wav", nil},
		{blobtest.Write, "call.alaw.wav", nil},
		{blobtest.Commit, "call.wav", nil},
		{blobtest.Commit, "call.alaw.wav", []string{"call.wav"}},
		{blobtest.Committed, "call.alaw.wav", []string{"call.alaw.wav", "call.wav"}},
	} {
		out := directory(t)
		store, err := blobs.Open(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		fails := true
		faulty := blobtest.Faulty(store, func(op, name string) error {
			if fails && op == test.op && name == test.name {
				return syscall.ENOSPC
			}
			return nil
		})
		job.Create = func(name string) (Blob, error) { return faulty.Create(name) }
		_, err = Run(t.Context(), job)
		wantErr(t, err, syscall.ENOSPC)
		if got := filesUnder(t, out); !slices.Equal(got, test.left) {
			t.Errorf("%s of %s fails: got files %q, want %q", test.op, test.name, got, test.left)
		}
		fails = false
		again, err := Run(t.Context(), job)
		if diff := cmp.Diff(clean, again); err != nil || diff != "" {
			t.Errorf("%s of %s failed: got %v of the next try (-clean +again):\n%s", test.op, test.name, err, diff)
		}
		if got, want := filesUnder(t, out), []string{"call.alaw.wav", "call.wav"}; !slices.Equal(got, want) {
			t.Errorf("%s of %s failed: got files %q of the next try, want %q", test.op, test.name, got, want)
		}
	}
}

// A clock that went wrong does not become a recording of years.
func TestNoRecordingOfYears(t *testing.T) {
	c := &capture{length: 40 * time.Hour}
	out := directory(t)
	_, err := Run(t.Context(), Job{Spool: c.write(t, t.TempDir()), Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}})
	wantErr(t, err, errAny)
	if got := filesUnder(t, out); got != nil {
		t.Errorf("got files %q, want none", got)
	}
}
