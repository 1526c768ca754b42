package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// The certificates of a development CA are valid from an hour ago, for clocks that
// differ, and for a year.
const (
	issuedBefore = time.Hour
	issuedFor    = 365 * 24 * time.Hour
)

// CA issues certificates for agents. Its key is only in memory.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// DevCA makes a new authority, for a cluster in one process or on a developer's
// machine. Its keys are ECDSA P-256.
func DevCA() (*CA, error) {
	cert, key, err := SelfSigned("interrex dev CA", time.Now().Add(-issuedBefore), time.Now().Add(issuedFor))
	if err != nil {
		return nil, err
	}
	return &CA{cert, key}, nil
}

// SelfSigned makes the certificate of an authority with a new key, ECDSA P-256. It
// signs only certificates of agents.
func SelfSigned(name string, from, until time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the CA's key: %w", err)
	}
	cert, err := SelfSignedBy(key, name, from, until)
	return cert, key, err
}

// SelfSignedBy makes the certificate of an authority with a key. It follows from what is
// given: all who have the key make the same one.
func SelfSignedBy(key *ecdsa.PrivateKey, name string, from, until time.Time) (*x509.Certificate, error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("cannot encode the CA's key: %w", err)
	}
	sum := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(sum[:16]),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             from,
		NotAfter:              until,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key) // without random numbers
	if err != nil {
		return nil, fmt.Errorf("cannot make the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot make the CA's certificate: %w", err)
	}
	return cert, nil
}

func newSerial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return new(big.Int).SetBytes(b[:])
}

// TLS issues a certificate for an agent and returns it with the CA as its only root.
// change, for tests, changes it before it is signed.
func (c *CA) TLS(id string, change ...func(*x509.Certificate)) (Source, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	template := agentTemplate(id)
	for _, do := range change {
		do(template)
	}
	return c.issue(template)
}

// Template returns what an authority signs for an agent: a certificate for server and
// client use.
func Template(id string, from, until time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: id},
		DNSNames:     []string{id},
		NotBefore:    from,
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func agentTemplate(id string) *x509.Certificate {
	return Template(id, time.Now().Add(-issuedBefore), time.Now().Add(issuedFor))
}

func (c *CA) issue(template *x509.Certificate) (*issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make an agent's key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		return nil, fmt.Errorf("cannot issue an agent's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot issue an agent's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.cert)
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return &issued{cert, roots, key}, nil
}

// issued is a Source in memory.
type issued struct {
	cert  *tls.Certificate
	roots *x509.CertPool
	key   *ecdsa.PrivateKey
}

// Certificate implements Source.
func (i *issued) Certificate() (*tls.Certificate, error) { return i.cert, nil }

// Roots implements Source.
func (i *issued) Roots() (*x509.CertPool, error) { return i.roots, nil }

// Write issues a certificate for an agent and writes ca.pem, agent.pem and
// agent.key (0600) into dir, which must exist. It does not write the CA's key.
func (c *CA) Write(dir, id string) (*Files, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	i, err := c.issue(agentTemplate(id))
	if err != nil {
		return nil, err
	}
	f := &Files{
		CA:   filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "agent.pem"),
		Key:  filepath.Join(dir, "agent.key"),
	}
	if err := errors.Join(writePEM(f.CA, "CERTIFICATE", c.cert.Raw, 0o644), i.write(f)); err != nil {
		return nil, fmt.Errorf("cannot write an agent's certificate: %w", err)
	}
	return f, nil
}

func (i *issued) write(f *Files) error {
	key, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(f.Cert, "CERTIFICATE", i.cert.Certificate[0], 0o644),
		writePEM(f.Key, "PRIVATE KEY", key, 0o600),
	)
}

func writePEM(name, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
