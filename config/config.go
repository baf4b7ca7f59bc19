// Package config reads the configuration file, strictly: it knows every key, reports
// every fault at once with its line and column, and fills in nothing silently that is
// not a documented default.
//
//	file ─ parse ─ decode into sections ─ each section's Validate ─ sort ─▶ *Config or Faults
//	       syntax  unknown keys, types    what does not make sense
//
// It gathers the sections that other packages own and knows nothing of how they work.
// It is the door to goccy/go-yaml: others carry yaml tags and TextUnmarshalers only.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bewaard/bewaard/api"
	"github.com/bewaard/bewaard/call"
	"github.com/bewaard/bewaard/media"
	"github.com/bewaard/bewaard/policy"
	"github.com/bewaard/bewaard/prompts"
	"github.com/bewaard/bewaard/sip"
	"github.com/bewaard/bewaard/sip/trunk"
	"github.com/bewaard/bewaard/store"
	"github.com/bewaard/bewaard/store/seal"
)

// Config is the whole file. See example.yaml for every key.
type Config struct {
	Organisation Organisation            `yaml:"organisation"`
	SIP          sip.Config              `yaml:"sip"`
	Trunks       map[string]trunk.Config `yaml:"trunks"`
	Media        media.Config            `yaml:"media"`
	Policy       policy.Config           `yaml:",inline"`
	Recording    call.RecordingConfig    `yaml:"recording"`
	Store        store.Config            `yaml:"store"`
	Keys         seal.Config             `yaml:"keys"`
	HTTP         api.Config              `yaml:"http"`
	Log          Log                     `yaml:"log"`

	file string
	at   positions
}

// maxBytes is the longest file that is read: whatever is longer is not a configuration.
const maxBytes = 1 << 20

// Load reads a file. Its error is Faults, if the file can be read at all: see Parse.
func Load(file string) (*Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(file, text, os.ReadFile)
}

// Parse reads a file's text; the name is what faults and relative paths are told by.
// Its error is Faults. With these comes what of the file is understood, where it is YAML at
// all: to look for what else is wrong with it, and for nothing else.
// Files that it names are not read; Load does.
func Parse(file string, text []byte) (*Config, error) { return parse(file, text, nil) }

func parse(file string, text []byte, read func(name string) ([]byte, error)) (*Config, error) {
	c := &Config{file: file}
	d := decoder{file: file, at: positions{}, bad: map[string]bool{}}
	d.document(text, c)
	c.at = d.at
	c.beside(filepath.Dir(file))
	if !d.broken {
		found := c.readLists(read)
		found = append(found, c.validate()...)
		if !d.faulty("sip.listen") {
			found = append(found, c.unreached()...)
		}
		for _, path := range d.empty { // would be as if it were not there
			if !slices.ContainsFunc(found, func(f policy.Fault) bool { return f.Path == path }) {
				found = append(found, policy.Fault{Path: path, Message: "is empty"})
			}
		}
		for _, fault := range found {
			if !d.covered(fault.Path) {
				d.faults = append(d.faults, c.Fault(fault.Path, fault.Message))
			}
		}
	}
	switch {
	case d.broken:
		return nil, d.faults
	case len(d.faults) > 0:
		d.faults.sort()
		return c, d.faults
	}
	return c, nil
}

// beside makes relative paths ones beside the configuration.
func (c *Config) beside(directory string) {
	c.SIP.TLS.Beside(directory)
	for name, t := range c.Trunks {
		if t.TLS != nil {
			t.TLS.Beside(directory)
		}
		if t.Auth != nil && t.Auth.PasswordFile != "" && !filepath.IsAbs(t.Auth.PasswordFile) {
			t.Auth.PasswordFile = filepath.Join(directory, t.Auth.PasswordFile)
		}
		c.Trunks[name] = t
	}
	if c.Store.TSARoots != "" && !filepath.IsAbs(c.Store.TSARoots) {
		c.Store.TSARoots = filepath.Join(directory, c.Store.TSARoots)
	}
	c.Keys.Beside(directory)
	c.Store.Keys = c.Keys
}

// readLists reads the files of lists, and tells of those that cannot be.
func (c *Config) readLists(read func(name string) ([]byte, error)) (faults []policy.Fault) {
	for name, list := range c.Policy.Lists {
		if list.File == "" {
			continue
		}
		if !filepath.IsAbs(list.File) {
			list.File = filepath.Join(filepath.Dir(c.file), list.File)
		}
		if read != nil {
			text, err := read(list.File)
			switch {
			case err != nil:
				faults = append(faults, policy.Fault{Path: "lists." + name + ".file", Message: err.Error()})
			case !utf8.Valid(text):
				faults = append(faults, policy.Fault{Path: "lists." + name + ".file", Message: "is not UTF-8"})
			default:
				list.Read = policy.ReadList(text)
			}
		}
		c.Policy.Lists[name] = list
	}
	return faults
}

// CheckFiles reads the files that the sections name: certificates, passwords, a master identity, roots.
// Its error is Faults.
func (c *Config) CheckFiles() error {
	var faults Faults
	check := func(path string, cfg *sip.TLS) {
		if cfg == nil {
			return
		}
		for _, fault := range cfg.Check() {
			key, message, _ := strings.Cut(fault.Error(), ": ")
			faults = append(faults, c.Fault(path+".tls."+key, message))
		}
	}
	check("sip", &c.SIP.TLS)
	for _, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		t := c.Trunks[name]
		check("trunks."+name, t.TLS)
		if t.Auth == nil {
			continue
		}
		if _, err := t.Auth.Secret(); err != nil {
			faults = append(faults, c.Fault("trunks."+name+".auth.password_file", err.Error()))
		}
	}
	for _, fault := range c.Keys.Check() {
		key, message, _ := strings.Cut(fault.Error(), ": ")
		faults = append(faults, c.Fault("keys."+key, message))
	}
	if _, err := c.Store.Roots(); err != nil {
		faults = append(faults, c.Fault("store.tsa_roots", err.Error()))
	}
	if faults != nil {
		faults.sort()
		return faults
	}
	return nil
}

// Try tries what this machine has to have for what the file says: addresses, and ports that
// nobody else has. Its error is Faults.
func (c *Config) Try(ctx context.Context) error {
	var faults Faults
	for _, section := range []struct {
		key    string
		faults []error
	}{{"sip", c.SIP.Try(ctx)}, {"media", c.Media.Try()}, {"http", c.HTTP.Try()}} {
		for _, fault := range section.faults {
			key, message, _ := strings.Cut(fault.Error(), ": ")
			faults = append(faults, c.Fault(section.key+"."+key, message))
		}
	}
	if faults != nil {
		faults.sort()
		return faults
	}
	return nil
}

// validate gathers the faults of all sections, and of what one says of another.
func (c *Config) validate() []policy.Fault {
	faults := c.Policy.Validate()
	for _, section := range []struct {
		key    string
		faults []error
	}{
		{"organisation", c.Organisation.Validate()},
		{"sip", c.SIP.Validate()},
		{"trunks", trunk.Validate(c.Trunks)},
		{"media", c.Media.Validate()},
		{"recording", c.Recording.Validate()},
		{"store", c.Store.Validate()},
		{"keys", c.Keys.Validate()},
		{"log", c.Log.Validate()},
	} {
		for _, fault := range section.faults {
			key, message, _ := strings.Cut(fault.Error(), ": ")
			faults = append(faults, policy.Fault{Path: section.key + "." + key, Message: message})
		}
	}
	if len(c.Trunks) == 0 {
		faults = append(faults, policy.Fault{Path: "trunks", Message: "missing: one with side: internal (the PBX), one with side: external (the carrier)"})
	}
	for i, l := range c.SIP.Listen {
		if l.Transport != "udp" && l.Addr == c.HTTP.Listen && l.Addr.Port() != 0 {
			faults = append(faults, policy.Fault{Path: "http.listen", Message: fmt.Sprintf("%v is sip.listen[%d]'s", l.Addr, i)})
		}
	}
	if side, absent := trunk.Absent(c.Trunks); absent {
		is := map[trunk.Side]string{trunk.Internal: "the PBX", trunk.External: "the carrier"}[side]
		faults = append(faults, policy.Fault{Path: "trunks", Message: fmt.Sprintf("there is no %s trunk (%s)", side, is)})
	}
	for name, t := range c.Trunks {
		if t.TLS != nil && t.TLS.VerifyClient && t.TLS.CA == "" && c.SIP.TLS.CA == "" {
			_, message, _ := strings.Cut(sip.ErrNoCA.Error(), ": ")
			faults = append(faults, policy.Fault{Path: "trunks." + name + ".tls.verify_client", Message: message})
		}
	}
	for i, rule := range c.Policy.Rules {
		for j, name := range rule.Match.Trunk {
			if _, ok := c.Trunks[name]; !ok && name != "" {
				path := fmt.Sprintf("rules[%d].match.trunk[%d]", i, j)
				faults = append(faults, policy.Fault{Path: path, Message: fmt.Sprintf("there is no trunk %.40q%s", name, trunk.There(c.Trunks))})
			}
		}
	}
	for name, announcement := range c.Policy.Announcements {
		for language, file := range announcement.Files {
			if builtIn, ok := strings.CutPrefix(file, embedded); ok && !slices.Contains(prompts.Languages(), builtIn) {
				path := "announcements." + name + ".files." + language
				faults = append(faults, policy.Fault{Path: path, Message: fmt.Sprintf("%.40q is not built in; there is embedded:%s", file, strings.Join(prompts.Languages(), ", embedded:"))})
			}
		}
	}
	return faults
}

// unreached finds the peers that no socket of ours can send to: every call to them would fail.
func (c *Config) unreached() (faults []policy.Fault) {
	for name, t := range c.Trunks {
		for i, peer := range t.Peers {
			transport := cmp.Or(peer.Transport, "udp")
			addr, _ := netip.ParseAddr(peer.Host)
			var message string
			switch {
			case peer == trunk.PeerURI{}: // has a fault already
			case !c.SIP.Reaches(transport, netip.Addr{}):
				message = fmt.Sprintf("transport %s needs a %s:// among sip.listen", transport, transport)
			case !c.SIP.Reaches(transport, addr):
				version, anywhere := 4, "0.0.0.0"
				if addr.Is6() {
					version, anywhere = 6, "[::]"
				}
				message = fmt.Sprintf("IPv%d needs an address of that version among sip.listen, such as %s://%s", version, transport, anywhere)
			}
			if message != "" {
				faults = append(faults, policy.Fault{Path: fmt.Sprintf("trunks.%s.peers[%d]", name, i), Message: message})
			}
		}
	}
	return faults
}

// Warnings are what is allowed and hardly meant: what the policy has to say at that time, what
// came out beside its proof, and each trunk's keys that can be read on their way.
func (c *Config) Warnings(proof policy.Proof, now time.Time) Faults {
	var warnings Faults
	for _, w := range append(c.Policy.Warnings(now), proof.Warnings...) {
		warnings = append(warnings, c.Fault(w.Path, "warning: "+w.Message))
	}
	for name, t := range c.Trunks {
		for _, i := range t.Readable() {
			warnings = append(warnings, c.Fault(fmt.Sprintf("trunks.%s.peers[%d]", name, i),
				fmt.Sprintf("warning: keys for srtp can be read on the way to %v: give it transport=tls, or the trunk srtp_keys: dtls", t.Peers[i])))
		}
	}
	if c.Store.TSA != "" && c.Store.TSARoots == "" {
		warnings = append(warnings, c.Fault("store.tsa", "warning: whoever answers is believed, and it may prove nothing later: give tsa_roots"))
	}
	warnings.sort()
	return warnings
}

// Prove holds every way that calls may take through the rules against what is promised of all
// of them: see policy.Prove. Its error is Faults.
func (c *Config) Prove(rules *policy.Policy, now time.Time) (policy.Proof, error) {
	var trunks []policy.Trunk
	for _, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		t := c.Trunks[name]
		route, _ := trunk.Route(c.Trunks, name)
		trunks = append(trunks, policy.Trunk{Name: name, Side: string(t.Side), Route: route, EarlyMedia: t.CarriesEarlyMedia(), Trusted: t.Trusts()})
	}
	proof := rules.Prove(trunks, now)
	var faults Faults
	for _, fault := range proof.Faults {
		faults = append(faults, c.Fault(fault.Path, fault.Message))
	}
	if faults != nil {
		faults.sort()
		return proof, faults
	}
	return proof, nil
}

// Fixed names the sections that another configuration has otherwise and that are read at the
// start only: all but those of the policy.
func (c *Config) Fixed(other *Config) []string {
	changed := []string{}
	mine, others := reflect.ValueOf(c).Elem(), reflect.ValueOf(other).Elem()
	for i := range mine.NumField() {
		key, options, _ := strings.Cut(mine.Type().Field(i).Tag.Get("yaml"), ",")
		if key == "" || options == "inline" {
			continue
		}
		if !reflect.DeepEqual(mine.Field(i).Interface(), others.Field(i).Interface()) {
			changed = append(changed, key)
		}
	}
	return changed
}

// With returns the configuration with another one's policy.
func (c *Config) With(other *Config) *Config {
	both := *c
	both.Policy, both.at = other.Policy, other.at
	return &both
}

// Fault makes a fault of something that was found wrong with a key's value after the
// file was read, such as a prompt that cannot be played.
func (c *Config) Fault(path, message string) Fault {
	line, column := c.at.of(path)
	return Fault{File: c.file, Line: line, Column: column, Path: path, Message: message}
}

// embedded begins the name of a prompt that is built in.
const embedded = "embedded:"

// PromptFile says where a prompt is that announcements.*.files names: the language of
// a built-in one, or the path of a file, relative ones to the configuration's.
func (c *Config) PromptFile(name string) (path, builtIn string) {
	if language, ok := strings.CutPrefix(name, embedded); ok {
		return "", language
	}
	if filepath.IsAbs(name) {
		return name, ""
	}
	return filepath.Join(filepath.Dir(c.file), name), ""
}

// Organisation is who records: the controller (AVG/GDPR article 4(7)).
type Organisation struct {
	Name    string `yaml:"name"`
	Contact string `yaml:"contact"` // where people turn to with questions about their data
	// DPO is where the data protection officer is reached, Authority where people complain:
	// for the register and the notices. Default: they are not named.
	DPO       string `yaml:"dpo"`
	Authority string `yaml:"authority"`
}

// Validate reports every fault of the section, each with the key below organisation.
func (o Organisation) Validate() []error {
	var faults []error
	if strings.TrimSpace(o.Name) == "" {
		faults = append(faults, errors.New("name: missing: who records has to be known (AVG art. 13(1)(a))"))
	}
	if strings.TrimSpace(o.Contact) == "" {
		faults = append(faults, errors.New("contact: missing: where people turn to with questions about their data"))
	}
	return faults
}

// Log says what is logged, and how it is written.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error. Default: info
	Format string `yaml:"format"` // text or json. Default: text
}

// Validate reports every fault of the section, each with the key below log.
func (l Log) Validate() []error {
	var faults []error
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, l.Level) {
		faults = append(faults, fmt.Errorf("level: %.40q is none of debug, info, warn, error", l.Level))
	}
	if !slices.Contains([]string{"", "text", "json"}, l.Format) {
		faults = append(faults, fmt.Errorf("format: %.40q is neither text nor json", l.Format))
	}
	return faults
}

// Logger returns a logger as configured. The section must be valid.
func (l Log) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(l.Level, "info"))); err != nil {
		panic(err) // Validate saw to it
	}
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
