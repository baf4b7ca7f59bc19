//go:build !cgo

package opus

// Available says whether this build can encode and decode.
const Available = false

// Encoder encodes one stream; in this build there is none.
type Encoder struct{}

// NewEncoder returns ErrUnavailable.
func NewEncoder(Config) (*Encoder, error) { return nil, ErrUnavailable }

// PreSkip returns 0.
func (*Encoder) PreSkip() int { return 0 }

// Encode returns ErrUnavailable.
func (*Encoder) Encode(dst []byte, pcm []int16) (n int, err error) { return 0, ErrUnavailable }

// Decoder decodes one stream; in this build there is none.
type Decoder struct{}

// NewDecoder returns ErrUnavailable.
func NewDecoder(hz, channels int) (*Decoder, error) { return nil, ErrUnavailable }

// Decode returns ErrUnavailable.
func (*Decoder) Decode(dst []int16, packet []byte) (n int, err error) { return 0, ErrUnavailable }

// Conceal returns ErrUnavailable.
func (*Decoder) Conceal(dst []int16, next []byte) error { return ErrUnavailable }
