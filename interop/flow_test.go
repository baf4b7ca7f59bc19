package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// flow is one file of testdata/flows: what the two sides say, and what the daemon's rows
// say afterwards.
type flow struct {
	name    string
	title   string
	rfc     string
	slow    string        // why it takes long; "" for a quick one
	limit   time.Duration // for each side
	config  []setting
	parties []*party    // in the order of the file
	baresip []string    // script of the phone in the place of the PBX; nil for none
	rows    [][]setting // of the calls, the oldest first

	recording bool // is to hold the phone's tone, as it said it and as it was sent back
}

// setting is one line "path.to.key: value".
type setting struct{ path, value string }

// party is one sipp process.
type party struct {
	name  string // carrier, pbx, or one of these with more behind it: pbx2
	tcp   bool
	echo  bool // sends RTP back
	ipv6  bool
	port  int // 0: 5060
	steps []step
	later []laterCall // the call after the first, if there is one

	host string // set when the flow is given its addresses
}

// laterCall is what a party says in another call, which its INVITE tells by a pattern.
type laterCall struct {
	match string
	steps []step
}

// calls reports whether the party begins.
func (p *party) calls() bool {
	for _, s := range p.steps {
		switch s.kind {
		case sends:
			return true
		case receives, either:
			return false
		}
	}
	return false
}

func (p *party) external() bool { return strings.HasPrefix(p.name, "carrier") }

// address is where the party is to be found, as a URI has it.
func (p *party) address() string {
	host := p.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p.port != 0 {
		return fmt.Sprintf("%s:%d", host, p.port)
	}
	return host
}

// loadFlows reads every flow, in the order of their names.
func loadFlows() ([]*flow, error) {
	files, err := filepath.Glob("testdata/flows/*.txtar")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var flows []*flow
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		f, err := parseFlow(strings.TrimSuffix(filepath.Base(file), ".txtar"), text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		flows = append(flows, f)
	}
	return flows, nil
}

const (
	quickly = 20 * time.Second
	slowly  = 150 * time.Second
)

func parseFlow(name string, text []byte) (*flow, error) {
	archive := txtar.Parse(text)
	f := &flow{name: name, limit: quickly}
	for i, line := range strings.Split(strings.TrimSpace(string(archive.Comment)), "\n") {
		key, value, keyed := strings.Cut(line, ": ")
		switch {
		case keyed && key == "rfc":
			f.rfc = value
		case keyed && key == "slow":
			f.slow, f.limit = value, slowly
		case i == 0:
			f.title = line
		default:
			f.title += " " + line
		}
	}
	if f.title == "" || f.rfc == "" {
		return nil, fmt.Errorf("the comment on top says what the flow shows, and has a line rfc:")
	}
	for _, file := range archive.Files {
		var err error
		switch {
		case file.Name == "config":
			f.config, err = parseSettings(string(file.Data))
		case file.Name == "row":
			var row []setting
			row, err = parseSettings(string(file.Data))
			f.rows = append(f.rows, row)
		case file.Name == "recording":
			f.recording = true
		case file.Name == "baresip":
			for line := range strings.Lines(string(file.Data)) {
				f.baresip = append(f.baresip, strings.TrimSpace(line))
			}
		case strings.HasPrefix(file.Name, "carrier"), strings.HasPrefix(file.Name, "pbx"):
			var p *party
			p, err = parseScript(file.Name, string(file.Data))
			f.parties = append(f.parties, p)
		default:
			err = fmt.Errorf("neither config, row nor a party")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
	}
	if !slices.ContainsFunc(f.parties, (*party).calls) && f.baresip == nil {
		return nil, fmt.Errorf("nobody calls")
	}
	return f, nil
}

func parseSettings(text string) ([]setting, error) {
	var settings []setting
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		path, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, fmt.Errorf("%q is not path: value", line)
		}
		settings = append(settings, setting{path, value})
	}
	return settings, nil
}

// sides says in words who calls whom.
func (f *flow) sides() string {
	var from, to []string
	for _, p := range f.parties {
		name := p.name
		if p.tcp {
			name += " (TCP)"
		}
		if p.ipv6 {
			name += " (IPv6)"
		}
		if p.calls() {
			from = append(from, name)
		} else {
			to = append(to, name)
		}
	}
	switch {
	case f.baresip != nil && len(from) == 0:
		from = []string{"baresip as PBX"}
	case f.baresip != nil:
		to = append(to, "baresip as PBX")
	case len(to) == 0:
		return strings.Join(from, ", ")
	}
	return strings.Join(from, ", ") + " → " + strings.Join(to, ", ")
}
