package store

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
	"github.com/bewaard/bewaard/store/table"
)

const (
	keysDirectory = "keys"
	nodeKeyFile   = "keys/node.key" // PKCS #8 in PEM: openssl reads it
	nodeKeyBlock  = "PRIVATE KEY"
)

// PublicKeyFile is the name, in the store's directory, of the file with the public key
// that certificates are signed with, in hexadecimal digits: whoever checks them needs it.
const PublicKeyFile = "keys/node.pub"

// nodeKeyKey in meta is the public key that the journal knows.
var nodeKeyKey = []byte("node_key")

// openNodeKey reads the node's key, makes one where there is none, and sees to it that
// the journal knows it.
func (s *Store) openNodeKey() error {
	key, err := s.readNodeKey()
	if errors.Is(err, fs.ErrNotExist) {
		key, err = s.makeNodeKey()
	}
	if err != nil {
		return fmt.Errorf("key of the node, %s: %w", nodeKeyFile, err)
	}
	s.nodeKey = key
	if err := s.disk.WriteFile(PublicKeyFile, []byte(s.PublicKey().String()+"\n"), 0o600); err != nil {
		return fmt.Errorf("public key of the node: %w", err)
	}
	return s.db.Update(func(tx table.Tx) error {
		public, meta := s.PublicKey().String(), tx.Table(metaTable)
		known := string(meta.Get(nodeKeyKey))
		if known == public {
			return nil
		}
		reason := "the first key"
		if known != "" {
			reason = "instead of " + known
		}
		if _, err := note(tx, journal.NodeKey, public, Act{Daemon, reason}); err != nil {
			return err
		}
		return meta.Put(nodeKeyKey, []byte(public))
	})
}

// PublicKey is what deletion certificates are checked with.
func (s *Store) PublicKey() certificate.Key {
	return certificate.Key{PublicKey: s.nodeKey.Public().(ed25519.PublicKey)}
}

func (s *Store) readNodeKey() (ed25519.PrivateKey, error) {
	text, err := s.disk.ReadFile(nodeKeyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != nodeKeyBlock {
		return nil, fmt.Errorf("no %s in it", nodeKeyBlock)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T, want an Ed25519 key", key)
	}
	return private, nil
}

// makeNodeKey writes a new key, whole or not at all.
func (s *Store) makeNodeKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: nodeKeyBlock, Bytes: der})
	if err := s.disk.MkdirAll(keysDirectory, 0o700); err != nil {
		return nil, err
	}
	return key, s.disk.WriteWhole(nodeKeyFile, text)
}
