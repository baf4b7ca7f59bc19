package rtp

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func packet(h Header, payload ...byte) []byte {
	b := make([]byte, HeaderBytes)
	PutHeader(b, h)
	return append(b, payload...)
}

// A header is read as it was written, and the payload is what is left of CSRCs,
// extension and padding.
func TestParse(t *testing.T) {
	plain := Header{Marker: true, PayloadType: 8, Sequence: 65535, Timestamp: 1 << 31, SSRC: 0xdeadbeef}
	b := packet(plain, 1, 2, 3)
	got, err := Parse(b)
	plain.PayloadOffset, plain.PayloadEnd = 12, 15
	if err != nil || got != plain {
		t.Errorf("got %+v, %v, want %+v", got, err, plain)
	}
	full := packet(Header{PayloadType: 0})
	full[0] |= 0x20 | 0x10 | 1                                                // padding, extension, one CSRC
	full = append(full, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 7, 0, 0, 3) // one octet of payload, three of padding
	got, err = Parse(full)
	if err != nil || !bytes.Equal(full[got.PayloadOffset:got.PayloadEnd], []byte{7}) {
		t.Errorf("got %+v, %v, want a payload of one 7", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	with := func(change func(b []byte)) []byte {
		b := packet(Header{PayloadType: 8}, 1, 2, 3)
		change(b)
		return b
	}
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"short":                  {make([]byte, 11), ErrShort},
		"version 0":              {with(func(b []byte) { b[0] = 0 }), ErrVersion},
		"RTCP":                   {with(func(b []byte) { b[1] = 200 }), ErrRTCP},
		"CSRCs beyond the end":   {with(func(b []byte) { b[0] |= 15 }), ErrExtension},
		"extension beyond it":    {with(func(b []byte) { b[0] |= 0x10 }), ErrExtension},
		"padding of 0":           {with(func(b []byte) { b[0] |= 0x20; b[14] = 0 }), ErrPadding},
		"padding beyond payload": {with(func(b []byte) { b[0] |= 0x20; b[14] = 4 }), ErrPadding},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(test.b); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// A key is told once, whichever of its packets come; the next press of the same key
// is another.
func TestKeys(t *testing.T) {
	var k Keys
	take := func(stamp uint32, code byte) byte {
		return k.Take(Header{SSRC: 1, Timestamp: stamp}, []byte{code, 0x80, 0, 160})
	}
	got := []byte{take(1000, 5), take(1000, 5), take(2000, 5), take(1000, 5), take(2000, 5), take(3000, 11), take(4000, 16)}
	if want := []byte{'5', 0, '5', 0, 0, '#', 0}; !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := k.Take(Header{SSRC: 2, Timestamp: 10}, []byte{1, 0, 0, 0}); got != '1' {
		t.Errorf("got %q of a new source, want 1", got)
	}
	if got := k.Take(Header{SSRC: 2, Timestamp: 20}, []byte{1, 0, 0}); got != 0 {
		t.Errorf("got %q of three octets, want none", got)
	}
}

// Loss is what the numbers skip, over their wrap and over a change of the source;
// packets that come late are not lost.
func TestReception(t *testing.T) {
	var r Reception
	at := int64(1e18)
	for i, sequence := range []uint16{65533, 65534, 0, 65535, 3} { // 1 and 2 are lost
		r.Take(Header{SSRC: 1, Sequence: sequence, Timestamp: uint32(160 * i)}, at+int64(i)*20e6, 8000, true)
	}
	if got := r.Lost(); got != 2 {
		t.Errorf("got %d lost, want 2", got)
	}
	r.Take(Header{SSRC: 2, Sequence: 100}, at, 8000, true)
	r.Take(Header{SSRC: 2, Sequence: 102, Timestamp: 320}, at+40e6, 8000, true)
	if got := r.Lost(); got != 3 {
		t.Errorf("got %d lost, want 3", got)
	}
	if got := r.Jitter(); got != 0 {
		t.Errorf("got jitter %v of even packets, want none", got)
	}
	for i := range uint32(2000) { // every second packet 10 ms late: the mean difference is 10 ms
		late := int64(i%2) * 10e6
		r.Take(Header{SSRC: 3, Sequence: uint16(i), Timestamp: 160 * i}, at+int64(i)*20e6+late, 8000, true)
	}
	if got := r.Jitter(); got < 9*time.Millisecond || got > 11*time.Millisecond {
		t.Errorf("got jitter %v, want 10 ms", got)
	}
}

// A sender who goes over to a codec with another clock, and back, has the jitter that his
// packets have.
func TestReceptionOverClocks(t *testing.T) {
	var r Reception
	stamp := uint32(1 << 31)
	for i := range 3000 {
		hz := 8000
		if i/100%2 == 1 {
			hz = 48000
		}
		late := int64(i%2) * 10e6
		r.Take(Header{SSRC: 3, Sequence: uint16(i), Timestamp: stamp}, 1e18+int64(i)*20e6+late, hz, true)
		stamp += uint32(hz / 50)
		if got := r.Jitter(); i > 100 && (got < 9*time.Millisecond || got > 11*time.Millisecond) || r.ClockHz() != hz {
			t.Fatalf("got jitter %v at %d Hz at packet %d, want 10 ms at %d", got, r.ClockHz(), i, hz)
		}
	}
}

// Batches read back as they were written, and a torn one says so.
func TestBatch(t *testing.T) {
	b := AppendCaptured(nil, 1, []byte{1, 2})
	b = AppendCaptured(b, 2, nil)
	if len(b) != CapturedBytes(2)+CapturedBytes(0) {
		t.Errorf("got %d bytes", len(b))
	}
	at, p, rest, err := NextCaptured(b)
	if at != 1 || !bytes.Equal(p, []byte{1, 2}) || err != nil {
		t.Errorf("got %d %v %v", at, p, err)
	}
	if at, p, rest, err = NextCaptured(rest); at != 2 || len(p) != 0 || len(rest) != 0 || err != nil {
		t.Errorf("got %d %v %v %v", at, p, rest, err)
	}
	for n := range CapturedBytes(2) {
		if _, _, _, err := NextCaptured(b[:n]); !errors.Is(err, ErrBatch) {
			t.Errorf("got %v for %d bytes, want ErrBatch", err, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packet(Header{Marker: true, PayloadType: 8}, 1, 2, 3))
	f.Add([]byte{0xb1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 7, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err != nil {
			return
		}
		if h.PayloadOffset < HeaderBytes || h.PayloadOffset > h.PayloadEnd || h.PayloadEnd > len(b) {
			t.Fatalf("got payload %d to %d of %d bytes", h.PayloadOffset, h.PayloadEnd, len(b))
		}
		var k Keys
		k.Take(h, b[h.PayloadOffset:h.PayloadEnd])
	})
}

func FuzzRTCP(f *testing.F) {
	f.Add([]byte{0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 160, 0, 0, 0, 1, 0, 0, 0, 160, 0x81, 203, 0, 1, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseControl(b)
		if err != nil {
			return
		}
		out, err := c.Marshal(1, "name")
		if err != nil {
			return // more blocks than fit
		}
		if _, err := ParseControl(out); err != nil {
			t.Fatalf("wrote RTCP that cannot be read: %v", err)
		}
	})
}
