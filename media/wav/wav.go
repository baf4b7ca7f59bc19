// Package wav writes and reads WAV files of linear 16-bit samples (PCM16), as a
// stream: neither side holds more than a buffer of it.
//
// It knows nothing of other encodings, of files beyond 4 GiB (RF64), or of what
// the samples are.
//
//	RIFF size WAVE
//	├─ fmt   encoding, channels, hz, bits a sample
//	├─ …     anything else: skipped
//	└─ data  samples, interleaved, little endian
package wav

import "encoding/binary"

const (
	headerBytes    = 44
	fmtBytes       = 16
	bytesPerSample = 2
	maxChannels    = 1<<16/bytesPerSample - 1 // block align has 16 bits

	encodingPCM        = 1
	encodingExtensible = 0xfffe
)

// header returns the 44 bytes before the samples of a file that we write.
func header(hz, channels int, dataBytes uint32) []byte {
	le := binary.LittleEndian
	block := channels * bytesPerSample
	b := make([]byte, 0, headerBytes)
	b = le.AppendUint32(append(b, "RIFF"...), headerBytes-8+dataBytes)
	b = le.AppendUint32(append(b, "WAVEfmt "...), fmtBytes)
	b = le.AppendUint16(b, encodingPCM)
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(hz))
	b = le.AppendUint32(b, uint32(hz*block))
	b = le.AppendUint16(b, uint16(block))
	b = le.AppendUint16(b, 8*bytesPerSample)
	return le.AppendUint32(append(b, "data"...), dataBytes)
}
