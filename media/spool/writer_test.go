package spool

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bewaard/bewaard/media/rtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newWriter(t testing.TB, c Config) *Writer {
	t.Helper()
	w, err := NewWriter(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// live returns a call's file that began now, and its tap.
func live(t testing.TB, dir *os.Root, id string) (*File, *tap) {
	t.Helper()
	terms, h := terms(), header()
	terms.Recording, terms.NotBefore, h.Began = id, time.Now(), time.Now()
	return create(t, dir, terms, h), newTap()
}

// now is a batch of one packet that arrives this instant.
func now() []byte { return rtp.AppendCaptured(nil, time.Now().UnixNano(), []byte("packet")) }

// A process that is killed loses less than a second: at any instant, what had
// arrived a second before is in the file already, without any Close.
func TestKillLosesLessThanASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := directory(t)
		f, tap := live(t, dir, "call")
		w := newWriter(t, Config{})
		defer w.Close()
		if err := w.Attach(f, tap); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 500 {
			tap.batches <- legBatch{rtp.Caller, now()}
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()

			_, frames, err := read(t, dir, f.Name())
			wantErr(t, err, ErrTorn)
			written := kept(t, frames, rtp.Caller)
			newest := began
			if len(written) > 0 {
				newest = began.Add(written[len(written)-1])
			} else if time.Since(start) < time.Second {
				continue
			}
			if lost := time.Since(newest); lost >= time.Second {
				t.Fatalf("%v after the begin: got the last %v lost, want less than 1s", time.Since(start), lost)
			}
		}
		if err := w.Detach(f); err != nil {
			t.Fatal(err)
		}
		f.Close("")
		_, frames, err := read(t, dir, f.Name())
		if got := len(kept(t, frames, rtp.Caller)); got != 500 || err != io.EOF {
			t.Errorf("got %d packets and %v after Close, want 500 and io.EOF", got, err)
		}
	})
}

// Detach drains what came after the last round; the tap's own drops stand in
// the spool as events, once for every change.
func TestDetachDrainsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := directory(t)
		f, tap := live(t, dir, "call")
		w := newWriter(t, Config{Interval: 100 * time.Millisecond})
		defer w.Close()
		w.Attach(f, tap)
		wantErr(t, w.Attach(f, tap), errAny)

		tap.batches <- legBatch{rtp.Callee, now()}
		tap.dropped[rtp.Callee].Store(3)
		time.Sleep(time.Second)
		synctest.Wait()
		tap.dropped[rtp.Caller].Store(1)
		tap.batches <- legBatch{rtp.Caller, now()}
		if err := w.Detach(f); err != nil {
			t.Fatal(err)
		}
		wantErr(t, w.Detach(f), errAny)
		f.Close("")

		_, frames, _ := read(t, dir, f.Name())
		var got []string
		for _, f := range frames {
			switch f := f.(type) {
			case Batch:
				got = append(got, f.Leg.String())
			case Event:
				got = append(got, string(f.Kind))
				if f.Dropped[1] != 3 {
					t.Errorf("got %d packets dropped of the callee, want 3", f.Dropped[1])
				}
			case End:
				got = append(got, "end")
			}
		}
		want := []string{"callee", "dropped", "caller", "dropped", "end"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("frames (-want +got):\n%s", diff)
		}
	})
}

// A full disk costs the files on it: each is reported once, its tap is emptied
// all the same and counted, and the other files go on.
func TestFailedFileDoesNotStopOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := directory(t)
		bad, badTap := live(t, dir, "bad")
		good, goodTap := live(t, dir, "good")
		disk := bad.disk
		bad.disk = fullDisk(t)
		defer disk.Close()

		var reported []string
		reg := prometheus.NewPedanticRegistry()
		w, err := NewWriter(Config{Writers: 1, Failed: func(f *File, err error) {
			reported = append(reported, f.ID()+": "+err.Error())
		}}, reg)
		if err != nil {
			t.Fatal(err)
		}
		w.Attach(bad, badTap)
		w.Attach(good, goodTap)
		for range 10 {
			badTap.batches <- legBatch{rtp.Caller, now()}
			goodTap.batches <- legBatch{rtp.Caller, now()}
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
		}
		if got := len(badTap.batches); got != 0 {
			t.Errorf("got %d batches left in the tap of the failed file, want 0", got)
		}
		wantErr(t, w.Detach(bad), errAny)
		if err := w.Detach(good); err != nil {
			t.Errorf("got error %v of the other file, want none", err)
		}
		w.Close()
		good.Close("")
		_, frames, _ := read(t, dir, good.Name())
		if got := len(kept(t, frames, 0)); got != 10 {
			t.Errorf("got %d packets in the other file, want 10", got)
		}
		if len(reported) != 1 || !strings.Contains(reported[0], "bad: write spool bad: ") {
			t.Errorf("got reports %q, want one of the failed file's write", reported)
		}
		for name, want := range map[string]float64{
			"bewaard_spool_errors_total":            1,
			"bewaard_spool_discarded_packets_total": 9, // the tenth met the error
		} {
			if got := counter(t, reg, name); got != want {
				t.Errorf("got %s %v, want %v", name, got, want)
			}
		}
		if got := counter(t, reg, "bewaard_spool_bytes_total"); got == 0 {
			t.Error("got no bytes counted, want those of the other file")
		}
	})
}

// counter returns the value of a counter.
func counter(t testing.TB, reg prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A disk that does not answer holds up the one writer that waits for it; the
// others' files are drained on.
func TestHangingDiskHoldsUpOneWriter(t *testing.T) {
	dir := directory(t)
	hanging, hangingTap := live(t, dir, "hanging")
	good, goodTap := live(t, dir, "good")
	slow, full, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	disk := hanging.disk
	hanging.disk = full
	hangingTap.batches <- legBatch{rtp.Caller, rtp.AppendCaptured(nil, time.Now().UnixNano(), make([]byte, 65000))}
	hangingTap.batches <- legBatch{rtp.Caller, rtp.AppendCaptured(nil, time.Now().UnixNano(), make([]byte, 65000))}

	w := newWriter(t, Config{Interval: time.Millisecond})
	w.Attach(hanging, hangingTap)
	<-hangingTap.drained // and now it hangs: a pipe holds 64 KiB
	w.Attach(good, goodTap)
	for range 20 {
		<-goodTap.drained
	}
	go io.Copy(io.Discard, slow) // ends when full is closed
	if err := w.Detach(hanging); err != nil {
		t.Error(err)
	}
	if err := w.Detach(good); err != nil {
		t.Error(err)
	}
	w.Close()
	full.Close()
	disk.Close()
	good.Close("")
}

// A sender report stands in the spool as the event that it was, unless it came before the
// announcement's end or while the capture was stopped.
func TestReportsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := directory(t)
		f, tap := live(t, dir, "call")
		w := newWriter(t, Config{})
		defer w.Close()
		if err := w.Attach(f, tap); err != nil {
			t.Fatal(err)
		}
		told := rtp.Reported{Leg: rtp.Callee, At: time.Now().UnixNano(), SSRC: 1 << 31, NTP: 1<<63 + 1, Timestamp: 1<<32 - 1, Sender: 2}
		early, paused := told, told
		early.At -= int64(time.Second)
		tap.reports <- told
		tap.reports <- early
		time.Sleep(time.Second)
		f.Event(Event{Kind: CaptureStopped})
		paused.At = time.Now().UnixNano()
		tap.reports <- paused
		if err := w.Detach(f); err != nil {
			t.Fatal(err)
		}
		f.Close("")
		_, frames, err := read(t, dir, f.Name())
		wantErr(t, err, io.EOF)
		var got []Event
		for _, frame := range frames {
			if e, ok := frame.(Event); ok && e.Kind == SenderReported {
				got = append(got, e)
			}
		}
		want := told
		want.At, want.Leg = 0, 0 // the event says them
		if len(got) != 1 || *got[0].Report != want || got[0].Leg != told.Leg || got[0].At.UnixNano() != told.At {
			t.Errorf("got %+v, want one with %+v", got, told)
		}
	})
}

// Closing the writer drains what is still attached and ends its goroutines.
func TestCloseDrainsWhatIsAttached(t *testing.T) {
	dir := directory(t)
	f, tap := live(t, dir, "call")
	w := newWriter(t, Config{})
	w.Attach(f, tap)
	tap.batches <- legBatch{rtp.Caller, now()}
	w.Close()
	w.Close()
	wantErr(t, w.Attach(f, tap), errAny)
	_, frames, err := read(t, dir, f.Name())
	wantErr(t, err, ErrTorn)
	if got := len(kept(t, frames, 0)); got != 1 {
		t.Errorf("got %d packets, want 1", got)
	}
	f.Close("")
}

// Every fault of a configuration is reported.
func TestConfigFaults(t *testing.T) {
	if faults := (Config{}).Validate(); faults != nil {
		t.Errorf("got %v of the zero configuration, want no faults", faults)
	}
	if faults := (Config{Interval: time.Second, Writers: -1}).Validate(); len(faults) != 2 {
		t.Errorf("got %v, want two faults", faults)
	}
}

// One drain of a G.711 call: 500 ms of both legs.
func BenchmarkDrain(b *testing.B) {
	f, _ := live(b, directory(b), "call")
	defer f.Close("")
	w := newWriter(b, Config{})
	defer w.Close()
	var batch []byte
	for range 25 {
		batch = rtp.AppendCaptured(batch, time.Now().UnixNano(), make([]byte, 172))
	}
	a := &attachment{file: f, source: both(batch)}
	buf := make([]byte, 0, flushBytes)
	b.ReportAllocs()
	b.SetBytes(int64(2 * len(batch)))
	for b.Loop() {
		buf = w.drain(a, buf)
	}
}

// both is a source that has the same batch of both legs at every drain.
type both []byte

func (s both) Drain(keep func(rtp.Leg, []byte) error) error {
	keep(rtp.Caller, s)
	return keep(rtp.Callee, s)
}

func (both) Reported() []rtp.Reported { return nil }

func (both) Dropped() [2]uint64 { return [2]uint64{} }
