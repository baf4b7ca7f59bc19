package spool

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bewaard/bewaard/media/rtp"
)

var (
	// ErrTorn is returned after the last frame of a spool that has no end: its
	// writer was killed, or its tail is damaged.
	ErrTorn = errors.New("torn spool")
	// ErrHeader is wrapped by the error about a file whose header is not a
	// spool's, or too damaged to be read.
	ErrHeader = errors.New("no spool header")
)

// errDamaged is of a frame that does not hold what it should.
var errDamaged = errors.New("damaged frame")

// Reader reads a spool frame by frame.
type Reader struct {
	Header Header

	file    *os.File // nil if not opened by name
	in      *bufio.Reader
	mark    mark
	sealer  *sealer
	opened  []byte // the payload of the frame last returned
	held    int    // bytes of in that the frame last returned shares
	offset  int64  // of what in gives next
	bytes   int64  // of the file as it was opened
	damaged int
	err     error // every further Next returns it
}

// Open opens a spool, whose key the keys unwrap, and reads its header.
func Open(path string, keys Keys) (*Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	r, err := NewReader(file, keys)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("open spool %s: %w", path, err)
	}
	r.file = file
	if info, err := file.Stat(); err == nil {
		r.bytes = info.Size()
	}
	return r, nil
}

// NewReader reads a spool's header from in.
func NewReader(in io.Reader, keys Keys) (*Reader, error) {
	r := &Reader{
		in:   bufio.NewReaderSize(in, frameHeaderBytes+maxPayloadBytes),
		mark: headerMark,
	}
	err := r.readKey(keys)
	if err == nil {
		err = r.readHeader()
	}
	if errors.Is(err, errDamaged) || err == io.EOF {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// readKey reads the first frame.
func (r *Reader) readKey(keys Keys) error {
	frame, err := r.peek()
	if err != nil {
		return err
	}
	if frameType(frame[8]) != keyFrame {
		return errDamaged
	}
	var h keyHeader
	if err := json.Unmarshal(frame[frameHeaderBytes:], &h); err != nil {
		return fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if h.Version != version {
		return fmt.Errorf("%w: version %d, not %d", ErrHeader, h.Version, version)
	}
	if len(h.Mark) != len(r.mark) {
		return fmt.Errorf("%w: mark of %d bytes", ErrHeader, len(h.Mark))
	}
	copy(r.mark[:], h.Mark)
	key, err := keys.UnwrapSpool(h.Key)
	if err == nil {
		r.sealer, err = newSealer(r.mark, key)
	}
	if err != nil {
		return fmt.Errorf("%w: key: %w", ErrHeader, err)
	}
	r.discard(len(frame))
	return nil
}

// readHeader reads the first sealed frame.
func (r *Reader) readHeader() error {
	frame, err := r.peek()
	if err != nil {
		return err
	}
	if frameType(frame[8]) != headerFrame {
		return errDamaged
	}
	header, err := r.sealer.open(nil, frame)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(header, &r.Header); err != nil {
		return fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if err := r.Header.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrHeader, err)
	}
	r.held = len(frame)
	return nil
}

// Close closes a spool that Open opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// Progress returns how many bytes were read, and of how many; 0 where the spool was
// not opened by name.
func (r *Reader) Progress() (read, bytes int64) { return r.offset + int64(r.held), r.bytes }

// Damaged returns how many times so far damage was met and skipped up to the
// next good frame. A torn tail is not counted.
func (r *Reader) Damaged() int { return r.damaged }

// Next returns the next good frame; what lies between two is skipped and
// counted once. After the end it returns io.EOF, after the last good frame of a
// spool without an end ErrTorn, and the disk's own error where it gave one.
func (r *Reader) Next() (Frame, error) {
	if r.err != nil {
		return nil, r.err
	}
	r.discard(r.held)
	r.held = 0
	skipping := false
	for {
		frame, err := r.read()
		switch {
		case err == nil:
			if _, ended := frame.(End); ended {
				r.err = io.EOF
			}
			return frame, nil
		case err == io.EOF:
			if skipping {
				r.damaged-- // nothing good follows: the tail is torn
			}
			r.err = ErrTorn
			return nil, r.err
		case !errors.Is(err, errDamaged):
			r.err = fmt.Errorf("read spool %s: %w", r.Header.ID, err)
			return nil, r.err
		}
		if !skipping {
			skipping = true
			r.damaged++
		}
		r.skip()
	}
}

// read returns the frame that begins here.
func (r *Reader) read() (Frame, error) {
	frame, err := r.peek()
	if err != nil {
		return nil, err
	}
	if r.opened, err = r.sealer.open(r.opened[:0], frame); err != nil {
		return nil, err
	}
	switch frameType(frame[8]) {
	case batchFrame:
		r.held = len(frame)
		return Batch{rtp.Leg(frame[9]), r.opened}, nil
	case noticeFrame:
		if len(r.opened)%2 != 0 {
			return nil, errDamaged
		}
		r.held = len(frame)
		return NoticeAudio{r.opened}, nil
	case eventFrame:
		var e Event
		if json.Unmarshal(r.opened, &e) != nil || e.Leg > 1 {
			return nil, errDamaged
		}
		r.held = len(frame)
		return e, nil
	case endFrame:
		var e End
		if json.Unmarshal(r.opened, &e) != nil {
			return nil, errDamaged
		}
		r.held = len(frame)
		return e, nil
	}
	return nil, errDamaged
}

// peek returns the whole frame that begins here, sealed, without going past it:
// errDamaged if none does, io.EOF at the very end of the file.
func (r *Reader) peek() (frame []byte, err error) {
	h, err := r.in.Peek(frameHeaderBytes)
	if err == io.EOF && len(h) > 0 {
		err = errDamaged
	}
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(h[12:])
	if !bytes.Equal(h[:8], r.mark[:]) || h[9] > 1 || h[10]|h[11] != 0 || n > maxPayloadBytes {
		return nil, errDamaged
	}
	f, err := r.in.Peek(frameHeaderBytes + int(n))
	if err == io.EOF {
		err = errDamaged
	}
	if err != nil {
		return nil, err
	}
	if checksum(f) != binary.BigEndian.Uint32(f[16:]) {
		return nil, errDamaged
	}
	return f, nil
}

// discard goes past what was peeked at.
func (r *Reader) discard(n int) {
	n, _ = r.in.Discard(n)
	r.offset += int64(n)
}

// skip goes to the next mark, or the end of the file.
func (r *Reader) skip() {
	r.discard(1)
	for {
		b, err := r.in.Peek(max(r.in.Buffered(), len(r.mark)))
		if i := bytes.Index(b, r.mark[:]); i >= 0 {
			r.discard(i)
			return
		}
		if err != nil {
			r.discard(len(b))
			return
		}
		r.discard(len(b) - len(r.mark) + 1)
	}
}
