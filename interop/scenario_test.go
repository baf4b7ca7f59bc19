package interop

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// scenario turns a party's script into one of sipp's. What sipp keeps of a message in
// [last_*] is lost with the next one, so every header that is needed again is kept in a
// variable of its own: $a_INVITE_via is the Via of the INVITE in dialog a.
type scenario struct {
	party   *party
	daemon  string            // host and port, as a URI has it
	texts   *strings.Replacer // {carrier} and the like
	out     strings.Builder
	dialogs map[string]*dialog
	vars    map[string]bool
	labels  int
	cases   []string // variables that say that a later call has begun; none once that is settled
	err     error
}

// dialog is what the generator knows of one dialog when it writes a step.
type dialog struct {
	name     string
	begun    bool
	ours     bool   // we sent the INVITE
	answered bool   // it has a 2xx: what comes after is in the dialog
	tag      string // ours
	callID   string
	seq      int
	requests map[string]int // CSeq of our last request of a method
	targets  map[string]string
	last     string // method of our last request, which responses are to
	asked    string // method of the peer's last request, which our responses are to
	final    int    // of the last response to our INVITE
	version  int    // of our last description
	bodies   string // the last description
}

// generate returns the scenario's XML.
func generate(p *party, daemon string, texts *strings.Replacer) (string, error) {
	s := &scenario{party: p, daemon: daemon, texts: texts, dialogs: map[string]*dialog{}, vars: map[string]bool{}}
	fmt.Fprintf(&s.out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=%q>\n", p.name)
	s.calls()
	if len(s.vars) > 0 {
		fmt.Fprintf(&s.out, "<Reference variables=%q/>\n", strings.Join(slices.Sorted(maps.Keys(s.vars)), ","))
	}
	s.out.WriteString("</scenario>\n")
	return s.out.String(), s.err
}

// calls writes what is said in each of the party's calls. They share the first message,
// which says whose turn it is.
func (s *scenario) calls() {
	const settled = "<pause milliseconds=\"200\"/>\n" // nothing more comes
	for i, c := range s.party.later {
		s.labels++
		s.cases = append(s.cases, fmt.Sprintf("case%d", i))
		if len(c.steps) == 0 || c.steps[0].method != "INVITE" || c.steps[0].kind != receives || len(c.steps[0].has)+len(c.steps[0].hasnot) > 0 {
			s.err = fmt.Errorf("call %s does not begin with a plain < INVITE", c.match)
			return
		}
	}
	s.steps(s.party.steps)
	s.out.WriteString(settled)
	if len(s.party.later) == 0 {
		return
	}
	s.labels++
	end := s.labels
	fmt.Fprintf(&s.out, "<nop next=\"%d\"/>\n", end)
	for i, c := range s.party.later {
		s.dialogs = map[string]*dialog{}
		d := s.dialog("a")
		d.begun, d.callID, d.asked = true, "[call_id]", "INVITE"
		fmt.Fprintf(&s.out, "<label id=\"%d\"/>\n", i+1)
		s.steps(c.steps[1:])
		fmt.Fprintf(&s.out, "%s<nop next=\"%d\"/>\n", settled, end)
	}
	fmt.Fprintf(&s.out, "<label id=\"%d\"/>\n<nop/>\n", end)
}

func (s *scenario) steps(steps []step) {
	for i := range steps {
		switch st := &steps[i]; st.kind {
		case pauses:
			fmt.Fprintf(&s.out, "<pause milliseconds=\"%d\"/>\n", st.pause.Milliseconds())
		case sends:
			s.send(st)
			if i+1 < len(steps) && st.response() && steps[i+1].response() {
				s.out.WriteString("<pause milliseconds=\"20\"/>\n") // or the second may overtake the first
			}
		case receives:
			s.receive(st, "")
		case either:
			s.labels++
			end := s.labels
			s.either(st.branches, end)
			fmt.Fprintf(&s.out, "<label id=\"%d\"/>\n", end)
		}
	}
}

// either writes branches in every order: a tree whose nodes wait for the first message of
// any branch that is left.
func (s *scenario) either(branches [][]step, end int) {
	first := s.labels + 1
	s.labels += len(branches)
	for i, branch := range branches {
		head := branch[0]
		head.options = maps.Clone(head.options)
		if i < len(branches)-1 {
			head.options["?"] = ""
		}
		s.receive(&head, fmt.Sprintf(" next=\"%d\"", first+i))
	}
	for i, branch := range branches {
		fmt.Fprintf(&s.out, "<label id=\"%d\"/>\n", first+i)
		s.mark(&branch[0])
		s.steps(branch[1:])
		left := slices.Delete(slices.Clone(branches), i, i+1)
		if len(left) > 0 {
			s.either(left, end)
		} else {
			fmt.Fprintf(&s.out, "<nop next=\"%d\"/>\n", end)
		}
	}
}

func (s *scenario) fail(st *step, format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("line %d: "+format, append([]any{st.line}, args...)...)
	}
}

func (s *scenario) dialog(name string) *dialog {
	d := s.dialogs[name]
	if d == nil {
		d = &dialog{name: name, tag: s.party.name + name, requests: map[string]int{}, targets: map[string]string{}}
		s.dialogs[name] = d
	}
	return d
}

// v is how a variable is written in a message.
func v(name string) string { return "[$" + name + "]" }

// receive writes a step that waits for a message and keeps what later ones need of it.
func (s *scenario) receive(st *step, next string) {
	d := s.dialog(st.dialog)
	optional := ""
	if st.is("?") {
		optional = ` optional="true"`
	}
	if st.is("lost") {
		optional += ` lost="100"`
	}
	var acts []string
	find := func(pattern, where, more string) {
		acts = append(acts, fmt.Sprintf(`<ereg regexp="%s" %s %s/>`, escape(pattern), where, more))
	}
	header := func(name string) string { return fmt.Sprintf(`search_in="hdr" header="%s:"`, name) }
	// keep stores what a pattern's first group matches.
	keep := func(name, pattern, head string) {
		s.vars[name], s.vars["all"] = true, true
		find(pattern, header(head), fmt.Sprintf(`assign_to="all,%s"`, name))
	}
	check := func(pattern string, not bool) {
		s.vars["seen"] = true
		more := `check_it="true" assign_to="seen"`
		if not {
			more = `check_it_inverse="true" assign_to="seen"`
		}
		find(s.text(pattern), `search_in="msg"`, more)
	}
	const all = "^ *(.*)$"
	if st.code != 0 {
		method := cmp.Or(st.options["of"], d.last)
		if method == "" {
			s.fail(st, "%d to nothing", st.code)
			return
		}
		if method == "INVITE" && st.code != 100 {
			fmt.Fprintf(&s.out, "<recv response=\"100\" optional=\"true\"/>\n")
		}
		fmt.Fprintf(&s.out, "<recv response=\"%d\"%s%s>", st.code, optional, next)
		if st.code > 100 {
			check("CSeq: *[0-9]+ "+method, false)
		}
		if method == "INVITE" && st.code > 100 {
			keep(d.name+"_remote", all, "To")
			keep(d.name+"_tag", "tag=([^;]+)", "To")
			if st.code < 300 {
				keep(d.name+"_target", "<([^>]+)>", "Contact")
			}
		}
		if st.is("rel") {
			check("Require: .*100rel", false)
			keep(d.name+"_rseq", "([0-9]+)", "RSeq")
		}
	} else {
		method := st.method
		for i, name := range s.cases {
			s.vars[name] = true
			next += fmt.Sprintf(` next="%d" test="%s"`, i+1, name)
			find(s.text(s.party.later[i].match), `search_in="msg"`, fmt.Sprintf(`assign_to="%s"`, name))
		}
		s.cases = nil
		fmt.Fprintf(&s.out, "<recv request=\"%s\"%s%s>", method, optional, next)
		if !d.begun {
			d.begun = true
			d.callID = "[call_id]"
			keep(d.name+"_local", all, "To")
			keep(d.name+"_tag", "tag=([^;]+)", "From")
			keep(d.name+"_remote", all, "From")
		}
		if method == "INVITE" || method == "UPDATE" {
			keep(d.name+"_target", "<([^>]+)>", "Contact")
		}
		if method != "ACK" {
			for _, h := range []string{"Via", "From", "To", "CSeq", "Call-ID"} {
				keep(d.name+"_"+method+"_"+strings.ToLower(h), all, h)
			}
		}
	}
	for _, pattern := range st.has {
		check(pattern, false)
	}
	for _, pattern := range st.hasnot {
		check(pattern, true)
	}
	s.mark(st)
	if len(acts) > 0 {
		fmt.Fprintf(&s.out, "\n<action>\n%s\n</action>\n", strings.Join(acts, "\n"))
	}
	s.out.WriteString("</recv>\n")
}

// mark notes which message came, for what is written after it.
func (s *scenario) mark(st *step) {
	d := s.dialog(st.dialog)
	switch {
	case st.code == 0 && st.method != "ACK":
		d.asked = st.method
	case st.code >= 200 && cmp.Or(st.options["of"], d.last) == "INVITE":
		d.final = st.code
		d.answered = d.answered || st.code < 300
	}
}

var placeholder = regexp.MustCompile(`\{([a-z])\.(callid|escaped|tag|mytag|target|remote)\}`)

// text fills in addresses and what a dialog is known by.
func (s *scenario) text(t string) string {
	t = s.texts.Replace(t)
	return placeholder.ReplaceAllStringFunc(t, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		d := s.dialog(m[1])
		switch m[2] {
		case "callid", "escaped": // ours have nothing to escape
			return d.callID
		case "mytag":
			return d.tag
		}
		return v(d.name + "_" + m[2])
	})
}

func escape(pattern string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(pattern)
}
