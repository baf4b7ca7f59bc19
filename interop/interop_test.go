// Package interop puts the real daemon between sipp, or baresip, on both sides. A flow is
// a file of testdata/flows; README.md describes their language, docs/interop.md lists them.
package interop

import (
	"context"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	run    = flag.Bool("flows", false, "run the flows; make interop does")
	slow   = flag.Bool("slow", false, "run the slow flows as well")
	update = flag.Bool("update", false, "write docs/interop.md")
	built  = flag.String("daemon", "", "a bewaard that is built already; default: this tree's")
	scenes = flag.Bool("xml", false, "show the scenarios of flows that fail")
)

// atOnce is how many flows run at the same time.
const atOnce = 2

// Every flow goes as its file says: both sides' processes are content, and the row says how
// the call ended.
func TestFlows(t *testing.T) {
	if !*run {
		t.Skip("make interop runs them")
	}
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Fatal("sipp is not installed (Debian: sip-tester)")
	}
	program := *built
	if program == "" {
		program = buildDaemon(t)
	}
	flows, err := loadFlows()
	if err != nil {
		t.Fatal(err)
	}
	places, blocks := make(chan struct{}, atOnce), make(chan int, manyBlocks)
	for i := range manyBlocks {
		blocks <- i
	}
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			if f.slow != "" && !*slow {
				t.Skipf("slow (%s): run with -slow", f.slow)
			}
			t.Parallel()
			places <- struct{}{}
			i := <-blocks
			t.Cleanup(func() { // after the daemon has stopped
				blocks <- i
				<-places
			})
			runFlow(t, program, newBlock(i), f)
		})
	}
}

// grace is how long the other side may go on when one has failed.
const grace = 2 * time.Second

func buildDaemon(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bewaard")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/bewaard").CombinedOutput(); err != nil {
		t.Fatalf("build the daemon: %v\n%s", err, out)
	}
	return program
}

func runFlow(t *testing.T, program string, b block, f *flow) {
	for _, p := range f.parties {
		p.host = b.hosts[p.name]
		if p.ipv6 {
			p.host = "::1"
			b.hosts[p.name] = p.address()
		}
	}
	home := t.TempDir() // baresip's
	if f.baresip != nil {
		if err := certify(home, b.hosts["daemon"], b.hosts["pbx"]); err != nil {
			t.Fatal(err)
		}
		b.hosts["certificate"], b.hosts["key"] = filepath.Join(home, certificateFile), filepath.Join(home, keyFile)
	}
	d := startDaemon(t, program, b, f.config)
	ctx, cancel := context.WithTimeout(t.Context(), f.limit+5*time.Second)
	defer cancel()
	directory := t.TempDir()
	var running []*sipp
	ended := make(chan exit, len(f.parties))
	var phone *baresip
	if f.baresip != nil {
		var err error
		to := b.hosts["daemon"] + ":5060"
		if f.baresip[0] == "tls" {
			to, f.baresip = b.hosts["daemon"]+":5061;transport=tls", f.baresip[1:]
		}
		encryption, found := strings.CutPrefix(f.baresip[0], "mediaenc ")
		if found {
			f.baresip = f.baresip[1:]
		} else {
			encryption = ""
		}
		phone, err = startBaresip(ctx, home, b.hosts["pbx"], to, encryption)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			phone.stop()
			if strings.Contains(phone.out.String(), "failed to decrypt") {
				t.Error("baresip could not decrypt what came")
			}
			if t.Failed() {
				t.Logf("==== baresip\n%s", phone.out.String())
			}
		}()
	}
	for _, calls := range []bool{false, true} { // who waits is there before who calls
		for _, p := range f.parties {
			if p.calls() != calls {
				continue
			}
			to := b.hosts["daemon"] + ":5060"
			if p.ipv6 {
				to = "[::1]:5060"
			}
			s, err := startSipp(ctx, directory, p, to, b.texts(), f.limit, ended)
			if err != nil {
				t.Error(err)
			}
			if s != nil {
				running = append(running, s)
			}
		}
	}
	if phone != nil {
		var script []string
		for _, line := range f.baresip {
			script = append(script, b.texts().Replace(line))
		}
		done := make(chan struct{})
		go func() { // ends with its script or the context
			defer close(done)
			if err := phone.do(ctx, script); err != nil {
				t.Errorf("baresip: %v", err)
				cancel()
			}
		}()
		defer func() { <-done }()
	}
	died := d.over
	for left := len(running); left > 0; {
		select {
		case e := <-ended:
			left--
			if e.err != nil {
				t.Errorf("%s: sipp: %v", e.name, e.err)
				time.AfterFunc(grace, cancel)
			}
		case <-died:
			died = nil
			t.Error("the daemon died")
			cancel()
		}
	}
	if !t.Failed() {
		if err := d.expectRows(f.rows); err != nil {
			t.Error(err)
		}
	}
	if !t.Failed() && f.recording {
		if err := d.expectRecording(); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		for _, s := range running {
			if !*scenes {
				s.scenario = "(-xml shows it)"
			}
			t.Log(s.tell())
		}
	}
}
