// Package oggopus puts Opus packets into an Ogg file and takes them out again
// (RFC 7845 on RFC 3533). Times are counted in samples at 48 kHz, whatever the
// rate that was encoded.
//
// A file of two channels is one stereo stream, or has a mono stream for each: then a
// packet holds one of both, and neither channel's noise can reach the other's.
//
// It knows nothing of what is in a packet beyond its duration: no codec, no clock.
//
//	page 0    OpusHead                          begins the stream, granule 0
//	page 1 …  OpusTags                          granule 0
//	page n …  packets, together up to a second  granule: end of the page's last packet
//	last      packets                           granule: pre-skip + audible samples
package oggopus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const vendor = "bewaard"

// head is the identification header (RFC 7845 §5.1) of channels that one stream has,
// mono or stereo: mapping family 0. Two mono streams, the first the left channel and
// the second the right, are of family 1, which has more to say (§5.1.1.2).
//
//	0          8  9  10       12        16     18 19  20 21        23
//	| OpusHead | 1 | ch | pre-skip | input Hz | gain | 0 |
//	| OpusHead | 1 | 2  | pre-skip | input Hz | gain | 1 | 2 | 0 | 0 | 1 |
//	                                     streams, of them stereo, ch's stream
type head struct {
	channels int
	streams  int
	preSkip  int
	inputHz  int
}

const (
	headMagic = "OpusHead"
	headBytes = 19
	tagsMagic = "OpusTags"

	// apart is how the header of two mono streams ends, from the mapping family on.
	apart = "\x01\x02\x00\x00\x01"
)

func (h head) bytes() []byte {
	b := append([]byte(headMagic), 1, byte(h.channels))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.preSkip))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.inputHz))
	b = append(b, 0, 0) // no gain
	if h.streams == 2 {
		return append(b, apart...)
	}
	return append(b, 0)
}

func parseHead(b []byte) (head, error) {
	le := binary.LittleEndian
	if len(b) < headBytes || string(b[:8]) != headMagic {
		return head{}, errors.New("not an OpusHead")
	}
	h := head{channels: int(b[9]), streams: 1, preSkip: int(le.Uint16(b[10:])), inputHz: int(le.Uint32(b[12:]))}
	if h.channels == 2 && string(b[headBytes-1:]) == apart {
		h.streams = 2
	}
	switch {
	case b[8]>>4 != 0: // the lower half is backward compatible
		return head{}, fmt.Errorf("OpusHead of version %d", b[8])
	case h.streams == 1 && b[18] != 0 || h.channels != 1 && h.channels != 2:
		return head{}, fmt.Errorf("%d channels in mapping family %d: only mono, stereo and two times mono are read", b[9], b[18])
	case le.Uint16(b[16:]) != 0:
		return head{}, errors.New("an output gain: only 0 dB is read")
	}
	return h, nil
}

// tagsBytes returns the comment header (RFC 7845 §5.2).
func tagsBytes(tags [][2]string) ([]byte, error) {
	b := appendString([]byte(tagsMagic), vendor)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(tags)))
	for _, tag := range tags {
		if !validTagName(tag[0]) || !utf8.ValidString(tag[1]) {
			return nil, fmt.Errorf("tag %q=%q: not what a tag may be", tag[0], tag[1])
		}
		b = appendString(b, tag[0]+"="+tag[1])
	}
	return b, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// validTagName holds a name against the Vorbis comment specification: ASCII from
// the space to "}", without "=".
func validTagName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7d || r == '=' })
}

func parseTags(b []byte) (tags [][2]string, err error) {
	b, ok := bytes.CutPrefix(b, []byte(tagsMagic))
	_, b, vendorOK := cutString(b)
	if !ok || !vendorOK || len(b) < 4 {
		return nil, errors.New("not an OpusTags")
	}
	count := binary.LittleEndian.Uint32(b)
	b = b[4:]
	for n := range count {
		var tag string
		if tag, b, ok = cutString(b); !ok {
			return nil, fmt.Errorf("OpusTags end at tag %d of %d", n, count)
		}
		name, value, ok := strings.Cut(tag, "=")
		if !ok || !validTagName(name) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("tag %q in OpusTags", tag)
		}
		tags = append(tags, [2]string{name, value})
	}
	return tags, nil // what may follow is padding
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 {
		return "", nil, false
	}
	n, b := binary.LittleEndian.Uint32(b), b[4:]
	if uint64(n) > uint64(len(b)) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}
