// Package spool keeps one call's captured packets in one file, as they came,
// and reads them back even when the file is torn or damaged.
//
//	tap ──drain──▶ Writer ──one write a drain──▶ <id>.spool ──▶ Reader ──▶ finalize
//	               every 500 ms                  (File)
//
// A spool describes itself: its header holds the terms of the grant under
// which the packets were captured, the legs and their codecs. There is no spool
// without a Grant, and none of its packets is older than the end of the
// announcement.
//
// The package does not know where packets come from, what is in them, which
// calls exist, or what becomes of a finished spool.
//
// # On disk
//
// A spool is frames one after the other, integers big endian:
//
//	 0                8      9     10     12       16       20
//	+----------------+------+-----+------+--------+--------+-----------+
//	| mark           | type | leg | 0  0 | length | CRC-32C| payload … |
//	+----------------+------+-----+------+--------+--------+-----------+
//
// The checksum covers everything but itself. The mark of the first frame is the
// fixed text "bwrdspl2"; it names the random mark which all frames after it bear,
// and has the file's key, wrapped by somebody else. The others are sealed with it,
// AES-256-GCM over whole frames: a payload is the frame's number, which is the
// nonce, and then what is sealed, bound to the frame's first twelve bytes. The
// first of them is the header. A reader that meets a damaged frame looks for the next
// mark; since no party to the call can know it, none can put a frame of their
// own making into their audio. The last frame is the end; a spool without one
// was torn by a crash.
//
// What is sealed of a batch is what rtp.AppendCaptured makes, of a part of the notice, which
// stands behind the header, samples of L16; of the others it is JSON.
package spool

import (
	"errors"
	"path"
	"strings"
)

// Extension is the suffix of a spool's file name; what precedes it is the
// recording's id.
const Extension = ".spool"

// Keys wrap the key of a spool, which is made for it alone, and open it again: they know
// whose it is, and for how long.
type Keys interface {
	WrapSpool(key []byte) (wrapped []byte, err error)
	UnwrapSpool(wrapped []byte) (key []byte, err error)
}

// WrappedKey returns the wrapped key of a spool, without opening it.
func WrappedKey(path string) ([]byte, error) {
	k := &keepWrapped{}
	r, err := Open(path, k)
	switch {
	case k.wrapped != nil:
		return k.wrapped, nil
	case err == nil:
		return nil, r.Close()
	}
	return nil, err
}

// keepWrapped unwraps nothing.
type keepWrapped struct{ wrapped []byte }

func (k *keepWrapped) WrapSpool([]byte) ([]byte, error) { return nil, errors.ErrUnsupported }

func (k *keepWrapped) UnwrapSpool(wrapped []byte) ([]byte, error) {
	k.wrapped = wrapped
	return nil, errors.ErrUnsupported
}

// ID returns the recording id that a spool's file name holds, and whether name
// is the name of a spool at all.
func ID(name string) (string, bool) {
	id, ok := strings.CutSuffix(path.Base(name), Extension)
	return id, ok && validID(id) == nil
}
