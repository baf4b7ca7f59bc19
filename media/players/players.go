// Package players finds the programs that people play and check recordings with, for the
// tests of what writes them. It knows no format.
//
// Where a program is not installed its test is skipped, but for CI, where that is an error:
// it sets BEWAARD_NEED_TOOLS.
package players

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// Have reports whether a program is installed. Where CI lacks one the test fails.
func Have(t testing.TB, program string) bool {
	t.Helper()
	_, err := exec.LookPath(program)
	if err == nil {
		return true
	}
	if os.Getenv("BEWAARD_NEED_TOOLS") != "" {
		t.Fatalf("%s is not installed, and BEWAARD_NEED_TOOLS is set", program)
	}
	t.Logf("%s is not installed", program)
	return false
}

// Need skips the test unless a program is installed.
func Need(t testing.TB, program string) {
	t.Helper()
	if !Have(t, program) {
		t.Skipf("%s is not installed", program)
	}
}

// ChromiumHz is the rate at which Chromium decodes.
const ChromiumHz = 48000

// page decodes every file and sends back its channels, one behind the other, and how many
// there are; or why not.
const page = `<!doctype html><meta charset="utf-8"><script>
(async () => {
	for (const name of %s) {
		let query = "", body = ""
		try {
			const file = await (await fetch("/file/" + name)).arrayBuffer()
			const audio = await new OfflineAudioContext(2, 1, %d).decodeAudioData(file)
			body = new Float32Array(audio.numberOfChannels * audio.length)
			for (let i = 0; i < audio.numberOfChannels; i++) body.set(audio.getChannelData(i), i * audio.length)
			query = "?channels=" + audio.numberOfChannels
		} catch (e) {
			body = String(e)
		}
		await fetch("/heard/" + name + query, {method: "POST", body})
	}
	await fetch("/done", {method: "POST"})
})()
</script>`

// chromiumTimeout is how long Chromium may take for all files: a cold start on a busy machine
// takes ten seconds.
const chromiumTimeout = 2 * time.Minute

// Chromium returns what Chromium makes of files, the channels of each by its name, at
// ChromiumHz. It is to be there: see Need.
func Chromium(t testing.TB, files map[string][]byte) map[string][][]float32 {
	t.Helper()
	type heard struct {
		name     string
		channels [][]float32
		err      error
	}
	results, done := make(chan heard, len(files)), make(chan struct{}, 1)
	mux := http.NewServeMux()
	names := slices.Sorted(maps.Keys(files))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, page, `["`+strings.Join(names, `", "`)+`"]`, ChromiumHz)
	})
	mux.HandleFunc("GET /file/{name}", func(w http.ResponseWriter, r *http.Request) { w.Write(files[r.PathValue("name")]) })
	mux.HandleFunc("POST /heard/{name}", func(_ http.ResponseWriter, r *http.Request) {
		h := heard{name: r.PathValue("name")}
		body, err := io.ReadAll(r.Body)
		var channels int
		if _, scan := fmt.Sscan(r.URL.Query().Get("channels"), &channels); err == nil && (scan != nil || channels < 1) {
			err = errors.New(string(body))
		}
		h.err = err
		for i := range channels {
			h.channels = append(h.channels, floats(body[i*len(body)/channels:(i+1)*len(body)/channels]))
		}
		results <- h
	})
	mux.HandleFunc("POST /done", func(http.ResponseWriter, *http.Request) { done <- struct{}{} })
	server := httptest.NewServer(mux)
	defer server.Close()

	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile) // its processes may still write there: then some of it stays
	ctx, cancel := context.WithTimeout(t.Context(), chromiumTimeout)
	defer cancel()
	browser := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+profile, "--remote-debugging-port=0", server.URL)
	browser.WaitDelay = 10 * time.Second
	if err := browser.Start(); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- browser.Wait() }() // ends with the browser, which cancel ends
	select {
	case <-done:
		cancel()
		<-exited
	case err := <-exited:
		t.Fatalf("chromium ended before it had played all files: %v", err)
	}
	all := map[string][][]float32{}
	for range len(results) {
		h := <-results
		if h.err != nil {
			t.Errorf("chromium does not play %s: %v", h.name, h.err)
			continue
		}
		all[h.name] = h.channels
	}
	return all
}

func floats(b []byte) []float32 {
	samples := make([]float32, len(b)/4)
	for i := range samples {
		samples[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return samples
}
