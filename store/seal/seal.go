// Package seal keeps the keys of a store. What is sealed is worth nothing once its key
// is gone, wherever copies of it are: so it is destroyed by destroying a key.
//
//	recording, row ── sealed to ──▶ the epoch on which it expires (a UTC day)
//	epoch identity ── sealed to ──▶ the master recipients
//	spool          ── sealed to ──▶ the identity of the day on which it began
//	number         ── HMAC      ──▶ a token, by which it is found again
//
// The directory:
//
//	epochs/2026-12-08.age        the epoch's identity, an age file for the master recipients
//	epochs/2026-12-08.pub        its recipient, and to whom the identity is sealed
//	epochs/2026-12-08.destroyed  that it was destroyed, and when
//	spool/2026-12-01.key         the identity of a day's spools, in clear
//	numbers.key                  the key of the tokens
//	master.key                   the master identity, where the configuration names none
//
// To seal needs recipients only. To open needs the master identity, which may be elsewhere.
//
// The package is the one door to filippo.io/age. It knows nothing of rows, and does
// not decide what is to be destroyed.
package seal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/bewaard/bewaard/store/disk"
)

var (
	// ErrSealed is wrapped when something cannot be opened because the master identity
	// is not on this machine.
	ErrSealed = errors.New("sealed: the master identity is not on this machine")
	// ErrDestroyed is wrapped when the key of something was destroyed.
	ErrDestroyed = errors.New("the key was destroyed")
)

const (
	masterFile  = "master.key"
	numbersFile = "numbers.key"
	epochsDir   = "epochs"
	spoolDir    = "spool"
)

// Config is the file's keys section.
type Config struct {
	// Recipients are whom epochs are sealed to: the public halves of master identities
	// (age1…). Any one of these opens all. Default: that of the identity.
	Recipients []string `yaml:"recipients"`
	// Identity is where the private half is: a file, or credential:NAME, one that systemd
	// hands over (LoadCredential=). Default: master.key in the store's keys directory,
	// made at the first start.
	Identity string `yaml:"identity"`
	// Sealed says that no identity is on this machine: it seals and cannot open.
	Sealed bool `yaml:"sealed"`
}

// Validate reports every fault of the section, each with the key below keys.
func (c Config) Validate() []error {
	var faults []error
	for i, text := range c.Recipients {
		if _, err := parseRecipient(text); err != nil {
			faults = append(faults, fmt.Errorf("recipients[%d]: %w", i, err))
		}
	}
	if name, ok := strings.CutPrefix(c.Identity, credentialPrefix); ok && !validCredential(name) {
		faults = append(faults, fmt.Errorf("identity: %.40q is not the name of a credential: credential:NAME, without slashes", name))
	}
	switch {
	case c.Sealed && c.Identity != "":
		faults = append(faults, errors.New("sealed: is true, and identity names one: take away the one that is not meant"))
	case c.Sealed && len(c.Recipients) == 0:
		faults = append(faults, errors.New("recipients: missing: with sealed: true there is nobody else to seal to (bewaard keys generate, on another machine)"))
	case !c.Sealed && c.Identity == "" && len(c.Recipients) > 0:
		faults = append(faults, errors.New("identity: missing: the file of a recipient's identity, or sealed: true if that is on another machine"))
	}
	return faults
}

// Beside makes a relative path of the identity one in a directory.
func (c *Config) Beside(directory string) {
	if c.Identity != "" && !strings.HasPrefix(c.Identity, credentialPrefix) && !filepath.IsAbs(c.Identity) {
		c.Identity = filepath.Join(directory, c.Identity)
	}
}

// Keys are the open keys of a store. Its methods may be called from several goroutines.
type Keys struct {
	// Immutable after Open.
	directory  string
	root       *disk.Root
	recipients []recipient
	master     []age.Identity // nil: sealed
	numbers    []byte
	log        *slog.Logger
	turn       chan struct{} // holds one token; who has it may make and destroy keys

	mu         sync.Mutex
	epochs     map[Epoch]*age.X25519Recipient
	identities map[Epoch]*age.X25519Identity // those that were opened
	spools     map[Epoch]*age.X25519Identity
	rows       map[Epoch]*RowKey  // made today, to seal with
	opened     map[string]*RowKey // by id
}

// Open opens the keys in a directory, and makes it and what belongs in it where that is
// missing. Without a Config a master identity is made there, at the first start.
func Open(directory string, c Config, log *slog.Logger) (*Keys, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	return newKeys(directory, log, func(k *Keys) error { return k.open(c) })
}

// Look opens the keys that there are in a directory, to be looked at or rotated: it makes
// nothing, and takes an identity that is none of the recipients, or the one that Open made.
func Look(directory string, c Config) (*Keys, error) {
	return newKeys(directory, slog.New(slog.DiscardHandler), func(k *Keys) error { return k.look(c) })
}

func newKeys(directory string, log *slog.Logger, open func(*Keys) error) (*Keys, error) {
	root, err := disk.Open(directory)
	if err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	k := &Keys{
		directory: directory, root: root, log: log, turn: make(chan struct{}, 1),
		epochs: map[Epoch]*age.X25519Recipient{}, identities: map[Epoch]*age.X25519Identity{},
		spools: map[Epoch]*age.X25519Identity{}, rows: map[Epoch]*RowKey{}, opened: map[string]*RowKey{},
	}
	k.turn <- struct{}{}
	if err := open(k); err != nil {
		return nil, errors.Join(fmt.Errorf("open keys in %s: %w", directory, err), root.Close())
	}
	return k, nil
}

func (k *Keys) open(c Config) error {
	for _, name := range []string{epochsDir, spoolDir} {
		if err := k.root.MkdirAll(name, 0o700); err != nil {
			return err
		}
	}
	if err := k.root.Sync("."); err != nil {
		return err
	}
	if err := k.finishDestroying(); err != nil {
		return err
	}
	if err := k.loadMaster(c); err != nil {
		return err
	}
	var err error
	if k.numbers, err = k.loadNumbers(true); err != nil {
		return err
	}
	return k.compareMasters()
}

// compareMasters says so where epochs are sealed to others than the recipients: whoever
// takes the old identity away then cannot open them any more.
func (k *Keys) compareMasters() error {
	epochs, err := k.Epochs()
	if err != nil {
		return err
	}
	var others []string
	for _, e := range epochs {
		switch {
		case e.Missing:
			k.log.Error("the identity of an epoch is gone: nothing that is sealed to it can be opened", "epoch", e.Epoch)
		case e.Destroyed.IsZero() && !k.current(e.Masters):
			others = append(others, string(e.Epoch))
		}
	}
	if len(others) > 0 {
		k.log.Warn("epochs are sealed to other master recipients than keys.recipients: keep the old identity until bewaard keys rotate is done",
			"epochs", len(others), "first", others[0], "last", others[len(others)-1])
	}
	return nil
}

// Close lets go of the directory.
func (k *Keys) Close() error { return k.root.Close() }

// Sealed reports whether there is no master identity here.
func (k *Keys) Sealed() bool { return k.master == nil }

// Directory returns where the keys are.
func (k *Keys) Directory() string { return k.directory }

// Own reports whether the section names nobody: the master identity is then the one that was
// made beside what it opens.
func (c Config) Own() bool { return len(c.Recipients) == 0 && c.Identity == "" && !c.Sealed }

// MasterPath is where the master identity is made in a directory of keys when the
// configuration names none.
func MasterPath(directory string) string { return filepath.Join(directory, masterFile) }

func (k *Keys) take() { <-k.turn }
func (k *Keys) give() { k.turn <- struct{}{} }

// Epoch is the UTC day on which something expires, as 2026-12-08.
type Epoch string

// EpochOf returns the epoch of what expires at an instant.
func EpochOf(t time.Time) Epoch { return Epoch(t.UTC().Format(time.DateOnly)) }

// ParseEpoch reads an epoch.
func ParseEpoch(text string) (Epoch, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil || string(EpochOf(t)) != text {
		return "", fmt.Errorf("%.20q is not a day such as 2026-12-08", text)
	}
	return Epoch(text), nil
}

// End returns when the epoch is over: the beginning of the next day, UTC.
func (e Epoch) End() time.Time {
	t, err := time.Parse(time.DateOnly, string(e))
	if err != nil {
		return time.Time{}
	}
	return t.AddDate(0, 0, 1)
}

func (e Epoch) check() error { _, err := ParseEpoch(string(e)); return err }

func (e Epoch) path(suffix string) string { return filepath.Join(epochsDir, string(e)+suffix) }
