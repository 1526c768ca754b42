package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// TLSFiles names PEM files. They are read again for a new connection when they have
// changed; while they are not valid the previous ones stay in use.
type TLSFiles struct {
	CA   string // the CAs of the agents' certificates, the only ones that are trusted; empty: the system's roots
	Cert string // the client's own certificate; empty: none
	Key  string // its key
}

// trust is what was read from the files.
type trust struct {
	files TLSFiles

	mu     sync.Mutex
	stamps [3]stamp
	roots  *x509.CertPool   // nil: the system's
	cert   *tls.Certificate // nil: none
}

// stamp identifies one version of a file.
type stamp struct {
	at   time.Time
	size int64
}

// load reads the files.
func (f TLSFiles) load() (*trust, error) {
	t := &trust{files: f}
	return t, t.read()
}

// config returns the configuration of connections to a host.
func (t *trust) config(host string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.files.Cert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			_, cert := t.current()
			return cert, nil
		}
	}
	if t.files.CA != "" {
		c.InsecureSkipVerify = true // with roots that may have changed, VerifyConnection does it
		c.VerifyConnection = func(s tls.ConnectionState) error {
			roots, _ := t.current()
			return verify(s.PeerCertificates, roots, host)
		}
	}
	return c
}

// verify verifies the certificate of a host as package tls does.
func verify(chain []*x509.Certificate, roots *x509.CertPool, host string) error {
	if len(chain) == 0 {
		return errors.New("the agent presented no certificate")
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: host}); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}

// current returns what the files have, or the last that was valid.
func (t *trust) current() (*x509.CertPool, *tls.Certificate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.read() // what was read before stays
	return t.roots, t.cert
}

// read reads the files if they have changed.
func (t *trust) read() error {
	var stamps [3]stamp
	for i, name := range []string{t.files.CA, t.files.Cert, t.files.Key} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("cannot read a TLS file: %w", err)
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	if stamps == t.stamps {
		return nil
	}
	roots, err := t.files.roots()
	if err != nil {
		return err
	}
	var cert *tls.Certificate
	if t.files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.files.Cert, t.files.Key)
		if err != nil {
			return fmt.Errorf("cannot read the client's certificate: %w", err)
		}
		cert = &pair
	}
	t.stamps, t.roots, t.cert = stamps, roots, cert
	return nil
}

func (f TLSFiles) roots() (*x509.CertPool, error) {
	if f.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("cannot read the CA: " + f.CA + " holds no PEM certificate")
	}
	return roots, nil
}
