package certificate

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// key is the key of a node that is always the same.
func key(name string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte(name[:1]), ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) Key { return Key{k.Public().(ed25519.PublicKey)} }

func certificate() Certificate {
	made := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	return Certificate{
		Recording: "019ac000-0000-7000-8000-000000000001", Purpose: "quality", Basis: "consent", Retention: "P14D",
		Made: made, Expired: made.AddDate(0, 0, 14), Destroyed: made.AddDate(0, 0, 14).Add(time.Minute),
		Files: []File{{Format: "opus", Bytes: 4711, SHA256: strings.Repeat("ab", 32)}},
		Epoch: &Epoch{Name: "2026-11-15", Ends: made.AddDate(0, 0, 15)},
		Entry: 12, EntryHash: strings.Repeat("cd", 32),
	}
}

// What was signed is what is read, and who knows the key can tell.
func TestSignAndVerify(t *testing.T) {
	line, err := Sign(certificate(), key("node"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Verify(line, public(key("other")), public(key("node")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(certificate(), got); diff != "" {
		t.Errorf("certificate, -want +got:\n%s", diff)
	}
	if _, err := Verify(line, public(key("other"))); !errors.Is(err, ErrOtherKey) {
		t.Errorf("got error %v, want %v", err, ErrOtherKey)
	}
}

// A certificate that is signed by another and names the node's key is refused.
func TestForged(t *testing.T) {
	line, err := Sign(certificate(), key("other"))
	if err != nil {
		t.Fatal(err)
	}
	line = bytes.Replace(line, []byte(public(key("other")).String()), []byte(public(key("node")).String()), 1)
	if _, err := Verify(line, public(key("node"))); err == nil || !strings.Contains(err.Error(), "signature") {
		t.Errorf("got error %v, want one about the signature", err)
	}
}

// Every change of one bit is found.
func TestAnyBit(t *testing.T) {
	line, err := Sign(certificate(), key("node"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		bit := rapid.IntRange(0, 8*len(line)-1).Draw(t, "bit")
		changed := bytes.Clone(line)
		changed[bit/8] ^= 1 << (bit % 8)
		if _, err := Verify(changed, public(key("node"))); err == nil {
			t.Fatalf("no error for %s", changed)
		}
	})
}

// What says too little is not signed.
func TestSignRefuses(t *testing.T) {
	for name, change := range map[string]func(*Certificate){
		"no recording": func(c *Certificate) { c.Recording = "" }, "no purpose": func(c *Certificate) { c.Purpose = "" },
		"no entry": func(c *Certificate) { c.Entry = 0 }, "not destroyed": func(c *Certificate) { c.Destroyed = time.Time{} },
	} {
		c := certificate()
		change(&c)
		if line, err := Sign(c, key("node")); err == nil {
			t.Errorf("%s: got %s, want an error", name, line)
		}
	}
}

// A key is read as it is written.
func TestParseKey(t *testing.T) {
	want := public(key("node"))
	if got, err := ParseKey(want.String() + "\n"); err != nil || !got.Is(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, text := range []string{"", "00", strings.Repeat("0g", 32), want.String() + "00"} {
		if got, err := ParseKey(text); err == nil {
			t.Errorf("got %v of %q, want an error", got, text)
		}
	}
}

// Nothing that is read can be written otherwise.
func FuzzParse(f *testing.F) {
	line, err := Sign(certificate(), key("node"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := Parse(line)
		if err != nil {
			return
		}
		if again, err := encode(s); err != nil || !bytes.Equal(line, again) {
			t.Errorf("got %s, %v, want %s", again, err, line)
		}
		if _, err := Verify(line, s.Key); err == nil && s.Key.String() != public(key("node")).String() {
			t.Errorf("%s is signed", line)
		}
	})
}
