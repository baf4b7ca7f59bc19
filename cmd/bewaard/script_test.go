package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media/g711"
	"github.com/bewaard/bewaard/media/wav"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bewaard": main})
}

// The scripts are conversations with the real program, real clients and real files.
func TestScript(t *testing.T) {
	sipp, err := filepath.Abs("../../testdata/sipp")
	if err != nil {
		t.Fatal(err)
	}
	prompts, err := filepath.Abs("../../prompts")
	if err != nil {
		t.Fatal(err)
	}
	phones := t.TempDir() // a program of another package
	if out, err := exec.Command("go", "build", "-o", phones, "../callsim").CombinedOutput(); err != nil {
		t.Fatalf("build callsim: %v: %s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SIPP", sipp)
			e.Setenv("PROMPTS", prompts)
			e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+phones)
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if program, ok := strings.CutPrefix(condition, "has:"); ok {
				_, err := exec.LookPath(program)
				if err != nil && os.Getenv("BEWAARD_NEED_TOOLS") != "" { // as in media/players
					return false, err
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", condition)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "listening": listening, "grown": grown, "row": row, "say": say, "tones": tones,
		},
	})
}

// listening ADDRESS: waits until somebody has that UDP address: what is sent there comes back
// until then.
func listening(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, args[0], func() error {
		conn, err := net.Dial("udp", args[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("\r\n\r\n")); err != nil { // RFC 5626 §3.5.1
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
			return err
		}
		return nil
	})
}

// await URL: waits until it answers 200.
func await(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, args[0], func() error {
		res, err := http.Get(args[0])
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", res.Status, body)
		}
		return nil
	})
}

// row STORE TEXT...: waits until the newest row of that store has all texts in its
// JSON, and prints it.
func row(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, "row", func() error {
		out, err := exec.Command("bewaard", "calls", "--store", ts.MkAbs(args[0]), "-n", "1", "-o", "json").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		for _, text := range args[1:] {
			if !strings.Contains(string(out), text) {
				return fmt.Errorf("no %q in %s", text, out)
			}
		}
		fmt.Fprintf(ts.Stdout(), "%s", out)
		return nil
	})
}

// grown PATTERN BYTES: waits until the one file of that pattern has so many bytes.
func grown(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, args[0], func() error {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("files %v (%v), want one", files, err)
		}
		info, err := os.Stat(files[0])
		if err != nil {
			return err
		}
		if float64(info.Size()) < number(ts, args[1]) {
			return fmt.Errorf("%d bytes, want %s", info.Size(), args[1])
		}
		return nil
	})
}

// eventually tries until it goes well, for some seconds.
func eventually(ts *testscript.TestScript, what string, try func() error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("wait for %s: %v", what, err)
		}
	}
}

// say FILE HZ: writes two seconds of a tone as raw A-law.
func say(ts *testscript.TestScript, _ bool, args []string) {
	voice, octets := sim.Tone(number(ts, args[1])), make([]byte, 16000)
	pcm := make([]int16, len(octets))
	for i := range pcm {
		pcm[i] = voice(i)
	}
	g711.EncodeALaw(octets, pcm)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), octets, 0o644))
}

// tones FILE SECONDS LEFT RIGHT: the WAV file is at least so long, and its channels
// are tones of these frequencies.
func tones(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	r, err := wav.NewReader(f)
	ts.Check(err)
	var channels [2][]int16
	b := make([]int16, 8000)
	for {
		n, err := r.Read(b)
		for i := range n {
			channels[i%2] = append(channels[i%2], b[i])
		}
		if err == io.EOF {
			break
		}
		ts.Check(err)
	}
	for i, name := range []string{"left", "right"} {
		if got := float64(len(channels[i])) / 8000; got < number(ts, args[1]) {
			ts.Fatalf("%s: %.2f s, want %s s at least", name, got, args[1])
		}
		if got := sim.Share(channels[i], number(ts, args[2+i])); got < 0.8 {
			ts.Fatalf("%s: %.2f of the power at %s Hz, want nearly all", name, got, args[2+i])
		}
	}
}

func number(ts *testscript.TestScript, text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	ts.Check(err)
	return n
}
