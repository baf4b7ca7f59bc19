package store

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bewaard/bewaard/store/seal"
)

// ErrUnreadable is wrapped when the database has a row and it is none: bytes have
// changed on disk, or something else wrote them.
var ErrUnreadable = errors.New("unreadable row")

// The codec of a row is these two functions; nothing else knows that rows are JSON. It
// neither seals nor opens.

// keptRow is a row as it is kept: Personal is empty in it.
type keptRow struct {
	*Row
	Part   *sealedPart `json:"personal,omitempty"`
	Tokens []token     `json:"numbers,omitempty"`
}

// sealedPart is Personal, as JSON, sealed with a row key.
type sealedPart struct {
	Epoch seal.Epoch `json:"epoch"`
	Key   string     `json:"key"` // id of the row key
	Data  []byte     `json:"data"`
}

// token is what a number is found by.
type token [seal.TokenBytes]byte

// MarshalText writes the token in hex.
func (t token) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, t[:]), nil }

// UnmarshalText reads what MarshalText writes.
func (t *token) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(t) {
		return errors.New("not the token of a number")
	}
	copy(t[:], b)
	return nil
}

// encodeRow returns the bytes that a row is kept as. Its personal part has to be sealed.
func encodeRow(r *Row) ([]byte, error) {
	kept := *r
	if !r.Personal.empty() && r.part == nil {
		return nil, fmt.Errorf("encode row %s: its personal part is not sealed", r.ID)
	}
	kept.Personal, kept.Sealed = Personal{}, false
	value, err := json.Marshal(keptRow{&kept, r.part, r.tokens})
	if err != nil {
		return nil, fmt.Errorf("encode row %s: %w", r.ID, err)
	}
	return value, nil
}

// decodeRow reads the row that is kept under an id, without opening its personal part. The
// row shares no memory with the value, which is bbolt's and ends with the transaction.
func decodeRow(id, value []byte) (Row, error) {
	var r Row
	kept := keptRow{Row: &r}
	if err := json.Unmarshal(value, &kept); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if r.ID != string(id) {
		return Row{}, fmt.Errorf("%w: it is that of %q", ErrUnreadable, r.ID)
	}
	r.part, r.tokens = kept.Part, kept.Tokens
	if err := r.check(); err != nil {
		return Row{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if !r.Personal.empty() || r.Sealed {
		return Row{}, fmt.Errorf("%w: its personal part is in the clear", ErrUnreadable)
	}
	r.inUTC()
	return r, nil
}
