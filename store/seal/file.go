package seal

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// Suffix ends the name of a sealed file.
const Suffix = ".age"

// Seal returns a writer that seals to an epoch what is written to it, on its way to w: an
// age file, which Close completes. It does not close w.
func (k *Keys) Seal(e Epoch, w io.Writer) (io.WriteCloser, error) {
	r, err := k.recipient(e)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	sealed, err := age.Encrypt(w, r)
	if err != nil {
		return nil, fmt.Errorf("seal to epoch %s: %w", e, err)
	}
	return sealed, nil
}

// Open opens a file of that size which is sealed to an epoch, and returns how large its
// content is. Any part of it can be read without the others; what does not belong there is
// an error when it is met.
func (k *Keys) Open(e Epoch, sealed io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	identity, err := k.identity(e)
	if err != nil {
		return nil, 0, fmt.Errorf("open: %w", err)
	}
	content, n, err := age.DecryptReaderAt(sealed, size, identity)
	if err != nil {
		return nil, 0, fmt.Errorf("open with epoch %s: %w", e, err)
	}
	return content, n, nil
}

// readFull reads until b is full or r is at its end.
func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, nil
	}
	return n, err
}
