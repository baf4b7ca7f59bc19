package sip

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/sip/siptest"
)

// play is a call in which both ends do what a script says, whether it makes sense or not.
type play struct {
	*world
	leg    *Leg
	d      siptest.Dialog
	seq    int
	mine   siptest.Message   // the peer's last INVITE
	asked  []siptest.Message // requests of ours that the peer has not answered
	last   siptest.Message   // what the peer sent last
	rseq   string            // our last reliable response
	refuse siptest.Message   // our last rejection
	open   []*Request        // the peer's requests that the call has not answered
	losing atomic.Bool

	refused map[string]bool // INVITEs of ours, by their Via
}

// acts are what can happen, each by one byte of the script; n is the byte after it.
var acts = []func(p *play, n byte){
	func(p *play, n byte) { time.Sleep(time.Duration(n) * 100 * time.Millisecond) },
	func(p *play, n byte) { time.Sleep(time.Duration(n) * time.Second) },
	// The peer:
	func(p *play, _ byte) {
		seq, _, _ := strings.Cut(p.mine.Header("CSeq"), " ")
		at := 1
		if len(seq) > 0 {
			at = int(seq[0] - '0')
		}
		p.last = p.pbx.Request(p.d, "ACK", at, "", "")
	},
	func(p *play, n byte) { p.send("PRACK", "RAck: "+p.rseq+" 1 INVITE\r\n", []string{"", someSDP}[n%2]) },
	func(p *play, n byte) {
		p.send([]string{"INFO", "REFER", "NOTIFY", "OPTIONS", "FOO"}[n%5], "", "")
	},
	func(p *play, n byte) { p.send("UPDATE", "Supported: timer\r\n", []string{"", someSDP}[n%2]) },
	func(p *play, n byte) { p.mine = p.send("INVITE", "Supported: timer\r\n", []string{"", someSDP}[n%2]) },
	func(p *play, _ byte) { p.send("BYE", "", "") },
	func(p *play, _ byte) {
		if p.mine.Text != "" {
			p.pbx.Transaction("CANCEL", p.mine, p.mine.Header("To"))
		}
	},
	func(p *play, _ byte) {
		if p.mine.Text != "" && p.refuse.Text != "" {
			p.pbx.Acknowledge(p.mine, p.refuse)
		}
	},
	func(p *play, n byte) { p.answer(n, "100 Trying", "180 Ringing", "183 Session Progress") },
	func(p *play, n byte) { p.answer(n, "200 OK") },
	func(p *play, n byte) {
		p.answer(n, "486 Busy Here", "491 Request Pending", "481 Call/Transaction Does Not Exist", "422 Session Interval Too Small", "302 Moved", "500 Oops")
	},
	func(p *play, _ byte) {
		if p.last.Text != "" {
			p.pbx.Send(p.last.Text) // again
		}
	},
	func(p *play, _ byte) { p.losing.Store(!p.losing.Load()) },
	// The call:
	func(p *play, n byte) {
		if p.leg.isCaller {
			p.leg.Progress(180+int(n%2)*3, "Progress", [][]byte{nil, []byte(otherSDP)}[n%2])
		}
	},
	func(p *play, n byte) {
		if p.leg.isCaller {
			p.leg.Answer([][]byte{nil, []byte(otherSDP)}[n%2])
		}
	},
	func(p *play, _ byte) { p.leg.AnswerReoffer([]byte(otherSDP)) },
	func(p *play, _ byte) { p.leg.RejectReoffer(488, "Not Acceptable Here") },
	func(p *play, _ byte) { p.leg.Reoffer([]byte(otherSDP)) },
	func(p *play, n byte) { p.leg.Ask(&Request{Method: []string{"INFO", "NOTIFY"}[n%2]}) },
	func(p *play, _ byte) {
		for _, r := range p.open {
			r.Reply(200, "OK")
		}
		p.open = nil
	},
	func(p *play, n byte) { p.leg.Hangup([]int{0, 486, 503}[n%3], "Why") },
}

func (p *play) send(method, more, body string) siptest.Message {
	p.seq++
	p.last = p.pbx.Request(p.d, method, p.seq, more, body)
	return p.last
}

// answer answers a request of ours with one of the statuses, as one of three branches.
func (p *play) answer(n byte, statuses ...string) {
	if len(p.asked) == 0 {
		return
	}
	at := int(n) % len(p.asked)
	request := p.asked[at]
	r := siptest.Response{Status: statuses[int(n)%len(statuses)], Tag: []string{"a", "b", "c"}[n>>4%3]}
	switch {
	case strings.HasPrefix(r.Status, "422"):
		r.More = "Min-SE: 3600\r\n"
	case strings.HasPrefix(r.Status, "18") && n&8 != 0:
		r.More, r.Body = "Require: 100rel\r\nRSeq: 1\r\nAllow: UPDATE\r\n", someSDP
	case strings.HasPrefix(r.Status, "200") && request.Method() == "INVITE":
		r.More, r.Body = "Supported: timer\r\nSession-Expires: 200;refresher=uac\r\n", someSDP
	}
	response := p.pbx.Respond(request, r)
	if r.Status < "3" || request.Method() != "INVITE" {
		p.last = response
		return
	}
	// Once only: sipgo waits for T2 before it acknowledges a copy, with a lock that a copy of
	// the copy waits for, and such waiting no bubble's time goes past.
	p.refused[request.Header("Via")] = true
	p.asked = slices.Delete(p.asked, at, at+1)
}

// take looks at what came: at the peer, and at the call.
func (p *play) take() {
	synctest.Wait()
	for p.pbx.Pending() {
		m := p.pbx.Expect("")
		switch {
		case !strings.HasPrefix(m.Start(), "SIP/2.0 "):
			if m.Method() != "ACK" && !p.refused[m.Header("Via")] && !slices.ContainsFunc(p.asked, func(a siptest.Message) bool { return a.Text == m.Text }) {
				p.asked = append(p.asked, m)
			}
		case m.Header("RSeq") != "":
			p.rseq = m.Header("RSeq")
		case m.Method() == "INVITE" && m.Start() > "SIP/2.0 3":
			p.refuse = m
		}
	}
	for len(p.leg.Events()) > 0 {
		if e := <-p.leg.Events(); e.Kind == Requested {
			p.open = append(p.open, e.Request)
		}
	}
}

// Whatever both ends of a dialog do, in whatever order, and whatever is lost of it: once the
// call has hung up nothing is left, and nobody waits for anybody.
func FuzzDialog(f *testing.F) {
	for seed := range uint64(200) {
		script := make([]byte, 80)
		for i, chance := 0, rand.New(rand.NewPCG(seed, 0)); i < len(script); i++ {
			script[i] = byte(chance.UintN(256))
		}
		f.Add(script, seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, script []byte, isCaller bool) {
		inBubble(t, func(w *world) {
			synctest.Wait()
			before, _ := siptest.Goroutines()
			p := &play{world: w, seq: 1, refused: map[string]bool{}}
			if isCaller {
				invite, leg := w.incoming("Supported: 100rel, timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n")
				p.leg, p.mine = leg, invite
				p.d = siptest.Dialog{Target: "sip:" + ourAddr, Local: invite.Header("From"), Remote: invite.Header("To") + ";tag=" + leg.localTag, CallID: invite.Header("Call-ID")}
			} else {
				leg, invite := w.outgoing()
				p.leg, p.asked = leg, []siptest.Message{invite}
				p.d = siptest.Dialog{Target: "sip:" + ourAddr, Local: invite.Header("To") + ";tag=a", Remote: invite.Header("From"), CallID: invite.Header("Call-ID")}
			}
			p.network.Lose(func(_, _ netip.AddrPort, _ []byte) bool { return p.losing.Load() })
			for ; len(script) > 1; script = script[2:] {
				acts[int(script[0])%len(acts)](p, script[1])
				if script[1]&1 == 0 { // else the next comes at once
					p.take()
				}
			}
			p.losing.Store(false)
			p.leg.Hangup(480, "Temporarily Unavailable")
			for range 20 {
				time.Sleep(30 * time.Second)
				p.take()
			}
			w.noTransactions()
			if after, stacks := siptest.Goroutines(); after > before {
				w.Errorf("got %d goroutines, had %d before:\n%s", after, before, stacks)
			}
		})
	})
}
