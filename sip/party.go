package sip

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"

	stack "github.com/emiago/sipgo/sip"
)

// Party is one of a call's two parties as a From or To header tells of him.
type Party struct {
	Display string
	User    string // the number, in whatever form it came
	Host    string // empty where it says nothing: then it is ours to fill
}

// From returns the caller of a caller leg.
func (l *Leg) From() Party {
	from := l.invite.From()
	p := Party{Display: from.DisplayName, User: user(&from.Address)}
	if host := from.Address.Host; isInvalid(host) {
		p.Host = host // anonymous@anonymous.invalid: RFC 3323 §4.1.1.3
	}
	return p
}

// isInvalid reports whether a host is a name below .invalid (RFC 2606 §2), which says
// nothing of where somebody is.
func isInvalid(host string) bool {
	return strings.HasSuffix(strings.ToLower(host), ".invalid") && !strings.ContainsFunc(host, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '.')
	})
}

// quotable returns a display name as it may stand between quotes: with a backslash only
// before the character that it quotes, and a quote only behind one (RFC 3261 §25.1). Control
// characters, which may be quoted, are left out.
func quotable(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '\\' && i+1 < len(name):
			i++
			if !isControl(rune(name[i])) {
				b.WriteByte(c)
				b.WriteByte(name[i])
			}
		case c == '\\' || c == '"':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// isToken reports whether a name is a token (RFC 3261 §25.1), as those of methods and header
// fields are.
func isToken(name string) bool {
	const others = "-.!%*_+`'~"
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(others, r))
	})
}

// Called returns the number that a caller leg's INVITE asks for.
func (l *Leg) Called() string { return user(&l.invite.Recipient) }

// Forwarded reports whether the call was diverted on its way to us.
func (l *Leg) Forwarded() bool {
	return len(values(l.invite, "Diversion")) > 0 || slices.ContainsFunc(values(l.invite, "History-Info"), func(v string) bool {
		v = strings.ToLower(v)
		return strings.Contains(v, "cause=") || strings.Contains(v, "cause%3d") // of the URI (RFC 4458), or in its Reason (RFC 7044 §10.2)
	})
}

// Passed returns the headers of a caller leg's INVITE that the other leg gets.
func (l *Leg) Passed() []Header { return l.ua.passing(l.invite) }

// Header returns the values of a header of a caller leg's INVITE, one for each time that it is
// there.
func (l *Leg) Header(name string) []string { return values(l.invite, name) }

// MaxForwards returns the hops that are left after us.
func (l *Leg) MaxForwards() int {
	if mf := l.invite.MaxForwards(); mf != nil {
		return int(min(mf.Val(), 256)) - 1
	}
	return 69
}

// Offer returns the session description of a caller leg's INVITE, nil for none.
func (l *Leg) Offer() []byte { return descriptionIn(l.invite) }

// descriptionIn returns a message's session description, nil for none.
func descriptionIn(msg interface {
	ContentType() *stack.ContentTypeHeader
	Body() []byte
}) []byte {
	if ct := msg.ContentType(); ct != nil && len(msg.Body()) > 0 {
		body, _ := offerIn(ct.Value(), msg.Body())
		return body
	}
	return nil
}

// mayHaveOffer reports whether a request's body can be understood: RFC 3261 §8.2.3.
func mayHaveOffer(req *stack.Request) bool {
	ct := req.ContentType()
	if ct == nil {
		return false
	}
	_, ok := offerIn(ct.Value(), nil)
	return ok
}

// offerIn returns the session description of a body, and whether the body may have one:
// it is one, or holds one among other parts, such as a caller's place on an emergency
// call (RFC 5621, RFC 6442).
func offerIn(contentType string, body []byte) (offer []byte, ok bool) {
	media, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return nil, false
	case media == "application/sdp":
		return body, true
	case !strings.HasPrefix(media, "multipart/"):
		return nil, false
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, true
		}
		if media, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); media == "application/sdp" {
			offer, err := io.ReadAll(part)
			if err != nil {
				return nil, true
			}
			return offer, true
		}
	}
}

// user returns a URI's user part without its parameters, a tel URI's number, or a urn whole:
// urn:service:sos (RFC 5031). Only the last has a colon: nobody chooses a URI of ours by a
// number that looks like one.
func user(u *stack.Uri) string {
	number := u.User
	switch u.Scheme {
	case "", "sip", "sips":
	case "tel":
		number = u.Raw()
	default:
		number = u.String()
		if u.Scheme == "urn" && !strings.ContainsFunc(number, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("<>\"\\", r) }) {
			return number
		}
	}
	number, _, _ = strings.Cut(number, ";")
	return spell(number, userPlain+"#") // a key, in the numbers that people write
}

// userPlain are the marks that may stand in a user part as they are (RFC 3261 §25.1).
const userPlain = "-_.!~*'()&=+$,;?/"

// escape makes a user part of a number.
func escape(number string) string { return spell(number, userPlain) }

// spell writes a user part in the one way that says who is meant (RFC 3261 §19.1.4): letters,
// digits and plain marks are plain, all else is escaped, once. An escaped semicolon begins no
// parameter, and stays.
func spell(s, plain string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c, escaped := s[i], false
		if c == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c, escaped = byte(v), true
				i += 2
			}
		}
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte(plain, c) >= 0 && !(escaped && c == ';'):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Authorization returns the credentials in a caller leg's INVITE, for a peer that
// challenges who calls and not us.
func (l *Leg) Authorization() []Header {
	var headers []Header
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for _, v := range values(l.invite, name) {
			headers = append(headers, Header{name, v})
		}
	}
	return headers
}

// Reach returns by which URI a number is reached through us, as a leg's peer knows us.
func (l *Leg) Reach(number string) string {
	uri := contactOf(l.contact, l.Peer().Transport).Address
	uri.User = escape(number)
	return "<" + uri.String() + ">"
}
