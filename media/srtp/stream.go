package srtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	pion "github.com/pion/srtp/v3"
)

// replayWindow is how many packets back one may come and still be told from a copy.
const replayWindow = 128

// Who comes into a stream late, since its sender went over to another call, does not know how
// often its numbers have wrapped. It tries: six hours of 20 ms, and no more than so many packets.
const (
	maxWraps    = 16
	maxSearches = 50
)

// settled is after how many packets by a new key those by the old one are over.
const settled = 250

// In takes the protection off what comes in on a leg. The zero has no key yet. Any
// goroutine may use it: reports come beside the packets.
type In struct {
	mu      sync.Mutex
	key     Key
	now     *reader
	before  []*reader // that packets may still be for, or be for instead: see Rekey
	good    int       // packets since Rekey
	sought  int       // packets that search was tried with
	scratch []byte    // a packet that is tried more than once
}

// reader is one key's state of what came by it.
type reader struct {
	context *pion.Context
	ssrc    uint32 // of the last packet
	heard   bool
	header  rtp.Header
}

func newReader(k Key) (*reader, error) {
	key, salt := k.halves()
	c, err := pion.CreateContext(key, salt, profile(k.suite), pion.SRTPReplayProtection(replayWindow), pion.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return nil, fmt.Errorf("take key of %v: %w", k.suite, err)
	}
	return &reader{context: c}, nil
}

func profile(s Suite) pion.ProtectionProfile { return pion.ProtectionProfile(suites[s].profile) }

// Rekey has another key hold from now on; the same one changes nothing, and how far the
// stream is stays known. What is under way by the old key is still taken. A stream that
// goes on by the new key keeps its count of wraps (RFC 3711 §3.3.1), but most peers begin
// it anew with a description's key: the first packet tells which.
func (in *In) Rekey(k Key) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if k == in.key {
		return nil
	}
	next, err := newReader(k)
	if err != nil {
		return err
	}
	old := in.now
	in.before = in.before[:0]
	if old != nil {
		if wraps, ok := old.context.ROC(old.ssrc); ok && old.heard && wraps > 0 {
			anew, err := newReader(k)
			if err != nil {
				return err
			}
			next.context.SetROC(old.ssrc, wraps)
			in.before = append(in.before, anew)
		}
		in.before = append(in.before, old)
	}
	in.key, in.now, in.good, in.sought = k, next, 0, 0
	return nil
}

// RTP makes a packet plain, in place.
func (in *In) RTP(b []byte) ([]byte, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	out, err := in.open(b, (*reader).rtp)
	if err == ErrForged && in.unheard() {
		return in.search(b)
	}
	return out, err
}

// RTCP makes a report plain, in place.
func (in *In) RTCP(b []byte) ([]byte, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.open(b, (*reader).rtcp)
}

// unheard reports whether a stream may be one that we come into late.
func (in *In) unheard() bool { return in.now != nil && !in.now.heard && in.sought < maxSearches }

// search tries a packet, which open has left in scratch, as one of a stream that has wrapped.
func (in *In) search(b []byte) ([]byte, error) {
	in.sought++
	if len(in.scratch) < 12 {
		return nil, ErrForged
	}
	r, err := newReader(in.key)
	if err != nil {
		return nil, err
	}
	ssrc := binary.BigEndian.Uint32(in.scratch[8:])
	for wraps := uint32(1); wraps <= maxWraps; wraps++ {
		r.context.SetROC(ssrc, wraps)
		if out, err := r.rtp(append(b[:0], in.scratch...)); err == nil {
			in.now = r
			return out, nil
		}
	}
	return nil, ErrForged
}

func (in *In) open(b []byte, open func(*reader, []byte) ([]byte, error)) ([]byte, error) {
	switch {
	case in.now == nil:
		return nil, ErrNoKey
	case len(in.before) == 0 && !in.unheard():
		return open(in.now, b)
	}
	in.scratch = append(in.scratch[:0], b...) // what is tried in vain may be gone
	out, err := open(in.now, b)
	if err == nil {
		if in.good++; in.good == settled {
			in.before = nil
		}
		return out, nil
	}
	for i, r := range in.before {
		out, again := open(r, append(b[:0], in.scratch...))
		if again != nil {
			continue
		}
		if i == 0 && len(in.before) == 2 { // the new key's stream, counted anew
			in.now, in.before, in.good = r, in.before[1:], 1
		}
		return out, nil
	}
	return nil, err
}

func (r *reader) rtp(b []byte) ([]byte, error) {
	out, err := r.context.DecryptRTP(b, b, &r.header)
	if err != nil {
		return nil, cause(err)
	}
	r.ssrc, r.heard = r.header.SSRC, true
	return out, nil
}

func (r *reader) rtcp(b []byte) ([]byte, error) {
	out, err := r.context.DecryptRTCP(b, b, &rtcp.Header{})
	if err != nil {
		return nil, cause(err)
	}
	return out, nil
}

// duplicated is what the module's error of a replay says of itself: it has no name to
// outsiders. TestReplay would fail without.
const duplicated = "duplicated packet"

// cause makes one of ours of the module's error.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil && inner.Error() == duplicated {
		return ErrReplayed
	}
	return ErrForged
}

// Out protects what goes out on a leg. The zero has no key yet. Any goroutine may use it.
type Out struct {
	mu     sync.Mutex
	key    Key
	to     *pion.Context
	header rtp.Header
	sent   window
}

// Rekey has another key hold from now on; the same one changes nothing. It reports whether
// it was another: a stream that has begun is to go on as another then, under an SSRC of its
// own, so that nobody has to know how often its numbers had wrapped, and none of them is
// used twice by a key that comes back.
func (o *Out) Rekey(k Key) (changed bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k == o.key {
		return false, nil
	}
	key, salt := k.halves()
	to, err := pion.CreateContext(key, salt, profile(k.suite))
	if err != nil {
		return false, fmt.Errorf("take key of %v: %w", k.suite, err)
	}
	o.key, o.to, o.sent = k, to, window{}
	return true, nil
}

// Has reports whether that is the key.
func (o *Out) Has(k Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return k == o.key
}

// Ready reports whether there is a key.
func (o *Out) Ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to != nil
}

// RTP protects a packet, in place where its array has room behind it.
func (o *Out) RTP(b []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to == nil {
		return nil, ErrNoKey
	}
	if _, err := o.header.Unmarshal(b); err != nil {
		return nil, err
	}
	// Two packets of one number are one key stream used twice (RFC 3711 §9.1), and a plain
	// peer's numbers are what he likes.
	if !o.sent.take(o.header.SSRC, o.header.SequenceNumber) {
		return nil, ErrReused
	}
	return o.to.EncryptRTP(b, b, &o.header)
}

// RTCP protects a report.
func (o *Out) RTCP(b []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to == nil {
		return nil, ErrNoKey
	}
	return o.to.EncryptRTCP(bytes.Clone(b), b, nil)
}

// window knows which of a stream's last 64 numbers were used.
type window struct {
	ssrc    uint32
	started bool
	highest int64  // with the wraps in it
	used    uint64 // bit i: highest-i
}

// take uses a number, and reports whether it may be: it was not, and is neither too old to
// know nor from before the stream's first, which would read as a wrap.
func (w *window) take(ssrc uint32, sequence uint16) bool {
	if !w.started || ssrc != w.ssrc {
		*w = window{ssrc: ssrc, started: true, highest: int64(sequence), used: 1}
		return true
	}
	ahead := int64(int16(sequence - uint16(w.highest)))
	if ahead > 0 {
		w.highest += ahead
		w.used = w.used<<ahead | 1 // 0 where all of them are older
		return true
	}
	if ahead <= -64 || w.highest+ahead < 0 || w.used>>-ahead&1 == 1 {
		return false
	}
	w.used |= 1 << -ahead
	return true
}
