package sip

import (
	"strings"
	"testing"

	"github.com/bewaard/bewaard/sip/siptest"
)

// returned is a request of ours as a proxy brings it back to us.
func (w *world) returned(m siptest.Message, uri string) siptest.Message {
	w.Helper()
	method, _, _ := strings.Cut(m.Start(), " ")
	_, rest, _ := strings.Cut(m.Text, "\r\n")
	via := "Via: SIP/2.0/UDP " + pbxAddr + ";branch=z9hG4bKback" + strings.NewReplacer(":", "", "@", "", " ", "").Replace(m.Header("CSeq")+uri) + ";rport\r\n"
	back := siptest.Message{Text: method + " " + uri + " SIP/2.0\r\n" + via + rest}
	w.pbx.Send(back.Text)
	return back
}

// A proxy brings a call of ours back to us for another number: that is a call, with all
// that belongs to it. For the number that was called before it is a loop.
func TestSpiral(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, caller := w.incoming("")
		callee, err := w.ua.Invite(Invite{Peer: pbxPeer(), Trunk: "pbx", Called: "0201234567", MaxForwards: 69, Body: []byte(otherSDP), Partner: caller})
		if err != nil {
			w.Fatal(err)
		}
		sent := w.pbx.Expect("INVITE ")
		loop := w.returned(sent, "sip:+31209876543@192.0.2.1")
		w.pbx.Acknowledge(loop, w.pbx.Expect("SIP/2.0 482"))

		w.returned(sent, "sip:200@192.0.2.1")
		w.pbx.Expect("SIP/2.0 100")
		again := <-w.legs
		again.Answer([]byte(someSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		w.pbx.Send(strings.Replace(answer.Text, "Via: "+answer.Headers("Via")[0]+"\r\n", "Record-Route: <sip:"+pbxAddr+";lr>\r\n", 1)) // as the proxy does
		w.event(callee, Answered)
		w.returned(w.pbx.Expect("ACK "), "sip:192.0.2.1:5060")
		w.event(again, Confirmed)
		callee.Hangup(0, "")
		bye := w.pbx.Expect("BYE ")
		w.returned(bye, "sip:192.0.2.1:5060")
		w.pbx.Expect("SIP/2.0 200")
		w.event(again, Ended)
		w.pbx.Reply(bye, "200 OK", "")
		caller.Hangup(486, "Busy Here")
		w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 486"))
	})
}

// A proxy that does not stay on the route leaves two legs of ours that speak with each other.
func TestSpiralPastProxy(t *testing.T) {
	inBubble(t, func(w *world) {
		invite, caller := w.incoming("")
		callee, err := w.ua.Invite(Invite{Peer: pbxPeer(), Trunk: "pbx", Called: "0201234567", MaxForwards: 69, Body: []byte(otherSDP), Partner: caller})
		if err != nil {
			w.Fatal(err)
		}
		w.returned(w.pbx.Expect("INVITE "), "sip:200@192.0.2.1")
		w.pbx.Expect("SIP/2.0 100")
		again := <-w.legs
		again.Answer([]byte(someSDP))
		answer := w.pbx.Expect("SIP/2.0 200")
		w.pbx.Send(strings.Replace(answer.Text, "Via: "+answer.Headers("Via")[0]+"\r\n", "", 1))
		w.event(callee, Answered)
		w.event(again, Confirmed)
		again.Ask(&Request{Method: "INFO", ContentType: "application/dtmf", Body: []byte("1")})
		w.event(callee, Requested).Request.Reply(200, "OK")
		w.event(again, Replied)
		callee.Hangup(0, "")
		w.event(again, Ended)
		caller.Hangup(486, "Busy Here")
		w.pbx.Acknowledge(invite, w.pbx.Expect("SIP/2.0 486"))
	})
}

// What was with us once and is of no call any more is a loop.
func TestLoopOfNoCall(t *testing.T) {
	inBubble(t, func(w *world) {
		leg, sent := w.outgoing()
		w.pbx.Reply(sent, "486 Busy Here", "")
		w.pbx.Expect("ACK ")
		w.event(leg, Rejected)
		loop := w.returned(sent, "sip:200@192.0.2.1")
		w.pbx.Acknowledge(loop, w.pbx.Expect("SIP/2.0 482"))
	})
}
