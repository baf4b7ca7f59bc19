package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is given wrongly is said before any call is made.
func TestWrongArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"call sip:127.0.0.1:5999 +31205550100":        `PEER is address:port, such as 127.0.0.1:5060: got "sip:127.0.0.1:5999"`,
		"answer --listen localhost":                   `--listen is address:port, such as 127.0.0.1:5060: got "localhost"`,
		"answer --voice hum":                          `--voice: "hum" is not tone:HZ, babble:HZ or silence`,
		"answer --heard " + filepath.Join(file, "in"): "--heard: ",
		"frob": "see callsim --help",
	} {
		if err := run(t.Context(), strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

// The directory for what is heard is made before the phone is.
func TestHeardIsMade(t *testing.T) {
	heard := filepath.Join(t.TempDir(), "a", "b")
	if _, err := (phone{Listen: "127.0.0.1:0", Voice: "silence", Heard: heard}).config(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(heard); err != nil || !info.IsDir() {
		t.Errorf("got %v, want a directory", err)
	}
}
