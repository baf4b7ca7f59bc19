package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/bewaard/bewaard/store/disk"
)

// spoolGrace is how long after its day an identity is kept at least: a spool whose key was
// wrapped at midnight may not be in its directory yet.
const spoolGrace = time.Hour

// spoolKeySuffix ends the name of a day's identity.
const spoolKeySuffix = ".key"

// maxSpoolKeyBytes is the longest key of a spool.
const maxSpoolKeyBytes = 64

func spoolPath(day Epoch) string { return path.Join(spoolDir, string(day)+spoolKeySuffix) }

// WrapSpool seals the key of a spool to the identity of today. To finalize a spool must not
// need the master identity, so the day's lies in clear beside it; what it protects is what
// is left on the disk of spools that are finalized, once the day's identity is destroyed.
func (k *Keys) WrapSpool(key []byte) ([]byte, error) {
	if len(key) > maxSpoolKeyBytes {
		return nil, fmt.Errorf("wrap spool key: %d bytes", len(key))
	}
	day := EpochOf(time.Now())
	identity, err := k.spoolIdentity(day, true)
	if err != nil {
		return nil, fmt.Errorf("wrap spool key: %w", err)
	}
	var wrapped bytes.Buffer
	fmt.Fprintf(&wrapped, "%s\n", day)
	w, err := age.Encrypt(&wrapped, identity.Recipient())
	if err != nil {
		return nil, fmt.Errorf("wrap spool key: %w", err)
	}
	_, err = w.Write(key)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("wrap spool key: %w", err)
	}
	return wrapped.Bytes(), nil
}

// UnwrapSpool opens what WrapSpool has sealed.
func (k *Keys) UnwrapSpool(wrapped []byte) ([]byte, error) {
	day, err := SpoolDay(wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrap spool key: %w", err)
	}
	identity, err := k.spoolIdentity(day, false)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrDestroyed
	}
	if err != nil {
		return nil, fmt.Errorf("unwrap spool key of %s: %w", day, err)
	}
	r, err := age.Decrypt(bytes.NewReader(wrapped[len(day)+1:]), identity)
	if err != nil {
		return nil, fmt.Errorf("unwrap spool key of %s: %w", day, err)
	}
	key, err := io.ReadAll(io.LimitReader(r, maxSpoolKeyBytes+1))
	if err != nil || len(key) > maxSpoolKeyBytes {
		return nil, fmt.Errorf("unwrap spool key of %s: not a key", day)
	}
	return key, nil
}

// SpoolDay returns the day whose identity opens a wrapped key.
func SpoolDay(wrapped []byte) (Epoch, error) {
	day, _, found := bytes.Cut(wrapped, []byte("\n"))
	if !found {
		return "", errors.New("no day before a wrapped key")
	}
	return ParseEpoch(string(day))
}

func (k *Keys) spoolIdentity(day Epoch, create bool) (*age.X25519Identity, error) {
	k.mu.Lock()
	identity := k.spools[day]
	k.mu.Unlock()
	if identity != nil {
		return identity, nil
	}
	k.take()
	defer k.give()
	text, err := k.root.ReadFile(spoolPath(day))
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		if identity, err = age.GenerateX25519Identity(); err == nil {
			err = k.root.WriteWhole(spoolPath(day), []byte(identity.String()+"\n"))
		}
	case err == nil:
		identity, err = age.ParseX25519Identity(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spools[day] = identity
	return identity, nil
}

// DestroySpools destroys the identities of days that are over and that no spool needs any
// more. It returns the days.
func (k *Keys) DestroySpools(now time.Time, needed map[Epoch]bool) ([]Epoch, error) {
	k.take()
	defer k.give()
	entries, err := fs.ReadDir(k.root.FS(), spoolDir)
	if err != nil {
		return nil, fmt.Errorf("destroy spool keys: %w", err)
	}
	var destroyed []Epoch
	for _, entry := range entries {
		name, _ := strings.CutSuffix(strings.TrimSuffix(entry.Name(), disk.PartSuffix), spoolKeySuffix)
		day, err := ParseEpoch(name)
		if err != nil || needed[day] || now.Before(day.End().Add(spoolGrace)) {
			continue
		}
		k.mu.Lock()
		delete(k.spools, day)
		k.mu.Unlock()
		if err := k.root.Erase(path.Join(spoolDir, entry.Name())); err != nil {
			return destroyed, fmt.Errorf("destroy spool key of %s: %w", day, err)
		}
		destroyed = append(destroyed, day)
	}
	return destroyed, nil
}
