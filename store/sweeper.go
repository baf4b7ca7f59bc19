package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

const (
	// rowsPerStep is how many rows have their files deleted together: the directories
	// they are in are read once for all of them.
	rowsPerStep = 1000

	// rowsPerCommit is how many rows one transaction of the sweep changes. The rows of
	// calls wait for it.
	rowsPerCommit = 100

	// shareFloor is how many rows may always go at once: below it a share of what is
	// kept says nothing.
	shareFloor = 100

	// keepCertificateYears is how long what is left of a row is kept of which nothing says how
	// long: the proof of a sweep outlives most claims.
	keepCertificateYears = 10

	// longestRetry is how long a row that could not be destroyed waits at most.
	longestRetry = time.Hour
)

// SweepConfig is the file's store.sweep section.
type SweepConfig struct {
	// Interval is the time between two sweeps. Default: 1m.
	Interval time.Duration `yaml:"interval"`
	// MaxShare is how much of what is kept may go at once without an operator
	// confirming it, 0–1. A hundred rows always may. Default: 0.5.
	MaxShare float64 `yaml:"max_share"`
}

// Validate reports every fault of the section, each with the key below sweep.
func (c SweepConfig) Validate() []error {
	var faults []error
	if c.Interval < 0 {
		faults = append(faults, errors.New("interval: is negative"))
	}
	if longest := clockAhead / 2; c.Interval > longest {
		faults = append(faults, fmt.Errorf("interval: is more than %v", longest))
	}
	if !(c.MaxShare >= 0 && c.MaxShare <= 1) {
		faults = append(faults, errors.New("max_share: is not between 0 and 1"))
	}
	return faults
}

func (c SweepConfig) withDefaults() SweepConfig {
	c.Interval = cmp.Or(c.Interval, time.Minute)
	c.MaxShare = cmp.Or(c.MaxShare, 0.5)
	return c
}

// Sweeper destroys what has expired. Each row takes two steps, each on disk before
// the next begins, so that it can be killed at any instant and goes on from there:
//
//	due ─ commit ─▶ expired ─ files deleted, seen to be gone, synced ─ commit ─▶ destroyed
//	       │                                                             │
//	       └─ journal: expire                    numbers, certificate, ──┘
//	                                             journal: destroy
type Sweeper struct {
	// Immutable after NewSweeper.
	store *Store
	cfg   SweepConfig
	rows  int // rowsPerStep; tests take less
	log   *slog.Logger
	turn  chan struct{} // holds one token; who has it owns the rest

	// Owned by the turn.
	believed believed
	retries  map[string]retry // rows that could not be destroyed, by id
}

// retry is when a row that could not be destroyed is tried again.
type retry struct {
	at   time.Time
	wait time.Duration
}

// SweepResult is what one sweep did.
type SweepResult struct {
	Destroyed int   // rows
	Missing   int   // of these, the rows of which a file was gone before
	Failed    int   // rows that could not be destroyed; they are tried again, later and later
	Waiting   int   // rows that failed before and were not yet tried again
	Bytes     int64 // freed on disk
	Cleared   int   // rows destroyed before that now lost their numbers too
	Removed   int   // rows destroyed before of which nothing is left now, nor a certificate
}

// Forecast is what a sweep would do now.
type Forecast struct {
	Rows  []Row  // to be destroyed, the one longest overdue first; not all where there are many
	Due   int    // how many are to be destroyed
	Of    int    // how many could expire some day, these included
	Bytes int64  // that the files of those to be destroyed have, as the rows say
	Clear int    // rows destroyed before that would lose their numbers
	Gone  int    // rows destroyed before of which nothing would be left
	Doubt string // why nothing goes until ConfirmClock, "" if it goes
}

// NewSweeper makes the store's sweeper. A store has one.
func NewSweeper(s *Store, c SweepConfig) *Sweeper {
	w := &Sweeper{store: s, cfg: c.withDefaults(), rows: rowsPerStep, log: s.log,
		turn: make(chan struct{}, 1), retries: map[string]retry{}}
	w.turn <- struct{}{}
	return w
}

// Run sweeps now and then at every interval, until the context ends.
func (w *Sweeper) Run(ctx context.Context) {
	tick := time.NewTicker(w.cfg.Interval)
	defer tick.Stop()
	var lastFault string // a fault that stays is logged once, not every minute
	for ctx.Err() == nil {
		result, err := w.Sweep(ctx)
		if result != (SweepResult{}) {
			w.log.Info("swept", "destroyed", result.Destroyed, "missing", result.Missing,
				"failed", result.Failed, "waiting", result.Waiting, "bytes", result.Bytes,
				"cleared", result.Cleared, "removed", result.Removed)
		}
		fault := ""
		if err != nil && ctx.Err() == nil {
			if fault = err.Error(); fault != lastFault {
				w.log.Error("sweep stopped", "error", err)
			}
		}
		lastFault = fault
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Sweep destroys every row that is due. What goes wrong with one row is counted and
// logged and does not stop the others. The error wraps ErrClockGuard when the clock
// is in doubt: then nothing is touched until ConfirmClock.
func (w *Sweeper) Sweep(ctx context.Context) (SweepResult, error) {
	if err := w.take(ctx); err != nil {
		return SweepResult{}, fmt.Errorf("sweep: %w", err)
	}
	defer w.give()
	began := time.Now()
	defer func() { w.store.metrics.sweep.Observe(time.Since(began).Seconds()) }()
	if err := w.guard(began); err != nil {
		return SweepResult{}, fmt.Errorf("sweep: %w", err)
	}
	if err := w.store.releaseLapsed(began); err != nil { // what stays held stays
		w.log.Error("legal holds not released", "error", err)
	}
	result, err := w.sweep(ctx, began)
	if err == nil {
		result.Cleared, err = w.follow(ctx, byRowExpiry, began, w.store.clear)
	}
	if err == nil {
		result.Removed, err = w.follow(ctx, byRemoval, began, w.store.remove)
	}
	if err == nil {
		err = w.store.destroyEpochs(ctx, began)
	}
	if err != nil {
		return result, fmt.Errorf("sweep: %w", err)
	}
	return result, nil
}

// DryRun tells what a sweep would do now, with at most limit of the rows.
func (w *Sweeper) DryRun(ctx context.Context, limit int) (Forecast, error) {
	if err := w.take(ctx); err != nil {
		return Forecast{}, fmt.Errorf("dry run of the sweep: %w", err)
	}
	defer w.give()
	now := time.Now()
	f, err := w.forecast(now, limit)
	if err != nil {
		return Forecast{}, fmt.Errorf("dry run of the sweep: %w", err)
	}
	return f, nil
}

func (w *Sweeper) forecast(now time.Time, limit int) (f Forecast, err error) {
	if _, f.Doubt, err = w.doubt(now); err != nil {
		return Forecast{}, err
	}
	if f.Due, f.Of, err = w.store.countDue(time.Time{}, now); err != nil {
		return Forecast{}, err
	}
	for row, err := range w.store.walk(byExpiry, dueEnd(now)) {
		if err != nil {
			return Forecast{}, err
		}
		if !row.due(now) {
			continue
		}
		for _, file := range row.Files {
			f.Bytes += file.Bytes
		}
		if len(f.Rows) < limit {
			f.Rows = append(f.Rows, row)
		}
	}
	for x, n := range map[*index]*int{&byRowExpiry: &f.Clear, &byRemoval: &f.Gone} {
		if *n, err = w.store.countKeysDue(*x, now); err != nil {
			return Forecast{}, err
		}
	}
	return f, nil
}

// ConfirmClock says that an operator has seen that the clock is right and that what
// is due now may go. It waits for a sweep that goes on.
func (w *Sweeper) ConfirmClock(act Act) error {
	if err := act.check(); err != nil {
		return fmt.Errorf("confirm the clock: %w", err)
	}
	<-w.turn
	defer w.give()
	now := time.Now()
	if err := w.store.setClock(clock{Mark: now.UTC(), Confirmed: now.UTC()}, journal.ConfirmClock, act); err != nil {
		return fmt.Errorf("confirm the clock: %w", err)
	}
	w.believed = believe(now)
	w.log.Warn("clock confirmed", "now", now.UTC())
	return nil
}

func (w *Sweeper) take(ctx context.Context) error {
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *Sweeper) give() { w.turn <- struct{}{} }

// guard lets a sweep begin or trips: a mark on disk that outlasts a restart.
func (w *Sweeper) guard(now time.Time) error {
	c, doubt, err := w.doubt(now)
	if err != nil {
		return err
	}
	if doubt != "" {
		tripped := fmt.Errorf("%w: %s", ErrClockGuard, doubt)
		if c.Tripped == "" {
			c.Tripped = doubt
			return errors.Join(tripped, w.store.setClock(c, journal.GuardTripped, Act{Daemon, doubt}))
		}
		return tripped
	}
	if utc := now.Round(0).UTC(); utc.After(c.Mark) {
		c.Mark = utc
	}
	if err := w.store.markClock(c); err != nil {
		return fmt.Errorf("mark the time: %w", err)
	}
	w.believed = w.believed.renewed(now)
	return nil
}

// doubt says why nothing may go now, or "".
func (w *Sweeper) doubt(now time.Time) (clock, string, error) {
	c, err := w.store.clock()
	if err != nil || c.Tripped != "" {
		return c, c.Tripped, err
	}
	if doubt := c.doubt(now, w.believed.gained(now), w.believed.running()); doubt != "" {
		return c, doubt, nil
	}
	due, of, err := w.store.countDue(c.Confirmed, now)
	if err != nil {
		return c, "", err
	}
	if due > max(shareFloor, int(w.cfg.MaxShare*float64(of))) {
		return c, fmt.Sprintf("%d of %d rows are due at once", due, of), nil
	}
	if n, err := w.store.missing(c.Confirmed, now); err != nil || n >= missingFloor {
		return c, fmt.Sprintf("none of the %d recordings that are due is where its row says: is their disk mounted?", n), err
	}
	return c, "", nil
}

// missingFloor is how many recordings may be due of which none is there. A few may have gone
// otherwise; many are on a disk that is not.
const missingFloor = 10

// missing returns how many recordings have become due since an instant, 0 where any of them is
// there.
func (s *Store) missing(since, now time.Time) (n int, err error) {
	for row, err := range s.walk(byExpiry, dueEnd(now)) {
		if err != nil {
			return 0, err
		}
		if row.State != StateKept || !row.due(now) || !row.Expires.After(since) || len(row.Files) == 0 {
			continue
		}
		if _, err := s.statFile(row.Files[0].Path); !errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if n++; n == rowsPerRead {
			break
		}
	}
	return n, nil
}

func (w *Sweeper) sweep(ctx context.Context, now time.Time) (SweepResult, error) {
	var result SweepResult
	for after := []byte(nil); ; {
		began := time.Now()
		keys, err := w.store.keysDue(after, now, w.rows)
		if err != nil || len(keys) == 0 {
			return result, err
		}
		if err := context.Cause(ctx); err != nil {
			return result, err
		}
		if err := w.step(keys, now, &result); err != nil {
			return result, err
		}
		if len(keys) < w.rows {
			return result, nil
		}
		after = keys[len(keys)-1]
		// Half as long again is left to the calls: their rows and spools share the disk.
		select {
		case <-time.After(time.Since(began) / 2):
		case <-ctx.Done():
		}
	}
}

// follow does to the rows of an index whose time is over what comes after they were
// destroyed, some rows at a time.
func (w *Sweeper) follow(ctx context.Context, x index, now time.Time, do func(ids []string, now time.Time) (int, error)) (done int, err error) {
	for {
		began := time.Now()
		ids, err := w.store.idsDue(x, now, w.rows)
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || len(ids) == 0 {
			return done, err
		}
		n, err := do(ids, now)
		done += n
		if err != nil || n == 0 || len(ids) < w.rows {
			return done, err
		}
		select {
		case <-time.After(time.Since(began) / 2):
		case <-ctx.Done():
		}
	}
}

// step takes some rows from due to destroyed. Its error is the database's.
func (w *Sweeper) step(keys [][]byte, now time.Time, result *SweepResult) error {
	var ids []string
	for _, key := range keys {
		id := keyID(key)
		if time.Now().Before(w.retries[id].at) {
			result.Waiting++
			continue
		}
		ids = append(ids, id)
	}
	doomed, unreadable, err := w.store.expire(ids, now)
	if err != nil {
		return fmt.Errorf("mark %d rows expired: %w", len(ids), err)
	}
	for id, err := range unreadable {
		w.failed(id, "", err, result)
	}
	removals := w.store.removeAll(doomed.rows(), everywhere)
	var gone []string
	for _, d := range doomed {
		removal := removals[d.ID]
		result.Bytes += removal.bytes
		if removal.err != nil {
			w.failed(d.ID, d.Purpose, removal.err, result)
			continue
		}
		gone = append(gone, d.ID)
	}
	if err := w.store.destroy(gone, time.Now()); err != nil {
		return fmt.Errorf("mark %d rows destroyed: %w", len(gone), err)
	}
	for _, d := range doomed {
		if removal := removals[d.ID]; removal.err == nil {
			w.destroyed(d, removal, result)
		}
	}
	return nil
}

func (w *Sweeper) destroyed(d doomedRow, r removal, result *SweepResult) {
	delete(w.retries, d.ID)
	result.Destroyed++
	outcome := "destroyed"
	if missing := d.missing(r); missing != "" {
		result.Missing++
		outcome = "missing"
		w.log.Warn("recording was gone before it expired", "call_id", d.ID, "file", missing)
	}
	w.store.metrics.swept(d.Purpose, outcome)
}

func (w *Sweeper) failed(id, purpose string, err error, result *SweepResult) {
	wait := min(max(2*w.retries[id].wait, w.cfg.Interval), max(longestRetry, w.cfg.Interval))
	w.retries[id] = retry{time.Now().Add(wait), wait}
	result.Failed++
	w.store.metrics.swept(purpose, "error")
	w.log.Error("row not destroyed", "call_id", id, "error", err)
}

// doomedRow is a row on its way to be destroyed.
type doomedRow struct {
	Row
	was State // before this sweep
}

// missing names a file that the row has and that was not there to be deleted. A
// row that a sweep had expired before may have lost its files to that sweep.
func (d doomedRow) missing(r removal) string {
	if d.was == StateExpired {
		return ""
	}
	for _, f := range d.Files {
		if !slices.Contains(r.paths, f.Path) {
			return f.Path
		}
	}
	return ""
}

type doomedRows []doomedRow

func (d doomedRows) rows() []Row {
	rows := make([]Row, len(d))
	for i := range d {
		rows[i] = d[i].Row
	}
	return rows
}

// keysDue returns copies of the next keys by expiry that may be due.
func (s *Store) keysDue(after []byte, now time.Time, limit int) (keys [][]byte, err error) {
	err = s.db.View(func(tx table.Tx) error {
		keys = byExpiry.page(tx, after, dueEnd(now), limit)
		return nil
	})
	return keys, err
}

// idsDue returns the ids of the first rows of an index that are due.
func (s *Store) idsDue(x index, now time.Time, limit int) (ids []string, err error) {
	err = s.db.View(func(tx table.Tx) error {
		for _, key := range x.page(tx, nil, dueEnd(now), limit) {
			if !keyInstant(key).After(now) {
				ids = append(ids, keyID(key))
			}
		}
		return nil
	})
	return ids, err
}

// countKeysDue counts the keys of an index that are due.
func (s *Store) countKeysDue(x index, now time.Time) (n int, err error) {
	err = s.db.View(func(tx table.Tx) error {
		for range x.between(tx, nil, dueEnd(now)) {
			n++
		}
		return nil
	})
	return n, err
}

// clear takes the personal fields from rows that were destroyed before, and journals how many.
func (s *Store) clear(ids []string, now time.Time) (cleared int, err error) {
	err = s.change("cleared", ids, func(tx table.Tx, some []string) error {
		n := 0
		for _, id := range some {
			old, err := get(tx, id)
			if err != nil {
				s.unreadable(id, err)
				continue
			}
			n++
			row := old.Clone()
			row.clearPersonal()
			row.Cleared = now.Round(0).UTC()
			if err := put(tx, &old, &row); err != nil {
				return err
			}
		}
		_, err := note(tx, journal.Sweep, "", Act{Daemon, fmt.Sprintf("calls whose recordings were destroyed before lost their numbers: %d", n)})
		cleared += n
		return err
	})
	return cleared, err
}

// How the journal says until when a certificate was kept, and what signs that.
const (
	keptUntil = "kept until "
	signedBy  = ", signed "
)

// remove takes away what is left of rows, with their certificates, and journals each that
// had one.
func (s *Store) remove(ids []string, _ time.Time) (removed int, err error) {
	err = s.change("removed", ids, func(tx table.Tx, some []string) error {
		for _, id := range some {
			row, err := get(tx, id)
			if err != nil {
				s.unreadable(id, err)
				continue
			}
			removed++
			certificates := tx.Table(certificatesTable)
			if signed := certificates.Get([]byte(id)); signed != nil {
				signature := certificate.SignRemoval(id, certificate.Hash(signed), row.CertificateExpires, s.nodeKey)
				if _, err := note(tx, journal.Remove, id, Act{Daemon, keptUntil + row.CertificateExpires.Format(time.RFC3339) + signedBy + signature}); err != nil {
					return err
				}
				if err := certificates.Delete([]byte(id)); err != nil {
					return err
				}
			}
			if err := removeRow(tx, &row); err != nil {
				return err
			}
		}
		return nil
	})
	return removed, err
}

// countDue counts the rows that became due after one instant and by another, and
// those that could expire some day.
func (s *Store) countDue(since, now time.Time) (due, of int, err error) {
	const keysPerRead = 10 * rowsPerRead // a key costs less than a tenth of a row
	var after []byte
	if !since.IsZero() {
		after = instantKey(since.Add(time.Millisecond))
	}
	for n := keysPerRead; n == keysPerRead && err == nil; due += n {
		n = 0
		err = s.db.View(func(tx table.Tx) error {
			of = readExpiring(tx)
			var last []byte
			for key := range byExpiry.between(tx, after, dueEnd(now)) {
				if n == keysPerRead {
					break
				}
				last = key
				n++
			}
			after = bytes.Clone(last)
			return nil
		})
	}
	return due, of, err
}

// readExpiring returns how many rows there are in states that expire.
func readExpiring(tx table.Tx) (n int) {
	for _, state := range states {
		if state.expires() {
			n += int(readCount(tx, state))
		}
	}
	return n
}

// expire marks rows, so that a crash while their files are deleted leaves them to
// the next sweep, and journals it for each of which something was captured. A row that
// someone gave a later expiry meanwhile is left alone.
func (s *Store) expire(ids []string, now time.Time) (doomed doomedRows, unreadable map[string]error, err error) {
	unreadable = map[string]error{}
	err = s.change("expired", ids, func(tx table.Tx, some []string) error {
		for _, id := range some {
			old, err := get(tx, id)
			if err != nil {
				unreadable[id] = err
				continue
			}
			if !old.due(now) {
				continue
			}
			row := old.Clone()
			if err := expireRow(tx, &old, &row); err != nil {
				return fmt.Errorf("row %s: %w", id, err)
			}
			doomed = append(doomed, doomedRow{row, old.State})
		}
		return nil
	})
	return doomed, unreadable, err
}

func expireRow(tx table.Tx, old, row *Row) error {
	row.State = StateExpired
	if row.captured() && row.Entry == 0 { // else an earlier sweep has journalled it
		why := fmt.Sprintf("kept for %s for %s, until %s", row.Purpose, row.Retention, row.Expires.Format(time.RFC3339))
		if entry := row.withdrawn(); entry != 0 {
			why = fmt.Sprintf("withdrawn, entry %d: kept for %s no longer", entry, row.Purpose)
		}
		head, err := note(tx, journal.Expire, row.ID, Act{Daemon, why})
		if err != nil {
			return err
		}
		row.Entry = head.Number
	} else if old.State == StateExpired {
		return nil
	}
	return put(tx, old, row)
}

// destroy takes the personal fields from rows whose files are gone. Of what was captured
// it signs and journals that it is gone, of other calls how many they were.
func (s *Store) destroy(ids []string, now time.Time) error {
	return s.change("destroyed", ids, func(tx table.Tx, some []string) error {
		others := 0
		for _, id := range some {
			old, err := get(tx, id)
			if err == nil {
				err = s.destroyRow(tx, &old, now)
			}
			if err != nil {
				return fmt.Errorf("row %s: %w", id, err)
			}
			if !old.captured() {
				others++
			}
		}
		if others == 0 {
			return nil
		}
		_, err := note(tx, journal.Sweep, "", Act{Daemon, fmt.Sprintf("calls of which nothing was captured, and whose time was over, lost their numbers: %d", others)})
		return err
	})
}

func (s *Store) destroyRow(tx table.Tx, old *Row, now time.Time) error {
	row := old.Clone()
	row.State, row.Destroyed = StateDestroyed, now.Round(0).UTC()
	if row.CertificateExpires.IsZero() {
		row.CertificateExpires = row.Destroyed.AddDate(keepCertificateYears, 0, 0)
	}
	if !row.named() {
		row.clearPersonal()
	}
	if err := checkArrow(old.State, row.State); err != nil {
		return err
	}
	if row.captured() {
		if err := s.certify(tx, &row); err != nil {
			return err
		}
	}
	return put(tx, old, &row)
}

// change runs a change on rows, some rows a commit: a step of the sweep.
func (s *Store) change(step string, ids []string, change func(tx table.Tx, some []string) error) error {
	for some := range slices.Chunk(ids, rowsPerCommit) {
		if err := s.db.Update(func(tx table.Tx) error { return change(tx, some) }); err != nil {
			return err
		}
		s.step(step)
	}
	return nil
}
