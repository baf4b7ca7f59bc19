package rtp

import (
	"encoding/binary"
	"errors"
)

// Header is what the relay and the recorder need of an RTP header (RFC 3550 §5.1).
// The payload is packet[PayloadOffset:PayloadEnd].
type Header struct {
	Marker        bool
	PayloadType   uint8
	Sequence      uint16
	Timestamp     uint32
	SSRC          uint32
	PayloadOffset int // past CSRCs and header extension
	PayloadEnd    int // before padding
}

// HeaderBytes is the length of a header without CSRCs and extension.
const HeaderBytes = 12

// The ways in which a datagram is not RTP.
var (
	ErrShort     = errors.New("shorter than an RTP header")
	ErrVersion   = errors.New("not RTP version 2")
	ErrRTCP      = errors.New("RTCP where RTP should be")
	ErrExtension = errors.New("header longer than the packet")
	ErrPadding   = errors.New("padding longer than the payload")
)

// Parse reads a packet's header. It does not allocate and keeps nothing of b.
func Parse(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, ErrShort
	}
	if b[0]>>6 != 2 {
		return Header{}, ErrVersion
	}
	// RFC 5761 §4: where RTCP shares a port, its packet types fall here.
	if b[1] >= 192 && b[1] <= 223 {
		return Header{}, ErrRTCP
	}
	h := Header{
		Marker:        b[1]&0x80 != 0,
		PayloadType:   b[1] & 0x7f,
		Sequence:      binary.BigEndian.Uint16(b[2:]),
		Timestamp:     binary.BigEndian.Uint32(b[4:]),
		SSRC:          binary.BigEndian.Uint32(b[8:]),
		PayloadOffset: HeaderBytes + 4*int(b[0]&0x0f),
		PayloadEnd:    len(b),
	}
	if b[0]&0x10 != 0 { // an extension: RFC 3550 §5.3.1
		if len(b) < h.PayloadOffset+4 {
			return Header{}, ErrExtension
		}
		h.PayloadOffset += 4 + 4*int(binary.BigEndian.Uint16(b[h.PayloadOffset+2:]))
	}
	if h.PayloadOffset > len(b) {
		return Header{}, ErrExtension
	}
	if b[0]&0x20 != 0 {
		padding := int(b[len(b)-1])
		if padding == 0 || h.PayloadOffset+padding > len(b) {
			return Header{}, ErrPadding
		}
		h.PayloadEnd -= padding
	}
	return h, nil
}

// SetMarker sets the marker bit of a packet that Parse has read, unless that would
// make RTCP of it: payload types 64–95 (RFC 5761 §4).
func SetMarker(b []byte) {
	if b[1] < 64 || b[1] > 95 {
		b[1] |= 0x80
	}
}

// SetPayloadType writes the payload type.
func SetPayloadType(b []byte, payloadType uint8) { b[1] = b[1]&0x80 | payloadType }

// SetSequence writes the sequence number of a packet that Parse has read.
func SetSequence(b []byte, sequence uint16) { binary.BigEndian.PutUint16(b[2:], sequence) }

// SetTimestamp writes the timestamp.
func SetTimestamp(b []byte, timestamp uint32) { binary.BigEndian.PutUint32(b[4:], timestamp) }

// SetSSRC writes the SSRC.
func SetSSRC(b []byte, ssrc uint32) { binary.BigEndian.PutUint32(b[8:], ssrc) }

// PutHeader writes a header without CSRCs, extension or padding into the first
// HeaderBytes of b.
func PutHeader(b []byte, h Header) {
	b[0], b[1] = 2<<6, h.PayloadType
	if h.Marker {
		SetMarker(b)
	}
	SetSequence(b, h.Sequence)
	SetTimestamp(b, h.Timestamp)
	SetSSRC(b, h.SSRC)
}
