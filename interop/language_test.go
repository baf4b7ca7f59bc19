package interop

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Quotes keep blanks together, and nothing else has a meaning within them.
func TestSplit(t *testing.T) {
	got, err := split(`> INVITE h="Refer-To: <sip:a@b>" has='realm="x" \+31.*'`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{">", "INVITE", "h=Refer-To: <sip:a@b>", `has=realm="x" \+31.*`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}

// What is wrong in a script is told with its line, not played.
func TestScriptFaults(t *testing.T) {
	for script, want := range map[string]string{
		"> INVITE sdp=alaw\n< 200 hass=x":           "line 2: unknown option",
		"> INVITE h=\"Subject: x":                   "line 1: a quote is open",
		"INVITE":                                    "line 1",
		"< INVITE\nany\n< BYE\nend":                 "end without any and or",
		"< INVITE\nany\n> 180\nor\n< BYE\nend":      "a branch begins with what is received",
		"< INVITE\nany\n< BYE":                      "any without end",
		"< INVITE\ncall x\n< INVITE\ncall y\n> 180": "a second call, and one only",
		"# nothing":                                 "is empty",
	} {
		if _, err := parseScript("pbx", script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q in it", script, err, want)
		}
	}
}

// What a script cannot mean is told before anything runs.
func TestScenarioFaults(t *testing.T) {
	for script, want := range map[string]string{
		"> BYE":                              "before there is a dialog",
		"> 200":                              "200 to nothing",
		"> INVITE sdp=ilbc":                  "unknown word",
		"< INVITE\n> 200\ncall x\n< BYE":     "does not begin with a plain < INVITE",
		"> INVITE\n< 200\n> ACK cseq=second": "no number",
	} {
		p, err := parseScript("pbx", script)
		if err == nil {
			p.host = "127.0.20.3"
			_, err = generate(p, "127.0.20.1:5060", newBlock(0).texts())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q in it", script, err, want)
		}
	}
}

// Two exchanges in any order: sipp waits for either first message, and then for the other.
func TestEither(t *testing.T) {
	p, err := parseScript("pbx", "< INVITE\n> 200 sdp=alaw\nany\n< NOTIFY\n> 202\nor\n< BYE\n> 200\nend")
	if err != nil {
		t.Fatal(err)
	}
	p.host = "127.0.20.3"
	xml, err := generate(p, "127.0.20.1:5060", newBlock(0).texts())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(xml) {
		line = strings.TrimSpace(line)
		for _, start := range []string{"<recv", "<label", "<nop", "SIP/2.0"} {
			if strings.HasPrefix(line, start) {
				got = append(got, line)
			}
		}
	}
	want := []string{
		`<recv request="INVITE">`, `SIP/2.0 200 OK`,
		`<recv request="NOTIFY" optional="true" next="2">`, `<recv request="BYE" next="3">`,
		`<label id="2"/>`, `SIP/2.0 202 Accepted`, `<recv request="BYE" next="4">`, `<label id="4"/>`, `SIP/2.0 200 OK`, `<nop next="1"/>`,
		`<label id="3"/>`, `SIP/2.0 200 OK`, `<recv request="NOTIFY" next="5">`, `<label id="5"/>`, `SIP/2.0 202 Accepted`, `<nop next="1"/>`,
		`<label id="1"/>`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scenario (-want +got):\n%s", diff)
	}
}

// A flow's settings go over the basis, and each flow has addresses of its own.
func TestConfiguration(t *testing.T) {
	got := configuration(newBlock(2), "/store", []setting{{"trunks.pbx.refer", "terminate"}, {"sip.try_timeout", "3s"}})
	for _, want := range []string{"    refer: terminate\n", "  try_timeout: 3s\n", `"udp://127.0.20.21:5060"`, "  ports: 30200-30299\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got configuration\n%s\nwant %q in it", got, want)
		}
	}
}
