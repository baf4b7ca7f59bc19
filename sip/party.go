package sip

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	stack "github.com/emiago/sipgo/sip"
)

// Party is one of a call's two parties as a From or To header tells of him.
type Party struct {
	Display string
	User    string // the number, in whatever form it came
	Host    string // empty where it says nothing: then it is ours to fill
}

// Header is a header field that passes from leg to leg as it came.
type Header struct{ Name, Value string }

// passed are the headers that a call's other leg gets word for word: who calls, by
// which ways, and what the parties' applications tell each other (RFC 3325, 3323,
// 5806, 7044, 7433, 8224).
var passed = []string{"P-Asserted-Identity", "P-Preferred-Identity", "Privacy", "Diversion", "History-Info", "User-to-User", "Identity"}

// From returns the caller of a caller leg.
func (l *Leg) From() Party {
	from := l.invite.From()
	p := Party{Display: from.DisplayName, User: user(&from.Address)}
	if strings.HasSuffix(from.Address.Host, ".invalid") {
		p.Host = from.Address.Host // anonymous@anonymous.invalid: RFC 3323 §4.1.1.3
	}
	return p
}

// Called returns the number that a caller leg's INVITE asks for.
func (l *Leg) Called() string { return user(&l.invite.Recipient) }

// Forwarded reports whether the call was diverted on its way to us.
func (l *Leg) Forwarded() bool {
	return header(l.invite, "Diversion") != "" || strings.Contains(header(l.invite, "History-Info"), "cause=")
}

// Passed returns the headers of a caller leg's INVITE that the other leg gets.
func (l *Leg) Passed() []Header {
	var headers []Header
	for _, name := range passed {
		for _, h := range l.invite.GetHeaders(name) {
			headers = append(headers, Header{name, h.Value()})
		}
	}
	return headers
}

// MaxForwards returns the hops that are left after us.
func (l *Leg) MaxForwards() int {
	if mf := l.invite.MaxForwards(); mf != nil {
		return int(min(mf.Val(), 256)) - 1
	}
	return 69
}

// Offer returns the session description of a caller leg's INVITE, nil for none.
func (l *Leg) Offer() []byte {
	if ct := l.invite.ContentType(); ct != nil {
		body, _ := offerIn(ct.Value(), l.invite.Body())
		return body
	}
	return nil
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

// user returns a URI's user part without its parameters, a tel URI's number, or a URI
// that has neither whole.
func user(u *stack.Uri) string {
	number := u.User
	switch u.Scheme {
	case "", "sip", "sips":
	case "tel":
		number = u.Raw()
	default:
		return u.String() // urn:service:sos (RFC 5031)
	}
	number, _, _ = strings.Cut(number, ";")
	return number
}
