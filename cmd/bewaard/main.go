// Command bewaard records calls that may be recorded, and destroys the recordings
// when their time is over. This package turns flags and a file into a running daemon
// and an exit status; everything else is in the packages it connects.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/config"
)

// commands is the command line.
type commands struct {
	Serve      serve           `cmd:"" help:"Take calls until told to stop."`
	Check      check           `cmd:"" help:"Check a configuration and say what is wrong with it."`
	Demo       demo            `cmd:"" help:"Show the whole life of recordings on this machine, in half a minute."`
	Policy     policyTree      `cmd:"" help:"Ask what the rules would do."`
	Register   registerCommand `cmd:"" help:"Print the register of processing (AVG/GDPR article 30) that a configuration comes to."`
	Notice     notice          `cmd:"" help:"Print what callers, or our own staff, are to be told beforehand (article 13), for a privacy statement."`
	Calls      calls           `cmd:"" help:"List calls, the newest first."`
	Recordings recordings      `cmd:"" help:"List, show and export recordings."`
	Prompts    promptsTree     `cmd:"" help:"Show and export announcements, those of years ago, too."`
	Reload     reload          `cmd:"" help:"Have the daemon read its configuration anew, for calls that begin from then on."`
	Sweep      sweep           `cmd:"" help:"Destroy what has expired now, or tell what would go."`
	LegalHold  legalHold       `cmd:"" help:"Keep calls from being destroyed, and let them go again."`
	Journal    journalCommand  `cmd:"" help:"List who did what to recordings, and why."`
	Snapshot   snapshot        `cmd:"" help:"Copy the database while calls go on, for an audit or a backup."`
	Compact    compact         `cmd:"" help:"Write the database anew while calls go on, and overwrite the old one."`
	Verify     verify          `cmd:"" help:"Check a snapshot: journal, certificates, rows and files; without a daemon."`
	Keys       keys            `cmd:"" help:"Make, list, rotate and check what recordings and numbers are sealed with; print the node's public key."`
	Version    version         `cmd:"" help:"Print the version."`
	Help       help            `cmd:"" help:"Say what a command does and takes."`

	PrintVersion versionFlag `name:"version" help:"Print the version."`
}

const description = `A SIP back-to-back user agent between a PBX and a carrier that tells the far party
before it records, keeps every recording no longer than its purpose needs, and can prove both.

Exit status: 0, it is done; 1, it is not, and standard error says why; 2, the command line is wrong.`

// Exit statuses, as the description has them.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	var cli commands
	parser := kong.Must(&cli, kong.Name("bewaard"), kong.Description(description), kong.Vars(words()),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.BindTo(ctx, (*context.Context)(nil)))
	k, err := parser.Parse(asked(args))
	if err == nil {
		err = empty(args)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bewaard: %v\n", misused(err))
		return exitUsage
	}
	err = k.Run()
	switch _, faults := errors.AsType[config.Faults](err); {
	case err == nil:
		return 0
	case faults: // each of its lines begins with the file's name
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	case errors.Is(err, api.ErrNoDaemon):
		err = fmt.Errorf("%w (-c FILE or --store DIR names another store)", err)
	}
	fmt.Fprintf(os.Stderr, "bewaard: %v\n", err)
	return exitFailed
}

// asked makes of "help calls" what it stands for.
func asked(args []string) []string {
	if len(args) > 0 && args[0] == "help" {
		return append(slices.Clone(args[1:]), "--help")
	}
	return args
}

// empty reports an argument that is empty: a shell's variable that was not set would ask for
// everybody's calls, or have nothing looked at.
func empty(args []string) error {
	for i, arg := range args {
		flag, value, given := strings.Cut(arg, "=")
		switch {
		case given && value == "" && strings.HasPrefix(flag, "-"):
			return fmt.Errorf("%s: it is empty", flag)
		case arg == "" && i > 0 && strings.HasPrefix(args[i-1], "-"):
			return fmt.Errorf("%s: it is empty", args[i-1])
		case arg == "":
			return errors.New("an argument is empty: a variable of the shell that is not set?")
		}
	}
	return nil
}

// help is for the list of commands only: see asked.
type help struct {
	Command []string `arg:"" optional:"" help:"The command."`
}

func (help) Run() error { return nil }

// misused says where to read how a command is used, and what may have been meant.
func misused(err error) error {
	var parse *kong.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	command, meant := "bewaard", "see"
	if node := parse.Context.Selected(); node != nil {
		command += " " + node.Path()
		file, unexpected := strings.CutPrefix(err.Error(), "unexpected argument ")
		if unexpected && slices.ContainsFunc(node.Flags, func(f *kong.Flag) bool { return f.Name == "config" && f.Required }) {
			meant = fmt.Sprintf("did you mean --config %s? See", file)
		}
	}
	return fmt.Errorf("%w; %s %s --help", err, meant, command)
}
