package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"time"

	"filippo.io/age"
)

const (
	rowKeyBytes   = 32 // AES-256
	rowKeyIDBytes = 8
	numberBytes   = 32

	// TokenBytes is how long the token of a number is: half an HMAC-SHA-256, which is as
	// many as keep two numbers apart.
	TokenBytes = 16

	// openedKeys is how many row keys are kept open: a few a day are made.
	openedKeys = 4096
)

// RowKey is a key that the personal parts of rows are sealed with: AES-256-GCM. It is made
// by a process for a day and an epoch, and kept beside the rows, sealed to the epoch: so a
// row costs no X25519, and its key dies with the epoch all the same.
type RowKey struct {
	Epoch  Epoch
	ID     string // names it among all keys
	Sealed []byte // an age file for the epoch, 32 bytes in it

	aead cipher.AEAD
	made Epoch // the day on which it was
}

// RowKey returns the key to seal rows of an epoch with.
func (k *Keys) RowKey(e Epoch) (*RowKey, error) {
	today := EpochOf(time.Now())
	k.mu.Lock()
	key := k.rows[e]
	k.mu.Unlock()
	if key != nil && key.made == today {
		return key, nil
	}
	key, err := k.makeRowKey(e, today)
	if err != nil {
		return nil, fmt.Errorf("make row key: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if other := k.rows[e]; other != nil && other.made == today {
		return other, nil
	}
	// Yesterday's are not kept: what was sealed then takes the master identity to open.
	maps.DeleteFunc(k.rows, func(_ Epoch, key *RowKey) bool { return key.made != today })
	if k.master == nil {
		maps.DeleteFunc(k.opened, func(_ string, key *RowKey) bool { return key.made != today })
	}
	k.rows[e] = key
	k.remember(key)
	return key, nil
}

func (k *Keys) makeRowKey(e, today Epoch) (*RowKey, error) {
	secret, id := make([]byte, rowKeyBytes), make([]byte, rowKeyIDBytes)
	rand.Read(secret)
	rand.Read(id)
	var sealed bytes.Buffer
	w, err := k.Seal(e, &sealed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(secret)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	key := &RowKey{Epoch: e, ID: hex.EncodeToString(id), Sealed: sealed.Bytes(), made: today}
	key.aead, err = newAEAD(secret)
	return key, err
}

// OpenRowKey opens a key that was kept beside rows.
func (k *Keys) OpenRowKey(e Epoch, id string, sealed []byte) (*RowKey, error) {
	if k.master == nil {
		return nil, ErrSealed
	}
	if key := k.Made(id); key != nil && key.Epoch == e {
		return key, nil
	}
	identity, err := k.identity(e)
	if err != nil {
		return nil, fmt.Errorf("open row key: %w", err)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identity)
	if err != nil {
		return nil, fmt.Errorf("open row key of epoch %s: %w", e, err)
	}
	secret, err := io.ReadAll(io.LimitReader(r, rowKeyBytes+1))
	if err != nil || len(secret) != rowKeyBytes {
		return nil, fmt.Errorf("open row key of epoch %s: not a key of %d bytes", e, rowKeyBytes)
	}
	key := &RowKey{Epoch: e, ID: id, Sealed: sealed}
	if key.aead, err = newAEAD(secret); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remember(key)
	return key, nil
}

// Made returns a key that this process has in memory, nil if it has not: it made it today,
// or has opened it. Rows that it sealed can be moved to another epoch with it, also where the
// master identity is elsewhere; that is all it is for there.
func (k *Keys) Made(id string) *RowKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opened[id]
}

// remember keeps a key in memory. The caller has mu.
func (k *Keys) remember(key *RowKey) {
	if len(k.opened) >= openedKeys {
		clear(k.opened)
	}
	k.opened[key.ID] = key
}

// newAEAD returns AES-256-GCM with a random nonce before each ciphertext: 2³² rows a key,
// which is a day's, are what NIST SP 800-38D §8.3 allows.
func newAEAD(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal seals the personal part of a row. It can be opened under the same row's id only.
func (key *RowKey) Seal(row string, personal []byte) []byte {
	return key.aead.Seal(nil, nil, personal, key.bound(row))
}

// Open opens the personal part of a row.
func (key *RowKey) Open(row string, sealed []byte) ([]byte, error) {
	personal, err := key.aead.Open(nil, nil, sealed, key.bound(row))
	if err != nil {
		return nil, fmt.Errorf("open the personal part of row %s: %w", row, err)
	}
	return personal, nil
}

// bound is what a sealed part is bound to.
func (key *RowKey) bound(row string) []byte {
	return []byte("bewaard row " + row + " " + string(key.Epoch) + " " + key.ID)
}

// loadNumbers reads the key of the tokens, or makes it at the first start.
func (k *Keys) loadNumbers(create bool) ([]byte, error) {
	content, err := k.root.ReadFile(numbersFile)
	if create && errors.Is(err, fs.ErrNotExist) {
		secret := make([]byte, numberBytes)
		rand.Read(secret)
		content = []byte(hex.EncodeToString(secret) + "\n")
		if err := k.root.WriteWhole(numbersFile, content); err != nil {
			return nil, fmt.Errorf("make %s: %w", numbersFile, err)
		}
	} else if err != nil {
		return nil, err
	}
	info, err := k.root.Stat(numbersFile)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: mode %04o, others may read it: chmod 600", numbersFile, mode)
	}
	secret, err := hex.DecodeString(string(bytes.TrimSpace(content)))
	if err != nil || len(secret) != numberBytes {
		return nil, fmt.Errorf("%s: not %d bytes in hex; without the right key no row is found by its number", numbersFile, numberBytes)
	}
	return hkdf.Key(sha256.New, secret, nil, "bewaard numbers 1", numberBytes)
}

// Token returns what a number is found by: the same for the same number, and of no use to
// who has not the key.
func (k *Keys) Token(number string) [TokenBytes]byte {
	mac := hmac.New(sha256.New, k.numbers)
	mac.Write([]byte(number))
	return [TokenBytes]byte(mac.Sum(nil))
}
