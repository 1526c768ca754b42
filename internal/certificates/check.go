// Package certificates owns the certificates of agents: the ID in one, its
// validation, the files that it is read from, and a CA for development.
package certificates

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// Source supplies an agent's certificates. Both methods are called at each
// handshake, from many goroutines.
type Source interface {
	// Certificate returns this agent's certificate, with its key, valid for server
	// and client use.
	Certificate() (*tls.Certificate, error)
	// Roots returns the authorities whose certificates are accepted.
	Roots() (*x509.CertPool, error)
}

// Check returns why an agent cannot use a certificate, and what to do: it must be
// valid for both uses, and have the agent's ID.
func Check(given Source, id string) error {
	cert, err := given.Certificate()
	if err != nil {
		return err
	}
	if _, err := given.Roots(); err != nil {
		return err
	}
	if cert.Leaf == nil {
		return errors.New("cannot use the agent's certificate: it has not been parsed (Leaf is nil)")
	}
	carried, err := IDOf(cert.Leaf)
	if err != nil {
		return fmt.Errorf("cannot use the agent's certificate: %w", err)
	}
	if carried != id {
		return fmt.Errorf("cannot use the agent's certificate: it is for %s, and this agent is %s", carried, id)
	}
	return nil
}

// IDOf returns the agent's ID in a certificate: its only DNS name that has no dot and
// is not localhost. It may have other names beside it.
func IDOf(cert *x509.Certificate) (string, error) {
	var id string
	for _, name := range cert.DNSNames {
		if strings.Contains(name, ".") || name == "localhost" {
			continue
		}
		if id != "" {
			return "", fmt.Errorf("its certificate has two IDs, %s and %s, as DNS names: it must have one", id, name)
		}
		id = name
	}
	if id == "" {
		return "", errors.New("its certificate has no ID: it must have one DNS name that is a single label")
	}
	return id, CheckID(id)
}

// CheckID returns an error if an agent's ID is not valid: it must be a DNS label,
// 1-63 of a-z, 0-9 and '-', with a letter or digit at both ends. "localhost" is not
// valid, since certificates have it for other reasons.
func CheckID(id string) error {
	if id == "" || len(id) > 63 || id[0] == '-' || id[len(id)-1] == '-' || id == "localhost" {
		return fmt.Errorf("agent ID %q is not valid: give a DNS label, 1-63 of a-z 0-9 -, and not localhost", id)
	}
	for _, c := range []byte(id) {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("agent ID %q is not valid: give a DNS label, 1-63 of a-z 0-9 -", id)
		}
	}
	return nil
}

// verifyChain verifies a certificate for server and for client use: every agent is
// both, and a certificate for only one use would fail only later.
func verifyChain(leaf *x509.Certificate, roots *x509.CertPool, chain []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, cert := range chain {
		between.AddCert(cert)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}})
		if err != nil {
			return err
		}
	}
	return nil
}
