package oggopus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/media/players"
)

const frame = 960 // 20 ms

// packet returns a packet of that many bytes that says it is 20 ms of SILK.
func packet(size int) []byte {
	b := bytes.Repeat([]byte{byte(size)}, size)
	b[0] = 1 << 3
	return b
}

func open(t testing.TB, c Config) (*Writer, *bytes.Buffer) {
	t.Helper()
	file := new(bytes.Buffer)
	w, err := NewWriter(file, c)
	if err != nil {
		t.Fatal(err)
	}
	return w, file
}

// stream returns a file of packets of the given sizes, ending where the last one does.
func stream(t testing.TB, sizes ...int) []byte {
	t.Helper()
	w, file := open(t, Config{Channels: 2, PreSkip: 312, InputHz: 8000, Serial: 7, Tags: [][2]string{{"ID", "1"}}})
	for _, size := range sizes {
		if err := w.WritePacket(frame, packet(size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(int64(len(sizes))*frame - 312); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// twoStreams is a file of two streams, whose packets have these sizes.
func twoStreams(t testing.TB, sizes ...int) []byte {
	t.Helper()
	w, file := open(t, Config{Channels: 2, Apart: true, PreSkip: 312, InputHz: 8000, Serial: 7})
	for _, size := range sizes {
		if err := w.WritePacket(frame, packet(size), packet(size+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(int64(len(sizes))*frame - 312); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func same(n, size int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// readAll reads every packet of a file.
func readAll(b []byte) (o *Reader, packets [][]byte, err error) {
	o, err = NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	for {
		p, _, err := o.Next()
		if err == io.EOF {
			return o, packets, nil
		}
		if err != nil {
			return o, packets, err
		}
		packets = append(packets, bytes.Clone(p))
	}
}

// pages splits a file that is known to be sound.
func pages(t testing.TB, b []byte) (all []page) {
	t.Helper()
	for r := bytes.NewReader(b); r.Len() > 0; {
		var p page
		if err := p.read(r); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// What the headers said and what was written is read again, packets of every
// number of segments among it.
func TestRoundTrip(t *testing.T) {
	config := Config{Channels: 1, PreSkip: 312, InputHz: 8000, Serial: 0xdeadbeef, Tags: [][2]string{
		{"RECORDING", "0198c5f0-0000-7000-8000-000000000000"}, {"PURPOSE", "kwaliteit – één"}, {"EMPTY", ""}, {"EXPIRES", "a=b"},
	}}
	w, file := open(t, config)
	var want [][]byte
	for _, size := range []int{1, 2, 254, 255, 256, 509, 510, 511, 1276, maxPacketBytes, 3} {
		want = append(want, packet(size))
		if err := w.WritePacket(frame, packet(size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(10*frame + 5 - 312); err != nil {
		t.Fatal(err)
	}
	o, got, err := readAll(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config, Config{o.Channels, o.Streams == 2, o.PreSkip, o.InputHz, o.Serial, o.Tags}); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if total := o.Total48k(); total != 10*frame+5-312 {
		t.Errorf("got %d samples, want %d", total, 10*frame+5-312)
	}
}

// The headers have a page each; then come pages of a second, whose granules
// count all samples so far; the last one alone ends the stream and its granule
// is pre-skip and length.
func TestPages(t *testing.T) {
	w, file := open(t, Config{Channels: 2, PreSkip: 312})
	for range 120 {
		if err := w.WritePacket(frame, packet(80)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(119*frame + 1 - 312); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Flags    byte
		Granule  int64
		Sequence uint32
		Packets  int
	}
	var got []row
	for _, p := range pages(t, file.Bytes()) {
		got = append(got, row{p.flags, p.granule, p.sequence, len(p.lacing)})
	}
	want := []row{
		{begins, 0, 0, 1},
		{0, 0, 1, 1},
		{0, 48000, 2, 50},
		{0, 96000, 3, 50},
		{ends, 119*frame + 1, 4, 20},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

// A page never has more than 255 segments.
func TestPagesOfLargePackets(t *testing.T) {
	b := stream(t, same(49, 255*10)...) // 11 segments each: 23 a page
	var got []int
	for _, p := range pages(t, b)[2:] {
		got = append(got, len(p.lacing))
	}
	if diff := cmp.Diff([]int{253, 253, 33}, got); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
}

// Any length that ends within the last packet can be written, whatever the
// number of packets, and is read again.
func TestTrimsTheEnd(t *testing.T) {
	for _, packets := range []int{1, 2, 49, 50, 51, 100, 101} {
		whole := int64(packets*frame - 312)
		for _, cut := range []int64{0, 1, 312, frame - 313} {
			w, file := open(t, Config{Channels: 1, PreSkip: 312})
			for range packets {
				if err := w.WritePacket(frame, packet(9)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(whole - cut); err != nil {
				t.Fatalf("%d packets less %d samples: %v", packets, cut, err)
			}
			o, _, err := readAll(file.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if got := o.Total48k(); got != whole-cut {
				t.Errorf("%d packets: got %d samples, want %d", packets, got, whole-cut)
			}
		}
	}
}

// An end that the packets do not reach, or that would cut off more than the last
// page, is refused.
func TestCloseRefuses(t *testing.T) {
	for _, c := range []struct {
		packets int
		total   int64
	}{
		{0, 0}, {1, -1}, {1, frame - 312 + 1}, {51, 48000 - 312}, {51, 0},
	} {
		w, _ := open(t, Config{Channels: 1, PreSkip: 312})
		for range c.packets {
			if err := w.WritePacket(frame, packet(9)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(c.total); err == nil {
			t.Errorf("got %d packets closed with a length of %d", c.packets, c.total)
		}
	}
}

// Headers that the format cannot hold, or that players would stumble over, are refused.
func TestNewWriterRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no channels":    {},
		"3 channels":     {Channels: 3},
		"pre-skip":       {Channels: 1, PreSkip: 1 << 16},
		"negative":       {Channels: 1, PreSkip: -1},
		"rate":           {Channels: 1, InputHz: -1},
		"mono apart":     {Channels: 1, Apart: true},
		"tag with =":     {Channels: 1, Tags: [][2]string{{"A=B", "c"}}},
		"tag without":    {Channels: 1, Tags: [][2]string{{"", "c"}}},
		"tag in UTF-8":   {Channels: 1, Tags: [][2]string{{"É", "c"}}},
		"tag not UTF-8":  {Channels: 1, Tags: [][2]string{{"A", "\xff"}}},
		"tags of 64 KiB": {Channels: 1, Tags: [][2]string{{"A", strings.Repeat("b", 1<<16)}}},
	} {
		file := new(bytes.Buffer)
		if _, err := NewWriter(file, c); err == nil || file.Len() > 0 {
			t.Errorf("%s: got %v and %d bytes, want an error and none", name, err, file.Len())
		}
	}
}

// A packet whose duration is not the one it says itself would shift all that
// follows: refused.
func TestWritePacketRefuses(t *testing.T) {
	w, _ := open(t, Config{Channels: 1})
	for name, c := range map[string]struct {
		packet  []byte
		samples int
	}{
		"empty":       {nil, frame},
		"duration":    {packet(3), frame / 2},
		"no duration": {packet(3), 0},
		"size":        {packet(maxPacketBytes + 1), frame},
	} {
		if err := w.WritePacket(c.samples, c.packet); err == nil {
			t.Errorf("%s: got the packet written", name)
		}
	}
}

// Of two streams a packet holds one of each; they are told apart again, and one of them
// alone, three, or two that do not last equally long are refused.
func TestApart(t *testing.T) {
	w, file := open(t, Config{Channels: 2, Apart: true, PreSkip: 312})
	var want [][2][]byte
	for _, sizes := range [][2]int{{1, 1}, {3, 700}, {300, 2}, {1276, 1276}, {1, 40}} {
		packets := [2][]byte{packet(sizes[0]), packet(sizes[1])}
		want = append(want, packets)
		if err := w.WritePacket(frame, packets[0], packets[1]); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"one":     w.WritePacket(frame, packet(3)),
		"three":   w.WritePacket(frame, packet(3), packet(3), packet(3)),
		"shorter": w.WritePacket(frame, packet(3), []byte{0}),
		"none":    w.WritePacket(frame, packet(3), nil),
		"broken":  w.WritePacket(frame, []byte{3, 2, 1}, packet(3)),
	} {
		if err == nil {
			t.Errorf("%s: got the packets written", name)
		}
	}
	if err := w.Close(4 * frame); err != nil {
		t.Fatal(err)
	}
	o, packets, err := readAll(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if o.Channels != 2 || o.Streams != 2 || o.Total48k() != 4*frame {
		t.Errorf("got %d channels in %d streams, %d samples; want 2 in 2, %d", o.Channels, o.Streams, o.Total48k(), 4*frame)
	}
	var got [][2][]byte
	for _, p := range packets {
		split, err := o.Split(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, [2][]byte{bytes.Clone(split[0]), bytes.Clone(split[1])})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

// A packet may go on over pages, as other muxers write it.
func TestReadsContinuedPackets(t *testing.T) {
	file := pages(t, stream(t, 10))[:2]
	long := packet(700)
	var b []byte
	for i, p := range append(file,
		page{granule: noGranule, lacing: []byte{255, 255}, body: long[:510]},
		page{granule: frame + 960, lacing: []byte{190, 4}, body: append(long[510:], packet(4)...), flags: continued | ends},
	) {
		p.serial, p.sequence = file[0].serial, uint32(i)
		b = p.appendTo(b)
	}
	o, got, err := readAll(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{packet(700), packet(4)}, got); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if want := int64(2*frame - 312); o.Total48k() != want {
		t.Errorf("got %d samples, want %d", o.Total48k(), want)
	}
}

// A file cut anywhere is an unexpected end.
func TestTorn(t *testing.T) {
	b := stream(t, same(60, 5)...)
	for n := range b {
		if _, _, err := readAll(b[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d: got %v, want %v", n, len(b), err, io.ErrUnexpectedEOF)
		}
	}
}

// A file with one flipped bit anywhere is an error.
func TestFlippedBits(t *testing.T) {
	b := stream(t, same(60, 5)...)
	for n := range len(b) * 8 {
		flipped := bytes.Clone(b)
		flipped[n/8] ^= 1 << (n % 8)
		if _, _, err := readAll(flipped); err == nil {
			t.Fatalf("bit %d of byte %d: got no error", n%8, n/8)
		}
	}
}

// Pages that are sound in themselves but do not follow each other, and headers
// that say what is not read, are refused with the reason.
func TestReaderRefuses(t *testing.T) {
	good := pages(t, stream(t, same(60, 5)...))
	for name, c := range map[string]struct {
		change func([]page) []page
		want   string
	}{
		"lost page":       {func(p []page) []page { return append(p[:2], p[3:]...) }, "page 3 where 2"},
		"other serial":    {func(p []page) []page { p[2].serial++; return p }, "another stream"},
		"second begin":    {func(p []page) []page { p[2].flags |= begins; return p }, "another stream"},
		"no begin":        {func(p []page) []page { p[0].flags = 0; return p }, "another stream"},
		"continues none":  {func(p []page) []page { p[2].flags |= continued; return p }, "not what the page before began"},
		"ends in packet":  {func(p []page) []page { p[3].lacing = []byte{255}; p[3].body = make([]byte, 255); return p }, "unexpected EOF"},
		"empty packet":    {func(p []page) []page { p[2].lacing = []byte{0}; p[2].body = nil; return p }, "not an Opus packet"},
		"not Opus":        {func(p []page) []page { p[0].body[0] = 'o'; return p }, "not an OpusHead"},
		"short OpusHead":  {func(p []page) []page { p[0].lacing[0]--; p[0].body = p[0].body[:18]; return p }, "not an OpusHead"},
		"version":         {func(p []page) []page { p[0].body[8] = 0x10; return p }, "version 16"},
		"surround":        {func(p []page) []page { p[0].body[18] = 1; return p }, "mapping family 1"},
		"6 channels":      {func(p []page) []page { p[0].body[9] = 6; return p }, "6 channels"},
		"gain":            {func(p []page) []page { p[0].body[16] = 1; return p }, "gain"},
		"no OpusTags":     {func(p []page) []page { p[1].body[0] = 'o'; return p }, "not an OpusTags"},
		"vendor too long": {func(p []page) []page { p[1].body[8] = 255; return p }, "not an OpusTags"},
		"tags too many":   {func(p []page) []page { p[1].body[19] = 2; return p }, "tag 1 of 2"},
		"tag without =":   {func(p []page) []page { p[1].body[len(p[1].body)-2] = ':'; return p }, "tag \"ID:1\""},
		"audio on header": {func(p []page) []page { p[1].add(packet(5)); return p }, "behind a header"},
		"ends early":      {func(p []page) []page { p[0].flags |= ends; return p }, "unexpected EOF"},
		"endless packet": {func(p []page) []page {
			for i := range 20 {
				full := page{lacing: bytes.Repeat([]byte{255}, 255), body: make([]byte, 255*255), serial: 7, sequence: uint32(4 + i), flags: continued}
				p = append(p, full)
			}
			p[3].flags, p[4].flags = 0, 0
			return p
		}, "more than 1048576 bytes"},
	} {
		var b []byte
		for _, p := range c.change(clone(good)) {
			b = p.appendTo(b)
		}
		if _, _, err := readAll(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one that says %q", name, err, c.want)
		}
	}
}

func clone(all []page) []page {
	out := make([]page, len(all))
	for i, p := range all {
		p.lacing, p.body = bytes.Clone(p.lacing), bytes.Clone(p.body)
		out[i] = p
	}
	return out
}

// Whatever packets are written, opus-tools find the file sound and of the right length.
func TestOpusinfo(t *testing.T) {
	players.Need(t, "opusinfo")
	w, file := open(t, Config{Channels: 2, PreSkip: 312, InputHz: 8000, Serial: 42, Tags: [][2]string{{"PURPOSE", "kwaliteit"}}})
	for i := range 501 {
		if err := w.WritePacket(frame, packet(40+i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(10 * 48000); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "a.opus")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("opusinfo", name).CombinedOutput()
	if err != nil {
		t.Fatalf("opusinfo: %v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("WARNING")) {
		t.Errorf("got warnings:\n%s", out)
	}
	for _, want := range []string{"PURPOSE=kwaliteit", "Pre-skip: 312", "Playback gain: 0 dB", "Channels: 2", "Original sample rate: 8000 Hz", "Playback length: 0m:10.000s", "Logical stream 1 ended"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("got no %q in:\n%s", want, out)
		}
	}
}

// ffprobe finds the length and the tags.
func TestFFprobe(t *testing.T) {
	players.Need(t, "ffprobe")
	probe := exec.Command("ffprobe", "-v", "warning", "-show_entries", "format=duration:stream=codec_name,channels,sample_rate,initial_padding:stream_tags", "-of", "flat", "-")
	probe.Stdin = bytes.NewReader(stream(t, same(100, 80)...))
	out, err := probe.CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, out)
	}
	for _, want := range []string{`codec_name="opus"`, `channels=2`, `sample_rate="48000"`, `tags.ID="1"`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("got no %q in:\n%s", want, out)
		}
	}
}

// Any packets come out as they went in, and no page is longer than a second.
func TestAnyPackets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, file := open(t, Config{Channels: 1})
		var want [][]byte
		total := int64(0)
		for _, p := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 600), 1, 80).Draw(rt, "packets") {
			samples, err := opus.Samples(p)
			if err != nil {
				continue
			}
			if err := w.WritePacket(samples, p); err != nil {
				rt.Fatal(err)
			}
			want = append(want, p)
			total += int64(samples)
		}
		if len(want) == 0 {
			return
		}
		if err := w.Close(total); err != nil {
			rt.Fatal(err)
		}
		o, got, err := readAll(file.Bytes())
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || o.Total48k() != total {
			rt.Fatalf("got %d samples, want %d; packets (-want +got):\n%s", o.Total48k(), total, diff)
		}
		begin := int64(0)
		for _, p := range pages(t, file.Bytes()) {
			if p.granule-begin > maxPageSamples {
				rt.Fatalf("got a page of %d samples", p.granule-begin)
			}
			begin = p.granule
		}
	})
}

// Whatever is read at all can be written and read again as the same. The
// checksums are put right first: chance does not find them.
func FuzzReader(f *testing.F) {
	f.Add(stream(f, 10))
	f.Add(stream(f, same(60, 5)...))
	f.Add(stream(f, 255, 700, 1))
	f.Add(twoStreams(f, 3, 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, packets, err := readAll(repaired(b))
		if err != nil {
			return
		}
		file := new(bytes.Buffer)
		w, err := NewWriter(file, Config{o.Channels, o.Streams == 2, o.PreSkip, o.InputHz, o.Serial, o.Tags})
		if err != nil {
			if tags, err := tagsBytes(o.Tags); err != nil || len(tags) <= maxPacketBytes {
				t.Fatal(err)
			}
			return // tags that fit in no page of ours
		}
		total := int64(0)
		for _, p := range packets {
			samples, err := opus.Samples(p)
			if err != nil {
				t.Fatalf("got a packet that is none: %v", err)
			}
			if len(p) > maxPacketBytes {
				return // fits in no page of ours
			}
			if o.Streams == 2 {
				split, err := o.Split(p)
				if err != nil {
					return // the reader leaves what is behind a packet's first bytes to who decodes it
				}
				if err := w.WritePacket(samples, split[0], split[1]); err != nil {
					return // they do not last equally long, or the second is none
				}
			} else if err := w.WritePacket(samples, p); err != nil {
				t.Fatal(err)
			}
			total += int64(samples)
		}
		if err := w.Close(total - int64(o.PreSkip)); err != nil {
			return // shorter than its pre-skip
		}
		again, got, err := readAll(file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if o.Streams == 2 { // padding is left out
			for i := range packets {
				want, _ := o.Split(packets[i])
				want[0] = bytes.Clone(want[0])
				if split, err := again.Split(got[i]); err != nil || !bytes.Equal(split[0], want[0]) || !bytes.Equal(split[1], want[1]) {
					t.Fatalf("packet %d: got % x, %v; want % x", i, split, err, want)
				}
			}
		} else if diff := cmp.Diff(packets, got); diff != "" {
			t.Fatalf("packets (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(o.Tags, again.Tags); diff != "" {
			t.Fatalf("tags (-want +got):\n%s", diff)
		}
	})
}

// repaired gives every page the checksum that it should have.
func repaired(b []byte) []byte {
	b = bytes.Clone(b)
	for rest := b; ; {
		at := bytes.Index(rest, []byte(pageMagic))
		if at < 0 || len(rest)-at < pageHeaderBytes {
			return b
		}
		rest = rest[at:]
		end := pageHeaderBytes + int(rest[pageHeaderBytes-1])
		if end > len(rest) {
			return b
		}
		for _, n := range rest[pageHeaderBytes:end] {
			end += int(n)
		}
		if end > len(rest) {
			return b
		}
		binary.LittleEndian.PutUint32(rest[crcOffset:], 0)
		binary.LittleEndian.PutUint32(rest[crcOffset:], checksum(0, rest[:end]))
		rest = rest[end:]
	}
}

func BenchmarkWritePacket(b *testing.B) {
	for _, size := range []int{80, 160} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			w, err := NewWriter(io.Discard, Config{Channels: 2, PreSkip: 312})
			if err != nil {
				b.Fatal(err)
			}
			p := packet(size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if err := w.WritePacket(frame, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	file := stream(b, same(5000, 80)...)
	b.ReportAllocs()
	b.SetBytes(80)
	var o *Reader
	for b.Loop() {
		if o == nil {
			var err error
			if o, err = NewReader(bytes.NewReader(file)); err != nil {
				b.Fatal(err)
			}
		}
		if _, _, err := o.Next(); err == io.EOF {
			o = nil
		} else if err != nil {
			b.Fatal(err)
		}
	}
}
