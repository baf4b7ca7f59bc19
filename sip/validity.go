package sip

import (
	"net/netip"
	"slices"
	"strings"

	stack "github.com/emiago/sipgo/sip"
)

// fault is the response to a request that cannot be understood or followed.
type fault struct {
	code    int
	reason  string
	headers []stack.Header
}

// single are the headers that a request has once (RFC 3261 §7.3.1, table 2).
var single = []string{"From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type"}

// schemes are those of request URIs that we can follow: numbers and services (RFC 5031).
var schemes = []string{"sip", "sips", "tel", "urn"}

// faultOf says what is wrong with a request as such (RFC 3261 §8.2, §16.3), nil for nothing.
// An ACK is never answered, and a CANCEL may say less than the rest.
func (ua *UA) faultOf(req *stack.Request) *fault {
	switch {
	case req.SipVersion != version:
		return &fault{505, "Version Not Supported", nil}
	case req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil:
		return &fault{400, "Missing Header", nil}
	case slices.ContainsFunc(single, func(name string) bool { return len(req.GetHeaders(name)) > 1 }):
		return &fault{400, "Header Twice", nil}
	case !strings.EqualFold(string(req.CSeq().MethodName), string(req.Method)): // sipgo writes the one in capitals
		return &fault{400, "CSeq Of Another Method", nil}
	case !slices.Contains(schemes, strings.ToLower(req.Recipient.Scheme)):
		return &fault{416, "Unsupported URI Scheme", nil}
	case len(req.Recipient.Headers) > 0: // RFC 3261 §19.1.1, table 1
		return &fault{400, "Headers In Request URI", nil}
	case req.IsCancel():
		return nil
	case req.MaxForwards() != nil && req.MaxForwards().Val() == 0 && req.Method != stack.OPTIONS:
		return &fault{483, "Too Many Hops", nil}
	case ua.looped(req) && !ua.spirals(req):
		return &fault{482, "Loop Detected", nil}
	}
	if unsupported := unsupportedOf(req); unsupported != "" {
		return &fault{420, "Bad Extension", []stack.Header{stack.NewHeader("Unsupported", unsupported)}}
	}
	if encoding := first(req, "Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return &fault{415, "Unsupported Media Type", []stack.Header{stack.NewHeader("Accept-Encoding", "identity")}}
	}
	return nil
}

// looped reports whether a request has been with us before: one of its Vias names us (RFC
// 3261 §16.3, as far as it holds for a B2BUA, which begins a new list of Vias).
func (ua *UA) looped(req *stack.Request) bool {
	vias := req.GetHeaders("Via")
	if len(vias) < 2 { // the one is the sender's own
		return false
	}
	ua.mu.Lock()
	defer ua.mu.Unlock()
	for _, h := range vias[1:] {
		via, ok := h.(*stack.ViaHeader)
		if !ok {
			continue
		}
		addr, err := netip.ParseAddr(via.Host)
		if err != nil {
			continue
		}
		if ua.known[netip.AddrPortFrom(addr.Unmap(), uint16(via.Port))] {
			return true
		}
	}
	return false
}

// faultOfInvite says what is wrong with an INVITE that cannot become a leg.
func (ua *UA) faultOfInvite(req *stack.Request) *fault {
	accept := values(req, "Accept")
	switch {
	case req.Contact() == nil:
		return &fault{400, "Missing Contact", nil}
	case len(req.Body()) > 0 && !mayHaveOffer(req):
		return &fault{415, "Unsupported Media Type", []stack.Header{stack.NewHeader("Accept", "application/sdp")}}
	case len(accept) > 0 && !slices.ContainsFunc(accept, takesSDP):
		return &fault{406, "Not Acceptable", nil}
	case tooShort(req, ua.cfg.MinSE):
		return &fault{422, "Session Interval Too Small", []stack.Header{stack.NewHeader("Min-SE", inSeconds(ua.cfg.MinSE))}}
	}
	return nil
}

// takesSDP reports whether an Accept header names session descriptions.
func takesSDP(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "application/sdp", "application/*", "*/*":
			return true
		}
	}
	return false
}
