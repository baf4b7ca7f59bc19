package sdp

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func describe(lines ...string) []byte {
	return text(append([]string{"v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0"}, lines...)...)
}

// What is an answer to an offer, and what is none; peers that err in what does not matter
// are understood.
func TestAccepts(t *testing.T) {
	const alaw, ulaw, video, fax = "m=audio 4000 RTP/AVP 8 101", "m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96", "m=image 4000 udptl t38"
	const events = "a=rtpmap:101 telephone-event/8000"
	for name, test := range map[string]struct {
		offer, answer []string
		want          string // part of the error
	}{
		"the same":               {[]string{alaw, events}, []string{alaw, events}, ""},
		"one of several":         {[]string{"m=audio 4000 RTP/AVP 0 8 18"}, []string{"m=audio 4000 RTP/AVP 8"}, ""},
		"another number":         {[]string{"m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"}, []string{"m=audio 4000 RTP/AVP 111", "a=rtpmap:111 OPUS/48000/2"}, ""},
		"more than was offered":  {[]string{"m=audio 4000 RTP/AVP 8"}, []string{"m=audio 4000 RTP/AVP 8 0"}, ""},
		"nothing that was":       {[]string{"m=audio 4000 RTP/AVP 8"}, []string{ulaw}, "no codec that was offered"},
		"keys alone":             {[]string{alaw, events}, []string{"m=audio 4000 RTP/AVP 101", events}, "no codec that was offered"},
		"video refused":          {[]string{alaw, video}, []string{alaw, "m=video 0 RTP/AVP 96"}, ""},
		"video left out":         {[]string{alaw, video}, []string{alaw}, ""},
		"more streams":           {[]string{alaw}, []string{alaw, video}, "2 streams to an offer of 1"},
		"what was refused is on": {[]string{alaw, "m=video 0 RTP/AVP 96"}, []string{alaw, video}, "stream 2, which was not offered"},
		"another kind":           {[]string{alaw}, []string{fax}, "makes image of stream 1"},
		"fax":                    {[]string{fax}, []string{fax}, ""},
		"another transport":      {[]string{alaw}, []string{"m=audio 4000 RTP/SAVP 8"}, "makes RTP/SAVP"},
		"all refused":            {[]string{alaw}, []string{"m=audio 0 RTP/AVP 8"}, "no audio stream"},
	} {
		err := Accepts(parse(t, describe(test.offer...)), parse(t, describe(test.answer...)))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// A description that lacks streams of the offer gets them, refused.
func TestFill(t *testing.T) {
	d := parse(t, describe("m=audio 4000 RTP/AVP 8"))
	d.Fill(parse(t, describe("m=audio 4000 RTP/AVP 8", "m=video 4002 RTP/AVP 96 97", "m=image 4004 udptl t38")))
	if got := string(d.Bytes()); !strings.HasSuffix(got, "m=audio 4000 RTP/AVP 8\r\nm=video 0 RTP/AVP 96\r\nm=image 0 udptl t38\r\n") {
		t.Errorf("got %q", got)
	}
}

// An offer of our own can be located, answered and accepted.
func TestOfferOf(t *testing.T) {
	offer := OfferOf([]Codec{{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1}, {Name: "TELEPHONE-EVENT", PayloadType: 101, ClockHz: 8000, Channels: 1}})
	offer.Locate(Origin{7, 1, netip.MustParseAddr("192.0.2.1")}, []uint16{20000})
	want := string(text("v=0", "o=- 7 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", "m=audio 20000 RTP/AVP 8 101", "a=rtpmap:8 PCMA/8000",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=ptime:20", "a=sendrecv"))
	if got := string(offer.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	answer, err := Answer(offer, recordable)
	if err != nil || Accepts(offer, answer) != nil {
		t.Errorf("got %v, %v", err, Accepts(offer, answer))
	}
}

// Hold, in the words of today and of RFC 2543, and what it leaves of the other's wish.
func TestDirections(t *testing.T) {
	for lines, want := range map[string]Direction{
		"":                                  SendRecv,
		"a=sendonly":                        SendOnly,
		"c=IN IP4 0.0.0.0":                  SendOnly,
		"c=IN IP4 0.0.0.0\na=recvonly":      Inactive,
		"c=IN IP6 ::\na=sendrecv":           SendOnly,
		"a=inactive":                        Inactive,
		"c=IN IP4 host.example\na=sendonly": SendOnly,
	} {
		d := parse(t, describe(append([]string{"m=audio 4000 RTP/AVP 8"}, strings.Split(lines, "\n")...)...))
		if got := d.Direction(d.Media[0]); got != want {
			t.Errorf("%q: got %s, want %s", lines, got, want)
		}
		d.Locate(Origin{1, 1, netip.MustParseAddr("198.51.100.1")}, []uint16{20000})
		if got := d.Direction(d.Media[0]); got != want {
			t.Errorf("%q: got %s once it is ours, want %s", lines, got, want)
		}
	}
	session := parse(t, text("v=0", "a=sendonly", "c=IN IP4 192.0.2.1", "m=audio 4000 RTP/AVP 8"))
	if got := session.Direction(session.Media[0]); got != SendOnly {
		t.Errorf("got %s, want the session's", got)
	}
	all := []Direction{SendRecv, SendOnly, RecvOnly, Inactive}
	for _, a := range all {
		if a.Reverse().Reverse() != a || a.And(a) != a || a.And(Inactive) != Inactive || a.And(SendRecv) != a {
			t.Errorf("got %s, %s, %s, %s of %s", a.Reverse().Reverse(), a.And(a), a.And(Inactive), a.And(SendRecv), a)
		}
	}
}

// A refresh is the same description; another version, or direction, is not. What only says
// more of the same is equivalent.
func TestSame(t *testing.T) {
	a := parse(t, describe("m=audio 4000 RTP/AVP 8"))
	if !Same(a, parse(t, describe("m=audio 4000 RTP/AVP 8"))) {
		t.Error("got another for the same")
	}
	for _, other := range [][]string{{"m=audio 4002 RTP/AVP 8"}, {"m=audio 4000 RTP/AVP 8 0"}, {"m=audio 4000 RTP/AVP 8", "a=sendonly"}} {
		if b := parse(t, describe(other...)); Same(a, b) || Equivalent(a, b) {
			t.Errorf("got the same for %v", other)
		}
	}
	if !Equivalent(a, parse(t, describe("m=audio 4000 RTP/AVP 8", "a=sendrecv"))) {
		t.Error("got another for a direction that is the default")
	}
}

// Codecs that are preferred come first, the others in their order behind.
func TestPrefer(t *testing.T) {
	d := parse(t, describe("m=audio 4000 RTP/AVP 8 0 101 18", "a=rtpmap:101 telephone-event/8000"))
	d.Media[0].Prefer([]Codec{{Name: "PCMU", PayloadType: 0, ClockHz: 8000, Channels: 1}, {Name: "TELEPHONE-EVENT", PayloadType: 101, ClockHz: 8000, Channels: 1}})
	if got := strings.Join(d.Media[0].Formats, " "); got != "0 8 101 18" {
		t.Errorf("got %q", got)
	}
}

// Whatever streams there are, ours are as many, in their order, and tell of no address but
// ours.
func TestLocateHoldsForAll(t *testing.T) {
	streams := rapid.SampledFrom([]string{
		"m=audio 4000 RTP/AVP 8 0\na=rtcp:4009 IN IP4 10.9.9.9\na=candidate:1 1 UDP 1 10.9.9.9 4000 typ host",
		"m=video 4002 RTP/AVPF 96\nc=IN IP4 10.9.9.9\na=rtcp-fb:96 nack\na=fingerprint:sha-256 AA", "m=image 4004 udptl t38\na=T38FaxVersion:0",
		"m=audio 0 RTP/AVP 8", "m=application 5000 TCP/BFCP *\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", "m=text 4006 RTP/AVP 98",
	})
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfN(streams, 1, 8).Draw(t, "streams")
		d, err := Parse([]byte("v=0\no=- 1 1 IN IP4 10.9.9.9\ns=secret\nc=IN IP4 10.9.9.9\nt=0 0\n" + strings.Join(chosen, "\n") + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		ports := rapid.SliceOfN(rapid.Uint16(), 0, len(chosen)).Draw(t, "ports")
		d.Locate(Origin{1, 2, netip.MustParseAddr("198.51.100.1")}, ports)
		out := string(d.Bytes())
		for _, told := range []string{"10.9.9.9", "secret", "candidate", "fingerprint", "crypto", "a=rtcp:"} {
			if strings.Contains(out, told) {
				t.Fatalf("got %q in %q", told, out)
			}
		}
		located, err := Parse(d.Bytes())
		if err != nil || len(located.Media) != len(chosen) {
			t.Fatalf("got %d streams, %v, want %d", len(located.Media), err, len(chosen))
		}
		for i, m := range located.Media {
			want := 0
			if i < len(ports) {
				want = int(ports[i])
			}
			if m.Port != want {
				t.Fatalf("got port %d of stream %d, want %d", m.Port, i, want)
			}
		}
	})
}

// FuzzAccepts: whatever two descriptions are, holding one against the other ends well, and
// our own answer to one is accepted.
func FuzzAccepts(f *testing.F) {
	f.Add(string(asterisk), string(asterisk))
	f.Add("v=0\nm=audio 1 RTP/AVP 8\nm=image 2 udptl t38\n", "v=0\nm=audio 1 RTP/AVP 8\n")
	f.Fuzz(func(t *testing.T, offer, answer string) {
		o, err := Parse([]byte(offer))
		if err != nil {
			return
		}
		if a, err := Parse([]byte(answer)); err == nil {
			Accepts(o, a)
			Equivalent(o, a)
			if len(a.Media) <= len(o.Media) {
				a.Fill(o)
				if len(a.Media) != len(o.Media) {
					t.Fatalf("got %d streams, want %d", len(a.Media), len(o.Media))
				}
			}
		}
		audible := func(c Codec) bool { return !c.Event() && c.Name != "CN" }
		if own, err := Answer(o, audible); err == nil {
			if err := Accepts(o, own); err != nil {
				t.Fatalf("got our own answer refused: %v\n%q\n%q", err, o.Bytes(), own.Bytes())
			}
		}
	})
}
