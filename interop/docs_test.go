package interop

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const page = "../docs/interop.md"

// The generated part of the page stands between these.
const (
	from = "<!-- The table is written by make interop-table. -->\n"
	to   = "<!-- Its end. -->\n"
)

// docs/interop.md lists every flow, as the flows themselves say it; what it says of a flow
// by name is of one that is there.
func TestPage(t *testing.T) {
	flows, err := loadFlows()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), from)
	table, foot, ended := strings.Cut(rest, to)
	if !ok || !ended {
		t.Fatalf("%s lacks the marks of its table", page)
	}
	want := tableOf(flows)
	if *update {
		if err := os.WriteFile(page, []byte(head+from+want+to+foot), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want {
		t.Errorf("%s is not up to date: make interop-table", page)
	}
	names := map[string]bool{}
	for _, f := range flows {
		names[f.name] = true
	}
	for _, m := range regexp.MustCompile("`([a-z0-9.-]+)`").FindAllStringSubmatch(foot, -1) {
		if !names[m[1]] {
			t.Errorf("%s names a flow %s, which is not there", page, m[1])
		}
	}
}

func tableOf(flows []*flow) string {
	var out strings.Builder
	out.WriteString("\n| flow | what it shows | by | sides | runs |\n|---|---|---|---|---|\n")
	for _, f := range flows {
		runs := "CI"
		if f.slow != "" {
			runs = "slow: " + f.slow
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s |\n", f.name, strings.ReplaceAll(f.title, "|", `\|`), f.rfc, f.sides(), runs)
	}
	out.WriteString("\n")
	return out.String()
}
