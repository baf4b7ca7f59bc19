package finalize

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/bewaard/bewaard/media/spool"
)

// Blob is a file that is being written where it is to stay. It bears its name when it is
// committed, whole and for good, in place of what bore it; aborted it leaves nothing.
type Blob interface {
	io.Writer
	Commit() error
	Abort() error // also after a Commit that failed
}

// files are the files that one recording is being written to, one a format.
// The first bears its name only when all of them are complete.
type files struct {
	open []*file
}

type file struct {
	File
	blob    Blob
	sealed  sum            // of what goes to the blob
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
	f = &files{}
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
	blob, err := job.Create(name)
	if err != nil {
		return err
	}
	new := &file{File: File{Path: name, Format: format}, blob: blob, sealed: newSum(), content: newSum()}
	f.open = append(f.open, new)
	out := io.MultiWriter(blob, &new.sealed)
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

// keep completes the files and gives them their names, one after the other. Where one of
// them cannot have its name, those before it have theirs already: the next try replaces them.
func (f *files) keep(seconds float64) ([]File, error) {
	var kept []File
	for _, file := range f.open {
		if err := file.complete(); err != nil {
			return nil, fmt.Errorf("write %s: %w", file.Path, err)
		}
		file.Seconds = seconds
		kept = append(kept, file.File)
	}
	for len(f.open) > 0 {
		if err := f.open[0].blob.Commit(); err != nil {
			return nil, err
		}
		f.open = f.open[1:]
	}
	return kept, nil
}

// complete writes a file's end and notes its size and hash.
func (f *file) complete() error {
	if f.sealer != nil {
		if err := f.sealer.Close(); err != nil {
			return err
		}
	}
	f.Bytes, f.SHA256 = f.sealed.bytes, f.sealed.hex()
	f.ContentBytes, f.ContentSHA256 = f.content.bytes, f.content.hex()
	return nil
}

// discard removes what keep has not kept.
func (f *files) discard() error {
	var errs []error
	for _, file := range f.open {
		errs = append(errs, file.blob.Abort())
	}
	f.open = nil
	return errors.Join(errs...)
}
