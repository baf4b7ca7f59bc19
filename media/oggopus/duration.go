package oggopus

import "errors"

const maxPacketSamples = 120 * 48 // RFC 6716 §3.2.5: 120 ms

var errPacket = errors.New("not an Opus packet")

// duration returns how many samples at 48 kHz a packet decodes to, from its
// first byte and, of a packet with any number of frames, the second (RFC 6716 §3.1).
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	| config  |s| c |
//	+-+-+-+-+-+-+-+-+
func duration(packet []byte) (int, error) {
	if len(packet) == 0 {
		return 0, errPacket
	}
	frames := 1
	switch packet[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0, errPacket
		}
		frames = int(packet[1] & 0x3f)
	}
	samples := frames * frameSamples(packet[0]>>3)
	if samples == 0 || samples > maxPacketSamples {
		return 0, errPacket
	}
	return samples, nil
}

// frameSamples is table 2 of RFC 6716.
func frameSamples(config byte) int {
	const ms = 48
	switch {
	case config < 12: // SILK
		return [4]int{10 * ms, 20 * ms, 40 * ms, 60 * ms}[config&3]
	case config < 16: // hybrid
		return [2]int{10 * ms, 20 * ms}[config&1]
	default: // CELT
		return 5 * ms / 2 << (config & 3)
	}
}
