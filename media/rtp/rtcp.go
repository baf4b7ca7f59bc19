package rtp

import (
	"fmt"

	"github.com/pion/rtcp"
)

// Source is one sender's place in a stream that is relayed under another name: its
// sequence numbers and timestamps plus the offsets are those that the receiver sees.
type Source struct {
	SSRC, As        uint32
	SequenceOffset  uint16
	TimestampOffset uint32
}

// Report is what a receiver reported of a stream (RFC 3550 §6.4.1).
type Report struct {
	SSRC    uint32  // of the stream
	Highest uint32  // extended sequence number received
	Lost    float64 // ratio lost since the last report, 0–1
}

// Reports returns the report blocks of a compound packet.
func Reports(b []byte) ([]Report, error) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return nil, fmt.Errorf("parse RTCP: %w", err)
	}
	var reports []Report
	for _, p := range packets {
		for _, r := range receptions(p) {
			reports = append(reports, Report{r.SSRC, r.LastSequenceNumber, float64(r.FractionLost) / 256})
		}
	}
	return reports, nil
}

func receptions(p rtcp.Packet) []rtcp.ReceptionReport {
	switch p := p.(type) {
	case *rtcp.SenderReport:
		return p.Reports
	case *rtcp.ReceiverReport:
		return p.Reports
	}
	return nil
}

// TranslateRTCP rewrites a compound packet for the other side of a relay (RFC 8079
// §3): what its sender says of his own stream is told of the stream as relayed, and
// what he reports of ours is told of its source. Other packets, and reports on
// streams that are not relayed, are left out; nil means that nothing is left.
func TranslateRTCP(b []byte, own, other Source) ([]byte, error) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return nil, fmt.Errorf("parse RTCP: %w", err)
	}
	var kept []rtcp.Packet
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			if p.SSRC == own.SSRC {
				p.RTPTime += own.TimestampOffset
			}
			p.SSRC, p.Reports, p.ProfileExtensions = own.As, translate(p.Reports, other), nil
			kept = append(kept, p)
		case *rtcp.ReceiverReport:
			p.SSRC, p.Reports, p.ProfileExtensions = own.As, translate(p.Reports, other), nil
			kept = append(kept, p)
		case *rtcp.Goodbye:
			p.Sources = []uint32{own.As}
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	out, err := rtcp.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("write RTCP: %w", err)
	}
	return out, nil
}

// translate rewrites the reports on a stream as relayed into ones on its source.
func translate(reports []rtcp.ReceptionReport, of Source) []rtcp.ReceptionReport {
	var kept []rtcp.ReceptionReport
	for _, r := range reports {
		if r.SSRC != of.As || of.SSRC == 0 {
			continue
		}
		r.SSRC = of.SSRC
		// The cycles are the receiver's count of our numbers; they are as good a
		// guess for the source's.
		r.LastSequenceNumber = r.LastSequenceNumber&^0xffff | uint32(uint16(r.LastSequenceNumber)-of.SequenceOffset)
		kept = append(kept, r)
	}
	return kept
}
