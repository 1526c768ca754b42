package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/interrex/interrex/internal/certificates"
)

// The protocols that share the port, told apart by ALPN.
const (
	protocolRaft  = "interrex-raft/1"
	protocolAPI   = "interrex-api/1"
	protocolHello = "interrex-hello/1"
)

// TLS gives the certificates. Both methods are called at each handshake, from
// many goroutines, so that new certificates are taken up without a restart.
type TLS interface {
	// Certificate is this agent's, with its key, good for server and client
	// use.
	Certificate() (*tls.Certificate, error)
	// Roots are the authorities whose certificates are accepted.
	Roots() (*x509.CertPool, error)
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
		err := certificates.Verify(state.PeerCertificates[0], roots, state.PeerCertificates[1:])
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}
