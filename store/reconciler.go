package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/seal"
)

// Report is what files and rows did not agree on. Paths are relative to the store's
// directory, with slashes.
type Report struct {
	FilesWithoutRow  []string // no row names them; left where they are, someone has to look
	RowsWithoutFile  []string // ids of kept rows of which a file is gone
	FilesOfOtherSize []string // not as long as their row says
	FilesChanged     []string // with another SHA-256 than their row says; a daily round reads a thirtieth of all
	KeysMissing      []string // ids of kept rows whose files can be opened by nobody: the key of their epoch is not there
	KeysOutlived     []string // epochs that ended a day ago, that nothing needs, and whose key is still there
	Overdue          []string // ids of rows that should have been destroyed an hour ago; a thousand at most
	Unreadable       []string // directories and files that cannot be read, files whose row cannot, and such rows under legal hold
	SpoolsLeft       []string // of recordings that are kept and have their files; RemoveSpool takes them

	PartFiles []string // left by a job that was killed, or that failed; removed
	Outlived  []string // files of calls that are destroyed or not recorded; removed
	Undone    []string // ids of calls of which what was captured was to be destroyed, and was not, or not certified; done
}

// Reconcile holds files against rows, while nothing else does anything: it takes every
// recording in the making for left behind.
func (s *Store) Reconcile(ctx context.Context) (Report, error) {
	return s.reconcile(ctx, reconciler{})
}

// Recover sees to what a crash left and the first call and the first job of a start would
// meet: spools, and what was to be destroyed at once. It takes as long as there is of these,
// however many rows there are; the rest is the custodian's first round.
func (s *Store) Recover(ctx context.Context) (Report, error) {
	r := reconciler{store: s, touched: map[string]bool{}, began: time.Now()}
	err := errors.Join(r.discards(ctx), r.files(ctx, spoolDirectory, r.spool), r.sync(), s.noteFindings(&r.report))
	if err != nil {
		return r.report, fmt.Errorf("recover: %w", err)
	}
	return r.report, nil
}

// inspect is Reconcile while calls go on: what is in the making is left alone. It can also
// read some of the files, others every day.
func (s *Store) inspect(ctx context.Context, read bool) (Report, error) {
	return s.reconcile(ctx, reconciler{running: true, read: read})
}

func (s *Store) reconcile(ctx context.Context, r reconciler) (Report, error) {
	r.store, r.touched, r.began = s, map[string]bool{}, time.Now()
	err := errors.Join(
		r.keys(),
		r.discards(ctx),
		r.files(ctx, recordingsDirectory, r.recording),
		r.files(ctx, spoolDirectory, r.spool),
		r.rows(ctx),
		r.overdue(),
		r.sync(),
		s.noteFindings(&r.report),
	)
	for _, found := range r.report.findings() { // files come in no order
		slices.Sort(found)
	}
	s.metrics.reconciled(&r.report)
	if err != nil {
		return r.report, fmt.Errorf("reconcile: %w", err)
	}
	return r.report, nil
}

// findings are the lists of a report by their names, but for what is as it should be.
func (r *Report) findings() map[string][]string {
	return map[string][]string{
		"file_without_row": r.FilesWithoutRow, "row_without_file": r.RowsWithoutFile, "file_of_other_size": r.FilesOfOtherSize,
		"file_changed": r.FilesChanged, "key_missing": r.KeysMissing, "key_outlived": r.KeysOutlived, "overdue": r.Overdue, "unreadable": r.Unreadable, "spool_left": r.SpoolsLeft,
		"part_file": r.PartFiles, "outlived": r.Outlived, "discard_undone": r.Undone,
	}
}

// Log says of each finding what it is.
func (r *Report) Log(log *slog.Logger) {
	words := map[string]string{
		"file_without_row": "file without a row", "row_without_file": "row without its file", "file_of_other_size": "file of another size than its row says",
		"file_changed": "file that was changed", "key_missing": "recording that nobody can open: its key is not there", "key_outlived": "key of a day that is over, not destroyed",
		"overdue": "row that should have been destroyed", "unreadable": "not readable",
		"part_file": "left by a job that was killed, or failed; removed", "outlived": "file of a call that is destroyed or not recorded, removed",
		"discard_undone": "recording that was to be destroyed before its time and was not, or not certified; done",
	}
	for kind, found := range r.findings() {
		for _, name := range found {
			if what, told := words[kind]; told {
				log.Warn("store and files disagree", "what", what, "name", name)
			}
		}
	}
}

// noteFindings journals how many findings of each kind there are, if there are any but
// spools, which every crash leaves.
func (s *Store) noteFindings(r *Report) error {
	var kinds []string
	for kind, found := range r.findings() {
		if len(found) > 0 && kind != "spool_left" {
			kinds = append(kinds, fmt.Sprintf("%s: %d", kind, len(found)))
		}
	}
	if kinds == nil {
		return nil
	}
	slices.Sort(kinds)
	return s.Note(journal.Reconcile, "", Act{Daemon, strings.Join(kinds, ", ")})
}

// reconciler is one run of Reconcile.
type reconciler struct {
	running bool // calls go on
	read    bool // some of the files are read
	store   *Store
	began   time.Time
	report  Report
	epochs  map[seal.Epoch]bool // whose keys are there
	touched map[string]bool     // directories that something was removed from
}

// discards ends what a crash left of recordings that were to be destroyed at once. While calls
// go on the last ones may still be under way.
func (r *reconciler) discards(ctx context.Context) error {
	var errs []error
	for row, err := range r.store.walk(discarding, nil) {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return errors.Join(append(errs, err)...)
		}
		noted, err := r.store.noted(row.Entry)
		if r.running && err == nil && noted.After(r.began.Add(-overdueGrace)) {
			continue
		}
		if err == nil {
			err = r.store.FinishDiscard(row.ID)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.report.Undone = append(r.report.Undone, row.ID)
	}
	return errors.Join(errs...)
}

// files visits every file below a directory with its row, nil where there is none.
func (r *reconciler) files(ctx context.Context, directory string, visit visitFile) error {
	in, below := r.store.blobs(directory)
	for info, err := range in.Walk(below) {
		name := path.Join(directory, info.Name)
		if err != nil {
			// A file system brings a lost+found that only root may read.
			r.unreadable(name, err)
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := r.file(name, info.Size, visit); err != nil {
			return err
		}
	}
	return nil
}

// unreadable reports what is there and cannot be looked at.
func (r *reconciler) unreadable(name string, err error) {
	if slices.Contains(r.report.Unreadable, name) {
		return
	}
	r.report.Unreadable = append(r.report.Unreadable, name)
	r.store.log.Error("not readable", "name", name, "error", err)
}

// visitFile looks at a file and its row, nil where there is none.
type visitFile func(name string, size int64, row *Row) error

func (r *reconciler) file(name string, size int64, visit visitFile) error {
	id := ownerOf(name)
	row, err := r.store.Get(id)
	switch {
	case errors.Is(err, ErrNotFound):
		return visit(name, size, nil)
	case errors.Is(err, ErrUnreadable):
		r.store.unreadable(id, err)
		r.report.Unreadable = append(r.report.Unreadable, name)
		return nil
	case err != nil:
		return err
	}
	return visit(name, size, &row)
}

// recording looks at a file below recordings/.
func (r *reconciler) recording(name string, size int64, row *Row) error {
	switch {
	case blob.Unfinished(name) && checkID(ownerOf(name)) == nil:
		if r.running && (row == nil && !r.abandoned(name) || row != nil && row.State.unfinished()) {
			return nil // somebody may be at it
		}
		return r.unfinished(name)
	case row == nil:
		r.report.FilesWithoutRow = append(r.report.FilesWithoutRow, name)
	case !row.held() && (row.State == StateDestroyed || row.State == StateNotRecorded):
		return r.outlived(name, row)
	case row.State == StateKept, row.State == StateFailed:
		i := slices.IndexFunc(row.Files, func(f File) bool { return f.Path == name })
		if i < 0 {
			return r.unnamed(name, row.ID)
		} else if row.Files[i].Bytes != size {
			r.report.FilesOfOtherSize = append(r.report.FilesOfOtherSize, name)
		}
	} // what is unfinished is made again, what is expired the sweep finds
	return nil
}

// unnamed looks at a file that is not among those of its row. One that resealFile left goes: what
// the row names was sealed to another epoch, and is whole.
func (r *reconciler) unnamed(name, id string) error {
	s := r.store
	s.resealing.Lock() // else it may be about to be named
	defer s.resealing.Unlock()
	row, err := s.Get(id)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(row.Files, func(f File) bool { return f.Path == name }) {
		return nil
	}
	for _, f := range row.Files {
		copied := f.Epoch != "" && path.Dir(f.Path) == path.Dir(name) && formatOf(id, f.Path) == formatOf(id, name)
		if !copied || hashFile(s.openRecording, &f) != nil {
			continue
		}
		if err := s.Note(journal.Delete, id, Act{Daemon, "a copy was found that is sealed to another epoch than the recording"}); err != nil {
			return err
		}
		return r.remove(name, &r.report.PartFiles)
	}
	r.report.FilesWithoutRow = append(r.report.FilesWithoutRow, name)
	return nil
}

// abandoned reports whether a file is of a call that began so long ago that nobody makes it.
func (r *reconciler) abandoned(name string) bool { return r.began.Sub(idTime(ownerOf(name))) > custody }

// spool looks at a file below spool/.
func (r *reconciler) spool(name string, _ int64, row *Row) error {
	switch {
	case row == nil:
		r.report.FilesWithoutRow = append(r.report.FilesWithoutRow, name)
	case !row.held() && (row.State == StateDestroyed || row.State == StateNotRecorded):
		return r.outlived(name, row)
	case row.State == StateKept:
		if complete, _ := r.complete(row); complete { // else it may be all that is left of the recording
			r.report.SpoolsLeft = append(r.report.SpoolsLeft, name)
		}
	} // the others still need it, or the sweep finds it
	return nil
}

// rows looks for the files of what is kept, under legal hold or not. What is destroyed
// has none, and costs nothing here.
func (r *reconciler) rows(ctx context.Context) error {
	for row, err := range r.store.walk(byExpiry, nil) {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
		r.row(ctx, &row)
	}
	holds, err := r.store.Holds()
	for i := range holds {
		var ids []string
		if ids, err = r.store.rowsOf(holds[i].ID); err != nil {
			break
		}
		for _, id := range ids {
			row, err := r.store.Get(id)
			switch {
			case err == nil:
				r.row(ctx, &row)
			case !slices.Contains(r.report.Unreadable, id): // no sweep comes by it, which would tell
				r.store.unreadable(id, err)
				r.report.Unreadable = append(r.report.Unreadable, id)
			}
		}
	}
	return err
}

func (r *reconciler) row(ctx context.Context, row *Row) {
	if row.State != StateKept {
		return
	}
	switch complete, known := r.complete(row); {
	case !known:
		return
	case !complete && r.still(row):
		if !slices.Contains(r.report.RowsWithoutFile, row.ID) { // it may be under several legal holds
			r.report.RowsWithoutFile = append(r.report.RowsWithoutFile, row.ID)
		}
		return
	case !complete: // a sweep, or who seals anew, came by since it was read
		return
	}
	if slices.ContainsFunc(row.Files, func(f File) bool { return f.Epoch != "" && !r.opens(f.Epoch) }) && !slices.Contains(r.report.KeysMissing, row.ID) {
		r.report.KeysMissing = append(r.report.KeysMissing, row.ID)
	}
	if err := r.store.reseal(row, row.Expires, row.Expires); err != nil { // what Reassign, or who made it, could not
		r.store.log.Error("recording not sealed for as long as it is kept", "call_id", row.ID, "error", err)
	}
	if !r.read || !r.turn(row.ID) {
		return
	}
	for _, f := range row.Files {
		began := time.Now()
		switch err := hashFile(r.store.openRecording, &f); {
		case errors.Is(err, errChanged):
			r.report.FilesChanged = append(r.report.FilesChanged, f.Path)
			r.store.log.Error("recording is not what was recorded", "call_id", row.ID, "file", f.Path, "error", err)
		case err != nil && !errors.Is(err, fs.ErrNotExist): // a sweep may have come by
			r.unreadable(f.Path, err)
		}
		select {
		case <-time.After(time.Since(began)): // as long again is left to the calls
		case <-ctx.Done():
		}
	}
}

// keys looks which keys there are, and whether there should be.
func (r *reconciler) keys() error {
	epochs, err := r.store.keys.Epochs()
	if err != nil {
		return err
	}
	r.epochs = map[seal.Epoch]bool{}
	for _, e := range epochs {
		if !e.Destroyed.IsZero() || e.Missing {
			continue
		}
		r.epochs[e.Epoch] = true
		if e.Epoch.End().AddDate(0, 0, 1).After(r.began) {
			continue // a sweep may be at it
		}
		switch needed, err := r.store.needed(e.Epoch, r.began); {
		case err != nil:
			return err
		case !needed:
			r.report.KeysOutlived = append(r.report.KeysOutlived, string(e.Epoch))
		}
	}
	return nil
}

// opens reports whether the key of an epoch is there, or has come to be there since the round
// began.
func (r *reconciler) opens(e seal.Epoch) bool {
	if r.epochs[e] {
		return true
	}
	epochs, err := r.store.keys.Epochs()
	if err != nil {
		return true // it was looked at before, and will be again
	}
	for _, now := range epochs {
		r.epochs[now.Epoch] = now.Destroyed.IsZero() && !now.Missing
	}
	return r.epochs[e]
}

// still reports whether a row is as it was read.
func (r *reconciler) still(row *Row) bool {
	now, err := r.store.Get(row.ID)
	return err == nil && now.State == row.State && slices.Equal(now.Files, row.Files)
}

// readEvery is how many days a round takes to have read every file once.
const readEvery = 30

// turn reports whether it is a row's day for having its files read.
func (r *reconciler) turn(id string) bool {
	h := fnv.New32a()
	h.Write([]byte(id))
	return int64(h.Sum32()%readEvery) == r.began.Unix()/int64(custody/time.Second)%readEvery
}

// overdue looks for rows that a sweep should have taken.
func (r *reconciler) overdue() error {
	rows, err := r.store.Due(r.began.Add(-overdueGrace), 1000)
	for i := range rows {
		r.report.Overdue = append(r.report.Overdue, rows[i].ID)
	}
	return err
}

// complete reports whether a row's files are there. That is not known where one cannot be
// looked at.
func (r *reconciler) complete(row *Row) (complete, known bool) {
	for _, f := range row.Files {
		switch _, err := r.store.statFile(f.Path); {
		case errors.Is(err, fs.ErrNotExist):
			return false, true
		case err != nil:
			r.unreadable(f.Path, err)
			return false, false
		}
	}
	return len(row.Files) > 0, true
}

// outlived removes a file of a call that says that it has none, and journals that before.
func (r *reconciler) outlived(name string, row *Row) error {
	if row.discarding() {
		return nil // somebody is at it: see discards
	}
	if _, err := r.store.statFile(name); errors.Is(err, fs.ErrNotExist) {
		return nil // a sweep came by since it was listed
	}
	if err := r.store.Note(journal.Delete, row.ID, Act{Daemon, fmt.Sprintf("a file was found, though the call is %s", row.State)}); err != nil {
		return err
	}
	return r.remove(name, &r.report.Outlived)
}

// remove removes a file. One that had gone, or had nothing in it, is told to nobody.
func (r *reconciler) remove(name string, list *[]string) error {
	r.touched[path.Dir(name)] = true // also where it fails: it may be gone
	freed, err := r.store.removeFile(name)
	if err == nil && freed > 0 {
		*list = append(*list, name)
	}
	return err
}

// unfinished removes what a job left that was killed. What somebody may be at stays: recordings
// are sealed anew by who has that lock.
func (r *reconciler) unfinished(name string) error {
	r.store.resealing.Lock()
	defer r.store.resealing.Unlock()
	return r.remove(name, &r.report.PartFiles)
}

func (r *reconciler) sync() error {
	var errs []error
	for _, directory := range slices.Sorted(maps.Keys(r.touched)) {
		errs = append(errs, r.store.syncFiles(directory))
	}
	return errors.Join(errs...)
}
