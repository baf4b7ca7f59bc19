package sdp

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Answer returns our answer to an offer that nobody else has answered yet, still to be
// located: the audio with the formats that are wanted, its direction mirrored, and
// everything else refused.
func Answer(offer *Description, wanted func(Codec) bool) (*Description, error) {
	answer := offer.Clone()
	m, err := answer.Audio()
	if err != nil {
		return nil, err
	}
	dir := answer.Direction(m).Reverse()
	if m.Keep(wanted) == 0 {
		return nil, ErrNoAudio
	}
	for _, other := range answer.Media {
		if other != m {
			other.Refuse()
		}
	}
	m.SetDirection(dir)
	return answer, nil
}

// Accepts says what is wrong with an answer to an offer, if anything is that keeps the
// call from going on (RFC 3264 §6). Peers leave refused streams out at the end, answer
// with directions that were not offered, and list codecs that were not: as long as one
// was, the call can be had.
func Accepts(offer, answer *Description) error {
	if len(answer.Media) > len(offer.Media) {
		return fmt.Errorf("answer with %d streams to an offer of %d", len(answer.Media), len(offer.Media))
	}
	accepted := false
	for i, a := range answer.Media {
		o := offer.Media[i]
		switch {
		case a.Port == 0:
			continue
		case o.Port == 0:
			return fmt.Errorf("answer accepts stream %d, which was not offered", i+1)
		case a.Type != o.Type:
			return fmt.Errorf("answer makes %s of stream %d, which was offered as %s", a.Type, i+1, o.Type)
		case o.Type == "audio" && o.RTP():
			if !a.RTP() || a.Profile() != Plain && len(o.Cryptos()) == 0 && len(offer.Fingerprints(o)) == 0 {
				return fmt.Errorf("answer makes %s of stream %d, which was offered as %s", a.Proto, i+1, o.Proto)
			}
			if !shares(o, a) {
				return errors.New("answer takes no codec that was offered")
			}
		}
		accepted = true
	}
	if !accepted {
		return ErrNoAudio
	}
	return nil
}

// shares reports whether two streams have a codec in common that carries sound.
func shares(a, b *Media) bool {
	return slices.ContainsFunc(a.Codecs(), func(c Codec) bool {
		return !c.Event() && c.Name != "CN" && b.Has(c)
	})
}

// OfferOf makes an offer of one audio stream with these codecs, still to be located, for a
// call whose caller made none.
func OfferOf(codecs []Codec) *Description {
	m := &Media{Type: "audio", Port: 9, Proto: "RTP/AVP"} // discard: RFC 863

	for _, c := range codecs {
		pt := strconv.Itoa(int(c.PayloadType))
		m.Formats = append(m.Formats, pt)
		rate := fmt.Sprintf("a=rtpmap:%s %s/%d", pt, nameOf(c), c.ClockHz)
		if c.Channels > 1 {
			rate += "/" + strconv.Itoa(c.Channels)
		}
		m.lines = append(m.lines, rate)
		if c.Event() {
			m.lines = append(m.lines, "a=fmtp:"+pt+" 0-15")
		}
	}
	m.lines = append(m.lines, "a=ptime:20", "a=sendrecv")
	return &Description{lines: []string{"v=0"}, Media: []*Media{m}}
}

// nameOf writes a codec's name as the registry does.
func nameOf(c Codec) string {
	if c.Event() {
		return strings.ToLower(c.Name)
	}
	return c.Name
}

// Fill gives the description a refused stream for each of another's that it lacks: what
// answers an offer has as many, and what follows it at least (RFC 3264 §6, §8).
func (d *Description) Fill(o *Description) {
	for _, m := range o.Media[min(len(d.Media), len(o.Media)):] {
		missing := &Media{Type: m.Type, Proto: m.Proto, Formats: slices.Clone(m.Formats)}
		missing.Refuse()
		d.Media = append(d.Media, missing)
	}
}
