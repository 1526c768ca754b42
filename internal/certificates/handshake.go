package certificates

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Server returns the TLS configuration for one incoming handshake, for one of the
// protocols.
func Server(given Source, protocols ...string) (*tls.Config, error) {
	config, roots, err := base(given)
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = roots
	config.NextProtos = protocols
	config.VerifyConnection = verifyPeer(roots)
	return config, nil
}

// Joining returns the TLS configuration for one incoming handshake with an agent that
// has no certificate yet. It is shown the authorities, in DER, behind this agent's
// certificate.
func Joining(given Source, protocol string, authorities [][]byte) (*tls.Config, error) {
	config, _, err := base(given)
	if err != nil {
		return nil, err
	}
	own := &config.Certificates[0]
	own.Certificate = append(own.Certificate[:len(own.Certificate):len(own.Certificate)], authorities...)
	config.NextProtos = []string{protocol}
	return config, nil
}

// Client returns the TLS configuration for one outgoing handshake. While the ID is
// unknown, it is taken from the certificate and not compared; the chain is verified
// in both cases.
func Client(given Source, id, protocol string) (*tls.Config, error) {
	config, roots, err := base(given)
	if err != nil {
		return nil, err
	}
	config.RootCAs = roots
	// Chosen by hand, so that a certificate of another authority is presented too,
	// and the other end can log what is wrong with it.
	own := &config.Certificates[0]
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	config.ServerName = id
	config.NextProtos = []string{protocol}
	config.InsecureSkipVerify = id == ""
	config.VerifyConnection = verifyPeer(roots)
	return config, nil
}

func base(given Source) (*tls.Config, *x509.CertPool, error) {
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
		// A resumed session would outlive its certificate.
		SessionTicketsDisabled: true,
	}, roots, nil
}

// verifyPeer checks the peer's chain for both uses. Its errors have the type of
// TLS's own verification, which is off while the peer's ID is not known.
func verifyPeer(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("no certificate was presented")
		}
		err := verifyChain(state.PeerCertificates[0], roots, state.PeerCertificates[1:])
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}
