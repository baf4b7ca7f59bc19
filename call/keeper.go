package call

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/finalize"
	"github.com/bewaard/bewaard/media/rtp"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/seal"
)

// RecordingConfig is the file's recording section.
type RecordingConfig struct {
	// Formats are the files made of each recording: opus, wav, wav-alaw, wav-ulaw.
	// Default: opus, or wav where Opus is not built in.
	Formats []string `yaml:"formats"`
	// Opus is how files of that format are encoded.
	Opus finalize.OpusConfig `yaml:"opus"`
	// OpusPassthrough has calls that are Opus on the wire kept as their packets, where these
	// fit a file, instead of being encoded again. Default: false.
	OpusPassthrough bool `yaml:"opus_passthrough"`
	// Workers is how many recordings are finalized at once. Default: 1.
	Workers int `yaml:"workers"`
	// Tries is how often a spool is tried before it is set aside. Default: 3.
	Tries int `yaml:"tries"`
}

// Validate reports every fault of the section, each with the key below recording.
func (c RecordingConfig) Validate() []error {
	var faults []error
	if c.Formats != nil && len(c.Formats) == 0 {
		faults = append(faults, errors.New("formats: is empty; leave it out for the default"))
	}
	for i, format := range c.Formats {
		if err := finalize.CheckFormat(format); err != nil {
			faults = append(faults, fmt.Errorf("formats[%d]: %w", i, err))
		}
	}
	for _, err := range c.Opus.Validate() {
		faults = append(faults, fmt.Errorf("opus.%w", err))
	}
	if c.Workers < 0 {
		faults = append(faults, errors.New("workers: is negative"))
	}
	if c.Tries < 0 {
		faults = append(faults, errors.New("tries: is negative"))
	}
	return faults
}

func (c RecordingConfig) withDefaults() RecordingConfig {
	if len(c.Formats) == 0 {
		c.Formats = []string{finalize.Opus}
		if finalize.CheckFormat(finalize.Opus) != nil {
			c.Formats = []string{finalize.WAV}
		}
	}
	c.Workers = cmp.Or(c.Workers, 1)
	return c
}

// Keeper takes recordings from the tap to their files and rows, and finishes what
// an earlier run of the daemon left. It is the Recorder.
//
//	tap ─ writer ─▶ spool/<id>.spool ─ pool ─▶ recordings/…/<id>.opus.age ─▶ row kept ─▶ spool removed
type Keeper struct {
	// Immutable after NewKeeper.
	cfg     RecordingConfig
	store   *store.Store
	log     *slog.Logger
	metrics *Metrics
	spools  *os.Root
	writer  *spool.Writer
	pool    *finalize.Pool
	opening sync.WaitGroup
	retired func() // ends retire

	mu      sync.Mutex
	writing map[*spool.File]*spooling
}

// NewKeeper makes a keeper for the recordings of a store.
func NewKeeper(cfg RecordingConfig, s *store.Store, metrics *Metrics, log *slog.Logger, registry prometheus.Registerer) (*Keeper, error) {
	k := &Keeper{cfg: cfg.withDefaults(), store: s, log: log, metrics: metrics, writing: map[*spool.File]*spooling{}}
	var err error
	if k.spools, err = os.OpenRoot(s.SpoolDirectory()); err != nil {
		return nil, fmt.Errorf("open spool directory: %w", err)
	}
	if k.writer, err = spool.NewWriter(spool.Config{Failed: k.fail}, registry); err != nil {
		return nil, errors.Join(err, k.spools.Close())
	}
	k.pool, err = finalize.NewPool(context.Background(), finalize.Config{
		Workers: k.cfg.Workers, Tries: k.cfg.Tries, Job: k.job, Retry: k.retry, Done: k.done,
	}, registry)
	if err != nil {
		k.writer.Close()
		return nil, errors.Join(err, k.spools.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	var retiring sync.WaitGroup
	retiring.Go(func() { k.retire(ctx) }) // ends at Close
	k.retired = func() { stop(); retiring.Wait() }
	return k, nil
}

// Close finishes every recording that was handed over, but those that have failed and
// are to be tried again, and closes their directory.
func (k *Keeper) Close() error {
	k.opening.Wait()
	k.writer.Close()
	k.pool.Close()
	k.retired()
	return k.spools.Close()
}

// retireInterval is the time between two looks for days of which no spool is left.
const retireInterval = time.Hour

// retire destroys the keys of the days of which no spool is left: what is on the disk of those
// that were finalized is noise then.
func (k *Keeper) retire(ctx context.Context) {
	tick := time.NewTicker(retireInterval)
	defer tick.Stop()
	for {
		if err := k.retireDays(time.Now()); err != nil {
			k.log.Error("keys of finished spools not destroyed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *Keeper) retireDays(now time.Time) error {
	entries, err := fs.ReadDir(k.spools.FS(), ".")
	if err != nil {
		return err
	}
	needed := map[seal.Epoch]bool{}
	for _, entry := range entries {
		if _, ok := spool.ID(entry.Name()); !ok {
			continue
		}
		wrapped, err := spool.WrappedKey(filepath.Join(k.store.SpoolDirectory(), entry.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, spool.ErrHeader): // finalized meanwhile, or there is no key that opens it
			continue
		case err != nil:
			return err
		}
		if day, err := seal.SpoolDay(wrapped); err == nil {
			needed[day] = true
		}
	}
	days, err := k.store.Keys().DestroySpools(now, needed)
	for _, day := range days {
		k.log.Info("key of finished spools destroyed", "day", day)
	}
	return err
}

// spooling is one spool while it is written. Its file is created off the call's
// goroutine: meanwhile the tap holds what arrives.
type spooling struct {
	keeper *Keeper
	began  time.Time
	failed chan struct{}
	fail   func()
	opened chan struct{} // closed when file and err are set
	file   *spool.File
	err    error

	mu    sync.Mutex
	ready bool          // file and err are set
	early []spool.Event // before that, in their order
}

// Record begins to write what the tap brings.
func (k *Keeper) Record(g spool.Grant, h spool.Header, tap *media.Tap) Recording {
	s := &spooling{keeper: k, began: h.Began, failed: make(chan struct{}), opened: make(chan struct{})}
	s.fail = sync.OnceFunc(func() { close(s.failed) })
	k.opening.Go(func() { // ends when the file is made; Close waits for it
		defer close(s.opened)
		if s.file, s.err = spool.Create(k.spools, k.store.Keys(), g, h); s.err == nil {
			k.mu.Lock()
			k.writing[s.file] = s
			k.mu.Unlock()
			s.err = k.writer.Attach(s.file, tap)
		}
		if s.err != nil {
			k.log.Error("spool not opened", "call_id", g.Terms().Recording, "error", s.err)
			s.fail()
		}
		s.open()
	})
	return s
}

// fail tells the call of a file that cannot be written any more: the writer's.
func (k *Keeper) fail(f *spool.File, err error) {
	k.log.Error("spool not written", "call_id", f.ID(), "error", err)
	k.mu.Lock()
	s := k.writing[f]
	k.mu.Unlock()
	if s != nil {
		s.fail()
	}
}

func (s *spooling) Failed() <-chan struct{} { return s.failed }

func (s *spooling) Stop() { s.Event(spool.Event{Kind: spool.CaptureStopped}) }

func (s *spooling) Event(e spool.Event) {
	e.At = s.began.Add(time.Since(s.began)) // on the capture's own clock
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready { // the disk has not made the file yet
		s.early = append(s.early, e)
		return
	}
	s.note(e)
}

// note has an event written. It is called with mu held: events keep their order.
func (s *spooling) note(e spool.Event) {
	if s.file == nil {
		if e.Written != nil {
			e.Written <- s.err // it has room
		}
		return
	}
	if err := s.file.Event(e); err != nil {
		s.keeper.log.Debug("event not noted", "call_id", s.file.ID(), "error", err)
	}
}

// open lets events through, those first that came before there was a file.
func (s *spooling) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
	for _, e := range s.early {
		s.note(e)
	}
	s.early = nil
}

func (s *spooling) Close(reason string) error {
	<-s.opened
	if s.file == nil {
		return s.err
	}
	k := s.keeper
	k.mu.Lock()
	delete(k.writing, s.file)
	k.mu.Unlock()
	k.writer.Detach(s.file) // its error is the file's, which Close returns
	if early := s.file.Early(); early > 0 {
		k.log.Warn("packets from before the announcement's end were refused", "call_id", s.file.ID(), "packets", early)
	}
	return s.file.Close(reason)
}

// byParty are the reasons for which a party of the call has it that nothing is kept.
var byParty = map[string]bool{objected: true, "opted_out": true}

// Discard has the row and the journal say that the recording goes before anything of it does:
// should the daemon die in between, nothing is made of it, and the next start ends this.
func (s *spooling) Discard(row store.Row, by string) error {
	k := s.keeper
	act := store.Act{Actor: by, Reason: "asked for while the call was up"}
	if byParty[row.Reason] {
		act = store.Act{Actor: store.Daemon, Reason: "a party of the call objected"}
	}
	if err := k.store.Discard(row, act); err != nil {
		err = errors.Join(err, s.Close(row.Reason))
		if byParty[row.Reason] { // it goes all the same; what an operator wants gone may be held
			err = errors.Join(err, k.store.RemoveSpool(row.ID))
		}
		return err
	}
	closed := s.Close(row.Reason) // what it has no more room for goes with it
	if err := k.store.FinishDiscard(row.ID); err != nil {
		return errors.Join(closed, err)
	}
	k.log.Info("recording discarded", "call_id", row.ID, "reason", row.Reason)
	return nil
}

// Finalize queues the spool of a call that has just ended.
func (k *Keeper) Finalize(id string) { k.pool.Submit(k.spoolPath(id), time.Now()) }

func (k *Keeper) spoolPath(id string) string {
	return filepath.Join(k.store.SpoolDirectory(), id+spool.Extension)
}

// job says what to make of a spool: the pool's. The row counts the try before it
// begins, so that a spool that takes the daemon with it is not tried for ever.
func (k *Keeper) job(name string) (finalize.Job, error) {
	id, _ := spool.ID(name)
	row, err := k.store.Update(id, func(r *store.Row) error { r.Tries++; return nil })
	if err != nil {
		return finalize.Job{}, err // nothing is made that no row knows of
	}
	epoch := seal.EpochOf(row.Expires)
	return finalize.Job{
		Spool: name, Keys: k.store.Keys(), Create: k.createFile, Name: path.Join(k.store.RecordingDirectory(row.Began), id), Formats: k.cfg.Formats, Opus: k.cfg.Opus,
		Passthrough: k.cfg.OpusPassthrough, Expires: row.Expires, Try: row.Tries,
		Seal: func(w io.Writer) (io.WriteCloser, error) { return k.store.Keys().Seal(epoch, w) }, Suffix: seal.Suffix,
	}, nil
}

// createFile begins a recording's file, by its path in the store's directory.
func (k *Keeper) createFile(name string) (finalize.Blob, error) { return k.store.CreateFile(name) }

// retry logs a try that failed: the pool's.
func (k *Keeper) retry(name string, err error) {
	id, _ := spool.ID(name)
	k.log.Warn("recording not made, to be tried again", "call_id", id, "error", err)
}

// done puts a recording's row in order and removes its spool: the pool's. Until the
// row says that the files are there, the spool stays.
func (k *Keeper) done(name string, result finalize.Result, failed error) {
	id, _ := spool.ID(name)
	row, err := k.store.Update(id, func(r *store.Row) error {
		if failed != nil {
			r.State, r.Reason = store.StateFailed, "finalize"
			return nil
		}
		return keep(r, result, seal.EpochOf(result.Expires)) // the row's own may have moved since
	})
	var late *store.TransitionError
	if errors.As(err, &late) { // its time was over while it was being made
		err = k.store.RemoveFiles(id)
		k.log.Warn("recording made after its expiry, and destroyed", "call_id", id, "error", err)
		return
	}
	if err != nil || failed != nil {
		k.log.Error("recording not made", "call_id", id, "error", errors.Join(failed, err))
		k.metrics.recordings.WithLabelValues(row.Purpose, string(store.StateFailed)).Inc()
		return
	}
	for _, skipped := range result.Skipped {
		k.log.Warn("format left out", "call_id", id, "error", skipped)
	}
	if result.Passed || result.Encoded != "" {
		k.log.Debug("opus passthrough", "call_id", id, "passed", result.Passed, "reason", result.Encoded)
	}
	for leg, l := range result.Legs {
		k.log.Debug("leg finalized", "call_id", id, "leg", rtp.Leg(leg), "packets", l.Packets, "lost", l.Lost, "late", l.Late, "streams", l.Streams,
			"moves", l.Moves, "snapped", l.Snapped, "slipped_seconds", l.Slipped, "skew_ppm", l.SkewPPM,
			"reports", l.Reports, "reports_ignored", l.Ignored, "aligned", l.Aligned, "reported_ppm", l.ReportedPPM)
	}
	k.metrics.recordings.WithLabelValues(row.Purpose, string(row.State)).Inc()
	if err := k.store.Reseal(id); err != nil { // the key that opens it stays until it can be
		k.log.Error("recording not sealed for as long as it is kept", "call_id", id, "error", err)
	}
	if unannounced(&row, result.Began) {
		k.log.Error("recorded without an announcement", "call_id", id)
		k.metrics.unannounced.Inc()
	}
	k.metrics.expected.Add(float64(row.Recording.Channels()) * row.Recording.ExpectedSeconds)
	k.metrics.captured.Add(row.Recording.CapturedSeconds)
	if err := k.store.RemoveSpool(id); err != nil {
		k.log.Error("spool not removed", "call_id", id, "error", err)
	}
}

// unannounced reports whether a recording that began then is of a far party who was not told
// before, though no reason is written down. There is none; this watches over all that sees to it.
func unannounced(row *store.Row, began time.Time) bool {
	a := row.Announcement
	far := rtp.Caller
	if row.Direction == string(policy.Outbound) {
		far = rtp.Callee
	}
	switch {
	case a == nil:
		return true
	case a.Exempt != "":
		return false
	case a.Leg != far.String() && row.Recording.Parties != string(policy.Near):
		return true
	}
	return !a.Complete || began.Before(a.LastAt)
}

// keep makes a row say what was recorded.
func keep(r *store.Row, result finalize.Result, epoch seal.Epoch) error {
	r.State = store.StateKept
	recording := store.Recording{Began: result.Began, Ended: result.Ended, ExpectedSeconds: (result.Ended.Sub(result.Began) - result.Cut).Seconds(), CutSeconds: result.Cut.Seconds(), Torn: result.Torn}
	if r.Recording != nil {
		recording.Parties = r.Recording.Parties
	}
	if result.Notice != nil {
		recording.NoticeSeconds = result.Notice.Length.Seconds()
	}
	for _, leg := range result.Legs {
		recording.CapturedSeconds += leg.Seconds
		recording.Lost += leg.Lost
		recording.Dropped += leg.Dropped
	}
	r.Recording, r.Files = &recording, nil
	for _, f := range result.Files {
		r.Files = append(r.Files, store.File{
			Path: f.Path, Format: f.Format, Bytes: f.Bytes, Seconds: f.Seconds, SHA256: f.SHA256, Epoch: epoch,
			ContentBytes: f.ContentBytes, ContentSHA256: f.ContentSHA256,
		})
	}
	return nil
}

// Resume finishes what an earlier run left: calls that were going on are closed as
// interrupted, and their spools finalized. It returns how many recordings it queued.
func (k *Keeper) Resume() (queued int, err error) {
	rows, err := k.store.Unfinished()
	if err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	var errs []error
	for _, row := range rows {
		if err := k.resume(row, &queued); err != nil {
			errs = append(errs, fmt.Errorf("resume %s: %w", row.ID, err))
		}
	}
	return queued, errors.Join(errs...)
}

func (k *Keeper) resume(row store.Row, queued *int) error {
	captured, err := k.ended(row)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrNotExist) && row.State == store.StateCalling:
		return k.interrupt(row, store.StateNotRecorded, row.Began)
	case errors.Is(err, os.ErrNotExist):
		return k.interrupt(row, store.StateFailed, row.Began)
	default:
		return errors.Join(err, k.interrupt(row, store.StateFailed, row.Began))
	}
	if row.State == store.StateCalling { // the spool was made, and the row not told yet
		if row, err = k.store.Update(row.ID, func(r *store.Row) error { r.State = store.StateRecording; return nil }); err != nil {
			return err
		}
	}
	if err := k.interrupt(row, store.StateFinalizing, captured); err != nil {
		return err
	}
	k.pool.Submit(k.spoolPath(row.ID), captured)
	*queued++
	return nil
}

// ended returns when a call of which there is a spool ended: what its row says, else
// the last instant in the spool.
func (k *Keeper) ended(row store.Row) (time.Time, error) {
	if row.Ended.IsZero() {
		return k.inspect(row.ID)
	}
	_, err := k.spools.Stat(row.ID + spool.Extension)
	return row.Ended, err
}

// inspect returns the last instant that a spool holds.
func (k *Keeper) inspect(id string) (last time.Time, err error) {
	in, err := spool.Open(k.spoolPath(id), k.store.Keys())
	if err != nil {
		return last, err
	}
	defer in.Close()
	last = in.Header.Began
	for {
		frame, err := in.Next()
		if err != nil { // its end, or what the crash tore
			return last, nil
		}
		switch frame := frame.(type) {
		case spool.End:
			return frame.At, nil
		case spool.Batch:
			for packets := frame.Packets; len(packets) > 0; {
				at, _, rest, err := rtp.NextCaptured(packets)
				if err != nil {
					break
				}
				last, packets = time.Unix(0, at).UTC(), rest
			}
		}
	}
}

// interrupt closes the row of a call that the daemon did not live to see the end of.
// The end, from which its retention counts, is the last instant that is known.
func (k *Keeper) interrupt(row store.Row, state store.State, end time.Time) error {
	_, err := k.store.Update(row.ID, func(r *store.Row) error {
		if r.Ended.IsZero() {
			r.Ended, r.Outcome, r.Cause = end.UTC(), string(OutcomeInterrupted), "daemon_died"
		}
		if state != store.StateFinalizing {
			r.Reason = "daemon_died"
		} else if r.State != store.StateFinalizing || r.Expires.IsZero() {
			keep, err := retentionIn(r)
			if err != nil {
				return err
			}
			keep.expire(r, r.Ended)
		}
		r.State = state
		return nil
	})
	return err
}
