package store

import (
	"bytes"
	"encoding/binary"
	"iter"
	"time"

	"go.etcd.io/bbolt"
)

// An index is a bucket of keys without values that follows the rows: every row that
// key has something for is in it, under exactly that.
//
//	 0                      8
//	+----------------------+-----------------+
//	| instant, big endian  | id of the row … |
//	+----------------------+-----------------+
type index struct {
	bucket []byte
	key    func(*Row) []byte // nil: the row is not in the index
}

var (
	// byExpiry has the rows that are to be destroyed, the first to go first, without
	// those under legal hold. The cost of a sweep grows with what expires, not with what
	// is kept.
	byExpiry = index{[]byte("by_expiry"), func(r *Row) []byte {
		if !r.State.expires() || r.Expires.IsZero() || r.held() {
			return nil
		}
		return indexKey(r.Expires, r.ID)
	}}

	// byRowExpiry has the destroyed rows that still say who called, byRemoval those that say
	// no more, until what is left of them goes too.
	byRowExpiry = index{[]byte("by_row_expiry"), func(r *Row) []byte {
		if !r.named() {
			return nil
		}
		return indexKey(r.RowExpires, r.ID)
	}}
	byRemoval = index{[]byte("by_removal"), func(r *Row) []byte {
		if r.State != StateDestroyed || r.named() || r.CertificateExpires.IsZero() {
			return nil
		}
		return indexKey(r.CertificateExpires, r.ID)
	}}

	// byBegan has every row in the order in which calls began. Ids have nearly that
	// order, but not across a clock that was set back.
	byBegan = index{[]byte("by_began"), func(r *Row) []byte { return indexKey(r.Began, r.ID) }}

	// unfinished has the rows that a crash leaves for the next start.
	unfinished = index{[]byte("unfinished"), func(r *Row) []byte {
		if !r.State.unfinished() {
			return nil
		}
		return indexKey(r.Began, r.ID)
	}}
)

// indexes are all of them.
var indexes = []index{byExpiry, byRowExpiry, byRemoval, byBegan, unfinished}

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

// keyID returns the id that a key was made of. It is a copy.
func keyID(key []byte) string { return string(key[instantBytes:]) }

// follow brings the index from the old row, nil for a new one, to the row.
func (x index) follow(tx *bbolt.Tx, old, row *Row) error {
	var from []byte
	if old != nil {
		from = x.key(old)
	}
	to := x.key(row)
	if bytes.Equal(from, to) {
		return nil
	}
	bucket := tx.Bucket(x.bucket)
	if from != nil {
		if err := bucket.Delete(from); err != nil {
			return err
		}
	}
	if to != nil {
		return bucket.Put(to, nil)
	}
	return nil
}

// between yields the keys that come after the given one, or all from the first on,
// and before the end, nil for none. A key is bbolt's: it ends with the transaction.
func (x index) between(tx *bbolt.Tx, after, end []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		cursor := tx.Bucket(x.bucket).Cursor()
		key, _ := cursor.Seek(after)
		if after != nil && bytes.Equal(key, after) {
			key, _ = cursor.Next()
		}
		for ; key != nil && (end == nil || bytes.Compare(key, end) < 0); key, _ = cursor.Next() {
			if !yield(key) {
				return
			}
		}
	}
}

// page returns copies of the first of the keys between. They are collected before
// rows are changed: a change moves keys under a cursor's feet.
func (x index) page(tx *bbolt.Tx, after, end []byte, limit int) (keys [][]byte) {
	for key := range x.between(tx, after, end) {
		if len(keys) == limit {
			break
		}
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}
