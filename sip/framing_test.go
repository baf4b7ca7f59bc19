package sip

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// pour lets a stream come in pieces of these sizes, then in one, and returns its messages and
// what ended them.
func pour(b []byte, sizes []byte) (messages []string, err error) {
	var f framing
	for len(b) > 0 {
		n := min(len(b), readBytes)
		if len(sizes) > 0 {
			n, sizes = min(n, int(sizes[0])+1), sizes[1:]
		}
		f.took(copy(f.room(), b[:n]), time.Unix(1, 0))
		b = b[n:]
		for {
			message, err := f.cut()
			if err != nil {
				return messages, err
			}
			if message == nil {
				break
			}
			messages = append(messages, string(message))
		}
	}
	return messages, nil
}

// A message comes whole, cut anywhere: within a fold, within a line end. It has begun as
// long as it has not ended.
func TestFraming(t *testing.T) {
	const message = "\r\n\r\n\r\nOPTIONS sip:a SIP/2.0\r\nl:\r\n 4\r\nX: y\r\n z\r\n\r\nbody\r\n\r\nBYE sip:a SIP/2.0\r\nl: 0\r\n\r\n"
	want := []string{"\r\n\r\n", "OPTIONS sip:a SIP/2.0\r\nl: 4\r\nX: y z\r\n\r\nbody", "\r\n\r\n", "BYE sip:a SIP/2.0\r\nl: 0\r\n\r\n"}
	for at := range len(message) {
		if got, err := pour([]byte(message), []byte{byte(at)}); err != nil || !slices.Equal(got, want) {
			t.Fatalf("cut at %d: got %q, %v", at, got, err)
		}
	}
	var f framing
	for i, c := range []byte(want[1]) {
		f.took(copy(f.room(), []byte{c}), time.Now())
		message, err := f.cut()
		if last := i == len(want[1])-1; err != nil || (message != nil) != last || f.began.IsZero() != last {
			t.Fatalf("byte %d: got %q, %v, begun at %v", i, message, err, f.began)
		}
	}
}

// A stream whose messages have no end that can be told ends.
func TestFramingLost(t *testing.T) {
	for text, want := range map[string]error{
		"OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\n":                                      errNoLength,
		"OPTIONS sip:a SIP/2.0\r\nl: x\r\n\r\n":                                      errLength,
		"OPTIONS sip:a SIP/2.0\r\nl: 3\r\nl: 4\r\n\r\n":                              errLength,
		"OPTIONS sip:a SIP/2.0\r\nl: 65535\r\n\r\n":                                  errLarge,
		"OPTIONS sip:a SIP/2.0\nl: 0\r\n\r\n":                                        errUnclean,
		"OPTIONS sip:a SIP/2.0\r\nX: " + strings.Repeat("x", maxMessage):             errLarge,
		"OPTIONS sip:a SIP/2.0\r\n" + strings.Repeat("X: y\r\n", maxMessage/6) + "X": errLarge,
	} {
		if got, err := pour([]byte(text), nil); !errors.Is(err, want) || len(got) > 0 {
			t.Errorf("%.60q: got %d messages, %v, want %v", text, len(got), err, want)
		}
	}
}

// FuzzPieces: a stream brings the same messages in whatever pieces it comes, and what is kept
// of it is bounded.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("OPTIONS sip:a SIP/2.0\r\nContent-Length: 4\r\n\r\nbody\r\n\r\n"), []byte{3, 4})
	f.Add([]byte("\r\n\r\nl:99999999999999\n\nx"), []byte{0})
	f.Add([]byte("INVITE sip:a SIP/2.0\r\nl:\r\n\t0\r\nX: y\r\n\r\nBYE"), []byte{24, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b, sizes []byte) {
		whole, err := pour(b, nil)
		pieces, inPieces := pour(b, sizes)
		if !slices.Equal(whole, pieces) || !errors.Is(err, inPieces) {
			t.Fatalf("got %q, %v whole and %q, %v in pieces", whole, err, pieces, inPieces)
		}
	})
}

// FuzzFramingAgrees: what we take for one message that can be read is one to sipgo, to its
// last byte, and has as many lines.
func FuzzFramingAgrees(f *testing.F) {
	request := func(more, body string) []byte {
		return []byte("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bKx\r\nFrom: <sip:d@e>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: f\r\nCSeq: 1 OPTIONS\r\n" + more + "\r\n" + body)
	}
	f.Add(request("Content-Length: 4\r\n", "body"))
	f.Add(request("User-to-User: a\r\n Content-Length: 90\r\nl: 0\r\n", "X-Smuggled: yes\r\n\r\n"))
	f.Add(request("l:"+strings.Repeat(" ", 80)+"4\r\n", "body"))
	f.Add(request("Content-Length:\r\n 4\r\n", "body"))
	f.Add(request("Content-Length\t: 4\r\n", "bodyOPTIONS"))
	f.Add(request("l: 8\r\n\u00a0Content-Length: 4\r\n", "body and"))
	f.Add(request("l: 8\r\nContent-Length\u0085: 4\r\n", "body and"))
	ua := &UA{parser: stack.NewParser(stack.WithHeadersParsers(parsed()))}
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, _ := pour(b, nil)
		theirs := ua.parser.NewSIPStream()
		defer theirs.Close()
		for _, m := range messages {
			if m == string(ping) || ua.legible([]byte(m)) != nil {
				continue
			}
			var read []stack.Message
			if err := theirs.ParseSIPStream([]byte(m), func(msg stack.Message) { read = append(read, msg) }); err != nil || len(read) != 1 || theirs.Buffer().Len() != 0 {
				t.Fatalf("got %d messages, %v, %d bytes left of %q", len(read), err, theirs.Buffer().Len(), m)
			}
			head, body, _ := strings.Cut(m, "\r\n\r\n")
			if string(read[0].Body()) != body || strings.Count(head, "\r\n") > len(headersOf(read[0])) {
				t.Fatalf("got %d headers and body %q of %q", len(headersOf(read[0])), read[0].Body(), m)
			}
			if bytes.ContainsAny([]byte(head), "\x00\x7f") {
				t.Fatalf("got a control character in %q", head)
			}
		}
	})
}
