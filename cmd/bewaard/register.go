package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/policy/register"
	"github.com/bewaard/bewaard/sip/trunk"
)

// worded is what register and notice both take.
type worded struct {
	Config   string `short:"c" required:"" type:"path" placeholder:"FILE" help:"The configuration."`
	Language string `enum:"en,nl" default:"en" help:"en or nl."`
}

// registerCommand prints what article 30 asks for.
type registerCommand struct {
	worded
	Output string `short:"o" enum:"text,json" default:"text" help:"text (Markdown) or json."`
}

// notice prints what people are to be told.
type notice struct {
	worded
	For string `enum:"callers,staff" default:"callers" help:"callers (those outside) or staff."`
}

func (c *registerCommand) Run() error {
	return c.write(os.Stdout, os.Stderr, register.Processing, c.Output == "json")
}

func (c *notice) Run() error { return c.write(os.Stdout, os.Stderr, register.Kind(c.For), false) }

// write writes a text to out, and to aside what the configuration leaves open of it.
func (w worded) write(out, aside io.Writer, kind register.Kind, asJSON bool) error {
	cfg, err := config.Load(w.Config)
	if err != nil {
		return err
	}
	rules, err := policy.Compile(cfg.Policy)
	if err != nil {
		return err
	}
	o := cfg.Organisation
	r, err := register.New(rules, register.Controller{Name: o.Name, Contact: o.Contact, DPO: o.DPO, Authority: o.Authority}, measures(cfg), w.Language, time.Now())
	if err != nil {
		return err
	}
	for _, open := range r.Open(kind) {
		fmt.Fprintf(aside, "not in the configuration: %s\n", open)
	}
	if !asJSON {
		return r.Write(out, kind)
	}
	return writeObject(out, r)
}

// measures are the safeguards that a configuration chooses.
func measures(cfg *config.Config) register.Measures {
	m := register.Measures{Sealed: cfg.Keys.Sealed, Timestamps: cfg.Store.TSA}
	for _, name := range slices.Sorted(maps.Keys(cfg.Trunks)) {
		t := cfg.Trunks[name]
		if t.Encrypted() {
			m.Signalling = append(m.Signalling, name)
		}
		if t.SRTP == trunk.Required {
			m.Audio = append(m.Audio, name)
		} else {
			m.PlainAudio = append(m.PlainAudio, name)
		}
	}
	return m
}
