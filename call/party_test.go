package call

import (
	"slices"
	"testing"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip/sdp"
)

// A party's packets may come by the payload types that we told it and by its own; where one
// number means two codecs, by what we told.
func TestCarries(t *testing.T) {
	opus, l16, alaw := rtp.Codec{Name: "OPUS", ClockHz: 48000, Channels: 2}, rtp.Codec{Name: "L16", ClockHz: 16000, Channels: 1}, rtp.Codec{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1}
	numbered := func(c rtp.Codec, n uint8) rtp.Codec {
		c.PayloadType = n
		return c
	}
	p := &party{codecs: []rtp.Codec{numbered(opus, 96), numbered(l16, 97), alaw}}
	if got := p.carries(); !slices.Equal(got, p.codecs) {
		t.Errorf("got %v before we told it anything, want its own", got)
	}
	p.ours = []byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" +
		"m=audio 4000 RTP/AVP 111 96 8\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:96 L16/16000\r\n")
	want := []rtp.Codec{numbered(opus, 111), numbered(l16, 96), alaw, numbered(l16, 97)}
	if got := p.carries(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Reports go in with the packets of a party that says it takes them so, and of no other.
func TestMuxes(t *testing.T) {
	const audio = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
	for body, want := range map[string]bool{audio: false, audio + "a=rtcp-mux\r\n": true} {
		d, err := sdp.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		p := &party{described: d}
		if got := p.muxes(0); got != want || p.muxes(1) {
			t.Errorf("got %v, want %v of\n%s", got, want, body)
		}
	}
	if (&party{}).muxes(0) {
		t.Error("a party that has not said anything takes reports in with packets")
	}
}
