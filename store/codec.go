package store

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrUnreadable is wrapped when the database has a row and it is none: bytes have
// changed on disk, or something else wrote them.
var ErrUnreadable = errors.New("unreadable row")

// The codec of a row is these two functions; nothing else knows that rows are JSON.

// encodeRow returns the bytes that a row is kept as.
func encodeRow(r *Row) ([]byte, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode row %s: %w", r.ID, err)
	}
	return value, nil
}

// decodeRow reads the row that is kept under an id. The row shares no memory with
// the value, which is bbolt's and ends with the transaction.
func decodeRow(id, value []byte) (Row, error) {
	var r Row
	if err := json.Unmarshal(value, &r); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if r.ID != string(id) {
		return Row{}, fmt.Errorf("%w: it is that of %q", ErrUnreadable, r.ID)
	}
	if err := r.check(); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	r.inUTC()
	return r, nil
}
