package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// The protocols that share the port, told apart by ALPN.
const (
	protocolRaft  = "interrex-raft/1"
	protocolAPI   = "interrex-api/1"
	protocolHello = "interrex-hello/1"
)

// TLS supplies the certificates. Both methods are called at each handshake, from
// many goroutines, so that new certificates are taken up without a restart.
type TLS interface {
	// Certificate is this agent's, with its key, good for server and client
	// use.
	Certificate() (*tls.Certificate, error)
	// Roots are the authorities whose certificates are accepted.
	Roots() (*x509.CertPool, error)
}

// IDOf returns the agent's ID that a certificate carries: the one among its DNS
// names that has no dot and is not localhost. Other names may stand beside it.
func IDOf(cert *x509.Certificate) (string, error) {
	var id string
	for _, name := range cert.DNSNames {
		if strings.Contains(name, ".") || name == "localhost" {
			continue
		}
		if id != "" {
			return "", fmt.Errorf("its certificate carries two IDs, %s and %s, as DNS names: want one", id, name)
		}
		id = name
	}
	if id == "" {
		return "", errors.New("its certificate carries no ID: want one DNS name that is a single label")
	}
	return id, CheckID(id)
}

// serverTLS is the configuration for one incoming handshake.
func serverTLS(given TLS) (*tls.Config, error) {
	config, roots, err := baseTLS(given)
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = roots
	config.NextProtos = []string{protocolRaft, protocolAPI, protocolHello}
	config.VerifyConnection = verifyPeer(roots)
	return config, nil
}

// clientTLS is the configuration for one outgoing handshake. Where no ID is
// known yet the name is not checked against the certificate but taken from it;
// the chain is checked either way.
func clientTLS(given TLS, id, protocol string) (*tls.Config, error) {
	config, roots, err := baseTLS(given)
	if err != nil {
		return nil, err
	}
	config.RootCAs = roots
	// Chosen by hand, a certificate of another authority is shown all the same,
	// and the other end can say what is wrong with it.
	own := &config.Certificates[0]
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	config.ServerName = id
	config.NextProtos = []string{protocol}
	config.InsecureSkipVerify = id == ""
	config.VerifyConnection = verifyPeer(roots)
	return config, nil
}

func baseTLS(given TLS) (*tls.Config, *x509.CertPool, error) {
	cert, err := given.Certificate()
	if err != nil {
		return nil, nil, err
	}
	roots, err := given.Roots()
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{*cert},
		// A resumed session would outlive the certificate that it was made with.
		SessionTicketsDisabled: true,
	}, roots, nil
}

// verifyPeer checks the peer's chain for both uses. Its errors have the type of
// TLS's own verification, which is off while the peer's ID is not known.
func verifyPeer(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("no certificate was shown")
		}
		err := verifyChain(state.PeerCertificates[0], roots, state.PeerCertificates[1:])
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}

// verifyChain checks a certificate for server and for client use: every agent
// is both, and one that is good for half would fail only later.
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
