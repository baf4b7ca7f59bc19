// Package wav writes and reads WAV files, as a stream: neither side holds more than a
// buffer of it. Samples are linear with 16 bits; in the file they are so too, or A-law
// or µ-law. A file of more than 4 GiB becomes RF64 (EBU Tech 3306), for which there is
// room from the beginning where a day and a half is as long: else simple readers, which
// want the format first, can read it.
//
// It knows nothing of other encodings, or of what the samples are.
//
//	RIFF size WAVE           or, beyond 4 GiB, RF64 -1 WAVE
//	├─ JUNK  room, maybe                       ├─ ds64  the sizes, with 64 bits
//	├─ fmt   encoding, channels, hz, bits a sample
//	├─ fact  how many samples there are, unless they are linear
//	├─ …     anything else: skipped
//	└─ data  samples, interleaved, little endian
package wav

import (
	"encoding/binary"
	"math"
)

// Encoding is how samples stand in a file.
type Encoding uint16

// The encodings that are written and read (RFC 2361).
const (
	PCM16 Encoding = 1 // linear, 16 bits
	ALaw  Encoding = 6 // G.711, 8 bits
	MuLaw Encoding = 7
)

const (
	encodingExtensible = 0xfffe

	fmtBytes    = 16
	ds64Bytes   = 28                     // RIFF size, data size, sample count, and a table of nothing
	maxChannels = 1<<16/2 - 1            // block align has 16 bits
	unsized     = uint32(math.MaxUint32) // the size is in ds64, or does not fit
	longest     = 36 * 60 * 60           // seconds that a file is thought to last at most
)

// sampleBytes is how long a sample is in the file.
func (e Encoding) sampleBytes() int {
	if e == PCM16 {
		return 2
	}
	return 1
}

// format is what a file's samples are.
type format struct {
	encoding Encoding
	hz       int
	channels int
}

func (f format) blockBytes() int { return f.channels * f.encoding.sampleBytes() }

// long reports whether a file can get too long for sizes of 32 bits.
func (f format) long() bool { return int64(f.hz)*int64(f.blockBytes())*longest > math.MaxUint32-100 }

// headerBytes is the length of what stands before the samples of a file that we write.
func (f format) headerBytes() int {
	n := 12 + 8 + fmtBytes + 8
	if f.long() {
		n += 8 + ds64Bytes
	}
	if f.encoding != PCM16 {
		n += 2 + 12 // an empty extension, and fact
	}
	return n
}

// header returns these bytes, for so many bytes of samples.
func (f format) header(dataBytes int64) []byte {
	le := binary.LittleEndian
	riffBytes := int64(f.headerBytes()) - 8 + dataBytes + dataBytes&1
	samples := dataBytes / int64(f.blockBytes())
	data32, samples32 := uint32(dataBytes), uint32(min(samples, int64(unsized)))
	b := make([]byte, 0, f.headerBytes())
	switch fits := riffBytes < int64(unsized); {
	case !f.long():
		if !fits {
			riffBytes, data32, samples32 = int64(unsized), unsized, unsized
		}
		b = append(le.AppendUint32(append(b, "RIFF"...), uint32(riffBytes)), "WAVE"...)
	case fits:
		b = le.AppendUint32(append(b, "RIFF"...), uint32(riffBytes))
		b = le.AppendUint32(append(b, "WAVEJUNK"...), ds64Bytes)
		b = append(b, make([]byte, ds64Bytes)...)
	default:
		data32, samples32 = unsized, unsized
		b = le.AppendUint32(append(b, "RF64"...), unsized)
		b = le.AppendUint32(append(b, "WAVEds64"...), ds64Bytes)
		b = le.AppendUint64(b, uint64(riffBytes))
		b = le.AppendUint64(b, uint64(dataBytes))
		b = le.AppendUint64(b, uint64(samples))
		b = le.AppendUint32(b, 0)
	}
	size := uint32(fmtBytes)
	if f.encoding != PCM16 {
		size += 2
	}
	b = le.AppendUint32(append(b, "fmt "...), size)
	b = le.AppendUint16(b, uint16(f.encoding))
	b = le.AppendUint16(b, uint16(f.channels))
	b = le.AppendUint32(b, uint32(f.hz))
	b = le.AppendUint32(b, uint32(f.hz*f.blockBytes()))
	b = le.AppendUint16(b, uint16(f.blockBytes()))
	b = le.AppendUint16(b, uint16(8*f.encoding.sampleBytes()))
	if f.encoding != PCM16 {
		b = le.AppendUint16(b, 0)
		b = le.AppendUint32(append(b, "fact"...), 4)
		b = le.AppendUint32(b, samples32)
	}
	return le.AppendUint32(append(b, "data"...), data32)
}
