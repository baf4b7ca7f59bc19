package media

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// RTCP ends with us on either leg: who sends a stream under an SSRC of his own reports on
// it himself, and on what he receives (RFC 3550 §7, RFC 8079 §5). What a party reports of
// its clock is passed on in the clock of our stream, so that a receiver can still hold
// sound and picture together.

// reporting is what a leg's reports need. The desk writes it, and whoever closes the session.
type reporting struct {
	from     atomic.Pointer[netip.AddrPort] // where the peer's reports come from, behind NAT
	mu       sync.Mutex
	name     string           // our CNAME towards the peer: RFC 7022
	sender   rtp.SenderReport // the peer's last, valid if heard is
	senderHz int              // the clock of the timestamp in it
	heard    time.Time        // when that came
	known    string           // what the peer's sender last called itself
	senders  uint32           // how many there were, by that name
	said     uint32           // the middle of our last
	saidAt   time.Time
	expected uint32 // as of our last report
	received uint32
	packets  uint64 // sent as of our last report
	feedback Feedback
	silent   bool // and the call was told
}

// peer returns what the peer last reported.
func (r *reporting) peer() Feedback {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.feedback
}

// control takes a datagram of RTCP, from either of a leg's sockets, to the desk. Of a stream
// that is relayed as it is, it goes on as it is.
func (s *Session) control(leg rtp.Leg, from netip.AddrPort, b []byte) {
	l := &s.legs[leg]
	remote := l.remote.Load()
	if remote == nil || !l.reports(remote, from) {
		l.rejected.Add(1)
		return
	}
	if l.secure.Load() != nil {
		if b = l.openReport(b); b == nil {
			return
		}
	} else if f := l.former.Load(); f != nil {
		b = l.late(f, s.at(time.Now()), b, f.in.RTCP)
	}
	s.deliver(leg, from, b)
}

// deliver takes a datagram of RTCP that is plain to the desk.
func (s *Session) deliver(leg rtp.Leg, from netip.AddrPort, b []byte) {
	l := &s.legs[leg]
	remote := l.remote.Load()
	if remote.NAT {
		l.reporting.from.Store(&from)
	}
	if remote.Raw {
		if dest := s.legs[leg.Other()].remote.Load(); l.relay.Load() && dest != nil && dest.Raw {
			s.sockets.sendRTCP(leg.Other(), b, dest.RTCP) // a lost report is followed by another
		}
		return
	}
	select {
	case s.engine.desk.letters <- letter{s, leg, from, time.Now(), slices.Clone(b)}:
	default:
		s.engine.desk.lost.Add(1)
	}
}

// reports reports whether RTCP from that address is the peer's.
func (l *leg) reports(remote *Remote, from netip.AddrPort) bool {
	if from.Addr() == remote.RTCP.Addr() || from.Addr() == remote.RTP.Addr() {
		return true
	}
	to := l.to.Load() // behind NAT: where its packets come from
	return remote.NAT && to != nil && from.Addr() == to.Addr()
}

// read takes what a letter says.
func (s *Session) read(in letter) {
	l := &s.legs[in.leg]
	c, err := rtp.ParseControl(in.b)
	if err != nil {
		l.invalid.Add(1)
		return
	}
	r := &l.reporting
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Sender != nil {
		r.sender, r.senderHz, r.heard = *c.Sender, l.clockHz(), in.at
		if c.Name != r.known || r.senders == 0 {
			r.known = c.Name
			r.senders++
		}
		sender := r.senders
		if c.Name == "" { // anybody's
			sender = 0
		}
		if tap := s.tap.Load(); tap != nil {
			tap.report(rtp.Reported{Leg: in.leg, At: s.at(in.at), SSRC: c.Sender.SSRC, NTP: c.Sender.NTP, Timestamp: c.Sender.Timestamp, Sender: sender})
		}
	}
	for i := range c.Reports {
		if report := &c.Reports[i]; report.SSRC == l.out.ssrc.Load() {
			l.acknowledge(report)
			r.take(report, in.at, l)
		}
	}
}

// take keeps what the peer reports of our stream.
func (r *reporting) take(report *rtp.Report, at time.Time, l *leg) {
	f := Feedback{Lost: uint64(report.TotalLost), Of: l.out.packets.Load(), RoundTrip: r.feedback.RoundTrip}
	f.Jitter = time.Duration(report.Jitter) * time.Second / time.Duration(max(l.out.clockHz.Load(), 1))
	if report.TotalLost >= 1<<23 { // more came than was sent: RFC 3550 §6.4.1 has it negative
		f.Lost = 0
	}
	if report.LastSR != 0 && report.LastSR == r.said {
		if trip := at.Sub(r.saidAt) - rtp.MiddlesDuration(report.Since); trip >= 0 {
			f.RoundTrip = trip
		}
	}
	r.feedback = f
}

// report sends each leg's peer a report, and tells the call of a peer that fell silent.
func (s *Session) report(now time.Time, silence time.Duration) {
	for leg := range s.legs {
		s.sendReport(rtp.Leg(leg), now, false)
		if s.legs[leg].fellSilent(s.at(now), silence) {
			select {
			case s.silences <- rtp.Leg(leg):
			default: // it has not taken the last one yet
			}
		}
	}
}

// reportTo is where the peer's reports go: where its own come from, if it is behind NAT, and
// beside its packets before it has sent one.
func (l *leg) reportTo(remote *Remote, to netip.AddrPort) netip.AddrPort {
	if !remote.NAT || to == remote.RTP {
		return remote.RTCP
	}
	if from := l.reporting.from.Load(); from != nil && from.Addr() == to.Addr() {
		return *from
	}
	return netip.AddrPortFrom(to.Addr(), to.Port()+1)
}

// bye tells the peers that our streams end.
func (s *Session) bye() {
	now := time.Now()
	for leg := range s.legs {
		if s.legs[leg].out.packets.Load() > 0 {
			s.sendReport(rtp.Leg(leg), now, true)
		}
	}
}

func (s *Session) sendReport(leg rtp.Leg, now time.Time, bye bool) {
	l := &s.legs[leg]
	remote, to := l.remote.Load(), l.to.Load()
	if remote == nil || remote.Raw || to == nil || !remote.RTCP.IsValid() && !remote.Mux {
		return
	}
	clockHz := int(max(l.out.clockHz.Load(), 1))
	timestamp := l.out.stampAt(s.at(now), clockHz)
	ntp := rtp.NTP(now)
	if source := l.out.source.Load(); source != 0 {
		ntp = s.legs[leg.Other()].reporting.clock(uint32(source>>32), timestamp-uint32(source), clockHz, ntp)
	}
	b, err := l.compose(now, ntp, timestamp, bye).Marshal(l.out.ssrc.Load(), l.reporting.name)
	if err != nil || l.unready() {
		return
	}
	if b = l.sealReport(b); b == nil {
		return
	}
	if remote.Mux {
		err = s.sockets.send(leg, b, *to)
	} else {
		err = s.sockets.sendRTCP(leg, b, l.reportTo(remote, *to))
	}
	if err != nil {
		l.errors.Add(1)
	}
}

// compose makes the report of a leg: what we sent since the last one, if anything, with
// what the wall clock showed at a timestamp, and what came in.
func (l *leg) compose(now time.Time, ntp uint64, timestamp uint32, bye bool) rtp.Control {
	r := &l.reporting
	r.mu.Lock()
	defer r.mu.Unlock()
	c := rtp.Control{Bye: bye}
	if sent := l.out.packets.Load(); sent != r.packets { // it is counted anew for another SSRC
		r.packets, r.said, r.saidAt = sent, rtp.Middle(ntp), now
		c.Sender = &rtp.SenderReport{NTP: ntp, Timestamp: timestamp, Packets: uint32(sent), Octets: uint32(l.out.octets.Load())}
	}
	if block, ok := l.block(now); ok {
		c.Reports = []rtp.Report{block}
	}
	return c
}

// block is our report on the peer's stream. Called with reporting held.
func (l *leg) block(now time.Time) (block rtp.Report, ok bool) {
	heard, of := l.heardTo.Load(), l.heardOf.Load()
	base, count := uint32(of>>32), uint32(of)
	if count == 0 {
		return block, false
	}
	r := &l.reporting
	highest := uint32(heard)
	expected := highest - base + 1
	block = rtp.Report{SSRC: uint32(heard >> 32), Highest: highest - 1<<16} // it is counted from one cycle up
	if expected > count {
		block.TotalLost = expected - count
	}
	if expected >= r.expected && count >= r.received { // not a new source
		if due, came := expected-r.expected, count-r.received; due > came {
			block.Lost = float64(due-came) / float64(due)
		}
	}
	r.expected, r.received = expected, count
	block.Jitter = uint32(l.jitter.Load() * int64(l.clockHz()) / int64(time.Second))
	if !r.heard.IsZero() && r.sender.SSRC == block.SSRC {
		block.LastSR, block.Since = rtp.Middle(r.sender.NTP), rtp.Middles(now.Sub(r.heard))
	}
	return block, true
}

// clock tells what the wall clock of who sends that SSRC showed at a timestamp of his, or
// ours, if he has not shown it, or another clock of timestamps since.
func (r *reporting) clock(ssrc, timestamp uint32, clockHz int, ours uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard.IsZero() || r.sender.SSRC != ssrc || r.senderHz != clockHz {
		return ours
	}
	ticks := int64(int32(timestamp - r.sender.Timestamp))
	return r.sender.NTP + uint64(ticks<<32/int64(clockHz))
}

// fellSilent reports once that the peer, who should send, has not for so long.
func (l *leg) fellSilent(at int64, after time.Duration) bool {
	r := &l.reporting
	r.mu.Lock()
	defer r.mu.Unlock()
	since := l.expectedSince.Load()
	if since == 0 || at-max(since, l.heardAt.Load()) < int64(after) {
		r.silent = false
		return false
	}
	told := r.silent
	r.silent = true
	return !told
}

// stampAt returns the timestamp that the stream has at a time.
func (o *outgoing) stampAt(at int64, clockHz int) uint32 {
	clock := o.clock.Load()
	elapsed := uint32(at/1000) - uint32(clock) // microseconds; wraps after an hour
	return uint32(clock>>32) + uint32(uint64(elapsed)*uint64(clockHz)/1_000_000)
}
