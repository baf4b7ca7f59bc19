package sip

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	stack "github.com/emiago/sipgo/sip"
)

// What is wrong with a message that nobody reads. The words are constants: what a message
// says is never logged.
var (
	errUnclean    = errors.New("its header has control characters, or lines that do not end with CR LF")
	errEndless    = errors.New("its header does not end")
	errLength     = errors.New("its Content-Length is no number, or is there twice")
	errNoLength   = errors.New("it has no Content-Length")
	errShort      = errors.New("its body is shorter than its Content-Length")
	errLarge      = errors.New("it is too large")
	errUnreadable = errors.New("it cannot be parsed")
)

// maxMessage is the largest message that sipgo reads.
const maxMessage = 65535

// lineEnd ends every line of a header; an empty one ends the header.
var lineEnd = []byte("\r\n")

// tidy returns a message's header, up to and with its empty line, as sipgo reads it without
// doubt: folded lines are made one (RFC 3261 §7.3.1), and there are no blanks around the
// separators of Via, From, To and Contact. Length is the body's, -1 where the header does not say it.
// With errUnclean there is no header; with errLength there is.
//
// What comes out has no more lines than it seems to have, whoever reads it: a header that
// passes to the other leg brings no second one with it.
func tidy(head []byte) (tidied []byte, length int, err error) {
	plain, ok := unfold(head)
	if !ok {
		return nil, -1, errUnclean
	}
	tidied = make([]byte, 0, len(plain))
	length = -1
	start, rest, _ := bytes.Cut(plain, lineEnd)
	clean := !bytes.ContainsFunc(start, isControl)
	tidied = append(append(tidied, start...), lineEnd...)
	for line := range bytes.SplitSeq(bytes.TrimSuffix(rest, lineEnd), lineEnd) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		looked := line
		switch canonical(string(name)) {
		case "via":
			line = squeeze(line, ":/;=,")
		case "contact":
			line = squeeze(line, ":;=")
		case "from", "to":
			line = squeeze(line, ":;=")
			looked = unquoted(line)
		case "content-length":
			n, bad := strconv.ParseUint(string(bytes.Trim(value, " \t")), 10, 31)
			if bad != nil || length >= 0 {
				err = errLength
			}
			length = int(n)
		}
		clean = clean && !bytes.ContainsFunc(looked, isControl)
		tidied = append(append(tidied, line...), lineEnd...)
	}
	if !clean {
		return nil, -1, errUnclean
	}
	return tidied, length, err
}

// unfold returns a header with its folded lines made one, unless there is one that may not be
// there or ends otherwise.
func unfold(head []byte) (plain []byte, ok bool) {
	plain = make([]byte, 0, len(head))
	for n := 0; ; n++ {
		line, rest, found := bytes.Cut(head, lineEnd)
		head = rest
		switch {
		case !found || bytes.ContainsAny(line, "\r\n"):
			return nil, false
		case len(line) == 0:
			return append(append(plain, lineEnd...), lineEnd...), len(rest) == 0 && n > 0
		case line[0] == ' ' || line[0] == '\t':
			if n < 2 { // a start line does not fold
				return nil, false
			}
			plain = append(append(bytes.TrimRight(plain, " \t"), ' '), bytes.Trim(line, " \t")...)
		default:
			if n > 0 {
				plain = append(plain, lineEnd...)
			}
			plain = append(plain, line...)
		}
	}
}

// unquoted returns a line without the characters that a backslash quotes in a quoted string: a
// display name may have any there (RFC 3261 §25.1).
func unquoted(line []byte) []byte {
	var plain []byte
	within := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case within && c == '\\':
			i++
			continue
		case c == '"':
			within = !within
		}
		plain = append(plain, line[i])
	}
	return plain
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// squeeze takes out the blanks around separators, outside quotes and angle brackets.
func squeeze(value []byte, separators string) []byte {
	squeezed := make([]byte, 0, len(value))
	var closing byte // of the quotes or brackets that are open
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case closing == '"' && c == '\\' && i+1 < len(value):
			squeezed = append(squeezed, c)
			i++
			c = value[i]
		case closing != 0 && c == closing:
			closing = 0
		case closing != 0:
		case c == '"':
			closing = '"'
		case c == '<':
			closing = '>'
		case strings.IndexByte(separators, c) >= 0:
			squeezed = append(bytes.TrimRight(squeezed, " \t"), c)
			for i+1 < len(value) && (value[i+1] == ' ' || value[i+1] == '\t') {
				i++
			}
			continue
		}
		squeezed = append(squeezed, c)
	}
	return squeezed
}

// untangle returns a datagram's message as sipgo is to read it. What follows the body is not
// the message's (RFC 3261 §18.3). With an error it returns the header, where it has one.
func (ua *UA) untangle(datagram []byte) (message []byte, err error) {
	datagram = bytes.TrimLeft(datagram, "\r\n") // RFC 3261 §7.5
	end := bytes.Index(datagram, []byte("\r\n\r\n"))
	if end < 0 {
		head, _, _ := tidy(append(slices.Clip(datagram), lineEnd...))
		return head, errEndless
	}
	head, body := datagram[:end+4], datagram[end+4:]
	head, length, err := tidy(head)
	switch {
	case err != nil:
		return head, err
	case length > len(body):
		return head, errShort
	case length >= 0:
		body = body[:length]
	}
	message = append(head, body...)
	return message, ua.legible(message)
}

// legible reports whether sipgo can read a message and find its transaction. It reads it
// twice so: that is cheap beside what a message causes, and a peer whose message cannot be
// read is told, where sipgo would only log it.
func (ua *UA) legible(message []byte) error {
	read, err := ua.parser.ParseSIP(message)
	if _, body, _ := bytes.Cut(message, []byte("\r\n\r\n")); err != nil || !bytes.Equal(read.Body(), body) {
		return errUnreadable
	}
	standardize(read)
	switch read := read.(type) {
	case *stack.Request:
		_, err = stack.ServerTxKeyMake(read)
	case *stack.Response:
		// One of nobody's would still stop our INVITE from being repeated.
		if read.StatusCode < 100 || read.StatusCode > 699 || read.From() == nil || read.To() == nil || read.CallID() == nil {
			return errUnreadable
		}
		_, err = stack.ClientTxKeyMake(read)
	}
	if err != nil {
		return errUnreadable
	}
	return nil
}

// standardize makes plain what RFC 3261 says is the same and sipgo takes for different: the
// case of parameters' names and of the version.
func standardize(msg stack.Message) {
	for _, h := range headersOf(msg) {
		switch h := h.(type) {
		case *stack.ViaHeader:
			lowerNames(h.Params)
		case *stack.ContactHeader:
			lowerNames(h.Params)
		case *stack.FromHeader:
			lowerNames(h.Params)
			h.DisplayName = quotable(h.DisplayName)
		case *stack.ToHeader:
			lowerNames(h.Params)
			h.DisplayName = quotable(h.DisplayName)
		}
	}
	if req, ok := msg.(*stack.Request); ok && (strings.EqualFold(req.SipVersion, version) || req.IsCancel()) {
		req.SipVersion = version // sipgo answers a CANCEL by itself, in the CANCEL's version
	}
}

// version is the one that we speak, in the case that we write it in (RFC 3261 §7.1).
const version = "SIP/2.0"

func lowerNames(params stack.HeaderParams) {
	for i := range params {
		params[i].K = strings.ToLower(params[i].K)
	}
}

// badRequest is the 400 for a request that sipgo cannot read, of its tidied header; nil for what
// gets none: a response, an ACK (RFC 3261 §17.1.1.3), and what does not say where an answer
// belongs. It has no transaction: a repeated request is refused again.
func badRequest(head []byte, agent string) []byte {
	lines := strings.Split(string(head), "\r\n")
	method, rest, _ := strings.Cut(lines[0], " ")
	if !isToken(method) || strings.EqualFold(method, "ACK") || !strings.Contains(strings.ToUpper(rest), " SIP/") {
		return nil
	}
	var vias []string
	once := map[string]string{}
	for _, line := range lines[1:] {
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch name = canonical(name); name {
		case "via":
			vias = append(vias, "Via: "+value+"\r\n")
		case "from", "to", "call-id", "cseq":
			if _, twice := once[name]; twice {
				return nil
			}
			once[name] = value
		default:
			continue
		}
		if value == "" {
			return nil
		}
	}
	if len(vias) == 0 || len(once) < 4 || strings.HasSuffix(strings.ToUpper(once["cseq"]), " ACK") {
		return nil
	}
	to := once["to"]
	if !strings.Contains(strings.ToLower(to), ";tag=") {
		to += ";tag=" + newTag()
	}
	return []byte(version + " 400 Bad Request\r\n" + strings.Join(vias, "") + "From: " + once["from"] + "\r\nTo: " + to + "\r\nCall-ID: " + once["call-id"] +
		"\r\nCSeq: " + once["cseq"] + "\r\nServer: " + agent + "\r\nContent-Length: 0\r\n\r\n")
}

// canonical returns the long name of a header field, in lower case. Blanks beside it are those
// that sipgo knows.
func canonical(name string) string {
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "v":
		return "via"
	case "f":
		return "from"
	case "t":
		return "to"
	case "i":
		return "call-id"
	case "l":
		return "content-length"
	case "m":
		return "contact"
	}
	return name
}

// malformed counts a message that nobody reads, and tells of it: once a minute, since a peer
// may send many.
func (ua *UA) malformed(source netip.Addr, transport string, err error) {
	ua.metrics.malformed.WithLabelValues(transport).Inc()
	if held, ok := ua.complaints.due(time.Now()); ok {
		ua.log.Warn("sip message not read", "source", source, "transport", transport, "error", err, "suppressed", held)
	}
}
