package sip

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	// ServerName is whom a peer's certificate is to name. Default: the peer's host.
	ServerName string `yaml:"server_name"`
	// VerifyClient wants a certificate of peers that connect to us, and verifies it by CA.
	// Default: false.
	VerifyClient bool `yaml:"verify_client"`
}

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
			trunk, _ := ua.handler.Trunk(source, "tls")
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
			}
			return c, nil
		},
	}
}

// clientTLS is how we connect to a peer.
func (ua *UA) clientTLS(p Peer) (*tls.Config, error) {
	trunk, _ := ua.handler.Trunk(p.Addr, "tls")
	certificate, authorities, cfg, err := ua.loadIdentity(trunk)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities, ServerName: cmp.Or(cfg.ServerName, p.Host, p.Addr.Addr().String())}
	if certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return c, nil
}
