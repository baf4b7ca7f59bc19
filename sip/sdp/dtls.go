package sdp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Fingerprint is a hash of the certificate that the author shows in the handshake on the
// stream's way (RFC 8122 §5).
type Fingerprint struct {
	Hash string // sha-256 …, in lower case
	Sum  string // its bytes
}

var errFingerprint = errors.New("a=fingerprint is not of the form <hash> <hh:hh:…>")

// ParseFingerprint reads the value of a=fingerprint. Which hashes are believed is its
// caller's business.
func ParseFingerprint(v string) (Fingerprint, error) {
	fields := strings.Fields(v)
	if len(fields) != 2 {
		return Fingerprint{}, errFingerprint
	}
	var sum []byte
	for pair := range strings.SplitSeq(fields[1], ":") {
		b, err := hex.DecodeString(pair)
		if err != nil || len(b) != 1 {
			return Fingerprint{}, errFingerprint
		}
		sum = append(sum, b[0])
	}
	return Fingerprint{Hash: strings.ToLower(fields[0]), Sum: string(sum)}, nil
}

func (f Fingerprint) String() string {
	pairs := make([]string, len(f.Sum))
	for i := range pairs { // bytes, not runes
		pairs[i] = fmt.Sprintf("%02X", f.Sum[i])
	}
	return f.Hash + " " + strings.Join(pairs, ":")
}

// Fingerprints returns the stream's, or else the session's. One that cannot be read is
// left out.
func (d *Description) Fingerprints(m *Media) []Fingerprint {
	var found []Fingerprint
	for _, lines := range [][]string{m.lines, d.lines} {
		for _, line := range lines {
			if name, v := attribute(line); name == "fingerprint" {
				if f, err := ParseFingerprint(v); err == nil {
					found = append(found, f)
				}
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// Setup says who begins the handshake (RFC 4145 §4.1).
type Setup string

const (
	Active   Setup = "active"   // the author does
	Passive  Setup = "passive"  // the other party does
	ActPass  Setup = "actpass"  // the answerer may say
	HoldConn Setup = "holdconn" // nobody does, for now
)

// Answer is what we answer an offer's setup with: we begin where we may (RFC 5763 §5). There
// is none to what asks for no handshake, or for something that there is not.
func (s Setup) Answer() (Setup, bool) {
	switch s {
	case ActPass, Passive:
		return Active, true
	case Active:
		return Passive, true
	}
	return "", false
}

// Setup returns the stream's setup, or else the session's, and by default what RFC 4145 §4
// has for an offer, or an answer.
func (d *Description) Setup(m *Media, byDefault Setup) Setup {
	for _, lines := range [][]string{m.lines, d.lines} {
		for _, line := range lines {
			if name, v := attribute(line); name == "setup" {
				return Setup(strings.ToLower(strings.TrimSpace(v)))
			}
		}
	}
	return byDefault
}

// TLSID returns what names the stream's association (RFC 8842 §4), "" where nothing does.
func (d *Description) TLSID(m *Media) string {
	for _, lines := range [][]string{m.lines, d.lines} {
		for _, line := range lines {
			if name, v := attribute(line); name == "tls-id" {
				return v
			}
		}
	}
	return ""
}

// SetDTLS has the stream protected by a handshake.
func (m *Media) SetDTLS(f Fingerprint, s Setup) {
	m.lines = remove(m.lines, func(line string) bool {
		name, _ := attribute(line)
		return name == "fingerprint" || name == "setup" || name == "tls-id"
	})
	m.lines = append(m.lines, "a=fingerprint:"+f.String(), "a=setup:"+string(s))
}

// Mux reports whether the author takes reports in with the packets (RFC 5761).
func (m *Media) Mux() bool { return slices.Contains(m.lines, "a=rtcp-mux") }

// SetMux says that reports go in with the packets.
func (m *Media) SetMux() {
	if !m.Mux() {
		m.lines = append(m.lines, "a=rtcp-mux")
	}
}
