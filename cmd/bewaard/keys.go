package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bewaard/bewaard/config"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/seal"
)

// keys makes, lists, rotates and checks what recordings and numbers are sealed with. It works
// on the store's directory, whether a daemon runs or not.
type keys struct {
	Generate keysGenerate `cmd:"" help:"Make a master identity, and print its recipient."`
	List     keysList     `cmd:"" help:"List the days on which something expires, and which are destroyed."`
	Rotate   keysRotate   `cmd:"" help:"Seal the days' keys to the recipients of the configuration."`
	Check    keysCheck    `cmd:"" help:"See whether all keys are there that should be, and none that should not."`
	Public   keysPublic   `cmd:"" help:"Print the public key that deletion certificates are checked with."`
}

// Help is kong's.
func (keys) Help() string {
	return `What expires on a day is sealed to that day's key, and gone when the key is destroyed. The days'
keys are sealed to the master recipients: who has a master identity can open all that is not
destroyed yet, and nobody else can open anything.

Without a section keys in the configuration the daemon makes a master identity in its store
(keys/master.key) at the first start. To have it elsewhere:

  1. on another machine: bewaard keys generate master.key   (keep that file, and a copy)
  2. in the configuration: keys: {recipients: [age1…], sealed: true}
  3. stop the daemon, then, as its user, these two:

    bewaard keys rotate -c FILE --identity /var/lib/bewaard/keys/master.key
    bewaard keys check -c FILE

  4. remove /var/lib/bewaard/keys/master.key, and start the daemon.

It then shows neither numbers nor recordings. bewaard recordings export --sealed --reason TEXT ID copies what
is opened on the other machine: docs/operations.md.`
}

// keysWhere is where, for what is read without a daemon.
type keysWhere struct {
	where
}

// look opens the keys of the store that is meant; the identity stands in for the
// configuration's, if one is given.
func (w keysWhere) look(identity string) (*seal.Keys, seal.Config, error) {
	cfg := store.Config{Directory: w.Store}
	if w.Config != "" {
		c, err := config.Load(w.Config)
		if err != nil {
			return nil, seal.Config{}, err
		}
		cfg = c.Store
	}
	if identity != "" {
		cfg.Keys.Identity = identity
	}
	k, err := seal.Look(cfg.KeysDirectory(), cfg.Keys)
	if errors.Is(err, os.ErrNotExist) && identity == "" && cfg.Keys.Identity == "" {
		err = fmt.Errorf("%w (the daemon makes them at its first start; -c FILE or --store DIR names another store)", err)
	}
	return k, cfg.Keys, err
}

type keysGenerate struct {
	File string `arg:"" type:"path" help:"Where to; it must not be there."`
}

func (g *keysGenerate) Run() error {
	recipient, err := seal.Generate(g.File)
	if err != nil {
		return err
	}
	fmt.Println(recipient)
	fmt.Fprintf(os.Stderr, "%s: the identity of that recipient, which goes under keys.recipients. Keep a copy of the file:\n"+
		"without it nothing that is sealed to it can ever be opened.\n", g.File)
	return nil
}

type keysList struct {
	keysWhere
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

func (l *keysList) Run() error {
	k, _, err := l.look("")
	if err != nil {
		return err
	}
	defer k.Close()
	epochs, err := k.Epochs()
	if err != nil {
		return err
	}
	if l.Output == "json" {
		return writeJSON(os.Stdout, epochs)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "EXPIRES\tKEY\tSEALED TO")
	for _, e := range epochs {
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.Epoch, keyState(e, time.Now()), strings.Join(e.Masters, " "))
	}
	return t.Flush()
}

func keyState(e seal.EpochInfo, now time.Time) string {
	switch {
	case !e.Destroyed.IsZero():
		return "destroyed " + instant(e.Destroyed)
	case e.Missing:
		return "MISSING"
	case !now.Before(e.Epoch.End()):
		return "over, not destroyed"
	}
	return "there"
}

type keysRotate struct {
	keysWhere
	Identity string `type:"path" placeholder:"FILE" help:"The identity that opens the days' keys now. Default: the configuration's, else keys/master.key in the store."`
}

// Help is kong's.
func (keysRotate) Help() string {
	return `Each day's key is opened with the identity, and sealed to keys.recipients of the configuration.
It can be cut short, and goes on when it is called again. Stop the daemon before, so that it
makes no key for the old recipients meanwhile, and run it as the daemon's user, so that the
daemon can read what is written. Copies of the old files, in backups, are still for the old
identity.`
}

func (r *keysRotate) Run() error {
	k, cfg, err := r.look(r.Identity)
	if err != nil {
		return err
	}
	defer k.Close()
	if len(cfg.Recipients) == 0 {
		return errors.New("there are no keys.recipients to seal to: -c FILE names the configuration that has them")
	}
	n, err := k.Rotate()
	if n > 0 || err == nil {
		fmt.Printf("%d keys sealed anew\n", n)
	}
	return err
}

type keysCheck struct {
	keysWhere
}

func (c *keysCheck) Run() error {
	k, cfg, err := c.look("")
	if err != nil {
		return err
	}
	defer k.Close()
	faults := k.Check(time.Now())
	if cfg.Sealed && !k.Sealed() {
		faults = append(faults, fmt.Errorf("sealed: true, and %s is here: move it to another machine", seal.MasterPath(k.Directory())))
	}
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, fault)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d faults in %s", len(faults), k.Directory())
	}
	epochs, err := k.Epochs()
	if err != nil {
		return err
	}
	live := 0
	for _, e := range epochs {
		if e.Destroyed.IsZero() {
			live++
		}
	}
	fmt.Printf("%s: good: %d keys, %d destroyed\n", filepath.Clean(k.Directory()), live, len(epochs)-live)
	switch {
	case k.Sealed():
		fmt.Println("the master identity is elsewhere: whether it opens these keys can be seen only there")
	case cfg.Own():
		fmt.Println("the master identity is beside what it opens: bewaard help keys says how to move it")
	}
	return nil
}
