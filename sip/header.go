package sip

import (
	"slices"
	"strings"

	stack "github.com/emiago/sipgo/sip"
)

// Header is a header field that passes from leg to leg as it came.
type Header struct{ Name, Value string }

// compact are the short names of header fields that sipgo does not know (RFC 3261 §7.3.3
// and the registry it founded).
var compact = map[string]string{
	"supported": "k", "identity": "y", "session-expires": "x", "refer-to": "r", "referred-by": "b", "event": "o",
	"allow-events": "u", "content-encoding": "e", "subject": "s",
}

// values returns the values of all header fields of a name, in order and as they came.
func values(msg stack.Message, name string) []string {
	short := compact[strings.ToLower(name)]
	var found []string
	for _, h := range headersOf(msg) {
		if strings.EqualFold(h.Name(), name) || short != "" && strings.EqualFold(h.Name(), short) {
			found = append(found, h.Value())
		}
	}
	return found
}

func headersOf(msg stack.Message) []stack.Header {
	switch m := msg.(type) {
	case *stack.Request:
		return m.Headers()
	case *stack.Response:
		return m.Headers()
	}
	return nil
}

// first returns the first value of a header field, or "".
func first(msg stack.Message, name string) string {
	if found := values(msg, name); len(found) > 0 {
		return found[0]
	}
	return ""
}

// listed reports whether a token is in a header field that lists some: 100rel in
// Supported.
func listed(msg stack.Message, token, name string) bool {
	return slices.ContainsFunc(values(msg, name), func(v string) bool { return hasToken(v, token) })
}

// hasToken reports whether a token is in a list that commas separate.
func hasToken(list, token string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(part), token) {
			return true
		}
	}
	return false
}

// extensions are the option tags that we know (RFC 3262, RFC 4028, RFC 3891, RFC 7866).
var extensions = []string{"100rel", "timer", "replaces", recordAware}

// unsupportedOf returns what a request requires and we do not know, for Unsupported, or "".
func unsupportedOf(req *stack.Request) string {
	var unknown []string
	for _, v := range values(req, "Require") {
		for token := range strings.SplitSeq(v, ",") {
			token = strings.TrimSpace(token)
			if token != "" && !slices.ContainsFunc(extensions, func(known string) bool { return strings.EqualFold(known, token) }) {
				unknown = append(unknown, token)
			}
		}
	}
	return strings.Join(unknown, ", ")
}

// passed are the headers that the other leg gets word for word: who calls and is called,
// by which ways, why, and what the parties' applications tell each other (RFC 3325, 3323,
// 5806, 7044, 7433, 8224, 3326, 5009, 7315; Date is signed with Identity).
var passed = []string{
	"P-Asserted-Identity", "P-Preferred-Identity", "Privacy", "Diversion", "History-Info", "User-to-User", "Identity", "Reason",
	"P-Early-Media", "P-Charging-Vector", "P-Access-Network-Info", "Priority", "Alert-Info", "Warning", "Replaces",
}

// addressed are the headers that a PBX tells us something by; the other leg does not get
// them, that is the call's to see to.
var addressed = []string{"X-Bewaard-Record", "X-Bewaard-Purpose", "X-Bewaard-Tag", "X-Bewaard-Select"}

// passing returns the headers of a message that the other leg gets: passed, and those
// that the configuration names.
func (ua *UA) passing(msg stack.Message) []Header {
	var headers []Header
	signed := false
	for _, h := range headersOf(msg) {
		name := h.Name()
		if known, ok := ua.passes(name); ok {
			headers = append(headers, Header{known, h.Value()})
			signed = signed || known == "Identity"
		}
	}
	if signed {
		for _, v := range values(msg, "Date") {
			headers = append(headers, Header{"Date", v})
		}
	}
	return headers
}

// passes returns the name under which a header passes, if it does. A name that is no token is
// nobody's: what it would become on the other side is not ours to guess.
func (ua *UA) passes(name string) (string, bool) {
	for _, known := range passed {
		if strings.EqualFold(known, name) || len(name) == 1 && strings.EqualFold(compact[strings.ToLower(known)], name) {
			return known, true
		}
	}
	if !isToken(name) {
		return "", false
	}
	for _, ours := range addressed {
		if strings.EqualFold(ours, name) {
			return ours, true
		}
	}
	for _, pattern := range ua.cfg.Headers {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) ||
			strings.EqualFold(pattern, name) {
			return name, true
		}
	}
	return "", false
}
