package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The configuration that the README prints passes the check as it stands, and so does the
// one for a first call.
func TestPrintedConfigurations(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) != 1 {
		t.Fatalf("got %d configurations in the README, want one", len(blocks))
	}
	printed := filepath.Join(t.TempDir(), "bewaard.yaml")
	if err := os.WriteFile(printed, []byte(blocks[0][1]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{printed, "../../config/trial.yaml"} {
		if err := (&check{Config: file}).Run(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The unit waits longer than the daemon drains.
func TestUnitOutlastsDrain(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/bewaard.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ExecStart=/usr/local/bin/bewaard serve --config /etc/bewaard/bewaard.yaml --drain 5m\n", "TimeoutStopSec=6min\n"} {
		if !strings.Contains(string(unit), line) {
			t.Errorf("no %q in the unit", line)
		}
	}
}
