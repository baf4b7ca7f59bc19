package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
)

// reload has the running daemon read its configuration anew.
type reload struct {
	where
}

func (r *reload) Run(ctx context.Context) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	done, err := client.Reload(ctx)
	if err != nil {
		return err
	}
	for _, warning := range done.Warnings {
		fmt.Fprintln(os.Stderr, warning)
	}
	for _, section := range done.Restart {
		fmt.Fprintf(os.Stderr, "%s: changed; it is read at the start only: restart for it\n", section)
	}
	if done.Policy == done.Was {
		fmt.Printf("policy %.12s is as it was, by %s\n", done.Policy, done.File)
		return nil
	}
	fmt.Printf("policy %.12s in place of %.12s, for calls that begin from now on, by %s\nOf the last day, %s", done.Policy, done.Was, done.File, done.Effect)
	return nil
}

// reloader reads the daemon's configuration anew and has new calls begin with its policy. One
// that has a fault changes nothing.
type reloader struct {
	// Immutable after newReloader.
	calls   *call.Manager
	store   *store.Store
	log     *slog.Logger
	reloads *prometheus.CounterVec

	mu      sync.Mutex // one at a time
	current *loaded
}

func newReloader(cfg *loaded, calls *call.Manager, rows *store.Store, log *slog.Logger, registry prometheus.Registerer) *reloader {
	r := &reloader{
		current: cfg, calls: calls, store: rows, log: log,
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bewaard_policy_reloads_total", Help: "Times that the configuration was read anew: loaded, unchanged or refused.",
		}, []string{"result"}),
	}
	for _, result := range []string{"loaded", "unchanged", "refused"} {
		r.reloads.WithLabelValues(result)
	}
	registry.MustRegister(r.reloads)
	return r
}

// purposes are those of the policy that new calls begin with.
func (r *reloader) purposes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.current.Policy.Purposes))
}

// Bounds of what is looked at before a policy is changed.
const (
	lookBack     = 24 * time.Hour
	lookBackRows = 10_000
	lookBackTime = 5 * time.Second
)

// reload reads the file, with its prompts and lists, and changes the policy if all is well. It
// logs what of the last day's calls would have been decided otherwise.
func (r *reloader) reload(ctx context.Context) (api.Reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current.file == "" {
		return api.Reloaded{}, errors.New("the configuration is built in: there is no file to read anew")
	}
	next, err := load(r.current.file, time.Now())
	if err != nil {
		r.reloads.WithLabelValues("refused").Inc()
		faults, ok := errors.AsType[config.Faults](err)
		if !ok {
			r.log.Error("configuration not loaded: the old policy stays", "error", err, "policy", r.current.rules.Version())
		}
		for _, fault := range faults {
			fault.Message = quoted.ReplaceAllStringFunc(fault.Message, policy.Mask)
			r.log.Error("configuration not loaded: the old policy stays", "fault", fault, "policy", r.current.rules.Version())
		}
		return api.Reloaded{}, err
	}
	done := api.Reloaded{File: r.current.file, Policy: next.rules.Version(), Was: r.current.rules.Version(), Restart: r.current.Fixed(next.Config), Warnings: []string{}}
	for _, section := range done.Restart {
		r.log.Warn("configuration changed that is read at the start only: restart for it", "section", section)
	}
	for _, warning := range next.Warnings(next.proof, time.Now()) {
		done.Warnings = append(done.Warnings, warning.Error())
		r.log.Warn("configuration is hardly meant so", "at", warning)
	}
	if err := keepPrompts(r.store, next.Config, next.prompts); err != nil { // what is played can be shown for ever
		r.reloads.WithLabelValues("refused").Inc()
		r.log.Error("configuration not loaded: the old policy stays", "error", err, "policy", done.Was)
		return api.Reloaded{}, err
	}
	if done.Policy == done.Was {
		r.calls.SetRules(next.rules, next.prompts) // a prompt's file may be another one
		r.reloads.WithLabelValues("unchanged").Inc()
		r.log.Info("policy is as it was", "policy", done.Policy)
		return done, nil
	}
	e := r.effect(ctx, next)
	var words strings.Builder
	if err := e.write(&words); err != nil {
		return api.Reloaded{}, err
	}
	done.Effect = words.String()
	r.log.Info("policy changes", "policy", done.Policy, "was", done.Was, "calls", e.Calls, "otherwise", e.Changed, "recorded_was", e.Recorded.Was, "recorded_would_be", e.Recorded.WouldBe)
	for _, c := range e.Changes {
		r.log.Info("policy changes", "calls", c.Calls, "was", c.Was.String(), "would_be", c.WouldBe.String())
	}
	if next.rules.Counts() {
		countRecordings(ctx, r.calls, r.store, next.rules, r.log)
	}
	// The sections that are read at the start only stay as they are, so what is held against
	// next time is what is in force.
	r.current = &loaded{file: r.current.file, Config: r.current.With(next.Config), prompts: next.prompts, rules: next.rules, proof: next.proof}
	r.calls.SetRules(next.rules, next.prompts)
	r.reloads.WithLabelValues("loaded").Inc()
	return done, nil
}

// quoted are numbers that a fault may quote: somebody's, which is not to be in a log.
var quoted = regexp.MustCompile(`\+?\d{6,}`)

// effect is what another policy would have made of the last day's calls, as many as can be
// looked at meanwhile.
func (r *reloader) effect(ctx context.Context, next *loaded) effect {
	ctx, cancel := context.WithTimeout(ctx, lookBackTime)
	defer cancel()
	q := store.Query{From: time.Now().Add(-lookBack), Limit: 1000}
	var rows []store.Row
	for len(rows) < lookBackRows {
		page, after, err := r.store.List(ctx, q)
		if err != nil {
			r.log.Warn("not all of the last day's calls were looked at", "calls", len(rows), "error", err)
			break
		}
		rows = append(rows, page...)
		if q.After = after; after == "" {
			break
		}
	}
	return effectOn(rows, next)
}

// countRecordings tells the calls how many recordings there are of each number of ours this
// month. Without, rules with a ceiling record nothing.
func countRecordings(ctx context.Context, calls *call.Manager, rows *store.Store, rules *policy.Policy, log *slog.Logger) {
	now := time.Now()
	before, needed := calls.Counting(now)
	if !needed {
		return
	}
	counts, sealed := map[string]int{}, 0
	q := store.Query{From: call.MonthOf(now), To: before, Recorded: true, Limit: 1000}
	for {
		page, after, err := rows.List(ctx, q)
		if ctx.Err() != nil {
			return // nobody is there any more
		}
		if err != nil {
			log.Error("recordings of this month not counted: rules with a ceiling record nothing", "error", err)
			return
		}
		for i := range page {
			r := &page[i]
			if r.Sealed {
				sealed++
			}
			if r.Recording != nil && r.Callee != "" {
				counts[rules.Near(policy.Facts{Direction: policy.Direction(r.Direction), Caller: r.Caller, Callee: r.Callee})]++
			}
		}
		if q.After = after; after == "" {
			break
		}
	}
	if sealed > 0 {
		log.Warn("recordings of this month are sealed and not counted: a ceiling begins anew", "recordings", sealed)
	}
	calls.Counted(now, counts)
}

// hangups are the SIGHUPs that come from now on: one that comes before there is a daemon is to
// end nothing, and is one to reload by as soon as there is.
func hangups() chan os.Signal {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return hangup
}

// onHangup reloads at each of them, until what it returns is called.
func (r *reloader) onHangup(ctx context.Context, hangup chan os.Signal) (stop func()) {
	var listening sync.WaitGroup
	listening.Go(func() { // ends with stop
		for range hangup {
			if _, err := r.reload(ctx); err != nil {
				continue // it is logged
			}
		}
	})
	return func() {
		signal.Stop(hangup)
		close(hangup)
		listening.Wait()
	}
}
