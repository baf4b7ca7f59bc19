package rtp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A batch is captured packets one after the other, each as
//
//	 0               8         10
//	+---------------+---------+--------------+
//	| arrival (ns)  | length  | packet …     |
//	+---------------+---------+--------------+
//
// big endian, arrival as nanoseconds since 1970 UTC. The tap writes batches
// into memory, the spool writes them to disk as they are.
const capturedHeaderBytes = 10

// ErrBatch is wrapped by every error about a malformed batch.
var ErrBatch = errors.New("malformed batch")

// CapturedBytes returns what AppendCaptured adds for a packet of that length.
func CapturedBytes(packetBytes int) int { return capturedHeaderBytes + packetBytes }

// AppendCaptured appends a packet that arrived at the given nanosecond to a
// batch and returns the batch. It allocates only when dst lacks capacity.
// A packet is at most 65,535 bytes long, as UDP guarantees.
func AppendCaptured(dst []byte, at int64, packet []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(at))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(packet)))
	return append(dst, packet...)
}

// NextCaptured returns the first packet of a batch with its arrival and what
// follows it. The packet shares the batch's memory.
func NextCaptured(batch []byte) (at int64, packet, rest []byte, err error) {
	if len(batch) < capturedHeaderBytes {
		return 0, nil, nil, fmt.Errorf("%w: %d bytes where a packet's header should be", ErrBatch, len(batch))
	}
	n := int(binary.BigEndian.Uint16(batch[8:10]))
	if len(batch)-capturedHeaderBytes < n {
		return 0, nil, nil, fmt.Errorf("%w: packet of %d bytes with %d left", ErrBatch, n, len(batch)-capturedHeaderBytes)
	}
	end := capturedHeaderBytes + n
	return int64(binary.BigEndian.Uint64(batch)), batch[capturedHeaderBytes:end], batch[end:], nil
}
