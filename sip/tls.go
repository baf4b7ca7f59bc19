package sip

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// TLS is how we show who we are and see who a peer is: sip.tls for everybody, a trunk's
// own for its peers.
type TLS struct {
	// Certificate and Key are PEM files. They are needed to listen on tls://; a trunk's are
	// shown to its peers where they ask for one. Read anew when they change.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// CA is a PEM file with the authorities that peers' certificates are verified by.
	// Default: the system's.
	CA string `yaml:"ca"`
	// ServerName is whom a peer's certificate is to name. Default: the peer's host, or where it
	// is not known which of a trunk's peers it is, one of theirs.
	ServerName string `yaml:"server_name"`
	// VerifyClient wants a certificate of peers that connect to us, and verifies it by CA and
	// by name. Default: false.
	VerifyClient bool `yaml:"verify_client"`
}

// ErrNoCA is a section's fault that has verify_client without an authority of its own or
// everybody's: who can have a certificate of a public one is no proof of anything.
var ErrNoCA = errors.New("verify_client: needs a ca: any certificate of a public authority would do")

// Validate reports every fault of the section, each with the key below tls.
func (c TLS) Validate() []error {
	var faults []error
	switch {
	case c.Certificate != "" && c.Key == "":
		faults = append(faults, errors.New("key: missing: the certificate's"))
	case c.Certificate == "" && c.Key != "":
		faults = append(faults, errors.New("certificate: missing: the key's"))
	}
	return faults
}

// Check reads the section's files and reports what is wrong with them, each with its key.
func (c TLS) Check() []error {
	var faults []error
	certificate, err := readFile(c.Certificate)
	if err != nil {
		faults = append(faults, fmt.Errorf("certificate: %w", err))
	}
	key, keyErr := readFile(c.Key)
	if keyErr != nil {
		faults = append(faults, fmt.Errorf("key: %w", keyErr))
	}
	if c.Certificate != "" && c.Key != "" && err == nil && keyErr == nil {
		if _, err := tls.X509KeyPair(certificate, key); err != nil {
			faults = append(faults, fmt.Errorf("certificate: %s and %s: %w", c.Certificate, c.Key, err))
		}
	}
	if c.CA != "" {
		if _, err := readAuthorities(c.CA); err != nil {
			faults = append(faults, fmt.Errorf("ca: %w", err))
		}
	}
	return faults
}

// readFile reads a file that is named; of none comes nothing.
func readFile(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(name)
}

// Beside makes the section's relative paths ones beside a file in a directory.
func (c *TLS) Beside(directory string) {
	for _, file := range []*string{&c.Certificate, &c.Key, &c.CA} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(directory, *file)
		}
	}
}

// over fills in from another section what this one leaves out.
func (c TLS) over(d TLS) TLS {
	if c.Certificate == "" {
		c.Certificate, c.Key = d.Certificate, d.Key
	}
	c.CA = cmp.Or(c.CA, d.CA)
	c.VerifyClient = c.VerifyClient || d.VerifyClient
	return c
}

func readAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// identity is a TLS section's files, read. A file that changed is read anew; a bad one
// keeps what was read before.
type identity struct {
	cfg TLS

	mu          sync.Mutex
	checked     time.Time
	changed     [3]time.Time // of certificate, key, ca
	certificate *tls.Certificate
	authorities *x509.CertPool
	err         error
}

// checkInterval is how often files are looked at, at most.
const checkInterval = 2 * time.Second

// load returns what the files hold.
func (i *identity) load(failed func(error)) (*tls.Certificate, *x509.CertPool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	if now.Sub(i.checked) < checkInterval {
		return i.certificate, i.authorities, i.err
	}
	i.checked = now
	var changed [3]time.Time
	for n, file := range []string{i.cfg.Certificate, i.cfg.Key, i.cfg.CA} {
		if info, err := os.Stat(file); file != "" && err == nil {
			changed[n] = info.ModTime()
		}
	}
	if changed == i.changed && (i.certificate != nil || i.authorities != nil) {
		return i.certificate, i.authorities, i.err
	}
	known := i.certificate != nil || i.authorities != nil
	if err := i.read(); err != nil {
		if !known {
			i.err = err
			return nil, nil, err
		}
		if changed != i.changed {
			failed(err)
		}
	} else {
		i.err = nil
	}
	i.changed = changed
	return i.certificate, i.authorities, i.err
}

func (i *identity) read() error {
	var certificate *tls.Certificate
	var authorities *x509.CertPool
	if i.cfg.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(i.cfg.Certificate, i.cfg.Key)
		if err != nil {
			return fmt.Errorf("read certificate: %w", err)
		}
		certificate = &pair
	}
	if i.cfg.CA != "" {
		pool, err := readAuthorities(i.cfg.CA)
		if err != nil {
			return fmt.Errorf("read authorities: %w", err)
		}
		authorities = pool
	}
	i.certificate, i.authorities = certificate, authorities
	return nil
}

// identity returns the files of a trunk's peers, or everybody's, and the section.
func (ua *UA) identity(trunk string) (*identity, TLS) {
	cfg := ua.cfg.TLS
	if own := ua.handler.Settings(trunk).TLS; own != nil {
		cfg = own.over(cfg)
	}
	ua.mu.Lock()
	defer ua.mu.Unlock()
	i := ua.identities[cfg]
	if i == nil {
		i = &identity{cfg: cfg}
		ua.identities[cfg] = i
	}
	return i, cfg
}

func (ua *UA) loadIdentity(trunk string) (*tls.Certificate, *x509.CertPool, TLS, error) {
	i, cfg := ua.identity(trunk)
	certificate, authorities, err := i.load(func(err error) {
		ua.log.Warn("changed TLS files not taken: the old ones stay", "trunk", trunk, "error", err)
	})
	return certificate, authorities, cfg, err
}

// serverTLS is how we take TLS connections: by whom they come from, since a peer's trunk
// says whether a certificate is wanted of it.
func (ua *UA) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			source, _ := addrPort(hello.Conn.RemoteAddr())
			trunk, _ := ua.trunk(source, "tls") // "" has everybody's
			certificate, authorities, cfg, err := ua.loadIdentity(trunk)
			if err != nil {
				return nil, err
			}
			if certificate == nil {
				return nil, errors.New("no certificate to show: sip.tls names none")
			}
			c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}}
			if cfg.VerifyClient {
				c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, authorities
				names := ua.namesOf(trunk, cfg, source.Addr().String())
				c.VerifyConnection = func(state tls.ConnectionState) error { return naming(state.PeerCertificates[0], names) }
			}
			return c, nil
		},
	}
}

// untrusted tells, once a minute, of a peer's connection that came to nothing.
func (ua *UA) untrusted(source netip.Addr, err error) {
	if held, ok := ua.handshakes.due(time.Now()); ok {
		ua.log.Warn("TLS handshake failed", "source", source, "error", err, "suppressed", held)
	}
}

// clientTLS is how we connect to a peer, or to where a call of its trunk leads.
func (ua *UA) clientTLS(p Peer) (*tls.Config, error) {
	trunk, _ := ua.trunk(p.Addr, "tls")
	certificate, authorities, cfg, err := ua.loadIdentity(trunk)
	if err != nil {
		return nil, err
	}
	names := ua.namesOf(trunk, cfg, cmp.Or(p.Host, p.Addr.Addr().String()))
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: names[0],
		// Go's own verification knows one name only. In its place:
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := x509.VerifyOptions{Roots: authorities, Intermediates: x509.NewCertPool()}
			for _, c := range state.PeerCertificates[1:] {
				chain.Intermediates.AddCert(c)
			}
			if _, err := state.PeerCertificates[0].Verify(chain); err != nil {
				return err
			}
			return naming(state.PeerCertificates[0], names)
		},
	}
	if certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return c, nil
}

// namesOf returns whom a certificate of a trunk's peer is to name, one of these: what the
// configuration says, or the host by which the peer is configured (RFC 5922 §7). In a dialog it
// is known by where it can be reached, which any of them may have told.
func (ua *UA) namesOf(trunk string, cfg TLS, host string) []string {
	hosts := ua.handler.Settings(trunk).Hosts
	switch {
	case cfg.ServerName != "":
		return []string{cfg.ServerName}
	case len(hosts) == 0 || slices.Contains(hosts, host):
		return []string{host}
	}
	return hosts
}

// naming returns nil if a certificate is for one of those hosts, by its name or address, or by
// a URI that is a SIP domain's (RFC 5922 §7.1); else what it is wrong for.
func naming(certificate *x509.Certificate, hosts []string) (err error) {
	for _, host := range hosts {
		isHost := func(uri *url.URL) bool { return uri.Scheme == "sip" && strings.EqualFold(uri.Opaque, host) }
		if slices.ContainsFunc(certificate.URIs, isHost) {
			return nil
		}
		if err = certificate.VerifyHostname(host); err == nil {
			return nil
		}
	}
	return err
}
