package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/store"
)

// where says which daemon to ask: the one that has this store.
type where struct {
	Config string `short:"c" type:"path" placeholder:"FILE" xor:"where" help:"The daemon's configuration, for its store."`
	Store  string `type:"path" placeholder:"DIR" xor:"where" help:"The daemon's store. Default: /var/lib/bewaard."`
}

func (w where) client() (*api.Client, error) {
	directory, err := w.directory()
	if err != nil {
		return nil, err
	}
	return api.Dial(directory), nil
}

func (w where) directory() (string, error) {
	directory := w.Store
	if w.Config != "" {
		cfg, err := config.Load(w.Config)
		if err != nil && (cfg == nil || cfg.Store.Directory == "") {
			return "", err
		}
		directory = cfg.Store.Directory // all that is asked of it, whatever else is wrong with it
	}
	return cmp.Or(directory, store.DefaultDirectory), nil
}

// because is the reason that the journal asks for.
type because struct {
	Reason string `short:"r" required:"" placeholder:"TEXT" help:"Why, for the journal, which is kept for ever: name a case, not a person."`
}

// calls lists calls.
type calls struct {
	where
	filter
}

func (c *calls) Run(ctx context.Context) error { return c.list(ctx, c.where, false) }

// recordings lists, shows and exports what was recorded.
type recordings struct {
	List   recordingsList   `cmd:"" help:"List calls that were to be recorded, the newest first."`
	Show   recordingsShow   `cmd:"" help:"Tell all that is known of one call."`
	Export recordingsExport `cmd:"" help:"Copy a recording's file; the journal says who did, and why."`

	Certificate recordingsCertificate `cmd:"" help:"Print the signed certificate that a recording is destroyed."`

	Select   recordingsSelect   `cmd:"" help:"Keep a recording from a buffer for a further purpose."`
	Withdraw recordingsWithdraw `cmd:"" help:"Keep a recording for one of its purposes no longer."`

	Pause   pauseRecording   `cmd:"" help:"Have nothing of a call recorded for now. The rule's control has to allow it, as all that follows."`
	Resume  resumeRecording  `cmd:"" help:"Go on after a pause."`
	Stop    stopRecording    `cmd:"" help:"End the recording of a call that goes on; what there is is kept."`
	Discard discardRecording `cmd:"" help:"End the recording of a call that goes on, and destroy what there is of it."`
	Tag     tagRecording     `cmd:"" help:"Note something with a call that is up."`
}

type recordingsList struct {
	where
	filter
}

func (c *recordingsList) Run(ctx context.Context) error { return c.list(ctx, c.where, true) }

type recordingsShow struct {
	where
	ID     string `arg:"" help:"The call's id."`
	Output string `short:"o" enum:"text,json,csv" default:"text" help:"text, json or csv."`
}

func (c *recordingsShow) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	row, err := client.Call(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.Output != "text" {
		return writeRows(os.Stdout, c.Output, []store.Row{row})
	}
	return tell(os.Stdout, &row)
}

type recordingsCertificate struct {
	where
	ID string `arg:"" help:"The call's id."`
}

func (c *recordingsCertificate) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	signed, err := client.Certificate(ctx, c.ID)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s\n", signed)
	return err
}

type recordingsExport struct {
	where
	because
	ID     string `arg:"" help:"The call's id."`
	Format string `short:"f" help:"opus, wav, wav-alaw or wav-ulaw. Default: whichever there is."`
	To     string `short:"t" type:"path" placeholder:"FILE" help:"Where to; - for the standard output. Default: the id with the format as its suffix."`
	Sealed bool   `help:"As it lies on the disk: an age file, for who has the master identity elsewhere."`
}

// Validate is kong's.
func (c *recordingsExport) Validate() error {
	return oneOf("--format", c.Format, []string{"opus", "wav", "wav-alaw", "wav-ulaw"})
}

func (c *recordingsExport) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.To); c.To != "" && c.To != "-" && err == nil { // before it is journalled
		return fmt.Errorf("%s is there already: --to names another file", c.To)
	}
	file, name, err := client.Recording(ctx, c.ID, c.Format, c.Reason, c.Sealed)
	if err != nil {
		return err
	}
	defer file.Close()
	return export(file, c.To, name)
}

// export copies a file to where it is wanted, or to a new one of its own name.
func export(file io.Reader, to, name string) error {
	if to == "-" {
		_, err := io.Copy(os.Stdout, file)
		return err
	}
	to = cmp.Or(to, name)
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: --to names another file", to)
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(out, file)
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("export to %s: %w", to, err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d bytes\n", to, n)
	return nil
}
