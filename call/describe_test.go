package call

import (
	"slices"
	"strings"
	"testing"

	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

// Keys are taken under the payload type that a peer was offered, and under its own where
// its answer has another (RFC 3264 §6.1 wants the first).
func TestKeysUnderBothPayloadTypes(t *testing.T) {
	const offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	answer, err := sdp.Parse([]byte("v=0\r\no=- 1 1 IN IP4 203.0.113.3\r\ns=-\r\nc=IN IP4 203.0.113.3\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := newParty("carrier", sip.Party{})
	p.ours, p.described = []byte(offer), answer
	if got := p.keys(0); !slices.Equal(got, []uint8{101, 96}) {
		t.Errorf("got payload types %v, want 101 and 96", got)
	}
	p.ours = []byte(strings.Replace(offer, "8 101", "8 101 96", 1) + "a=rtpmap:96 opus/48000/2\r\n")
	if got := p.keys(0); !slices.Equal(got, []uint8{101}) {
		t.Errorf("got payload types %v, want 101: we told it 96 for Opus", got)
	}
}
