package media

import (
	"math"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/rtp"
)

// tones are 20 ms of the key 5, from a sample on, as A-law.
func tones(from int) []byte {
	pcm, payload := make([]int16, 160), make([]byte, 160)
	for i := range pcm {
		at := 2 * math.Pi * float64(from+i) / 8000
		pcm[i] = int16(6000*math.Sin(770*at) + 6000*math.Sin(1336*at))
	}
	g711.EncodeALaw(payload, pcm)
	return payload
}

// A key that is heard in a leg's audio is told with when it was, and only of a leg that is
// listened to; the audio goes on as it came.
func TestListen(t *testing.T) { eachEngine(t, testListen) }

func testListen(t T) {
	s, caller, callee := openSession(t)
	s.Relay(rtp.Caller, true)
	s.Relay(rtp.Callee, true)
	s.Listen(rtp.Caller, true)
	s.Listen(rtp.Caller, true) // again
	began := s.Now()
	silence := make([]byte, 160)
	g711.EncodeALaw(silence, make([]int16, 160))
	for i := range 20 { // all at once: the stream's clock tells when, not the network
		payload := silence
		if i >= 5 && i < 10 {
			payload = tones(160 * i)
		}
		for _, p := range []*peer{caller, callee} {
			p.send(p.packet(8, payload...))
		}
		callee.receive()
		caller.receive()
	}
	var key Key
	select {
	case key = <-s.Keys():
	case <-time.After(5 * time.Second):
		t.Fatal("no key was heard")
	}
	if key.Leg != rtp.Caller || key.Digit != '5' {
		t.Errorf("got key %c of the %v leg, want 5 of the caller's", key.Digit, key.Leg)
	}
	if got := key.To.Sub(key.From); got < 100*time.Millisecond || got > 130*time.Millisecond {
		t.Errorf("got %v of tones, want 100ms and a little more", got)
	}
	if now := s.Now(); key.From.After(now) || key.From.Before(began.Add(-time.Second)) {
		t.Errorf("got a key from %v on, between %v and %v", key.From, began, now)
	}
	s.Listen(rtp.Caller, false)
	select {
	case key = <-s.Keys():
		t.Errorf("got key %c of the %v leg as well", key.Digit, key.Leg)
	default:
	}
	s.Listen(rtp.Callee, true)
	s.Close()
	s.Listen(rtp.Callee, true) // is too late for
	if got := len(s.engine.ears.open); got != 0 {
		t.Errorf("got %d legs listened to after the session, want none", got)
	}
}

// When a key was pressed is told by the packets that were under way for the shortest time,
// whatever jitter the others have, and whatever the sender's clock begins with.
func TestWhenAKeyWas(t *testing.T) {
	s, caller, _ := openSession(t)
	s.beganAt, s.began = 0, time.Unix(0, 0)
	e := newEar(s, rtp.Caller)
	at := func(i int) int64 { // of a packet whose audio begins at i times 20 ms
		arrives := time.Duration(i+1)*20*time.Millisecond + time.Duration(i*7%5)*9*time.Millisecond
		return int64(time.Hour + arrives)
	}
	silence := make([]byte, 160)
	g711.EncodeALaw(silence, make([]int16, 160))
	for i := range 100 {
		payload := silence
		if i >= 80 && i < 86 {
			payload = tones(160 * i)
		}
		e.hear(rtp.Caller, rtp.AppendCaptured(nil, at(i), caller.packet(8, payload...)))
	}
	e.hear(rtp.Caller, rtp.AppendCaptured(nil, at(101), []byte("no packet")))
	e.hear(rtp.Caller, rtp.AppendCaptured(nil, at(101), caller.packet(101, 5, 0, 0, 0)))
	select {
	case key := <-s.Keys():
		from, to := time.Duration(key.From.UnixNano())-time.Hour, time.Duration(key.To.UnixNano())-time.Hour
		if from > 1600*time.Millisecond || from < 1580*time.Millisecond || to < 1720*time.Millisecond || to > 1740*time.Millisecond {
			t.Errorf("got a key from %v to %v, want it from 1.6s to 1.72s", from, to)
		}
	default:
		t.Fatal("no key was heard")
	}
}

// Listening costs the packets' way nothing but a copy, and the ears nothing on the heap.
func TestListenAllocations(t *testing.T) {
	s, caller, _ := openSession(t)
	s.Listen(rtp.Caller, true)
	e := s.legs[rtp.Caller].ear.Load()
	s.engine.ears.remove(e) // here it is driven by hand
	from, packet := addr(caller.rtp), caller.packet(8, tones(0)...)
	if got := testing.AllocsPerRun(100, func() {
		s.step(rtp.Caller, from, 1, packet)
		e.ring.drain(rtp.Caller, e.hear)
	}); got != 0 {
		t.Errorf("got %v allocations a packet, want none", got)
	}
}
