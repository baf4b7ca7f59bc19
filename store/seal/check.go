package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
)

// look is what Look does.
func (k *Keys) look(c Config) error {
	for _, text := range c.Recipients {
		r, err := parseRecipient(text)
		if err != nil {
			return err
		}
		k.recipients = append(k.recipients, r)
	}
	path := c.Identity
	if path == "" {
		path = MasterPath(k.directory)
		if found, err := k.root.Exists(masterFile); err != nil || !found {
			return err
		}
	}
	var err error
	if k.master, err = readIdentity(path); err != nil || len(k.recipients) > 0 {
		return err
	}
	for _, identity := range k.master {
		if i, ok := identity.(*age.X25519Identity); ok {
			k.recipients = append(k.recipients, recipient{i.Recipient(), i.Recipient().String()})
		}
	}
	return nil
}

// Check tries what the section names, and reports every fault with the key below keys. A
// credential is there in the unit alone, and is not looked for.
func (c Config) Check() []error {
	if c.Identity == "" || strings.HasPrefix(c.Identity, credentialPrefix) {
		return nil
	}
	k := &Keys{}
	for _, text := range c.Recipients {
		if r, err := parseRecipient(text); err == nil { // Validate has told of the others
			k.recipients = append(k.recipients, r)
		}
	}
	var err error
	if k.master, err = readIdentity(c.Identity); err == nil {
		err = k.matchMaster(c.Identity)
	}
	if err != nil {
		return []error{fmt.Errorf("identity: %w", err)}
	}
	return nil
}

// overdue is how long after its end an epoch's identity may be there: the sweep that
// destroys it comes within minutes.
const overdue = time.Hour

// Check returns what is wrong with the keys, each with what to do. Where the master identity
// is here, it opens every epoch's.
func (k *Keys) Check(now time.Time) []error {
	epochs, err := k.Epochs()
	if err != nil {
		return []error{err}
	}
	var faults []error
	for _, e := range epochs {
		if err := k.checkEpoch(e, now); err != nil {
			faults = append(faults, fmt.Errorf("epoch %s: %w", e.Epoch, err))
		}
	}
	if _, err := k.loadNumbers(false); err != nil {
		faults = append(faults, fmt.Errorf("%s: %w: rows cannot be found by their numbers", numbersFile, err))
	}
	return append(faults, k.checkModes()...)
}

func (k *Keys) checkEpoch(e EpochInfo, now time.Time) error {
	there, err := k.root.Exists(e.Epoch.path(identitySuffix))
	switch {
	case err != nil:
		return err
	case !e.Destroyed.IsZero() && there:
		return errors.New("said to be destroyed, and its identity is there: the next start of the daemon destroys it")
	case !e.Destroyed.IsZero():
		return nil
	case e.Missing:
		return fmt.Errorf("its identity is gone: what expires then cannot be opened; put %s back from a backup", filepath.Join(k.directory, e.Epoch.path(identitySuffix)))
	case now.After(e.Epoch.End().Add(overdue)):
		return errors.New("it is over and its identity is there: something that is not due is sealed to it (a legal hold, a call that goes on), or the sweep stands still (bewaard sweep)")
	case !k.current(e.Masters):
		return fmt.Errorf("sealed to %v, not to the recipients of the configuration: bewaard keys rotate", e.Masters)
	case k.master == nil:
		return nil
	}
	identity, err := k.unwrap(e.Epoch)
	if err != nil {
		return err
	}
	if got := identity.Recipient().String(); got != e.Recipient {
		return fmt.Errorf("its identity is that of %s, and it is sealed to %s", got, e.Recipient)
	}
	return nil
}

// checkModes looks for files that others may read.
func (k *Keys) checkModes() []error {
	var faults []error
	err := fs.WalkDir(k.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			faults = append(faults, fmt.Errorf("%s: mode %04o, open to others: chmod go=", filepath.Join(k.directory, name), mode))
		}
		return nil
	})
	if err != nil {
		faults = append(faults, err)
	}
	return faults
}
