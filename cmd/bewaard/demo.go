package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/media/opus"
	"github.com/bewaard/bewaard/prompts"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
)

// demo runs the daemon on loopback between two scripted phones and shows what it does.
type demo struct {
	Keep      bool   `help:"Leave the daemon up afterwards, until interrupted."`
	Directory string `type:"path" placeholder:"DIR" help:"Where recordings and rows go; must not exist. Default: a new directory for temporary files."`
	Output    string `short:"o" enum:"text,json" default:"text" help:"text, or json for an object a call and nothing else."`
}

//go:embed demo.yaml
var demoConfig string

// talking is how long the parties of a demo call speak, in packets of 20 ms.
const talking = 100

// scene is one of the demo's calls.
type scene struct {
	title  string
	out    bool // from the PBX
	caller string
	callee string
	while  string // what happens until both are connected
}

var scenes = []scene{
	{"inbound, recorded", false, "+31612345678", "+31205550100",
		"the caller hears the announcement in early media; the PBX does not ring yet"},
	{"outbound, recorded", true, "+31205550100", "+31301234567",
		"the callee answers and hears the announcement; then he is connected"},
	{"inbound, to a line that no rule records", false, "+31612345678", "+31205550199",
		"the PBX rings at once; nothing is announced"},
	{"inbound, recorded for seconds only", false, "+31612345678", "+31205550123",
		"the caller hears the announcement in early media"},
}

func (d *demo) Run(ctx context.Context) error {
	s, err := d.set(ctx)
	if err != nil {
		return err
	}
	err = s.play(ctx)
	if err == nil && d.Keep {
		s.say("\nThe daemon stays up: SIP on %v, http://%v/metrics.\nAsk it:  bewaard recordings list --store %s\nStop it: Ctrl-C\n", s.daemon.calls.Addrs()[0], s.daemon.api.Addr(), s.directory)
		<-ctx.Done()
	}
	if closed := s.close(); err == nil {
		err = closed
	}
	return err
}

// stage is a running daemon with a PBX and a carrier.
type stage struct {
	directory    string
	json         bool
	daemon       *daemon
	pbx, carrier *sim.Phone
	shown        map[string]bool // rows that were told of
}

func (d *demo) set(ctx context.Context) (s *stage, err error) {
	s = &stage{directory: d.Directory, json: d.Output == "json", shown: map[string]bool{}}
	if s.directory == "" {
		if s.directory, err = os.MkdirTemp("", "bewaard-demo-"); err != nil {
			return nil, err
		}
	} else if err := os.Mkdir(s.directory, 0o700); err != nil {
		return nil, err
	}
	anywhere := netip.MustParseAddrPort("127.0.0.1:0")
	if s.pbx, err = sim.New(ctx, sim.Config{Listen: anywhere, Voice: sim.Babble(120), Ring: 300 * time.Millisecond}); err != nil {
		return nil, err
	}
	if s.carrier, err = sim.New(ctx, sim.Config{Listen: anywhere, Voice: sim.Babble(210), Ring: 300 * time.Millisecond, Early: true}); err != nil {
		return nil, err
	}
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	prompts, err := loadPrompts(cfg)
	if err != nil {
		return nil, err
	}
	l, err := prove(cfg, prompts, time.Now())
	if err != nil {
		return nil, err
	}
	if s.daemon, err = start(ctx, l, cfg.Log.Logger(os.Stderr)); err != nil {
		return nil, err
	}
	us := s.daemon.calls.Addrs()[0].Addr
	s.pbx.SetPeer(us)
	s.carrier.SetPeer(us)
	return s, nil
}

func (s *stage) config() (*config.Config, error) {
	texts := map[string]string{}
	for _, language := range prompts.Languages() {
		texts[language] = prompts.Text(language)
	}
	inline, err := json.Marshal(texts) // JSON is YAML
	if err != nil {
		return nil, err
	}
	formats := "opus, wav"
	if !opus.Available {
		formats = "wav"
	}
	var text bytes.Buffer
	err = template.Must(template.New("demo").Parse(demoConfig)).Execute(&text, map[string]string{
		"PBX": s.pbx.Addr().String(), "Carrier": s.carrier.Addr().String(), "Texts": string(inline),
		"Weighed": time.Now().UTC().AddDate(0, -1, 0).Format(time.DateOnly), "Review": time.Now().UTC().AddDate(1, 0, 0).Format(time.DateOnly),
		"Formats": formats, "Directory": strconv.Quote(s.directory),
	})
	if err != nil {
		return nil, err
	}
	return config.Parse("demo.yaml", text.Bytes())
}

// close ends the calls and the daemon.
func (s *stage) close() error {
	s.pbx.Close()
	s.carrier.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.daemon.close(ctx)
}

// say tells of what happens, unless the output is JSON.
func (s *stage) say(format string, args ...any) {
	if !s.json {
		fmt.Printf(format, args...)
	}
}

func (s *stage) play(ctx context.Context) error {
	s.say("bewaard between a PBX (%v) and a carrier (%v), store %s\n", s.pbx.Addr(), s.carrier.Addr(), s.directory)
	if !opus.Available {
		s.say("This build has no Opus: recordings are WAV only.\n")
	}
	var rows []store.Row
	for i, sc := range scenes {
		row, err := s.call(ctx, i+1, sc)
		if err != nil {
			return fmt.Errorf("call %d (%s): %w", i+1, sc.title, err)
		}
		if row.Purpose == "shown" {
			s.table(append(rows, row))
			return s.watch(ctx, row)
		}
		rows = append(rows, row)
		s.object(row, false)
	}
	return nil
}

// call places one call, lets both speak, hangs up and waits for the row.
func (s *stage) call(ctx context.Context, n int, sc scene) (store.Row, error) {
	from, to, who := s.carrier, s.pbx, "carrier"
	if sc.out {
		from, to, who = s.pbx, s.carrier, "PBX"
	}
	s.say("\n%d. %s\n   %s calls, %s → %s\n   %s …\n", n, sc.title, who, sc.caller, sc.callee, sc.while)
	setup, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	near, err := from.Call(setup, sc.caller, sc.callee)
	if err != nil {
		return store.Row{}, err
	}
	var far *sim.Line
	select {
	case far = <-to.Lines():
	case <-setup.Done():
		return store.Row{}, setup.Err()
	}
	s.say("   connected; both speak …\n")
	nearEnd, farEnd := near.Packets()+talking, far.Packets()+talking
	if err := errors.Join(near.Wait(setup, nearEnd), far.Wait(setup, farEnd)); err != nil {
		return store.Row{}, err
	}
	near.Hangup()
	row, err := s.finished(setup)
	if err != nil {
		return row, err
	}
	if a := row.Announcement; a != nil {
		s.say("   announced to the %s: %q, %d of %d packets (%s)\n", a.Leg, a.Text, a.Packets, a.Total, a.Level)
	}
	if row.Recording == nil {
		s.say("   hung up; not recorded (%s: %s)\n", row.Reason, row.Rule)
		return row, nil
	}
	s.say("   hung up; recorded %s s for %s until %s\n", seconds(row.Recording.ExpectedSeconds), row.Purpose, instant(row.Expires))
	return row, nil
}

// finished waits for the row of the call that was just made to come to rest.
func (s *stage) finished(ctx context.Context) (store.Row, error) {
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		rows, _, err := s.daemon.store.List(ctx, store.Query{Limit: 1})
		if err != nil {
			return store.Row{}, err
		}
		if len(rows) == 1 && !s.shown[rows[0].ID] {
			switch rows[0].State {
			case store.StateCalling, store.StateRecording, store.StateFinalizing:
			case store.StateFailed:
				return rows[0], fmt.Errorf("recording failed: %s", rows[0].Reason)
			default:
				s.shown[rows[0].ID] = true
				return rows[0], nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return store.Row{}, fmt.Errorf("wait for the recording: %w", ctx.Err())
		}
	}
}

// table shows the rows and where their files are.
func (s *stage) table(rows []store.Row) {
	if s.json {
		return
	}
	fmt.Println("\nThe rows:")
	writeRows(os.Stdout, "table", rows)
	fmt.Println("\nThe files (left: the carrier's party, right: the PBX's):")
	for _, r := range rows {
		for _, f := range r.Files {
			fmt.Printf("  %-4s %5s s  %s\n", f.Format, seconds(f.Seconds), filepath.Join(s.directory, f.Path))
		}
	}
	s.opening(rows)
}

// opening tells how a file is opened without us.
func (s *stage) opening(rows []store.Row) {
	for _, r := range rows {
		for _, f := range r.Files {
			fmt.Printf("\nThey are sealed to the day on which they expire. To hear one, with age (bewaard recordings export does it where a daemon runs):\n"+
				"  age -d -i %s/master.key %s/epochs/%s.age >day.key\n  age -d -i day.key %s >heard.%s\n",
				s.daemon.store.Keys().Directory(), s.daemon.store.Keys().Directory(), f.Epoch, filepath.Join(s.directory, f.Path), f.Format)
			return
		}
	}
}

// watch waits until the sweeper has destroyed a recording.
func (s *stage) watch(ctx context.Context, row store.Row) error {
	s.say("\nThe last one expires at %s …\n", row.Expires.Format(time.RFC3339Nano))
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		now, err := s.daemon.store.Get(row.ID)
		if err != nil {
			return err
		}
		if now.State == store.StateDestroyed {
			for _, f := range row.Files {
				if _, err := os.Stat(filepath.Join(s.directory, f.Path)); !os.IsNotExist(err) {
					return fmt.Errorf("%s is still there (%v)", f.Path, err)
				}
				s.say("  gone: %s\n", filepath.Join(s.directory, f.Path))
			}
			s.say("  destroyed at %s; its row knows no number any more:\n", instant(now.Destroyed))
			if !s.json {
				writeRows(os.Stdout, "table", []store.Row{now})
			}
			s.object(row, true)
			if err := s.audit(ctx, row.ID); err != nil {
				return err
			}
			s.say("\nThe other recordings stay in %s.\n", s.directory)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the sweep of %s, which is %s: %w", row.ID, now.State, ctx.Err())
		}
	}
}

// audit shows what proves that a recording is gone, and looks at all of it as an auditor
// would: at a snapshot, and the files.
func (s *stage) audit(ctx context.Context, id string) error {
	entries, _, err := s.daemon.store.Journal(ctx, store.JournalQuery{Object: id})
	if err != nil {
		return err
	}
	s.say("\nThe journal has of it:\n")
	if !s.json {
		if err := writeEntries(os.Stdout, "table", entries); err != nil {
			return err
		}
	}
	signed, err := s.daemon.store.Certificate(id)
	if err != nil {
		return err
	}
	key := s.daemon.store.PublicKey()
	c, err := certificate.Verify(signed, key)
	if err != nil {
		return err
	}
	s.say("Its certificate says that it was destroyed on %s, signed with the key %.16s….\n", instant(c.Destroyed), key)

	name := filepath.Join(s.directory, "audit.db")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	by := store.Act{Actor: "the demo", Reason: "to be audited"}
	err = s.daemon.store.Snapshot(by, func(journal.Head, int64) io.Writer { return file })
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	v, err := store.Verify(ctx, store.VerifyConfig{Snapshot: name, Blobs: s.directory, Keys: []certificate.Key{key}}, func(f store.Finding) { s.say("  %s\n", f) })
	if err != nil {
		return err
	}
	s.say("\nAn auditor, with a snapshot (%s), the files and the key:\n  %s of the journal, %s, %s, %s; %s\n",
		name, count(v.Entries, "entry"), count(v.Certificates, "certificate"), count(v.Rows, "row"), count(v.Files, "file"), count(v.Findings, "finding"))
	if v.Findings > 0 {
		return fmt.Errorf("%d findings in %s", v.Findings, name)
	}
	return nil
}

// object writes a call as JSON, if that is the output.
func (s *stage) object(r store.Row, swept bool) {
	if !s.json {
		return
	}
	type announced struct {
		Prompt   string `json:"prompt"`
		Packets  int    `json:"packets"`
		Complete bool   `json:"complete"`
	}
	type file struct {
		Path    string  `json:"path"`
		Format  string  `json:"format"`
		Seconds float64 `json:"seconds"`
		SHA256  string  `json:"sha256"`
	}
	o := struct {
		ID           string     `json:"id"`
		Direction    string     `json:"direction"`
		Outcome      string     `json:"outcome"`
		Purpose      string     `json:"purpose"`
		Basis        string     `json:"basis"`
		Expires      time.Time  `json:"expires"`
		Announcement *announced `json:"announcement"`
		Files        []file     `json:"files"`
		Swept        bool       `json:"swept,omitempty"`
	}{ID: r.ID, Direction: r.Direction, Outcome: r.Outcome, Purpose: r.Purpose, Basis: r.Basis, Expires: r.Expires, Files: []file{}, Swept: swept}
	if a := r.Announcement; a != nil {
		o.Announcement = &announced{a.Prompt, a.Packets, a.Complete}
	}
	for _, f := range r.Files {
		o.Files = append(o.Files, file{filepath.Join(s.directory, f.Path), f.Format, f.Seconds, f.SHA256})
	}
	json.NewEncoder(os.Stdout).Encode(o)
}
