// Package rtp is what the packages of media share about RTP: the leg a packet
// belongs to, its codec, header fields read and written in place, sequence and
// timestamp arithmetic, RTCP, telephone-events, and batches of captured packets.
//
// It stands on pion/rtp and pion/rtcp and is the one package that imports them.
// It knows nothing of sockets, files or calls.
package rtp

// Leg says which of a call's two legs a packet belongs to.
type Leg uint8

const (
	Caller Leg = iota // the leg on which the INVITE came in
	Callee            // the leg on which we sent one
)

// Other returns the leg at the call's other end.
func (l Leg) Other() Leg { return l ^ 1 }

func (l Leg) String() string {
	if l == Caller {
		return "caller"
	}
	return "callee"
}

// Codec is one payload format as negotiated in SDP (RFC 8866 §6.6).
type Codec struct {
	Name        string `json:"name"` // encoding name in upper case: PCMA, PCMU, TELEPHONE-EVENT
	PayloadType uint8  `json:"payload_type"`
	ClockHz     int    `json:"clock_hz"`
	Channels    int    `json:"channels"`
}
