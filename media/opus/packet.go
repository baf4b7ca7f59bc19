package opus

import "errors"

// A packet is a TOC byte, how many frames there are and how long, and the frames
// (RFC 6716 §3). What is here reads that without decoding anything.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	| config  |s| c |   c: 0 one frame, 1 two equal, 2 two, 3 as the next byte says
//	+-+-+-+-+-+-+-+-+

const (
	// MaxPacketSamples is the longest that a packet lasts, 120 ms, at 48 kHz.
	MaxPacketSamples = 120 * 48

	maxFrames     = 48
	maxFrameBytes = 1275
)

// ErrPacket says that bytes are not an Opus packet.
var ErrPacket = errors.New("not an Opus packet")

// Samples returns how many samples at 48 kHz a packet decodes to. It looks at the
// first byte and, of a packet with any number of frames, at the second: whether the
// frames are there, only decoding tells.
func Samples(packet []byte) (int, error) {
	if len(packet) == 0 {
		return 0, ErrPacket
	}
	frames := 1
	switch packet[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0, ErrPacket
		}
		frames = int(packet[1] & 0x3f)
	}
	samples := frames * frameSamples(packet[0])
	if samples == 0 || samples > MaxPacketSamples {
		return 0, ErrPacket
	}
	return samples, nil
}

// Stereo reports whether a packet has two channels; it must not be empty.
func Stereo(packet []byte) bool { return packet[0]&4 != 0 }

// frameSamples is table 2 of RFC 6716: how long a frame lasts by its TOC.
func frameSamples(toc byte) int {
	const ms = 48
	switch config := toc >> 3; {
	case config < 12: // SILK
		return [4]int{10 * ms, 20 * ms, 40 * ms, 60 * ms}[config&3]
	case config < 16: // hybrid
		return [2]int{10 * ms, 20 * ms}[config&1]
	default: // CELT
		return 5 * ms / 2 << (config & 3)
	}
}

// frames are those of one packet.
type frames struct {
	toc   byte
	count int
	frame [maxFrames][]byte
}

// AppendDelimited appends a packet in the framing that tells its own length: so
// stand all streams but the last in a packet of several (RFC 6716 appendix B).
func AppendDelimited(dst, packet []byte) ([]byte, error) {
	var f frames
	if _, err := f.parse(packet, false); err != nil {
		return dst, err
	}
	return f.append(dst, true), nil
}

// CutDelimited takes a packet that tells its own length off the front of b. It
// appends it to dst as it stands alone, and returns what is behind it.
func CutDelimited(dst, b []byte) (packet, rest []byte, err error) {
	var f frames
	if rest, err = f.parse(b, true); err != nil {
		return dst, nil, err
	}
	return f.append(dst, false), rest, nil
}

// parse finds the frames of a packet, which is all of b unless it is delimited, and
// returns what is behind it.
func (f *frames) parse(b []byte, delimited bool) (rest []byte, err error) {
	if _, err := Samples(b); err != nil {
		return nil, err
	}
	f.toc, f.count, b = b[0], 1, b[1:]
	var (
		lengths [maxFrames]int
		known   int // how many of the lengths
		equal   = f.toc&3 < 2
		padding int
	)
	switch f.toc & 3 {
	case 1, 2:
		f.count = 2
	case 3:
		header := b[0]
		f.count, equal, b = int(header&0x3f), header&0x80 == 0, b[1:]
		if header&0x40 != 0 {
			if padding, b, err = cutPadding(b); err != nil {
				return nil, err
			}
		}
	}
	// The last length goes without saying, unless the packet is delimited; equal ones
	// are said once.
	said := f.count - 1
	if equal {
		said = 0
	}
	if delimited {
		said++
	}
	for ; known < said; known++ {
		if lengths[known], b, err = cutLength(b); err != nil {
			return nil, err
		}
	}
	if !delimited {
		if b, rest = b[:max(0, len(b)-padding)], b[max(0, len(b)-padding):]; len(rest) != padding {
			return nil, ErrPacket
		}
	}
	switch {
	case equal && delimited:
	case equal:
		if lengths[0] = len(b) / f.count; lengths[0]*f.count != len(b) {
			return nil, ErrPacket
		}
	case !delimited:
		last := len(b)
		for _, n := range lengths[:known] {
			last -= n
		}
		lengths[known] = last
	}
	for i := range f.count {
		n := lengths[i]
		if equal {
			n = lengths[0]
		}
		if n < 0 || n > len(b) || n > maxFrameBytes {
			return nil, ErrPacket
		}
		f.frame[i], b = b[:n], b[n:]
	}
	if !delimited {
		return nil, nil // what rest holds is padding
	}
	if len(b) < padding {
		return nil, ErrPacket
	}
	return b[padding:], nil
}

// append appends the packet, without padding.
func (f *frames) append(dst []byte, delimited bool) []byte {
	equal := true
	for _, frame := range f.frame[1:f.count] {
		equal = equal && len(frame) == len(f.frame[0])
	}
	toc := f.toc &^ 3
	switch {
	case f.count == 1:
		dst = append(dst, toc)
	case f.count == 2 && equal:
		dst = append(dst, toc|1)
	case f.count == 2:
		dst = append(dst, toc|2)
	case equal:
		dst = append(dst, toc|3, byte(f.count))
	default:
		dst = append(dst, toc|3, byte(f.count)|0x80)
	}
	if !equal {
		for _, frame := range f.frame[:f.count-1] {
			dst = appendLength(dst, len(frame))
		}
	}
	if delimited {
		dst = appendLength(dst, len(f.frame[f.count-1]))
	}
	for _, frame := range f.frame[:f.count] {
		dst = append(dst, frame...)
	}
	return dst
}

// cutLength reads the length of a frame: a byte up to 251, two beyond (RFC 6716 §3.2.1).
func cutLength(b []byte) (n int, rest []byte, err error) {
	switch {
	case len(b) > 0 && b[0] < 252:
		return int(b[0]), b[1:], nil
	case len(b) > 1:
		return int(b[0]) + 4*int(b[1]), b[2:], nil
	}
	return 0, nil, ErrPacket
}

func appendLength(dst []byte, n int) []byte {
	if n < 252 {
		return append(dst, byte(n))
	}
	return append(dst, byte(252+n&3), byte((n-252-n&3)/4))
}

// cutPadding reads how much padding there is at the end: a byte of 255 stands for
// 254, and goes on (RFC 6716 §3.2.5).
func cutPadding(b []byte) (n int, rest []byte, err error) {
	for len(b) > 0 {
		more := b[0]
		b = b[1:]
		if more < 255 {
			return n + int(more), b, nil
		}
		n += 254
	}
	return 0, nil, ErrPacket
}

// Whole reports whether all of a packet's frames are there.
func Whole(packet []byte) bool {
	var f frames
	_, err := f.parse(packet, false)
	return err == nil
}

// Frames returns how many frames a packet has, 0 for what is none.
func Frames(packet []byte) int {
	n, err := Samples(packet)
	if err != nil {
		return 0
	}
	return n / frameSamples(packet[0])
}

// AppendFrames appends a packet of so many frames, all of them that one, with the
// configuration and channels of a first byte. Frames of no length are those that the sender
// leaves to the decoder to conceal (RFC 6716 §2.1.9).
func AppendFrames(dst []byte, toc byte, count int, frame []byte) []byte {
	f := frames{toc: toc, count: count}
	for i := range count {
		f.frame[i] = frame
	}
	return f.append(dst, false)
}

// AppendSilence appends a mono packet that decodes to so many samples of silence at 48 kHz:
// CELT frames with nothing but the flag that says so (RFC 6716 §4.3). It is for durations
// that a packet can have.
func AppendSilence(dst []byte, samples int) []byte {
	const fullbandCELT, longest = 28, 3 // by table 2 of RFC 6716: 2.5, 5, 10, 20 ms
	config := byte(longest)
	for config > 0 && samples%(5*48/2<<config) != 0 {
		config--
	}
	return AppendFrames(dst, (fullbandCELT+config)<<3, samples/(5*48/2<<config), []byte{0xff, 0xfe})
}
