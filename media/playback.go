package media

import (
	"sync"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/srtp"
)

// maxStall is how late a packet of a prompt may be. Later, the listener has heard a
// hole, and the prompt counts as interrupted.
const maxStall = 200 * time.Millisecond

// deaf is how many of its packets the network may say that nobody takes them before a prompt
// counts as interrupted: one may be of what was sent before.
const deaf = 2

// Playback is a prompt on its way to a leg's peer.
type Playback struct {
	session *Session
	leg     rtp.Leg
	frames  Frames
	done    chan struct{}

	// Owned by the pacer.
	next    time.Time // when the next frame is due
	packet  []byte
	refused uint64 // of the leg's packets, before it began

	mu     sync.Mutex
	over   bool
	result Played
}

func newPlayback(s *Session, leg rtp.Leg, frames Frames) *Playback {
	longest := 0
	for _, payload := range frames.Payloads {
		longest = max(longest, len(payload))
	}
	return &Playback{
		session: s, leg: leg, frames: frames, done: make(chan struct{}),
		next: time.Now(), packet: make([]byte, rtp.HeaderBytes+longest+srtp.Overhead),
		refused: s.legs[leg].refused.Load(),
		result:  Played{Total: len(frames.Payloads), SSRC: s.legs[leg].out.ssrc.Load()},
	}
}

// Done is closed when the last packet's time is over, or when the playback was
// interrupted.
func (p *Playback) Done() <-chan struct{} { return p.done }

// Result returns what came of the playback so far.
func (p *Playback) Result() Played {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result
}

// Stop interrupts the playback; one that is over stays as it is.
func (p *Playback) Stop() { p.end(true) }

// end ends the playback once, and lets relayed packets through again.
func (p *Playback) end(interrupted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.over = true
	if interrupted {
		p.result.Interruptions++
	}
	p.result.Complete = p.result.Packets == p.result.Total && p.result.Interruptions == 0
	l := &p.session.legs[p.leg]
	p.result.Heard = p.result.Packets > 0 && l.heardAt.Load() > p.result.FirstAt.UnixNano()
	if l.playback.Load() == p {
		l.out.playing.Store(false)
	}
	close(p.done)
}

// send sends the frame that is due. It reports whether more are to come.
func (p *Playback) send(now time.Time) bool {
	p.mu.Lock()
	sent, over := p.result.Packets, p.over
	p.mu.Unlock()
	switch {
	case over:
		return false
	case p.session.legs[p.leg].refused.Load() >= p.refused+deaf: // nobody is there to hear it
		p.end(true)
		return false
	case sent == len(p.frames.Payloads): // the last packet's time is over
		p.end(false)
		return false
	case now.Sub(p.next) > maxStall && sent > 0:
		p.end(true)
		return false
	}
	l := &p.session.legs[p.leg]
	if sent == 0 && !l.understands(p.session.at(now), p.frames.Tone) || l.unready() { // nothing is said to who cannot make it out yet
		p.next = p.next.Add(p.frames.Interval)
		return true
	}
	for !l.out.hold() { // a relayed packet is being rewritten: nanoseconds
	}
	b := p.packet[:rtp.HeaderBytes+copy(p.packet[rtp.HeaderBytes:], p.frames.Payloads[sent])]
	h := l.out.insert(b, p.frames.PayloadType, sent == 0, p.frames.Samples, p.session.at(now))
	l.out.tick(int(int64(p.frames.Samples) * int64(time.Second) / int64(p.frames.Interval)))
	l.out.release()
	to := l.to.Load()
	if to == nil { // put on hold meanwhile
		p.end(true)
		return false
	}
	if b = l.seal(b); b == nil || p.session.sockets.send(p.leg, b, *to) != nil {
		l.errors.Add(1)
		p.end(true)
		return false
	}
	l.played.Add(1)
	p.mu.Lock()
	if sent == 0 {
		p.result.SSRC, p.result.FirstSequence, p.result.FirstAt = h.SSRC, h.Sequence, p.session.clock(now)
	}
	p.result.LastSequence, p.result.LastAt = h.Sequence, p.session.clock(now)
	p.result.Packets++
	p.mu.Unlock()
	p.next = p.next.Add(p.frames.Interval)
	return true
}
