// Package srtp protects a leg's packets, and takes the protection of its peer's off (RFC
// 3711, 7714). How keys are agreed is its caller's matter: session descriptions bring them
// (RFC 4568), or a handshake on the packets' own way does (RFC 5764), which is here as well.
// It knows neither sessions nor sockets.
//
//	datagram ─ In ─▶ plain packet … plain packet ─ Out ─▶ datagram
//	            └── Key ─┬─ a=crypto
//	                     └─ Identity.Handshake
//
// A key does not show itself: whatever prints, logs or marshals one gets its suite.
package srtp

import "errors"

// Suite is how packets are encrypted and authenticated.
type Suite uint8

// The suites that there are: RFC 4568 §6.2, RFC 7714 §12.
const (
	AES128SHA80 Suite = iota + 1
	AES128SHA32
	AES128GCM
	AES256GCM
)

// suiteFacts is what is to be known of a suite.
type suiteFacts struct {
	name      string // in session descriptions
	profile   uint16 // in handshakes: RFC 5764 §4.1.2, RFC 7714 §14.2
	key, salt int    // bytes
}

var suites = [...]suiteFacts{
	AES128SHA80: {"AES_CM_128_HMAC_SHA1_80", 0x0001, 16, 14},
	AES128SHA32: {"AES_CM_128_HMAC_SHA1_32", 0x0002, 16, 14},
	AES128GCM:   {"AEAD_AES_128_GCM", 0x0007, 16, 12},
	AES256GCM:   {"AEAD_AES_256_GCM", 0x0008, 32, 12},
}

// ParseSuite reads a suite's name, as session descriptions have it.
func ParseSuite(name string) (Suite, bool) {
	for i, s := range suites {
		if s.name == name && name != "" {
			return Suite(i), true
		}
	}
	return 0, false
}

func (s Suite) String() string {
	if s.known() {
		return suites[s].name
	}
	return "no suite"
}

// Overhead is how many bytes a packet of RTP grows by at most.
const Overhead = 16

func (s Suite) known() bool { return s != 0 && int(s) < len(suites) }

// Why a packet is not taken, or not sent. They are counted, and so never made anew.
var (
	ErrNoKey    = errors.New("no key is agreed yet")
	ErrReplayed = errors.New("packet came before, or is too old to tell")
	ErrForged   = errors.New("packet is not authentic")
	ErrReused   = errors.New("a packet of that number was sent before")
)
