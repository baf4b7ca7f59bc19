package finalize

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
)

// Whatever both parties send, in whatever order and whenever it arrives: it
// becomes a recording of the capture's length. Input is packets, each behind
//
//	| leg, kind | arrival (10 ms after the last, signed) | length |
//
// kind 0 takes the bytes that follow as they are; the others put them into a
// packet that is RTP, with sequence number and timestamp from the first bytes. With the
// highest bit they are a sender report: NTP, timestamp, sender.
func FuzzPackets(f *testing.F) {
	good := packetOf(8, false, 1, 160, 7, make([]byte, 20))
	f.Add(append([]byte{0, 2, byte(len(good))}, good...))
	f.Add([]byte{2, 2, 4, 0, 1, 0, 160, 3, 2, 4, 0, 2, 1, 64, 2, 2, 4, 0, 2, 1, 64})
	f.Add([]byte{2, 127, 4, 255, 255, 255, 255, 2, 127, 5, 0, 0, 0, 0, 9, 4, 127, 4, 128, 0, 0, 0, 2, 200, 4, 0, 1, 0, 160})
	f.Add([]byte{2, 2, 4, 0, 1, 0, 160, 0x80, 2, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 160, 0, 1, 0, 0, 0, 2, 2, 4, 0, 2, 1, 64})
	f.Fuzz(func(t *testing.T, b []byte) {
		feed(t, b, 8000, nil)
		feed(t, b, 16000, linear(8000, 16000))
	})
}

// feed makes a recording of packets, in which payload type 0 has that coding unless
// it is nil.
func feed(t *testing.T, b []byte, hz int64, other *coding) {
	c := &capture{}
	out := &sink{}
	rec := newRecording(c.header(), newStereo(hz, []output{out}))
	if other != nil {
		for _, track := range rec.tracks {
			track.codings[0] = []use{{-1 << 63, other}}
		}
	}
	at := time.Duration(0)
	for len(b) >= 3 {
		control, n := b[0], min(int(b[2]), len(b)-3)
		at += time.Duration(int8(b[1])) * 10 * ms
		raw := b[3 : 3+n]
		b = b[3+n:]
		if control >= 0x80 && n >= 16 {
			report := rtp.Reported{
				SSRC: uint32(control >> 3 & 0xf), NTP: binary.BigEndian.Uint64(raw), Timestamp: binary.BigEndian.Uint32(raw[8:]), Sender: uint32(raw[12]),
			}
			if err := rec.event(spool.Event{Kind: spool.SenderReported, At: began.Add(at), Leg: rtp.Leg(control & 1), Report: &report}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if kind := control >> 1 & 3; kind > 0 && n >= 4 {
			raw = packetOf([]uint8{8, 0, 101}[kind-1], false,
				uint16(raw[0])<<8|uint16(raw[1]), uint32(raw[2])<<24|uint32(raw[3])<<8, uint32(control>>3), raw[4:])
		}
		batch := rtp.AppendCaptured(nil, began.Add(at).UnixNano(), raw)
		if err := rec.batch(spool.Batch{Leg: rtp.Leg(control & 1), Packets: batch}); err != nil {
			t.Fatal(err)
		}
	}
	var packets uint64
	for _, track := range rec.tracks {
		leg := track.close()
		packets += leg.Packets
		if track.held != 0 {
			t.Errorf("got %d bytes held after the end, want none", track.held)
		}
		if leg.Late+leg.Duplicates+leg.Unknown > leg.Packets {
			t.Errorf("got leg %+v, want no more late, double and unknown than there are", leg)
		}
	}
	if err := rec.stereo.close(samplesAt(rec.last, hz)); err != nil {
		t.Fatal(err)
	}
	if want := max(samplesAt(rec.last, hz), 0); out.frames != want {
		t.Errorf("got %d frames of %d packets, want %d", out.frames, packets, want)
	}
}
