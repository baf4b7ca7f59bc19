package sip

import (
	"net/netip"
	"slices"
	"strings"

	stack "github.com/emiago/sipgo/sip"
)

// entry is one address of a header that lists some, cut around its URI; the three make what
// came, byte for byte.
//
//	"Name" < ─ sip:user@host;parameter?Header=value ─ >;parameter
type entry struct{ before, uri, after string }

// entries cuts the value of a header into its addresses.
func entries(value string) []entry {
	var list []entry
	for {
		end := plainIndex(value, ',')
		list = append(list, entryOf(value[:end]))
		if end == len(value) {
			return list
		}
		value = value[end+1:]
	}
}

func entryOf(s string) entry {
	start := plainIndex(s, '<') + 1
	if start > len(s) { // what follows a semicolon is the header's own (RFC 3261 §20)
		start = len(s) - len(strings.TrimLeft(s, " \t"))
		uri, _, _ := strings.Cut(s[start:], ";")
		return entry{s[:start], uri, s[start+len(uri):]}
	}
	uri, _, _ := strings.Cut(s[start:], ">")
	return entry{s[:start], uri, s[start+len(uri):]}
}

// plainIndex returns where a character first stands in neither quotes nor angle brackets, the
// length for nowhere.
func plainIndex(s string, char byte) int {
	quoted, bracketed := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case quoted:
			quoted = c != '"'
		case bracketed:
			bracketed = c != '>'
		case c == char:
			return i
		default:
			quoted, bracketed = c == '"', c == '<'
		}
	}
	return len(s)
}

// param returns a parameter of the header's own, or "".
func (e entry) param(name string) string {
	for rest := e.after; rest != ""; {
		end := plainIndex(rest, ';')
		if n, v, _ := strings.Cut(rest[:end], "="); strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.Trim(v, " \t\"")
		}
		rest = rest[min(end+1, len(rest)):]
	}
	return ""
}

// anonymous is whom the URI of somebody names who is not to be known (RFC 7044 §10.1.2).
const anonymous = "sip:anonymous@anonymous.invalid"

// Discreet returns a Diversion or History-Info as it may leave the trust domain: an entry that
// asks for privacy itself names nobody any more, the others are as they came.
func Discreet(h Header) Header {
	var hide func(entry) entry
	switch h.Name {
	case "Diversion":
		hide = entry.undiverted
	case "History-Info":
		hide = entry.forgotten
	default:
		return h
	}
	var list []string
	for _, e := range entries(h.Value) {
		e = hide(e)
		list = append(list, e.before+e.uri+e.after)
	}
	h.Value = strings.Join(list, ",")
	return h
}

// undiverted hides what a Diversion's privacy says: name, uri or full (RFC 5806 §4).
func (e entry) undiverted() entry {
	privacy := strings.ToLower(e.param("privacy"))
	if privacy == "" || privacy == "off" {
		return e
	}
	if privacy != "name" {
		e.uri = anonymous
	}
	if privacy != "uri" && strings.HasSuffix(e.before, "<") {
		e.before = e.before[:len(e.before)-len(strings.TrimLeft(e.before, " \t"))] + "<"
	}
	return e
}

// forgotten hides who an entry of the history names if it has a Privacy; why the call went
// on from there is kept, in either place where that can stand (RFC 4458, RFC 7044 §10.1.2).
func (e entry) forgotten() entry {
	wishes := strings.Split(strings.ToLower(spell(e.uri, userPlain)), "privacy=")[1:]
	if !slices.ContainsFunc(wishes, func(wish string) bool { wish, _, _ = strings.Cut(wish, "&"); return wish != "none" }) {
		return e
	}
	cause, reason := "", ""
	for _, part := range strings.FieldsFunc(e.uri, func(r rune) bool { return strings.ContainsRune(";?&", r) }) {
		switch name, v, _ := strings.Cut(part, "="); {
		case strings.EqualFold(name, "cause") && len(v) == 3 && strings.Trim(v, "0123456789") == "":
			cause = ";" + part
		case strings.EqualFold(name, "Reason"):
			reason = "?" + part
		}
	}
	e.before = e.before[:len(e.before)-len(strings.TrimLeft(e.before, " \t"))] + "<"
	e.uri, e.after = anonymous+cause+reason, ">"+strings.TrimPrefix(e.after, ">")
	return e
}

// Hide returns a header's value with our address in the place of every host that is not for
// the other side to know (RFC 7092 §3.1), and of its port. A host that is a name is one only
// where a host stands.
func Hide(value string, hidden func(host string) bool, ours netip.Addr) string {
	us := ours.String()
	if ours.Is6() {
		us = "[" + us + "]"
	}
	var b strings.Builder
	for i := 0; i < len(value); {
		n := hostLen(value[i:])
		if n == 0 {
			n = 1
			if value[i] == '%' { // what follows is the escape's
				n = min(3, len(value)-i)
			}
			b.WriteString(value[i : i+n])
			i += n
			continue
		}
		host := value[i : i+n]
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		placed := strings.HasSuffix(value[:i], "@") || strings.HasSuffix(value[:i], "//")
		i += n
		if (err != nil && !placed) || !hidden(strings.Trim(host, "[]")) {
			b.WriteString(host)
			continue
		}
		b.WriteString(us)
		if rest := value[i:]; strings.HasPrefix(rest, ":") {
			i += len(rest) - len(strings.TrimLeft(rest[1:], "0123456789"))
		}
	}
	return b.String()
}

// hostLen returns how many characters at the beginning may be a host, in brackets or without.
func hostLen(s string) int {
	if strings.HasPrefix(s, "[") {
		return strings.IndexByte(s, ']') + 1
	}
	return len(s) - len(strings.TrimLeft(s, "-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
}

// Asserted returns the numbers that a caller leg's INVITE asserts to be who calls (RFC 3325).
func (l *Leg) Asserted() []string {
	var numbers []string
	for _, v := range values(l.invite, "P-Asserted-Identity") {
		for _, e := range entries(v) {
			var uri stack.Uri
			if stack.ParseUri(e.uri, &uri) == nil {
				numbers = append(numbers, user(&uri))
			}
		}
	}
	return numbers
}
