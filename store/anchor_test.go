package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/players"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

// authority is openssl's, over HTTP. It returns its URL and the file of its root.
func authority(t *testing.T, down *bool) (address, roots string) {
	t.Helper()
	players.Need(t, "openssl")
	directory := t.TempDir()
	file := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openssl := func(args ...string) {
		t.Helper()
		command := exec.Command("openssl", args...)
		command.Dir = directory
		if text, err := command.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v: %s", args[0], err, text)
		}
	}
	file("serial", "01\n")
	file("tsa.cnf", `[tsa]
default_tsa = it
[it]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
ess_cert_id_alg = sha256
accuracy = secs:1
`)
	openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.pem", "-subj", "/CN=Time", "-days", "2",
		"-addext", "extendedKeyUsage=critical,timeStamping", "-addext", "basicConstraints=critical,CA:FALSE")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if err != nil || *down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		file("query", string(query))
		openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
		reply, err := os.ReadFile(filepath.Join(directory, "reply"))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		w.Write(reply) // who has gone does not wait for it
	}))
	t.Cleanup(server.Close)
	return server.URL, filepath.Join(directory, "tsa.pem")
}

// An outside authority stamps the head; afterwards a journal that was rolled back, or written
// anew by somebody who has every key, is found out by that alone.
func TestAnchor(t *testing.T) {
	down := true
	address, roots := authority(t, &down)
	a := newAudited(t, nil)
	a.tsa = nil
	if err := a.Anchor(t.Context()); err != nil {
		t.Errorf("without an authority: got %v", err)
	}
	var err error
	if a.tsa, err = (Config{TSA: address, TSARoots: roots}).authority(); err != nil {
		t.Fatal(err)
	}
	if err := a.Anchor(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("while the authority is down: got %v", err)
	}
	down = false
	for range 2 {
		if err := a.Note(journal.List, "", anna); err != nil {
			t.Fatal(err)
		}
		if err := a.Anchor(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	anchors, err := ReadAnchors(filepath.Join(a.Directory(), AnchorsDirectory))
	if err != nil || len(anchors) != 2 {
		t.Fatalf("got %d anchors, %v, want 2", len(anchors), err)
	}
	pool, err := ReadRoots(roots)
	if err != nil {
		t.Fatal(err)
	}
	with := func(c *VerifyConfig) { c.Anchors, c.Roots = anchors, pool }
	a.take(t)
	if found, v := a.audit(t, with); found != nil || v.Anchors != 2 || !v.Anchor.Trusted || v.Anchor.Authority != "CN=Time" {
		t.Errorf("got %q, %+v, want no findings and two stamps of CN=Time", found, v.Anchor)
	}
	if found, v := a.audit(t, func(c *VerifyConfig) { c.Anchors = anchors }); found != nil || v.Anchor.Trusted {
		t.Errorf("without roots: got %q, %+v, want no findings, and nobody trusted", found, v.Anchor)
	}

	// The same head again is the same stamp: the earlier one says more. One that comes after a
	// snapshot is no sign that the journal was rolled back.
	for range 2 {
		if err := a.Anchor(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	later, err := ReadAnchors(filepath.Join(a.Directory(), AnchorsDirectory))
	if err != nil || len(later) != 3 {
		t.Fatalf("got %d anchors, %v, want 3", len(later), err)
	}
	if err := a.Note(journal.List, "", anna); err != nil {
		t.Fatal(err)
	}
	if err := a.Anchor(t.Context()); err != nil {
		t.Fatal(err)
	}
	if later, err = ReadAnchors(filepath.Join(a.Directory(), AnchorsDirectory)); err != nil {
		t.Fatal(err)
	}
	if found, v := a.audit(t, func(c *VerifyConfig) { c.Anchors, c.Roots = later, pool }); found != nil || v.Anchors != 3 || v.LaterAnchors != 1 {
		t.Errorf("with a later stamp: got %q, %+v, want no findings, three stamps and a later one", found, v)
	}
	junk := func(c *VerifyConfig) {
		c.Anchors = append(slices.Clone(anchors), Anchored{Number: 9999, Response: []byte("junk")}, Anchored{Number: anchors[0].Number, Response: anchors[1].Response})
	}
	if found, _ := a.audit(t, junk); len(found) != 2 || !strings.Contains(strings.Join(found, "\n"), "it cannot be read") {
		t.Errorf("junk, and one of another entry: got %q", found)
	}

	last := anchors[1].Number
	a.change(t, func(tx table.Tx) error {
		return errors.Join(tx.Table(journalTable).Delete(numberKey(last)), tx.Table(journalTable).Delete(numberKey(last+1)), tx.Table(journalTable).Delete(numberKey(last+2)))
	})
	file, err := os.Create(a.snapshot)
	if err == nil {
		err = a.db.Snapshot(func(table.Tx, int64) (io.Writer, error) { return file, nil })
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	if found, _ := a.audit(t, with); !strings.Contains(strings.Join(found, "\n"), "the journal has no such entry: it was rolled back") {
		t.Errorf("rolled back: got %q", found)
	}
	a.take(t) // of which the journal has another entry by that number
	if found, _ := a.audit(t, with); !strings.Contains(strings.Join(found, "\n"), "it is not of that entry as it is now") {
		t.Errorf("written anew: got %q", found)
	}
	a.change(t, func(tx table.Tx) error { // what comes after the first stamp says that it came before
		first := tx.Table(journalTable).Get(numberKey(anchors[0].Number))
		head, err := journal.HeadOf(first)
		if err != nil {
			return err
		}
		line, next, err := head.Next(journal.Entry{At: time.Now().Add(-time.Hour), Actor: "daemon", Action: journal.List, Reason: "x"})
		if err != nil {
			return err
		}
		return tx.Table(journalTable).Put(numberKey(next.Number), line)
	})
	a.take(t)
	if found, _ := a.audit(t, with); !strings.Contains(strings.Join(found, "\n"), "was the last one on") {
		t.Errorf("dated back: got %q", found)
	}
}

// What names an authority that cannot be one is told: by the check, or where it takes a file,
// when the store is opened.
func TestConfigOfAuthority(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(pem, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Config{
		"tsa: time-stamping authority": {TSA: "ftp://tsa.example"},
		"tsa_roots: there is no tsa":   {TSARoots: pem + ".none"},
	} {
		var faults bytes.Buffer
		for _, fault := range c.Validate() {
			faults.WriteString(fault.Error() + "\n")
		}
		if !strings.Contains(faults.String(), want) {
			t.Errorf("got %q, want %q", faults.String(), want)
		}
	}
	for want, c := range map[string]Config{
		"its URL begins with neither": {TSA: "ftp://x"},
		"no certificate in PEM":       {TSA: "https://tsa.example", TSARoots: pem},
		"no such file":                {TSA: "https://tsa.example", TSARoots: pem + ".none"},
	} {
		c.Directory = t.TempDir()
		if _, err := Open(c, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("opened: got %v, want %q", err, want)
		}
	}
}

// A custodian whose authority does not answer goes on, and knows that it has to ask again.
func TestCustodianAnchorsAgain(t *testing.T) {
	asked := 0
	s := open(t, t.TempDir())
	var err error
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		http.Error(w, "down", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	if s.tsa, err = (Config{TSA: server.URL}).authority(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if c := NewCustodian(s); c.tell(ctx) || asked != 1 {
		t.Errorf("asked %d times, want once, and no stamp", asked)
	}
}
