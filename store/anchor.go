package store

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bewaard/bewaard/store/timestamp"
)

// AnchorsDirectory is the name, in the store's directory, of where time stamps of the journal's
// head are, each as the authority sent it:
//
//	anchors/000000004711-d5e748a36c48114d.tsr   of entry 4711, which has a hash that begins so
const AnchorsDirectory = "anchors"

const anchorSuffix = ".tsr"

// anchorTries is the time between two tries to have the head stamped.
const anchorTries = time.Hour

// authority is who stamps the head, nil for nobody.
func (c Config) authority() (*timestamp.Authority, error) {
	if c.TSA == "" {
		return nil, nil
	}
	roots, err := c.Roots()
	if err != nil {
		return nil, err
	}
	return timestamp.New(c.TSA, roots)
}

// Roots reads the certificates that the authority is believed by: nil where none are named.
func (c Config) Roots() (*x509.CertPool, error) {
	if c.TSARoots == "" {
		return nil, nil
	}
	return ReadRoots(c.TSARoots)
}

// ReadRoots reads a file of certificates in PEM that time-stamping authorities are believed by.
func ReadRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in PEM", file)
	}
	return roots, nil
}

// Anchor tells the journal's head as Witness does, has the authority stamp it, and keeps what it
// says. Where there is no authority it does nothing.
func (s *Store) Anchor(ctx context.Context) error {
	if s.tsa == nil {
		return nil
	}
	if err := s.anchor(ctx); err != nil {
		s.metrics.anchors.WithLabelValues("error").Inc()
		return fmt.Errorf("journal head: %w", err)
	}
	return nil
}

func (s *Store) anchor(ctx context.Context) error {
	head, err := s.witness()
	if err != nil {
		return err
	}
	name := path.Join(AnchorsDirectory, fmt.Sprintf("%012d-%.16s%s", head.Number, head.Hash, anchorSuffix))
	if kept, err := s.disk.ReadFile(name); err == nil { // nothing was done since: the earlier one says more
		at, err := timestamp.Read(kept)
		if err == nil {
			s.metrics.anchored.Set(float64(at.Unix()))
			s.metrics.anchors.WithLabelValues("unchanged").Inc()
			return nil
		}
	}
	response, stamp, err := s.tsa.Stamp(ctx, head.Hash)
	if err != nil {
		return err
	}
	if err := s.keepAnchor(name, response); err != nil {
		return err
	}
	s.metrics.anchors.WithLabelValues("stamped").Inc()
	s.metrics.anchored.Set(float64(stamp.At.Unix()))
	s.log.Info("journal head stamped", "entries", head.Number, "sha256", head.Hash.String(), "at", stamp.At, "by", stamp.Authority, "trusted", stamp.Trusted)
	return nil
}

func (s *Store) keepAnchor(name string, response []byte) error {
	if err := s.disk.MkdirAll(AnchorsDirectory, 0o700); err != nil {
		return err
	}
	return s.disk.WriteWhole(name, response)
}

// Anchored is a time stamp of an entry, as it was kept.
type Anchored struct {
	Number   uint64 // the entry's
	Response []byte
}

func (a *Anchored) object() string { return fmt.Sprintf("time stamp of entry %d", a.Number) }

// ReadAnchors reads what Anchor kept, in a store's directory of anchors or a copy.
func ReadAnchors(directory string) (anchors []Anchored, err error) {
	files, err := fs.Glob(os.DirFS(directory), "*"+anchorSuffix)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no %s file in it", directory, anchorSuffix)
	}
	var faults []error
	for _, name := range files {
		digits, _, _ := strings.Cut(strings.TrimSuffix(name, anchorSuffix), "-")
		number, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: its name does not begin with the number of an entry", name))
			continue
		}
		response, err := fs.ReadFile(os.DirFS(directory), name)
		if err != nil {
			faults = append(faults, err)
		}
		anchors = append(anchors, Anchored{number, response})
	}
	return anchors, errors.Join(faults...)
}
