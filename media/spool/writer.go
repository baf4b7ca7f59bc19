package spool

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/media/rtp"
)

const (
	defaultInterval = 500 * time.Millisecond
	defaultWriters  = 2

	// flushBytes is how much of one drain is gathered before it is written.
	flushBytes = 64 << 10
)

// Source is where the packets of one call come from: its tap.
type Source interface {
	// Drain calls keep with the batches that have gathered, each leg's in the
	// order in which they arrived. A batch is valid during the call only.
	Drain(keep func(leg rtp.Leg, batch []byte) error) error
	// Reported takes the sender reports that have gathered.
	Reported() []rtp.Reported
	// Dropped returns how many packets of each leg found no room so far.
	Dropped() [2]uint64
}

// Config is how a Writer works.
type Config struct {
	// Interval is the time between two drains of a file, 500 ms if zero. What
	// arrived since the last is lost when the process is killed; it is at most
	// 750 ms for that to be less than a second.
	Interval time.Duration
	// Writers is how many files are written at once, 2 if zero. So many files
	// can hang on a disk that does not answer before the others wait for it.
	Writers int
	// Failed, if set, is told once of every file that cannot be written any
	// more, with the error. It is called from the goroutine that writes and must
	// not wait.
	Failed func(f *File, err error)
}

// Validate returns every fault of the configuration.
func (c Config) Validate() []error {
	var faults []error
	if c.Interval < 0 || c.Interval > 750*time.Millisecond {
		faults = append(faults, fmt.Errorf("interval: %v is not between 0 and 750ms", c.Interval))
	}
	if c.Writers < 0 {
		faults = append(faults, fmt.Errorf("writers: %d is less than 0", c.Writers))
	}
	return faults
}

// Writer drains the taps of all calls into their files, a few at a time. One
// file's slow or failing disk does not keep it from the others: a file whose
// write fails is given up, its tap still drained and what comes from it thrown
// away and counted.
type Writer struct {
	// Immutable after NewWriter.
	config  Config
	metrics *metrics
	due     chan *attachment
	stop    chan struct{}
	writers sync.WaitGroup

	mu       sync.Mutex
	attached map[*File]*attachment
	closed   bool
}

// attachment is a file with the tap that it is fed from.
type attachment struct {
	file   *File
	source Source
	// turn holds one token, which whoever drains has taken: a source has one consumer.
	turn chan struct{}

	// Owned by whoever has the token.
	dropped  [2]uint64 // as last written
	reported bool      // that the file has failed
}

// NewWriter starts a writer, whose counters it registers with reg unless that is nil.
func NewWriter(config Config, reg prometheus.Registerer) (*Writer, error) {
	if faults := config.Validate(); faults != nil {
		return nil, fmt.Errorf("configure spool writer: %w", errors.Join(faults...))
	}
	if config.Interval == 0 {
		config.Interval = defaultInterval
	}
	if config.Writers == 0 {
		config.Writers = defaultWriters
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register spool metrics: %w", err)
	}
	w := &Writer{
		config:   config,
		metrics:  m,
		due:      make(chan *attachment),
		stop:     make(chan struct{}),
		attached: make(map[*File]*attachment),
	}
	for range config.Writers {
		w.writers.Go(w.write) // ends when due is closed, at Close
	}
	w.writers.Go(w.schedule) // ends at Close
	return w, nil
}

// Attach has the source drained into the file from now on.
func (w *Writer) Attach(f *File, source Source) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("attach spool %s: writer is closed", f.id)
	}
	if w.attached[f] != nil {
		return fmt.Errorf("attach spool %s: attached already", f.id)
	}
	a := &attachment{file: f, source: source, turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	w.attached[f] = a
	return nil
}

// Detach drains the file's source a last time and returns the file's first
// error. It waits for the disk; the file is the caller's afterwards.
func (w *Writer) Detach(f *File) error {
	w.mu.Lock()
	a := w.attached[f]
	delete(w.attached, f)
	w.mu.Unlock()
	if a == nil {
		return fmt.Errorf("detach spool %s: not attached", f.id)
	}
	<-a.turn // for good: nobody drains it any more
	w.drain(a, nil)
	return f.Err()
}

// Close stops the writer. Files still attached are drained a last time and left open.
func (w *Writer) Close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	w.mu.Unlock()
	close(w.stop)
	w.writers.Wait()
	for _, a := range w.files(nil) {
		w.Detach(a.file)
	}
}

// files appends all attachments to dst.
func (w *Writer) files(dst []*attachment) []*attachment {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.attached {
		dst = append(dst, a)
	}
	return dst
}

// schedule hands every attachment to a writer once an interval. Those whose
// turn has not come when the next round begins are late, not lost.
func (w *Writer) schedule() {
	defer close(w.due)
	tick := time.NewTicker(w.config.Interval)
	defer tick.Stop()
	var round []*attachment
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		round = w.files(round[:0])
		for _, a := range round {
			select {
			case <-w.stop:
				return
			case w.due <- a:
			}
		}
		clear(round)
	}
}

// write drains what is due, with one buffer for all files.
func (w *Writer) write() {
	buf := make([]byte, 0, flushBytes)
	for a := range w.due {
		select {
		case <-a.turn:
			buf = w.drain(a, buf)
			a.turn <- struct{}{}
		default: // hangs in its last write, or is being detached
		}
	}
}

// drain writes what has gathered in an attachment's source, normally in one
// write. It returns buf, which may have grown.
func (w *Writer) drain(a *attachment, buf []byte) []byte {
	f := a.file
	buf = f.appendEvents(buf[:0])
	err := a.source.Drain(func(leg rtp.Leg, batch []byte) error {
		if f.Err() != nil {
			w.metrics.discarded.Add(float64(countPackets(batch)))
			return nil
		}
		var err error
		if buf, err = f.appendBatch(buf, leg, batch); err != nil {
			f.fail(err)
			return nil // the source is to be emptied all the same
		}
		if len(buf) >= flushBytes {
			w.flush(f, buf)
			buf = buf[:0]
		}
		return nil
	})
	if err != nil {
		f.fail(fmt.Errorf("drain into spool %s: %w", f.id, err))
	}
	for _, r := range a.source.Reported() {
		if f.Err() != nil {
			break
		}
		if buf, err = f.appendReport(buf, r); err != nil {
			f.fail(err)
		}
	}
	if dropped := a.source.Dropped(); dropped != a.dropped && f.Err() == nil {
		a.dropped = dropped
		if buf, err = f.sealer.appendJSON(buf, eventFrame, Event{Kind: PacketsDropped, At: f.now().UTC(), Dropped: dropped}); err != nil {
			f.fail(fmt.Errorf("event of spool %s: %w", f.id, err))
		}
	}
	w.flush(f, buf)
	if err := f.Err(); err != nil && !a.reported {
		a.reported = true
		w.metrics.errors.Inc()
		if w.config.Failed != nil {
			w.config.Failed(f, err)
		}
	}
	if cap(buf) > 4*flushBytes {
		return make([]byte, 0, flushBytes) // once full after a stall: not kept for ever
	}
	return buf
}

// flush writes gathered frames and counts them.
func (w *Writer) flush(f *File, frames []byte) {
	if f.write(frames) == nil {
		w.metrics.bytes.Add(float64(len(frames)))
	}
}

// countPackets returns how many packets a batch has.
func countPackets(batch []byte) int {
	n := 0
	for len(batch) > 0 {
		_, _, rest, err := rtp.NextCaptured(batch)
		if err != nil {
			return n
		}
		batch = rest
		n++
	}
	return n
}
