package finalize

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// Whatever a party sends that is not what it says: it is counted, and what comes
// before and after stays where it is.
func TestBadPackets(t *testing.T) {
	with := func(change func(b []byte)) func(good []byte) []byte {
		return func(good []byte) []byte {
			b := bytes.Clone(good)
			change(b)
			return b
		}
	}
	for name, bad := range map[string]func(good []byte) []byte{
		"empty":                        func([]byte) []byte { return nil },
		"one octet":                    func([]byte) []byte { return []byte{0x80} },
		"a header's half":              func(good []byte) []byte { return good[:7] },
		"another version":              with(func(b []byte) { b[0] = 1 << 6 }),
		"RTCP":                         with(func(b []byte) { b[1] = 200 }),
		"STUN":                         func([]byte) []byte { return []byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl") },
		"DTLS":                         func([]byte) []byte { return []byte("\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x30") },
		"CSRCs beyond the end":         func(good []byte) []byte { return append([]byte{good[0] | 15}, good[1:40]...) },
		"an extension beyond the end":  with(func(b []byte) { b[0] |= 0x10; binary.BigEndian.PutUint16(b[14:], 0xffff) }),
		"an extension without length":  func(good []byte) []byte { return append([]byte{good[0] | 0x10}, good[1:14]...) },
		"padding of none":              with(func(b []byte) { b[0] |= 0x20; b[len(b)-1] = 0 }),
		"padding beyond the payload":   with(func(b []byte) { b[0] |= 0x20; b[len(b)-1] = 161 }),
		"more audio than fits packets": func(good []byte) []byte { return append(bytes.Clone(good), make([]byte, 65_000)...) },
	} {
		c := &capture{length: 20 * time.Second}
		said := noise(1)
		p := newParty(rtp.Caller, said)
		c.send(p, 10*time.Second, ideal)
		at, good := p.next()
		c.add(p.leg, at, bad(good))
		c.send(p, c.length, ideal)
		result, channels := finalized(t, c)
		wantAudio(t, channels[0], 0, 10*time.Second, said)
		wantSilence(t, channels[0], 10*time.Second, 10020*ms)
		wantAudio(t, channels[0], 10020*ms, c.length, said)
		if got := result.Legs[0]; got.Invalid != 1 || got.Lost != 1 || got.Moves != 0 || got.Streams != 1 {
			t.Errorf("got leg %+v, want one invalid, so one lost", got)
		}
		if t.Failed() {
			t.Fatalf("the packet is %s", name)
		}
	}
}

// Padding, CSRCs and an extension that are as they say are no audio, and no harm; a
// packet without payload is none either.
func TestPackedPackets(t *testing.T) {
	c := &capture{length: 10 * time.Second}
	said := noise(1)
	p := newParty(rtp.Caller, said)
	for n := 0; p.from < c.length; n++ {
		if n == 250 {
			c.add(p.leg, p.from, packetOf(8, false, p.sequence, p.timestamp, p.ssrc, nil))
			p.sequence++
		}
		at, raw := p.next()
		header, payload := bytes.Clone(raw[:rtp.HeaderBytes]), raw[rtp.HeaderBytes:]
		switch n % 4 {
		case 1:
			header[0] |= 2
			header = append(header, "ssrcSSRC"...)
		case 2:
			header[0] |= 0x10
			header = append(header, 0xbe, 0xde, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8)
		case 3:
			header[0] |= 0x20
			payload = append(payload, 9, 9, 9, 4)
		}
		c.add(p.leg, at, append(header, payload...))
	}
	result, channels := finalized(t, c)
	wantAudio(t, channels[0], 0, c.length, said)
	if got := result.Legs[0]; got.Invalid != 0 || got.Lost != 0 || got.Moves != 0 || got.Streams != 1 {
		t.Errorf("got leg %+v, want nothing wrong", got)
	}
}

// A batch that is not what its frame says costs that batch.
func TestMalformedBatch(t *testing.T) {
	c := &capture{}
	rec := newRecording(c.header(), newStereo(8000, nil))
	batch := rtp.AppendCaptured(nil, began.Add(20*ms).UnixNano(), packetOf(8, false, 1, 160, 1, make([]byte, 160)))
	if err := rec.batch(spool.Batch{Packets: batch[:len(batch)-1]}); err != nil {
		t.Fatal(err)
	}
	if err := rec.batch(spool.Batch{Packets: append(batch, 1, 2, 3)}); err != nil {
		t.Fatal(err)
	}
	if got := rec.tracks[0].close(); got.Packets != 1 || rec.malformed != 2 {
		t.Errorf("got %d packets and %d malformed batches, want 1 and 2", got.Packets, rec.malformed)
	}
}

// Whatever happens to a spool on the disk, what is made of it is the recording with
// gaps: every sample is where it was, or silence. Input is changes of the spool, each
//
//	| kind | place, in 1/65536 of the file | value |
//
// that flip bits, cut the end off, cut a piece out, or put a piece in twice.
func FuzzDamagedSpool(f *testing.F) {
	c := &capture{length: 2 * time.Second}
	c.send(newParty(rtp.Caller, noise(1)), c.length, ideal)
	c.send(newParty(rtp.Callee, noise(2)), c.length, ideal)
	path := c.write(f, f.TempDir())
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	_, want := made(f, path)
	f.Add([]byte{0, 128, 0, 1})
	f.Add([]byte{1, 200, 17, 0})
	f.Add([]byte{2, 64, 0, 255, 0, 100, 0, 3})
	f.Add([]byte{3, 64, 0, 200, 3, 128, 0, 255})
	f.Add([]byte{0, 0, 9, 1})
	f.Add([]byte{2, 3, 0, 255})
	f.Fuzz(func(t *testing.T, changes []byte) {
		path := filepath.Join(t.TempDir(), "call.spool")
		if err := os.WriteFile(path, damaged(whole, changes), 0o600); err != nil {
			t.Fatal(err)
		}
		out := directory(t)
		result, err := Run(t.Context(), Job{Spool: path, Keys: plainly{}, Create: into(t, out), Formats: []string{WAV}})
		if err != nil {
			if !errors.Is(err, spool.ErrHeader) {
				t.Fatalf("got %v, want a recording, or that it is no spool", err)
			}
			if files := filesUnder(t, out); files != nil {
				t.Errorf("got files %q with the error, want none", files)
			}
			return
		}
		got := readWAV(t, filepath.Join(out.Name(), result.Files[0].Path))
		for channel := range got {
			if len(got[channel]) > len(want[channel]) {
				t.Fatalf("got %d samples, want at most %d", len(got[channel]), len(want[channel]))
			}
			for i, sample := range got[channel] {
				if sample != 0 && sample != want[channel][i] {
					t.Fatalf("channel %d, sample %d: got %d, want %d or silence", channel, i, sample, want[channel][i])
				}
			}
		}
	})
}

// damaged returns a spool with changes.
func damaged(whole, changes []byte) []byte {
	b := bytes.Clone(whole)
	for ; len(changes) >= 4 && len(b) > 0; changes = changes[4:] {
		at := len(b) * (int(changes[1])<<8 | int(changes[2])) >> 16
		value := int(changes[3])
		piece := min(value*16, len(b)-at)
		switch changes[0] & 3 {
		case 0:
			b[at] ^= byte(value)
		case 1:
			b = b[:at]
		case 2:
			b = append(b[:at], b[at+piece:]...)
		case 3:
			if len(b) < 4*len(whole) {
				b = slices.Concat(b[:at+piece], b[at:])
			}
		}
	}
	return b
}
