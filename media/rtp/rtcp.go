package rtp

import (
	"fmt"
	"time"

	"github.com/pion/rtcp"
)

// Report is what a receiver reports of a stream (RFC 3550 §6.4.1).
type Report struct {
	SSRC      uint32  // of the stream
	Highest   uint32  // extended sequence number received
	Lost      float64 // ratio lost since the last report, 0–1
	TotalLost uint32  // packets lost since its beginning
	Jitter    uint32  // in ticks
	LastSR    uint32  // the middle of the NTP time of the last sender report; 0 for none
	Since     uint32  // that came, in 1/65536 s
}

// SenderReport is what a sender says of its own stream: what its clock of timestamps
// showed at a time of its clock on the wall.
type SenderReport struct {
	SSRC      uint32
	NTP       uint64 // seconds since 1900, 32.32 fixed point
	Timestamp uint32
	Packets   uint32
	Octets    uint32
}

// Reported is what of a peer's sender report tells its clocks apart from ours.
type Reported struct {
	Leg       Leg    `json:"-"`
	At        int64  `json:"-"` // when it came, in nanoseconds since 1970
	SSRC      uint32 `json:"ssrc"`
	NTP       uint64 `json:"ntp"`
	Timestamp uint32 `json:"timestamp"`
	// Sender counts who a leg's reports were by, as he named himself (CNAME, RFC 3550
	// §6.5.1): another number is another clock. The name itself goes nowhere.
	Sender uint32 `json:"sender"`
}

// Control is what a compound packet of RTCP says, as far as it matters to a relay.
type Control struct {
	Sender  *SenderReport // nil for none
	Name    string        // the sender's, "" for none
	Reports []Report
	Bye     bool
}

// ParseControl reads a compound packet, or a reduced one (RFC 5506).
func ParseControl(b []byte) (c Control, err error) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return c, fmt.Errorf("parse RTCP: %w", err)
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			c.Sender = &SenderReport{p.SSRC, p.NTPTime, p.RTPTime, p.PacketCount, p.OctetCount}
			c.take(p.Reports)
		case *rtcp.ReceiverReport:
			c.take(p.Reports)
		case *rtcp.SourceDescription:
			c.name(p.Chunks)
		case *rtcp.Goodbye:
			c.Bye = true
		}
	}
	return c, nil
}

// name takes what the sender calls itself.
func (c *Control) name(chunks []rtcp.SourceDescriptionChunk) {
	for _, chunk := range chunks {
		for _, item := range chunk.Items {
			if item.Type == rtcp.SDESCNAME && c.Sender != nil && chunk.Source == c.Sender.SSRC {
				c.Name = item.Text
			}
		}
	}
}

func (c *Control) take(reports []rtcp.ReceptionReport) {
	for _, r := range reports {
		c.Reports = append(c.Reports, Report{
			SSRC: r.SSRC, Highest: r.LastSequenceNumber, Lost: float64(r.FractionLost) / 256, TotalLost: r.TotalLost,
			Jitter: r.Jitter, LastSR: r.LastSenderReport, Since: r.Delay,
		})
	}
}

// Marshal writes a compound packet by the stream that has the SSRC: its report, the name
// (RFC 3550 §6.5.1), and a BYE if it says so.
func (c Control) Marshal(ssrc uint32, name string) ([]byte, error) {
	var blocks []rtcp.ReceptionReport
	for _, r := range c.Reports {
		blocks = append(blocks, rtcp.ReceptionReport{
			SSRC: r.SSRC, FractionLost: uint8(min(r.Lost*256, 255)), TotalLost: min(r.TotalLost, 1<<23-1), LastSequenceNumber: r.Highest,
			Jitter: r.Jitter, LastSenderReport: r.LastSR, Delay: r.Since,
		})
	}
	var packets []rtcp.Packet
	if s := c.Sender; s != nil {
		packets = append(packets, &rtcp.SenderReport{SSRC: ssrc, NTPTime: s.NTP, RTPTime: s.Timestamp, PacketCount: s.Packets, OctetCount: s.Octets, Reports: blocks})
	} else {
		packets = append(packets, &rtcp.ReceiverReport{SSRC: ssrc, Reports: blocks})
	}
	packets = append(packets, &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: name}},
	}}})
	if c.Bye {
		packets = append(packets, &rtcp.Goodbye{Sources: []uint32{ssrc}})
	}
	b, err := rtcp.Marshal(packets)
	if err != nil {
		return nil, fmt.Errorf("write RTCP: %w", err)
	}
	return b, nil
}

// ntpEpoch is 1900-01-01 in seconds before 1970 (RFC 5905 §6).
const ntpEpoch = 2_208_988_800

// NTP returns a time as reports have it.
func NTP(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// NTPDuration returns how long a span of NTP time is.
func NTPDuration(from, to uint64) time.Duration {
	span := int64(to - from)
	return time.Duration(span>>32)*time.Second + time.Duration((span&0xffffffff)*1e9>>32)
}

// Middle returns the part of an NTP time that a report refers to a sender report by.
func Middle(ntp uint64) uint32 { return uint32(ntp >> 16) }

// Middles returns a span in the unit of Report.Since.
func Middles(d time.Duration) uint32 { return uint32(int64(d) * 65536 / 1e9) }

// MiddlesDuration returns a span given in that unit.
func MiddlesDuration(n uint32) time.Duration { return time.Duration(int64(n) * 1e9 / 65536) }
