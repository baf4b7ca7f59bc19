package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
	"time"

	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
)

// An index is a table of keys without values that follows the rows: every row that
// keys has something for is in it, under exactly these. Some have what is looked for in
// front, as long in every key:
//
//	          0                      8
//	+--------+----------------------+-----------------+
//	| sought | instant, big endian  | id of the row … |
//	+--------+----------------------+-----------------+
type index struct {
	table  string
	sought int                 // bytes
	keys   func(*Row) [][]byte // none: the row is not in the index
}

var (
	// byExpiry has the rows that are to be destroyed, the first to go first, without
	// those under legal hold. The cost of a sweep grows with what expires, not with what
	// is kept.
	byExpiry = index{table: "by_expiry", keys: func(r *Row) [][]byte {
		if !r.State.expires() || r.Expires.IsZero() || r.held() {
			return nil
		}
		return [][]byte{indexKey(r.Expires, r.ID)}
	}}

	// byRowExpiry has the destroyed rows that still say who called, byRemoval those that say
	// no more, until what is left of them goes too.
	byRowExpiry = index{table: "by_row_expiry", keys: func(r *Row) [][]byte {
		if !r.named() || r.held() {
			return nil
		}
		return [][]byte{indexKey(r.RowExpires, r.ID)}
	}}
	byRemoval = index{table: "by_removal", keys: func(r *Row) [][]byte {
		if r.State != StateDestroyed || r.named() || r.CertificateExpires.IsZero() {
			return nil
		}
		return [][]byte{indexKey(r.CertificateExpires, r.ID)}
	}}

	// byBegan has every row in the order in which calls began. Ids have nearly that
	// order, but not across a clock that was set back.
	byBegan = index{table: "by_began", keys: func(r *Row) [][]byte { return [][]byte{indexKey(r.Began, r.ID)} }}

	// unfinished has the rows that a crash leaves for the next start.
	unfinished = index{table: "unfinished", keys: func(r *Row) [][]byte {
		if !r.State.unfinished() {
			return nil
		}
		return [][]byte{indexKey(r.Began, r.ID)}
	}}

	// byNumber, byPurpose and byState have rows by one of these and the beginning: a row that
	// is kept for several purposes by each, and byNumber by agents and SIP Call-IDs, too.
	byNumber = index{table: "by_number", sought: seal.TokenBytes, keys: func(r *Row) [][]byte {
		keys := make([][]byte, len(r.tokens))
		for i, t := range r.tokens {
			keys[i] = append(t[:], indexKey(r.Began, r.ID)...)
		}
		return keys
	}}
	byPurpose = index{table: "by_purpose", sought: labelBytes, keys: func(r *Row) [][]byte {
		var keys [][]byte
		for _, purpose := range r.purposes() {
			keys = append(keys, append(label(purpose), indexKey(r.Began, r.ID)...))
		}
		return keys
	}}
	byState = index{table: "by_state", sought: labelBytes, keys: func(r *Row) [][]byte {
		return [][]byte{append(label(string(r.State)), indexKey(r.Began, r.ID)...)}
	}}

	// byEpoch has rows by the epochs that something of theirs is sealed to.
	byEpoch = index{table: "by_epoch", sought: labelBytes, keys: func(r *Row) [][]byte {
		var keys [][]byte
		for _, e := range r.epochs() {
			keys = append(keys, append(label(string(e)), indexKey(r.Began, r.ID)...))
		}
		return keys
	}}

	// discarding has the rows of which what was captured is to be destroyed, and is not yet.
	discarding = index{table: "discarding", keys: func(r *Row) [][]byte {
		if !r.discarding() {
			return nil
		}
		return [][]byte{indexKey(r.Began, r.ID)}
	}}

	// indexes are all of them.
	indexes = []index{byExpiry, byRowExpiry, byRemoval, byBegan, unfinished, byNumber, byPurpose, byState, byEpoch, discarding}
)

// labelBytes is how long a word is in front of a key.
const labelBytes = 16

// label returns a word as all keys of an index have it: its beginning where that is the
// whole, else a hash. Words share a label as seldom as hashes do.
func label(word string) []byte {
	l := make([]byte, labelBytes)
	if len(word) >= labelBytes {
		sum := sha256.Sum256([]byte(word))
		copy(l[1:], sum[:]) // no word begins with a zero
		return l
	}
	copy(l, word)
	return l
}

// epochs are those that something of the row is sealed to.
func (r *Row) epochs() []seal.Epoch {
	var epochs []seal.Epoch
	add := func(e seal.Epoch) {
		if e != "" && !slices.Contains(epochs, e) {
			epochs = append(epochs, e)
		}
	}
	if r.part != nil {
		add(r.part.Epoch)
	}
	if r.State != StateDestroyed {
		for _, f := range r.Files {
			add(f.Epoch)
		}
	}
	return epochs
}

const instantBytes = 8

// indexKey orders by the instant's millisecond, then by id. Milliseconds reach
// every year that a row can name; nanoseconds would end in 2262.
func indexKey(t time.Time, id string) []byte {
	return append(instantKey(t), id...)
}

// instantKey is where the keys of an instant's millisecond begin.
func instantKey(t time.Time) []byte {
	const signBit = 1 << 63 // flipped, instants before 1970 sort before those after
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli())^signBit)
}

// keyInstant returns the instant that a key was made of, to the millisecond.
func keyInstant(key []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(key) ^ 1<<63)).UTC()
}

// keyID returns the id that a key was made of, without what is sought. It is a copy.
func keyID(key []byte) string { return string(key[instantBytes:]) }

// follow brings the index from the old row, nil for a new one, to the row.
func (x index) follow(tx table.Tx, old, row *Row) error {
	var from [][]byte
	if old != nil {
		from = x.keys(old)
	}
	to := x.keys(row)
	t := tx.Table(x.table)
	for _, key := range from {
		if has(to, key) {
			continue
		}
		if err := t.Delete(key); err != nil {
			return err
		}
	}
	for _, key := range to {
		if has(from, key) {
			continue
		}
		if err := t.Put(key, nil); err != nil {
			return err
		}
	}
	return nil
}

func has(keys [][]byte, key []byte) bool {
	return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
}

// between yields the keys that come after the given one, or all from the first on,
// and before the end, nil for none. A key ends with the transaction.
func (x index) between(tx table.Tx, after, end []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for key := range tx.Table(x.table).Ascend(after) {
			if after != nil && bytes.Equal(key, after) {
				continue
			}
			if end != nil && bytes.Compare(key, end) >= 0 || !yield(key) {
				return
			}
		}
	}
}

// page returns copies of the first of the keys between. They are collected before
// rows are changed: a change moves keys under a cursor's feet.
func (x index) page(tx table.Tx, after, end []byte, limit int) (keys [][]byte) {
	for key := range x.between(tx, after, end) {
		if len(keys) == limit {
			break
		}
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}
