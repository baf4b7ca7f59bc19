// Package prompts holds the announcements that are built in, one a language. They
// are synthetic placeholders, made by make.sh: replace them by a studio recording.
//
// It knows nothing of how they are played.
package prompts

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.wav *.txt
var files embed.FS

// Languages are those that there is an announcement in.
func Languages() []string { return []string{"en", "nl"} }

// WAV returns an announcement: a mono PCM16 WAV file of 16 kHz.
func WAV(language string) ([]byte, error) {
	b, err := files.ReadFile("recorded." + language + ".wav")
	if err != nil {
		return nil, fmt.Errorf("no built-in announcement in %q", language)
	}
	return b, nil
}

// Text returns what an announcement says, or "" for none.
func Text(language string) string {
	b, _ := files.ReadFile("recorded." + language + ".txt")
	return strings.TrimSpace(string(b))
}
