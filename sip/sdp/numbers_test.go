package sdp

import (
	"maps"
	"testing"
)

// Only a number that the other has for nothing, of a codec that it has under another, is
// told as that.
func TestNumbers(t *testing.T) {
	stream := func(lines string) *Media {
		d, err := Parse([]byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" + lines))
		if err != nil {
			t.Fatal(err)
		}
		return d.Media[0]
	}
	a := stream("m=audio 4000 RTP/AVP 8 96 97 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 L16/16000\r\na=rtpmap:101 telephone-event/8000\r\n")
	b := stream("m=audio 4000 RTP/AVP 111 96 8 102\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:96 L16/16000\r\na=rtpmap:102 telephone-event/8000\r\n")
	if got, want := a.Numbers(b), (map[uint8]uint8{97: 96, 101: 102}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v: 96 is L16 to the other, and 8 is the same", got, want)
	}
	if got := a.Numbers(a); got != nil {
		t.Errorf("got %v for the same numbers, want none", got)
	}
}
