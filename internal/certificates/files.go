package certificates

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/interrex/interrex/internal/disk"
)

// Files is a Source that lives in PEM files. They are read again when one of them
// has changed, which is looked for at each handshake. While the changed ones
// are unfit (one of a pair has been written and the other not yet), those that
// were read last stay in force, and Problem says what is wrong.
type Files struct {
	CA   string // certificates of the authorities; empty: Roots fails, and the pair is not checked against any
	Cert string // this agent's certificate, then those between it and the CA
	Key  string // its key
	// ID is the agent that the certificate must be for; empty: anybody.
	ID string

	mu      sync.Mutex
	stamps  [3]stamp
	cert    *tls.Certificate
	roots   *x509.CertPool
	problem error
}

var _ Source = (*Files)(nil)

// stamp tells one version of a file from the next.
type stamp struct {
	at   time.Time
	size int64
}

// Certificate implements Source.
func (f *Files) Certificate() (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(); err != nil {
		return nil, err
	}
	return f.cert, nil
}

// Roots implements Source.
func (f *Files) Roots() (*x509.CertPool, error) {
	// nil would mean the system's authorities.
	if f.CA == "" {
		return nil, errors.New("cannot check other agents' certificates: no CA file is given")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(); err != nil {
		return nil, err
	}
	return f.roots, nil
}

// Problem says why the files as they are now are not in force, nil when they
// are.
func (f *Files) Problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(); err != nil {
		return err
	}
	return f.problem
}

// refresh fails only while nothing has been read yet.
func (f *Files) refresh() error {
	stamps, err := f.look()
	if err == nil && (stamps != f.stamps || f.problem != nil) {
		err = f.load()
		if err == nil {
			f.stamps = stamps
		}
	}
	f.problem = err
	if f.cert == nil {
		return err
	}
	return nil
}

func (f *Files) look() (stamps [3]stamp, err error) {
	for i, name := range []string{f.CA, f.Cert, f.Key} {
		if i == 0 && name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return stamps, fmt.Errorf("cannot read a TLS file: %w; give the files of ca, cert and key", err)
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, nil
}

func (f *Files) load() error {
	cert, err := readPair(f.Cert, f.Key)
	if err != nil {
		return fmt.Errorf("cannot use the pair of %s and %s: %w", f.Cert, f.Key, err)
	}
	if err := f.isFor(cert.Leaf); err != nil {
		return err
	}
	if f.CA == "" {
		f.cert = &cert
		return nil
	}
	text, err := disk.ReadSmall(f.CA)
	if err != nil {
		return fmt.Errorf("cannot read the CA's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("cannot use %s: no certificate in PEM is in it; it must hold the CA's", f.CA)
	}
	if err := usable(cert.Leaf, roots, cert.Certificate[1:]); err != nil {
		return fmt.Errorf("cannot use %s: %w", f.Cert, err)
	}
	f.cert, f.roots = &cert, roots
	return nil
}

func readPair(cert, key string) (tls.Certificate, error) {
	certText, err := disk.ReadSmall(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyText, err := disk.ReadSmall(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certText, keyText)
}

func (f *Files) isFor(leaf *x509.Certificate) error {
	if f.ID == "" {
		return nil
	}
	id, err := IDOf(leaf)
	if err == nil && id != f.ID {
		err = fmt.Errorf("it is for %s, and this agent is %s", id, f.ID)
	}
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", f.Cert, err)
	}
	return nil
}

// usable says what is wrong with an agent's own certificate, and what to do.
func usable(leaf *x509.Certificate, roots *x509.CertPool, behind [][]byte) error {
	var chain []*x509.Certificate
	for _, der := range behind {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("a certificate behind the first is damaged: %w", err)
		}
		chain = append(chain, cert)
	}
	if err := verifyChain(leaf, roots, chain); err != nil {
		return adviseOn(err)
	}
	return nil
}

func adviseOn(err error) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: issue a new one, or set the clock right", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("%w: issue it with extendedKeyUsage serverAuth and clientAuth", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: it must be issued by the CA of the ca file", err)
	}
	return err
}
