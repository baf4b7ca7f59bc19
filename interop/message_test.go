package interop

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reasons are the phrases of the responses that are sent.
var reasons = map[int]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily", 401: "Unauthorized",
	404: "Not Found", 407: "Proxy Authentication Required", 415: "Unsupported Media Type", 422: "Session Interval Too Small", 480: "Temporarily Unavailable",
	481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending",
	500: "Server Internal Error", 503: "Service Unavailable", 603: "Decline",
}

const allow = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY"

func (s *scenario) send(st *step) {
	d := s.dialog(st.dialog)
	var lines []string
	if st.code != 0 {
		lines = s.response(st, d)
	} else {
		lines = s.request(st, d)
	}
	headers := slices.Clone(st.headers)
	method := cmp.Or(st.method, st.options["of"], d.asked)
	named := func(name string) bool {
		return slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), name) })
	}
	dialogs := method == "INVITE" || method == "UPDATE"
	if dialogs && st.code < 300 && !st.is("bare") && !named("allow:") {
		headers = append(headers, allow)
	}
	if (dialogs || method == "REFER" || method == "NOTIFY" || method == "PRACK") && st.code < 300 && !named("contact:") {
		contact := fmt.Sprintf("<sip:%s@%s", s.user(st), s.party.address())
		if s.party.tcp {
			contact += ";transport=tcp"
		}
		headers = append(headers, "Contact: "+contact+">")
	}
	body := st.options["body"]
	contentType := st.options["type"]
	if words := st.options["sdp"]; words != "" {
		body, contentType = s.describe(st, d, words), "application/sdp"
	}
	if rel := st.options["rel"]; rel != "" {
		headers = append(headers, "Require: 100rel", "RSeq: "+rel)
	}
	if contentType != "" {
		headers = append(headers, "Content-Type: "+contentType)
	}
	for _, h := range headers {
		lines = append(lines, s.text(h))
	}
	lines = append(lines, "Content-Length: [len]", "")
	if body != "" {
		lines = append(lines, strings.Split(strings.ReplaceAll(s.text(body), `\n`, "\n"), "\n")...)
	}
	retrans := ""
	if st.is("retrans") {
		retrans = ` retrans="500"`
	}
	fmt.Fprintf(&s.out, "<send%s><![CDATA[\n\n%s\n\n]]></send>\n", retrans, literal.Replace(strings.Join(lines, "\n")))
}

// literal writes the loopback address, which is ours and the daemon's, as a keyword: sipp
// would take it for one.
var literal = strings.NewReplacer("[::1]", "[local_ip]")

// user is the number that a party says it has.
func (s *scenario) user(st *step) string {
	if from := st.options["from"]; from != "" {
		return from
	}
	if s.party.external() {
		return "+31612345678"
	}
	return "+31205550100"
}

func (s *scenario) called(st *step) string {
	if to := st.options["to"]; to != "" {
		return to
	}
	if s.party.external() {
		return "+31205550100"
	}
	return "+31612345678"
}

// request writes the first lines of a request.
func (s *scenario) request(st *step, d *dialog) []string {
	method := st.method
	if !d.begun {
		if method != "INVITE" && method != "OPTIONS" {
			s.fail(st, "%s before there is a dialog", method)
		}
		d.begun, d.ours = true, true
		d.callID = "[call_id]"
		if d.name != "a" {
			d.callID = d.name + "///[call_id]" // sipp files it under what is behind the slashes
		}
	}
	initial := d.ours && !d.answered && (method == "INVITE" || method == "CANCEL" || method == "OPTIONS")
	rejected := method == "ACK" && d.final >= 300
	switch {
	case st.options["cseq"] != "":
		seq, err := strconv.Atoi(st.options["cseq"])
		if err != nil {
			s.fail(st, "cseq=%s: no number", st.options["cseq"])
		}
		d.requests[method] = seq
		d.seq = max(d.seq, seq)
	case method == "ACK" || method == "CANCEL":
		d.requests[method] = d.requests["INVITE"]
	case st.is("again"):
	default:
		d.seq++
		d.requests[method] = d.seq
	}
	if method != "ACK" && method != "CANCEL" {
		d.last = method
	}
	seq := d.requests[method]
	target := cmp.Or(st.options["uri"], v(d.name+"_target"))
	if initial {
		target = cmp.Or(st.options["uri"], "sip:"+s.called(st)+"@"+s.daemon)
	}
	branch := fmt.Sprintf("z9hG4bK[pid]%s%s%d", s.party.name, d.name, seq)
	if method != "CANCEL" && !rejected {
		branch += method + st.options["branch"]
	} else {
		branch += "INVITE" + st.options["branch"]
		target = cmp.Or(st.options["uri"], d.targets["INVITE"])
	}
	d.targets[method] = target
	local, remote := v(d.name+"_local")+";tag="+cmp.Or(st.options["tag"], d.tag), v(d.name+"_remote")
	if d.ours {
		local = fmt.Sprintf("<sip:%s@%s>;tag=%s", s.user(st), s.party.address(), cmp.Or(st.options["tag"], d.tag))
		if initial {
			remote = fmt.Sprintf("<sip:%s@%s>", s.called(st), s.daemon)
		}
	}
	if tag := st.options["tag"]; tag != "" && initial {
		d.tag = tag
	}
	transport := "UDP"
	if s.party.tcp {
		transport = "TCP"
	}
	lines := []string{
		method + " " + s.text(target) + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=%s", transport, s.via(), branch),
		"Max-Forwards: " + cmp.Or(st.options["hops"], "70"),
		"From: " + local,
		"To: " + remote,
		"Call-ID: " + d.callID,
		fmt.Sprintf("CSeq: %d %s", seq, method),
	}
	if method == "PRACK" {
		lines = append(lines, fmt.Sprintf("RAck: %s %d INVITE", cmp.Or(st.options["rack"], v(d.name+"_rseq")), d.requests["INVITE"]))
	}
	return lines
}

func (s *scenario) via() string {
	if s.party.port != 0 {
		return s.party.address()
	}
	return s.party.address() + ":5060"
}

// response writes the first lines of a response to the peer's last request of a method.
func (s *scenario) response(st *step, d *dialog) []string {
	method := cmp.Or(st.options["of"], d.asked)
	if method == "" {
		s.fail(st, "%d to nothing", st.code)
	}
	kept := func(name string) string { return v(d.name + "_" + method + "_" + name) }
	to := kept("to")
	if method == "INVITE" && !d.ours && (!d.answered || st.is("first")) && st.code > 100 { // the first INVITE's To has no tag
		to += ";tag=" + cmp.Or(st.options["tag"], d.tag)
		if st.code >= 200 && st.code < 300 {
			d.tag = cmp.Or(st.options["tag"], d.tag)
			d.answered = true
		}
	}
	return []string{
		fmt.Sprintf("SIP/2.0 %d %s", st.code, cmp.Or(reasons[st.code], "Other")),
		"Via: " + kept("via"), "From: " + kept("from"), "To: " + to, "Call-ID: " + kept("call-id"), "CSeq: " + kept("cseq"),
	}
}
