// Package store keeps what is known of calls and where their recordings are, and
// sees to it that nothing outlives its expiry. It stands on tables (package table), which
// are a file (package bolt), and on blobs (package blob), which are files of a directory.
//
// It knows nothing of SIP, RTP or rules: purposes, periods and numbers are text to
// it, an expiry is an instant that others worked out.
//
//	Begin, Update ──▶ rows ──▶ index: by expiry, by beginning, unfinished
//	                   ▲                    │ due
//	   expired,        │                    ▼
//	   then destroyed  └──────────────── sweeper ──▶ blobs: recordings/, spool/
//	                                        │
//	Note ──▶ journal ◀── before and after ──┴──▶ certificates
//
// The directory:
//
//	bewaard.db                            rows and indexes; one process holds its lock
//	recordings/2026/11/24/<id>.opus.age   by the UTC day on which the call began
//	spool/<id>.spool                      packets as they came, until finalized
//	keys/                                 what all of it is sealed with: package seal
//	keys/node.key, node.pub               what certificates are signed and checked with
//	journal-head.txt                      the journal's head, a line a day
//	anchors/<number>-<hash>.tsr           what an outside authority stamped of it
//	prompts/<sha256>.wav, .json           every announcement that was ever in use, for ever
//
// No database blanks at once what it frees: what a row said before it was destroyed stands in
// the file until it is compacted. So what tells who called is never in the
// database in the clear, but sealed: what is left of it is noise once the key is destroyed.
package store

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bewaard/bewaard/store/blob"
	"github.com/bewaard/bewaard/store/disk"
	"github.com/bewaard/bewaard/store/seal"
	"github.com/bewaard/bewaard/store/table"
	"github.com/bewaard/bewaard/store/table/bolt"
	"github.com/bewaard/bewaard/store/timestamp"
)

const (
	// DefaultDirectory is where the store is unless the configuration says otherwise.
	DefaultDirectory = "/var/lib/bewaard"

	databaseFile = "bewaard.db"

	// schema is what the tables and rows of this version look like.
	schema = "2"

	// schemaInClear had personal parts in the clear, and fewer indexes.
	schemaInClear = "1"
)

var (
	// ErrNotFound is wrapped when no row has the id.
	ErrNotFound = errors.New("no such row")
	// ErrExists is wrapped by Begin when a row has the id already.
	ErrExists = errors.New("row exists")
	// ErrLocked is wrapped by Open when another process has the database.
	ErrLocked = table.ErrLocked
	// ErrCopying is wrapped when the database is being copied already.
	ErrCopying = table.ErrCopying
)

// Config is the file's store section.
type Config struct {
	// Directory holds the database, the recordings and the spool. Default: /var/lib/bewaard.
	Directory string `yaml:"directory"`
	// Sweep says how what has expired is destroyed.
	Sweep SweepConfig `yaml:"sweep"`
	// LegalHold says who may release one.
	LegalHold HoldConfig `yaml:"legal_hold"`
	// TSA is the URL of an authority that stamps the journal's head once a day (RFC 3161), and
	// TSARoots a file of certificates in PEM that it is believed by. Default: nobody does.
	TSA      string `yaml:"tsa"`
	TSARoots string `yaml:"tsa_roots"`
	// Keys is the file's keys section.
	Keys seal.Config `yaml:"-"`
}

// Validate reports every fault of the section, each with the key below store.
func (c Config) Validate() []error {
	var faults []error
	for _, fault := range c.Sweep.Validate() {
		faults = append(faults, fmt.Errorf("sweep.%w", fault))
	}
	if c.TSA != "" {
		if _, err := timestamp.New(c.TSA, nil); err != nil {
			faults = append(faults, fmt.Errorf("tsa: %w", err))
		}
	} else if c.TSARoots != "" {
		faults = append(faults, errors.New("tsa_roots: there is no tsa that it is for"))
	}
	return faults
}

func (c Config) withDefaults() Config {
	c.Directory = cmp.Or(c.Directory, DefaultDirectory)
	c.Sweep = c.Sweep.withDefaults()
	return c
}

// Exposed reports whether the directory is there and open to others than who owns it: names
// of files tell who was recorded when, and whoever may write there can remove recordings.
func (c Config) Exposed() (mode os.FileMode, exposed bool) {
	info, err := os.Stat(c.withDefaults().Directory)
	if err != nil {
		return 0, false
	}
	mode = info.Mode().Perm()
	return mode, mode&0o077 != 0
}

// Store is an open database and its directory. Its methods may be called from
// several goroutines.
type Store struct {
	// Immutable after Open.
	directory string
	db        table.DB
	copying   sync.Mutex // who has it copies the database as a whole
	resealing sync.Mutex // who has it seals files anew: two would write, and remove, the same
	disk      *disk.Root // the directory: what is this node's own
	// recordings are what is below recordings/, spools below spool/. These are files of this
	// machine, those may lie elsewhere.
	recordings, spools blob.Store

	keys    *seal.Keys
	nodeKey ed25519.PrivateKey // signs deletion certificates
	holds   HoldConfig
	tsa     *timestamp.Authority // stamps the journal's head; nil for nobody

	log     *slog.Logger
	metrics *metrics

	// step is called after every step of a sweep that the disk sees. Tests copy the
	// directory there, as a crash would leave it.
	step func(what string)
}

// Open makes the directory where it is missing, checks that it can be written to
// and opens the database. A nil registry keeps the metrics to itself.
func Open(c Config, registry prometheus.Registerer, log *slog.Logger) (*Store, error) {
	directory, err := filepath.Abs(c.withDefaults().Directory)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", c.Directory, err)
	}
	s := &Store{directory: directory, holds: c.LegalHold, log: log, step: func(string) {}}
	if s.tsa, err = c.authority(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.openFiles(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.openDatabase(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", s.databasePath(), err), s.closeFiles())
	}
	if err := s.unlock(c.Keys); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.db.Close(), s.closeFiles())
	}
	if err := s.openNodeKey(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	s.metrics = newMetrics(registry, s)
	return s, nil
}

func (s *Store) databasePath() string { return filepath.Join(s.directory, databaseFile) }

func (s *Store) openDatabase() error {
	db, err := bolt.Open(s.directory, databaseFile, journalTable, rowsTable, byBegan.table, byExpiry.table, certificatesTable)
	if err != nil {
		return err
	}
	db.Step = func(what string) { s.step(what) }
	s.db = db
	return nil
}

// unlock opens the keys and makes what a new database lacks, or an old one. This process
// has the lock.
func (s *Store) unlock(keys seal.Config) (err error) {
	if s.keys, err = seal.Open(filepath.Join(s.directory, keysDirectory), keys, s.log); err != nil {
		return err
	}
	if err = s.prepare(time.Now()); err == nil {
		err = s.disk.Sync(".") // the name of a new file
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", s.databasePath(), err), s.keys.Close())
	}
	return nil
}

// KeysDirectory is where the store's keys are.
func (c Config) KeysDirectory() string {
	return filepath.Join(c.withDefaults().Directory, keysDirectory)
}

// Keys returns what the store's files and rows are sealed with.
func (s *Store) Keys() *seal.Keys { return s.keys }

// prepare makes what a new database lacks, brings one of the schema before to this one, and
// refuses any other.
func (s *Store) prepare(now time.Time) error {
	var found string
	err := s.db.Update(func(tx table.Tx) error {
		meta := tx.Table(metaTable)
		for range meta.Ascend(nil) { // it is no new one
			if found = string(meta.Get(schemaKey)); found != schema && found != schemaInClear {
				return fmt.Errorf("schema %q, this bewaard reads %q", found, schema)
			}
			return nil
		}
		found = schema
		if err := errors.Join(meta.Put(schemaKey, []byte(schema)), meta.Put(indexedKey, []byte(indexed))); err != nil {
			return err
		}
		return putClock(tx, clock{Mark: now.UTC()})
	})
	if err == nil && found == schemaInClear {
		err = s.sealRows()
	}
	if err == nil {
		err = s.indexAnew()
	}
	return err
}

// The tables beside those of the indexes, and the keys in meta.
var (
	metaTable   = "meta"
	rowsTable   = "rows"   // id → row
	countsTable = "counts" // state → number of rows in it

	certificatesTable = "certificates" // id of the row → signed deletion certificate

	schemaKey = []byte("schema")
	clockKey  = []byte("clock")

	// indexedKey says what the indexes have, beyond what rows were first found by.
	indexedKey = []byte("purposes_indexed")
)

// Close waits for transactions to finish and lets go of the database.
func (s *Store) Close() error {
	if err := errors.Join(s.db.Close(), s.keys.Close(), s.closeFiles()); err != nil {
		return fmt.Errorf("close %s: %w", s.databasePath(), err)
	}
	return nil
}

// NewID returns the id of a call, its row and its recording: a UUIDv7 (RFC 9562
// §5.7), so that ids sort by the time at which they were made.
func NewID() string {
	return uuid.Must(uuid.NewV7()).String() // crypto/rand does not fail
}

// idTime returns when an id was made, to the millisecond: long ago for what is none.
func idTime(id string) time.Time {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(parsed[:8]) >> 16))
}

// checkID accepts ids as NewID makes them, and only in the form it writes them in:
// they become keys and file names.
func checkID(id string) error {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 || parsed.String() != id {
		return fmt.Errorf("%q is not a UUIDv7", id)
	}
	return nil
}
