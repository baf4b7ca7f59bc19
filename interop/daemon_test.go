package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is the addresses that a flow has to itself.
type block struct {
	hosts map[string]string // by the name of a placeholder: daemon, carrier, pbx2, pbxmoved …
	ports string            // for RTP: below those that the kernel gives out, beside the default of daemons that run here
}

// Blocks come round: few flows run at once.
const (
	perBlock   = 10
	manyBlocks = 25
)

// newBlock returns the i-th block.
func newBlock(i int) block {
	b := block{hosts: map[string]string{}, ports: fmt.Sprintf("%d-%d", 30000+100*i, 30000+100*i+99)}
	for j, name := range []string{"daemon", "carrier", "pbx", "carrier2", "pbx2", "carrier3", "pbx3", "carriermoved", "pbxmoved", "nobody"} {
		b.hosts[name] = fmt.Sprintf("127.0.20.%d", perBlock*i+j+1)
	}
	return b
}

// texts replaces the placeholders of a script or configuration.
func (b block) texts() *strings.Replacer {
	var pairs []string
	for name, host := range b.hosts {
		pairs = append(pairs, "{"+name+"}", host)
	}
	return strings.NewReplacer(pairs...)
}

// basis is the configuration of every flow; nothing is announced or recorded.
var basis = []setting{
	{"organisation.name", "Voorbeeld BV"},
	{"organisation.contact", "privacy@voorbeeld.example"},
	{"sip.listen", `["udp://{daemon}:5060", "tcp://{daemon}:5060"]`},
	{"sip.try_timeout", "2s"},
	{"trunks.pbx.side", "internal"},
	{"trunks.pbx.peers", `["sip:{pbx}"]`},
	{"trunks.pbx.ping", "0s"},
	{"trunks.carrier.ping", "0s"},
	{"trunks.carrier.side", "external"},
	{"trunks.carrier.peers", `["sip:{carrier}"]`},
	{"rules", "[{name: all, record: none}]"},
	{"http.listen", "{daemon}:8080"},
	{"recording.formats", "[wav]"},
}

// recorded is what the setting "recorded: early" or "recorded: answered" stands for.
func recorded(when string) []setting {
	match := ""
	if when == "early" {
		match = "match: {direction: inbound}, "
	}
	return []setting{
		{"purposes.quality", "{text: {en: Training}, basis: contract, retention: P14D}"},
		{"announcements.recorded", `{text: {en: This call is recorded.}, files: {en: "embedded:en"}}`},
		{"rules", "[{name: all, " + match + "record: {purpose: quality}, announce: {prompt: recorded, when: " + when + "}}]"},
	}
}

// configuration writes settings as YAML, the later ones over the earlier.
func configuration(b block, directory string, settings []setting) string {
	tree := map[string]any{}
	all := slices.Concat(basis, []setting{{"media.ports", b.ports}, {"store.directory", directory}})
	for _, s := range settings {
		if s.path == "recorded" {
			all = append(all, recorded(s.value)...)
			continue
		}
		all = append(all, s)
	}
	for _, s := range all {
		at := tree
		keys := strings.Split(s.path, ".")
		for _, key := range keys[:len(keys)-1] {
			below, ok := at[key].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[key] = below
			}
			at = below
		}
		at[keys[len(keys)-1]] = s.value
	}
	var out strings.Builder
	writeTree(&out, "", tree)
	return b.texts().Replace(out.String())
}

func writeTree(out *strings.Builder, indent string, tree map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		switch value := tree[key].(type) {
		case map[string]any:
			fmt.Fprintf(out, "%s%s:\n", indent, key)
			writeTree(out, indent+"  ", value)
		default:
			fmt.Fprintf(out, "%s%s: %s\n", indent, key, value)
		}
	}
}

// daemon is a bewaard that runs.
type daemon struct {
	program, store string
	cmd            *exec.Cmd
	log            bytes.Buffer  // written by the process until it is waited for
	over           chan struct{} // closed when the process has ended
}

// startDaemon starts the daemon with a configuration and stops it when the test ends.
func startDaemon(t *testing.T, program string, b block, settings []setting) *daemon {
	t.Helper()
	directory := t.TempDir()
	d := &daemon{program: program, store: filepath.Join(directory, "store"), over: make(chan struct{})}
	if err := os.Mkdir(d.store, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(directory, "bewaard.yaml")
	text := configuration(b, d.store, settings)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.cmd = exec.Command(program, "serve", "--config", file)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		d.cmd.Wait() // its exit status is no part of a flow
		close(d.over)
	}()
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("configuration:\n%s\ndaemon:\n%s", text, d.log.String())
		}
	})
	if err := await(5*time.Second, func() error {
		res, err := http.Get("http://" + net.JoinHostPort(b.hosts["daemon"], "8080") + "/readyz")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %s", res.Status)
		}
		return nil
	}); err != nil {
		t.Fatalf("start the daemon: %v", err)
	}
	return d
}

// stop asks the daemon to stop. One that does not is made to say what it is waiting for.
func (d *daemon) stop() {
	d.cmd.Process.Signal(os.Interrupt)
	kill := time.AfterFunc(10*time.Second, func() { d.cmd.Process.Signal(syscall.SIGQUIT) })
	defer kill.Stop()
	<-d.over
}

// calls asks for the rows, the oldest first.
func (d *daemon) calls() ([]map[string]any, error) {
	out, err := exec.Command(d.program, "calls", "--store", d.store, "-o", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("ask for the calls: %w", err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, fmt.Errorf("read the calls: %w", err)
	}
	slices.Reverse(rows)
	return rows, nil
}

// expectRows waits until the rows say what a flow expects.
func (d *daemon) expectRows(want [][]setting) error {
	return await(8*time.Second, func() error {
		rows, err := d.calls()
		if err != nil {
			return err
		}
		if len(rows) != len(want) {
			return fmt.Errorf("got %d rows, want %d", len(rows), len(want))
		}
		for i, settings := range want {
			for _, s := range settings {
				if got := field(rows[i], s.path); got != s.value {
					return fmt.Errorf("row %d: got %s %q, want %q", i+1, s.path, got, s.value)
				}
			}
		}
		return nil
	})
}

// expectRecording wants one recording, with the phone's tone on both channels: the other
// party sends it back.
func (d *daemon) expectRecording() error {
	rows, err := d.calls()
	if err != nil || len(rows) != 1 {
		return fmt.Errorf("got %d calls, %v, want one", len(rows), err)
	}
	file := filepath.Join(filepath.Dir(d.store), "recording.wav")
	out, err := exec.Command(d.program, "recordings", "export", field(rows[0], "id"), "--store", d.store, "--reason", "a flow", "--format", "wav", "--to", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("export: %w: %s", err, out)
	}
	channels, err := readWAV(file)
	if err != nil {
		return err
	}
	return errors.Join(wantTone("the left channel", channels[0]), wantTone("the right channel", channels[1]))
}

// field returns a field of a row as text: announcement.complete.
func field(row map[string]any, path string) string {
	var at any = row
	for key := range strings.SplitSeq(path, ".") {
		switch below := at.(type) {
		case map[string]any:
			at = below[key]
		case []any:
			n, err := strconv.Atoi(key)
			if err != nil || n >= len(below) {
				return ""
			}
			at = below[n]
		default:
			return ""
		}
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}

// await tries until it goes well, for a while.
func await(limit time.Duration, try func() error) error {
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return err
		}
	}
}
