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
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/bewaard/bewaard/config"
)

// commands is the command line.
type commands struct {
	Serve      serve      `cmd:"" help:"Take calls until told to stop."`
	Check      check      `cmd:"" help:"Check a configuration and say what is wrong with it."`
	Demo       demo       `cmd:"" help:"Show the whole life of recordings on this machine, in half a minute."`
	Policy     policyTree `cmd:"" help:"Ask what the rules would do."`
	Calls      calls      `cmd:"" help:"List calls, the newest first."`
	Recordings recordings `cmd:"" help:"List, show and export recordings."`
	Sweep      sweep      `cmd:"" help:"Destroy what has expired now, or tell what would go."`
	Version    version    `cmd:"" help:"Print the version."`
}

const description = `A SIP back-to-back user agent between a PBX and a carrier that tells the far party
before it records, keeps every recording no longer than its purpose needs, and can prove both.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	var cli commands
	parser := kong.Must(&cli, kong.Name("bewaard"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.BindTo(ctx, (*context.Context)(nil)))
	k, err := parser.Parse(args)
	parser.FatalIfErrorf(err)
	err = k.Run()
	var silent exit
	switch _, faults := errors.AsType[config.Faults](err); {
	case err == nil:
		return 0
	case faults: // each of its lines begins with the file's name
		fmt.Fprintln(os.Stderr, err)
		return 1
	case errors.As(err, &silent):
		return int(silent)
	}
	fmt.Fprintf(os.Stderr, "bewaard: %v\n", err)
	return 1
}

// exit is an error that has been told already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
