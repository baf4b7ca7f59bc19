package sim

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/sdp"
)

// Act is something that a phone's user does in a call.
type Act struct {
	// After is when: so long after the phone began to speak; and Heard, after so many packets
	// have come in. Both have to be.
	After time.Duration
	Heard int
	What  string // press, info, tone, refer, hold, resume or hangup
	Keys  string // of press, info and tone
	To    string // of refer: who is called in the user's place, as NUMBER@HOST
}

// ParseAct reads when and what, as 1.5s:press=9, heard=149:hangup or 2s:hold.
func ParseAct(text string) (a Act, err error) {
	when, what, ok := strings.Cut(text, ":")
	if !ok {
		return a, errAct(text, "no colon between when and what")
	}
	if packets, counted := strings.CutPrefix(when, "heard="); counted {
		a.Heard, err = strconv.Atoi(packets)
	} else {
		a.After, err = time.ParseDuration(when)
	}
	if err != nil || a.Heard < 0 || a.After < 0 {
		return a, errAct(text, fmt.Sprintf("%q is neither a time such as 1.5s nor heard=PACKETS", when))
	}
	var keyed bool
	a.What, what, keyed = strings.Cut(what, "=")
	switch a.What {
	case "press", "info", "tone":
		if a.Keys = what; a.Keys == "" || strings.Trim(a.Keys, keypad) != "" {
			return a, errAct(text, a.What+" is to have keys of "+keypad)
		}
	case "refer":
		if a.To = what; !strings.Contains(a.To, "@") {
			return a, errAct(text, "refer is to have a NUMBER@HOST")
		}
	case "hold", "resume", "hangup":
		if keyed {
			return a, errAct(text, a.What+" has no keys")
		}
	default:
		return a, errAct(text, fmt.Sprintf("%q is none of press, info, tone, refer, hold, resume and hangup", a.What))
	}
	return a, nil
}

func errAct(text, why string) error { return fmt.Errorf("act %q: %s", text, why) }

// keypad has the keys, each at the place of its event (RFC 4733 §3.2).
const keypad = "0123456789*#ABCD"

// perform does what the phone's user does, one thing after the other.
func (l *Line) perform() {
	began := time.Now()
	for _, a := range l.cfg.Acts {
		wait := time.NewTimer(time.Until(began.Add(a.After)))
		select {
		case <-wait.C:
		case <-l.over:
			wait.Stop()
			return
		}
		for l.Packets() < a.Heard {
			select {
			case <-l.came:
			case <-l.over:
				return
			}
		}
		l.do(a)
	}
}

func (l *Line) do(a Act) {
	switch a.What {
	case "press":
		for _, key := range []byte(a.Keys) {
			l.Press(key)
		}
	case "info":
		for _, key := range a.Keys {
			l.leg.Ask(&sip.Request{Method: "INFO", ContentType: "application/dtmf-relay", Body: fmt.Appendf(nil, "Signal=%c\r\nDuration=100\r\n", key)})
		}
	case "tone":
		l.mu.Lock()
		l.tones += a.Keys
		l.mu.Unlock()
	case "refer": // whoever agrees hangs up once the other is there
		l.leg.Ask(&sip.Request{Method: "REFER", Headers: []sip.Header{{Name: "Refer-To", Value: "<sip:" + a.To + ">"}, {Name: "Refer-Sub", Value: "false"}}})
	case "hold", "resume":
		if err := l.hold(a.What == "hold"); err != nil {
			l.cfg.Log.Warn("not held or resumed", "error", err)
		}
	case "hangup":
		l.once.Do(func() { close(l.hangup) })
	}
}

// hold offers the other side to send it nothing, or to go on.
func (l *Line) hold(on bool) error {
	l.mu.Lock()
	l.held = on
	l.version++
	l.mu.Unlock()
	return l.leg.Reoffer(l.description(sdp.SendRecv))
}

// open begins to take what comes in.
func (l *Line) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = false
}

// follow does what a call asks of every phone.
func (l *Line) follow(e sip.Event) {
	switch e.Kind {
	case sip.Requested:
		e.Request.Reply(200, "OK")
	case sip.ReofferAnswered:
		l.hear(e.Body) // one that cannot be heard leaves all as it was
	case sip.Reoffered:
		left := sdp.SendRecv
		if len(e.Body) > 0 {
			theirs, err := l.take(e.Body)
			if err != nil {
				l.leg.RejectReoffer(488, "Not Acceptable Here")
				return
			}
			left = theirs.Reverse()
		}
		l.mu.Lock()
		l.version++
		l.mu.Unlock()
		if err := l.leg.AnswerReoffer(l.description(left)); err != nil && !errors.Is(err, sip.ErrOver) {
			l.cfg.Log.Warn("offer not answered", "error", err)
		}
	}
}

// keyTime is how long a key's tones last, and the silence behind them.
const keyTime = 5 // packets

// dialling is the voice while keys are pressed as tones, from the beginning of a packet on.
func dialling(keys string) Voice {
	rows, columns := [4]float64{697, 770, 852, 941}, [4]float64{1209, 1336, 1477, 1633}
	const pad = "123A456B789C*0#D"
	return func(n int) int16 {
		key := n / (2 * keyTime * frameSamples)
		if key >= len(keys) || n/(keyTime*frameSamples)%2 == 1 {
			return 0
		}
		at, t := strings.IndexByte(pad, keys[key]), 2*math.Pi*float64(n)/clockHz
		return int16(5000*math.Sin(rows[at/4]*t) + 5000*math.Sin(columns[at%4]*t))
	}
}
