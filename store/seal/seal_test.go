package seal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const epoch = Epoch("2026-12-08")

func open(t *testing.T, directory string, c Config) *Keys {
	t.Helper()
	k, err := Open(directory, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func sealed(t *testing.T, k *Keys, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := k.Seal(epoch, &b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// opened returns what is sealed from an offset on.
func opened(k *Keys, file []byte, from int64) (string, error) {
	r, n, err := k.Open(epoch, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(r, from, n-from))
	return string(b), err
}

func generated(t *testing.T) (path, recipient string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "master.key")
	recipient, err := Generate(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, recipient
}

// With no configuration an identity is made, and what it sealed opens again after a restart,
// from any place in it.
func TestOwnMaster(t *testing.T) {
	directory := t.TempDir()
	content := strings.Repeat("0123456789", 20_000)
	k := open(t, directory, Config{})
	file := sealed(t, k, content)
	if bytes.Contains(file, []byte("0123456789")) {
		t.Fatal("what is sealed can be read")
	}
	k = open(t, directory, Config{})
	for _, from := range []int64{0, 65_536, 199_999} {
		got, err := opened(k, file, from)
		if err != nil || got != content[from:] {
			t.Errorf("from %d: got %d bytes, %v, want %d", from, len(got), err, len(content)-int(from))
		}
	}
	for _, name := range []string{"master.key", "numbers.key", "epochs/2026-12-08.age"} {
		info, err := os.Stat(filepath.Join(directory, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v, want mode 0600", name, info.Mode(), err)
		}
	}
}

// A lost identity is not replaced by a new one, which could not open what there is.
func TestLostMaster(t *testing.T) {
	directory := t.TempDir()
	sealed(t, open(t, directory, Config{}), "x")
	if err := os.Remove(MasterPath(directory)); err != nil {
		t.Fatal(err)
	}
	_, err := Open(directory, Config{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Fatalf("got %v, want that it is to be put back", err)
	}
	if _, err := os.Stat(MasterPath(directory)); err == nil {
		t.Error("another identity was made")
	}
}

// A sealed machine seals and does not open; one with any of the identities does.
func TestSealed(t *testing.T) {
	directory := t.TempDir()
	first, firstRecipient := generated(t)
	second, secondRecipient := generated(t)
	recipients := []string{firstRecipient, secondRecipient}
	k := open(t, directory, Config{Recipients: recipients, Sealed: true})
	file := sealed(t, k, "audio")
	if _, err := opened(k, file, 0); !errors.Is(err, ErrSealed) {
		t.Errorf("got %v, want ErrSealed", err)
	}
	key, err := k.RowKey(epoch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.OpenRowKey(epoch, key.ID, key.Sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("row key: got %v, want ErrSealed", err)
	}
	for _, identity := range []string{first, second} {
		k := open(t, directory, Config{Recipients: recipients, Identity: identity})
		if got, err := opened(k, file, 0); err != nil || got != "audio" {
			t.Errorf("got %q, %v, want what was sealed", got, err)
		}
		again, err := k.OpenRowKey(epoch, key.ID, key.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Open("row", key.Seal("row", []byte("+31612345678"))); err != nil || string(got) != "+31612345678" {
			t.Errorf("row: got %q, %v", got, err)
		}
		if _, err := again.Open("other row", key.Seal("row", []byte("+31612345678"))); err == nil {
			t.Error("what was sealed for one row opened for another")
		}
	}
}

// What cannot be right about a master identity is refused, saying what is to be done.
func TestMasterFaults(t *testing.T) {
	identity, recipient := generated(t)
	_, other := generated(t)
	wide := filepath.Join(t.TempDir(), "wide.key")
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wide, text, 0o640); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.key")
	if err := os.WriteFile(broken, []byte("# one\nAGE-SECRET-KEY-1NOTREALLY\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Identity: wide}, "mode 0640, others may read it: chmod 600"},
		{Config{Identity: broken}, "line 2: not an identity"},
		{Config{Identity: identity, Recipients: []string{other}}, "none of recipients"},
		{Config{Identity: "credential:master"}, "LoadCredential=master"},
		{Config{Identity: filepath.Join(t.TempDir(), "none")}, "no such file"},
		{Config{Recipients: []string{recipient}}, "sealed: true"},
	} {
		_, err := Open(t.TempDir(), c.config, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.config, err, c.want)
		} else if strings.Contains(err.Error(), "SECRET-KEY-1NOT") {
			t.Errorf("an error tells an identity: %v", err)
		}
	}
}

// A credential of systemd's is read whatever its mode: the directory is the unit's.
func TestCredential(t *testing.T) {
	identity, recipient := generated(t)
	if err := os.Chmod(identity, 0o440); err != nil {
		t.Fatal(err)
	}
	t.Setenv(credentialsVariable, filepath.Dir(identity))
	k := open(t, t.TempDir(), Config{Identity: "credential:" + filepath.Base(identity)})
	if got := k.masters(); len(got) != 1 || got[0] != recipient {
		t.Errorf("got recipients %v, want %s", got, recipient)
	}
}

func TestValidate(t *testing.T) {
	_, recipient := generated(t)
	for _, c := range []struct {
		config Config
		want   []string
	}{
		{Config{}, nil},
		{Config{Identity: "/etc/bewaard/master.key"}, nil},
		{Config{Recipients: []string{recipient}, Sealed: true}, nil},
		{Config{Recipients: []string{"age1x", "AGE-SECRET-KEY-1X"}, Sealed: true}, []string{"recipients[0]: ", "recipients[1]: is an identity"}},
		{Config{Recipients: []string{recipient}}, []string{"identity: missing"}},
		{Config{Sealed: true}, []string{"recipients: missing"}},
		{Config{Recipients: []string{recipient}, Identity: "x", Sealed: true}, []string{"sealed: is true"}},
		{Config{Identity: "credential:../x"}, []string{"identity: "}},
	} {
		faults := c.config.Validate()
		if len(faults) != len(c.want) {
			t.Errorf("%+v: got %v, want %d faults", c.config, faults, len(c.want))
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(faults[i].Error(), want) {
				t.Errorf("%+v: got %v, want %s…", c.config, faults[i], want)
			}
		}
	}
}

// Nothing of an epoch that was destroyed opens again, by no memory of it either, and none
// is sealed to it any more. A second time is no error.
func TestDestroy(t *testing.T) {
	directory := t.TempDir()
	k := open(t, directory, Config{})
	file := sealed(t, k, "audio")
	key, err := k.RowKey(epoch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened(k, file, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := k.Destroy(epoch); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []*Keys{k, open(t, directory, Config{})} {
		if _, err := opened(k, file, 0); !errors.Is(err, ErrDestroyed) {
			t.Errorf("open: got %v, want ErrDestroyed", err)
		}
		if _, err := k.Seal(epoch, io.Discard); !errors.Is(err, ErrDestroyed) {
			t.Errorf("seal: got %v, want ErrDestroyed", err)
		}
		if _, err := k.OpenRowKey(epoch, key.ID, key.Sealed); !errors.Is(err, ErrDestroyed) {
			t.Errorf("row key: got %v, want ErrDestroyed", err)
		}
	}
	if _, err := os.Stat(filepath.Join(directory, "epochs/2026-12-08.age")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the identity: got %v, want that it is gone", err)
	}
	epochs, err := k.Epochs()
	if err != nil || len(epochs) != 1 || epochs[0].Destroyed.IsZero() {
		t.Errorf("got %+v, %v, want the epoch as destroyed", epochs, err)
	}
}

// A crash anywhere in Destroy leaves an epoch that the next start has destroyed, or one
// that is whole.
func TestDestroyResumes(t *testing.T) {
	directory := t.TempDir()
	k := open(t, directory, Config{})
	file := sealed(t, k, "audio")
	identity, err := os.ReadFile(filepath.Join(directory, "epochs/2026-12-08.age"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(directory, "epochs/2026-12-08.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Destroy(epoch); err != nil {
		t.Fatal(err)
	}
	for _, left := range []map[string][]byte{
		{"age": identity, "pub": public},
		{"age": make([]byte, len(identity)), "pub": public},
		{"pub": public},
	} {
		for suffix, content := range left {
			if err := os.WriteFile(filepath.Join(directory, "epochs/2026-12-08."+suffix), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		k := open(t, directory, Config{})
		if _, err := opened(k, file, 0); !errors.Is(err, ErrDestroyed) {
			t.Errorf("%d files left: got %v, want ErrDestroyed", len(left), err)
		}
		for suffix := range left {
			if _, err := os.Stat(filepath.Join(directory, "epochs/2026-12-08."+suffix)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: got %v, want that it is gone", suffix, err)
			}
		}
	}
}

// An identity whose recipient never reached the disk was used by nobody: it is made anew.
func TestEpochHalfMade(t *testing.T) {
	directory := t.TempDir()
	sealed(t, open(t, directory, Config{}), "x")
	if err := os.Remove(filepath.Join(directory, "epochs/2026-12-08.pub")); err != nil {
		t.Fatal(err)
	}
	k := open(t, directory, Config{})
	if got, err := opened(k, sealed(t, k, "audio"), 0); err != nil || got != "audio" {
		t.Errorf("got %q, %v, want what was sealed", got, err)
	}
}

// After a rotation the new identity opens what the old one did, and the old one nothing.
// A start with recipients that epochs are not sealed to says so.
func TestRotate(t *testing.T) {
	directory := t.TempDir()
	old, oldRecipient := generated(t)
	new, newRecipient := generated(t)
	file := sealed(t, open(t, directory, Config{Identity: old}), "audio")
	var log bytes.Buffer
	both := filepath.Join(t.TempDir(), "both.key")
	var identities []byte
	for _, path := range []string{old, new} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		identities = append(identities, text...)
	}
	if err := os.WriteFile(both, identities, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := Open(directory, Config{Recipients: []string{newRecipient}, Identity: both}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if !strings.Contains(log.String(), "keys rotate") {
		t.Errorf("got log %q, want what to do", log.String())
	}
	names, err := filepath.Glob(filepath.Join(directory, epochsDir, "*"+identitySuffix))
	if err != nil || len(names) != 1 {
		t.Fatalf("got %v, %v, want one epoch", names, err)
	}
	name := names[0]
	before, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	for i, want := range []int{1, 0, 0} {
		switch i { // what a crash left: both names of one file, or the old one beside the new
		case 1:
			err = os.Link(name, name+oldSuffix)
		case 2:
			err = os.WriteFile(name+oldSuffix, []byte("for the old identity"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Rotate(); err != nil || got != want {
			t.Fatalf("got %d rotated, %v, want %d", got, err, want)
		}
		if _, err := os.Stat(name + oldSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v of the old file, want it gone", err)
		}
	}
	if old, err := io.ReadAll(before); err != nil || len(bytes.Trim(old, "\x00")) > 0 {
		t.Errorf("got %q in the place of the old file, %v, want it overwritten", old, err)
	}
	if got, err := opened(open(t, directory, Config{Identity: new}), file, 0); err != nil || got != "audio" {
		t.Errorf("new identity: got %q, %v", got, err)
	}
	if _, err := opened(open(t, directory, Config{Recipients: []string{oldRecipient}, Identity: old}), file, 0); err == nil {
		t.Error("the old identity still opens")
	}
}

// The identity of a day's spools goes when the day is over and no spool needs it.
func TestSpoolKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := open(t, t.TempDir(), Config{})
		key := []byte("0123456789abcdef0123456789abcdef")
		wrapped, err := k.WrapSpool(key)
		if err != nil {
			t.Fatal(err)
		}
		day, err := SpoolDay(wrapped)
		if err != nil || day != EpochOf(time.Now()) {
			t.Fatalf("got day %s, %v, want today", day, err)
		}
		check := func(needed map[Epoch]bool, want int) {
			t.Helper()
			if got, err := k.DestroySpools(time.Now(), needed); err != nil || len(got) != want {
				t.Errorf("got %v destroyed, %v, want %d", got, err, want)
			}
		}
		check(nil, 0)
		time.Sleep(48 * time.Hour)
		check(map[Epoch]bool{day: true}, 0)
		if got, err := k.UnwrapSpool(wrapped); err != nil || !bytes.Equal(got, key) {
			t.Errorf("got %x, %v, want the key", got, err)
		}
		check(nil, 1)
		if _, err := k.UnwrapSpool(wrapped); !errors.Is(err, ErrDestroyed) {
			t.Errorf("got %v, want ErrDestroyed", err)
		}
	})
}

// Tokens are the same after a restart and differ between stores.
func TestTokens(t *testing.T) {
	directory := t.TempDir()
	want := open(t, directory, Config{}).Token("+31612345678")
	if got := open(t, directory, Config{}).Token("+31612345678"); got != want {
		t.Errorf("after a restart: got %x, want %x", got, want)
	}
	if other := open(t, t.TempDir(), Config{}).Token("+31612345678"); other == want {
		t.Error("another store has the same token")
	}
}

// The plain age tool opens what is sealed, in two steps: docs/operations.md.
func TestPlainAge(t *testing.T) {
	tool, err := exec.LookPath("age")
	if err != nil {
		if os.Getenv("BEWAARD_NEED_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("no age here")
	}
	directory, out := t.TempDir(), t.TempDir()
	k := open(t, directory, Config{})
	content := strings.Repeat("audio ", 50_000)
	recording := filepath.Join(out, "recording.opus.age")
	if err := os.WriteFile(recording, sealed(t, k, content), 0o600); err != nil {
		t.Fatal(err)
	}
	epochKey, plain := filepath.Join(out, "epoch.key"), filepath.Join(out, "recording.opus")
	run := func(args ...string) error {
		b, err := exec.Command(tool, args...).CombinedOutput()
		if err != nil {
			return errors.Join(err, errors.New(string(b)))
		}
		return nil
	}
	identity := filepath.Join(directory, "epochs/2026-12-08.age")
	if err := run("-d", "-i", MasterPath(directory), "-o", epochKey, identity); err != nil {
		t.Fatal(err)
	}
	if err := run("-d", "-i", epochKey, "-o", plain, recording); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(plain); err != nil || string(got) != content {
		t.Errorf("got %d bytes, %v, want what was sealed", len(got), err)
	}
	// After the epoch there is nothing to begin with.
	if err := k.Destroy(epoch); err != nil {
		t.Fatal(err)
	}
	if err := run("-d", "-i", MasterPath(directory), "-o", epochKey, identity); err == nil {
		t.Error("age opened the identity of an epoch that was destroyed")
	}
}

func FuzzPublic(f *testing.F) {
	f.Add([]byte("# epoch 2026-12-08; its identity is sealed to\n# age1x\nage1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg\n"))
	f.Add([]byte("# destroyed 2026-12-09T00:00:00Z\nage1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePublic(text)
		if err != nil {
			return
		}
		again, err := parsePublic(p.text(epoch))
		if err != nil || again.recipient.String() != p.recipient.String() || len(again.masters) != len(p.masters) {
			t.Errorf("got %+v, %v, want %+v again", again, err, p)
		}
	})
}

func FuzzIdentities(f *testing.F) {
	f.Add([]byte("# x\nAGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n"))
	f.Add([]byte("AGE-PLUGIN-YUBIKEY-1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		identities, err := parseIdentities(text)
		if (err == nil) != (len(identities) > 0) {
			t.Errorf("got %d identities, %v", len(identities), err)
		}
	})
}

func BenchmarkRowKeySeal(b *testing.B) {
	k, err := Open(b.TempDir(), Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	personal := []byte(`{"caller":"+31612345678","callee":"+31205550100","caller_call_id":"a84b4c76e66710@10.0.0.7"}`)
	b.ReportAllocs()
	for b.Loop() {
		key, err := k.RowKey(epoch)
		if err != nil {
			b.Fatal(err)
		}
		key.Seal("01890a5d-ac96-774b-bcce-b302099a8057", personal)
	}
}

// What is wrong with keys is told, with what to do; of keys that are right, nothing.
func TestCheck(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "keys")
	day := EpochOf(time.Now())
	for _, e := range []Epoch{day, "2020-02-29"} {
		if _, err := open(t, directory, Config{}).Seal(e, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	check := func(c Config, want ...string) {
		t.Helper()
		k, err := Look(directory, c)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		faults := k.Check(time.Now())
		if len(faults) != len(want) {
			t.Fatalf("got %v, want %d faults", faults, len(want))
		}
		for i, fault := range faults {
			if !strings.Contains(fault.Error(), want[i]) {
				t.Errorf("got %v, want %q", fault, want[i])
			}
		}
	}
	check(Config{}, "epoch 2020-02-29: it is over and its identity is there")
	if err := open(t, directory, Config{}).Destroy("2020-02-29"); err != nil {
		t.Fatal(err)
	}
	check(Config{})
	_, other := generated(t)
	check(Config{Recipients: []string{other}}, "bewaard keys rotate")
	file := filepath.Join(directory, "epochs", string(day)+".age")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	check(Config{}, "mode 0644")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(directory, numbersFile)); err != nil {
		t.Fatal(err)
	}
	check(Config{}, "its identity is gone", numbersFile)
}

// To look at keys makes none.
func TestLookMakesNothing(t *testing.T) {
	directory := t.TempDir()
	if _, err := Look(filepath.Join(directory, "none"), Config{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v of a directory that is not there, want ErrNotExist", err)
	}
	open(t, directory, Config{})
	if err := os.Remove(MasterPath(directory)); err != nil {
		t.Fatal(err)
	}
	k, err := Look(directory, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := os.Stat(MasterPath(directory)); err == nil || !k.Sealed() {
		t.Error("an identity was made")
	}
}

// Whatever a spool's first frame has as its key, it is opened or refused.
func FuzzUnwrapSpool(f *testing.F) {
	k, err := Open(f.TempDir(), Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := k.WrapSpool([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapped)
	f.Add([]byte("2026-02-30\nage-encryption.org/v1\n"))
	f.Add([]byte("../numbers\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, err := k.UnwrapSpool(b); err == nil && len(key) > maxSpoolKeyBytes {
			t.Errorf("got a key of %d bytes", len(key))
		}
	})
}
