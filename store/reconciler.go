package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Report is what files and rows did not agree on. Paths are relative to the store's
// directory, with slashes.
type Report struct {
	FilesWithoutRow  []string // no row names them; left where they are, someone has to look
	RowsWithoutFile  []string // ids of kept rows of which a file is gone
	FilesOfOtherSize []string // not as long as their row says
	Unreadable       []string // directories that cannot be read and files whose row cannot
	SpoolsLeft       []string // of recordings that are kept and have their files; RemoveSpool takes them

	PartFiles []string // left by a job that was killed; removed
	Outlived  []string // files of calls that are destroyed or not recorded; removed
}

// Reconcile holds files against rows. It belongs before the first call and the
// first job of a start: it takes every recording in the making for left behind.
func (s *Store) Reconcile(ctx context.Context) (Report, error) {
	r := reconciler{store: s, touched: map[string]bool{}}
	err := errors.Join(
		r.files(ctx, recordingsDirectory, r.recording),
		r.files(ctx, spoolDirectory, r.spool),
		r.rows(ctx),
		r.sync(),
	)
	if err != nil {
		return r.report, fmt.Errorf("reconcile: %w", err)
	}
	s.metrics.reconciled(&r.report)
	return r.report, nil
}

// reconciler is one run of Reconcile.
type reconciler struct {
	store   *Store
	report  Report
	touched map[string]bool // directories that something was removed from
}

// files visits every file below a directory with its row, nil where there is none.
func (r *reconciler) files(ctx context.Context, directory string, visit visitFile) error {
	return fs.WalkDir(r.store.blobs.root.FS(), directory, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			// A file system brings a lost+found that only root may read.
			r.report.Unreadable = append(r.report.Unreadable, name)
			return fs.SkipDir
		}
		if err := context.Cause(ctx); err != nil || entry.IsDir() {
			return err
		}
		return r.file(name, entry, visit)
	})
}

// visitFile looks at a file and its row, nil where there is none.
type visitFile func(name string, size int64, row *Row) error

func (r *reconciler) file(name string, entry fs.DirEntry, visit visitFile) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	id := ownerOf(name)
	row, err := r.store.Get(id)
	switch {
	case errors.Is(err, ErrNotFound):
		return visit(name, info.Size(), nil)
	case errors.Is(err, ErrUnreadable):
		r.store.unreadable(id, err)
		r.report.Unreadable = append(r.report.Unreadable, name)
		return nil
	case err != nil:
		return err
	}
	return visit(name, info.Size(), &row)
}

// recording looks at a file below recordings/.
func (r *reconciler) recording(name string, size int64, row *Row) error {
	switch {
	case strings.HasSuffix(name, partSuffix) && checkID(ownerOf(name)) == nil:
		return r.remove(name, &r.report.PartFiles)
	case row == nil:
		r.report.FilesWithoutRow = append(r.report.FilesWithoutRow, name)
	case !row.held() && (row.State == StateDestroyed || row.State == StateNotRecorded):
		return r.remove(name, &r.report.Outlived)
	case row.State == StateKept, row.State == StateFailed:
		i := slices.IndexFunc(row.Files, func(f File) bool { return f.Path == name })
		if i < 0 {
			r.report.FilesWithoutRow = append(r.report.FilesWithoutRow, name)
		} else if row.Files[i].Bytes != size {
			r.report.FilesOfOtherSize = append(r.report.FilesOfOtherSize, name)
		}
	} // what is unfinished is made again, what is expired the sweep finds
	return nil
}

// spool looks at a file below spool/.
func (r *reconciler) spool(name string, _ int64, row *Row) error {
	switch {
	case row == nil:
		r.report.FilesWithoutRow = append(r.report.FilesWithoutRow, name)
	case !row.held() && (row.State == StateDestroyed || row.State == StateNotRecorded):
		return r.remove(name, &r.report.Outlived)
	case row.State == StateKept && r.complete(row): // else it may be all that is left of the recording
		r.report.SpoolsLeft = append(r.report.SpoolsLeft, name)
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
		r.row(&row)
	}
	holds, err := r.store.Holds()
	for i := range holds {
		var ids []string
		if ids, err = r.store.rowsOf(holds[i].ID); err != nil {
			break
		}
		for _, id := range ids {
			if row, err := r.store.Get(id); err == nil {
				r.row(&row)
			}
		}
	}
	return err
}

func (r *reconciler) row(row *Row) {
	if row.State == StateKept && !r.complete(row) && !slices.Contains(r.report.RowsWithoutFile, row.ID) {
		r.report.RowsWithoutFile = append(r.report.RowsWithoutFile, row.ID)
	}
}

func (r *reconciler) complete(row *Row) bool {
	for _, f := range row.Files {
		if _, err := r.store.blobs.root.Lstat(f.Path); err != nil {
			return false
		}
	}
	return len(row.Files) > 0
}

func (r *reconciler) remove(name string, list *[]string) error {
	if _, err := r.store.blobs.removeFile(name); err != nil {
		return err
	}
	r.touched[path.Dir(name)] = true
	*list = append(*list, name)
	return nil
}

func (r *reconciler) sync() error {
	for _, directory := range slices.Sorted(maps.Keys(r.touched)) {
		if err := r.store.blobs.sync(directory); err != nil {
			return err
		}
	}
	return nil
}
