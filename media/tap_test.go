package media

import (
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/bewaard/bewaard/media/rtp"
)

// A tap loses nothing as long as what comes between two drains fits into it.
func TestTapHoldsWhatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.IntRange(64, 512).Draw(t, "room")
		tap := NewTap(room)
		want, got := 0, 0
		for range rapid.IntRange(1, 20).Draw(t, "drains") {
			for left := rapid.IntRange(0, room).Draw(t, "bytes"); left >= rtp.CapturedBytes(0); {
				n := rapid.IntRange(0, left-rtp.CapturedBytes(0)).Draw(t, "packet")
				if !tap.legs[0].put(0, make([]byte, n)) {
					t.Fatalf("a packet of %d bytes was dropped with %d bytes left before the drain", n, left)
				}
				left -= rtp.CapturedBytes(n)
				want++
			}
			got += drained(t, tap)
		}
		if got != want {
			t.Fatalf("got %d packets of %d", got, want)
		}
	})
}

func drained(t *rapid.T, tap *Tap) (n int) {
	if err := tap.Drain(func(_ rtp.Leg, batch []byte) (err error) {
		for len(batch) > 0 && err == nil {
			_, _, batch, err = rtp.NextCaptured(batch)
			n++
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// A tap that has grown has the room, and what was in it.
func TestTapGrows(t *testing.T) {
	tap := NewTap(100)
	put := func(n int, want bool) {
		t.Helper()
		if got := tap.legs[1].put(int64(n), make([]byte, n-rtp.CapturedBytes(0))); got != want {
			t.Errorf("got room for %d bytes: %v, want %v", n, got, want)
		}
	}
	put(90, true)
	put(90, false)
	tap.Grow(1000)
	tap.Grow(50) // it has more
	put(900, true)
	put(150, false)
	tap.Grow(2000)
	put(1500, true)
	var got []int64
	for range 2 {
		tap.Drain(func(leg rtp.Leg, batch []byte) error {
			at, _, rest, err := rtp.NextCaptured(batch)
			if err != nil || len(rest) > 0 || leg != rtp.Callee {
				t.Errorf("got a batch of the %v with %d bytes behind its packet, %v", leg, len(rest), err)
			}
			got = append(got, at)
			return nil
		})
	}
	if !slices.Equal(got, []int64{90, 900, 1500}) || tap.Dropped() != [2]uint64{0, 2} {
		t.Errorf("got packets %v and %v dropped, want 90, 900 and 1500, and two of the callee", got, tap.Dropped())
	}
}

// One fills a tap while another empties it and a third has it grow: every packet comes out
// once, in its order, whole, or is counted as dropped.
func TestTapOfTwo(t *testing.T) {
	const packets = 200_000
	tap := NewTap(2048)
	done, grown := make(chan uint64), make(chan struct{})
	go func() { // ends with the tap at its full size, waited for below
		defer close(grown)
		for room := 2049; room < 6000; room += 100 {
			tap.Grow(room)
			runtime.Gosched()
		}
	}()
	go func() { // ends with the packets
		for i := range packets {
			packet := make([]byte, 4+i%150)
			binary.BigEndian.PutUint32(packet, uint32(i))
			packet[len(packet)-1] = byte(i)
			tap.legs[0].put(int64(i), packet)
		}
		done <- tap.Dropped()[0]
	}()
	next, got := int64(0), uint64(0)
	keep := func(_ rtp.Leg, batch []byte) error {
		for len(batch) > 0 {
			at, packet, rest, err := rtp.NextCaptured(batch)
			if err != nil {
				return err
			}
			if at < next || len(packet) != 4+int(at)%150 || packet[len(packet)-1] != byte(at) {
				t.Fatalf("got packet %d of %d bytes after %d", at, len(packet), next-1)
			}
			next, batch = at+1, rest
			got++
		}
		return nil
	}
	for {
		select {
		case dropped := <-done:
			<-grown
			if err := tap.Drain(keep); err != nil {
				t.Fatal(err)
			}
			if got+dropped != packets || got == 0 {
				t.Fatalf("got %d packets and %d dropped of %d", got, dropped, packets)
			}
			return
		default:
			if err := tap.Drain(keep); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Of a leg that is left out nothing is kept, and nothing counts as lost.
func TestTapLeaves(t *testing.T) {
	tap := NewTap(1 << 10)
	tap.Leave(rtp.Callee, true)
	put := func() {
		for leg := range tap.legs {
			if !tap.legs[leg].put(1, []byte{0x80, 8, 0, 1}) {
				t.Errorf("leg %d: no room", leg)
			}
		}
	}
	put()
	var got [2]int
	count := func(leg rtp.Leg, batch []byte) error { got[leg] += len(batch); return nil }
	tap.Drain(count)
	if got[rtp.Caller] == 0 || got[rtp.Callee] != 0 || tap.Dropped() != [2]uint64{} {
		t.Errorf("got %v bytes, %v dropped, want the caller's alone", got, tap.Dropped())
	}
	tap.Leave(rtp.Callee, false)
	put()
	if tap.Drain(count); got[rtp.Callee] == 0 {
		t.Error("got nothing of who is kept again")
	}
}
