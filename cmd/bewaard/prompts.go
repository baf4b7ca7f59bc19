package main

import (
	"bytes"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/media/prompt"
	"github.com/bewaard/bewaard/prompts"
)

// load reads a configuration and the files that it names. Every fault comes at once, in the
// order of its lines.
func load(file string) (*config.Config, call.Prompts, error) {
	cfg, err := config.Load(file)
	if cfg == nil {
		return nil, nil, err
	}
	prompts, promptFaults := loadPrompts(cfg)
	if err := config.Join(err, cfg.CheckFiles(), promptFaults); err != nil {
		return nil, nil, err
	}
	return cfg, prompts, nil
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
	path, builtIn := cfg.PromptFile(name)
	if builtIn != "" {
		b, err := prompts.WAV(builtIn)
		if err != nil {
			return nil, err
		}
		return prompt.Load(id, bytes.NewReader(b))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return prompt.Load(id, io.LimitReader(f, maxPromptBytes))
}
