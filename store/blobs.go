package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	recordingsDirectory = "recordings"
	spoolDirectory      = "spool"
	partSuffix          = ".part" // of a recording that is being made

	// probeFile is written and removed at Open to see that a directory can be written to.
	probeFile = ".bewaard-probe"
)

// blobs are the files of recordings and spools. Every path goes through the root,
// which cannot be left, by no name and by no link.
type blobs struct {
	root *os.Root

	// step is called after every step of a sweep that the disk sees. Tests copy the
	// directory there, as a crash would leave it.
	step func(what string)
}

func openBlobs(directory string) (blobs, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return blobs{}, err
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return blobs{}, err
	}
	b := blobs{root: root, step: func(string) {}}
	var faults []error
	for _, name := range []string{".", recordingsDirectory, spoolDirectory} {
		if err := b.openDirectory(name); err != nil {
			faults = append(faults, fmt.Errorf("directory %s: %w", filepath.Join(directory, name), err))
		}
	}
	if faults != nil {
		return blobs{}, errors.Join(append(faults, root.Close())...)
	}
	return b, nil
}

// openDirectory makes a directory where it is missing and tries whether it takes files.
func (b blobs) openDirectory(name string) error {
	if err := b.root.MkdirAll(name, 0o700); err != nil {
		return err
	}
	probe := path.Join(name, probeFile)
	if err := b.root.WriteFile(probe, []byte("x"), 0o600); err != nil {
		return err
	}
	return b.root.Remove(probe)
}

func (b blobs) close() error { return b.root.Close() }

// sync makes what was created and deleted in a directory outlast a loss of power.
func (b blobs) sync(directory string) error {
	d, err := b.root.Open(directory)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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

// RecordingDirectory makes the directory for recordings of calls that began then
// and returns it, relative to Directory and with slashes. A recording's name is the
// id of its row, a full stop and whatever follows.
func (s *Store) RecordingDirectory(began time.Time) (string, error) {
	day := dayDirectory(began)
	if _, err := s.blobs.root.Stat(day); err == nil {
		return day, nil
	}
	if err := s.blobs.root.MkdirAll(day, 0o700); err != nil {
		return "", fmt.Errorf("make directory %s: %w", day, err)
	}
	for directory := path.Dir(day); directory != "."; directory = path.Dir(directory) {
		if err := s.blobs.sync(directory); err != nil {
			return "", fmt.Errorf("sync directory %s: %w", directory, err)
		}
	}
	return day, nil
}

// Content is a file of a recording, open for reading: what was recorded, not what lies on the
// disk. Any part of it can be read without the others.
type Content struct {
	*io.SectionReader
	file *os.File
}

// Close lets go of the file.
func (c *Content) Close() error { return c.file.Close() }

// OpenFile opens a file of a recording. Where the master identity is elsewhere the error
// wraps seal.ErrSealed: there is OpenSealed.
func (s *Store) OpenFile(f File) (*Content, error) {
	file, err := s.OpenSealed(f)
	if err != nil {
		return nil, err
	}
	content, err := s.content(f, file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open recording %s: %w", f.Path, err), file.Close())
	}
	return content, nil
}

func (s *Store) content(f File, file *os.File) (*Content, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if f.Epoch == "" { // made before recordings were sealed
		return &Content{io.NewSectionReader(file, 0, info.Size()), file}, nil
	}
	content, size, err := s.keys.Open(f.Epoch, file, info.Size())
	if err != nil {
		return nil, err
	}
	return &Content{io.NewSectionReader(content, 0, size), file}, nil
}

// OpenSealed opens a file of a recording as it lies on the disk: an age file.
func (s *Store) OpenSealed(f File) (*os.File, error) {
	if !belowRecordings(f.Path) {
		return nil, fmt.Errorf("open recording %q: not below %s", f.Path, recordingsDirectory)
	}
	return s.blobs.root.Open(f.Path)
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
	removed := s.blobs.remove([]Row{{ID: id}}, func(*Row) []string { return []string{spoolDirectory} })
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
	if err := s.blobs.remove([]Row{row}, everywhere)[id].err; err != nil {
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

// remove deletes every file of the rows: what bears a row's id in one of its
// directories, whether the row names it or not, so that parts and formats that a
// crash kept out of the row go too. A row's files are gone when its removal has no
// error: they were looked for again and were not there, and that is on disk.
func (b blobs) remove(rows []Row, directories func(*Row) []string) map[string]removal {
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
		b.removeIn(directory, in[directory], removals)
	}
	return removals
}

func (b blobs) removeIn(directory string, ids map[string]bool, removals map[string]removal) {
	names, err := b.namesOf(directory, ids)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	for _, name := range names {
		id := ownerOf(name)
		r := removals[id]
		size, err := b.removeFile(name)
		if err == nil {
			r.paths = append(r.paths, name)
			r.bytes += size
			b.step("removed " + name)
		}
		r.err = errors.Join(r.err, err)
		removals[id] = r
	}
	// Also where nothing was found: a crash may have come before the sync.
	if err = errors.Join(err, b.sync(directory)); err != nil {
		for id := range ids {
			r := removals[id]
			r.err = errors.Join(r.err, err)
			removals[id] = r
		}
	}
	b.step("synced " + directory)
}

// namesOf returns the paths in a directory that bear one of the ids. A busy day has
// some 100,000 files: names are all that is read of them.
func (b blobs) namesOf(directory string, ids map[string]bool) (found []string, err error) {
	d, err := b.root.Open(directory)
	if err != nil {
		return nil, err
	}
	defer d.Close() // it was only read
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if ids[ownerOf(name)] {
				found = append(found, path.Join(directory, name))
			}
		}
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return found, fmt.Errorf("read directory %s: %w", directory, err)
		}
	}
}

// removeFile deletes a file and looks whether it is gone. Somebody else may have
// been faster: a call takes its spool away when the recording is made.
func (b blobs) removeFile(name string) (size int64, err error) {
	info, err := b.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := b.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	switch _, err := b.root.Lstat(name); {
	case err == nil:
		return 0, fmt.Errorf("remove %s: it is still there", name)
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	return info.Size(), nil
}

// ownerOf returns the id in a file's name, whether it is one or not.
func ownerOf(name string) string {
	id, _, _ := strings.Cut(path.Base(name), ".")
	return id
}
