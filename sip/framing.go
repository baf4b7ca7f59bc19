package sip

import (
	"bytes"
	"slices"
	"time"
)

// framing finds the messages in a stream (RFC 3261 §18.3).
type framing struct {
	in      []byte    // what came of the message, and maybe of those after it
	came    time.Time // the last of it
	began   time.Time // when the message did; zero between two
	scanned int       // bytes of its header that are known to be lines
	head    []byte    // its header, tidied, once that is whole
	length  int       // of the header as it came
	body    int       // length of the body
}

// ping asks for a sign of life, between messages (RFC 5626 §3.5.1). sipgo answers it, if it
// comes alone.
var ping = []byte("\r\n\r\n")

const readBytes = 4096

// room returns where the next bytes of the stream are to go.
func (f *framing) room() []byte {
	f.in = slices.Grow(f.in, readBytes)
	return f.in[len(f.in) : len(f.in)+readBytes]
}

// took notes how many bytes went there.
func (f *framing) took(n int, now time.Time) {
	f.in, f.came = f.in[:len(f.in)+n], now
	if f.began.IsZero() && len(bytes.TrimLeft(f.in, "\r\n")) > 0 {
		f.began = now
	}
}

// cut takes the first message, or ping, off what came; nil for none yet. With an error there
// is no telling where the message ends; it returns the header, where it has one.
func (f *framing) cut() (message []byte, err error) {
	if f.head == nil && f.scanned == 0 {
		for bytes.HasPrefix(f.in, lineEnd) {
			switch {
			case bytes.HasPrefix(f.in, ping):
				f.drop(len(ping))
				return ping, nil
			case len(f.in) < len(ping) && bytes.HasPrefix(ping, f.in):
				return nil, nil
			}
			f.drop(len(lineEnd))
		}
	}
	if f.head == nil {
		if whole, err := f.scan(); err != nil || !whole {
			return nil, err
		}
		f.length = f.scanned
		f.head, f.body, err = tidy(f.in[:f.length])
		switch {
		case err != nil:
			return f.head, err
		case f.body < 0:
			return f.head, errNoLength
		case f.length+f.body > maxMessage:
			return f.head, errLarge
		}
	}
	if len(f.in) < f.length+f.body {
		return nil, nil
	}
	message = append(f.head, f.in[f.length:f.length+f.body]...)
	f.drop(f.length + f.body)
	return message, nil
}

// drop takes the first bytes off, which are done with.
func (f *framing) drop(n int) {
	rest, began := f.in[n:], time.Time{}
	if len(bytes.TrimLeft(rest, "\r\n")) > 0 {
		began = f.came // the next has
	}
	if cap(f.in) > 2*readBytes { // what a large message took is given back
		rest = slices.Clone(rest)
	} else {
		rest = append(f.in[:0], rest...)
	}
	*f = framing{in: rest, came: f.came, began: began}
}

// scan looks for the end of the header, and reports whether it came.
func (f *framing) scan() (whole bool, err error) {
	for {
		line, _, ended := bytes.Cut(f.in[f.scanned:], []byte("\n"))
		switch {
		case !ended && len(f.in) > maxMessage:
			return false, errLarge
		case !ended:
			return false, nil
		case !bytes.HasSuffix(line, []byte("\r")):
			return false, errUnclean
		}
		f.scanned += len(line) + 1
		if len(line) == 1 {
			return true, nil
		}
	}
}
