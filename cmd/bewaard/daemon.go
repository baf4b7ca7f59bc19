package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/media/spool"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
)

// daemon is what serve runs. start builds it from the store up; close takes it down
// from the sockets on.
type daemon struct {
	log      *slog.Logger
	store    *store.Store
	keeper   *call.Keeper
	engine   *media.Engine
	calls    *call.Manager
	reloader *reloader
	api      *api.Server
	sweeping sync.WaitGroup
	closers  []func(context.Context) error
}

func start(ctx context.Context, cfg *loaded, log *slog.Logger) (d *daemon, err error) {
	d = &daemon{log: log}
	defer func() {
		if err != nil {
			err = config.Join(err, d.close(ctx))
		}
	}()
	if err := cfg.Try(ctx); err != nil { // before there is a store
		return d, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if d.store, err = store.Open(cfg.Store, registry, log); err != nil {
		return d, err
	}
	d.closeLater(func(context.Context) error { return d.store.Close() })
	if mode, exposed := cfg.Store.Exposed(); exposed {
		log.Warn("store directory is open to others: chmod 700", "directory", d.store.Directory(), "mode", fmt.Sprintf("%04o", mode))
	}
	if err := keepPrompts(d.store, cfg.Config, cfg.prompts); err != nil {
		return d, err
	}
	for _, warning := range cfg.Warnings(cfg.proof, time.Now()) {
		log.Warn("configuration is hardly meant so", "at", warning)
	}
	if err := d.recover(ctx); err != nil {
		return d, err
	}
	metrics := call.NewMetrics(registry)
	if d.keeper, err = call.NewKeeper(cfg.Recording, d.store, metrics, log, registry); err != nil {
		return d, err
	}
	d.closeLater(func(context.Context) error { return d.keeper.Close() })
	d.resume()
	if d.engine, err = media.New(cfg.Media, registry); err != nil {
		return d, err
	}
	d.closeLater(func(context.Context) error { return d.engine.Close() })
	d.share()
	sweeper := d.sweep(cfg.Store)
	d.calls = call.New(call.Config{Trunks: cfg.Trunks, SIP: cfg.SIP}, call.Parts{
		Policy: cfg.rules, Prompts: cfg.prompts, Media: call.Engine(d.engine), Recorder: d.keeper, Rows: d.store,
		Metrics: metrics, Log: log, Registry: registry,
	})
	d.reloader = newReloader(cfg, d.calls, d.store, log, registry)
	if cfg.rules.Counts() {
		d.count(cfg.rules, log)
	}
	d.api, err = api.New(cfg.HTTP, api.Parts{
		Store: d.store, Sweeper: sweeper, Gatherer: registry, Ready: d.ready,
		Number: func(text string) (string, error) { return d.calls.Policy().Sought(text) }, Steer: d.steer, Select: d.selectFor, Withdraw: d.withdraw,
		Purposes: d.reloader.purposes, Reload: d.reloader.reload, Log: log,
	})
	if err != nil {
		return d, err
	}
	d.api.Serve()
	d.closeLater(d.api.Close)
	if err := d.calls.Start(ctx); err != nil {
		return d, err
	}
	d.closeLater(d.calls.Close)
	log.Info("serving", "sip", fmt.Sprint(d.calls.Addrs()), "http", d.api.Addr().String(), "store", d.store.Directory(), "policy", cfg.rules.Version())
	return d, nil
}

// gcPercent lets the heap grow to three times what is in use before it is collected: at
// hundreds of calls a second the collector else takes every seventh cycle, most of it for
// transactions that have to be remembered for half a minute (RFC 6026).
const gcPercent = 200

// countPatience is how long a start waits until this month's recordings are counted: rules
// with a ceiling record nothing before.
const countPatience = time.Second

// count counts this month's recordings, until its closer.
func (d *daemon) count(rules *policy.Policy, log *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	counted := make(chan struct{})
	go func() { // ends with its closer
		defer close(counted)
		countRecordings(ctx, d.calls, d.store, rules, log)
	}()
	d.closeLater(func(context.Context) error { stop(); <-counted; return nil })
	patience := time.NewTimer(countPatience)
	defer patience.Stop()
	select {
	case <-counted:
	case <-patience.C:
		log.Warn("this month's recordings are still being counted: rules with a ceiling record nothing until then")
	}
}

// share divides the machine: the event loops get processors of the Go runtime beside those
// that all else has. What GOGC says goes.
func (d *daemon) share() {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + d.engine.Threads())
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

func (d *daemon) closeLater(f func(context.Context) error) { d.closers = append(d.closers, f) }

// close ends what start began, the last first. Calls may go on until the context ends.
func (d *daemon) close(ctx context.Context) error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i](ctx))
	}
	return errors.Join(errs...)
}

func (d *daemon) ready() error {
	if !d.calls.Ready() {
		return errors.New("draining: no new calls are taken")
	}
	return nil
}

// recover ends what an earlier run was at, and removes spools of recordings that are kept. All
// files and rows the custodian holds against each other, while calls are taken.
func (d *daemon) recover(ctx context.Context) error {
	report, err := d.store.Recover(ctx)
	if err != nil {
		return err
	}
	report.Log(d.log)
	for _, name := range report.SpoolsLeft {
		if id, ok := spool.ID(name); ok {
			if err := d.store.RemoveSpool(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// resume finishes what an earlier run left. What cannot be finished is logged and
// stands in its row: it keeps nobody from calling.
func (d *daemon) resume() {
	queued, err := d.keeper.Resume()
	if err != nil {
		d.log.Error("left from an earlier run", "error", err)
	}
	if queued > 0 {
		d.log.Info("recordings left from an earlier run are finalized", "recordings", queued)
	}
}

// sweep destroys what has expired, from now until its closer.
func (d *daemon) sweep(cfg store.Config) *store.Sweeper {
	ctx, stop := context.WithCancel(context.Background())
	sweeper := store.NewSweeper(d.store, cfg.Sweep)
	d.sweeping.Go(func() { sweeper.Run(ctx) })                     // ends with its closer
	d.sweeping.Go(func() { store.NewCustodian(d.store).Run(ctx) }) // the same
	d.closeLater(func(context.Context) error { stop(); d.sweeping.Wait(); return nil })
	return sweeper
}
