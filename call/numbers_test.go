package call

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/sip/trunk"
)

func unrecorded(c *policy.Config) { c.Rules = c.Rules[2:] }

// Keys are taken by the payload type that the caller was told in the end, too: the callee's.
func TestKeysByTheNumberTold(t *testing.T) {
	inBubbleOf(t, unrecorded, nil, func(b *bubble) {
		invite := b.pbx.Invite("+31201234567", describing("10.0.0.5", 6000, "8 101", "a=rtpmap:101 telephone-event/8000"), "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		b.carrier.Reply(out, "200 OK", describing("203.0.113.3", 4000, "8 96", "a=rtpmap:96 telephone-event/8000"))
		b.carrier.Expect("ACK ")
		c := calling(b.pbx, invite, b.pbx.Expect("SIP/2.0 200"))
		c.ack("")
		synctest.Wait()
		for leg, want := range [2][]uint8{{96, 101}, {101, 96}} {
			if !slices.Equal(b.events[leg], want) {
				t.Errorf("got keys of the %v by %v, want %v", rtp.Leg(leg), b.events[leg], want)
			}
		}
		b.hangUp(c)
	})
}

// The row names the codec that was spoken, not the first of an offer.
func TestRowNamesTheCodecSpoken(t *testing.T) {
	inBubbleOf(t, unrecorded, nil, func(b *bubble) {
		b.final = media.Stats{Legs: [2]media.LegStats{rtp.Caller: {Received: 90, Lost: 10}, rtp.Callee: {Received: 100}}}
		invite := b.pbx.Invite("+31201234567", describing("10.0.0.5", 6000, "9 8"), "")
		b.pbx.Expect("SIP/2.0 100")
		out := b.carrier.Expect("INVITE ")
		b.carrier.Reply(out, "200 OK", describing("203.0.113.3", 4000, "8"))
		b.carrier.Expect("ACK ")
		b.hangUp(calling(b.pbx, invite, b.pbx.Expect("SIP/2.0 200")))
		synctest.Wait()
		if len(b.last.Audio) != 2 {
			t.Fatalf("got audio %+v, want that of both legs", b.last.Audio)
		}
		for _, a := range b.last.Audio {
			if a.Codec != "PCMA" {
				t.Errorf("got %s of the %s, want PCMA", a.Codec, a.Leg)
			}
		}
		if caller, callee := b.last.Audio[0], b.last.Audio[1]; caller.Lost != 10 || caller.MOS >= callee.MOS || callee.MOS < 4.3 {
			t.Errorf("got %+v and %+v, want less for a tenth lost", caller, callee)
		}
	})
}

// Nobody has to send anything while a fax stands in the audio's place.
func TestFaxIsNotSilence(t *testing.T) {
	plainly(t, nil, func(b *bubble) {
		_, pbx := b.talking(offered, answeredWith)
		synctest.Wait()
		if b.expected != [2]bool{true, true} {
			t.Errorf("got %v in a call, want both to send", b.expected)
		}
		pbx.offer(strings.ReplaceAll(offerHead, "127.0.0.1", "10.0.0.5") + "m=image 6000 udptl t38\r\n")
		b.pbx.Expect("SIP/2.0 100")
		in := b.carrier.Expect("INVITE ")
		b.carrier.Reply(in, "200 OK", strings.ReplaceAll(offerHead, "127.0.0.1", "203.0.113.3")+"m=image 4000 udptl t38\r\n")
		b.carrier.Expect("ACK ")
		b.pbx.Expect("SIP/2.0 200")
		synctest.Wait()
		if b.expected != [2]bool{} {
			t.Errorf("got %v in a fax, want none", b.expected)
		}
	})
}

// What is told after the answer is told in a codec of the answer.
func TestPromptInACodecOfTheAnswer(t *testing.T) {
	no := false
	inBubbleOf(t, nil, func(_, carrier *trunk.Config) { carrier.EarlyMedia = &no }, func(b *bubble) {
		invite := b.carrier.Invite("+31205550100", describing("203.0.113.3", 4000, "9 8 0"), "")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		b.pbx.Reply(toPBX, "200 OK", describing("10.0.0.5", 6000, "8"))
		b.pbx.Expect("ACK ")
		c := calling(b.carrier, invite, b.carrier.Expect("SIP/2.0 200"))
		c.ack("")
		synctest.Wait()
		if got := b.played[rtp.Caller]; got != 8 {
			t.Errorf("got a prompt by payload type %d, want 8: the answer has no other", got)
		}
	})
}
