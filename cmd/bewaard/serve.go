package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bewaard/bewaard/store/seal"
)

// serve runs the daemon.
type serve struct {
	Config string        `short:"c" required:"" type:"path" placeholder:"FILE" help:"The configuration, such as /etc/bewaard/bewaard.yaml."`
	Drain  time.Duration `default:"5m" help:"How long calls that are up may go on after SIGTERM; a second SIGTERM ends them at once."`
}

func (s *serve) Run(ctx context.Context) error {
	cfg, err := load(s.Config, time.Now())
	if err != nil {
		return err
	}
	log := cfg.Log.Logger(os.Stderr)
	slog.SetDefault(log)
	hangup := hangups()
	d, err := start(ctx, cfg, log)
	if err != nil {
		return err
	}
	stopListening := d.reloader.onHangup(ctx, hangup)
	defer stopListening()
	<-ctx.Done()
	log.Info("draining", "calls", d.calls.Active(), "at_most", s.Drain.String())
	drain, cancel := context.WithTimeout(context.Background(), s.Drain)
	defer cancel()
	drain, stop := signal.NotifyContext(drain, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = d.close(drain)
	log.Info("stopped")
	return err
}

// check reads a configuration as serve would.
type check struct {
	Config  string `short:"c" required:"" type:"path" placeholder:"FILE" help:"The configuration to check."`
	Verbose bool   `short:"v" help:"Show of every rule a call that comes to it, and what may become of that."`
}

func (c *check) Run() error {
	now := time.Now()
	cfg, err := load(c.Config, now)
	if err != nil {
		return err
	}
	if mode, exposed := cfg.Store.Exposed(); exposed {
		fmt.Fprintln(os.Stderr, cfg.Fault("store.directory", fmt.Sprintf("warning: store directory is open to others (%04o): chmod 700", mode)))
	}
	for _, warning := range cfg.Warnings(cfg.proof, now) {
		fmt.Fprintln(os.Stderr, warning)
	}
	if c.Verbose {
		tellPaths(os.Stdout, cfg.proof.Paths)
	}
	fmt.Printf("%s: good: %s, %s, %s\n", c.Config, count(len(cfg.Trunks), "trunk"), count(len(cfg.Policy.Purposes), "purpose"), count(len(cfg.Policy.Rules), "rule"))
	if cfg.Keys.Own() {
		fmt.Printf("keys: none are named: the master identity is %s, beside what it opens; bewaard help keys says how to move it\n", seal.MasterPath(cfg.Store.KeysDirectory()))
	}
	return nil
}
