package media

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// Key is a key that a leg's party pressed.
type Key struct {
	Leg   rtp.Leg
	Digit byte // 0–9, *, #, A–D

	// From and To are when it was heard, where it was (see Listen): its tones are in what was
	// captured meanwhile. Zero for a telephone-event, which has none.
	From, To time.Time
}

// keysQueue is how many keys wait for the call; more are dropped and counted.
const keysQueue = 16

// Session is one call's media: two legs, each with a socket for RTP and one for RTCP.
type Session struct {
	// Immutable after Open.
	engine  *Engine
	began   time.Time
	beganAt int64             // in nanoseconds since 1970
	local   [2]netip.AddrPort // as peers are told
	sockets sockets
	keys    chan Key
	broken  chan Broken
	// silences brings legs whose peer fell silent.
	silences chan rtp.Leg

	reporter reporter // owned by the desk
	legs     [2]leg
	tap      atomic.Pointer[Tap]

	mu     sync.Mutex
	closed bool
	stats  Stats // when closed
}

// Local returns the address of a leg's RTP, as the peer is to be told; that of RTCP
// is the next port.
func (s *Session) Local(leg rtp.Leg) netip.AddrPort { return s.local[leg] }

// Keys brings the keys that are pressed on either leg.
func (s *Session) Keys() <-chan Key { return s.keys }

// Now returns the time on the clock that the session began on: a step of the system's clock
// in a call does not move its packets against each other, or against its announcement.
func (s *Session) Now() time.Time { return s.clock(time.Now()) }

func (s *Session) clock(now time.Time) time.Time { return s.began.Add(now.Sub(s.began)) }

// at is that time in nanoseconds since 1970.
func (s *Session) at(now time.Time) int64 { return s.beganAt + int64(now.Sub(s.began)) }

// Expect says whether a leg's peer should send from now on: nobody who holds, is held or
// listens only need.
func (s *Session) Expect(leg rtp.Leg, on bool) {
	since := &s.legs[leg].expectedSince
	if !on {
		since.Store(0)
	} else {
		since.CompareAndSwap(0, s.at(time.Now()))
	}
}

// Silences brings a leg once its peer, who should send, has sent nothing for as long as
// Config.Silence, and again after he was heard.
func (s *Session) Silences() <-chan rtp.Leg { return s.silences }

// Connect tells where a leg's peer is. A second call with another negotiation opens
// the latch again.
func (s *Session) Connect(leg rtp.Leg, remote Remote) error {
	if !remote.RTP.IsValid() {
		return fmt.Errorf("connect %v leg: no address", leg)
	}
	if remote.RTP.Addr().Is4() != s.local[leg].Addr().Is4() {
		return fmt.Errorf("connect %v leg: %v and %v are not of the same IP version", leg, remote.RTP.Addr(), s.local[leg].Addr())
	}
	l := &s.legs[leg]
	if err := s.protect(leg, remote); err != nil {
		return fmt.Errorf("connect %v leg: %w", leg, err)
	}
	remote.Secure = nil                    // the keys are where they are used, and nowhere else
	if remote.RTP.Addr().IsUnspecified() { // on hold as of old (RFC 3264 §8.4): it wants nothing
		l.to.Store(nil)
		return nil
	}
	old := l.remote.Load()
	if old != nil && l.to.Load() != nil && old.same(remote) {
		return nil
	}
	if old == nil || old.RTP != remote.RTP || l.to.Load() == nil { // else he is where he was found
		l.to.Store(&remote.RTP)
	}
	l.remote.Store(&remote)
	return nil
}

// Events says which payload types of what a leg's peer sends are telephone-events.
func (s *Session) Events(leg rtp.Leg, types []uint8) {
	var events [128]bool
	for _, t := range types {
		events[t&0x7f] = true
	}
	s.legs[leg].events.Store(&events)
}

// Clock says how fast a leg's timestamps go, both ways, in Hz, as long as no packet has told:
// see Clocks. Until then it is 8000.
func (s *Session) Clock(leg rtp.Leg, hz int) {
	s.legs[leg].clock.Store(int64(hz))
	s.legs[leg].out.clockHz.Store(int64(hz))
}

// Clocks says how fast the timestamps of what a leg's peer sends go, in Hz by payload type:
// of its codecs, not of keys and comfort noise, which go by the clock of the codec in use.
// It may change between those at any packet.
func (s *Session) Clocks(leg rtp.Leg, hz map[uint8]int) {
	var table clocks
	for payloadType, hz := range hz {
		table[payloadType&0x7f] = int32(hz)
	}
	s.legs[leg].clocks.Store(&table)
}

// Translate has the payload types of what a leg's peer sends written as the other leg
// has them; nil leaves them as they are.
func (s *Session) Translate(from rtp.Leg, types map[uint8]uint8) {
	if len(types) == 0 {
		s.legs[from].types.Store(nil)
		return
	}
	var all payloadTypes
	for i := range all {
		all[i] = uint8(i)
	}
	for theirs, wanted := range types {
		all[theirs&0x7f] = wanted & 0x7f
	}
	s.legs[from].types.Store(&all)
}

// Relay turns on or off that what a leg's peer sends goes to the other leg.
func (s *Session) Relay(from rtp.Leg, on bool) { s.legs[from].relay.Store(on) }

// Capture has copies of what both peers send put into a tap from now on; nil ends it.
func (s *Session) Capture(t *Tap) { s.tap.Store(t) }

// Play sends frames to a leg's peer at even intervals. Meanwhile nothing is relayed
// to it. One playback at a time: the one before is interrupted.
func (s *Session) Play(leg rtp.Leg, frames Frames) (*Playback, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	l := &s.legs[leg]
	if l.to.Load() == nil {
		return nil, fmt.Errorf("play to %v leg: it is not connected", leg)
	}
	if len(frames.Payloads) == 0 {
		return nil, fmt.Errorf("play to %v leg: nothing to play", leg)
	}
	if frames.Interval == 0 {
		frames.Interval = 20 * time.Millisecond
	}
	if before := l.playback.Load(); before != nil {
		before.Stop()
	}
	p := newPlayback(s, leg, frames)
	l.playback.Store(p)
	if !frames.Tone {
		l.acknowledged.Store(nil)
		l.prompt.Store(p)
	}
	l.out.playing.Store(true)
	s.engine.pacer.add(p)
	return p, nil
}

// Stats returns what became of the legs so far, or until Close.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.stats
	}
	return s.live()
}

func (s *Session) live() (stats Stats) {
	for leg := range s.legs {
		stats.Legs[leg] = s.legs[leg].stats()
	}
	return stats
}

// Close ends the session, waits for its sockets and gives its ports back. A second
// call returns what the first did.
func (s *Session) Close() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.stats
	}
	for leg := range s.legs {
		if p := s.legs[leg].playback.Load(); p != nil {
			p.Stop()
		}
		s.listen(rtp.Leg(leg), false)
	}
	s.engine.desk.remove(s)
	s.bye()
	s.endHandshakes()
	s.sockets.close()
	s.tap.Store(nil)
	s.stats, s.closed = s.live(), true
	s.engine.forget(s)
	return s.stats
}

// step takes a datagram that came in on a leg's RTP socket and says what is to be
// sent on to the other leg, and where: nothing if to is not valid. The datagram is
// rewritten in place; one that is protected anew may grow into its array's room behind it.
// It is called from one goroutine a leg, and is the same for every engine.
func (s *Session) step(leg rtp.Leg, from netip.AddrPort, at int64, b []byte) (out []byte, to netip.AddrPort) {
	l := &s.legs[leg]
	if l.secure.Load() != nil {
		if b = s.open(leg, from, b); b == nil {
			return
		}
	} else if f := l.former.Load(); f != nil {
		b = l.late(f, at, b, f.in.RTP)
	}
	if l.isRaw() {
		return b, s.pass(leg, from, at, b)
	}
	h, err := rtp.Parse(b)
	if err != nil {
		if err == rtp.ErrRTCP {
			s.control(leg, from, b)
		} else {
			l.invalid.Add(1)
		}
		return
	}
	if !l.admit(from) {
		l.rejected.Add(1)
		return
	}
	l.received.Add(1)
	l.bytes.Add(uint64(len(b)))
	l.heardAt.Store(at)
	event := l.isEvent(h.PayloadType)
	clockHz := l.clockOf(h.PayloadType)
	l.hear(h, at, clockHz, !event)
	if tap := s.tap.Load(); tap != nil {
		copied := b
		if event { // the place in time without the key: digits are never written
			copied = b[:h.PayloadOffset]
		}
		if !tap.legs[leg].put(at, copied) {
			l.dropped.Add(1)
		}
	}
	if ear := l.ear.Load(); ear != nil {
		ear.ring.put(at, b) // what finds no room is not listened to
	}
	if event {
		s.press(leg, h, b)
	}
	other := &s.legs[leg.Other()]
	if !l.relay.Load() || other.out.playing.Load() || !other.out.hold() {
		return
	}
	if m := other.mix.Load(); m != nil && !m.lay(h.PayloadType, at, b[h.PayloadOffset:h.PayloadEnd]) {
		other.mix.CompareAndSwap(m, nil)
	}
	if types := l.types.Load(); types != nil {
		rtp.SetPayloadType(b, types[h.PayloadType])
	}
	other.out.relay(h, at, clockHz, b)
	other.out.release()
	if dest := other.to.Load(); dest != nil {
		if b = other.seal(b); b == nil {
			return
		}
		l.relayed.Add(1)
		return b, *dest
	}
	return
}

// pass takes a datagram of a stream that is relayed as it is: fax, video. Nothing of it
// is read, kept or counted as RTP.
func (s *Session) pass(leg rtp.Leg, from netip.AddrPort, at int64, b []byte) (to netip.AddrPort) {
	l, other := &s.legs[leg], &s.legs[leg.Other()]
	if !l.admit(from) {
		l.rejected.Add(1)
		return
	}
	l.received.Add(1)
	l.bytes.Add(uint64(len(b)))
	l.heardAt.Store(at)
	dest := other.to.Load()
	if !l.relay.Load() || !other.isRaw() || dest == nil {
		return
	}
	l.relayed.Add(1)
	return *dest
}

// press tells the call of a key: the slow door.
func (s *Session) press(leg rtp.Leg, h rtp.Header, b []byte) {
	digit := s.legs[leg].keys.Take(h, b[h.PayloadOffset:h.PayloadEnd])
	if digit != 0 {
		s.tell(Key{Leg: leg, Digit: digit})
	}
}

// tell tells the call of a key, if it has taken the last ones.
func (s *Session) tell(k Key) {
	select {
	case s.keys <- k:
	default:
		s.engine.keysDropped.Add(1)
	}
}
