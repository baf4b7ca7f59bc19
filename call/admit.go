package call

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

// admit decides what the call is to be, has its row written, and reads its offer.
func (c *Call) admit(ctx context.Context) *End {
	caller := c.legs[rtp.Caller]
	var routed bool
	c.trunks[rtp.Callee], routed = Route(c.manager.cfg.Trunks, c.trunks[rtp.Caller])
	c.decide(caller)
	if err := c.begin(); err != nil {
		c.log.Error("row not written: the call is not recorded", "call_id", c.id, "error", err)
		if end := c.cannotRecord("row_not_written"); end != nil {
			return end
		}
	}
	if !routed {
		return &End{Cause: NoRoute, Leg: rtp.Callee}
	}
	if end := c.readOffer(caller.Offer()); end != nil {
		return end
	}
	if end := c.openMedia(); end != nil {
		return end
	}
	return c.connect(rtp.Caller, c.offer, c.audio)
}

// openMedia takes ports for both legs, at the addresses by which their peers know us.
func (c *Call) openMedia() *End {
	peer, ok := c.manager.directory.peer(c.trunks[rtp.Callee])
	if !ok {
		return &End{Cause: Unreachable, Leg: rtp.Callee, Err: errNoPeer}
	}
	known, err := c.manager.ua.LocalAddr(peer)
	if err != nil {
		return &End{Cause: Unreachable, Leg: rtp.Callee, Err: err}
	}
	if c.media, err = c.manager.parts.Media.Open([2]netip.Addr{c.legs[rtp.Caller].LocalAddr(), known}); err != nil {
		return &End{Cause: NoPorts, Leg: rtp.Caller, Err: err}
	}
	c.peer = peer
	return nil
}

// decide asks the policy, with the facts as the INVITE gives them.
func (c *Call) decide(caller *sip.Leg) {
	from, to := c.trunks[rtp.Caller], c.trunks[rtp.Callee]
	trunks := c.manager.cfg.Trunks
	direction := policy.Outbound
	if trunks[from].Side == External {
		direction = policy.Inbound
	}
	c.decision = c.manager.Policy().Decide(policy.Facts{
		Direction: direction,
		FromTrunk: from, ToTrunk: to,
		FromSide: string(trunks[from].Side), ToSide: string(trunks[to].Side),
		Caller: caller.From().User, Callee: caller.Called(),
		Time: c.began, Forwarded: caller.Forwarded(),
	})
	c.direction = direction
	if !c.decision.Record {
		c.silent = c.decision.Reason
	}
}

// readOffer takes the caller's offer and says which codecs the call may use: all of
// them, or where it is to be recorded, those that a recording can hold.
func (c *Call) readOffer(body []byte) *End {
	if len(body) == 0 {
		return &End{Cause: NoOffer, Leg: rtp.Caller}
	}
	offer, err := sdp.Parse(body)
	if err != nil {
		return &End{Cause: BadOffer, Leg: rtp.Caller, Err: err}
	}
	audio, err := offer.Audio()
	if err != nil {
		return &End{Cause: NoAudio, Leg: rtp.Caller, Err: err}
	}
	c.offer, c.audio, c.wanted = offer, audio, func(sdp.Codec) bool { return true }
	if c.silent != "" {
		return nil
	}
	if !slices.ContainsFunc(audio.Codecs(), recordable) {
		if end := c.cannotRecord("codec"); end != nil {
			return &End{Cause: NoCodec, Leg: rtp.Caller}
		}
		return nil
	}
	c.wanted = func(codec sdp.Codec) bool { return recordable(codec) || codec.Event() }
	return nil
}

// recordable reports whether prompts can be played and recordings made in a codec.
func recordable(c sdp.Codec) bool {
	return (c.Name == "PCMA" || c.Name == "PCMU") && c.ClockHz == 8000 && c.Channels == 1
}

// cannotRecord gives up recording this call for that reason. Whether the call goes
// on without is written with its purpose.
func (c *Call) cannotRecord(reason string) *End {
	if c.silent != "" {
		return nil
	}
	c.silent = reason
	if c.decision.OnFailure == policy.Refuse {
		return &End{Cause: RecordingRefused, Leg: rtp.Caller, Err: errors.New(reason)}
	}
	return nil
}

// connect tells the media where a leg's peer is, by its description.
func (c *Call) connect(leg rtp.Leg, d *sdp.Description, m *sdp.Media) *End {
	to, control, err := d.RTP(m)
	if err != nil {
		return &End{Cause: BadOffer, Leg: leg, Err: err}
	}
	remote := media.Remote{RTP: to, RTCP: control, NAT: c.manager.cfg.Trunks[c.trunks[leg]].NAT}
	direction := d.Direction(m)
	c.listens[leg] = (direction == sdp.SendRecv || direction == sdp.RecvOnly) && !to.Addr().IsUnspecified()
	c.codecs[leg] = nil
	for _, codec := range m.Codecs() {
		if !c.wanted(codec) {
			continue
		}
		c.codecs[leg] = append(c.codecs[leg], rtp.Codec{Name: codec.Name, PayloadType: codec.PayloadType, ClockHz: codec.ClockHz, Channels: codec.Channels})
		if codec.Event() {
			remote.Events = append(remote.Events, codec.PayloadType)
		}
	}
	if err := c.media.Connect(leg, remote); err != nil {
		return &End{Cause: BadOffer, Leg: leg, Err: err}
	}
	return nil
}

// origin is the o= line of a description of ours towards a leg.
func (c *Call) origin(leg rtp.Leg) sdp.Origin {
	return sdp.Origin{ID: c.session[leg], Version: c.version[leg], Address: c.media.Local(leg).Addr()}
}

// newSession makes the number of a session description (RFC 8866 §5.2).
func newSession() uint64 { return rand.Uint64() >> 2 }
