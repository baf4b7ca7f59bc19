package seal

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// pluginName is the plugin that this test binary is, when it is called by that name: its
// identities and recipients have native ones in them.
const pluginName = "bwtest"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "age-plugin-"+pluginName {
		os.Exit(m.Run())
	}
	p, err := plugin.New(pluginName)
	if err != nil {
		panic(err)
	}
	p.HandleRecipient(func(data []byte) (age.Recipient, error) { return age.ParseX25519Recipient(string(data)) })
	p.HandleIdentity(func(data []byte) (age.Identity, error) { return age.ParseX25519Identity(string(data)) })
	if strings.Contains(strings.Join(os.Args, " "), "recipient-v1") {
		os.Exit(p.RecipientV1())
	}
	os.Exit(p.IdentityV1())
}

// A master identity can be an age plugin's, such as that of a hardware token: epochs are sealed
// and opened by the plugin, and by it alone.
func TestPlugin(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "age-plugin-"+pluginName)); err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("PATH")
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+path)
	native, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	recipient := plugin.EncodeRecipient(pluginName, []byte(native.Recipient().String()))
	identity := filepath.Join(t.TempDir(), "token.txt")
	if err := os.WriteFile(identity, []byte("# a token\n"+plugin.EncodeIdentity(pluginName, []byte(native.String()))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{Recipients: []string{recipient}, Identity: identity}
	if faults := append(c.Validate(), c.Check()...); len(faults) > 0 {
		t.Fatalf("got %v, want no faults", faults)
	}
	directory := filepath.Join(t.TempDir(), "keys")
	file := sealed(t, open(t, directory, c), "audio")
	if got, err := opened(open(t, directory, c), file, 0); err != nil || got != "audio" {
		t.Errorf("got %q, %v, want what was sealed", got, err)
	}

	// A plugin that is not there is said to be missing, not taken for a wrong key.
	t.Setenv("PATH", path)
	if _, err := opened(open(t, directory, c), file, 0); err == nil || !strings.Contains(err.Error(), "age-plugin-"+pluginName) {
		t.Errorf("got %v, want that the plugin is missing", err)
	}
	if _, err := Open(t.TempDir(), Config{Identity: identity}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "name its recipient") {
		t.Errorf("got %v, want that a recipient is to be named", err)
	}
}
