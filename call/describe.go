package call

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/sip/sdp"
)

// Stream i of a description is stream i of every other of the call: what is not passed
// keeps its place with port 0 (RFC 3264 §8).

// towards makes of one party's description what the other is to get: the codecs that the
// call may use, and the streams that both trunks pass.
func (c *Call) towards(d *sdp.Description, wanted func(sdp.Codec) bool) (*sdp.Description, error) {
	passed := d.Clone()
	if c.main >= len(passed.Media) {
		return nil, sdp.ErrNoAudio
	}
	m := passed.Media[c.main]
	if m.RTP() && m.Type == "audio" && m.Port != 0 && m.Keep(wanted) == 0 {
		return nil, sdp.ErrNoAudio
	}
	return passed, nil
}

// answering is towards for an answer to an offer: it has as many streams, and no codec that
// was not offered (RFC 3264 §6.1), whatever the other party's answer says.
func (c *Call) answering(offer, answer *sdp.Description, wanted func(sdp.Codec) bool) (*sdp.Description, error) {
	passed, err := c.towards(answer, func(codec sdp.Codec) bool { return wanted(codec) && offer.Media[c.main].Has(codec) })
	if err == nil {
		passed.Fill(offer)
	}
	return passed, err
}

// describe makes a description ours towards a party: the answer to an offer of its, or an
// offer where there is none. Its version goes up when it says something else than the last
// one did (RFC 3264 §8).
func (c *Call) describe(leg rtp.Leg, d, offer *sdp.Description) []byte {
	return c.describeTo(c.parties[leg], leg, d, offer)
}

// describeTo does so for who has that leg's place, or is to have it.
func (c *Call) describeTo(p *party, leg rtp.Leg, d, offer *sdp.Description) []byte {
	if c.main < len(d.Media) {
		p.offered = d.Direction(d.Media[c.main])
	}
	ports, lock := c.ports(leg, d), c.lock(p, offer)
	locate := func() []byte {
		d.Locate(sdp.Origin{ID: p.session, Version: p.version, Address: p.address}, ports)
		if c.main < len(d.Media) {
			if m := d.Media[c.main]; m.Type == "audio" && m.Port != 0 && m.RTP() {
				lock(m)
				if p.muxes(c.main) {
					m.SetMux()
				}
				if p.leg != nil && p.leg.RecordAware() {
					m.SetRecord(c.recordState(leg))
				}
			}
		}
		return d.Bytes()
	}
	body := locate()
	if p.ours != nil && !bytes.Equal(body, p.ours) {
		p.version++
		body = locate()
	}
	p.ours = body
	c.noteCodecs(p, leg)
	return body
}

// ports are ours for each stream of a description, 0 for those that are not passed.
func (c *Call) ports(leg rtp.Leg, d *sdp.Description) []uint16 {
	ports := make([]uint16, len(d.Media))
	for i, m := range d.Media {
		if m.Port == 0 || !c.passes(i, m) {
			continue
		}
		if s := c.stream(i); s != nil {
			ports[i] = s.Local(leg).Port()
		}
	}
	return ports
}

// passes reports whether a stream is relayed: the audio, and what both trunks pass.
func (c *Call) passes(i int, m *sdp.Media) bool {
	if i == c.main && m.Type == "audio" && m.RTP() {
		return true
	}
	for _, p := range c.parties {
		if !c.trunkOf(p).Passes(m.Type) || c.requires(p) { // nothing protects it
			return false
		}
	}
	return m.Relayable()
}

// stream returns the media session of a stream, and opens it where there is none: nil
// where that cannot be, and then the stream is refused.
func (c *Call) stream(i int) Session {
	if i == c.main {
		return c.media
	}
	if s := c.streams[i]; s != nil {
		return s
	}
	s, end := c.open()
	if end != nil {
		c.log.Warn("stream refused", "call_id", c.id, "stream", i, "error", end.Err)
		return nil
	}
	if c.streams == nil {
		c.streams = map[int]Session{}
	}
	c.streams[i] = s
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	return s
}

// take lets hold what a party says of itself: where its streams are, and what it can.
func (c *Call) take(leg rtp.Leg, d *sdp.Description, how said) *End {
	for i, m := range d.Media {
		if i == c.main || m.Port == 0 || c.streams[i] == nil {
			continue
		}
		if err := c.connect(c.streams[i], leg, d, m, true, nil); err != nil {
			c.log.Warn("stream not relayed", "call_id", c.id, "leg", leg, "stream", i, "error", err)
		}
	}
	if c.main >= len(d.Media) {
		return &End{Cause: NoAudio, Leg: leg, Err: sdp.ErrNoAudio}
	}
	p, m := c.parties[leg], d.Media[c.main]
	p.described, p.codecs, p.listens, p.speaks = d, nil, false, false
	raw := m.Type != "audio" || !m.RTP()
	if m.Port != 0 {
		var secure *media.Secure
		if !raw {
			var err error
			if secure, err = c.secured(p, d, m, how); err != nil {
				return unprotected(leg, err)
			}
		}
		if err := c.connect(c.media, leg, d, m, raw, secure); err != nil {
			return &End{Cause: BadOffer, Leg: leg, Err: err}
		}
	}
	if raw {
		c.expect()
		return nil
	}
	p.listens = d.Direction(m).Receives() && m.Port != 0
	p.speaks = d.Direction(m).Sends() && m.Port != 0
	if l := c.telling[leg]; l != nil && p == c.parties[leg] && !p.listens { // by whichever description
		l.away = true
	}
	c.expect()
	c.translate()
	for _, codec := range m.Codecs() {
		if c.wanted(codec) {
			p.codecs = append(p.codecs, codecOf(codec))
		}
	}
	c.noteCodecs(p, leg)
	c.heed(leg, d.RecordPref(m))
	return c.ending
}

// noteCodecs lets the media know by which payload types a party's keys may come now, and how
// fast the clocks of the others go; and the recording by which its packets may.
func (c *Call) noteCodecs(p *party, leg rtp.Leg) {
	if p != c.parties[leg] {
		return
	}
	keys := p.keys(c.main)
	c.media.Events(leg, keys)
	c.media.Listen(leg, c.trunkOf(p).InbandKeys && p.lacksEvents(c.main))
	c.media.Clocks(leg, clocksOf(p.carries()))
	if c.recording == nil {
		return
	}
	if codecs := p.carries(); !slices.Equal(p.recorded, codecs) {
		p.recorded = codecs
		c.tap.Grow(c.tapRoom())
		c.recording.Event(spool.Event{Kind: spool.CodecsChanged, Leg: leg, Codecs: codecs})
	}
}

// translate has each party's payload types written as the other has them, where one keeps
// to its own although it was told the other's; and the codec that both have sets the clock.
func (c *Call) translate() {
	caller, callee := c.parties[rtp.Caller].described, c.parties[rtp.Callee].described
	if caller == nil || callee == nil || c.main >= len(caller.Media) || c.main >= len(callee.Media) {
		return
	}
	a, b := caller.Media[c.main], callee.Media[c.main]
	c.media.Translate(rtp.Caller, a.Numbers(b))
	c.media.Translate(rtp.Callee, b.Numbers(a))
	if hz := clockOf(slices.DeleteFunc(b.Codecs(), func(codec sdp.Codec) bool { return !a.Has(codec) })); hz > 0 {
		c.media.Clock(rtp.Caller, hz)
		c.media.Clock(rtp.Callee, hz)
	}
}

// connect tells a stream's media where a party is.
func (c *Call) connect(s Session, leg rtp.Leg, d *sdp.Description, m *sdp.Media, raw bool, secure *media.Secure) error {
	to, control, err := d.RTP(m)
	if err != nil {
		return err
	}
	remote := media.Remote{RTP: to, RTCP: control, NAT: c.trunkOf(c.parties[leg]).NAT, Raw: raw, Secure: secure}
	if !raw {
		p := c.parties[leg]
		if hz := clockOf(m.Codecs()); hz > 0 {
			c.media.Clock(leg, hz)
		}
		if m.Mux() {
			remote.Mux, remote.RTCP = true, remote.RTP
		}
		p.audio.remote = &remote
	}
	if err := s.Connect(leg, remote); err != nil {
		return fmt.Errorf("connect stream: %w", err)
	}
	return nil
}
