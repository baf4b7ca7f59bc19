package sip

import (
	"mime"
	"strings"
)

// Key returns the key that an INFO says was pressed: 0–9, *, #, A–D. There are two ways
// to say it, both older than RFC 6086: application/dtmf-relay (Signal=5, Duration=160) and
// application/dtmf, the key alone.
func (r *Request) Key() (digit byte, ok bool) {
	if r.Method != "INFO" {
		return 0, false
	}
	media, _, err := mime.ParseMediaType(r.ContentType)
	if err != nil {
		return 0, false
	}
	switch media {
	case "application/dtmf-relay":
		for line := range strings.Lines(string(r.Body)) {
			if name, v, _ := strings.Cut(line, "="); strings.EqualFold(strings.TrimSpace(name), "Signal") {
				return key(v)
			}
		}
	case "application/dtmf":
		return key(string(r.Body))
	}
	return 0, false
}

// key reads one key; 10 to 15 are its number as an event (RFC 4733 §3.2).
func key(v string) (byte, bool) {
	const keys = "0123456789*#ABCD"
	v = strings.ToUpper(strings.TrimSpace(v))
	if len(v) == 2 && v[0] == '1' && v[1] >= '0' && v[1] <= '5' {
		return keys[10+v[1]-'0'], true
	}
	if len(v) == 1 && strings.Contains(keys, v) {
		return v[0], true
	}
	return 0, false
}
