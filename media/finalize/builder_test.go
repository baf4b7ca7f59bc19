package finalize

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/media/wav"
	blobs "github.com/bewaard/bewaard/store/blob/directory"
)

var began = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

var (
	pcma  = rtp.Codec{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1}
	pcmu  = rtp.Codec{Name: "PCMU", PayloadType: 0, ClockHz: 8000, Channels: 1}
	cn    = rtp.Codec{Name: "CN", PayloadType: 13, ClockHz: 8000, Channels: 1}
	event = rtp.Codec{Name: "TELEPHONE-EVENT", PayloadType: 101, ClockHz: 8000, Channels: 1}
	amr   = rtp.Codec{Name: "AMR", PayloadType: 111, ClockHz: 8000, Channels: 1} // which is not decoded
)

// arrived is a packet as the tap got it.
type arrived struct {
	leg rtp.Leg
	at  time.Duration // since the capture began
	raw []byte
}

// capture is a call's capture as it goes into a spool.
type capture struct {
	id      string
	left    rtp.Leg // the leg on the left channel
	codecs  []rtp.Codec
	packets []arrived
	events  []spool.Event
	length  time.Duration
	notice  *spool.Notice
}

// add adds a packet.
func (c *capture) add(leg rtp.Leg, at time.Duration, raw []byte) {
	c.packets = append(c.packets, arrived{leg, at, raw})
}

// event adds an event.
func (c *capture) event(at time.Duration, e spool.Event) {
	e.At = began.Add(at)
	c.events = append(c.events, e)
}

// report adds a sender report on a stream.
func (c *capture) report(leg rtp.Leg, at time.Duration, r rtp.Reported) {
	c.event(at, spool.Event{Kind: spool.SenderReported, Leg: leg, Report: &r})
}

// terms of all captures here.
func terms(id string) spool.Terms {
	return spool.Terms{
		Recording: id,
		Purpose:   "quality",
		Basis:     "legitimate_interest",
		Retention: "P14D",
		Rule:      "customers",
		Policy:    "5f2c",
		NotBefore: began,
	}
}

func (c *capture) header() spool.Header {
	codecs := c.codecs
	if codecs == nil {
		codecs = []rtp.Codec{pcma, pcmu, cn, event}
	}
	h := spool.Header{Began: began, Notice: c.notice}
	h.Legs[c.left] = spool.Leg{Channel: 0, Side: "external", Codecs: codecs}
	h.Legs[c.left.Other()] = spool.Leg{Channel: 1, Side: "internal", Codecs: codecs}
	return h
}

// write writes the capture as a spool into dir, as it is drained: every half
// second one batch of each leg. It returns the spool's path.
func (c *capture) write(t testing.TB, dir string) string {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	if c.id == "" {
		c.id = "call"
	}
	root, err := os.OpenRoot(dir)
	check(err)
	defer root.Close()
	grant, err := spool.NewGrant(terms(c.id))
	check(err)
	f, err := spool.Create(root, plainly{}, grant, c.header())
	check(err)

	slices.SortStableFunc(c.packets, func(a, b arrived) int { return cmp.Compare(a.at, b.at) })
	c.event(c.length+1, spool.Event{Kind: spool.CaptureStopped}) // what arrives with the end is kept
	slices.SortStableFunc(c.events, func(a, b spool.Event) int { return a.At.Compare(b.At) })
	packets, events := c.packets, c.events
	for drain := 500 * time.Millisecond; len(packets) > 0 || len(events) > 0; drain += 500 * time.Millisecond {
		for len(events) > 0 && events[0].At.Sub(began) < drain {
			check(f.Event(events[0]))
			events = events[1:]
		}
		var batches [2][]byte
		for len(packets) > 0 && packets[0].at < drain {
			p := packets[0]
			batches[p.leg] = rtp.AppendCaptured(batches[p.leg], began.Add(p.at).UnixNano(), p.raw)
			packets = packets[1:]
		}
		for leg, b := range batches {
			if b != nil {
				check(f.Append(rtp.Leg(leg), b))
			}
		}
	}
	check(f.Close("bye"))
	return filepath.Join(dir, f.Name())
}

// party sends RTP as a telephone does: a packet when its audio is complete.
type party struct {
	leg         rtp.Leg
	ssrc        uint32
	sequence    uint16
	timestamp   uint32
	payloadType uint8
	ptime       time.Duration
	audio       func(sample int64) int16 // by time since the capture began

	from time.Duration // where the audio of the next packet begins
	mark bool
}

// newParty returns a party that sends A-law of 20 ms.
func newParty(leg rtp.Leg, audio func(int64) int16) *party {
	return &party{leg: leg, ssrc: 0x1000 + uint32(leg), payloadType: pcma.PayloadType, ptime: 20 * time.Millisecond, audio: audio}
}

// next returns the next packet and when it is sent.
func (p *party) next() (at time.Duration, raw []byte) {
	n := samplesAt(p.ptime, 8000)
	pcm, payload := make([]int16, n), make([]byte, n)
	for i := range pcm {
		pcm[i] = p.audio(samplesAt(p.from, 8000) + int64(i))
	}
	if p.payloadType == pcmu.PayloadType {
		g711.EncodeMuLaw(payload, pcm)
	} else {
		g711.EncodeALaw(payload, pcm)
	}
	raw = packetOf(p.payloadType, p.mark, p.sequence, p.timestamp, p.ssrc, payload)
	p.mark = false
	p.sequence++
	p.timestamp += uint32(n)
	p.from += p.ptime
	return p.from, raw
}

// pause lets time go by in which nothing is sent, as with silence suppression.
func (p *party) pause(d time.Duration) {
	p.from += d
	p.timestamp += uint32(samplesAt(d, 8000))
	p.mark = true
}

// send sends until the time given, over a network that takes the packet after
// the delay it returns, or loses it if that is negative.
func (c *capture) send(p *party, until time.Duration, network func(n int) time.Duration) {
	for n := 0; p.from+p.ptime <= until; n++ {
		at, raw := p.next()
		if delay := network(n); delay >= 0 {
			c.add(p.leg, at+delay, raw)
		}
	}
}

// ideal is a network without delay.
func ideal(int) time.Duration { return 0 }

func packetOf(payloadType uint8, mark bool, sequence uint16, timestamp, ssrc uint32, payload []byte) []byte {
	b := []byte{2 << 6, payloadType}
	if mark {
		b[1] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, sequence)
	b = binary.BigEndian.AppendUint32(b, timestamp)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, payload...)
}

// tone is a sine of that frequency at about −12 dB.
func tone(hz float64) func(int64) int16 {
	return func(sample int64) int16 {
		return int16(8000 * math.Sin(2*math.Pi*hz*float64(sample)/8000))
	}
}

// noise is never quiet and tells every sample from every other.
func noise(seed uint64) func(int64) int16 {
	return func(sample int64) int16 {
		x := seed + uint64(sample)*0x9e3779b97f4a7c15
		x ^= x >> 30
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 27
		x *= 0x94d049bb133111eb
		return int16(x >> 48)
	}
}

// heard is what A-law leaves of a sample.
func heard(sample int16) int16 {
	var octet [1]byte
	var back [1]int16
	g711.EncodeALaw(octet[:], []int16{sample})
	g711.DecodeALaw(back[:], octet[:])
	return back[0]
}

// heardMuLaw is what µ-law leaves of a sample.
func heardMuLaw(sample int16) int16 {
	var octet [1]byte
	var back [1]int16
	g711.EncodeMuLaw(octet[:], []int16{sample})
	g711.DecodeMuLaw(back[:], octet[:])
	return back[0]
}

// directory opens a new directory for recordings.
func directory(t testing.TB) *os.Root {
	t.Helper()
	dir, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// into begins files in a directory: a job's Create.
func into(t testing.TB, dir *os.Root) func(name string) (Blob, error) {
	t.Helper()
	store, err := blobs.Open(dir.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return func(name string) (Blob, error) { return store.Create(name) }
}

// finalized returns the recording of a capture: its left and right channel.
func finalized(t testing.TB, c *capture) (result Result, channels [2][]int16) {
	t.Helper()
	return made(t, c.write(t, t.TempDir()))
}

// made returns the recording of a spool.
func made(t testing.TB, path string) (result Result, channels [2][]int16) {
	t.Helper()
	out := directory(t)
	result, err := Run(t.Context(), Job{Spool: path, Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}})
	if err != nil {
		t.Fatal(err)
	}
	return result, readWAV(t, filepath.Join(out.Name(), result.Files[0].Path))
}

// readWAV returns the channels of a stereo file.
func readWAV(t testing.TB, path string) (channels [2][]int16) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := wav.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if r.Hz != 8000 || r.Channels != 2 {
		t.Fatalf("got %d channels of %d Hz, want 2 of 8000", r.Channels, r.Hz)
	}
	var b [8192]int16
	for {
		n, err := r.Read(b[:])
		for i, sample := range b[:n] {
			channels[i%2] = append(channels[i%2], sample)
		}
		if err == io.EOF {
			return channels
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantAudio fails unless a channel has what a party said from one time to
// another, to the sample.
func wantAudio(t testing.TB, channel []int16, from, to time.Duration, audio func(int64) int16) {
	t.Helper()
	for i := samplesAt(from, 8000); i < samplesAt(to, 8000); i++ {
		if want := heard(audio(i)); channel[i] != want {
			t.Errorf("sample %d, at %v: got %d, want %d", i, time.Duration(i)*time.Second/8000, channel[i], want)
			return
		}
	}
}

// wantSilence fails unless a channel is silent from one time to another.
func wantSilence(t testing.TB, channel []int16, from, to time.Duration) {
	t.Helper()
	for i := samplesAt(from, 8000); i < samplesAt(to, 8000); i++ {
		if channel[i] != 0 {
			t.Errorf("sample %d, at %v: got %d, want silence", i, time.Duration(i)*time.Second/8000, channel[i])
			return
		}
	}
}

// wantLength fails unless both channels are as long as that.
func wantLength(t testing.TB, channels [2][]int16, want time.Duration) {
	t.Helper()
	for i, channel := range channels {
		if got := int64(len(channel)); got != samplesAt(want, 8000) {
			t.Errorf("channel %d: got %d samples, want %d", i, got, samplesAt(want, 8000))
		}
	}
}

// level is the share of a signal's energy that is at a frequency (Goertzel).
func level(samples []int16, hz float64) float64 {
	w := 2 * math.Cos(2*math.Pi*hz/8000)
	var s1, s2, energy float64
	for _, sample := range samples {
		x := float64(sample)
		s1, s2 = x+w*s1-s2, s1
		energy += x * x
	}
	if energy == 0 {
		return 0
	}
	return (s1*s1 + s2*s2 - w*s1*s2) / (energy * float64(len(samples)) / 2)
}

var errAny = errors.New("any error")

// wantErr fails unless err is want, or any error if want is errAny.
func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if want == errAny && err != nil {
		return
	}
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

// plainly are keys that wrap nothing.
type plainly struct{}

func (plainly) WrapSpool(key []byte) ([]byte, error)       { return bytes.Clone(key), nil }
func (plainly) UnwrapSpool(wrapped []byte) ([]byte, error) { return wrapped, nil }
