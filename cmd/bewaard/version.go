package main

import (
	"fmt"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/bewaard/bewaard/media/opus"
)

// version prints which build this is.
type version struct{}

// versionFlag is the flag for it.
type versionFlag bool

// BeforeReset is kong's: the flag needs no command.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	err := version{}.Run()
	app.Exit(0)
	return err
}

func (version) Run() error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("no build information in this binary")
	}
	revision := "unknown revision"
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	codec := "with Opus"
	if !opus.Available {
		codec = "without Opus: recordings are WAV"
	}
	fmt.Printf("bewaard %s (%s), %s, %s\n", info.Main.Version, revision, info.GoVersion, codec)
	return nil
}
