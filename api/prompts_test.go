package api

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/bewaard/bewaard/store"
)

// Announcements of any time are listed, told and heard by their hash, or the beginning of it.
func TestPrompts(t *testing.T) {
	d := newDaemon(t)
	sum := sha256.Sum256([]byte("RIFF"))
	hash := hex.EncodeToString(sum[:])
	p := store.Prompt{SHA256: hash, ID: "recorded", Language: "nl", Text: "Dit gesprek"}
	if err := d.server.parts.Store.KeepPrompt(p, []byte("RIFF")); err != nil {
		t.Fatal(err)
	}
	all, err := d.client.Prompts(t.Context())
	if err != nil || len(all) != 1 || all[0].Text != p.Text || all[0].FirstUsed.IsZero() {
		t.Errorf("got %+v, %v; want the prompt", all, err)
	}
	for _, asked := range []string{hash, hash[:8]} {
		if uses, err := d.client.Prompt(t.Context(), asked); err != nil || len(uses) != 1 || uses[0] != all[0] {
			t.Errorf("got %+v, %v; want %+v", uses, err, all)
		}
		file, name, err := d.client.PromptAudio(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if b, err := io.ReadAll(file); string(b) != "RIFF" || name != "recorded-nl-"+hash[:12]+".wav" || err != nil {
			t.Errorf("got %q in %s, %v", b, name, err)
		}
	}
	if _, err := d.client.Prompt(t.Context(), "00000000"); err == nil || !strings.Contains(err.Error(), "no such prompt") {
		t.Errorf("got %v, want that there is no such prompt", err)
	}
	if _, _, err := d.client.PromptAudio(t.Context(), "x/../calls"); err == nil || !strings.Contains(err.Error(), "not a SHA-256") {
		t.Errorf("got %v, want that this is no hash", err)
	}
}
