package transport

import (
	"crypto/tls"
	"crypto/x509"
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
