package call

import (
	"net/netip"
	"slices"

	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
	"github.com/bewaard/bewaard/sip/trunk"
)

// party is one of a call's two parties: its leg, and what is agreed with it.
type party struct {
	leg      *sip.Leg // nil before it is called
	trunk    string
	place    *trunk.Place // on that trunk
	address  netip.Addr   // ours, as it is told
	identity sip.Party    // who it is
	vouched  bool         // by its trunk, which we trust
	privacy  string       // that it asked for (RFC 3323), "" for none
	answered bool

	described *sdp.Description         // what it last said of itself; nil before it did
	branches  map[int]*sdp.Description // what each branch of it said before the answer
	branch    int                      // who spoke last of them
	wish      sdp.Direction            // how it wants to send and receive, the other's hold aside
	codecs    []rtp.Codec              // of its audio, those that the call may use
	recorded  []rtp.Codec              // of it, as the recording was told last
	listens   bool                     // it wants to hear something
	audio     protection
	speaks    bool // it is to send something

	session, version uint64        // of our descriptions towards it
	ours             []byte        // the last of them; nil before the first
	offered          sdp.Direction // of the audio in it
	bound            bool          // it has an answer of ours: to say something else needs a new offer
}

func newParty(trunk string, who sip.Party) *party {
	return &party{trunk: trunk, identity: who, session: newSession(), version: 1, wish: sdp.SendRecv}
}

// events is what the party does; nothing before there is a leg.
func (p *party) events() <-chan sip.Event {
	if p == nil || p.leg == nil {
		return nil
	}
	return p.leg.Events()
}

// said reports whether a description is the one that the party gave last: a refresh of
// the session (RFC 4028 §7.4).
func (p *party) said(d *sdp.Description) bool { return p.described != nil && sdp.Same(d, p.described) }

// has reports whether the party takes a codec.
func (p *party) has(codec rtp.Codec) bool { return among(p.codecs, codec) }

// among reports whether a codec is one of these, under whatever payload type.
func among(codecs []rtp.Codec, codec rtp.Codec) bool {
	return slices.ContainsFunc(codecs, func(c rtp.Codec) bool { return c.Name == codec.Name && c.ClockHz == codec.ClockHz })
}

// sends returns the audio codecs that the party may send: those that it has and that our
// description names.
func (p *party) sends() []rtp.Codec {
	ours, err := sdp.Parse(p.ours)
	if err != nil {
		return nil
	}
	audio, err := ours.Audio()
	if err != nil {
		return nil
	}
	var codecs []rtp.Codec
	for _, c := range audio.Codecs() {
		if codec := codecOf(c); !c.Event() && c.Name != "CN" && p.has(codec) {
			codecs = append(codecs, codec)
		}
	}
	return codecs
}

// carries returns the codecs that the party's packets may be in, by the payload types that
// we told it (RFC 3264 §6.1) and by its own, which some keep to.
func (p *party) carries() []rtp.Codec {
	codecs := p.sends()
	for _, own := range p.codecs {
		if !slices.ContainsFunc(codecs, func(c rtp.Codec) bool { return c.PayloadType == own.PayloadType }) {
			codecs = append(codecs, own)
		}
	}
	return codecs
}

// muxes reports whether the party takes reports in with a stream's packets.
func (p *party) muxes(stream int) bool {
	return p.described != nil && stream < len(p.described.Media) && p.described.Media[stream].Mux()
}

// keys are the payload types by which the party's keys may come: those that we told it, by
// which it is to send (RFC 3264 §6.1), and its own, by which some send all the same, but
// for those that we told it for something else.
func (p *party) keys(stream int) []uint8 {
	var told []sdp.Codec
	if ours, err := sdp.Parse(p.ours); err == nil && stream < len(ours.Media) {
		told = ours.Media[stream].Codecs()
	}
	named := told
	if p.described != nil && stream < len(p.described.Media) {
		for _, own := range p.described.Media[stream].Codecs() {
			if !slices.ContainsFunc(told, func(c sdp.Codec) bool { return c.PayloadType == own.PayloadType }) {
				named = append(named, own)
			}
		}
	}
	var types []uint8
	for _, codec := range named {
		if codec.Event() {
			types = append(types, codec.PayloadType)
		}
	}
	return types
}

// lacksEvents reports whether the party's description has no telephone-events (RFC 4733
// §2.5). That the other one, unasked, has some changes nothing.
func (p *party) lacksEvents(stream int) bool {
	return p.described != nil && stream < len(p.described.Media) && !slices.ContainsFunc(p.described.Media[stream].Codecs(), sdp.Codec.Event)
}

// firstRecordable returns the codec that the party prefers among those that a recording
// holds and that our last description lets it have.
func (p *party) firstRecordable() rtp.Codec {
	told := p.sends()
	for _, codec := range p.codecs {
		if (len(told) == 0 || among(told, codec)) && recordable(sdpCodec(codec)) {
			return codec
		}
	}
	return rtp.Codec{}
}
