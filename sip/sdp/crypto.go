package sdp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

// Crypto is one a=crypto line (RFC 4568 §9.1): how the author protects what he sends.
type Crypto struct {
	Tag   int    // by which an answer says which line it takes
	Suite string // AES_CM_128_HMAC_SHA1_80 …
	Key   Secret // with the salt behind it
}

// Secret is bytes that do not show themselves: whatever prints, logs or marshals them gets
// how many there are.
type Secret string

// String says how long the secret is, and nothing of it; so do the others.
func (s Secret) String() string { return fmt.Sprintf("a secret of %d bytes", len(s)) }

// Format is fmt.Formatter's, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is slog.LogValuer's.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is encoding.TextMarshaler's.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Errors of a=crypto. They do not quote the line: it is a key.
var (
	errCryptoForm    = errors.New("a=crypto is not of the form <tag> <suite> inline:<key>")
	errCryptoTag     = errors.New("tag of a=crypto is not a number of up to nine digits")
	errCryptoKey     = errors.New("key of a=crypto is not base64")
	errCryptoKeys    = errors.New("a=crypto with more than one key")
	errCryptoMKI     = errors.New("a=crypto with an MKI")
	errCryptoLife    = errors.New("lifetime of a=crypto is not a number")
	errCryptoSession = errors.New("a=crypto with a session parameter that changes the protection")
)

// ParseCrypto reads the value of a=crypto. A line is refused whose packets would not be as
// the suite has them (an MKI, KDR, UNENCRYPTED_SRTP and the like): RFC 4568 §5.1.2 has the
// answerer take another then. A lifetime is its author's to heed.
func ParseCrypto(v string) (Crypto, error) {
	fields := strings.Fields(v)
	if len(fields) < 3 {
		return Crypto{}, errCryptoForm
	}
	tag, err := strconv.ParseUint(fields[0], 10, 30)
	if err != nil || len(fields[0]) > 9 {
		return Crypto{}, errCryptoTag
	}
	if strings.Contains(fields[2], ";") {
		return Crypto{}, errCryptoKeys
	}
	method, params, _ := strings.Cut(fields[2], ":")
	if !strings.EqualFold(method, "inline") {
		return Crypto{}, errCryptoForm
	}
	encoded, rest, more := strings.Cut(params, "|")
	// Some leave the padding out.
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	if err != nil || len(key) == 0 {
		return Crypto{}, errCryptoKey
	}
	if more {
		life, _, two := strings.Cut(rest, "|")
		switch {
		case two || strings.Contains(life, ":"):
			return Crypto{}, errCryptoMKI
		case !lifetime(life):
			return Crypto{}, errCryptoLife
		}
	}
	for _, param := range fields[3:] {
		name, _, _ := strings.Cut(param, "=")
		if name != "WSH" && !strings.HasPrefix(name, "-") { // RFC 4568 §6.3.7: who does not know it need not
			return Crypto{}, errCryptoSession
		}
	}
	return Crypto{Tag: int(tag), Suite: fields[1], Key: Secret(key)}, nil
}

// lifetime reports whether a text is one: 1000, 2^20.
func lifetime(text string) bool {
	base, exponent, power := strings.Cut(text, "^")
	if power {
		n, err := strconv.ParseUint(exponent, 10, 6)
		return err == nil && base == "2" && n <= 48
	}
	_, err := strconv.ParseUint(base, 10, 49)
	return err == nil
}

// Cryptos returns the stream's a=crypto lines that can be taken, in their order, which is
// the author's preference.
func (m *Media) Cryptos() []Crypto {
	var cryptos []Crypto
	for _, line := range m.lines {
		if name, v := attribute(line); name == "crypto" {
			if c, err := ParseCrypto(v); err == nil {
				cryptos = append(cryptos, c)
			}
		}
	}
	return cryptos
}

// SetCryptos makes these the stream's a=crypto lines.
func (m *Media) SetCryptos(cryptos []Crypto) {
	m.lines = remove(m.lines, func(line string) bool { name, _ := attribute(line); return name == "crypto" })
	for _, c := range cryptos {
		m.lines = append(m.lines, fmt.Sprintf("a=crypto:%d %s inline:%s", c.Tag, c.Suite, base64.StdEncoding.EncodeToString([]byte(c.Key))))
	}
}

// Format is fmt.Formatter's, for every verb: a description may hold keys.
func (d *Description) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "session description of %d streams", len(d.Media))
}

// Format is fmt.Formatter's, for every verb: a stream may hold keys.
func (m *Media) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s stream, %s", m.Type, m.Proto) }
