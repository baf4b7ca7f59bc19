package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func promptOf(id, language, text string, wav []byte) Prompt {
	return Prompt{SHA256: hashOf(wav), ID: id, Language: language, Text: text}
}

// A prompt is kept once, for ever, with the time of its first use; another text of the same
// audio is kept beside the first, and a sweep takes none of it.
func TestPromptsAreKept(t *testing.T) {
	directory := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, directory)
		defer s.Close()
		first := time.Now().UTC()
		dutch, english := []byte("RIFF nl"), []byte("RIFF en")
		keep := func(p Prompt, wav []byte) {
			t.Helper()
			if err := s.KeepPrompt(p, wav); err != nil {
				t.Fatal(err)
			}
		}
		keep(promptOf("recorded", "nl", "Dit gesprek", dutch), dutch)
		time.Sleep(24 * time.Hour)
		keep(promptOf("recorded", "nl", "Dit gesprek", dutch), dutch) // another start
		keep(promptOf("recorded", "en", "This call", english), english)
		time.Sleep(24 * time.Hour)
		keep(promptOf("recorded", "nl", "Dit telefoongesprek", dutch), dutch)
		keep(promptOf("recorded", "nl", "Dit telefoongesprek", dutch), dutch)
		sweeper := NewSweeper(s, SweepConfig{})
		if err := sweeper.ConfirmClock(Act{"uid 0", "test"}); err != nil {
			t.Fatal(err)
		}
		if _, err := sweeper.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}

		want := []Prompt{
			{hashOf(dutch), 7, "recorded", "nl", "Dit gesprek", first},
			{hashOf(english), 7, "recorded", "en", "This call", first.Add(24 * time.Hour)},
			{hashOf(dutch), 7, "recorded", "nl", "Dit telefoongesprek", first.Add(48 * time.Hour)},
		}
		got, err := s.Prompts()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("prompts (-want +got), %v:\n%s", err, diff)
		}
		got, err = s.Prompt(strings.ToUpper(hashOf(dutch)[:minPrefix]))
		if diff := cmp.Diff([]Prompt{want[0], want[2]}, got); diff != "" || err != nil {
			t.Errorf("the Dutch prompt (-want +got), %v:\n%s", err, diff)
		}
		if wav, err := s.PromptAudio(want[0]); !bytes.Equal(wav, dutch) || err != nil {
			t.Errorf("got %q, %v; want the file", wav, err)
		}
	})
}

// A prompt that is not what its hash says is neither kept nor handed out; one that was
// damaged on the disk is made whole by the next start that has it.
func TestPromptsAreWhatTheirHashSays(t *testing.T) {
	s := open(t, t.TempDir())
	wav := []byte("RIFF")
	p := promptOf("recorded", "nl", "Dit gesprek", wav)
	if err := s.KeepPrompt(p, []byte("another")); err == nil {
		t.Error("a file was kept under another one's hash")
	}
	if err := s.KeepPrompt(p, wav); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.Directory(), promptsDirectory, p.SHA256+".wav")
	if err := os.WriteFile(name, []byte("RIFX"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.PromptAudio(p); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %q, %v; want that the file is damaged", got, err)
	}
	if err := s.KeepPrompt(p, wav); err != nil {
		t.Fatal(err)
	}
	if got, err := s.PromptAudio(p); !bytes.Equal(got, wav) || err != nil {
		t.Errorf("got %q, %v; want the file again", got, err)
	}
}

// A hash that tells nothing, or nothing that there is, is said to.
func TestPromptNotFound(t *testing.T) {
	s := open(t, t.TempDir())
	if got, err := s.Prompts(); got != nil || err != nil {
		t.Errorf("got %v, %v of a new store, want nothing", got, err)
	}
	for _, two := range []string{"aaaaaaaa1", "aaaaaaaa2"} {
		if err := s.keepPrompt(Prompt{SHA256: two}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for hash, want := range map[string]string{
		"":             "not a SHA-256",
		"aaaaaaa":      "not a SHA-256",
		"../bewaard":   "not a SHA-256",
		"0123456789ab": "none has",
		"aaaaaaaa":     "more than one",
	} {
		if _, err := s.Prompt(hash); !errors.Is(err, ErrPrompt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", hash, err, want)
		}
	}
}
