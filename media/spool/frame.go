package spool

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

const (
	version = 2

	frameHeaderBytes = 20
	maxPayloadBytes  = 256 << 10

	keyBytes      = 32 // AES-256
	sequenceBytes = 8  // before what is sealed
	tagBytes      = 16 // behind it

	// maxSealedBytes is how much a sealed frame may hold.
	maxSealedBytes = maxPayloadBytes - sequenceBytes - tagBytes
)

// mark begins a frame.
type mark [8]byte

// headerMark begins the first frame of every spool.
var headerMark = mark{'b', 'w', 'r', 'd', 's', 'p', 'l', '2'}

type frameType uint8

const (
	keyFrame frameType = iota + 1 // the only one that is not sealed
	batchFrame
	eventFrame
	endFrame
	noticeFrame
	headerFrame
)

// Header is a spool's first sealed frame: what a recording needs besides packets.
type Header struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Terms   Terms     `json:"terms"`
	Began   time.Time `json:"began"` // start of the capture: the recording's first instant
	Legs    [2]Leg    `json:"legs"`  // by rtp.Leg
	Notice  *Notice   `json:"notice,omitempty"`
}

// Leg is what a spool's header says of one leg.
type Leg struct {
	Channel int         `json:"channel"` // 0 left, 1 right
	Side    string      `json:"side"`    // of its trunk: external or internal
	Codecs  []rtp.Codec `json:"codecs"`  // as negotiated when the capture began
}

// Frame is one of NoticeAudio, Batch, Event and End.
type Frame interface{ frame() }

// Batch is captured packets of one leg, in the order in which they arrived.
type Batch struct {
	Leg     rtp.Leg
	Packets []byte // to be read with rtp.NextCaptured; valid until the next frame is read
}

// EventKind says what an Event tells.
type EventKind string

const (
	CodecsChanged  EventKind = "codecs"  // a leg has other codecs from now on
	CaptureStopped EventKind = "stop"    // nothing is kept from now on
	CaptureStarted EventKind = "start"   // packets are kept again from now on
	PacketsDropped EventKind = "dropped" // the tap had no room; totals so far
	Excised        EventKind = "excise"  // a time is to be silent in the recording, whatever was captured in it
	SenderReported EventKind = "report"  // a leg's peer told what its clocks show
)

// Event is something that happened to the capture.
type Event struct {
	Kind    EventKind   `json:"kind"`
	At      time.Time   `json:"at"`
	Leg     rtp.Leg     `json:"leg,omitempty"`    // of CodecsChanged, Excised and SenderReported
	Codecs  []rtp.Codec `json:"codecs,omitempty"` // of CodecsChanged
	Dropped [2]uint64   `json:"dropped,omitzero"` // of PacketsDropped, by rtp.Leg
	Reason  string      `json:"reason,omitempty"` // of CaptureStopped and CaptureStarted

	From time.Time `json:"from,omitzero"`  // of Excised: from then
	To   time.Time `json:"to,omitzero"`    // of Excised: up to then
	Both bool      `json:"both,omitempty"` // of Excised: on both channels, not only on Leg's
	Cut  bool      `json:"cut,omitempty"`  // of CaptureStopped: the recording goes on where it stopped, instead of being silent for so long

	// Written, if set, has room for one value and gets it without being waited for: nil once
	// the event went to the file, or the reason why it never will. It is not on the disk by then.
	Written chan<- error `json:"-"`

	Report *rtp.Reported `json:"report,omitempty"` // of SenderReported, which came at At
}

// End is a spool's last frame.
type End struct {
	At     time.Time `json:"at"` // the recording's last instant
	Reason string    `json:"reason,omitempty"`
	Early  uint64    `json:"early,omitempty"`  // packets refused: older than the end of the announcement
	Paused uint64    `json:"paused,omitempty"` // packets refused: captured while the capture was stopped
}

func (Batch) frame() {}
func (Event) frame() {}
func (End) frame()   {}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginFrame appends a frame's header; the payload is to be appended next and
// finishFrame called with the length that dst had before.
func beginFrame(dst []byte, m mark, t frameType, leg rtp.Leg) []byte {
	dst = append(dst, m[:]...)
	dst = append(dst, byte(t), byte(leg), 0, 0)
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
}

// finishFrame fills in length and checksum of the frame that starts at start and
// ends with dst.
func finishFrame(dst []byte, start int) {
	f := dst[start:]
	binary.BigEndian.PutUint32(f[12:], uint32(len(f)-frameHeaderBytes))
	binary.BigEndian.PutUint32(f[16:], checksum(f))
}

// checksum returns the CRC-32C of a whole frame.
func checksum(f []byte) uint32 {
	return crc32.Update(crc32.Checksum(f[:16], castagnoli), castagnoli, f[frameHeaderBytes:])
}

// keyHeader is the payload of a spool's first frame.
type keyHeader struct {
	Version int    `json:"version"`
	Mark    []byte `json:"mark"` // of the frames that follow
	Key     []byte `json:"key"`  // that they are sealed with, wrapped
}

// sealer seals the frames of one file, and opens them. Each has a number of its own, which
// counts up and is its nonce: a key is one file's alone.
type sealer struct {
	mark  mark
	aead  cipher.AEAD
	next  uint64
	nonce [12]byte // a field, so that it is not allocated for each frame
}

func newSealer(m mark, key []byte) (*sealer, error) {
	if len(key) != keyBytes {
		return nil, fmt.Errorf("a key of %d bytes, not %d", len(key), keyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &sealer{mark: m, aead: aead}, err
}

// begin appends the header of a frame that end will seal.
func (s *sealer) begin(dst []byte, t frameType, leg rtp.Leg) []byte {
	dst = binary.BigEndian.AppendUint64(beginFrame(dst, s.mark, t, leg), s.next)
	s.next++
	return dst
}

// held is how much has been appended to the frame that starts at start.
func held(dst []byte, start int) int { return len(dst) - start - frameHeaderBytes - sequenceBytes }

// end seals, in place, the frame that starts at start and ends with dst.
func (s *sealer) end(dst []byte, start int) []byte {
	payload := start + frameHeaderBytes
	sealed := payload + sequenceBytes
	copy(s.nonce[4:], dst[payload:sealed])
	dst = s.aead.Seal(dst[:sealed], s.nonce[:], dst[sealed:], dst[start:start+12])
	finishFrame(dst, start)
	return dst
}

// open appends what is sealed in a whole frame to dst. A frame that does not come after those
// that were opened before is not one of this place.
func (s *sealer) open(dst, frame []byte) ([]byte, error) {
	payload := frame[frameHeaderBytes:]
	if len(payload) < sequenceBytes+tagBytes {
		return nil, errDamaged
	}
	number := binary.BigEndian.Uint64(payload)
	if number < s.next || number == math.MaxUint64 {
		return nil, errDamaged
	}
	copy(s.nonce[4:], payload[:sequenceBytes])
	dst, err := s.aead.Open(dst, s.nonce[:], payload[sequenceBytes:], frame[:12])
	if err != nil {
		return nil, errDamaged
	}
	s.next = number + 1
	return dst, nil
}

// appendJSON appends a sealed frame with v as its payload.
func (s *sealer) appendJSON(dst []byte, t frameType, v any) ([]byte, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return dst, err
	}
	if len(payload) > maxSealedBytes {
		return dst, fmt.Errorf("%d bytes, at most %d fit a frame", len(payload), maxSealedBytes)
	}
	start := len(dst)
	return s.end(append(s.begin(dst, t, 0), payload...), start), nil
}
