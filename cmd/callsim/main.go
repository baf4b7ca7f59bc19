// Command callsim plays the parties at bewaard's two sides: it answers calls or places
// them, says something in A-law, and writes what it hears to a WAV file.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/bewaard/bewaard/cmd/callsim/sim"
	"github.com/bewaard/bewaard/media/wav"
)

type commands struct {
	Answer answer `cmd:"" help:"Answer every call that comes in, until interrupted."`
	Call   call   `cmd:"" help:"Place one call."`
	Find   find   `cmd:"" help:"Say whether a prompt is whole in what was heard, and where."`
}

// phone is what both do.
type phone struct {
	Listen string `default:"127.0.0.1:0" help:"Where SIP is spoken, over UDP."`
	Voice  string `default:"babble:120" help:"What is said: tone:HZ, babble:HZ or silence."`
	Heard  string `type:"path" placeholder:"DIR" help:"Where to write what this phone hears, a WAV file a call; made if it is not there."`
	Codec  string `default:"PCMA" help:"What is spoken: PCMA, PCMU, G722, L16 or OPUS."`

	NoEvents bool `help:"Know no telephone-events (RFC 4733), as trunks do where keys are tones."`

	Do []string `placeholder:"WHEN:WHAT" sep:"none" help:"What the user does in each call, one after the other. When is a time since audio could be sent, or heard=PACKETS. What is press=KEYS (RFC 4733), info=KEYS, tone=KEYS (in the audio), refer=NUMBER@HOST (HOST is the daemon, or a peer of the trunk by which to call), hold, resume or hangup. As 1.5s:press=9."`
}

func (p phone) config() (cfg sim.Config, err error) {
	if cfg.Listen, err = netip.ParseAddrPort(p.Listen); err != nil {
		return cfg, fmt.Errorf("--listen is address:port, such as 127.0.0.1:5060: got %q", p.Listen)
	}
	if p.Heard != "" { // before the call, which cannot be heard again
		if err := os.MkdirAll(p.Heard, 0o755); err != nil {
			return cfg, fmt.Errorf("--heard: %w", err)
		}
	}
	cfg.Codec, cfg.NoEvents = p.Codec, p.NoEvents
	for _, text := range p.Do {
		act, err := sim.ParseAct(text)
		if err != nil {
			return cfg, fmt.Errorf("--do: %w", err)
		}
		cfg.Acts = append(cfg.Acts, act)
	}
	kind, number, _ := strings.Cut(p.Voice, ":")
	hz, err := strconv.ParseFloat(number, 64)
	switch {
	case p.Voice == "silence":
		return cfg, nil
	case err != nil || hz <= 0 || hz >= 4000:
		return cfg, fmt.Errorf("--voice: %q is not tone:HZ, babble:HZ or silence", p.Voice)
	case kind == "tone":
		cfg.Voice = sim.Tone(hz)
	case kind == "babble":
		cfg.Voice = sim.Babble(hz)
	default:
		return cfg, fmt.Errorf("--voice: %q is not tone:HZ, babble:HZ or silence", p.Voice)
	}
	return cfg, nil
}

// keep writes what a line heard: the party at this phone, from the other one.
func (p phone) keep(name string, l *sim.Line) error {
	fmt.Printf("%s: this phone heard %d packets\n", name, l.Packets())
	if p.Heard == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(p.Heard, name+".wav"))
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := wav.NewWriter(f, 8000, 1)
	if err != nil {
		return err
	}
	if err := w.Write(l.Heard()); err != nil {
		return err
	}
	return w.Close()
}

type answer struct {
	phone
	Ring   time.Duration `default:"500ms" help:"How long it rings."`
	Reject int           `help:"Answer with that status instead, such as 486."`
	Early  bool          `help:"Send audio while it rings, as carriers do."`
	Calls  int           `help:"End after so many calls that were answered. Default: only when interrupted."`
}

func (a *answer) Run(ctx context.Context) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	cfg.Ring, cfg.Reject, cfg.Early = a.Ring, a.Reject, a.Early
	p, err := sim.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	fmt.Printf("answering on %v\n", p.Addr())
	for n := 1; ; n++ {
		select {
		case l := <-p.Lines():
			<-l.Over()
			if err := a.keep(fmt.Sprintf("answered-%03d", n), l); err != nil {
				return err
			}
			if n == a.Calls {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

type call struct {
	phone
	Peer string        `arg:"" help:"Who is called, address:port."`
	To   string        `arg:"" help:"The number called."`
	From string        `default:"+31612345678" help:"The number of the caller."`
	Talk time.Duration `default:"5s" help:"How long the parties speak."`

	NoEarly bool `help:"Take no early media: nothing is heard before the call is answered."`
}

func (c *call) Run(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if cfg.Peer, err = netip.ParseAddrPort(c.Peer); err != nil {
		return fmt.Errorf("PEER is address:port, such as 127.0.0.1:5060: got %q", c.Peer)
	}
	cfg.NoEarly = c.NoEarly
	p, err := sim.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := p.Call(ctx, c.From, c.To)
	if err != nil {
		return err
	}
	fmt.Println("connected")
	select {
	case <-time.After(c.Talk):
	case <-l.Over():
		fmt.Println("the other side hung up")
	case <-ctx.Done():
	}
	l.Hangup()
	return c.keep("called", l)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "callsim: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var cli commands
	parser := kong.Must(&cli, kong.Name("callsim"), kong.Description("Phones for trying bewaard, at both its sides."), kong.BindTo(ctx, (*context.Context)(nil)))
	k, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w; see callsim --help", err)
	}
	return k.Run()
}
