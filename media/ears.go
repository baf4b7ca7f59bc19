package media

import (
	"sync"
	"time"

	"github.com/bewaard/bewaard/media/dtmf"
	"github.com/bewaard/bewaard/media/rtp"
)

// ears listen for keys in the audio of the legs that have no other way to tell them. The
// legs' sockets leave copies of packets, as they do in the tap, and go on; with no leg to
// listen to, there is nothing to do. Their goroutine lives from New to Close.
type ears struct {
	wake chan struct{}
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	open map[*ear]struct{}
}

// earInterval is how often the packets are fetched, and earBytes how many fit until then:
// packets of 20 ms for half a second.
const (
	earInterval = 20 * time.Millisecond
	earBytes    = 8 << 10
)

func newEars() *ears {
	e := &ears{wake: make(chan struct{}, 1), stop: make(chan struct{}), open: map[*ear]struct{}{}}
	e.done.Go(e.run) // ends with close
	return e
}

func (e *ears) close() {
	close(e.stop)
	e.done.Wait()
}

func (e *ears) add(one *ear) {
	e.mu.Lock()
	e.open[one] = struct{}{}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// remove ends one. What it is hearing it hears to the end.
func (e *ears) remove(one *ear) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, one)
}

func (e *ears) run() {
	var all []*ear
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-e.wake:
		case <-timer.C:
		case <-e.stop:
			return
		}
		e.mu.Lock()
		for one := range e.open {
			all = append(all, one)
		}
		e.mu.Unlock()
		for _, one := range all {
			one.ring.drain(one.leg, one.hear) // hear gives no error
		}
		if len(all) > 0 {
			timer.Reset(earInterval)
		}
		clear(all)
		all = all[:0]
	}
}

// ear listens to one leg's peer.
type ear struct {
	session *Session
	leg     rtp.Leg
	ring    ring // from the leg's socket

	// Owned by the ears' goroutine.
	detector *dtmf.Detector
	begun    bool
	ssrc     uint32
	stamp    uint32 // of the last packet
	sent     int64  // that on a clock of the stream's, in nanoseconds
	at       int64  // when it came
	// transit is what lies between that clock and ours: the least that a packet had, since
	// jitter only adds to it. It may grow by driftPart, as clocks that are not ours do.
	transit int64
}

// driftPart is one thousandth: the path that has become longer by 100 ms is known in 100 s.
const driftPart = 1000

func newEar(s *Session, leg rtp.Leg) *ear {
	e := &ear{session: s, leg: leg}
	e.ring.buf = make([]byte, earBytes)
	e.detector = dtmf.New(e.heard)
	return e
}

// hear listens to a batch of packets: those of G.711, by their static payload types (RFC
// 3551 §6).
func (e *ear) hear(_ rtp.Leg, batch []byte) error {
	for len(batch) > 0 {
		at, packet, rest, err := rtp.NextCaptured(batch)
		if err != nil {
			return nil // it is what we put there
		}
		batch = rest
		h, err := rtp.Parse(packet)
		if err != nil || h.PayloadType != 0 && h.PayloadType != 8 {
			continue
		}
		law := dtmf.MuLaw
		if h.PayloadType == 8 {
			law = dtmf.ALaw
		}
		e.keepTime(h, at, h.PayloadEnd-h.PayloadOffset)
		e.detector.Take(h.Timestamp, law, packet[h.PayloadOffset:h.PayloadEnd])
	}
	return nil
}

// sampleTime is that of G.711.
const sampleTime = int64(time.Second / 8000)

// keepTime ties the stream's timestamps to when its packets come: a packet comes when its
// audio is over.
func (e *ear) keepTime(h rtp.Header, at int64, samples int) {
	ticks := int64(int32(h.Timestamp - e.stamp))
	if !e.begun || h.SSRC != e.ssrc || ticks > 8000*60 || ticks < -8000*60 {
		e.detector.Reset()
		e.begun, e.ssrc, ticks, e.transit, e.at = true, h.SSRC, 0, 1<<62, at
	}
	e.sent += ticks * sampleTime
	e.transit = min(e.transit+max(at-e.at, 0)/driftPart, at-e.sent-int64(samples)*sampleTime)
	e.stamp, e.at = h.Timestamp, at
}

// heard tells the call of a key: the detector's.
func (e *ear) heard(d dtmf.Digit) {
	when := func(stamp uint32) time.Time {
		return time.Unix(0, e.transit+e.sent+int64(int32(stamp-e.stamp))*sampleTime).UTC()
	}
	e.session.tell(Key{Leg: e.leg, Digit: d.Key, From: when(d.From), To: when(d.To)})
}

// Listen says whether keys are listened for in what a leg's peer says, in PCMA and PCMU:
// for one that has no telephone-events, since one that has may press every key twice. They
// come with the rest, once the key is let go or held for two seconds.
func (s *Session) Listen(leg rtp.Leg, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.listen(leg, on)
	}
}

// listen is Listen with mu held.
func (s *Session) listen(leg rtp.Leg, on bool) {
	l := &s.legs[leg]
	switch one := l.ear.Load(); {
	case on && one == nil:
		one = newEar(s, leg)
		l.ear.Store(one)
		s.engine.ears.add(one)
	case !on && one != nil:
		l.ear.Store(nil)
		s.engine.ears.remove(one)
	}
}
