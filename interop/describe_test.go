package interop

import (
	"fmt"
	"strings"
)

// formats are the words of sdp= that name a codec.
var formats = map[string]struct {
	number int
	lines  string
}{
	"alaw": {8, "a=rtpmap:8 PCMA/8000\n"},
	"ulaw": {0, "a=rtpmap:0 PCMU/8000\n"},
	"g722": {9, "a=rtpmap:9 G722/8000\n"},
	"opus": {96, "a=rtpmap:96 opus/48000/2\n"},
	"g729": {18, "a=rtpmap:18 G729/8000\na=fmtp:18 annexb=no\n"},
	"keys": {101, "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"},
}

// describe writes a session description from words such as alaw,keys,sendonly.
func (s *scenario) describe(st *step, d *dialog, words string) string {
	if words == "same" || st.is("again") && d.bodies != "" {
		return d.bodies
	}
	host, family := s.party.host, "IP4"
	if strings.Contains(host, ":") {
		family = "IP6"
	}
	d.version++
	connection, port, direction := host, 6000, ""
	var numbers []string
	var lines, more string
	audio := true
	for word := range strings.SplitSeq(words, ",") {
		codec, isCodec := formats[word]
		switch {
		case isCodec:
			numbers = append(numbers, fmt.Sprint(codec.number))
			lines += codec.lines
		case word == "sendonly" || word == "recvonly" || word == "inactive" || word == "sendrecv":
			direction = "a=" + word + "\n"
		case strings.HasPrefix(word, "recordpref:"): // RFC 7866
			direction += "a=" + word + "\n"
		case word == "nowhere": // RFC 2543's hold
			connection = "0.0.0.0"
		case word == "port":
			port += 10
		case word == "address":
			connection = s.texts.Replace("{" + s.party.name + "moved}")
		case word == "video":
			more += "m=video 6004 RTP/AVP 97\na=rtpmap:97 H264/90000\n"
		case word == "novideo":
			more += "m=video 0 RTP/AVP 97\n"
		case word == "t38":
			audio = false
			more += "m=image 6006 udptl t38\na=T38FaxVersion:0\na=T38MaxBitRate:14400\na=T38FaxRateManagement:transferredTCF\n"
		case word == "noaudio": // T.38 beside the stream that it takes the place of
			audio = false
			more += "m=audio 0 RTP/AVP 8\n"
		default:
			s.fail(st, "sdp=%s: unknown word %q", words, word)
		}
	}
	body := fmt.Sprintf("v=0\no=%s 4711 %d IN %s %s\ns=-\nc=IN %s %s\nt=0 0\n", s.party.name, d.version, family, host, family, connection)
	if audio {
		body += fmt.Sprintf("m=audio %d RTP/AVP %s\n%sa=ptime:20\n%s", port, strings.Join(numbers, " "), lines, direction)
	}
	d.bodies = strings.TrimSuffix(body+more, "\n")
	return d.bodies
}
