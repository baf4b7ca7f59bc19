package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/prompts"
	"github.com/bewaard/bewaard/store"
)

// loaded is a configuration with all that hangs on it.
type loaded struct {
	*config.Config
	prompts call.Prompts
	rules   *policy.Policy
	proof   policy.Proof
	file    string // it was read from; empty for none
}

// load reads a configuration and the files that it names. Every fault comes at once, in the
// order of its lines.
func load(file string, now time.Time) (*loaded, error) {
	cfg, err := config.Load(file)
	if cfg == nil {
		return nil, err
	}
	prompts, promptFaults := loadPrompts(cfg)
	if err := config.Join(err, cfg.CheckFiles(), promptFaults); err != nil {
		return nil, err
	}
	l, err := prove(cfg, prompts, now)
	if err == nil {
		l.file = file
	}
	return l, err
}

// prove makes the rules ready, and looks for calls that they would record and may not.
func prove(cfg *config.Config, prompts call.Prompts, now time.Time) (*loaded, error) {
	l := &loaded{Config: cfg, prompts: prompts}
	var err error
	if l.rules, err = policy.Compile(cfg.Policy); err != nil {
		return nil, err
	}
	if l.proof, err = cfg.Prove(l.rules, now); err != nil {
		return nil, err
	}
	return l, nil
}

// maxPromptBytes is more than a minute at 48 kHz.
const maxPromptBytes = 8 << 20

// loadPrompts reads every announcement in every language. What cannot be played is
// told with its place in the file, all at once.
func loadPrompts(cfg *config.Config) (call.Prompts, error) {
	loaded := call.Prompts{}
	var faults config.Faults
	for _, id := range slices.Sorted(maps.Keys(cfg.Policy.Announcements)) {
		announcement := cfg.Policy.Announcements[id]
		loaded[id] = map[string]call.Prompt{}
		for _, language := range slices.Sorted(maps.Keys(announcement.Files)) {
			p, err := loadPrompt(cfg, id, announcement.Files[language])
			if err == nil {
				err = spoken(p.Duration, announcement.Text[language])
			}
			if err != nil {
				faults = append(faults, cfg.Fault("announcements."+id+".files."+language, err.Error()))
				continue
			}
			loaded[id][language] = call.Prompt{Prompt: p, Text: announcement.Text[language]}
		}
	}
	if faults != nil {
		return nil, faults
	}
	return loaded, nil
}

func loadPrompt(cfg *config.Config, id, name string) (*prompt.Prompt, error) {
	b, err := readPrompt(cfg, name)
	if err != nil {
		return nil, err
	}
	return prompt.Load(id, bytes.NewReader(b))
}

// A prompt shorter than minPrompt says nothing, and nobody speaks faster than that: some 15
// characters a second are usual. What rows say was said would not have been.
const (
	minPrompt     = time.Second
	maxCharacters = 40 // a second
)

// spoken reports a prompt that is too short for what its text has it say.
func spoken(length time.Duration, text string) error {
	switch characters := utf8.RuneCountInString(text); {
	case length < minPrompt:
		return fmt.Errorf("lasts %v: nothing is announced in less than %v", length.Round(time.Millisecond), minPrompt)
	case float64(characters) > maxCharacters*length.Seconds():
		return fmt.Errorf("lasts %v, in which nobody says the %d characters of its text", length.Round(100*time.Millisecond), characters)
	}
	return nil
}

func readPrompt(cfg *config.Config, name string) ([]byte, error) {
	path, builtIn := cfg.PromptFile(name)
	if builtIn != "" {
		return prompts.WAV(builtIn)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPromptBytes))
}

// keepPrompts puts every announcement that was loaded with the store's, for ever: a row
// tells a prompt by its hash.
func keepPrompts(s *store.Store, cfg *config.Config, loaded call.Prompts) error {
	for id, languages := range loaded {
		for language, p := range languages {
			wav, err := readPrompt(cfg, cfg.Policy.Announcements[id].Files[language])
			if err != nil {
				return fmt.Errorf("keep prompt %s: %w", id, err)
			}
			if err := s.KeepPrompt(store.Prompt{SHA256: p.SHA256, ID: id, Language: language, Text: p.Text}, wav); err != nil {
				return err
			}
		}
	}
	return nil
}

// promptsTree is about the announcements that are, or were, in use.
type promptsTree struct {
	List   promptsList   `cmd:"" help:"List every announcement that was ever in use, the first ones first."`
	Show   promptsShow   `cmd:"" help:"Tell what an announcement says, and since when it was in use."`
	Export promptsExport `cmd:"" help:"Copy an announcement's WAV file, as it was played."`
}

type promptsList struct {
	where
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

func (c *promptsList) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	all, err := client.Prompts(ctx)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(os.Stdout, all)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIRST USED\tPROMPT\tLANGUAGE\tSHA-256\tTEXT")
	for _, p := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.12s\t%s\n", instant(p.FirstUsed), p.ID, p.Language, p.SHA256, p.Text)
	}
	return t.Flush()
}

// whichPrompt names one.
type whichPrompt struct {
	where
	SHA256 string `arg:"" name:"sha256" help:"Its SHA-256, as \"recordings show\" tells it, or the first 8 digits or more of it."`
}

type promptsShow struct {
	whichPrompt
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *promptsShow) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	uses, err := client.Prompt(ctx, c.SHA256)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(os.Stdout, uses)
	}
	t := teller{w: os.Stdout}
	t.line("prompt", "SHA-256 %s, %d bytes", uses[0].SHA256, uses[0].Bytes)
	for _, p := range uses {
		t.line("used", "from %s on as %s (%s)", instant(p.FirstUsed), p.ID, p.Language)
		t.line("", "%q", p.Text)
	}
	t.line("audio", "bewaard prompts export %.12s", uses[0].SHA256)
	return t.err
}

type promptsExport struct {
	whichPrompt
	To string `short:"t" type:"path" placeholder:"FILE" help:"Where to; - for the standard output. Default: the id and the language with the beginning of the hash."`
}

func (c *promptsExport) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	file, name, err := client.PromptAudio(ctx, c.SHA256)
	if err != nil {
		return err
	}
	defer file.Close()
	return export(file, c.To, name)
}
