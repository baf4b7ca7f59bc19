package media

import (
	"container/heap"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/rtp"
)

// playing returns a playback to a leg that is driven by hand: no pacer has it.
func playing(s *Session, frames int, from time.Time) *Playback {
	payloads := make([][]byte, frames)
	for i := range payloads {
		payloads[i] = make([]byte, 160)
	}
	p := newPlayback(s, rtp.Callee, Frames{PayloadType: 8, Samples: 160, Interval: 20 * time.Millisecond, Payloads: payloads})
	p.next = from
	return p
}

// A thousand announcements at once, begun within 20 ms of each other: every frame of every
// one is sent at the first whole millisecond after it is due, so that each waits as long as
// the one before, and one wake-up serves all that are due by then.
func TestThousandPlaybacks(t *testing.T) {
	const playbacks, frames = 1000, 4
	s, _, _ := openSession(t)
	began := time.Now()
	var due schedule
	var all []*Playback
	for i := range playbacks {
		p := playing(s, frames, began.Add(time.Duration(i)*20*time.Millisecond/playbacks+123*time.Microsecond))
		all = append(all, p)
		heap.Push(&due, p)
	}
	last, wakes := map[*Playback]time.Time{}, 0
	for len(due) > 0 {
		now := due.wake(began)
		if now.Sub(began)%coalesce != 0 {
			t.Fatalf("woken %v after the beginning, want whole milliseconds", now.Sub(began))
		}
		before := map[*Playback]int{}
		for _, p := range due {
			before[p] = p.result.Packets
		}
		wakes++
		due.send(now)
		for p, packets := range before {
			if p.result.Packets == packets {
				continue
			}
			if apart := now.Sub(last[p]); packets > 0 && apart != 20*time.Millisecond {
				t.Fatalf("frame %d was sent %v after the one before, want 20ms", packets, apart)
			}
			last[p] = now
		}
	}
	for _, p := range all {
		if r := p.Result(); !r.Complete || r.Packets != frames {
			t.Fatalf("got %+v, want all %d frames", r, frames)
		}
	}
	if most := 20*(frames+1) + 1; wakes > most {
		t.Errorf("woken %d times, want at most %d: once a millisecond", wakes, most)
	}
}

// A packet of a prompt costs no memory, however many play.
func TestPlaybackAllocations(t *testing.T) { eachEngine(t, testPlaybackAllocations) }

func testPlaybackAllocations(t T) {
	s, _, _ := openSession(t)
	now := time.Now()
	var due schedule
	for range 10 {
		heap.Push(&due, playing(s, 10_000, now))
	}
	allocations := testing.AllocsPerRun(200, func() {
		due.send(now)
		now = due.wake(now)
	})
	if sent := s.Stats().Legs[rtp.Callee].Played; sent < 2000 {
		t.Fatalf("got %d packets sent, want ten each time", sent)
	}
	if allocations != 0 {
		t.Errorf("got %v allocations, want none", allocations)
	}
}
