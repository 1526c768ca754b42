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

// Files is a Source that reads PEM files. At each handshake they are read again if
// one of them has changed. While the changed ones are not valid (one of a pair has
// been written and the other not yet), the ones that were last read stay in use, and
// Problem returns what is wrong.
type Files struct {
	CA   string // certificates of the authorities; empty: Roots fails, and the pair is not checked against any
	Cert string // this agent's certificate, then any intermediate ones
	Key  string // its key
	// ClientCA has the authorities of callers' certificates; empty: there are none.
	ClientCA string
	// ID is the agent that the certificate must be for; empty: any.
	ID string

	mu      sync.Mutex
	stamps  [4]stamp
	cert    *tls.Certificate
	roots   *x509.CertPool
	callers *x509.CertPool
	problem error
	looked  time.Time // when Callers last looked at the files
}

var _ Source = (*Files)(nil)

// stamp identifies one version of a file.
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

// lookEvery is how often Callers looks whether the files have changed: it is called for
// every request.
const lookEvery = 100 * time.Millisecond

// Callers returns the authorities of callers' certificates, as they were at most 100 ms
// ago; nil: there are none.
func (f *Files) Callers() *x509.CertPool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		_ = f.refresh() // the former ones stay
	}
	return f.callers
}

// Problem returns why the present files are not in use; nil: they are.
func (f *Files) Problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(); err != nil {
		return err
	}
	return f.problem
}

// refresh reads changed files. It fails only while none have been read yet.
func (f *Files) refresh() error {
	stamps, err := f.stat()
	if err == nil && stamps != f.stamps {
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

func (f *Files) stat() (stamps [4]stamp, err error) {
	for i, name := range []string{f.CA, f.ClientCA, f.Cert, f.Key} {
		if i < 2 && name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return stamps, fmt.Errorf("cannot read a TLS file: %w; set ca, cert and key to files that exist, or, where they were lost with the data directory, run 'interrex agent join' with a token of 'interrex join-token create --for ID'", err)
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
	callers, err := readRoots(f.ClientCA)
	if err != nil {
		return err
	}
	roots, err := readRoots(f.CA)
	if err != nil {
		return err
	}
	if roots == nil {
		f.cert, f.callers = &cert, callers
		return nil
	}
	if err := usable(cert.Leaf, roots, cert.Certificate[1:]); err != nil {
		if f.cert == nil && hasEnded(err) {
			f.cert, f.roots = &cert, roots // others reject it, and the agent can say so
		}
		return fmt.Errorf("cannot use %s: %w", f.Cert, err)
	}
	f.cert, f.roots, f.callers = &cert, roots, callers
	return nil
}

// readRoots reads authorities; nil: there is no file.
func readRoots(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := disk.ReadSmall(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("cannot use %s: it has no certificate in PEM; it must have the CA's", name)
	}
	return roots, nil
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

// usable returns what is wrong with an agent's own certificate, and what to do.
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

func hasEnded(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

func adviseOn(err error) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case hasEnded(err):
		return fmt.Errorf("%w: issue a new one, or set the clock right", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("%w: issue it with extendedKeyUsage serverAuth and clientAuth", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: it must be issued by the CA of the ca file", err)
	}
	return err
}
