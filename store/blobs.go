package store

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/blob/directory"
	"github.com/bewaard/bewaard/store/disk"
)

const (
	recordingsDirectory = "recordings"
	spoolDirectory      = "spool"

	// probeFile is written and removed at Open to see that a directory can be written to.
	probeFile = ".bewaard-probe"
)

// openFiles makes the directories where they are missing, tries whether they take files, and
// opens them.
func (s *Store) openFiles() (err error) {
	if err = os.MkdirAll(s.directory, 0o700); err != nil {
		return err
	}
	if s.disk, err = disk.Open(s.directory); err != nil {
		return err
	}
	var faults []error
	for _, name := range []string{".", recordingsDirectory, spoolDirectory} {
		if err := s.try(name); err != nil {
			faults = append(faults, fmt.Errorf("directory %s: %w", filepath.Join(s.directory, name), err))
		}
	}
	if faults != nil {
		return errors.Join(append(faults, s.disk.Close())...)
	}
	if s.recordings, err = directory.Open(filepath.Join(s.directory, recordingsDirectory)); err != nil {
		return errors.Join(err, s.disk.Close())
	}
	if s.spools, err = directory.Open(s.SpoolDirectory()); err != nil {
		return errors.Join(err, s.recordings.Close(), s.disk.Close())
	}
	return nil
}

// try makes a directory where it is missing and tries whether it takes files.
func (s *Store) try(name string) error {
	if err := s.disk.MkdirAll(name, 0o700); err != nil {
		return err
	}
	probe := path.Join(name, probeFile)
	if err := s.disk.WriteFile(probe, []byte("x"), 0o600); err != nil {
		return err
	}
	_, err := s.disk.Remove(probe)
	return err
}

func (s *Store) closeFiles() error {
	return errors.Join(s.recordings.Close(), s.spools.Close(), s.disk.Close())
}

// blobs returns where a file or directory of calls lies, and its name there. Its path is what
// File.Path is: it begins with recordings/ or spool/.
func (s *Store) blobs(name string) (in blob.Store, below string) {
	first, below, _ := strings.Cut(name, "/")
	if below == "" {
		below = "."
	}
	if first == spoolDirectory {
		return s.spools, below
	}
	return s.recordings, below
}

// dayDirectory is where the recordings of calls that began on the same UTC day are.
func dayDirectory(began time.Time) string {
	return path.Join(recordingsDirectory, began.UTC().Format("2006/01/02"))
}

// Directory returns the store's directory, absolute. File.Path is relative to it.
func (s *Store) Directory() string { return s.directory }

// SpoolDirectory returns where spools are written, absolute. A spool's name is the
// id of its row, a full stop and whatever follows.
func (s *Store) SpoolDirectory() string { return filepath.Join(s.directory, spoolDirectory) }

// RecordingDirectory returns where recordings of calls that began then belong, relative to
// Directory and with slashes. A recording's name is the id of its row, a full stop and
// whatever follows.
func (s *Store) RecordingDirectory(began time.Time) string { return dayDirectory(began) }

// CreateFile begins a file of a recording, by its File.Path.
func (s *Store) CreateFile(name string) (blob.Writer, error) {
	if !belowRecordings(name) {
		return nil, fmt.Errorf("create recording %q: not below %s", name, recordingsDirectory)
	}
	in, below := s.blobs(name)
	w, err := in.Create(below)
	if err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	return w, nil
}

// Content is a file of a recording, open for reading. Any part of it can be read without the
// others.
type Content struct {
	*io.SectionReader
	file blob.Reader
}

// Close lets go of the file.
func (c *Content) Close() error { return c.file.Close() }

// OpenFile opens what was recorded, not what lies on the disk. Where the master identity is
// elsewhere the error wraps seal.ErrSealed: there is OpenSealed.
func (s *Store) OpenFile(f File) (*Content, error) {
	sealed, err := s.OpenSealed(f)
	if err != nil || f.Epoch == "" { // made before recordings were sealed
		return sealed, err
	}
	content, size, err := s.keys.Open(f.Epoch, sealed.file, sealed.file.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open recording %s: %w", f.Path, err), sealed.Close())
	}
	return &Content{io.NewSectionReader(content, 0, size), sealed.file}, nil
}

// OpenSealed opens a file of a recording as it lies on the disk: an age file.
func (s *Store) OpenSealed(f File) (*Content, error) {
	file, err := s.openRecording(f.Path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	return &Content{io.NewSectionReader(file, 0, file.Size()), file}, nil
}

func (s *Store) openRecording(name string) (blob.Reader, error) {
	if !belowRecordings(name) {
		return nil, fmt.Errorf("%q is not below %s", name, recordingsDirectory)
	}
	in, below := s.blobs(name)
	return in.Open(below)
}

// belowRecordings reports whether a path says that it is below recordings/ and does
// not leave it again.
func belowRecordings(name string) bool {
	return path.Clean(name) == name && strings.HasPrefix(name, recordingsDirectory+"/")
}

// RemoveSpool deletes what the spool has of a row, for good: when it returns nil the
// file is gone after a loss of power too. That there is none is not an error.
func (s *Store) RemoveSpool(id string) error {
	if err := checkID(id); err != nil {
		return fmt.Errorf("remove spool: %w", err)
	}
	removed := s.removeAll([]Row{{ID: id}}, func(*Row) []string { return []string{spoolDirectory} })
	if err := removed[id].err; err != nil {
		return fmt.Errorf("remove spool of %s: %w", id, err)
	}
	return nil
}

// RemoveFiles deletes every file of a row, recordings and spool, for good. It is for
// files that came to be when the row was destroyed already.
func (s *Store) RemoveFiles(id string) error {
	row, err := s.Get(id)
	if err != nil {
		return fmt.Errorf("remove files: %w", err)
	}
	if row.held() {
		return fmt.Errorf("remove files of %s: %w", id, ErrHeld)
	}
	if err := s.removeAll([]Row{row}, everywhere)[id].err; err != nil {
		return fmt.Errorf("remove files of %s: %w", id, err)
	}
	return nil
}

// removal is what became of a row's files.
type removal struct {
	paths []string // deleted
	bytes int64    // freed
	err   error    // why it is not certain that all are gone
}

// everywhere names the directories in which a row's files can be.
func everywhere(row *Row) []string {
	directories := []string{spoolDirectory, dayDirectory(row.Began)}
	for _, f := range row.Files {
		directories = append(directories, path.Dir(f.Path))
	}
	return directories
}

// removeAll deletes every file of the rows: what bears a row's id in one of its
// directories, whether the row names it or not, so that parts and formats that a
// crash kept out of the row go too. A row's files are gone when its removal has no
// error: they were looked for again and were not there, and that is on disk.
func (s *Store) removeAll(rows []Row, directories func(*Row) []string) map[string]removal {
	removals := make(map[string]removal, len(rows))
	in := map[string]map[string]bool{} // directory → ids of rows that may have files there
	for i := range rows {
		removals[rows[i].ID] = removal{}
		for _, directory := range directories(&rows[i]) {
			if in[directory] == nil {
				in[directory] = map[string]bool{}
			}
			in[directory][rows[i].ID] = true
		}
	}
	for _, directory := range slices.Sorted(maps.Keys(in)) {
		s.removeIn(directory, in[directory], removals)
	}
	return removals
}

func (s *Store) removeIn(directory string, ids map[string]bool, removals map[string]removal) {
	names, err := s.namesOf(directory, ids)
	for _, name := range names {
		id := ownerOf(name)
		r := removals[id]
		size, err := s.removeFile(name)
		if err == nil {
			r.paths = append(r.paths, name)
			r.bytes += size
			s.step("removed " + name)
		}
		r.err = errors.Join(r.err, err)
		removals[id] = r
	}
	// Also where nothing was found: a crash may have come before the sync.
	if err = errors.Join(err, s.syncFiles(directory)); err != nil {
		for id := range ids {
			r := removals[id]
			r.err = errors.Join(r.err, err)
			removals[id] = r
		}
	}
	s.step("synced " + directory)
}

// namesOf returns the paths in a directory that bear one of the ids. A busy day has
// some 100,000 files: names are all that is read of them.
func (s *Store) namesOf(directory string, ids map[string]bool) (found []string, err error) {
	in, below := s.blobs(directory)
	for name, err := range in.List(below) {
		if err != nil {
			return found, err
		}
		if ids[ownerOf(name)] {
			found = append(found, path.Join(directory, path.Base(name)))
		}
	}
	return found, nil
}

// removeFile deletes a file. Somebody else may have been faster: a call takes its spool away
// when the recording is made.
func (s *Store) removeFile(name string) (size int64, err error) {
	in, below := s.blobs(name)
	if size, err = in.Remove(below); size > 0 || err != nil {
		return size, err
	}
	for _, err := range in.Walk(below) { // a directory is no blob, but what is in it is not gone
		if err == nil {
			err = syscall.ENOTEMPTY
		}
		return 0, fmt.Errorf("remove %s: %w", name, err)
	}
	return 0, nil
}

// statFile says what is known of a file without reading it.
func (s *Store) statFile(name string) (blob.Info, error) {
	in, below := s.blobs(name)
	return in.Stat(below)
}

// syncFiles makes what was deleted in a directory outlast a loss of power.
func (s *Store) syncFiles(directory string) error {
	in, below := s.blobs(directory)
	return in.Sync(below)
}

// ownerOf returns the id in a file's name, whether it is one or not.
func ownerOf(name string) string {
	id, _, _ := strings.Cut(path.Base(name), ".")
	return id
}
