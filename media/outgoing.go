package media

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/bewaard/bewaard/media/rtp"
)

// outgoing is our stream towards a leg. It has one SSRC, and its sequence numbers and
// timestamps go on without a jump over prompts, relayed packets and changes of their
// sender (RFC 3550 §5.1).
//
// Two write it: the other leg's socket, and the pacer while a prompt plays. They are
// kept apart by held, which is taken and given back around every packet: the socket,
// finding it taken, drops its packet, since a prompt owns the stream then; the pacer
// tries again. So the way of a packet never waits.
type outgoing struct {
	held    atomic.Bool
	playing atomic.Bool // relayed packets are not sent

	// Written by who holds it, for the reports.
	packets, octets atomic.Uint64 // sent, and their payload
	clock           atomic.Uint64 // timestamp of the last packet, and when that was in microseconds: 32 bits each
	source          atomic.Uint64 // SSRC that is relayed, and the shift of its timestamps; 0 for none
	ssrc            atomic.Uint32
	clockHz         atomic.Int64 // of the last packet

	// Owned by who holds it.
	started   bool
	sequence  uint16 // the next in line
	timestamp uint32 // of the last packet
	at        int64  // when that was, in nanoseconds
	from      uint32 // SSRC that is relayed at the moment, if relaying
	relaying  bool
	offset    uint16 // from its sequence numbers to ours
	shift     uint32 // from its timestamps to ours
}

func (o *outgoing) init() {
	o.ssrc.Store(rand.Uint32())
	o.sequence, o.timestamp = uint16(rand.Uint32())>>1, rand.Uint32() // no wrap at once: RFC 3711 §3.3.1
}

// renew has the stream, if it has begun, go on as another one: what its receiver knows of
// it does not hold any more.
func (o *outgoing) renew() {
	for !o.hold() { // a packet is being rewritten: nanoseconds
	}
	defer o.release()
	if o.started {
		o.started, o.relaying = false, false
		o.init()
		o.publish()
		o.packets.Store(0)
		o.octets.Store(0)
	}
}

func (o *outgoing) hold() bool { return o.held.CompareAndSwap(false, true) }
func (o *outgoing) release()   { o.held.Store(false) }

// due returns the timestamp of a packet that begins something new now: as far from
// the last one as time has gone on.
func (o *outgoing) due(at int64) uint32 {
	if !o.started {
		o.started = true
		return o.timestamp
	}
	elapsed := at - o.at
	if elapsed < 0 {
		elapsed = 0
	}
	hz := o.clockHz.Load()
	return o.timestamp + uint32(elapsed/1e9*hz+elapsed%1e9*hz/1e9)
}

// relay rewrites a packet of the other leg's so that it goes on where the stream is.
func (o *outgoing) relay(h rtp.Header, at int64, clockHz int, b []byte) {
	jump := int16(h.Sequence + o.offset - o.sequence)
	if !o.relaying || h.SSRC != o.from || jump > maxJump || jump < -maxJump {
		o.relaying, o.from = true, h.SSRC
		o.offset, o.shift = o.sequence-h.Sequence, o.due(at)-h.Timestamp
		rtp.SetMarker(b) // the receiver's clock may be set anew: RFC 3551 §4.1
	}
	o.tick(clockHz)
	sequence, timestamp := h.Sequence+o.offset, h.Timestamp+o.shift
	rtp.SetSSRC(b, o.ssrc.Load())
	rtp.SetSequence(b, sequence)
	rtp.SetTimestamp(b, timestamp)
	if int16(sequence-o.sequence) >= 0 { // not one that came late
		o.sequence, o.timestamp, o.at = sequence+1, timestamp, at
		o.publish()
	}
	o.count(h.PayloadEnd - h.PayloadOffset)
}

// tick notes how fast timestamps go from here.
func (o *outgoing) tick(clockHz int) {
	if int64(clockHz) != o.clockHz.Load() {
		o.clockHz.Store(int64(clockHz))
	}
}

func (o *outgoing) count(payloadBytes int) {
	o.packets.Add(1)
	o.octets.Add(uint64(payloadBytes))
}

// publish lets the reports know how far the stream is.
func (o *outgoing) publish() {
	o.clock.Store(uint64(o.timestamp)<<32 | uint64(uint32(o.at/1000)))
	source := uint64(0)
	if o.relaying {
		source = uint64(o.from)<<32 | uint64(o.shift)
	}
	if o.source.Load() != source {
		o.source.Store(source)
	}
}

// maxJump is how far a sender's numbers may jump and still be his loss, not a restart.
const maxJump = 3000

// insert writes the header of a packet of ours into b and returns it.
func (o *outgoing) insert(b []byte, payloadType uint8, first bool, samples uint32, at int64) rtp.Header {
	timestamp := o.timestamp + samples
	if first {
		timestamp = o.due(at)
	}
	h := rtp.Header{Marker: first, PayloadType: payloadType, Sequence: o.sequence, Timestamp: timestamp, SSRC: o.ssrc.Load()}
	rtp.PutHeader(b, h)
	o.sequence, o.timestamp, o.at, o.relaying, o.started = o.sequence+1, timestamp, at, false, true
	o.publish()
	o.count(len(b) - rtp.HeaderBytes)
	return h
}
