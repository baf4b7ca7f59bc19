package sip

import (
	"strings"

	stack "github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// challenges returns the digest challenges of the header fields of that name in the
// response, in their order. What cannot be read is left out.
func challenges(res *stack.Response, name string) []digest.Challenge {
	var all []digest.Challenge
	for _, h := range res.GetHeaders(name) {
		all = append(all, parseChallenges(h.Value())...)
	}
	return all
}

// parseChallenges reads one header field, which may hold several challenges with commas
// both within and between them (RFC 9110 §11.6.1). The digest library reads one only,
// keys in lower case only, and stops at an underscore that is not quoted; peers send all
// of these.
func parseChallenges(field string) []digest.Challenge {
	var all []digest.Challenge
	var c *digest.Challenge // nil within a challenge of another scheme
	realm := false          // it has one, which may be empty
	end := func() {
		if c != nil && realm && c.Nonce != "" {
			all = append(all, *c)
		}
		c, realm = nil, false
	}
	for s := scanner(field); ; {
		s.skip(" \t\r\n,")
		word := s.word()
		if word == "" {
			break
		}
		s.skip(" \t\r\n")
		if !s.take('=') { // the word begins a challenge
			end()
			if strings.EqualFold(word, "Digest") {
				c = &digest.Challenge{}
			}
			continue
		}
		s.skip(" \t\r\n")
		value, ok := s.value()
		if !ok {
			c = nil
			break
		}
		if c == nil {
			continue
		}
		switch strings.ToLower(word) {
		case "realm":
			c.Realm, realm = value, true
		case "nonce":
			c.Nonce = value
		case "opaque":
			c.Opaque = value
		case "stale":
			c.Stale = strings.EqualFold(value, "true")
		case "algorithm":
			c.Algorithm = value
		case "userhash":
			c.Userhash = strings.EqualFold(value, "true")
		case "qop":
			c.QOP = strings.FieldsFunc(strings.ToLower(value), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
		}
	}
	end()
	return all
}

// scanner is what is left of a header field.
type scanner string

func (s *scanner) skip(set string) { *s = scanner(strings.TrimLeft(string(*s), set)) }

func (s *scanner) take(b byte) bool {
	if len(*s) == 0 || (*s)[0] != b {
		return false
	}
	*s = (*s)[1:]
	return true
}

// word takes what goes on to a separator.
func (s *scanner) word() string {
	end := strings.IndexAny(string(*s), " \t\r\n,=\"")
	if end < 0 {
		end = len(*s)
	}
	word := string((*s)[:end])
	*s = (*s)[end:]
	return word
}

// value takes a parameter's value, quoted or not; not ok is a quote without its end.
func (s *scanner) value() (value string, ok bool) {
	if !s.take('"') {
		end := strings.IndexAny(string(*s), " \t\r\n,")
		if end < 0 {
			end = len(*s)
		}
		value, *s = string((*s)[:end]), (*s)[end:]
		return value, true
	}
	var b strings.Builder
	for i := 0; i < len(*s); i++ {
		switch char := (*s)[i]; {
		case char == '"':
			*s = (*s)[i+1:]
			return b.String(), true
		case char == '\\' && i+1 < len(*s):
			i++
			b.WriteByte((*s)[i])
		default:
			b.WriteByte(char)
		}
	}
	*s = ""
	return "", false
}
