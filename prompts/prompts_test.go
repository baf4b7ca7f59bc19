package prompts

import (
	"bytes"
	"testing"
	"time"

	"github.com/bewaard/bewaard/media/prompt"
)

// Every built-in announcement can be played, and says something.
func TestAnnouncements(t *testing.T) {
	for _, language := range Languages() {
		b, err := WAV(language)
		if err != nil {
			t.Fatal(err)
		}
		p, err := prompt.Load("recorded", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if p.Duration < 2*time.Second || p.Duration > 8*time.Second {
			t.Errorf("%s: got %v, want some seconds", language, p.Duration)
		}
		if Text(language) == "" {
			t.Errorf("%s: got no text", language)
		}
	}
	if _, err := WAV("xx"); err == nil {
		t.Error("got an announcement in xx")
	}
}
