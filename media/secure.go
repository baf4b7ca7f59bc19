package media

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/srtp"
)

// Secure is how a leg's packets are protected: each leg by itself, so that between the two
// they are plain. The zero says that they are to be, and that it is not agreed how yet:
// what comes and goes until then is dropped and counted.
type Secure struct {
	In, Out srtp.Key // the peer's and ours, where session descriptions brought them
	Renew   bool     // whoever is at the other end now does not know how far our stream is
	DTLS    *DTLS    // where a handshake agrees on them
}

// DTLS is a handshake with a leg's peer, over the packets' own way (RFC 5764).
type DTLS struct {
	srtp.Peer
	ID string // the association's, if the peer names it: another one is another handshake
}

func (d DTLS) same(o DTLS) bool {
	return d.ID == o.ID && d.Client == o.Client && slices.Equal(d.Fingerprints, o.Fingerprints)
}

// Broken says that a leg has no media: its handshake came to nothing.
type Broken struct {
	Leg rtp.Leg
	Err error
}

// Broken brings the legs that are, each once a handshake.
func (s *Session) Broken() <-chan Broken { return s.broken }

// secure protects a leg's packets. What it holds may be used from everywhere.
//
//	no keys ─┬─ description ───▶ keys ─ another description ─▶ keys …
//	         └─ handshake ─┬───▶ keys ─ another handshake ───▶ keys …
//	                       └─▶ broken
type secure struct {
	in  srtp.In
	out srtp.Out

	handshake atomic.Pointer[handshake] // that goes on, or has brought the keys
	agreedAt  atomic.Int64              // when there were keys last, on the session's clock
}

// former is what protected a leg that is plain since. The peer may not know that yet: what
// comes by the old keys is made plain for a while, so that nobody hears it as noise.
type former struct {
	*secure
	until int64 // on the session's clock
}

// formerTime is how long the old keys are tried: a retransmission or two of what told the
// peer (RFC 3261 §17.1.1.2), and the way of its packets.
const formerTime = 5 * time.Second

// handshake is one with a leg's peer. Its goroutine ends with the keys, or with end.
type handshake struct {
	*srtp.Handshake
	of     DTLS
	with   netip.AddrPort                 // as negotiated
	from   atomic.Pointer[netip.AddrPort] // where the peer's datagrams come from
	cancel context.CancelFunc
	over   sync.WaitGroup
	ended  atomic.Bool
}

// handshakeTimeout is how long a handshake may take: somebody waits at each end.
const handshakeTimeout = 10 * time.Second

// protect has a leg's packets be protected as negotiated from now on. What is agreed
// already, and again, goes on.
func (s *Session) protect(leg rtp.Leg, remote Remote) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.legs[leg]
	sec := l.secure.Load()
	if remote.Secure == nil || remote.Raw {
		if sec != nil {
			l.plainFrom = l.received.Load()
			if !remote.Raw {
				l.former.Store(&former{sec, s.at(time.Now()) + int64(formerTime)})
			}
		}
		l.secure.Store(nil)
		sec.end()
		return nil
	}
	l.former.Store(nil)
	if s.closed {
		return ErrClosed
	}
	if sec == nil {
		l.unprotected += l.received.Load() - l.plainFrom
		sec = &secure{}
		l.secure.Store(sec)
	}
	switch wanted := remote.Secure; {
	case wanted.DTLS != nil:
		return s.shake(leg, sec, *wanted.DTLS, remote.RTP)
	case !wanted.In.IsZero():
		sec.end()
		return s.agree(leg, sec, sdes, wanted.In, wanted.Out, wanted.Renew)
	default: // whatever held did so for somebody else
		sec.end()
		l.secure.Store(&secure{})
	}
	return nil
}

// The ways in which keys are agreed: RFC 4568, RFC 5764.
const (
	sdes = "sdes"
	dtls = "dtls"
)

// agree has keys hold from now on. A stream of ours that began by another key, or by none,
// goes on as another one.
func (s *Session) agree(leg rtp.Leg, sec *secure, way string, in, out srtp.Key, renew bool) error {
	if !sec.out.Has(out) {
		sec.agreedAt.Store(s.at(time.Now()))
	}
	if err := sec.in.Rekey(in); err != nil {
		return err
	}
	protection := way + " " + in.Suite().String()
	s.legs[leg].protection.Store(&protection)
	changed, err := sec.out.Rekey(out)
	if changed || renew && err == nil {
		s.legs[leg].out.renew()
	}
	return err
}

// shake begins a handshake with a leg's peer, unless it is the one that there was.
func (s *Session) shake(leg rtp.Leg, sec *secure, d DTLS, with netip.AddrPort) error {
	if old := sec.handshake.Load(); old != nil && old.of.same(d) && (old.with == with || with.Addr().IsUnspecified()) {
		return nil
	}
	sec.end()
	h := &handshake{of: d, with: with}
	var err error
	if h.Handshake, err = s.engine.identity.Begin(d.Peer, func(b []byte) error { return s.sendHandshake(leg, h, b) }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	h.cancel = cancel
	sec.handshake.Store(h)
	h.over.Go(func() { // ends with the handshake; h.end waits for it
		defer cancel()
		in, out, err := h.Run(ctx)
		if err == nil {
			err = s.agree(leg, sec, dtls, in, out, false)
		}
		if err == nil || h.ended.Load() {
			return
		}
		sec.handshake.CompareAndSwap(h, nil) // the next like it is another
		select {
		case s.broken <- Broken{leg, err}:
		default: // the call has been told, and not listened yet
		}
	})
	return nil
}

// sendHandshake sends a datagram where the peer's come from, or else where he said.
func (s *Session) sendHandshake(leg rtp.Leg, h *handshake, b []byte) error {
	to := h.from.Load()
	if to == nil {
		to = &h.with
	}
	return s.sockets.send(leg, b, *to)
}

// end ends the handshake and its association, and waits for that. Those that there are not
// it leaves.
func (sec *secure) end() {
	if sec == nil {
		return
	}
	if h := sec.handshake.Swap(nil); h != nil {
		h.ended.Store(true)
		h.cancel()
		h.Close()
		h.over.Wait()
	}
}

func (s *Session) endHandshakes() {
	for leg := range s.legs {
		s.legs[leg].secure.Load().end()
	}
}

// open makes plain what came in on the RTP socket of a leg that is protected: nil for what
// is no packet to go on with. It is the slow door.
func (s *Session) open(leg rtp.Leg, from netip.AddrPort, b []byte) []byte {
	l := &s.legs[leg]
	sec, remote := l.secure.Load(), l.remote.Load()
	if sec == nil { // since just now
		return nil
	}
	if remote == nil || !l.expects(remote, from) { // the latch is for authentic packets only
		l.rejected.Add(1)
		return nil
	}
	if len(b) < 2 {
		l.invalid.Add(1)
		return nil
	}
	switch kind := b[0]; { // RFC 7983 §7
	case kind >= 20 && kind <= 63:
		l.shaken(sec, from, b)
		return nil
	case kind < 128 || kind > 191:
		l.invalid.Add(1)
		return nil
	case remote.Mux && b[1] >= 192 && b[1] <= 223: // RFC 5761 §4
		if b = l.openReport(b); b != nil {
			s.deliver(leg, from, b)
		}
		return nil
	}
	plain, err := sec.in.RTP(b)
	if err != nil {
		l.refuse(err)
		return nil
	}
	return plain
}

// late makes plain what still comes by a leg's former keys, a packet or a report; what does
// not is plain, and stays as it is.
func (l *leg) late(f *former, at int64, b []byte, plain func([]byte) ([]byte, error)) []byte {
	if at > f.until {
		l.former.CompareAndSwap(f, nil)
		return b
	}
	tried := append(make([]byte, 0, len(b)+srtp.Overhead), b...) // what is not authentic is spoiled by the try
	if tried, err := plain(tried); err == nil {
		return tried
	}
	return b
}

// shaken takes a datagram of a handshake.
func (l *leg) shaken(sec *secure, from netip.AddrPort, b []byte) {
	h := sec.handshake.Load()
	if h == nil || !h.Take(b) {
		l.unkeyed.Add(1)
		return
	}
	if at := h.from.Load(); at == nil || *at != from {
		h.from.Store(&from)
	}
}

// refuse counts a packet that is not taken.
func (l *leg) refuse(err error) {
	switch err {
	case srtp.ErrNoKey:
		l.unkeyed.Add(1)
	case srtp.ErrReplayed:
		l.replayed.Add(1)
	default:
		l.forged.Add(1)
	}
}

// openReport makes plain what came in as RTCP.
func (l *leg) openReport(b []byte) []byte {
	sec := l.secure.Load()
	if sec == nil {
		return nil
	}
	plain, err := sec.in.RTCP(b)
	if err != nil {
		l.refuse(err)
		return nil
	}
	return plain
}

// seal protects a packet to the leg's peer, if that is agreed: nil for one that cannot be.
func (l *leg) seal(b []byte) []byte {
	sec := l.secure.Load()
	if sec == nil {
		return b
	}
	out, err := sec.out.RTP(b)
	return l.sealed(out, err)
}

// sealReport protects a report to the leg's peer.
func (l *leg) sealReport(b []byte) []byte {
	sec := l.secure.Load()
	if sec == nil {
		return b
	}
	out, err := sec.out.RTCP(b)
	return l.sealed(out, err)
}

func (l *leg) sealed(b []byte, err error) []byte {
	switch err {
	case nil:
		return b
	case srtp.ErrNoKey:
		l.unkeyed.Add(1)
	default:
		l.errors.Add(1)
	}
	return nil
}

// How long a prompt waits at most for a peer to be heard: what brings him our key, a
// description or the last words of a handshake, is under way when we have it, and what
// overtakes it cannot be made out. Lost words are said again after flightInterval, and later.
const (
	keyGrace       = 200 * time.Millisecond
	handshakeGrace = time.Second
)

// understands reports whether the leg's peer can make out what is sent it: it is plain, or
// a packet of his shows that he has the keys. Who sends none is taken to after a while; a
// tone is not worth to wait that long.
func (l *leg) understands(at int64, tone bool) bool {
	sec := l.secure.Load()
	if sec == nil {
		return true
	}
	grace := keyGrace
	if sec.handshake.Load() != nil {
		grace = handshakeGrace
	}
	agreed := sec.agreedAt.Load()
	return sec.out.Ready() && (tone || l.heardAt.Load() > agreed || at-agreed >= int64(grace))
}

// unready reports whether the leg waits for its keys.
func (l *leg) unready() bool {
	sec := l.secure.Load()
	return sec != nil && !sec.out.Ready()
}
