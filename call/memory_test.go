package call

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bewaard/bewaard/sip/siptest"
)

// maxCallBytes is what an established call may take of memory without its media: both
// legs, their dialogs, and the call's goroutine.
const maxCallBytes = 52 << 10

// An established call holds no more memory than it may, once its transactions are over;
// and nothing is left of those that have ended: of a few times as many, once at least
// nothing stays behind. What leaks does so each time; what others of the process do, once.
func TestMemoryOfCalls(t *testing.T) {
	const calls = 200
	plainly(t, nil, func(b *bubble) {
		before, goroutines := memory(), runtime.NumGoroutine()
		per := (b.burst(calls) - before) / calls
		t.Logf("%d bytes and %.1f goroutines a call", per, float64(runtime.NumGoroutine()-goroutines)/calls)
		if per > maxCallBytes && !raced {
			t.Errorf("got %d bytes a call, want %d at most", per, maxCallBytes)
		}
		b.endAll()
		const most = calls * 4 << 10
		held, more := memory(), most+1
		for try := 0; try < 4 && more > most; try++ {
			b.burst(calls)
			b.endAll()
			now := memory()
			more, held = int(now)-int(held), now
		}
		if more > most {
			t.Errorf("got %d bytes more after %d calls than after as many before, each time", more, calls)
		}
		if n := b.manager.Active(); n != 0 {
			t.Errorf("got %d calls left", n)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("got %d goroutines, had %d before the calls", n, goroutines)
		}
	})
}

// memory returns what is allocated, garbage aside.
func memory() uint64 {
	synctest.Wait()
	for range 6 { // each halves stacks that are used no more
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// burst sets so many calls up, waits until their transactions are over, and returns the
// memory in use then.
func (b *bubble) burst(calls int) uint64 {
	b.Helper()
	for i := range calls {
		invite := b.carrier.Invite(fmt.Sprintf("+3120555%04d", i), offered, "Supported: timer\r\nP-Asserted-Identity: <sip:+31612345678@carrier.example>\r\n")
		b.carrier.Expect("SIP/2.0 100")
		toPBX := b.pbx.Expect("INVITE ")
		reply(b.pbx, toPBX, "pbx", "200 OK", "Supported: timer\r\nSession-Expires: 1800;refresher=uas\r\n", answeredWith)
		b.pbx.Expect("ACK ")
		calling(b.carrier, invite, b.carrier.Expect("SIP/2.0 200")).ack("")
	}
	time.Sleep(time.Minute) // of the bubble's
	b.journal.mu.Lock()
	b.effects, b.rows = nil, nil
	b.journal.mu.Unlock()
	return memory()
}

// endAll has every session expire, and both sides take the BYEs.
func (b *bubble) endAll() {
	b.Helper()
	for range 40 {
		time.Sleep(time.Minute)
		answerAll(b.pbx, b.carrier)
	}
	b.journal.mu.Lock()
	b.effects, b.rows = nil, nil
	b.journal.mu.Unlock()
}

// answerAll answers what peers were sent, until nothing comes any more.
func answerAll(peers ...*siptest.Peer) {
	for range 1000 {
		synctest.Wait()
		quiet := true
		for _, p := range peers {
			for p.Pending() {
				quiet = false
				if m := p.Expect(""); strings.HasPrefix(m.Start(), "BYE ") {
					p.Reply(m, "200 OK", "")
				}
			}
		}
		if quiet {
			return
		}
	}
}
