package sim

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bewaard/bewaard/sip/sdp"
)

// When and what is read as it is written; what cannot be meant is said.
func TestParseAct(t *testing.T) {
	for text, want := range map[string]Act{
		"1.5s:press=9":     {After: 1500 * time.Millisecond, What: "press", Keys: "9"},
		"heard=149:hangup": {Heard: 149, What: "hangup"},
		"0s:tone=12*#AD":   {What: "tone", Keys: "12*#AD"},
		"2s:hold":          {After: 2 * time.Second, What: "hold"},
		"2s:refer=+1@h":    {After: 2 * time.Second, What: "refer", To: "+1@h"},
	} {
		got, err := ParseAct(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s (-want +got), %v:\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"hangup":        "no colon",
		"soon:hangup":   `"soon" is neither a time`,
		"-1s:hangup":    "neither a time",
		"heard=x:hold":  "neither a time",
		"1s:press":      "is to have keys",
		"1s:info=x":     "is to have keys",
		"1s:hangup=9":   "has no keys",
		"1s:refer=+1":   "is to have a NUMBER@HOST",
		"1s:transfer=9": "is none of press",
	} {
		if _, err := ParseAct(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// A phone that hangs up after so many packets has heard no fewer; and who was called notices.
func TestHangsUp(t *testing.T) {
	callee := newPhone(t, Config{Voice: Tone(440)})
	caller := newPhone(t, Config{Peer: callee.Addr(), Acts: []Act{{Heard: 10, What: "hangup"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	line, err := caller.Call(ctx, "1", "2")
	if err != nil {
		t.Fatal(err)
	}
	other := <-callee.Lines()
	for _, l := range []*Line{line, other} {
		select {
		case <-l.Over():
		case <-ctx.Done():
			t.Fatal("the call goes on")
		}
	}
	if line.Packets() < 10 {
		t.Errorf("got %d packets, want ten at least", line.Packets())
	}
}

// A phone on hold is told by the description, and says nothing until it is taken back.
func TestHolds(t *testing.T) {
	callee := newPhone(t, Config{Voice: Tone(440)})
	caller := newPhone(t, Config{Voice: Tone(1000), Peer: callee.Addr()})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	line, err := caller.Call(ctx, "1", "2")
	if err != nil {
		t.Fatal(err)
	}
	other := <-callee.Lines()
	if err := line.Wait(ctx, 5); err != nil {
		t.Fatal(err)
	}
	quiet := func(want bool) {
		t.Helper()
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			other.mu.Lock()
			got := other.quiet
			other.mu.Unlock()
			if got == want {
				tick.Stop()
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("the other phone is quiet: %v, want %v", got, want)
			}
		}
	}
	line.do(Act{What: "hold"})
	quiet(true)
	line.do(Act{What: "resume"})
	quiet(false)
	if err := line.Wait(ctx, line.Packets()+5); err != nil {
		t.Fatal(err)
	}
	line.Hangup()
}

// A caller who takes no early media hears nothing of it, and is answered all the same.
func TestNoEarly(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		callee := newPhone(t, Config{Voice: Tone(440), Early: true, Ring: 300 * time.Millisecond})
		caller := newPhone(t, Config{Peer: callee.Addr(), NoEarly: refuses})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		line, err := caller.Call(ctx, "1", "2")
		if err != nil {
			t.Fatal(err)
		}
		if got := line.Packets(); (got < 3) != refuses {
			t.Errorf("refuses %v: heard %d packets before the answer", refuses, got)
		}
		if err := line.Wait(ctx, 5); err != nil {
			t.Error(err)
		}
		line.Hangup()
	}
}

// Keys go by INFO, where they are answered; a phone that is asked anything says yes.
func TestInfo(t *testing.T) {
	callee := newPhone(t, Config{})
	caller := newPhone(t, Config{Peer: callee.Addr()})
	line, err := caller.Call(t.Context(), "1", "2")
	if err != nil {
		t.Fatal(err)
	}
	<-callee.Lines()
	line.do(Act{What: "info", Keys: "9"})
	line.Hangup()
	if err := line.hold(true); err == nil {
		t.Error("got no error of a hold after the call")
	}
	if got := string(line.description(sdp.Inactive)); !strings.Contains(got, "a=inactive") {
		t.Errorf("got %q, want what is left of the direction", got)
	}
}

// Tones are those of the keys, one after the other, with silence between.
func TestDialling(t *testing.T) {
	voice := dialling("5#")
	var pcm []int16
	for n := range 5 * keyTime * frameSamples {
		pcm = append(pcm, voice(n))
	}
	part := func(i int) []int16 { return pcm[i*keyTime*frameSamples:][:keyTime*frameSamples] }
	for i, hz := range map[int][2]float64{0: {770, 1336}, 2: {941, 1477}} {
		if row, column := Share(part(i), hz[0]), Share(part(i), hz[1]); row < 0.45 || column < 0.45 {
			t.Errorf("got %.2f and %.2f of the power at %v Hz, want half each", row, column, hz)
		}
	}
	for _, i := range []int{1, 3, 4} {
		if energy(part(i)) != 0 {
			t.Errorf("got sound in part %d, want silence", i)
		}
	}
}
