package call

import (
	"errors"
	"slices"

	"github.com/bewaard/bewaard/media/finalize"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip/sdp"
)

// A call that is to be recorded is held to codecs in which prompts can be played and
// recordings made: others are taken out of the offer. Where both trunks pass one of
// these all the same (codecs), it is offered behind them, and a callee who takes it
// leaves the call unrecorded.

// keyEvents and voiceCodecs are what an INVITE of ours offers for a caller who offered
// nothing.
var (
	keyEvents   = sdp.Codec{Name: "TELEPHONE-EVENT", PayloadType: 101, ClockHz: 8000, Channels: 1}
	voiceCodecs = []sdp.Codec{
		{Name: "G722", PayloadType: 9, ClockHz: 8000, Channels: 1},
		{Name: "PCMA", PayloadType: 8, ClockHz: 8000, Channels: 1},
		{Name: "PCMU", PayloadType: 0, ClockHz: 8000, Channels: 1},
		keyEvents,
	}
)

func anyCodec(sdp.Codec) bool { return true }

// recordable reports whether prompts can be played and recordings made in a codec.
func recordable(c sdp.Codec) bool {
	return prompt.Plays(c.Name, c.ClockHz) && finalize.Records(codecOf(c))
}

// holdable reports whether a codec may be used while the call is, or may be, recorded.
func holdable(c sdp.Codec) bool { return recordable(c) || c.Event() }

var errNotRecordable = errors.New("answered with a codec that cannot be recorded")

// offerable reports whether a codec is offered in a call that is to be recorded.
func (c *Call) offerable(codec sdp.Codec) bool {
	if holdable(codec) {
		return true
	}
	for _, p := range c.parties {
		if !c.manager.cfg.Trunks[p.trunk].PassesCodec(codec.Name) {
			return false
		}
	}
	return true
}

// recordableFirst puts the codecs of an offer that cannot be recorded behind the others.
func (c *Call) recordableFirst(offer *sdp.Description) {
	m := offer.Media[c.main]
	m.Prefer(slices.DeleteFunc(m.Codecs(), func(codec sdp.Codec) bool { return !recordable(codec) }))
}

// settled takes note of the codec that the callee answered with: with one that cannot be
// recorded, nothing is.
func (c *Call) settled() *End {
	callee := c.parties[rtp.Callee]
	if c.silent != "" || len(callee.codecs) == 0 {
		return nil
	}
	if !recordable(sdpCodec(callee.codecs[0])) {
		if c.cannotRecord("codec") != nil {
			return &End{Cause: NoCodec, Leg: rtp.Callee, Err: errNotRecordable}
		}
		return nil
	}
	c.wanted = holdable
	callee.codecs = slices.DeleteFunc(callee.codecs, func(codec rtp.Codec) bool { return !holdable(sdpCodec(codec)) })
	return nil
}

func codecOf(c sdp.Codec) rtp.Codec {
	return rtp.Codec{Name: c.Name, PayloadType: c.PayloadType, ClockHz: c.ClockHz, Channels: c.Channels}
}

func sdpCodec(c rtp.Codec) sdp.Codec {
	return sdp.Codec{Name: c.Name, PayloadType: c.PayloadType, ClockHz: c.ClockHz, Channels: c.Channels}
}

// clockOf returns the clock rate of a stream's first codec that carries sound.
func clockOf(codecs []sdp.Codec) int {
	for _, c := range codecs {
		if !c.Event() && c.Name != "CN" {
			return c.ClockHz
		}
	}
	return 0
}

// clocksOf returns the clock rates of codecs that carry sound, by their payload types.
func clocksOf(codecs []rtp.Codec) map[uint8]int {
	clocks := map[uint8]int{}
	for _, c := range codecs {
		if !sdpCodec(c).Event() && c.Name != "CN" {
			clocks[c.PayloadType] = c.ClockHz
		}
	}
	return clocks
}

const (
	// tapTime is how long the disk may stand still before packets are dropped.
	tapTime = 3 // seconds
	// tapBytes holds that much of a leg's G.711, G.722 or Opus.
	tapBytes = 32 << 10
)

// tapRoom is what a tap holds of a leg, whichever of the codecs it has.
func (c *Call) tapRoom() int {
	most := tapBytes
	for _, p := range c.parties {
		for _, codec := range p.codecs {
			if codec.Name == "L16" { // two octets a sample, and a header every 10 ms
				most = max(most, tapTime*(2*codec.ClockHz+100*rtp.CapturedBytes(rtp.HeaderBytes)))
			}
		}
	}
	return most
}
