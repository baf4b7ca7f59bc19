package wav

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/players"
)

// write returns a file's bytes, the samples written in pieces.
func write(t testing.TB, hz, channels int, pieces ...[]int16) []byte {
	t.Helper()
	return writeOf(t, PCM16, hz, channels, pieces...)
}

func writeOf(t testing.TB, e Encoding, hz, channels int, pieces ...[]int16) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "a.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriterOf(f, e, hz, channels)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range pieces {
		if err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readAll reads a file in pieces of the given length.
func readAll(r io.Reader, piece int) (*Reader, []int16, error) {
	w, err := NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	var samples []int16
	for buf := make([]int16, piece); ; {
		n, err := w.Read(buf)
		samples = append(samples, buf[:n]...)
		if err == io.EOF {
			return w, samples, nil
		}
		if err != nil {
			return w, samples, err
		}
	}
}

func ramp(n int) []int16 {
	samples := make([]int16, n)
	for i := range samples {
		samples[i] = int16(i*37 - 20000)
	}
	return samples
}

// What was written is read again, whatever the pieces.
func TestRoundTrip(t *testing.T) {
	samples := ramp(2 * bufferBytes) // several buffers
	b := write(t, 16000, 2, samples[:2], samples[2:40000], nil, samples[40000:])
	for _, piece := range []int{1, 7, 320, 1 << 20} {
		w, got, err := readAll(bytes.NewReader(b), piece)
		if err != nil {
			t.Fatal(err)
		}
		if w.Hz != 16000 || w.Channels != 2 {
			t.Errorf("got %d Hz, %d channels, want 16000, 2", w.Hz, w.Channels)
		}
		if diff := cmp.Diff(samples, got); diff != "" {
			t.Fatalf("pieces of %d: samples (-want +got):\n%s", piece, diff)
		}
	}
}

// The header has both sizes, and room for longer ones where these may be needed; samples that are not linear have
// their number there, too.
func TestHeader(t *testing.T) {
	want := "RIFF\x2c\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00" +
		"\x40\x1f\x00\x00\x00\x7d\x00\x00\x04\x00\x10\x00data\x08\x00\x00\x00" +
		"\x01\x00\xff\xff\x00\x80\xff\x7f"
	got := write(t, 8000, 2, []int16{1, -1, math.MinInt16, math.MaxInt16})
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	want = "RIFF\x36\x00\x00\x00WAVEfmt \x12\x00\x00\x00\x06\x00\x01\x00" +
		"\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00\x00\x00fact\x04\x00\x00\x00\x03\x00\x00\x00data\x03\x00\x00\x00" +
		"\xd5\x2a\xaa\x00"
	got = writeOf(t, ALaw, 8000, 1, []int16{1, math.MinInt16, math.MaxInt16})
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("file of A-law (-want +got):\n%s", diff)
	}
	want = "RIFF\x4c\x00\x00\x00WAVEJUNK\x1c\x00\x00\x00" + strings.Repeat("\x00", 28) + "fmt \x10\x00\x00\x00\x01\x00\x02\x00" +
		"\x80\xbb\x00\x00\x00\xee\x02\x00\x04\x00\x10\x00data\x04\x00\x00\x00\x01\x00\x02\x00"
	if diff := cmp.Diff(want, string(write(t, 48000, 2, []int16{1, 2}))); diff != "" {
		t.Errorf("file that may get long (-want +got):\n%s", diff)
	}
}

// What was G.711 goes into a file of its law and out of it as it was.
func TestG711(t *testing.T) {
	octets := make([]byte, 256*400)
	for i := range octets {
		octets[i] = byte(i * 7)
	}
	for e, law := range map[Encoding]struct {
		decode func([]int16, []byte)
		encode func([]byte, []int16)
	}{ALaw: {g711.DecodeALaw, g711.EncodeALaw}, MuLaw: {g711.DecodeMuLaw, g711.EncodeMuLaw}} {
		samples := make([]int16, len(octets))
		law.decode(samples, octets)
		r, got, err := readAll(bytes.NewReader(writeOf(t, e, 8000, 2, samples[:2], samples[2:70002], samples[70002:])), 333)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, samples) || r.Encoding != e {
			t.Errorf("encoding %d: got other samples than were written, of encoding %d", e, r.Encoding)
		}
	}
}

// sparse is a file of which only the beginning is kept: what is written beyond it, or
// skipped, is counted.
type sparse struct {
	head     [128]byte
	at, size int64
}

func (s *sparse) Write(b []byte) (int, error) {
	if s.at < int64(len(s.head)) {
		copy(s.head[s.at:], b)
	}
	s.at += int64(len(b))
	s.size = max(s.size, s.at)
	return len(b), nil
}

func (s *sparse) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	s.at = offset
	return offset, nil
}

// A file that gets too long for its sizes is RF64, and reads as long as it is; one that
// just fits is not.
func TestBeyond4GiB(t *testing.T) {
	const room = math.MaxUint32 - 1 // the largest RIFF size that is one
	for _, e := range []Encoding{PCM16, MuLaw} {
		largest := (room - int64(format{e, 48000, 2}.headerBytes()) + 8) / int64(2*e.sampleBytes()) * int64(2*e.sampleBytes())
		for _, c := range []struct {
			dataBytes int64
			rf64      bool
		}{{largest, false}, {largest + int64(2*e.sampleBytes()), true}, {5 << 30, true}, {40 << 30, true}} {
			s := &sparse{}
			w, err := NewWriterOf(s, e, 48000, 2)
			if err != nil {
				t.Fatal(err)
			}
			last := []int16{1000, -1000}
			w.dataBytes = c.dataBytes - int64(len(last)*e.sampleBytes()) // as if so much had been written
			s.at += w.dataBytes
			if err := errors.Join(w.Write(last), w.Close()); err != nil {
				t.Fatal(err)
			}
			if got := string(s.head[:4]) == "RF64"; got != c.rf64 {
				t.Errorf("encoding %d, %d bytes: got RF64 %v, want %v", e, c.dataBytes, got, c.rf64)
			}
			if want := int64(w.headerBytes()) + c.dataBytes; s.size != want {
				t.Errorf("encoding %d: got a file of %d bytes, want %d", e, s.size, want)
			}
			r, err := NewReader(io.MultiReader(bytes.NewReader(s.head[:w.headerBytes()]), endless{}))
			if err != nil {
				t.Errorf("encoding %d, %d bytes: %v", e, c.dataBytes, err)
				continue
			}
			if r.unread != c.dataBytes || r.Encoding != e || r.Channels != 2 {
				t.Errorf("encoding %d: got %d bytes to read, want %d", e, r.unread, c.dataBytes)
			}
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// ffmpeg finds an RF64 file as long as it is: the file has a hole of 5 GiB.
func TestFFprobeReadsRF64(t *testing.T) {
	players.Need(t, "ffprobe")
	name := filepath.Join(t.TempDir(), "long.wav")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f, 48000, 2)
	if err != nil {
		t.Fatal(err)
	}
	const seconds = 28000
	w.dataBytes = seconds*48000*4 - 4
	if _, err := f.Seek(w.dataBytes, io.SeekCurrent); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write([]int16{1, 2}), w.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "format=duration:stream=codec_name,channels,sample_rate", "-of", "csv=p=0", name).CombinedOutput()
	if want := "pcm_s16le,48000,2\n28000.000000\n"; err != nil || string(out) != want {
		t.Errorf("got %v and %q, want %q", err, out, want)
	}
}

// Other programs read the samples of G.711.
func TestProgramsReadG711(t *testing.T) {
	samples := ramp(1600)
	for e, codec := range map[Encoding]string{ALaw: "pcm_alaw", MuLaw: "pcm_mulaw"} {
		b := writeOf(t, e, 8000, 2, samples)
		_, want, err := readAll(bytes.NewReader(b), 160)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "a.wav")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for program, arg := range map[string][]string{
			"ffmpeg": {"-v", "error", "-c:a", codec, "-i", name, "-f", "s16le", "-"},
			"sox":    {"-D", name, "-t", "raw", "-e", "signed-integer", "-b", "16", "-"},
		} {
			if !players.Have(t, program) {
				continue
			}
			out, err := exec.Command(program, arg...).Output()
			got := make([]int16, len(out)/2)
			for i := range got {
				got[i] = int16(binary.LittleEndian.Uint16(out[2*i:]))
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %v and %d samples, want the %d that we read", program, codec, err, len(got), len(want))
			}
		}
	}
}

// A file without samples is a file.
func TestEmpty(t *testing.T) {
	_, got, err := readAll(bytes.NewReader(write(t, 8000, 1)), 160)
	if err != nil || len(got) != 0 {
		t.Errorf("got %d samples and %v, want none and no error", len(got), err)
	}
}

// The writer refuses what the format cannot hold.
func TestWriterRefuses(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "a.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range [][2]int{{0, 1}, {8000, 0}, {8000, maxChannels + 1}, {1 << 31, 2}, {-1, 1}} {
		if _, err := NewWriter(f, c[0], c[1]); err == nil {
			t.Errorf("got a writer for %d Hz and %d channels", c[0], c[1])
		}
	}
	w, err := NewWriter(f, 8000, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(make([]int16, 3)); err == nil {
		t.Error("got half a sample pair written")
	}
	if _, err := NewWriterOf(f, 3, 8000, 1); err == nil {
		t.Error("got a writer for floats")
	}
}

type failing struct{ io.WriteSeeker }

var errDisk = errors.New("disk full")

func (failing) Write([]byte) (int, error) { return 0, errDisk }

// The disk's error comes out of whatever call meets it.
func TestWriterPassesErrorsOn(t *testing.T) {
	if _, err := NewWriter(failing{}, 8000, 1); !errors.Is(err, errDisk) {
		t.Errorf("header: got %v, want %v", err, errDisk)
	}
	w := &Writer{w: failing{}, format: format{PCM16, 8000, 1}, pending: make([]byte, 0, bufferBytes)}
	if err := w.Write(make([]int16, bufferBytes)); !errors.Is(err, errDisk) {
		t.Errorf("samples: got %v, want %v", err, errDisk)
	}
	if err := w.Close(); !errors.Is(err, errDisk) {
		t.Errorf("close: got %v, want %v", err, errDisk)
	}
}

func chunk(name, body string) string {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return string(b)
}

func riff(chunks ...string) string {
	all := "WAVE" + strings.Join(chunks, "")
	return chunk("RIFF", all)
}

const (
	pcmMono8k  = "\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
	extensible = "\xfe\xff\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00" +
		"\x16\x00\x10\x00\x04\x00\x00\x00\x01\x00" + pcmSubFormat
)

// Chunks that are not known are passed over wherever they stand, and so is what
// a longer fmt chunk has behind its fields.
func TestReadsOtherWriters(t *testing.T) {
	data := chunk("data", "\x01\x00\x02\x00")
	for name, file := range map[string]string{
		"plain":           riff(chunk("fmt ", pcmMono8k), data),
		"list before":     riff(chunk("LIST", "odd"), chunk("fmt ", pcmMono8k), chunk("fact", "\x02\x00\x00\x00"), data),
		"list behind":     riff(chunk("fmt ", pcmMono8k), data, chunk("LIST", "INFO")),
		"cbSize":          riff(chunk("fmt ", pcmMono8k+"\x00\x00"), data),
		"odd fmt":         riff(chunk("fmt ", pcmMono8k+"\x00"), data),
		"extensible":      riff(chunk("fmt ", extensible), data),
		"long extensible": riff(chunk("fmt ", extensible+"beyond"), data),
		"wrong RIFF size": "RIFF\x00\x00\x00\x00" + riff(chunk("fmt ", pcmMono8k), data)[8:],
	} {
		w, got, err := readAll(strings.NewReader(file), 160)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff([]int16{1, 2}, got); diff != "" || w.Hz != 8000 || w.Channels != 1 {
			t.Errorf("%s: got %d Hz, %d channels, samples (-want +got):\n%s", name, w.Hz, w.Channels, diff)
		}
	}
}

// What is not PCM16, or contradicts itself, is refused with the reason.
func TestRefuses(t *testing.T) {
	set := func(at int, v string) string { return pcmMono8k[:at] + v + pcmMono8k[at+len(v):] }
	data := chunk("data", "\x01\x00\x02\x00")
	for name, c := range map[string]struct{ file, want string }{
		"empty":            {"", "unexpected EOF"},
		"Ogg":              {"OggS" + strings.Repeat("\x00", 40), "not a WAV"},
		"AIFF in RIFF":     {"RIFF\x04\x00\x00\x00AIFF", "not a WAV"},
		"A-law of 16 bits": {riff(chunk("fmt ", set(0, "\x06\x00")), data), "16-bit samples of encoding 0x6"},
		"float":            {riff(chunk("fmt ", set(0, "\x03\x00")), data), "encoding 0x3"},
		"8 bits":           {riff(chunk("fmt ", set(14, "\x08\x00")), data), "8-bit samples of encoding 0x1"},
		"extensible float": {riff(chunk("fmt ", extensible[:24]+"\x03"+extensible[25:]), data), "encoding 0x3"},
		"short ds64":       {"RF64\xff\xff\xff\xffWAVE" + chunk("ds64", "short"), "ds64 chunk of 5"},
		"negative ds64":    {"RF64\xff\xff\xff\xffWAVE" + chunk("ds64", strings.Repeat("\xff", 28)), "impossible size"},
		"other GUID":       {riff(chunk("fmt ", extensible[:39]+"\x00"), data), "encoding 0xfffe"},
		"no channels":      {riff(chunk("fmt ", set(2, "\x00\x00")), data), "0 channels"},
		"block align":      {riff(chunk("fmt ", set(12, "\x04\x00")), data), "blocks of 4"},
		"no rate":          {riff(chunk("fmt ", set(4, "\x00\x00\x00\x00")), data), "0 samples a second"},
		"short fmt":        {riff(chunk("fmt ", pcmMono8k[:14]), data), "fmt chunk of 14"},
		"two fmt":          {riff(chunk("fmt ", pcmMono8k), chunk("fmt ", pcmMono8k), data), "two fmt"},
		"data first":       {riff(data, chunk("fmt ", pcmMono8k)), "before the fmt"},
		"odd data":         {riff(chunk("fmt ", pcmMono8k), chunk("data", "abc")), "3 bytes of samples"},
		"no data":          {riff(chunk("fmt ", pcmMono8k)), "unexpected EOF"},
	} {
		_, _, err := readAll(strings.NewReader(c.file), 160)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one that says %q", name, err, c.want)
		}
	}
}

// A file cut anywhere is an unexpected end, and the samples before it are read.
func TestTorn(t *testing.T) {
	samples := ramp(100)
	b := write(t, 8000, 2, samples)
	for n := range b {
		_, got, err := readAll(bytes.NewReader(b[:n]), 64)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: got %v, want %v", n, err, io.ErrUnexpectedEOF)
		}
		if want := max(0, n-(format{PCM16, 8000, 2}).headerBytes()) / 2; len(got) != want {
			t.Fatalf("cut at %d: got %d samples, want %d", n, len(got), want)
		}
	}
}

// sox reads what we write, and we read what sox writes.
func TestSox(t *testing.T) {
	players.Need(t, "sox")
	samples := ramp(1600)
	sox := exec.Command("sox", "-t", "wav", "-", "-t", "wav", "-e", "signed-integer", "-b", "16", filepath.Join(t.TempDir(), "b.wav"))
	sox.Stdin = bytes.NewReader(write(t, 48000, 2, samples))
	if out, err := sox.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("sox: %v: %s", err, out)
	}
	f, err := os.Open(sox.Args[len(sox.Args)-1])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, got, err := readAll(f, 160)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(samples, got); diff != "" || w.Hz != 48000 || w.Channels != 2 {
		t.Errorf("got %d Hz, %d channels, samples (-want +got):\n%s", w.Hz, w.Channels, diff)
	}
}

// Whatever is read at all can be written and read again as the same.
func FuzzReader(f *testing.F) {
	f.Add(write(f, 8000, 1, ramp(20)))
	f.Add(write(f, 48000, 2, ramp(20)))
	f.Add([]byte(riff(chunk("LIST", "odd"), chunk("fmt ", extensible), chunk("data", "\x01\x00\x02\x00"))))
	f.Add([]byte(riff(chunk("fmt ", pcmMono8k), chunk("data", "abc"))))
	f.Add(writeOf(f, ALaw, 8000, 2, ramp(20)))
	f.Add([]byte("RF64\xff\xff\xff\xffWAVE" + chunk("ds64", strings.Repeat("\x00", 8)+"\x04"+strings.Repeat("\x00", 19)) + chunk("fmt ", pcmMono8k) + "data\xff\xff\xff\xff\x01\x00\x02\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, samples, err := readAll(bytes.NewReader(b), 64)
		if err != nil {
			return
		}
		if len(samples) > len(b) {
			t.Fatalf("got %d samples of %d bytes", len(samples), len(b))
		}
		if len(samples)%w.Channels != 0 {
			t.Fatalf("got %d samples for %d channels", len(samples), w.Channels)
		}
		if int64(w.Hz)*int64(w.Channels)*2 > math.MaxUint32 {
			return // cannot be written
		}
		again, got, err := readAll(bytes.NewReader(writeOf(t, w.Encoding, w.Hz, w.Channels, samples)), 64)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(samples, got); diff != "" || again.Hz != w.Hz || again.Channels != w.Channels {
			t.Fatalf("got %d Hz, %d channels, samples (-want +got):\n%s", again.Hz, again.Channels, diff)
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error)        { return len(b), nil }
func (discard) Seek(n int64, _ int) (int64, error) { return n, nil }

// 20 ms of a recording: two channels at 8 kHz.
func BenchmarkWrite(b *testing.B) {
	w, err := NewWriter(discard{}, 8000, 2)
	if err != nil {
		b.Fatal(err)
	}
	frame := ramp(320)
	b.ReportAllocs()
	b.SetBytes(640)
	for b.Loop() {
		w.dataBytes = 0 // a benchmark writes more than a file holds
		if err := w.Write(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	file := bytes.NewReader(write(b, 8000, 2, ramp(1<<20)))
	frame := make([]int16, 320)
	b.ReportAllocs()
	b.SetBytes(640)
	var r *Reader
	for b.Loop() {
		if r == nil || r.unread < 640 {
			file.Seek(0, io.SeekStart)
			var err error
			if r, err = NewReader(file); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := r.Read(frame); err != nil {
			b.Fatal(err)
		}
	}
}

// A file whose length is known before is the same as one whose header is filled in later, and
// one that turns out otherwise is an error.
func TestSizedWriter(t *testing.T) {
	for _, e := range []Encoding{PCM16, ALaw, MuLaw} {
		for _, frames := range []int{0, 1, 40_001} {
			f, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var sized bytes.Buffer
			w, err := NewWriterOf(f, e, 8000, 1)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSizedWriter(&sized, e, 8000, 1, int64(frames))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range []*Writer{w, s} {
				if err := w.Write(make([]int16, frames)); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(sized.Bytes(), want) {
				t.Errorf("encoding %v, %d frames: got %d bytes, want %d, the same", e, frames, sized.Len(), len(want))
			}
			short, err := NewSizedWriter(io.Discard, e, 8000, 1, int64(frames)+1)
			if err != nil {
				t.Fatal(err)
			}
			if err := short.Write(make([]int16, frames)); err != nil {
				t.Fatal(err)
			}
			if err := short.Close(); err == nil {
				t.Errorf("encoding %v: a file with less than its header says was closed without an error", e)
			}
		}
	}
}
