package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/bewaard/bewaard/store/disk"
)

const (
	identitySuffix  = ".age"
	recipientSuffix = ".pub"
	destroyedSuffix = ".destroyed"
	oldSuffix       = ".old" // behind an identity's: the file for the recipients before these
)

// EpochInfo is what there is of an epoch.
type EpochInfo struct {
	Epoch     Epoch     `json:"epoch"`
	Recipient string    `json:"recipient"`
	Masters   []string  `json:"masters"`            // whom its identity is sealed to
	Destroyed time.Time `json:"destroyed,omitzero"` // when its identity was
	Missing   bool      `json:"missing,omitempty"`  // there is no identity, and it was not destroyed
}

// public is what stands in the clear beside an epoch's identity: a recipients file of age,
// with the master recipients as comments.
//
//	# epoch 2026-12-08; its identity is sealed to
//	# age1master…
//	age1epoch…
type public struct {
	recipient *age.X25519Recipient
	masters   []string
	destroyed time.Time
}

const (
	masterLine    = "# age1"
	destroyedLine = "# destroyed "
)

func (p public) text(e Epoch) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# epoch %s; its identity is sealed to\n", e)
	for _, m := range p.masters {
		fmt.Fprintf(&b, "# %s\n", m)
	}
	if !p.destroyed.IsZero() {
		fmt.Fprintf(&b, "%s%s\n", destroyedLine, p.destroyed.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "%s\n", p.recipient)
	return b.Bytes()
}

func parsePublic(text []byte) (p public, err error) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, masterLine):
			p.masters = append(p.masters, strings.TrimPrefix(line, "# "))
		case strings.HasPrefix(line, destroyedLine):
			if p.destroyed, err = time.Parse(time.RFC3339, strings.TrimPrefix(line, destroyedLine)); err != nil {
				return public{}, errors.New("not an instant at which it was destroyed")
			}
		case line == "" || line[0] == '#':
		case p.recipient != nil:
			return public{}, errors.New("two recipients")
		default:
			if p.recipient, err = age.ParseX25519Recipient(line); err != nil {
				return public{}, errors.New("not a recipient")
			}
		}
	}
	if p.recipient == nil {
		return public{}, errors.New("no recipient")
	}
	return p, nil
}

func (k *Keys) readPublic(name string) (public, error) {
	text, err := k.root.ReadFile(name)
	if err != nil {
		return public{}, err
	}
	p, err := parsePublic(text)
	if err != nil {
		return public{}, fmt.Errorf("%s: %w", path.Join(k.directory, name), err)
	}
	return p, nil
}

// recipient returns whom to seal an epoch to. Its identity is made where there is none.
func (k *Keys) recipient(e Epoch) (*age.X25519Recipient, error) {
	k.mu.Lock()
	r := k.epochs[e]
	k.mu.Unlock()
	if r != nil {
		return r, nil
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	k.take()
	defer k.give()
	r, err := k.makeEpoch(e)
	if err != nil {
		return nil, fmt.Errorf("epoch %s: %w", e, err)
	}
	k.mu.Lock()
	k.epochs[e] = r
	k.mu.Unlock()
	return r, nil
}

// makeEpoch makes an epoch's identity unless there is one. Nothing is sealed to it before
// the recipient's file is on the disk, which comes last: an identity without one is of no
// use to anybody and is made anew.
func (k *Keys) makeEpoch(e Epoch) (*age.X25519Recipient, error) {
	if destroyed, err := k.root.Exists(e.path(destroyedSuffix)); err != nil || destroyed {
		return nil, errors.Join(err, ErrDestroyed)
	}
	p, err := k.readPublic(e.path(recipientSuffix))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return p.recipient, err
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	if err := k.wrap(e, identity); err != nil {
		return nil, err
	}
	return identity.Recipient(), nil
}

// wrap writes an epoch's identity for the master recipients, and its recipient.
func (k *Keys) wrap(e Epoch, identity *age.X25519Identity) error {
	var sealed bytes.Buffer
	recipients := make([]age.Recipient, len(k.recipients))
	for i, r := range k.recipients {
		recipients[i] = r.Recipient
	}
	w, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return fmt.Errorf("seal to the master recipients: %w", err)
	}
	_, err = fmt.Fprintln(w, identity)
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("seal to the master recipients: %w", err)
	}
	if err := k.root.WriteWhole(e.path(identitySuffix), sealed.Bytes()); err != nil {
		return err
	}
	return k.root.WriteWhole(e.path(recipientSuffix), public{recipient: identity.Recipient(), masters: k.masters()}.text(e))
}

// masters are the recipients' texts, in order.
func (k *Keys) masters() []string {
	texts := make([]string, len(k.recipients))
	for i, r := range k.recipients {
		texts[i] = r.text
	}
	return slices.Compact(slices.Sorted(slices.Values(texts)))
}

// current reports whether these are the master recipients.
func (k *Keys) current(masters []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(masters)), k.masters())
}

// identity opens an epoch's identity.
func (k *Keys) identity(e Epoch) (*age.X25519Identity, error) {
	k.mu.Lock()
	identity := k.identities[e]
	k.mu.Unlock()
	if identity != nil {
		return identity, nil
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	if k.master == nil {
		return nil, ErrSealed
	}
	identity, err := k.unwrap(e)
	if err != nil {
		return nil, fmt.Errorf("epoch %s: %w", e, err)
	}
	k.mu.Lock()
	k.identities[e] = identity
	k.mu.Unlock()
	if destroyed, err := k.root.Exists(e.path(destroyedSuffix)); err != nil || destroyed { // meanwhile
		k.forget(e)
		return nil, fmt.Errorf("epoch %s: %w", e, errors.Join(err, ErrDestroyed))
	}
	return identity, nil
}

func (k *Keys) unwrap(e Epoch) (*age.X25519Identity, error) {
	sealed, err := k.root.ReadFile(e.path(identitySuffix))
	if errors.Is(err, fs.ErrNotExist) {
		if destroyed, err := k.root.Exists(e.path(destroyedSuffix)); err != nil || destroyed {
			return nil, errors.Join(err, ErrDestroyed)
		}
	}
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), k.master...)
	if err != nil {
		return nil, fmt.Errorf("open with the master identity: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, 1024))
	if err != nil {
		return nil, fmt.Errorf("open with the master identity: %w", err)
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, errors.New("what is sealed in it is not an identity")
	}
	return identity, nil
}

// forget takes an epoch's keys from memory.
func (k *Keys) forget(e Epoch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.epochs, e)
	delete(k.identities, e)
	delete(k.rows, e)
	maps.DeleteFunc(k.opened, func(_ string, key *RowKey) bool { return key.Epoch == e })
}

// Destroy destroys an epoch's identity, so that nothing of what is sealed to it can be
// opened again. When it returns nil the identity is overwritten and gone, on the disk too.
// An epoch that is destroyed, or of which there is nothing, is no error.
//
//	.pub ─ .destroyed written ─ identity overwritten, deleted, seen to be gone ─ .pub deleted
func (k *Keys) Destroy(e Epoch) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("destroy epoch: %w", err)
	}
	k.take()
	defer k.give()
	if err := k.destroy(e); err != nil {
		return fmt.Errorf("destroy epoch %s: %w", e, err)
	}
	return nil
}

func (k *Keys) destroy(e Epoch) error {
	destroyed, err := k.root.Exists(e.path(destroyedSuffix))
	if err != nil {
		return err
	}
	if !destroyed {
		p, err := k.readPublic(e.path(recipientSuffix))
		if errors.Is(err, fs.ErrNotExist) {
			return k.root.Erase(e.path(identitySuffix)) // nothing was ever sealed to it
		}
		if err != nil {
			return err
		}
		p.destroyed = time.Now().UTC()
		if err := k.root.WriteWhole(e.path(destroyedSuffix), p.text(e)); err != nil {
			return err
		}
	}
	k.forget(e)
	for _, suffix := range []string{identitySuffix, identitySuffix + disk.PartSuffix, identitySuffix + oldSuffix, recipientSuffix} {
		if err := k.root.Erase(e.path(suffix)); err != nil {
			return err
		}
	}
	return nil
}

// finishDestroying goes on where a crash cut Destroy short.
func (k *Keys) finishDestroying() error {
	names, err := fs.Glob(k.root.FS(), path.Join(epochsDir, "*"+destroyedSuffix))
	if err != nil {
		return err
	}
	for _, name := range names {
		e, err := ParseEpoch(strings.TrimSuffix(path.Base(name), destroyedSuffix))
		if err != nil {
			continue // not ours
		}
		left := false
		for _, suffix := range []string{identitySuffix, identitySuffix + oldSuffix, recipientSuffix} {
			found, err := k.root.Exists(e.path(suffix))
			if err != nil {
				return err
			}
			left = left || found
		}
		if !left {
			continue
		}
		if err := k.destroy(e); err != nil {
			return fmt.Errorf("destroy epoch %s: %w", e, err)
		}
	}
	return nil
}

// Epochs returns every epoch that there is anything of, in order.
func (k *Keys) Epochs() ([]EpochInfo, error) {
	entries, err := fs.ReadDir(k.root.FS(), epochsDir)
	if err != nil {
		return nil, fmt.Errorf("read epochs: %w", err)
	}
	found := map[Epoch]EpochInfo{}
	for _, entry := range entries {
		suffix := path.Ext(entry.Name())
		e, err := ParseEpoch(strings.TrimSuffix(entry.Name(), suffix))
		if err != nil || suffix != recipientSuffix && suffix != destroyedSuffix || !found[e].Destroyed.IsZero() {
			continue
		}
		p, err := k.readPublic(e.path(suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue // destroyed meanwhile
		}
		if err != nil {
			return nil, err
		}
		info := EpochInfo{Epoch: e, Recipient: p.recipient.String(), Masters: p.masters, Destroyed: p.destroyed}
		if info.Destroyed.IsZero() {
			there, err := k.root.Exists(e.path(identitySuffix))
			if err != nil {
				return nil, err
			}
			info.Missing = !there
		}
		found[e] = info
	}
	return slices.SortedFunc(maps.Values(found), func(a, b EpochInfo) int { return strings.Compare(string(a.Epoch), string(b.Epoch)) }), nil
}

// Over returns the epochs that have ended and are not destroyed, the oldest first.
func (k *Keys) Over(now time.Time) ([]Epoch, error) {
	epochs, err := k.Epochs()
	if err != nil {
		return nil, err
	}
	var over []Epoch
	for _, e := range epochs {
		if e.Destroyed.IsZero() && !now.Before(e.Epoch.End()) {
			over = append(over, e.Epoch)
		}
	}
	return over, nil
}

// Rotate seals the identity of every epoch that is sealed to others to the master recipients.
// It can be cut short at any instant and goes on when it is called again. It returns how
// many it sealed anew.
func (k *Keys) Rotate() (rotated int, err error) {
	if k.master == nil {
		return 0, fmt.Errorf("rotate: %w", ErrSealed)
	}
	epochs, err := k.Epochs()
	if err != nil {
		return 0, fmt.Errorf("rotate: %w", err)
	}
	for _, e := range epochs {
		if !e.Destroyed.IsZero() || e.Missing {
			continue
		}
		if err := k.dropOld(e.Epoch); err != nil { // what an earlier one left
			return rotated, fmt.Errorf("rotate epoch %s: %w", e.Epoch, err)
		}
		if k.current(e.Masters) {
			continue
		}
		if err := k.rotate(e.Epoch); err != nil {
			return rotated, fmt.Errorf("rotate epoch %s: %w", e.Epoch, err)
		}
		rotated++
	}
	return rotated, nil
}

// rotate keeps hold of the file for the old recipients until there is one for the new ones, and
// overwrites it then.
//
//	.age linked to .age.old ─ .age for the new ones in its place ─ .pub ─ .age.old overwritten, deleted
func (k *Keys) rotate(e Epoch) error {
	k.take()
	defer k.give()
	identity, err := k.unwrap(e)
	if errors.Is(err, ErrDestroyed) {
		return nil
	}
	if err != nil {
		return err
	}
	// Where a daemon has destroyed it meanwhile there is nothing to link.
	if err := k.root.Link(e.path(identitySuffix), e.path(identitySuffix+oldSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := k.wrap(e, identity); err != nil {
		return err
	}
	if err := k.dropOld(e); err != nil {
		return err
	}
	// A daemon may have destroyed it while we wrote.
	if destroyed, err := k.root.Exists(e.path(destroyedSuffix)); err != nil || destroyed {
		return errors.Join(err, k.destroy(e))
	}
	return nil
}

// dropOld overwrites and deletes an epoch's identity for the recipients before these. Where a
// crash came before there was another the two are one file, which stays.
func (k *Keys) dropOld(e Epoch) error {
	old, err := k.root.Lstat(e.path(identitySuffix + oldSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	current, err := k.root.Lstat(e.path(identitySuffix))
	switch {
	case err == nil && os.SameFile(old, current):
		_, err := k.root.Remove(e.path(identitySuffix + oldSuffix))
		return errors.Join(err, k.root.Sync(epochsDir))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return k.root.Erase(e.path(identitySuffix + oldSuffix))
}
