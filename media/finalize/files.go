package finalize

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"

	"github.com/bewaard/bewaard/media/spool"
)

// partSuffix ends the name of a file that is not yet complete.
const partSuffix = ".part"

// files are the files that one recording is being written to, one a format.
// They bear their names only when all of them are complete and on the disk.
type files struct {
	dir  *os.Root
	open []*file
}

type file struct {
	File
	disk    *os.File
	sealed  sum            // of what goes to the disk
	content sum            // of what the output writes
	sealer  io.WriteCloser // nil if nothing is sealed
	output  output
}

// sum is how much went by, and its hash.
type sum struct {
	bytes int64
	hash  hash.Hash
}

func newSum() sum { return sum{hash: sha256.New()} }

func (s *sum) Write(b []byte) (int, error) {
	s.bytes += int64(len(b))
	return s.hash.Write(b)
}

func (s *sum) hex() string { return hex.EncodeToString(s.hash.Sum(nil)) }

// createFiles begins all files of a job whose formats this build can write, and
// returns the errors of the others.
func createFiles(job Job, h spool.Header, hz, frames int64) (f *files, skipped []error, err error) {
	name := job.Name
	if name == "" {
		name = h.ID
	}
	if err := job.Out.MkdirAll(path.Dir(name), 0o700); err != nil {
		return nil, nil, err
	}
	f = &files{dir: job.Out}
	for _, format := range job.Formats {
		if err := CheckFormat(format); err != nil {
			skipped = append(skipped, err)
			continue
		}
		if err := f.create(name+"."+formats[format].extension+job.Suffix, format, job, h, hz, frames); err != nil {
			return nil, skipped, errors.Join(err, f.discard())
		}
	}
	if len(f.open) == 0 {
		return nil, skipped, errors.Join(append(skipped, errors.New("no format to write"))...)
	}
	return f, skipped, nil
}

func (f *files) create(name, format string, job Job, h spool.Header, hz, frames int64) error {
	disk, err := f.dir.OpenFile(name+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	new := &file{File: File{Path: name, Format: format}, disk: disk, sealed: newSum(), content: newSum()}
	f.open = append(f.open, new)
	out := io.MultiWriter(disk, &new.sealed)
	if job.Seal != nil {
		if new.sealer, err = job.Seal(out); err != nil {
			return err
		}
		out = new.sealer
	}
	new.output, err = newOutput(io.MultiWriter(out, &new.content), format, hz, frames, h, job)
	return err
}

// passage returns the file that keeps packets as they came, nil for none.
func (f *files) passage() *passage {
	for _, file := range f.open {
		if p, ok := file.output.(*passage); ok {
			return p
		}
	}
	return nil
}

// outputs returns where the recording's frames go.
func (f *files) outputs() []output {
	var outputs []output
	for _, file := range f.open {
		outputs = append(outputs, file.output)
	}
	return outputs
}

// keep puts the complete files on the disk and gives them their names.
func (f *files) keep(seconds float64) ([]File, error) {
	var kept []File
	for _, file := range f.open {
		if err := file.complete(); err != nil {
			return nil, fmt.Errorf("write %s: %w", file.Path, err)
		}
		file.Seconds = seconds
		kept = append(kept, file.File)
	}
	for _, file := range f.open {
		if err := f.dir.Rename(file.Path+partSuffix, file.Path); err != nil {
			return nil, err
		}
	}
	if err := f.syncDirectories(path.Dir(f.open[0].Path)); err != nil {
		return nil, err
	}
	f.open = nil
	return kept, nil
}

// complete puts a file's content on the disk and notes its size and hash.
func (f *file) complete() error {
	if f.sealer != nil {
		if err := f.sealer.Close(); err != nil {
			return err
		}
	}
	f.Bytes, f.SHA256 = f.sealed.bytes, f.sealed.hex()
	f.ContentBytes, f.ContentSHA256 = f.content.bytes, f.content.hex()
	err := errors.Join(f.disk.Sync(), f.disk.Close())
	f.disk = nil
	return err
}

// syncDirectories puts the names of the files, and of directories that were made
// for them, on the disk.
func (f *files) syncDirectories(name string) error {
	for ; ; name = path.Dir(name) {
		d, err := f.dir.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
	}
}

// discard removes what keep has not kept.
func (f *files) discard() error {
	var errs []error
	for _, file := range f.open {
		if file.disk != nil {
			errs = append(errs, file.disk.Close())
		}
		if err := f.dir.Remove(file.Path + partSuffix); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	f.open = nil
	return errors.Join(errs...)
}
