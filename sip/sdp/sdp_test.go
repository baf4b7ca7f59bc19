package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n") }

func parse(t *testing.T, body []byte) *Description {
	t.Helper()
	d, err := Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var asterisk = text(
	"v=0", "o=- 1234 1234 IN IP4 10.0.0.5", "s=Asterisk", "c=IN IP4 10.0.0.5", "t=0 0",
	"m=audio 10000 RTP/AVP 8 0 9 18 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:9 G722/8000",
	"a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=maxptime:150", "a=sendrecv",
)

// ports has one stream at a port of ours, and the others refused.
func ports(d *Description, m *Media, port uint16) []uint16 {
	p := make([]uint16, len(d.Media))
	for i := range d.Media {
		if d.Media[i] == m {
			p[i] = port
		}
	}
	return p
}

// What is not touched comes out as it went in.
func TestBytesKeepsLines(t *testing.T) {
	if got := parse(t, asterisk).Bytes(); !bytes.Equal(got, asterisk) {
		t.Errorf("got\n%s\nwant\n%s", got, asterisk)
	}
}

// Peers that end lines with LF, leave out s= and t=, or write an o= that is not
// numeric are understood.
func TestParseIsTolerant(t *testing.T) {
	d := parse(t, []byte("v=0\no=alice x y IN IP4 h.example\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n"))
	m, err := d.Audio()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Codecs(); len(got) != 1 || got[0].Name != "PCMU" {
		t.Errorf("got codecs %v, want PCMU by its static payload type", got)
	}
	d.Locate(Origin{1, 1, netip.MustParseAddr("198.51.100.1")}, ports(d, m, 20000))
	want := text("v=0", "o=- 1 1 IN IP4 198.51.100.1", "s=-", "c=IN IP4 198.51.100.1", "t=0 0", "m=audio 20000 RTP/AVP 0")
	if got := d.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"nothing":         {"", "does not begin with v="},
		"not a line":      {"v=0\r\nhello\r\n", "line 2 of session description: not of the form"},
		"port too high":   {"v=0\r\nm=audio 70000 RTP/AVP 0\r\n", "port is not a number up to 65535"},
		"m= without port": {"v=0\r\nm=audio\r\n", "fewer than three fields"},
		"too many":        {"v=0\r\n" + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", 33), "more than 32 streams"},
		"too long":        {"v=0\r\n" + strings.Repeat("a=x\r\n", 20000), "at most 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(test.body)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
		})
	}
}

// Audio is the first stream that is on and plain RTP.
func TestAudio(t *testing.T) {
	for name, test := range map[string]struct {
		media string
		want  int // port, 0 for none
	}{
		"first":       {"m=audio 4000 RTP/AVP 8\r\nm=audio 5000 RTP/AVP 8\r\n", 4000},
		"after video": {"m=video 4000 RTP/AVP 96\r\nm=audio 5000 RTP/AVP 8\r\n", 5000},
		"refused":     {"m=audio 0 RTP/AVP 8\r\n", 0},
		"protected":   {"m=audio 4000 RTP/SAVP 8\r\n", 4000},
		"over TCP":    {"m=audio 4000 TCP/RTP/AVP 8\r\n", 0},
		"fax":         {"m=image 4000 udptl t38\r\n", 0},
		"none":        {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parse(t, []byte("v=0\r\n"+test.media)).Audio()
			if test.want == 0 {
				if !errors.Is(err, ErrNoAudio) {
					t.Errorf("got %v, want ErrNoAudio", err)
				}
				return
			}
			if err != nil || m.Port != test.want {
				t.Errorf("got %+v, %v, want port %d", m, err, test.want)
			}
		})
	}
}

func TestRTP(t *testing.T) {
	for name, test := range map[string]struct {
		session, media string
		rtp, rtcp      string
		fails          bool
	}{
		"session's address":    {"c=IN IP4 192.0.2.1", "", "192.0.2.1:4000", "192.0.2.1:4001", false},
		"stream's address":     {"c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.2", "192.0.2.2:4000", "192.0.2.2:4001", false},
		"with TTL":             {"c=IN IP4 192.0.2.1/127", "", "192.0.2.1:4000", "192.0.2.1:4001", false},
		"IPv6":                 {"c=IN IP6 2001:db8::1", "", "[2001:db8::1]:4000", "[2001:db8::1]:4001", false},
		"a=rtcp port":          {"c=IN IP4 192.0.2.1", "a=rtcp:5005", "192.0.2.1:4000", "192.0.2.1:5005", false},
		"a=rtcp address":       {"c=IN IP4 192.0.2.1", "a=rtcp:5005 IN IP4 192.0.2.9", "192.0.2.1:4000", "192.0.2.9:5005", false},
		"a host name":          {"c=IN IP4 host.example", "", "", "", true},
		"no address":           {"", "", "", "", true},
		"a=rtcp out of bounds": {"c=IN IP4 192.0.2.1", "a=rtcp:70000", "192.0.2.1:4000", "192.0.2.1:4001", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := parse(t, []byte(fmt.Sprintf("v=0\r\n%s\r\nm=audio 4000 RTP/AVP 8\r\n%s\r\n", test.session, test.media)))
			rtp, rtcp, err := d.RTP(d.Media[0])
			if (err != nil) != test.fails {
				t.Fatalf("got error %v, want one: %v", err, test.fails)
			}
			if err == nil && (rtp.String() != test.rtp || rtcp.String() != test.rtcp) {
				t.Errorf("got %v and %v, want %v and %v", rtp, rtcp, test.rtp, test.rtcp)
			}
		})
	}
}

func recordable(c Codec) bool { return c.Name == "PCMA" || c.Name == "PCMU" || c.Event() }

// Keep takes out what is not wanted with its attributes, and leaves the order.
func TestKeep(t *testing.T) {
	d := parse(t, asterisk)
	if n := d.Media[0].Keep(recordable); n != 3 {
		t.Errorf("got %d formats, want 3", n)
	}
	want := text(
		"v=0", "o=- 1234 1234 IN IP4 10.0.0.5", "s=Asterisk", "c=IN IP4 10.0.0.5", "t=0 0",
		"m=audio 10000 RTP/AVP 8 0 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=maxptime:150", "a=sendrecv",
	)
	if diff := cmp.Diff(string(want), string(d.Bytes())); diff != "" {
		t.Error(diff)
	}
}

// Our offer tells of our address alone: no key, no candidate, no second stream.
func TestLocate(t *testing.T) {
	d := parse(t, text(
		"v=0", "o=alice 1 1 IN IP4 10.0.0.5", "s=secret project", "i=about", "c=IN IP4 10.0.0.5", "t=0 0", "a=group:BUNDLE 0 1", "a=ice-lite", "a=tool:x",
		"m=audio 10000 RTP/AVP 8", "c=IN IP4 10.0.0.6", "a=candidate:1 1 UDP 1 10.0.0.5 10000 typ host", "a=rtcp:10001", "a=ptime:20", "a=ssrc:1 cname:alice",
		"m=video 10002 RTP/AVP 96 97", "c=IN IP4 10.0.0.6", "a=rtpmap:96 H264/90000",
	))
	m, _ := d.Audio()
	d.Locate(Origin{7, 2, netip.MustParseAddr("2001:db8::1")}, ports(d, m, 20000))
	want := text(
		"v=0", "o=- 7 2 IN IP6 2001:db8::1", "s=-", "c=IN IP6 2001:db8::1", "t=0 0", "a=tool:x",
		"m=audio 20000 RTP/AVP 8", "a=ptime:20", "m=video 0 RTP/AVP 96",
	)
	if diff := cmp.Diff(string(want), string(d.Bytes())); diff != "" {
		t.Error(diff)
	}
}

// The offer's profile stays: an answer must have it (RFC 3264 §6).
func TestLocateKeepsProfile(t *testing.T) {
	d := parse(t, text("v=0", "c=IN IP4 10.0.0.5", "m=audio 10000 RTP/AVPF 8", "a=rtcp-fb:* nack"))
	m, err := d.Audio()
	if err != nil {
		t.Fatal(err)
	}
	d.Locate(Origin{1, 1, netip.MustParseAddr("198.51.100.1")}, ports(d, m, 20000))
	if got := string(d.Bytes()); !strings.Contains(got, "m=audio 20000 RTP/AVPF 8\r\n") || strings.Contains(got, "rtcp-fb") {
		t.Errorf("got %q, want the profile, without feedback that is not relayed", got)
	}
}

// Our early answer takes the wanted codecs, mirrors the direction and keeps the
// number of streams (RFC 3264 §6).
func TestAnswer(t *testing.T) {
	offer := parse(t, bytes.Replace(asterisk, []byte("a=sendrecv"), []byte("a=sendonly"), 1))
	answer, err := Answer(offer, recordable)
	if err != nil {
		t.Fatal(err)
	}
	answer.Locate(Origin{9, 1, netip.MustParseAddr("198.51.100.1")}, []uint16{30000})
	want := text(
		"v=0", "o=- 9 1 IN IP4 198.51.100.1", "s=-", "c=IN IP4 198.51.100.1", "t=0 0",
		"m=audio 30000 RTP/AVP 8 0 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=maxptime:150", "a=recvonly",
	)
	if diff := cmp.Diff(string(want), string(answer.Bytes())); diff != "" {
		t.Error(diff)
	}
	if !bytes.Contains(offer.Bytes(), []byte("a=sendonly")) {
		t.Error("the offer was changed")
	}
	if _, err := Answer(offer, func(c Codec) bool { return c.Name == "AMR" }); !errors.Is(err, ErrNoAudio) {
		t.Errorf("got %v for an offer without a wanted codec, want ErrNoAudio", err)
	}
}

// Whatever is read can be written, and what is written is read alike.
func FuzzParse(f *testing.F) {
	f.Add(asterisk)
	f.Add([]byte("v=0\no=alice x y IN IP4 h.example\nc=IN IP4 192.0.2.1\nm=audio 4000/2 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000/1\na=rtcp:4001 IN IP6 ::1\n"))
	f.Add([]byte("v=0\r\nm=image 4000 udptl t38\r\nm=audio 0 RTP/AVP\r\na=inactive\r\n"))
	f.Add([]byte("v=0\na=record:on\na=recordpref:OFF\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=recordpref:pause\na=recordpref:nopreference\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := Parse(body)
		if err != nil {
			return
		}
		again, err := Parse(d.Bytes())
		if err != nil {
			t.Fatalf("got error %v for what was written: %q", err, d.Bytes())
		}
		if !bytes.Equal(again.Bytes(), d.Bytes()) {
			t.Fatalf("got %q, want %q", again.Bytes(), d.Bytes())
		}
		m, err := d.Audio()
		if err != nil {
			return
		}
		d.RTP(m)
		d.Direction(m)
		d.Fingerprints(m)
		d.Setup(m, ActPass)
		switch pref := d.RecordPref(m); pref {
		case "", PrefOn, PrefOff, PrefPause, PrefNone:
		default:
			t.Fatalf("got %q, which nobody can want", pref)
		}
		streams := len(d.Media)
		if answer, err := Answer(d, recordable); err == nil && len(answer.Media) != streams {
			t.Fatalf("got %d streams in the answer, want %d", len(answer.Media), streams)
		}
		d.Locate(Origin{1, 1, netip.IPv4Unspecified()}, ports(d, m, 20000))
		if said := d.Record(m); said != "" {
			t.Fatalf("got %q of a recording behind us", said)
		}
		m.SetRecord(RecordPaused)
		if said := d.Record(m); said != RecordPaused {
			t.Fatalf("got %q of our recording, want %q", said, RecordPaused)
		}
		located, err := Parse(d.Bytes())
		if err != nil {
			t.Fatalf("got error %v for our own: %q", err, d.Bytes())
		}
		if len(located.Media) != streams {
			t.Fatalf("got %d streams, want %d", len(located.Media), streams)
		}
	})
}
