package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// promptsDirectory holds every announcement that was ever in use, by the hash of its file, so
// that years later it can be heard and read what a party was told. Nothing in it is ever
// swept, and nothing is overwritten:
//
//	prompts/<sha256>.wav      the file
//	prompts/<sha256>.json     what it was used as first
//	prompts/<sha256>.2.json   what else, with another text, language or id
const promptsDirectory = "prompts"

// Prompt is an announcement as it was in use.
type Prompt struct {
	SHA256    string    `json:"sha256"` // of the file, in hex
	Bytes     int64     `json:"bytes"`
	ID        string    `json:"id"`
	Language  string    `json:"language"`
	Text      string    `json:"text"` // what it says, as the configuration has it
	FirstUsed time.Time `json:"first_used"`
}

// same reports whether another prompt says the same in the same place.
func (p Prompt) same(o Prompt) bool {
	return p.SHA256 == o.SHA256 && p.ID == o.ID && p.Language == o.Language && p.Text == o.Text
}

// KeepPrompt keeps an announcement that is in use from now on, unless it is kept already.
// Its hash must be that of the file. Bytes, and FirstUsed where it is zero, are filled in.
func (s *Store) KeepPrompt(p Prompt, wav []byte) error {
	if got := hashOf(wav); p.SHA256 != got {
		return fmt.Errorf("keep prompt %s: its file is another than %s: %s", p.ID, p.SHA256, got)
	}
	p.Bytes = int64(len(wav))
	if p.FirstUsed.IsZero() {
		p.FirstUsed = time.Now()
	}
	p.FirstUsed = p.FirstUsed.UTC()
	if err := s.keepPrompt(p, wav); err != nil {
		return fmt.Errorf("keep prompt %s: %w", p.ID, err)
	}
	return nil
}

func (s *Store) keepPrompt(p Prompt, wav []byte) error {
	if err := s.disk.MkdirAll(promptsDirectory, 0o700); err != nil {
		return err
	}
	audio := path.Join(promptsDirectory, p.SHA256+".wav")
	kept, err := s.disk.ReadFile(audio)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = s.disk.WriteWhole(audio, wav)
	case err == nil && hashOf(kept) != p.SHA256:
		s.log.Warn("kept prompt was damaged, and is written anew", "file", audio)
		err = s.disk.WriteWhole(audio, wav)
	}
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		name := promptUse(p.SHA256, n)
		use, err := s.readPrompt(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			content, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				return err
			}
			return s.disk.WriteWhole(name, append(content, '\n'))
		case err != nil:
			return err
		case use.same(p):
			return nil
		}
	}
}

func promptUse(hash string, n int) string {
	if n == 1 {
		return path.Join(promptsDirectory, hash+".json")
	}
	return path.Join(promptsDirectory, fmt.Sprintf("%s.%d.json", hash, n))
}

func (s *Store) readPrompt(name string) (p Prompt, err error) {
	content, err := s.disk.ReadFile(name)
	if err == nil {
		if err = json.Unmarshal(content, &p); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	return p, err
}

// Prompts returns all that were ever in use, the first ones first. One that was used with
// several texts is there once for each.
func (s *Store) Prompts() ([]Prompt, error) { return s.promptsWith("") }

// promptsWith returns those whose hash begins so.
func (s *Store) promptsWith(prefix string) (prompts []Prompt, err error) {
	names, err := fs.Glob(s.disk.FS(), promptsDirectory+"/*.json")
	if err != nil {
		return nil, fmt.Errorf("list prompts: %w", err)
	}
	for _, name := range names {
		if !strings.HasPrefix(path.Base(name), prefix) {
			continue
		}
		p, err := s.readPrompt(name)
		if err != nil {
			return nil, fmt.Errorf("list prompts: %w", err)
		}
		prompts = append(prompts, p)
	}
	slices.SortStableFunc(prompts, func(a, b Prompt) int {
		return cmp.Or(a.FirstUsed.Compare(b.FirstUsed), cmp.Compare(a.SHA256, b.SHA256))
	})
	return prompts, nil
}

// minPrefix is how much of a hash tells a prompt from any other.
const minPrefix = 8

// ErrPrompt is wrapped where no prompt, or more than one, has the hash.
var ErrPrompt = errors.New("no such prompt")

// Prompt returns what a prompt was used as, the first use first. The beginning of the hash, 8
// digits or more, does for it.
func (s *Store) Prompt(hash string) ([]Prompt, error) {
	hash = strings.ToLower(hash)
	if len(hash) < minPrefix || strings.Trim(hash, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("%w: %q is not a SHA-256, nor 8 digits or more of one", ErrPrompt, hash)
	}
	prompts, err := s.promptsWith(hash)
	if err != nil {
		return nil, err
	}
	if len(prompts) == 0 {
		return nil, fmt.Errorf("%w: none has the SHA-256 %s", ErrPrompt, hash)
	}
	if slices.ContainsFunc(prompts, func(p Prompt) bool { return p.SHA256 != prompts[0].SHA256 }) {
		return nil, fmt.Errorf("%w: more than one begins with %s", ErrPrompt, hash)
	}
	return prompts, nil
}

// PromptAudio returns a prompt's file. One that is not what its hash says any more is an error.
func (s *Store) PromptAudio(p Prompt) ([]byte, error) {
	content, err := s.disk.ReadFile(path.Join(promptsDirectory, path.Base(p.SHA256)+".wav"))
	if err == nil && hashOf(content) != p.SHA256 {
		err = errors.New("the file is damaged: its hash is another")
	}
	if err != nil {
		return nil, fmt.Errorf("read prompt %s: %w", p.SHA256, err)
	}
	return content, nil
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
