package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// credentialPrefix begins the name of a systemd credential.
const credentialPrefix = "credential:"

// credentialsVariable is where systemd says that credentials are: systemd.exec(5).
const credentialsVariable = "CREDENTIALS_DIRECTORY"

// recipient is a master recipient with the text that it was made of.
type recipient struct {
	age.Recipient
	text string
}

func parseRecipient(text string) (recipient, error) {
	if strings.HasPrefix(text, "AGE-") {
		return recipient{}, errors.New("is an identity, the secret half; a recipient begins with age1")
	}
	if r, err := age.ParseX25519Recipient(text); err == nil {
		return recipient{r, text}, nil
	}
	if strings.HasPrefix(text, "age1pq1") {
		return recipient{}, errors.New("a post-quantum recipient: not taken, since the age of Debian 12 cannot read what is sealed to it")
	}
	if name, _, err := plugin.ParseRecipient(text); err == nil {
		r, err := plugin.NewRecipient(text, silentUI)
		if err != nil {
			return recipient{}, fmt.Errorf("recipient of age-plugin-%s: %w", name, err)
		}
		return recipient{r, text}, nil
	}
	return recipient{}, fmt.Errorf("%.20q is not a recipient such as age1… (bewaard keys generate prints one)", text)
}

// silentUI answers the questions of plugins: there is nobody to ask.
var silentUI = &plugin.ClientUI{
	DisplayMessage: func(name, message string) error { return nil },
	RequestValue: func(name, prompt string, secret bool) (string, error) {
		return "", fmt.Errorf("age-plugin-%s asks for %q, and there is nobody to answer", name, prompt)
	},
	Confirm: func(name, prompt, yes, no string) (bool, error) {
		return false, fmt.Errorf("age-plugin-%s asks %q, and there is nobody to answer", name, prompt)
	},
	WaitTimer: func(name string) {},
}

// parseIdentities reads an identity file as age-keygen makes it: one identity a line, and
// comments. It never tells what a line says.
func parseIdentities(text []byte) ([]age.Identity, error) {
	var identities []age.Identity
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "AGE-PLUGIN-"):
			identity, err := plugin.NewIdentity(line, silentUI)
			if err != nil {
				return nil, fmt.Errorf("line %d: not the identity of an age plugin", n)
			}
			identities = append(identities, identity)
		default:
			identity, err := age.ParseX25519Identity(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: not an identity (AGE-SECRET-KEY-1… or AGE-PLUGIN-…)", n)
			}
			identities = append(identities, identity)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.New("not an identity file: a line is too long")
	}
	if identities == nil {
		return nil, errors.New("no identity in it")
	}
	return identities, nil
}

// loadMaster reads recipients and the identity, or makes an identity where neither is named.
func (k *Keys) loadMaster(c Config) (err error) {
	for _, text := range c.Recipients {
		r, err := parseRecipient(text)
		if err != nil {
			return err
		}
		k.recipients = append(k.recipients, r)
	}
	if c.Sealed {
		return k.exposedMaster()
	}
	path := c.Identity
	if path == "" {
		if path = MasterPath(k.directory); len(k.recipients) > 0 {
			return errors.New("recipients without an identity: name it, or say sealed: true")
		}
		if err := k.firstMaster(path); err != nil {
			return err
		}
	}
	if k.master, err = readIdentity(path); err != nil {
		return err
	}
	return k.matchMaster(path)
}

// matchMaster takes the identity's own recipient where none is named, and refuses an identity
// that opens nothing of what will be sealed.
func (k *Keys) matchMaster(path string) error {
	var own []recipient
	plugged := false
	for _, identity := range k.master {
		if i, ok := identity.(*age.X25519Identity); ok {
			own = append(own, recipient{i.Recipient(), i.Recipient().String()})
		} else {
			plugged = true // what it opens, only the plugin knows
		}
	}
	if len(k.recipients) == 0 {
		if plugged {
			return fmt.Errorf("master identity %s is of an age plugin: name its recipient in recipients", path)
		}
		k.recipients = own
		return nil
	}
	for _, r := range k.recipients {
		if slices.ContainsFunc(own, func(o recipient) bool { return o.text == r.text }) {
			return nil
		}
	}
	if plugged {
		return nil
	}
	return fmt.Errorf("master identity %s is of %s, which is none of recipients: it could open nothing of what is sealed from now on", path, own[0].text)
}

// exposedMaster refuses a machine that calls itself sealed and has the identity lying about.
func (k *Keys) exposedMaster() error {
	found, err := k.root.Exists(masterFile)
	if err != nil || !found {
		return err
	}
	return fmt.Errorf("sealed: true, but %s is here: move it to another machine", MasterPath(k.directory))
}

// firstMaster makes the master identity of a store that has none. Where there are epochs
// already it was lost, and a new one could not open them.
func (k *Keys) firstMaster(path string) error {
	found, err := k.root.Exists(masterFile)
	if err != nil || found {
		return err
	}
	epochs, err := k.Epochs()
	if err != nil {
		return err
	}
	for _, e := range epochs {
		if e.Destroyed.IsZero() {
			return fmt.Errorf("%s is gone, and what expires on %s is sealed to it (%s): put it back, or name keys.recipients, with keys.identity or sealed: true",
				path, e.Epoch, strings.Join(e.Masters, ", "))
		}
	}
	content, recipient, err := generate()
	if err != nil {
		return err
	}
	if err := k.root.WriteWhole(masterFile, content); err != nil {
		return fmt.Errorf("make master identity: %w", err)
	}
	k.log.Warn("a master identity was made beside what it opens: whoever takes this machine can open all; bewaard help keys says how to move it",
		"file", path, "recipient", recipient)
	return nil
}

// generate returns an identity file and its recipient.
func generate() (content []byte, recipient string, err error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", err
	}
	recipient = identity.Recipient().String()
	return fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", time.Now().UTC().Format(time.RFC3339), recipient, identity), recipient, nil
}

// Generate writes a new identity to a file that must not be there, mode 0600, on the disk
// when it returns, and returns its recipient.
func Generate(path string) (recipient string, err error) {
	content, recipient, err := generate()
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s is there already: an identity is not overwritten, what is sealed to it would be lost", path)
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return recipient, errors.Join(d.Sync(), d.Close())
}

// readIdentity reads a master identity from a file or a credential.
func readIdentity(where string) ([]age.Identity, error) {
	path := where
	name, credential := strings.CutPrefix(where, credentialPrefix)
	if credential {
		directory := os.Getenv(credentialsVariable)
		if directory == "" {
			return nil, fmt.Errorf("master identity %s: $%s is not set: systemd sets it for a unit with LoadCredential=%s:FILE", where, credentialsVariable, name)
		}
		if !validCredential(name) {
			return nil, fmt.Errorf("master identity %s: not the name of a credential", where)
		}
		path = filepath.Join(directory, name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("master identity: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("master identity: %w", err)
	}
	// A credential's mode is systemd's: it can be read by the unit's user alone.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !credential {
		return nil, fmt.Errorf("master identity %s: mode %04o, others may read it: chmod 600", path, mode)
	}
	text := make([]byte, maxIdentityBytes+1)
	n, err := readFull(f, text)
	if err != nil {
		return nil, fmt.Errorf("master identity %s: %w", path, err)
	}
	if n > maxIdentityBytes {
		return nil, fmt.Errorf("master identity %s: more than %d bytes: not an identity file", path, maxIdentityBytes)
	}
	identities, err := parseIdentities(text[:n])
	if err != nil {
		return nil, fmt.Errorf("master identity %s: %w", path, err)
	}
	return identities, nil
}

// maxIdentityBytes is the longest identity file that is read.
const maxIdentityBytes = 64 << 10

func validCredential(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}
