package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/certificate"
	"github.com/bewaard/bewaard/store/journal"
)

// snapshot copies the database.
type snapshot struct {
	where
	because
	File string `arg:"" type:"path" help:"Where to. It must not be there."`
}

// Help is kong's.
func (snapshot) Help() string {
	return `The database as it is at one instant, while calls go on: rows, journal, certificates and legal holds, no recordings.
It has what rows have, numbers sealed as they are there, and is of mode 0600. bewaard verify reads it, on any machine.

    bewaard snapshot audit.db --reason 'audit 2026'
    bewaard verify --snapshot audit.db`
}

func (c *snapshot) Run(ctx context.Context) (err error) {
	client, err := c.client()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.File); err == nil {
		return fmt.Errorf("%s is there already", c.File)
	}
	part, err := os.CreateTemp(filepath.Dir(c.File), filepath.Base(c.File)+".*.part") // of mode 0600
	if err != nil {
		return err
	}
	head, bytes, err := client.Snapshot(ctx, part, c.Reason)
	if err = errors.Join(err, part.Sync(), part.Close()); err == nil {
		err = os.Rename(part.Name(), c.File)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(c.File))
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	fmt.Printf("%s: %d bytes, journal head %s\n", c.File, bytes, head)
	return nil
}

func syncDirectory(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// compact writes the database anew.
type compact struct {
	where
	because
}

// Help is kong's.
func (compact) Help() string {
	return `The daemon does it by itself once a week, and when half of the database is free pages, which keep what was in them. It needs as much room on
the disk as the database has, and makes everybody wait for what was written since it began to copy; it says how long that was.`
}

func (c *compact) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	done, err := client.Compact(ctx, c.Reason)
	if err != nil {
		return err
	}
	fmt.Printf("%d bytes became %d; %d keys were written meanwhile; everybody waited for %v\n", done.Before, done.After, done.Keys, done.Blocked.Round(time.Millisecond/10))
	return nil
}

// verify checks a snapshot.
type verify struct {
	Snapshot    string   `required:"" type:"existingfile" placeholder:"FILE" help:"What bewaard snapshot wrote, or a copy of bewaard.db."`
	Blobs       string   `type:"existingdir" placeholder:"DIR" help:"The store's directory, or a copy of its recordings/ and spool/: every file is read and compared. Default: files are not looked at."`
	PublicKey   []string `placeholder:"KEY" help:"Whose certificates are believed: what bewaard keys public printed, or a file with it. More than one where the node's key was changed. Default: the keys that the snapshot's own journal names."`
	Anchors     string   `type:"existingdir" placeholder:"DIR" help:"Time stamps of the journal's head (store.tsa): the store's anchors/, or a copy."`
	AnchorRoots string   `type:"existingfile" placeholder:"FILE" help:"Certificates in PEM by which their authority is believed. Default: anybody's is."`
	Head        []string `placeholder:"FILE|HASH" help:"A head of the journal that was told before the snapshot was taken: journal-head.txt or a copy of some of its lines, or a hash. What was rolled back, or written anew, has it no more."`
}

// Help is kong's.
func (verify) Help() string {
	return `Asks neither a daemon nor the network. It checks

    the journal     that no entry was changed, left out or put in, and that it has the heads told earlier,
                    and with --anchors those that an outside authority stamped, at that time
    certificates    that they are signed, and what they say stands in journal and rows
    rows            that none is overdue, and that what is destroyed has a certificate and names nobody
    files           with --blobs: that each has its row, each row its file, and that none was changed

Each finding is a line on the standard output. Exit status: 0, there is none; 1, there are some, or it could not go on.

What somebody changed who has the node's key and wrote everything anew is seen by --head and --anchors alone: keep these where he cannot write.`
}

func (c *verify) Run(ctx context.Context) error {
	cfg := store.VerifyConfig{Snapshot: c.Snapshot, Blobs: c.Blobs, Progress: progress(), Expires: expiry}
	for _, text := range c.PublicKey {
		key, err := publicKey(text)
		if err != nil {
			return fmt.Errorf("--public-key: %w", err)
		}
		cfg.Keys = append(cfg.Keys, key)
	}
	for _, text := range c.Head {
		var hash journal.Hash
		if hash.UnmarshalText([]byte(text)) == nil {
			cfg.Hashes = append(cfg.Hashes, hash)
			continue
		}
		lines, err := os.ReadFile(text)
		if err != nil {
			return fmt.Errorf("--head: neither a hash of 64 hexadecimal digits nor a file: %w", err)
		}
		heads, err := store.ReadHeads(lines)
		if err != nil {
			return fmt.Errorf("--head: %s: %w", text, err)
		}
		if len(heads) == 0 {
			return fmt.Errorf("--head: %s: there is no head in it", text)
		}
		cfg.Heads = append(cfg.Heads, heads...)
	}
	if err := c.anchors(&cfg); err != nil {
		return err
	}
	v, err := store.Verify(ctx, cfg, func(f store.Finding) { fmt.Println(f) })
	if err != nil {
		return err
	}
	fmt.Printf("%s of the journal, the last of %s; %s, %s, %s; %s\n", count(v.Entries, "entry"), instant(v.At),
		count(v.Certificates, "certificate"), count(v.Rows, "row"), count(v.Files, "file"), count(v.Findings, "finding"))
	fmt.Printf("head %v\n", v.Head)
	if v.Anchors > 0 {
		fmt.Printf("%d time stamps hold, the last of %s by %s%s\n", v.Anchors, instant(v.Anchor.At), v.Anchor.Authority, unbelieved(v.Anchor.Trusted))
	}
	if v.Anchors > 0 && v.Unanchored > 0 {
		fmt.Printf("%d entries came after what was stamped last\n", v.Unanchored)
	}
	if v.LaterAnchors > 0 {
		fmt.Printf("%d time stamps are of entries after the snapshot\n", v.LaterAnchors)
	}
	if v.Later > 0 {
		fmt.Printf("%d files are of calls after the snapshot, or have gone since because their time was over\n", v.Later)
	}
	if cfg.Blobs == "" {
		fmt.Println("files were not looked at: bring them with --blobs")
	}
	if v.Judged.After(v.At) {
		fmt.Printf("what is overdue was looked for as of %s, the last time stamp\n", instant(v.Judged))
	}
	if len(cfg.Keys) == 0 {
		fmt.Println("certificates were held against the key that the journal itself names: bring the node's with --public-key")
	}
	if len(cfg.Heads)+len(cfg.Hashes)+len(cfg.Anchors) == 0 {
		fmt.Println("whether the journal was rolled back or written anew was not looked at: bring an earlier head with --head, or time stamps with --anchors")
	}
	if v.Findings > 0 {
		return fmt.Errorf("%s: %d findings", c.Snapshot, v.Findings)
	}
	return nil
}

// anchors reads the time stamps, and whose are believed.
func (c *verify) anchors(cfg *store.VerifyConfig) (err error) {
	if c.Anchors != "" {
		if cfg.Anchors, err = store.ReadAnchors(c.Anchors); err != nil {
			return fmt.Errorf("--anchors: %w", err)
		}
	}
	if c.AnchorRoots != "" && c.Anchors == "" {
		return errors.New("--anchor-roots: there are no --anchors that they are for")
	}
	if c.AnchorRoots != "" {
		if cfg.Roots, err = store.ReadRoots(c.AnchorRoots); err != nil {
			return fmt.Errorf("--anchor-roots: %w", err)
		}
	}
	return nil
}

// unbelieved says of an authority what was not looked at.
func unbelieved(trusted bool) string {
	if trusted {
		return ""
	}
	return ", who may be anybody: bring its roots with --anchor-roots"
}

// publicKey reads a key, or a file that has one.
func publicKey(text string) (certificate.Key, error) {
	key, err := certificate.ParseKey(text)
	if err == nil {
		return key, nil
	}
	content, fileErr := os.ReadFile(text)
	if fileErr != nil {
		return key, errors.Join(err, fileErr)
	}
	return certificate.ParseKey(strings.TrimSpace(string(content)))
}

// progress says now and then on standard error how far something long is.
func progress() func(what string, done int) {
	last := time.Now()
	return func(what string, done int) {
		if time.Since(last) < 5*time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintf(os.Stderr, "%s: %d\n", what, done)
	}
}

// expiry is when the retention of a call is over that ended then.
func expiry(retention string, ended time.Time) (time.Time, error) {
	p, err := policy.ParsePeriod(retention)
	return p.After(ended), err
}
