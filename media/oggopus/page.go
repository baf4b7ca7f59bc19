package oggopus

import "encoding/binary"

// page is one Ogg page (RFC 3533 §6).
//
//	0      4   5      6          14      18        22    26   27
//	| OggS | 0 | flags | granule | serial | sequence | CRC | n | n lacing values | body |
//
// A packet's length is the sum of its lacing values, the last of which is below 255.
type page struct {
	flags    byte
	granule  int64
	serial   uint32
	sequence uint32
	lacing   []byte
	body     []byte
}

const (
	pageMagic       = "OggS"
	pageHeaderBytes = 27
	maxSegments     = 255
	crcOffset       = 22

	continued = 1 << 0 // the page begins within a packet
	begins    = 1 << 1 // first page of the stream
	ends      = 1 << 2 // last page of the stream

	noGranule = -1 // no packet ends on the page
)

// segments is how many lacing values a packet takes.
func segments(packetBytes int) int { return packetBytes/255 + 1 }

// add appends a whole packet, for which there must be segments left.
func (p *page) add(packet []byte) {
	for range len(packet) / 255 {
		p.lacing = append(p.lacing, 255)
	}
	p.lacing = append(p.lacing, byte(len(packet)%255))
	p.body = append(p.body, packet...)
}

// appendTo appends the page's bytes.
func (p *page) appendTo(b []byte) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = append(b, pageMagic...)
	b = append(b, 0, p.flags)
	b = le.AppendUint64(b, uint64(p.granule))
	b = le.AppendUint32(b, p.serial)
	b = le.AppendUint32(b, p.sequence)
	b = append(b, 0, 0, 0, 0, byte(len(p.lacing)))
	b = append(append(b, p.lacing...), p.body...)
	le.PutUint32(b[start+crcOffset:], checksum(0, b[start:]))
	return b
}

// checksum continues Ogg's CRC-32: polynomial 0x04c11db7, highest bit first,
// nothing inverted, which is not hash/crc32's.
func checksum(crc uint32, b []byte) uint32 {
	for _, octet := range b {
		crc = crc<<8 ^ crcTable[byte(crc>>24)^octet]
	}
	return crc
}

var crcTable = func() (table [256]uint32) {
	for i := range table {
		crc := uint32(i) << 24
		for range 8 {
			top := crc >> 31
			crc = crc<<1 ^ top*0x04c11db7
		}
		table[i] = crc
	}
	return table
}()
